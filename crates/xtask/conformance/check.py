"""Checks that Core ML packages load in coremltools and mean what they declare.

For each package: the model is read with coremltools and turned back into a MIL program, which infers
every type anew; the inferred types, the feature descriptions, the operation set, the names and every
blob of the weight file are compared with what the package declares.

One line a package (`ok` or `FAIL`, problems below it), or one JSON object with --json. Exit code 1
when any package fails, 2 when there is nothing to check.
"""

import argparse
import concurrent.futures
import json
import logging
import os
import sys
import traceback

logging.disable(logging.WARNING)

from coremltools.models.utils import load_spec  # noqa: E402

import blobs  # noqa: E402
import features  # noqa: E402
import retype  # noqa: E402
import structure  # noqa: E402

EXTENSION = ".mlpackage"


def find_packages(paths):
    """The packages that `paths` name, and those below the folders among them, sorted."""
    found = set()
    for path in paths:
        if path.rstrip(os.sep).endswith(EXTENSION):
            found.add(path.rstrip(os.sep))
            continue
        for folder, names, _ in os.walk(path):
            packages = [name for name in names if name.endswith(EXTENSION)]
            found.update(os.path.join(folder, name) for name in packages)
            names[:] = [name for name in names if name not in packages]
    return sorted(found)


def check(path):
    """The result of one package: a dictionary with `path`, counts and the list `problems`."""
    result = {"path": path, "ops": 0, "types": 0, "blobs": 0, "problems": []}
    problems = result["problems"]
    try:
        model = load_spec(path)
    except Exception as error:
        problems.append(f"coremltools cannot read it: {error}")
        return result
    if model.WhichOneof("Type") != "mlProgram":
        problems.append(f"a model of type {model.WhichOneof('Type')}, not an ML program")
        return result
    weights = os.path.join(path, "Data", "com.apple.CoreML", "weights")
    parts = [
        lambda: structure.check(model, result),
        lambda: features.check(model, result),
        lambda: blobs.check(model, weights, result),
        lambda: retype.check(model, weights, result),
    ]
    for part in parts:
        try:
            part()
        except Exception:
            problems.append("the checker stopped: " + traceback.format_exc(limit=-3).strip())
    return result


def check_all(paths, jobs):
    """Results in the order of `paths`. A package that kills its process fails alone."""
    results = {}
    with concurrent.futures.ProcessPoolExecutor(max_workers=jobs) as pool:
        futures = {path: pool.submit(check, path) for path in paths}
        for path, future in futures.items():
            try:
                results[path] = future.result()
            except concurrent.futures.process.BrokenProcessPool:
                break
    for path in paths:
        if path not in results:
            results[path] = check_alone(path)
        yield results[path]


def check_alone(path):
    with concurrent.futures.ProcessPoolExecutor(max_workers=1) as pool:
        try:
            return pool.submit(check, path).result()
        except concurrent.futures.process.BrokenProcessPool:
            problems = ["coremltools crashed while reading it"]
            return {"path": path, "ops": 0, "types": 0, "blobs": 0, "problems": problems}


def main():
    parser = argparse.ArgumentParser(description="Checks Core ML packages with coremltools.")
    parser.add_argument("paths", nargs="+", help="packages, or folders with packages")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    args = parser.parse_args()
    packages = find_packages(args.paths)
    if not packages:
        print(f"no {EXTENSION} found below {', '.join(args.paths)}", file=sys.stderr)
        return 2
    results = []
    for result in check_all(packages, max(1, args.jobs)):
        results.append(result)
        if not args.json:
            counts = "{ops} ops, {types} types, {blobs} blobs".format(**result)
            print(f"{'FAIL' if result['problems'] else 'ok  '} {result['path']}: {counts}")
            for problem in result["problems"]:
                print(f"     {problem}")
    failed = sum(bool(result["problems"]) for result in results)
    if args.json:
        print(json.dumps({"packages": results, "failed": failed}, indent=1))
    else:
        print(f"{len(results) - failed} of {len(results)} packages conform")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
