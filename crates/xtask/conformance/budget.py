"""Compares the budget search with the best recipe of one scheme for all weights, at equal bytes.

For each model of `spectra.py` every scheme is tried as a recipe; the best one that comes to at most as many
bytes as `--like` (w4-block32) is set against `mlc compress --max-bytes` of just its bytes, without and with
`--calib`. Ratios are those of outputs on inputs that calibration has not seen, over all samples together.
Prints a row for each model, and exits with 1 where fewer than four of five gain 1.5 dB.

    python budget.py --mlc target/release/mlc [--model vit].. [FOLDER]
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import spectra

SCHEMES = [
    "w4", "w4-refine", "w4-block32", "w4-block32-refine", "w4-block16", "w4-block32-asym-refine",
    "lut3", "lut3-g8", "lut4", "lut4-g8", "lut4-g16", "lut4-g32", "lut4-pcs", "prune-50+w4-block32",
]


def run(*line):
    ran = subprocess.run([str(part) for part in line], capture_output=True, text=True)
    if ran.returncode:
        raise RuntimeError(ran.stdout + ran.stderr)
    return ran.stdout


def outputs(mlc, package, held, folder):
    found = []
    for file in sorted(held.glob("*.safetensors")):
        name = "input_ids" if b'"input_ids"' in file.read_bytes()[:200] else "x"
        into = folder / "out.npy"
        into.unlink(missing_ok=True)
        output = json.loads(run(mlc, "inspect", package, "--json"))["report"]
        output = output["functions"][0]["outputs"][0]["name"]
        run(mlc, "run", package, "--in", f"{name}=@{file}:{name}", "--out", f"{output}=@{into}")
        found.append(np.load(into).astype(np.float64).ravel())
    return np.concatenate(found)


def ratio(reference, got):
    return float(10 * np.log10(np.sum(reference**2) / np.sum((reference - got) ** 2)))


def compare(mlc, model, like):
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        base, held = model / "base.mlpackage", model / "held"
        reference = outputs(mlc, base, held, folder)

        def compress(*how):
            made = folder / "made.mlpackage"
            report = run(mlc, "compress", base, "-o", made, *how, "--force", "--json", "--no-verify")
            bytes_ = json.loads(report)["report"]["bytes"]
            return bytes_, ratio(reference, outputs(mlc, made, held, folder))

        uniform = {scheme: compress("--recipe", scheme) for scheme in SCHEMES}
        most = uniform[like][0]
        best = max((s for s in SCHEMES if uniform[s][0] <= most), key=lambda s: uniform[s][1])
        row = {"model": model.name, "bytes": uniform[best][0], "best": best, "db": uniform[best][1]}
        row["blind"] = compress("--max-bytes", uniform[best][0])[1]
        calib = ["--calib", model / "calib"]
        row["calibrated"] = compress("--max-bytes", uniform[best][0], *calib)[1]
        row["best_calibrated"] = compress("--recipe", best, *calib)[1]
        row["uniform"] = {s: [b, round(db, 2)] for s, (b, db) in uniform.items()}
        return row


def prepare(mlc, model, seed):
    """Makes what is missing in the folder of a model."""
    if not (model / "model.pt2").exists():
        spectra.write(model.parent, model.name, seed)
    if not (model / "base.mlpackage").exists():
        flags = ["--target", "ios18", "--no-verify"]
        run(mlc, "convert", model / "model.pt2", "-o", model / "base.mlpackage", *flags)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--mlc", required=True)
    parser.add_argument("--like", default="w4-block32")
    parser.add_argument("--model", dest="models", action="append", default=[])
    parser.add_argument("--json", type=Path)
    parser.add_argument("folder", nargs="?", type=Path)
    args = parser.parse_args()
    rows = []
    print(f"{'model':<14}{'bytes':>10}  {'best of one':<22}{'dB':>7}{'blind':>8}{'--calib':>9}", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        for seed, name in enumerate(spectra.MODELS):
            if args.models and name not in args.models:
                continue
            prepare(args.mlc, folder / name, seed)
            row = compare(args.mlc, folder / name, args.like)
            rows.append(row)
            gains = [row[key] - row["db"] for key in ("blind", "calibrated")]
            print(
                f"{name:<14}{row['bytes']:>10}  {row['best']:<22}{row['db']:>7.2f}"
                f"{gains[0]:>+8.2f}{gains[1]:>+9.2f}",
                flush=True,
            )
    if args.json:
        args.json.write_text("".join(json.dumps(row) + "\n" for row in rows))
    gained = sum(row["calibrated"] - row["db"] >= 1.5 for row in rows)
    blind = sum(row["blind"] - row["db"] >= 1.5 for row in rows)
    print(f"1.5 dB or more: {gained} of {len(rows)} with --calib, {blind} without")
    sys.exit(int(gained < len(rows) - 1))


if __name__ == "__main__":
    main()
