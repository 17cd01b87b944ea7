"""Gathering against numpy; batched forms by a loop over the batch."""

import itertools

import numpy as np
import torch

from common import Family

rng = np.random.default_rng(13)
f = Family("gather")


def t(*shape, dtype=np.float32):
    return rng.integers(-50, 50, size=shape).astype(dtype)


def index(high, *shape, dtype=np.int32):
    return rng.integers(0, high, size=shape).astype(dtype)


x = t(3, 4, 5)
for a, i, axis in [(x, index(3, 2), None), (x, index(4, 2, 3), 1), (x, index(5, 6), -1),
                   (x, np.int32(2), 1), (x, np.zeros((0,), np.int32), 0),
                   (x, index(4, 2, dtype=np.uint8), -2), (x, index(5, 3, dtype=np.int64), 2),
                   (t(4, dtype=np.int32), np.int32(3), 0), (t(4, dtype=np.int64), index(4, 3), 0),
                   (t(4) > 0, index(4, 2, 2), 0), (t(2, 0), index(2, 3), 0),
                   (t(3, 2, dtype=np.float16), index(2, 1, 1, 1), 1)]:
    attrs = {} if axis is None else {"axis": axis}
    f.case("gather", {"x": a, "indices": i}, np.take(a, i, axis=axis or 0), attrs)


def batched(a, i, axis, batch):
    if batch == 0:
        return np.take(a, i, axis=axis)
    return np.stack([batched(p, q, axis - 1, batch - 1) for p, q in zip(a, i)])


y = t(2, 3, 4, 5)
for a, i, axis, batch in [(y, index(3, 2, 6), 1, 1), (y, index(4, 2, 3, 2), 2, 2), (y, index(5, 2), 3, 1),
                          (y, index(5, 2, 3, 1, 2), -1, 2), (y, index(4, 2, 3), 2, 2)]:
    f.case("gather", {"x": a, "indices": i}, batched(a, i, axis % 4, batch),
           {"axis": axis, "batch_dims": batch, "validate_indices": True})


def refuse(op, x, i, error, attrs=None, **flags):
    f.case(op, {"x": x, "indices": i}, error=error, attrs=attrs or {}, **flags)


i32 = lambda *v: np.array(v, np.int32)
refuse("gather", x, i32(0, 3), "index 3 into an axis of 3")
refuse("gather", x, i32(-1), "index -1 into an axis of 3")
refuse("gather", x, np.float32([0]), "integer")
refuse("gather", x, i32(0), "axis 3", {"axis": 3})
refuse("gather", y, index(3, 2, 2), "axis 0 is one of 1", {"axis": 0, "batch_dims": 1})
refuse("gather", y, index(3, 3, 2), "2 is not 3", {"axis": 1, "batch_dims": 1}, static=True)
refuse("gather", x, i32(0), "`batch_dims` is 2", {"axis": 2, "batch_dims": 2})

for a, i, axis in [(x, index(3, 2, 4, 5), None), (x, index(4, 3, 7, 5), 1), (x, index(5, 3, 4, 1), -1),
                   (t(5, dtype=np.int32), index(5, 3), 0), (x, index(3, 0, 4, 5), 0),
                   (x, index(4, 3, 2, 5, dtype=np.uint16), 1)]:
    want = torch.gather(torch.tensor(a), axis or 0, torch.tensor(i.astype(np.int64)))
    attrs = {} if axis is None else {"axis": axis}
    f.case("gather_along_axis", {"x": a, "indices": i}, want, attrs)
refuse("gather_along_axis", x, index(3, 2, 4), "`indices`", {"axis": 0})
refuse("gather_along_axis", x, index(3, 2, 3, 5), "`indices`", {"axis": 0}, static=True)
refuse("gather_along_axis", t(3), i32(0, -1), "index -1 into an axis of 3")
refuse("gather_along_axis", t(3), i32(3), "index 3 into an axis of 3")


def gather_nd(a, i, batch):
    if batch:
        return np.stack([gather_nd(p, q, batch - 1) for p, q in zip(a, i)])
    out = np.empty(i.shape[:-1] + a.shape[i.shape[-1]:], a.dtype)
    for at in itertools.product(*map(range, i.shape[:-1])):
        out[at] = a[tuple(i[at])]
    return out


def tuples(limits, *shape):
    return np.stack([rng.integers(0, n, size=shape) for n in limits], axis=-1).astype(np.int32)


for a, i, batch in [(x, tuples([3], 4), 0), (x, tuples([3, 4], 2, 2), 0), (x, tuples([3, 4, 5], 3), 0),
                    (x, tuples([3, 4, 5]), 0), (y, tuples([3, 4], 2, 2), 1), (y, tuples([4], 2, 3, 2), 2),
                    (y, tuples([3], 2), 1), (x, np.zeros((2, 0), np.int32), 0),
                    (x, np.zeros((0, 2), np.int32), 0), (t(3, 2, dtype=np.int64), tuples([3, 2], 4), 0)]:
    f.case("gather_nd", {"x": a, "indices": i}, gather_nd(a, i, batch),
           {"batch_dims": batch} if batch else {}, static=True, contents=["indices"])
refuse("gather_nd", x, i32(0, 4), "index 4 into an axis of 4", constant=True)
refuse("gather_nd", x, np.array([[-1]], np.int32), "index -1 into an axis of 3", static=True)
refuse("gather_nd", x, np.zeros((2, 4), np.int32), "indices", static=True)
refuse("gather_nd", y, np.zeros((3, 1), np.int32), "2 is not 3", {"batch_dims": 1}, static=True)
refuse("gather_nd", x, np.int32(0), "indices")
f.save()
