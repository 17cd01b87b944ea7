"""Writes a family of evaluator fixtures: `<family>.json`, the list of cases, and
`<family>.safetensors`, the tensors they name. Run a family's script to write both anew.

A case names an op, its attributes by MIL's name (element types by the IR's, such as "i32"), the
tensors of each operand slot and those expected. Flags:
  constant  operands may only be constants (an element type differs, or contents decide the types)
  static    extents must be numbers
  contents  names of slots: run also with these constant and all other extents symbols
  error     instead of expected tensors: text that the message must contain
"""

import json
import pathlib
import struct

import numpy as np
import torch

NAMES = {
    "bool": "BOOL", "uint8": "U8", "uint16": "U16", "uint32": "U32", "uint64": "U64",
    "int8": "I8", "int16": "I16", "int32": "I32", "int64": "I64",
    "float16": "F16", "bfloat16": "BF16", "float32": "F32", "float64": "F64",
}
# Relative and absolute tolerance by element type of what is expected.
TOLERANCE = {
    "F16": (1e-3, 1e-7), "BF16": (8e-3, 1e-7), "F32": (1e-5, 1e-6), "F64": (1e-12, 1e-12),
}


class Sub:
    """Integers of an element type that files of tensors do not have, such as "u4"."""

    def __init__(self, dtype, values):
        self.dtype, self.values = dtype, np.asarray(values, dtype=np.int8)


class Family:
    def __init__(self, name):
        self.name, self.cases, self.tensors, self.dtypes = name, [], {}, {}

    def _store(self, key, value):
        if isinstance(value, Sub):
            self.dtypes[key] = value.dtype
            value = value.values
        if isinstance(value, torch.Tensor):
            value = value.detach().contiguous()
            dtype = str(value.dtype).removeprefix("torch.")
            if dtype == "bfloat16":
                value = value.view(torch.int16)
            data, shape = value.numpy().tobytes(), list(value.shape)
        else:
            value = np.asarray(value)
            dtype, data, shape = str(value.dtype), value.tobytes(), list(value.shape)
        self.tensors[key] = (NAMES[dtype], shape, data)
        return key

    def case(self, op, operands, expected=None, attrs=None, tol=None, **flags):
        """`operands`: slot name to tensor or list of tensors; `expected`: a tensor or a list."""
        at = len(self.cases)
        stored = {}
        for slot, values in operands.items():
            values = values if isinstance(values, list) else [values]
            stored[slot] = [self._store(f"{at}.{slot}.{i}", v) for i, v in enumerate(values)]
        case = {"op": op, "attrs": attrs or {}, "operands": stored}
        if expected is not None:
            expected = expected if isinstance(expected, list) else [expected]
            case["expected"] = [self._store(f"{at}.result.{i}", v) for i, v in enumerate(expected)]
            kinds = [self.tensors[key][0] for key in case["expected"]]
            case["tolerance"] = tol or max((TOLERANCE.get(k, (0, 0)) for k in kinds))
        self.cases.append(case | flags)

    def save(self):
        folder = pathlib.Path(__file__).parent.parent
        rows = ",\n".join("  " + json.dumps(case) for case in self.cases)
        dtypes = json.dumps(self.dtypes)
        text = f'{{"dtypes": {dtypes}, "cases": [\n{rows}\n]}}\n'
        (folder / f"{self.name}.json").write_text(text)
        header, body = {}, b""
        # Aligned elements: widest types first.
        for key, (dtype, shape, data) in sorted(
            self.tensors.items(), key=lambda item: -np.dtype("f8").itemsize if "64" in item[1][0]
            else -4 if "32" in item[1][0] else -2 if "16" in item[1][0] else -1
        ):
            header[key] = {
                "dtype": dtype, "shape": shape, "data_offsets": [len(body), len(body) + len(data)],
            }
            body += data
        head = json.dumps(header, separators=(",", ":")).encode()
        head += b" " * (-len(head) % 8)
        (folder / f"{self.name}.safetensors").write_bytes(struct.pack("<Q", len(head)) + head + body)
        print(f"{self.name}: {len(self.cases)} cases, {8 + len(head) + len(body)} bytes")
