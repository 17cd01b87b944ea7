"""Scattering by loops over the definition, and against torch where it has the mode."""

import numpy as np
import torch

from common import Family

rng = np.random.default_rng(15)
f = Family("scatter")
MODES = {
    "update": lambda x, y: y, "add": lambda x, y: x + y, "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y, "max": np.maximum, "min": np.minimum,
    "div": lambda x, y: np.trunc(x / y) if np.asarray(x).dtype.kind == "i" else x / y,
}


def t(*shape, dtype=np.float32):
    values = rng.integers(1, 9, size=shape) * rng.choice([-1, 1], size=shape)
    return values.astype(dtype)


def index(high, *shape, dtype=np.int32):
    return rng.integers(0, high, size=shape).astype(dtype)


def combined(data, targets, mode):
    """`targets`: pairs of a multi-index of data and an update."""
    wide = data.astype(np.float64) if data.dtype.kind == "f" else data.copy()
    for at, y in targets:
        wide[at] = MODES[mode](wide[at], y)
    return wide.astype(data.dtype)


def along(data, i, updates, axis):
    for at in np.ndindex(i.shape):
        target = list(at)
        target[axis] = i[at]
        yield tuple(target), updates[at]


def rows(data, i, updates, axis):
    for at in np.ndindex(updates.shape):
        target = list(at)
        target[axis] = i[at[axis]]
        yield tuple(target), updates[at]


def tuples(data, i, updates):
    for at in np.ndindex(i.shape[:-1]):
        for rest in np.ndindex(data.shape[i.shape[-1]:]):
            yield tuple(i[at]) + rest, updates[at + rest]


x, k = t(3, 4, 2), t(3, 4, 2, dtype=np.int32)
for mode in MODES:
    attrs = {"mode": mode}
    for a, i, axis in [(x, index(3, 5), 0), (x, index(4, 3), -2), (k, index(3, 4), 0)]:
        shape = list(a.shape)
        shape[axis] = len(i)
        u = t(*shape, dtype=a.dtype)
        f.case("scatter", {"data": a, "indices": i, "updates": u},
               combined(a, rows(a, i, u, axis), mode), attrs | ({"axis": axis} if axis else {}))
    for a, i, axis in [(x, index(3, 2, 4, 2), 0), (x, index(4, 3, 6, 2), 1), (k, index(2, 3, 4, 3), -1)]:
        u = t(*i.shape, dtype=a.dtype)
        operands = {"data": a, "indices": i, "updates": u}
        want = combined(a, along(a, i, u, axis), mode)
        reduce = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}.get(mode)
        if reduce:
            same = torch.scatter_reduce(torch.tensor(a), axis, torch.tensor(i).long(), torch.tensor(u),
                                        reduce, include_self=True)
            assert torch.allclose(same.double(), torch.tensor(want).double())
        f.case("scatter_along_axis", operands, want, attrs | ({"axis": axis} if axis else {}))
    for a, limits, shape in [(x, [3], (4,)), (x, [3, 4], (2, 3)), (k, [3, 4, 2], (5,))]:
        i = np.stack([index(n, *shape) for n in limits], axis=-1)
        u = t(*shape, *a.shape[len(limits):], dtype=a.dtype)
        f.case("scatter_nd", {"data": a, "indices": i, "updates": u},
               combined(a, tuples(a, i, u), mode), attrs, static=True, contents=["indices"])

v, w = np.float32([1, 2, 3]), np.float32([10, 20])
i = np.int32([2, 2])
both = {"data": v, "indices": i, "updates": w}
f.case("scatter", both, np.float32([1, 2, 33]))
f.case("scatter_along_axis", both, np.float32([1, 2, 33]))
f.case("scatter_nd", both | {"indices": i[:, None]}, np.float32([1, 2, 33]), static=True)
f.case("scatter", both, np.float32([1, 2, 20]), {"mode": "update", "validate_indices": True})
f.case("scatter", {"data": v > 1, "indices": i, "updates": w > 9}, np.array([False, True, True]),
       {"mode": "update"})
f.case("scatter", {"data": v, "indices": np.int32([]), "updates": np.float32([])}, v)
f.case("scatter_nd", {"data": v, "indices": np.zeros((0, 1), np.int32), "updates": np.float32([])}, v,
       static=True)
f.case("scatter_nd", {"data": v, "indices": np.zeros((0,), np.int32), "updates": v}, v * 2, static=True)
odd = np.float32([np.nan, 1, -np.inf, 0])
for mode, want in [("max", [np.nan, np.nan, 0, 0]), ("min", [np.nan, np.nan, -np.inf, -np.inf]),
                   ("div", [np.nan, np.nan, -np.inf, np.nan])]:
    f.case("scatter", {"data": odd, "indices": np.int32([0, 1, 2, 3]),
                       "updates": np.float32([0, np.nan, 0, -np.inf if mode == "min" else 0])},
           np.float32(want), {"mode": mode})
half = np.float16([2048, 1, 1])
f.case("scatter", {"data": half, "indices": np.int32([0, 0]), "updates": half[1:]},
       np.float16([2050, 1, 1]))
f.case("scatter", {"data": np.uint8([250, 3]), "indices": np.int32([0]), "updates": np.uint8([10])},
       np.uint8([4, 3]))

f.case("scatter", both | {"indices": np.int32([0, 3])}, error="index 3 into an axis of 3")
f.case("scatter", both | {"indices": np.int32([-1, 0])}, error="index -1 into an axis of 3")
f.case("scatter_along_axis", both | {"indices": np.int32([-1, 0])}, error="index -1")
f.case("scatter_nd", both | {"indices": np.int32([[0], [3]])}, error="index 3", static=True)
f.case("scatter", both | {"indices": i[:, None]}, error="a vector is needed")
f.case("scatter", both | {"updates": w[:1]}, error="`updates`", static=True)
f.case("scatter_along_axis", both | {"updates": w[:1]}, error="`updates`", static=True)
f.case("scatter_nd", both | {"indices": i[:, None], "updates": w[:1]}, error="`updates`", static=True)
f.case("scatter_nd", both | {"indices": np.zeros((2, 2), np.int32)}, error="indices", static=True)
f.case("scatter", both | {"updates": w.astype(np.float16)}, error="`updates` is f16")
f.case("scatter", {"data": v > 1, "indices": i, "updates": w > 9}, error="needs numbers")
whole = {"data": np.int32([1, 2]), "indices": np.int32([0]), "updates": np.int32([0])}
f.case("scatter", whole, error="division by zero", attrs={"mode": "div"})
f.save()
