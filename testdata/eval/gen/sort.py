"""Order along an axis against numpy's stable sort; NaN is greater than every number, as in torch."""

import numpy as np
import torch

from common import Family

rng = np.random.default_rng(16)
f = Family("sort")


def order(a, axis, ascending):
    """Positions in order; ties keep theirs in both directions."""
    key = np.unique(a, return_inverse=True)[1].reshape(a.shape)
    return np.argsort(key if ascending else -key, axis=axis, kind="stable")


x = rng.permutation(24).reshape(2, 4, 3).astype(np.float32)
ties = rng.integers(0, 3, size=(3, 5)).astype(np.int32)
odd = np.array([[1, np.nan, -np.inf, 2], [np.inf, 0, np.nan, np.nan], [0.0, -0.0, 5, 0.0]], np.float32)
empty = np.zeros((2, 0), np.float32)
DATA = [(x, -1), (x, 0), (x, 1), (ties, 1), (ties, -2), (x.astype(np.float16), 1), (odd, 1)]

for a, axis in DATA + [(empty, 1), (empty, 0), (np.int64([3, -2**62, 2**62]), 0)]:
    for ascending in [False, True]:
        attrs = {"ascending": ascending} | ({} if axis == -1 else {"axis": axis})
        f.case("argsort", {"x": a}, order(a, axis, ascending).astype(np.int32), attrs)
nans = torch.tensor(odd)
for descending in [False, True]:
    same = torch.sort(nans, dim=1, descending=descending, stable=True).indices
    assert (same.numpy() == order(odd, 1, not descending)).all()
f.case("argsort", {"x": x}, error="axis 3", attrs={"axis": 3})
f.case("argsort", {"x": x > 0}, error="numbers")
f.case("argsort", {"x": np.float32(0)}, error="axis -1")


def topk(a, k, axis, ascending):
    at = np.take(order(a, axis, ascending), range(k), axis=axis)
    return [np.take_along_axis(a, at, axis=axis), at.astype(np.int32)]


for a, axis in DATA:
    for k in [2, -1]:
        for ascending in [False, True]:
            attrs = {"ascending": ascending} | ({} if axis == -1 else {"axis": axis})
            f.case("topk", {"x": a, "k": np.int32(k)},
                   topk(a, a.shape[axis] if k == -1 else k, axis, ascending), attrs, contents=["k"])
f.case("topk", {"x": x}, topk(x, 1, -1, False))
f.case("topk", {"x": x, "k": np.int8(3)}, topk(x, 3, -1, False), {"sort": False})
f.case("topk", {"x": x, "k": np.int32(0)}, topk(x, 0, -1, False))
f.case("topk", {"x": x, "k": np.int32(2)}, topk(x, 2, 1, False)[0], {"axis": 1, "return_indices": False})
values, at = topk(ties, 4, 1, True)
f.case("topk", {"x": ties, "k": np.int32(4)}, [values, at.astype(np.uint16)],
       {"axis": 1, "ascending": True, "output_indices_dtype": "u16"})
f.case("topk", {"x": x, "k": np.int32(4)}, error="4", static=True)
f.case("topk", {"x": x, "k": np.int32(-2)}, error="-2")
f.case("topk", {"x": empty}, error="1", static=True)
f.case("topk", {"x": x, "k": np.int32([2])}, error="a scalar is needed")
f.case("topk", {"x": x, "k": np.float32(2)}, error="integer")
f.case("topk", {"x": x}, error="output_indices_dtype", attrs={"output_indices_dtype": "f32"})
f.save()
