"""Quantization of activations: numpy doubles from the definition; per tensor also torch's."""

import numpy as np
import torch

from common import Family

rng = np.random.default_rng(8)
f = Family("quantize")
RANGE = {"i8": (-128, 127, np.int8), "u8": (0, 255, np.uint8)}
x = (rng.normal(size=(2, 3, 4)) * 5).astype(np.float32)
x[0, 0] = [0.25, 0.75, -0.25, 1e9]
x[1, 1, :2] = [-np.inf, np.inf]


def put(scale, axis):
    return scale.astype(np.float64).reshape([-1 if i == axis % 3 else 1 for i in range(3)])


for dtype, (low, high, np_dtype) in RANGE.items():
    for zero in [None, 3]:
        scale = np.float32(0.5)
        q = np.clip(np.round(x.astype(np.float64) / 0.5) + (zero or 0), low, high).astype(np_dtype)
        ops = {"input": x, "scale": scale}
        ops |= {} if zero is None else {"zero_point": np_dtype(zero)}
        f.case("quantize", ops, q, {"output_dtype": dtype})
        ops["input"] = q
        f.case("dequantize", ops, ((q.astype(np.float64) - (zero or 0)) * 0.5).astype(np.float32))
    for axis in [0, 1, -1]:
        n = x.shape[axis]
        scale = rng.uniform(0.05, 0.4, n).astype(np.float32)
        zero = rng.integers(low, high, n).astype(np_dtype)
        z = put(zero, axis)
        q = np.clip(np.round(x / put(scale, axis)) + z, low, high).astype(np_dtype)
        ops = {"input": x, "scale": scale, "zero_point": zero}
        f.case("quantize", ops, q, {"axis": axis, "output_dtype": dtype})
        ops["input"] = q
        f.case("dequantize", ops, ((q - z) * put(scale, axis)).astype(np.float32), {"axis": axis})
h = x[:, 1:2, 2:].astype(np.float16)
scale = np.float16(0.1)
q = np.clip(np.round(h.astype(np.float64) / np.float64(scale)), -128, 127).astype(np.int8)
f.case("quantize", {"input": h, "scale": scale}, q, {"output_dtype": "i8"})
f.case("dequantize", {"input": q, "scale": scale}, (q * np.float64(scale)).astype(np.float16))
t = torch.tensor(x[0, 1:])
f.case("quantize", {"input": t, "scale": torch.tensor(0.125), "zero_point": np.uint8(10)},
       torch.quantize_per_tensor(t, 0.125, 10, torch.quint8).int_repr(), {"output_dtype": "u8"})
one = {"input": x, "scale": np.float32(0.5)}
i8 = {"output_dtype": "i8"}
f.case("quantize", one | {"scale": np.float32(0)}, error="0", attrs=i8)
f.case("quantize", one, error="`scale`", attrs=i8 | {"axis": 1})
f.case("quantize", one | {"scale": np.float32([1, 2, 3])}, error="`scale`", attrs=i8)
f.case("quantize", one | {"scale": np.float32([1, 2, 3])}, error="`scale`", attrs=i8 | {"axis": 0},
       static=True)
f.case("quantize", one | {"zero_point": np.uint8(1)}, error="`zero_point`", attrs=i8)
f.case("quantize", one, error="at most 8 bits", attrs={"output_dtype": "i32"})
f.case("dequantize", one, error="an integer is needed")
f.save()
