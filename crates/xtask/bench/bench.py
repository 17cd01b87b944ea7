"""Conversion by mlc and by coremltools, side by side; started by `cargo xtask bench`."""

import argparse
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import limits
import report
from measure import Group, run
from models import DEPTHS, MODELS

HERE = Path(__file__).parent
"""Times that each conversion is run."""
RUNS = 5
"""Bytes that a conversion of a larger file is confined to once."""
CONFINED = 1 << 30


def size(path):
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


class Failed(Exception):
    """A conversion that did not come to its end, and why."""


def last_line(text):
    return next((line for line in reversed(text.splitlines()) if line.strip()), "no message")


def once(mlc, model, goal, flags, group=None):
    limits.remove(goal)
    taken = run([mlc, "convert", model, "-o", goal, "--json", *flags], group=group)
    if taken.code != 0:
        raise Failed(last_line(taken.err or taken.out))
    return taken


def convert(mlc, model, goal, *flags):
    """The fastest of the runs, and its report."""
    done = []
    for _ in range(RUNS):
        done.append(once(mlc, model, goal, flags))
        if done[-1].wall > 10 and len(done) >= 2 or done[-1].wall > 40:
            break
    best = min(done, key=lambda taken: taken.wall)
    report = json.loads(best.out)["report"]
    # Each stage at its fastest: what else the machine does falls on one or the other.
    stages = [json.loads(taken.out)["report"]["stages"] for taken in done]
    report["stages"] = {name: min(run[name] for run in stages) for name in stages[0]}
    return best, report


def incumbent(model, goal, limit):
    """Its temporary files go where the models are, and do not outlive it."""
    limits.remove(goal)
    scratch = goal.with_name("scratch")
    scratch.mkdir(exist_ok=True)
    environment = {"TQDM_DISABLE": "1", "PYTHONWARNINGS": "ignore", "TMPDIR": str(scratch)}
    try:
        taken = run([sys.executable, HERE / "incumbent.py", model, goal], os.environ | environment, limit)
    finally:
        limits.remove(scratch)
    if taken.wall >= limit:
        return {"failed": f"not done after {limit:.0f} s"}
    line = next((line for line in taken.out.splitlines() if line.startswith("{")), None)
    if taken.code != 0 or line is None:
        return {"failed": last_line(taken.err)}
    result = {"wall": taken.wall, "cpu": taken.cpu, "peak": taken.peak, "own": taken.own}
    return result | json.loads(line) | {"bytes": size(goal)}


def prepare(name, args):
    """The file of a model, made if it is not there or an older script made it."""
    model = args.keep / f"{name}{MODELS[name].suffix}"
    made_by = args.keep / f"{name}.script"
    scripts = [HERE / "models.py", HERE / "sparse.py"][: 2 if MODELS[name].hollow else 1]
    script = hashlib.sha256(b"".join(path.read_bytes() for path in scripts)).hexdigest()
    if not model.exists() or not made_by.exists() or made_by.read_text() != script:
        print(f"{name}: making the model", file=sys.stderr, flush=True)
        done = subprocess.run(
            [sys.executable, HERE / "models.py", args.keep, name], stderr=subprocess.PIPE, text=True
        )
        if done.returncode != 0:
            raise Failed(last_line(done.stderr))
        made_by.write_text(script)
    return model


def row(name, args):
    model, goal = prepare(name, args), args.keep / "out.mlpackage"
    hollow = MODELS[name].hollow
    try:
        need = model.stat().st_size * 5 // 8
        if limits.free(args.keep) < need:
            raise Failed(f"{need / 1e9:.0f} GB of disk needed")
        limits.warm(model)
        print(f"{name}: converting", file=sys.stderr, flush=True)
        plain, told = convert(args.mlc, model, goal, "--no-verify")
        result = {
            "name": name,
            "input": model.stat().st_size,
            "parameters": told["parameters"],
            "ops": sum(count for _, count in told["functions"]),
            "bytes": size(goal),
            "stages": told["stages"],
            "plain": measured(plain),
            "hollow": hollow,
            "copy_output": limits.copy(goal, args.keep / "copy.mlpackage"),
        }
        if hollow:
            result["incumbent"] = {"failed": "not run: it would hold all weights"}
            return result
        checked, told_checked = convert(args.mlc, model, goal)
        result["checked"] = measured(checked) | {"verified": told_checked["verify"] is not None}
        # What was seen in the comparison lets more be computed in half precision: this is what users get.
        result["ops"] = sum(count for _, count in told_checked["functions"])
        result["bytes"] = size(goal)
        result["copy_input"] = limits.copy(model, args.keep / "copy.bin")
        result["round"] = limits.round_weights(model, args.keep / "copy.bin")
        if model.stat().st_size > CONFINED:
            result["confined"] = confined(args.mlc, model, goal)
        limits.remove(goal)
        if not args.no_coremltools:
            print(f"{name}: converting with coremltools", file=sys.stderr, flush=True)
            result["incumbent"] = incumbent(model, goal, args.limit)
        return result
    finally:
        limits.remove(goal)
        if not args.keep_models:
            limits.remove(model)


def measured(taken):
    return {"wall": taken.wall, "cpu": taken.cpu, "peak": taken.peak, "own": taken.own}


def confined(mlc, model, goal):
    """A conversion in a memory cgroup that is smaller than the model."""
    group = Group(CONFINED)
    if group.path is None:
        return {"failed": "no memory cgroup can be made here"}
    try:
        return measured(once(mlc, model, goal, ["--no-verify"], group))
    except Failed as error:
        return {"failed": str(error)}
    finally:
        group.close()


def startup(mlc):
    return min(run([mlc, "--version"]).wall for _ in range(20))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mlc", type=Path, required=True)
    parser.add_argument("--keep", type=Path, required=True)
    parser.add_argument("--keep-models", action="store_true")
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--no-coremltools", action="store_true")
    parser.add_argument("--limit", type=float, default=900.0)
    parser.add_argument("--build-seconds", type=float)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    unknown = [name for name in args.only if name not in MODELS]
    if unknown:
        raise SystemExit(f"no model is called {unknown[0]}; there are {', '.join(MODELS)}")
    args.keep.mkdir(parents=True, exist_ok=True)
    names = [name for name in MODELS if not args.only or name in args.only]
    rows, load = [], os.getloadavg()[0]
    for name in names:
        try:
            rows.append(row(name, args))
        except Failed as error:
            print(f"{name}: {error}", file=sys.stderr, flush=True)
            rows.append({"name": name, "failed": str(error)})
        (args.keep / "results.json").write_text(json.dumps({"rows": rows}, indent=1))
    facts = {
        "startup": startup(args.mlc),
        "binary": args.mlc.stat().st_size,
        "build": args.build_seconds,
        "load": (load, os.getloadavg()[0]),
    }
    (args.keep / "results.json").write_text(json.dumps({"rows": rows, "facts": facts}, indent=1))
    args.out.write_text(report.page(rows, facts, DEPTHS))


if __name__ == "__main__":
    main()
