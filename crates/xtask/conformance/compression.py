"""Compares what mlc and coremltools make of the weights of packages.

For each package and scheme both tools compress, both results are decoded by coremltools, and the mean
squared error of each weight is set against that of the other tool, with the times of both. What mlc
itself decodes (`mlc decompress`) must be what coremltools decodes, number by number. Exits with 1 if a
weight of mlc is worse, decodes to something else, or is left although coremltools compresses it.

    python compression.py --mlc target/release/mlc --schemes w8,w4-block32 PACKAGE..
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

warnings.filterwarnings("ignore")

import coremltools as ct  # noqa: E402
import coremltools.optimize.coreml as cto  # noqa: E402
from coremltools.converters.mil.frontend.milproto.load import load as load_mil  # noqa: E402

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
    "w4": [linear(dtype="int4")],
    "w4-tensor": [linear(dtype="int4", granularity="per_tensor")],
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
    "lut4-uniform": [palette(nbits=4, mode="uniform")],
    "lut8-uniform": [palette(nbits=8, mode="uniform")],
    "lut-unique": [palette(mode="unique")],
    "lut2-g4": [grouped(4, nbits=2)],
    "lut4-g16": [grouped(16, nbits=4)],
    "lut3-g8-axis1": [grouped(8, nbits=3, channel_axis=1)],
    "lut4-pcs": [palette(nbits=4, enable_per_channel_scale=True)],
    "lut3-g16-pcs": [grouped(16, nbits=3, enable_per_channel_scale=True)],
    "lut4-v2": [palette(nbits=4, cluster_dim=2)],
    "lut6-v4": [palette(nbits=6, cluster_dim=4)],
    "lut3-g16-v2": [grouped(16, nbits=3, cluster_dim=2)],
    "lut4-i8": [palette(nbits=4), linear(dtype="int8", granularity="per_tensor")],
    "prune-50": [prune(target_sparsity=0.5)],
    "prune-75": [prune(target_sparsity=0.75)],
    "prune-t0.02": [threshold(0.02)],
    "prune-60-block4": [prune(target_sparsity=0.6, block_size=4)],
    "prune-2:4": [prune(n_m_ratio=(2, 4))],
    "prune-3:4-dim0": [prune(n_m_ratio=(3, 4), dim=0)],
    "prune-75+lut4": [prune(target_sparsity=0.75), palette(nbits=4)],
    "prune-50+w8": [prune(target_sparsity=0.5), linear(dtype="int8")],
    "prune-2:4+w8": [prune(n_m_ratio=(2, 4)), linear(dtype="int8")],
    "prune-75+w4-block32": [prune(target_sparsity=0.75), blocks(32, dtype="int4")],
}


def functions(package):
    """The MIL functions of a package as coremltools reads them."""
    model = ct.models.MLModel(str(package), skip_model_load=True)
    spec = model.get_spec()
    program = load_mil(
        spec,
        specification_version=spec.specificationVersion,
        file_weights_dir=model.weights_dir,
    )
    return program.functions


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


def weights(package):
    """Plain and decoded floats of two axes or more, by name; and how those that were decoded are
    stored, by name."""
    found, decoded = {}, {}
    for function in functions(package).values():
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


def by_coremltools(package, scheme, goal):
    model = ct.models.MLModel(str(package), skip_model_load=True)
    compress = {
        "linear": cto.linear_quantize_weights,
        "palette": cto.palettize_weights,
        "prune": cto.prune_weights,
    }
    start = time.perf_counter()
    for at, (kind, config) in enumerate(SCHEMES[scheme]):
        joint = {"joint_compression": True} if at else {}
        model = compress[kind](model, cto.OptimizationConfig(global_config=config), **joint)
    seconds = time.perf_counter() - start
    model.save(str(goal))
    return seconds


def run_mlc(*line):
    start = time.perf_counter()
    ran = subprocess.run(line, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    if ran.returncode:
        raise RuntimeError(ran.stdout or ran.stderr)
    return seconds


def by_mlc(mlc, package, scheme, goal):
    flags = ["--recipe", scheme, "--no-verify", "--json", "--force"]
    return run_mlc(mlc, "compress", package, "-o", goal, *flags)


def label(package):
    """The name of a package, or of the folder that holds a `model.mlpackage`."""
    return package.parent.name if package.stem == "model" else package.stem


def compare(mlc, package, scheme, folder):
    ours, theirs = folder / "ours.mlpackage", folder / "theirs.mlpackage"
    plain_again = folder / "plain.mlpackage"
    row = {"package": label(package), "scheme": scheme}
    row["mlc_s"] = by_mlc(mlc, str(package), scheme, str(ours))
    plain, _ = weights(package)
    got, decoded = weights(ours)
    run_mlc(mlc, "decompress", str(ours), "-o", str(plain_again), "--json", "--force")
    by_us, _ = weights(plain_again)
    row["decoded_differently"] = sorted(
        n for n in decoded if n in by_us and not np.array_equal(by_us[n], got[n])
    )
    try:
        row["coremltools_s"] = by_coremltools(package, scheme, theirs)
        other, other_decoded = weights(theirs)
    except Exception as error:  # the incumbent's own limits are part of the comparison
        row["coremltools"] = f"{type(error).__name__}: {error}"
        other, other_decoded = {}, {}
    mse = lambda values, name: float(np.mean((values[name] - plain[name]) ** 2))
    # A weight that misses a stage was left half done by the other tool.
    names = [n for n in decoded if n in other_decoded and decoded[n] <= other_decoded[n]]
    both = sorted(n for n in names if n in plain and n in got and n in other)
    worse = []
    ratios = []
    for name in both:
        a, b = mse(got, name), mse(other, name)
        ratios.append(a / b if b else (1.0 if a == 0 else float("inf")))
        if a > b * (1 + 1e-9) + 1e-30:
            worse.append([name, a, b])
    row["weights"] = len(both)
    row["only_mlc"] = len(decoded) - len(names)
    row["only_coremltools"] = sorted(other_decoded.keys() - decoded.keys())
    row["mean_ratio"] = float(np.mean(ratios)) if ratios else None
    row["worse"] = worse
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--mlc", required=True)
    parser.add_argument("--schemes", default=",".join(SCHEMES))
    parser.add_argument("packages", nargs="+", type=Path)
    args = parser.parse_args()
    failed = False
    for package in args.packages:
        for scheme in args.schemes.split(","):
            with tempfile.TemporaryDirectory() as folder:
                try:
                    row = compare(args.mlc, package, scheme, Path(folder))
                except RuntimeError as error:
                    row = {"package": label(package), "scheme": scheme, "error": str(error)}
            keys = ("worse", "error", "only_coremltools", "decoded_differently")
            failed |= any(row.get(key) for key in keys)
            print(json.dumps(row), flush=True)
    sys.exit(int(failed))


if __name__ == "__main__":
    main()
