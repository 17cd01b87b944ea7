"""Compares what mlc and coremltools make of the weights of models.

For each model and scheme both tools compress, both results are decoded by coremltools, and the mean squared
error of each weight is set against that of the other tool. What mlc itself decodes (`mlc decompress`) must
be what coremltools decodes, number by number. Prints a table with a row for each scheme, and the weights
that are worse, decode to something else, or are left although coremltools compresses them; exits with 1 if
there is one.

    python compression.py --mlc target/release/mlc --cases target/cases [--scheme w8].. [PACKAGE]..

Models of `--cases` are converted by mlc first. What coremltools refuses is counted, as are models with
weights of more elements than `--limit`, of which its k-means would take hours.
"""

import argparse
import contextlib
import io
import json
import logging
import multiprocessing
import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np

warnings.filterwarnings("ignore")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import coremltools as ct  # noqa: E402
import coremltools.optimize.coreml as cto  # noqa: E402
from coremltools.models import utils as ct_utils  # noqa: E402
from coremltools.converters.mil.frontend.milproto.load import load as load_mil  # noqa: E402

logging.getLogger("coremltools").setLevel(logging.CRITICAL)


class Value:
    """What a variable of a program holds."""

    def __init__(self, val):
        self.val = val


SUFFIXES = ("_quantized", "_palettized", "_palettized_pcs", "_sparsified")


def linear(**options):
    options.setdefault("mode", "linear_symmetric")
    return "linear", cto.OpLinearQuantizerConfig(**options)


def palette(**options):
    options.setdefault("mode", "kmeans")
    return "palette", cto.OpPalettizerConfig(**options)


def prune(**options):
    return "prune", cto.OpMagnitudePrunerConfig(**options)


def threshold(limit):
    options = {"threshold": limit, "minimum_sparsity_percentile": 0.0}
    return "prune", cto.OpThresholdPrunerConfig(**options)


def blocks(size, **options):
    return linear(granularity="per_block", block_size=size, **options)


def grouped(size, **options):
    return palette(granularity="per_grouped_channel", group_size=size, **options)


# What the other tool does in one call or, for joint schemes, in several.
SCHEMES = {
    "w8": [linear(dtype="int8")],
    "w8-unsigned": [linear(dtype="uint8")],
    "w8-tensor": [linear(dtype="int8", granularity="per_tensor")],
    "w8-asym": [linear(dtype="int8", mode="linear")],
    "w8-asym-unsigned": [linear(dtype="uint8", mode="linear")],
    "w8-block32": [blocks(32, dtype="int8")],
    "w8-tensor-asym-unsigned": [
        linear(dtype="uint8", mode="linear", granularity="per_tensor")
    ],
    "w8-block16-asym-unsigned": [blocks(16, dtype="uint8", mode="linear")],
    "w4": [linear(dtype="int4")],
    "w4-tensor": [linear(dtype="int4", granularity="per_tensor")],
    "w4-tensor-asym": [linear(dtype="int4", mode="linear", granularity="per_tensor")],
    "w4-tensor-unsigned": [linear(dtype="uint4", granularity="per_tensor")],
    "w4-asym": [linear(dtype="int4", mode="linear")],
    "w4-unsigned": [linear(dtype="uint4")],
    "w4-asym-unsigned": [linear(dtype="uint4", mode="linear")],
    "w4-block32": [blocks(32, dtype="int4")],
    "w4-block16": [blocks(16, dtype="int4")],
    "w4-block32-asym": [blocks(32, dtype="int4", mode="linear")],
    "w4-block8-asym-unsigned": [blocks(8, dtype="uint4", mode="linear")],
    "lut1": [palette(nbits=1)],
    "lut2": [palette(nbits=2)],
    "lut3": [palette(nbits=3)],
    "lut4": [palette(nbits=4)],
    "lut6": [palette(nbits=6)],
    "lut8": [palette(nbits=8)],
    "lut1-uniform": [palette(nbits=1, mode="uniform")],
    "lut2-uniform": [palette(nbits=2, mode="uniform")],
    "lut3-uniform": [palette(nbits=3, mode="uniform")],
    "lut4-uniform": [palette(nbits=4, mode="uniform")],
    "lut6-uniform": [palette(nbits=6, mode="uniform")],
    "lut8-uniform": [palette(nbits=8, mode="uniform")],
    "lut-unique": [palette(mode="unique")],
    "lut2-g4": [grouped(4, nbits=2)],
    "lut1-g8": [grouped(8, nbits=1)],
    "lut4-g16": [grouped(16, nbits=4)],
    "lut3-g8-axis1": [grouped(8, nbits=3, channel_axis=1)],
    "lut4-g32": [grouped(32, nbits=4)],
    "lut6-g16": [grouped(16, nbits=6)],
    "lut8-g16": [grouped(16, nbits=8)],
    "lut4-g8-uniform": [grouped(8, nbits=4, mode="uniform")],
    "lut4-pcs": [palette(nbits=4, enable_per_channel_scale=True)],
    "lut3-g16-pcs": [grouped(16, nbits=3, enable_per_channel_scale=True)],
    "lut4-v2": [palette(nbits=4, cluster_dim=2)],
    "lut6-v4": [palette(nbits=6, cluster_dim=4)],
    "lut3-g16-v2": [grouped(16, nbits=3, cluster_dim=2)],
    "lut8-i8": [palette(nbits=8), linear(dtype="int8", granularity="per_tensor")],
    "lut4-i8": [palette(nbits=4), linear(dtype="int8", granularity="per_tensor")],
    "prune-50": [prune(target_sparsity=0.5)],
    "prune-75": [prune(target_sparsity=0.75)],
    "prune-t0.02": [threshold(0.02)],
    "prune-50-block8-dim1": [prune(target_sparsity=0.5, block_size=8, dim=1)],
    "prune-60-block4": [prune(target_sparsity=0.6, block_size=4)],
    "prune-2:4": [prune(n_m_ratio=(2, 4))],
    "prune-3:4-dim0": [prune(n_m_ratio=(3, 4), dim=0)],
    "prune-50+lut6-g16": [prune(target_sparsity=0.5), grouped(16, nbits=6)],
    "prune-75+lut4": [prune(target_sparsity=0.75), palette(nbits=4)],
    "prune-50+w8": [prune(target_sparsity=0.5), linear(dtype="int8")],
    "prune-2:4+w8": [prune(n_m_ratio=(2, 4)), linear(dtype="int8")],
    "prune-75+w4-block32": [prune(target_sparsity=0.75), blocks(32, dtype="int4")],
}


class Program:
    """A program that compressions of coremltools change, without a package written between them."""

    def __init__(self, package):
        model = ct.models.MLModel(str(package), skip_model_load=True)
        spec = model.get_spec()
        version = max(spec.specificationVersion, ct_utils._SPECIFICATION_VERSION_IOS_16)
        self.prog = load_mil(
            spec, specification_version=version, file_weights_dir=model.weights_dir
        )

    def _is_multifunction(self):
        return len(self.prog.functions) > 1

    @staticmethod
    def applied(program, passes, *_, **__):
        for one in passes if isinstance(passes, (list, tuple)) else [passes]:
            one.apply(program.prog)
        return program


# The public functions of coremltools end in this, which else writes and loads a package each time.
ct_utils._apply_graph_pass = Program.applied


def operations(block):
    for op in block.operations:
        yield op
        for inner in op.blocks:
            yield from operations(inner)


def base(name):
    for suffix in SUFFIXES:
        if name.endswith(suffix):
            return base(name[: -len(suffix)])
    return name


def stages(op):
    """The kinds of ops that decode a weight."""
    kinds = set()
    if op is not None and op.op_type.startswith("constexpr_"):
        kinds.add(op.op_type)
        for value in op.inputs.values():
            for one in value if isinstance(value, (list, tuple)) else [value]:
                kinds |= stages(one.op)
    return kinds


def materialized(op):
    """What an op decodes to, and what it is made of is decoded before."""
    for value in op.inputs.values():
        for one in value if isinstance(value, (list, tuple)) else [value]:
            if one.val is None and one.op is not None and one.op.op_type.startswith("constexpr_"):
                made = materialized(one.op)
                parts = made if isinstance(made, (tuple, list)) else [made]
                for out, part in zip(one.op.outputs, parts):
                    out._sym_val = Value(part)
    return op.materialized_val_inference()


def weights(program):
    """Plain and decoded floats of two axes or more, by name; and how those that were decoded are
    stored, by name."""
    found, decoded = {}, {}
    for function in program.prog.functions.values():
        for op in operations(function):
            for out in op.outputs:
                if op.op_type == "const":
                    value = op.outputs[0].val
                elif op.op_type.startswith("constexpr_"):
                    users = [u.op_type for u in out.child_ops]
                    if any(u.startswith("constexpr_") for u in users):
                        continue
                    value = materialized(op)
                    if isinstance(value, (tuple, list)):
                        continue
                    decoded[base(out.name)] = stages(op)
                else:
                    continue
                if isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.ndim > 1:
                    found[base(out.name)] = value.astype(np.float64)
    return found, decoded


def by_coremltools(package, scheme):
    program = Program(package)
    compress = {
        "linear": cto.linear_quantize_weights,
        "palette": cto.palettize_weights,
        "prune": cto.prune_weights,
    }
    for at, (kind, config) in enumerate(SCHEMES[scheme]):
        joint = {"joint_compression": True} if at else {}
        program = compress[kind](program, cto.OptimizationConfig(global_config=config), **joint)
    return weights(program)


def run_mlc(*line):
    ran = subprocess.run([str(part) for part in line], capture_output=True, text=True)
    if ran.returncode:
        raise RuntimeError(ran.stdout + ran.stderr)
    return ran.stdout


def compare(args, package, scheme, plain, folder):
    """A row for a package and a scheme."""
    ours, plain_again = folder / "ours.mlpackage", folder / "plain.mlpackage"
    row = {"scheme": scheme, "weights": 0, "worse": [], "left": [], "different": []}
    if any(kind == "palette" for kind, _ in SCHEMES[scheme]):
        if max((value.size for value in plain.values()), default=0) > args.limit:
            return row | {"skipped": True}
    flags = ["--recipe", scheme, "--no-verify", "--json", "--force"]
    report = json.loads(run_mlc(args.mlc, "compress", package, "-o", ours, *flags))["report"]
    # What would take more bytes than it takes now stays, and is told.
    larger = {row["name"] for row in report["weights"] if "would take" in row["note"]}
    got, decoded = weights(Program(ours))
    run_mlc(args.mlc, "decompress", ours, "-o", plain_again, "--json", "--force")
    by_us, _ = weights(Program(plain_again))
    row["different"] = sorted(n for n in decoded if not np.array_equal(by_us.get(n), got[n]))
    try:
        other, other_decoded = by_coremltools(package, scheme)
    except Exception as error:  # the incumbent's own limits are part of the comparison
        return row | {"refused": f"{type(error).__name__}: {error}"}
    mse = lambda values, name: float(np.mean((values[name] - plain[name]) ** 2))
    # A weight that misses a stage was left half done by the other tool.
    names = [n for n in decoded if n in other_decoded and decoded[n] <= other_decoded[n]]
    ratios = {}
    for name in sorted(n for n in names if n in plain and n in got and n in other):
        a, b = mse(got, name), mse(other, name)
        ratios[name] = a / b if b else (1.0 if a == 0 else float("inf"))
        if a > b * (1 + 1e-9) + 1e-30:
            row["worse"].append([name, list(plain[name].shape), a, b])
    row["weights"] = len(ratios)
    row["only_mlc"] = len(decoded) - len(names)
    row["left"] = sorted(other_decoded.keys() - decoded.keys() - larger)
    row["larger"] = len(larger & other_decoded.keys())
    row["ratios"] = list(ratios.values())
    return row


def compare_all(job):
    """The rows of a package."""
    args, (label, package) = job
    rows = []
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        try:
            if package.suffix != ".mlpackage":
                made = Path(folder) / f"{label}.mlpackage"
                flags = ["--target", "ios18", "--no-verify", "--precision", args.precision]
                run_mlc(args.mlc, "convert", package, "-o", made, *flags)
                package = made
            plain, _ = weights(Program(package))
        except Exception as error:
            return [{"package": label, "error": f"{type(error).__name__}: {error}"}]
        for scheme in args.schemes:
            try:
                row = compare(args, package, scheme, plain, Path(folder))
            except RuntimeError as error:
                row = {"scheme": scheme, "error": str(error)}
            rows.append({"package": label} | row)
    return rows


def models(args):
    """Names and files of what is to be compressed."""
    found = []
    for package in args.packages:
        name = package.parent.name if package.stem in ("model", "base") else package.stem
        found.append((name, package))
    files = {
        "models": ["t27/model.pt2", "model.pt"],
        "tf_models": ["frozen.pb", "frozen_tf1.pb", "saved_model", "saved_model_tf1"],
    }
    for family, names in files.items() if args.cases else []:
        for folder in sorted((args.cases / family).glob("*/")):
            there = [folder / name for name in names if (folder / name).exists()]
            found.extend((folder.name, file) for file in there[:1])
    return [(name, file) for name, file in found if not args.models or name in args.models]


def table(rows):
    """The lines of a table by scheme, and those of what is wrong."""
    yield f"{'scheme':<26}{'models':>7}{'weights':>9}{'mean':>9}{'worst':>10}{'worse':>7}{'refused':>9}"
    by_scheme = {}
    for row in rows:
        if "scheme" in row:
            by_scheme.setdefault(row["scheme"], []).append(row)
    every = []
    for scheme, of in by_scheme.items():
        ratios = [ratio for row in of for ratio in row.get("ratios", [])]
        every += ratios
        mean = f"{np.mean(ratios):.4f}" if ratios else "-"
        worst = f"{max(ratios):.6f}" if ratios else "-"
        count = sum(bool(row.get("weights")) for row in of)
        worse = sum(len(row.get("worse", [])) for row in of)
        refused = sum("refused" in row for row in of)
        yield f"{scheme:<26}{count:>7}{len(ratios):>9}{mean:>9}{worst:>10}{worse:>7}{refused:>9}"
    only = sum(row.get("only_mlc", 0) for row in rows)
    larger = sum(row.get("larger", 0) for row in rows)
    skipped = sum("skipped" in row for row in rows)
    worse = sum(len(row.get("worse", [])) for row in rows)
    packages = len({row["package"] for row in rows})
    yield (
        f"{len(every)} weights of {packages} models: {worse} worse than coremltools, worst ratio of"
        f" errors {max(every, default=1.0):.6f}, mean {np.mean(every or [1.0]):.4f}; {only} that only"
        f" mlc compresses whole; {larger} that would take more bytes than before, which mlc leaves and"
        f" tells; {skipped} times a model left out as of --limit"
    )
    for row in rows:
        at = f"{row['package']} {row.get('scheme', '')}"
        if "error" in row:
            yield f"{at}: {row['error'].strip()[:300]}"
        for name, shape, a, b in row.get("worse", []):
            yield f"{at}: `{name}` {shape} is worse: {a:.6e}, coremltools {b:.6e}"
        for name in row.get("left", []):
            yield f"{at}: `{name}` stays, coremltools compresses it"
        for name in row.get("different", []):
            yield f"{at}: `{name}` decodes to something else"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--mlc", required=True)
    parser.add_argument("--cases", type=Path)
    parser.add_argument("--model", dest="models", action="append", default=[])
    parser.add_argument("--scheme", dest="schemes", action="append", default=[])
    parser.add_argument("--precision", default="fp16")
    parser.add_argument("--limit", type=int, default=1_000_000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", type=Path)
    parser.add_argument("packages", nargs="*", type=Path)
    args = parser.parse_args()
    args.schemes = args.schemes or list(SCHEMES)
    for scheme in args.schemes:
        if scheme not in SCHEMES:
            parser.error(f"no scheme `{scheme}`; there are {', '.join(SCHEMES)}")
    jobs = [(args, model) for model in models(args)]
    if not jobs:
        parser.error("no model to compress")
    rows = []
    with multiprocessing.Pool(args.jobs) as pool:
        for at, some in enumerate(pool.imap_unordered(compare_all, jobs)):
            rows += some
            print(f"{at + 1}/{len(jobs)} {some[0]['package']}", file=sys.stderr, flush=True)
    rows.sort(key=lambda row: row["package"])
    if args.json:
        args.json.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for line in table(rows):
        print(line)
    keys = ("worse", "error", "left", "different")
    sys.exit(int(any(row.get(key) for row in rows for key in keys)))


if __name__ == "__main__":
    main()
