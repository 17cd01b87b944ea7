"""Tensors made from shapes and ranges, against numpy and torch."""

import numpy as np
import torch

from common import Family

f = Family("create")


def i32(*values):
    return np.array(values, np.int32)


for shape in [(2, 3), (4,), (), (2, 0, 1)]:
    for value in [None, np.float16(1.5), np.int32(-3), np.bool_(True), np.float64(0.1)]:
        want = np.full(shape, np.float32(0) if value is None else value)
        operands = {"shape": i32(*shape)} | ({} if value is None else {"value": value})
        f.case("fill", operands, want, static=True, contents=["shape"])
        operands["ref_tensor"] = np.ones(operands.pop("shape"), np.int8)
        f.case("fill_like", operands, want)
f.case("fill", {"shape": i32(2, -1)}, error="-1", constant=True)
f.case("fill", {"shape": i32(2), "value": np.float32([1])}, error="a scalar is needed", static=True)
f.case("fill", {"shape": np.float32([2])}, error="integer")
f.case("fill", {"shape": i32(2**31 - 1, 2**31 - 1, 2**31 - 1)}, error="too many elements", static=True)

for start, end, step in [(0, 5, 1), (2, 11, 3), (2, 10, 3), (5, 0, -1), (5, -4, -3), (3, 3, 1),
                         (4, 1, 1), (1, 4, -2), (-7, 8, 5)]:
    for dtype in [np.int32, np.int64, np.float32]:
        operands = {"start": dtype(start), "end": dtype(end), "step": dtype(step)}
        f.case("range_1d", operands, np.arange(start, end, step).astype(dtype))
for start, end, step in [(0, 1, 0.25), (0, 1, 0.3), (-1.5, 1.5, 0.7), (1, -1, -0.6), (0, -1, 0.5)]:
    for dtype in [torch.float32, torch.float16]:
        a, b, c = (torch.tensor(v, dtype=dtype) for v in (start, end, step))
        count = max(0, int(np.ceil((b.item() - a.item()) / c.item())))
        want = torch.tensor([a.item() + k * c.item() for k in range(count)], dtype=torch.float64)
        f.case("range_1d", {"start": a, "end": b, "step": c}, want.to(dtype))
zero = {"start": np.int32(0), "end": np.int32(3)}
f.case("range_1d", zero | {"step": np.int32(0)}, error="0")
f.case("range_1d", zero | {"step": np.float32(1)}, error="`step` is f32")
f.case("range_1d", zero | {"step": i32(1)}, error="`step`")
f.case("range_1d", {"start": np.float32(0), "end": np.float32(np.inf), "step": np.float32(1)},
       error="range")
f.case("range_1d", {"start": np.float32(0), "end": np.float32(np.nan), "step": np.float32(1)},
       error="range")
f.case("range_1d", {"start": np.int64(-2**62), "end": np.int64(2**62), "step": np.int64(1)},
       error="too many elements")


def one_hot(i, n, axis, on, off):
    out = np.full(i.shape + (n,), off)
    for at in np.ndindex(i.shape):
        if 0 <= i[at] < n:
            out[at + (i[at],)] = on
    return np.ascontiguousarray(np.moveaxis(out, -1, axis))


i = i32(0, 3, 1)
j = np.array([[0, 4], [-1, 2]], np.int64)
for a, n, axis in [(i, 4, -1), (i, 4, 0), (j, 3, -1), (j, 3, 0), (j, 5, 1), (j, 3, -3), (np.int32(2), 3, 0)]:
    attrs = {} if axis == -1 else {"axis": axis}
    size = {"one_hot_vector_size": np.int32(n)}
    f.case("one_hot", {"indices": a} | size, one_hot(a, n, axis, np.int32(1), np.int32(0)), attrs,
           contents=["one_hot_vector_size"])
    f.case("one_hot", {"indices": a, "on_value": np.float32(2.5), "off_value": np.float32(-1)} | size,
           one_hot(a, n, axis, np.float32(2.5), np.float32(-1)), attrs)
size = {"one_hot_vector_size": np.int32(3)}
f.case("one_hot", {"indices": i, "on_value": np.bool_(True), "off_value": np.bool_(False)} | size,
       one_hot(i, 3, -1, True, False))
f.case("one_hot", {"indices": i, "on_value": np.int32(7)} | size, one_hot(i, 3, -1, i32(7)[0], i32(0)[0]))
f.case("one_hot", {"indices": i32()} | size, np.zeros((0, 3), np.int32))
f.case("one_hot", {"indices": i, "one_hot_vector_size": np.int32(0)}, np.zeros((3, 0), np.int32))
f.case("one_hot", {"indices": i, "one_hot_vector_size": np.int32(-1)}, error="-1")
f.case("one_hot", {"indices": i, "on_value": np.float32(1)} | size, error="`on_value` is f32")
f.case("one_hot", {"indices": i} | size, error="axis 2", attrs={"axis": 2})
f.case("one_hot", {"indices": np.float32([1])} | size, error="integer")

nan = np.array([[0, -0.0, 2], [np.nan, 0, -1]], np.float32)
for a in [nan, nan > 0, j, np.zeros(3, np.float16), i32(5, 0, 0, 2), np.zeros((0, 2), np.int32),
          np.arange(12, dtype=np.float32).reshape(2, 3, 2) % 5]:
    f.case("non_zero", {"x": a}, np.argwhere(a).astype(np.int32))
f.case("non_zero", {"x": np.float32(3)}, np.zeros((1, 0), np.int32))
f.save()
