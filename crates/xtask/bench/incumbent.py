"""One conversion by coremltools: `python incumbent.py MODEL OUT.mlpackage`.

Prints a line of JSON: seconds of the call of `convert`, seconds of reading and of writing, and the ops of
the result, constants not counted.
"""

import json
import sys
import time
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")

import coremltools as ct  # noqa: E402
import numpy  # noqa: E402
import torch  # noqa: E402

from models import MODELS  # noqa: E402


def count(block):
    return sum(
        (op.op_type != "const") + sum(count(inner) for inner in op.blocks) for op in block.operations
    )


def main():
    start = time.perf_counter()
    inputs = {}
    path = Path(sys.argv[1])
    if path.suffix == ".pt":
        program = torch.jit.load(path)
        types = MODELS[path.stem].inputs
        inputs["inputs"] = [ct.TensorType(shape=shape, dtype=numpy.dtype(ty)) for shape, ty in types]
    else:
        program = torch.export.load(path)
    read = time.perf_counter()
    model = ct.convert(
        program, minimum_deployment_target=ct.target.iOS18, skip_model_load=True, **inputs
    )
    made = time.perf_counter()
    model.save(sys.argv[2])
    end = time.perf_counter()
    ops = sum(count(function) for function in model._mil_program.functions.values())
    seconds = {"read": read - start, "convert": made - read, "write": end - made}
    print(json.dumps(seconds | {"ops": ops}))


if __name__ == "__main__":
    main()
