"""Conversion by mlc and by coremltools, side by side; started by `cargo xtask bench`."""

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import limits
import report
from measure import run
from models import DEPTHS, MODELS

HERE = Path(__file__).parent


def size(path):
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def convert(mlc, model, goal, *flags):
    """The fastest of the runs, its report, and the seconds of all."""
    done = []
    for _ in range(3):
        limits.remove(goal)
        taken = run([mlc, "convert", model, "-o", goal, "--json", *flags])
        if taken.code != 0:
            raise SystemExit(f"mlc on {model.name}: {taken.err or taken.out}")
        done.append(taken)
        if taken.wall > 20:
            break
    best = min(done, key=lambda taken: taken.wall)
    return best, json.loads(best.out)["report"]


def incumbent(model, goal, limit):
    limits.remove(goal)
    environment = os.environ | {"TQDM_DISABLE": "1", "PYTHONWARNINGS": "ignore"}
    taken = run([sys.executable, HERE / "incumbent.py", model, goal], environment, limit)
    if taken.wall >= limit:
        return {"failed": f"not done after {limit:.0f} s"}
    line = next((line for line in taken.out.splitlines() if line.startswith("{")), None)
    if taken.code != 0 or line is None:
        reason = [line for line in taken.err.splitlines() if line.strip()][-1:] or ["no message"]
        return {"failed": reason[0]}
    result = {"wall": taken.wall, "cpu": taken.cpu, "peak": taken.peak, "own": taken.own}
    return result | json.loads(line) | {"bytes": size(goal)}


def row(name, args):
    model, goal = args.keep / f"{name}{MODELS[name].suffix}", args.keep / "out.mlpackage"
    if not model.exists():
        print(f"{name}: making the model", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, HERE / "models.py", args.keep, name], check=True)
    limits.warm(model)
    print(f"{name}: converting", file=sys.stderr, flush=True)
    plain, told = convert(args.mlc, model, goal, "--no-verify")
    checked, told_checked = convert(args.mlc, model, goal)
    result = {
        "name": name,
        "input": model.stat().st_size,
        "parameters": told["parameters"],
        "ops": sum(count for _, count in told["functions"]),
        "bytes": size(goal),
        "stages": told["stages"],
        "plain": {"wall": plain.wall, "cpu": plain.cpu, "peak": plain.peak, "own": plain.own},
        "checked": {
            "wall": checked.wall, "cpu": checked.cpu, "peak": checked.peak, "own": checked.own,
            "verified": told_checked["verify"] is not None,
        },
        "copy_input": limits.copy(model, args.keep / "copy.bin"),
        "copy_output": limits.copy(goal, args.keep / "copy.mlpackage"),
        "round": limits.round_weights(model, args.keep / "copy.bin"),
    }
    limits.remove(goal)
    if not args.no_coremltools:
        print(f"{name}: converting with coremltools", file=sys.stderr, flush=True)
        result["incumbent"] = incumbent(model, goal, args.limit)
        limits.remove(goal)
    if not args.keep_models:
        limits.remove(model)
    return result


def startup(mlc):
    return min(run([mlc, "--version"]).wall for _ in range(20))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mlc", type=Path, required=True)
    parser.add_argument("--keep", type=Path, required=True)
    parser.add_argument("--keep-models", action="store_true")
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--no-coremltools", action="store_true")
    parser.add_argument("--limit", type=float, default=1800.0)
    parser.add_argument("--build-seconds", type=float)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    unknown = [name for name in args.only if name not in MODELS]
    if unknown:
        raise SystemExit(f"no model is called {unknown[0]}; there are {', '.join(MODELS)}")
    args.keep.mkdir(parents=True, exist_ok=True)
    names = [name for name in MODELS if not args.only or name in args.only]
    rows = [row(name, args) for name in names]
    facts = {
        "startup": startup(args.mlc),
        "binary": args.mlc.stat().st_size,
        "build": args.build_seconds,
        "disk": shutil.disk_usage(args.keep).free,
    }
    (args.keep / "results.json").write_text(json.dumps({"rows": rows, "facts": facts}, indent=1))
    args.out.write_text(report.page(rows, facts, DEPTHS))


if __name__ == "__main__":
    main()
