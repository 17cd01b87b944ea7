"""Compares what mlc and coremltools make of the weights of packages.

For each package and scheme both tools compress, both results are decoded by coremltools, and the mean
squared error of each weight is set against that of the other tool, with the times of both. Exits with 1
if a weight of mlc is worse.

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

SUFFIXES = ("_quantized", "_palettized", "_palettized_pcs", "_sparsified")


def linear(**options):
    options.setdefault("mode", "linear_symmetric")
    return lambda: ("linear", cto.OpLinearQuantizerConfig(**options))


def palette(**options):
    options.setdefault("mode", "kmeans")
    return lambda: ("palette", cto.OpPalettizerConfig(**options))


def prune(**options):
    return lambda: ("prune", cto.OpMagnitudePrunerConfig(**options))


SCHEMES = {
    "w8": linear(dtype="int8"),
    "w8-tensor": linear(dtype="int8", granularity="per_tensor"),
    "w8-asym": linear(dtype="int8", mode="linear"),
    "w8-asym-unsigned": linear(dtype="uint8", mode="linear"),
    "w4": linear(dtype="int4"),
    "w4-block32": linear(dtype="int4", granularity="per_block", block_size=32),
    "w4-block32-asym": linear(dtype="int4", mode="linear", granularity="per_block", block_size=32),
    "lut1": palette(nbits=1),
    "lut2": palette(nbits=2),
    "lut3": palette(nbits=3),
    "lut4": palette(nbits=4),
    "lut6": palette(nbits=6),
    "lut8": palette(nbits=8),
    "lut4-uniform": palette(nbits=4, mode="uniform"),
    "lut4-g16": palette(nbits=4, granularity="per_grouped_channel", group_size=16),
    "lut4-pcs": palette(nbits=4, enable_per_channel_scale=True),
    "lut4-v2": palette(nbits=4, cluster_dim=2),
    "prune-50": prune(target_sparsity=0.5),
    "prune-2:4": prune(n_m_ratio=(2, 4)),
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


def weights(package):
    """Plain and decoded floats of two axes or more, by name; and the names that were decoded."""
    found, decoded = {}, set()
    for function in functions(package).values():
        for op in operations(function):
            for out in op.outputs:
                if op.op_type == "const":
                    value = op.outputs[0].val
                elif op.op_type.startswith("constexpr_"):
                    users = [u.op_type for u in out.child_ops]
                    if any(u.startswith("constexpr_") for u in users):
                        continue
                    value = op.materialized_val_inference()
                    if isinstance(value, (tuple, list)):
                        continue
                    decoded.add(base(out.name))
                else:
                    continue
                if isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.ndim > 1:
                    found[base(out.name)] = value.astype(np.float64)
    return found, decoded


def by_coremltools(package, scheme, goal):
    kind, config = SCHEMES[scheme]()
    model = ct.models.MLModel(str(package), skip_model_load=True)
    compress = {
        "linear": cto.linear_quantize_weights,
        "palette": cto.palettize_weights,
        "prune": cto.prune_weights,
    }[kind]
    start = time.perf_counter()
    made = compress(model, cto.OptimizationConfig(global_config=config))
    seconds = time.perf_counter() - start
    made.save(str(goal))
    return seconds


def by_mlc(mlc, package, scheme, goal):
    start = time.perf_counter()
    ran = subprocess.run(
        [mlc, "compress", package, "-o", goal, "--recipe", scheme, "--no-verify", "--json", "--force"],
        capture_output=True,
        text=True,
    )
    seconds = time.perf_counter() - start
    if ran.returncode:
        raise RuntimeError(ran.stdout or ran.stderr)
    return seconds


def compare(mlc, package, scheme, folder):
    ours, theirs = folder / "ours.mlpackage", folder / "theirs.mlpackage"
    row = {"package": package.name, "scheme": scheme}
    row["mlc_s"] = by_mlc(mlc, str(package), scheme, str(ours))
    plain, _ = weights(package)
    got, decoded = weights(ours)
    try:
        row["coremltools_s"] = by_coremltools(package, scheme, theirs)
        other, other_decoded = weights(theirs)
    except Exception as error:  # the incumbent's own limits are part of the comparison
        row["coremltools"] = f"{type(error).__name__}: {error}"
        other, other_decoded = {}, set()
    mse = lambda values, name: float(np.mean((values[name] - plain[name]) ** 2))
    both = sorted(n for n in decoded & other_decoded if n in plain and n in got and n in other)
    worse = []
    ratios = []
    for name in both:
        a, b = mse(got, name), mse(other, name)
        ratios.append(a / b if b else (1.0 if a == 0 else float("inf")))
        if a > b * (1 + 1e-9) + 1e-30:
            worse.append([name, a, b])
    row["weights"] = len(both)
    row["only_mlc"] = len(decoded - other_decoded)
    row["only_coremltools"] = sorted(other_decoded - decoded)
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
                    row = {"package": package.name, "scheme": scheme, "error": str(error)}
            failed |= bool(row.get("worse") or row.get("error") or row.get("only_coremltools"))
            print(json.dumps(row), flush=True)
    sys.exit(int(failed))


if __name__ == "__main__":
    main()
