"""The page that the benchmark writes."""

import os
import platform
from pathlib import Path

HEAD = """# Benchmarks

Written by `cargo xtask bench`; do not edit. Conversion of the same file by `mlc` and by coremltools {version},
one after the other in one run on one machine: {machine}.

Models have seeded random weights and are exported beforehand; only conversion is timed. Files were read
once before, so that every tool finds them in memory. `mlc` is the fastest of five runs of the whole process;
coremltools runs once, and what is compared is its call of `convert` alone, without starting Python, reading the
model and writing the package (the whole process stands beside it). `checked` is the default, which runs source
and result in the evaluator and compares them, which coremltools does not do; it is skipped where it would take
more than a minute. `plain` is `--no-verify`. Ops and packages are those of the checked conversion: what is seen as
it runs lets norms be computed in half precision.

Memory is the most that a process held: *own* is what no file backs (`RssAnon`, looked at every two
milliseconds), *all* has the pages of mapped inputs in it, which the system takes back when it needs them.
"""


def mb(bytes_):
    return f"{bytes_ / 1e6:.1f}"


def seconds(value):
    if value is None:
        return "–"
    return f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def memory(run):
    return f"{run['own']:.0f} / {run['peak']:.0f}" if run else "–"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" + "---:|" * (len(head) - 1)]
    return "\n".join(lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows]) + "\n"


def machine(facts):
    def read(path, key):
        try:
            lines = Path(path).read_text().splitlines()
        except OSError:
            return None
        return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(key)), None)

    model = read("/proc/cpuinfo", "model name") or platform.processor() or platform.machine()
    memory = read("/proc/meminfo", "MemTotal")
    gigabytes = f", {int(memory.split()[0]) / 1e6:.0f} GB of memory" if memory else ""
    load = "load {:.1f} at the start and {:.1f} at the end".format(*facts["load"])
    return f"{os.cpu_count()} cores of {model}{gigabytes}, {platform.system()}, {load}"


def version():
    try:
        import coremltools

        return coremltools.__version__
    except ImportError:
        return "(not installed)"


def times(rows):
    out = []
    for row in rows:
        other = row.get("incumbent", {})
        call = other.get("convert")
        ratio = lambda mine: f"{call / mine['wall']:.0f}×" if call and mine else "–"
        run = row.get("checked")
        checked = "–"
        if run:
            checked = seconds(run["wall"]) + ("" if run["verified"] else " (skipped)")
        out.append([
            row["name"], f"{row['parameters'] / 1e6:.1f}", seconds(row["plain"]["wall"]), checked,
            seconds(call) if call else other.get("failed", "–")[:60],
            seconds(other["wall"]) if call else "–",
            ratio(row["plain"]), ratio(run),
        ])
    head = ["model", "M parameters", "mlc plain, s", "mlc checked, s", "coremltools `convert`, s",
            "coremltools process, s", "plain faster", "checked faster"]
    return table(head, out)


def resources(rows):
    out = []
    for row in rows:
        other = row.get("incumbent", {})
        told = "convert" in other
        out.append([
            row["name"], seconds(row["plain"]["cpu"]), seconds(other["cpu"]) if told else "–",
            memory(row["plain"]),
            memory(row.get("checked")),
            memory(other) if told else "–",
            mb(row["bytes"]), mb(other["bytes"]) if told else "–",
            row["ops"], other["ops"] if told else "–",
        ])
    head = ["model", "mlc CPU s", "coremltools CPU s", "mlc own / all MB", "checked own / all MB",
            "coremltools own / all MB", "mlc package MB", "coremltools package MB", "mlc ops",
            "coremltools ops"]
    return table(head, out)


def bounds(rows):
    def times(mine, limit):
        return f"{mine / limit:.1f}×" if limit else "–"

    out = [
        [row["name"], mb(row["input"]), seconds(row.get("copy_input")), seconds(row["copy_output"]),
         seconds(row.get("round")), seconds(row["plain"]["wall"]),
         times(row["plain"]["wall"], row["copy_output"]), times(row["plain"]["wall"], row.get("round"))]
        for row in rows
    ]
    head = ["model", "input MB", "`cp` input, s", "`cp` package, s", "read, round, write, s",
            "mlc plain, s", "to `cp` package", "to read, round, write"]
    return table(head, out)


def confinements(rows):
    """Sentences about conversions in little memory."""
    out = []
    for row in rows:
        run = row.get("confined")
        if run and "failed" in run:
            out.append(f"{row['name']} in a memory cgroup of 1 GiB: {run['failed']}.")
        elif run:
            out.append(f"In a memory cgroup of 1 GiB, pages of files counted, {row['name']} of "
                       f"{mb(row['input'])} MB takes {seconds(run['wall'])} s.")
    return " ".join(out)


STAGES = ["import", "passes", "emission"]


def sweep(rows, depths):
    by_depth = {row["name"]: row for row in rows}
    out, last = [], None
    for depth in depths:
        row = by_depth.get(f"depth-{depth}")
        if row is None:
            continue
        stages = row["stages"]
        cells = [depth, row["ops"]]
        for stage in STAGES:
            ratio = f" (×{stages[stage] / last[stage]:.2f})" if last else ""
            cells.append(f"{stages[stage] * 1e3:.1f}{ratio}")
        out.append(cells)
        last = stages
    return table(["layers", "ops", "import ms", "-O2 ms", "emission ms"], out) if out else ""


def page(rows, facts, depths):
    text = HEAD.format(version=version(), machine=machine(facts))
    failed = [row for row in rows if "failed" in row]
    if failed:
        text += "\nNot measured: " + "; ".join(f"{row['name']} ({row['failed']})" for row in failed) + ".\n"
    rows = [row for row in rows if "failed" not in row]
    whole = [row for row in rows if not row["name"].startswith("depth-")]
    if whole:
        text += "\n## Time\n\n" + times(whole) + "\n## Resources and results\n\n" + resources(whole)
        text += "\n" + confinements(whole) + "\n" if confinements(whole) else ""
        if any(row["hollow"] for row in whole):
            text += "\nThe weights of llama-8b are holes of its file: zeros that take no space on the disk.\n"
        text += "\n## Against the limit\n\nRounding is singles to halves of the whole file by PyTorch, a window at a time.\n\n"
        text += bounds(whole)
    deep = [row for row in rows if row["name"].startswith("depth-")]
    if deep:
        text += "\n## Depth\n\nTransformer layers of width 64; in brackets the ratio to half the depth. Each stage is the fastest of five.\n\n"
        text += sweep(rows, depths) + "\n" + times(deep)
    text += "\n## The tool\n\n"
    text += f"`mlc --version` takes {facts['startup'] * 1e3:.1f} ms; the binary has {mb(facts['binary'])} MB."
    if facts["build"]:
        text += f" A clean release build takes {facts['build']:.0f} s."
    return text + "\n"
