"""Makes a package with coremltools of every evaluator fixture that Core ML has, one op each.

    python ops.py GOAL [FAMILY..]        coremltools 9.0, numpy, safetensors, ml_dtypes

Each stands in a folder with io.safetensors as `cargo run -p mlc-testkit --bin packages GOAL` takes it;
the outputs are those of testdata/eval, which other software or a loop over the definition gave. The
version of Core ML goes round; a case that one refuses is tried on the later ones.
"""

import json
import logging
import os
import shutil
import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")
os.environ["TQDM_DISABLE"] = "1"

import coremltools as ct
import numpy as np
from coremltools.converters.mil import Builder as mb
from coremltools.converters.mil.mil import types
from safetensors import safe_open
from safetensors.numpy import save_file

logging.getLogger("coremltools").setLevel(logging.CRITICAL)

HERE = Path(__file__).parent
EVAL = HERE.parent.parent / "eval"
TABLE = json.loads(Path(os.environ["MIL_OPS"]).read_text()) if "MIL_OPS" in os.environ else None
TARGETS = [ct.target.iOS15, ct.target.iOS16, ct.target.iOS17, ct.target.iOS18]
INPUT = {
    np.dtype("float32"): types.fp32, np.dtype("float16"): types.fp16,
    np.dtype("int32"): types.int32,
}
NAMES = {
    "f32": "fp32", "f16": "fp16", "i32": "int32", "i8": "int8", "u8": "uint8", "i16": "int16",
    "u16": "uint16", "bool": "bool", "i64": "int64",
}
SMALL = {
    "u1": types.uint1, "u2": types.uint2, "u3": types.uint3, "u4": types.uint4, "u6": types.uint6,
    "i4": types.int4,
}


def parsed(value):
    if isinstance(value, str) and value in ("inf", "-inf", "nan"):
        return np.float32(value)
    return value


class Skip(Exception):
    """Core ML has no such case."""


class Tensors:
    """The tensors of a file by name."""

    def __init__(self, path):
        self.file = safe_open(str(path), "numpy")

    def __getitem__(self, key):
        try:
            return self.file.get_tensor(key)
        except TypeError as error:
            raise Skip(str(error)) from None


def attribute(op, name, value, dtype):
    """An attribute as coremltools takes it; floats in the type of the operands."""
    value = parsed(value)
    if isinstance(value, str):
        return NAMES.get(value, value) if name in ("dtype", "output_dtype") else value
    if isinstance(value, bool):
        return value
    if isinstance(value, float) or isinstance(value, np.floating):
        return dtype(value)
    if isinstance(value, list):
        if value and isinstance(value[0], str):
            return value
        if value and isinstance(value[0], bool):
            return np.array(value, dtype=bool)
        return np.array(value, dtype=np.int32)
    if isinstance(value, int):
        return np.int32(value)
    return value


def narrow(array):
    """The array in a type that Core ML has, if it stands in no other."""
    if array.dtype == np.float64:
        raise Skip("f64")
    if array.dtype == np.int64:
        if array.size and np.abs(array).max() >= 2**31:
            raise Skip("i64")
        raise Skip("i64")
    if array.dtype.name in ("bfloat16", "uint32", "uint64"):
        raise Skip(array.dtype.name)
    return array


def arguments(case, tensors, dtypes):
    """Operands by slot: arrays, or (array, small type)."""
    found = {}
    for slot, keys in case["operands"].items():
        values = []
        for key in keys:
            array = narrow(tensors[key])
            if key in dtypes:
                if dtypes[key] not in SMALL:
                    raise Skip(dtypes[key])
                array = array.astype(types.nptype_from_builtin(SMALL[dtypes[key]]))
            values.append(array)
        found[slot] = values
    return found


def may_vary(array, target):
    """Whether an array may be an input of a model."""
    if array.dtype == np.float16 and target < ct.target.iOS16:
        return False
    return (array.dtype in INPUT or array.dtype == bool) and 1 <= array.ndim <= 5 and array.size > 0


MANY = {"concat", "stack", "einsum", "make_list", "reshape_like"}


def program(case, slots, target, constant):
    """The program, and the arrays of its inputs."""
    inputs, specs = {}, []
    names = {}
    for slot, arrays in slots.items():
        for i, array in enumerate(arrays):
            if slot not in constant and may_vary(array, target):
                name = f"given_{slot}_{i}"
                is_bool = array.dtype == bool
                given = array.astype(np.int32) if is_bool else array
                specs.append((name, mb.TensorSpec(shape=array.shape, dtype=INPUT[given.dtype])))
                inputs[name] = given
                names[slot, i] = (name, is_bool)
    if not specs:
        specs.append(("unused", mb.TensorSpec(shape=(1,), dtype=types.fp32)))
        inputs["unused"] = np.zeros(1, dtype=np.float32)
    floats = [a.dtype for arrays in slots.values() for a in arrays if a.dtype.kind == "f"]
    dtype = {np.dtype("float16"): np.float16}.get(floats[0] if floats else None, np.float32)

    def body(**given):
        call = {}
        for slot, arrays in slots.items():
            values = []
            for i, array in enumerate(arrays):
                if (slot, i) in names:
                    name, is_bool = names[slot, i]
                    value = given[name]
                    if is_bool:
                        value = mb.cast(x=value, dtype="bool")
                else:
                    value = mb.const(val=array)
                values.append(value)
            call[slot] = tuple(values) if case["op"] in MANY and slot in ("values", "ref_tensors") else values[0]
        for name, value in case["attrs"].items():
            call[name] = attribute(case["op"], name, value, dtype)
        results = getattr(mb, case["op"])(**call)
        results = results if isinstance(results, (list, tuple)) else [results]
        out = []
        for result in results:
            kind = result.dtype
            if kind in (types.bool, types.int8, types.uint8, types.int16, types.uint16):
                result = mb.cast(x=result, dtype="int32")
            elif kind == types.fp16 and target < ct.target.iOS16:
                result = mb.cast(x=result, dtype="fp32")
            else:
                result = mb.identity(x=result)
            out.append(result)
        return out[0] if len(out) == 1 else tuple(out)

    # The decorator asks for positional parameters.
    listed = [name for name, _ in specs]
    scope = {"body": body}
    exec(f"def main({', '.join(listed)}):\n    return body({', '.join(f'{n}={n}' for n in listed)})\n", scope)
    made = mb.program(input_specs=[spec for _, spec in specs], opset_version=target)(scope["main"])
    return made, inputs


def make(folder, case, tensors, dtypes, target):
    slots = arguments(case, tensors, dtypes)
    try:
        made, inputs = program(case, slots, target, ())
    except Exception as first:
        if "const" not in str(first).lower():
            raise
        every = tuple(slots)
        data = tuple(s for s in every if s in ("x", "data", "input", "query", "key", "value", "boxes", "scores"))
        made, inputs = program(case, slots, target, tuple(s for s in every if s not in data))
    model = ct.convert(
        made, convert_to="mlprogram", minimum_deployment_target=target,
        compute_precision=ct.precision.FLOAT32, pass_pipeline=ct.PassPipeline.EMPTY,
        skip_model_load=True,
    )
    outputs = [feature.name for feature in model.get_spec().description.output]
    given = [feature.name for feature in model.get_spec().description.input]
    if len(outputs) != len(case["expected"]):
        raise Skip(f"{len(outputs)} outputs")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    model.save(str(folder / "model.mlpackage"))
    arrays = {f"step0.{n}": np.ascontiguousarray(a) for n, a in inputs.items() if n in given}
    for name, key in zip(outputs, case["expected"]):
        arrays[f"step0.output.{name}"] = np.ascontiguousarray(tensors[key])
    save_file(arrays, str(folder / "io.safetensors"))
    relative, absolute = case["tolerance"]
    half = any(a.dtype == np.float16 for v in slots.values() for a in v)
    expect = {"relative": max(relative, 2e-3 if half else 1e-5), "error": absolute}
    (folder / "expect.json").write_text(json.dumps(expect))


def main():
    goal, families = Path(sys.argv[1]), sys.argv[2:]
    goal.mkdir(parents=True, exist_ok=True)
    made, refused = 0, {}
    for index in sorted(EVAL.glob("*.json")):
        if families and index.stem not in families:
            continue
        family = json.loads(index.read_text())
        tensors = Tensors(index.with_suffix(".safetensors"))
        for at, case in enumerate(family["cases"]):
            if "expected" not in case:
                continue
            problem = None
            first = at % 4
            for target in TARGETS[first:] + TARGETS[:first][::-1]:
                folder = goal / f"{index.stem}-{at}-{case['op']}-{target.name}"
                try:
                    make(folder, case, tensors, family["dtypes"], target)
                    made += 1
                    problem = None
                    break
                except Skip as error:
                    problem = f"skipped: {error}"
                    break
                except Exception as error:
                    problem = problem or f"{type(error).__name__}: {str(error)[:160]}"
            if problem:
                refused.setdefault((case["op"], problem), []).append(f"{index.stem}-{at}")
    for (op, problem), cases in sorted(refused.items()):
        print(op, len(cases), cases[0], problem.replace("\n", " "))
    print(f"{made} packages, {sum(map(len, refused.values()))} refused")


main()
