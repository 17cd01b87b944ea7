"""Running totals against numpy."""

import numpy as np

from common import Family

rng = np.random.default_rng(14)
f = Family("scan")
x = rng.normal(size=(3, 4, 2)).astype(np.float32)


def cumsum(a, axis, exclusive, reverse):
    a = np.flip(a, axis) if reverse else a
    wide = a.astype(np.float64) if a.dtype.kind == "f" else a
    total = np.cumsum(wide, axis=axis, dtype=wide.dtype)
    out = total - wide if exclusive else total
    return np.ascontiguousarray(np.flip(out, axis) if reverse else out).astype(a.dtype)


for a, axis in [(x, 0), (x, 1), (x, -1), (x.astype(np.float16), 1), (x.astype(np.float64), -3),
                (np.arange(-3, 5, dtype=np.int32), 0),
                (np.array([2**31 - 1, 1, 5], np.int32), 0), (np.zeros((2, 0), np.float32), 1),
                (np.array([2**62, 2**62, 3], np.int64), 0)]:
    for exclusive in [False, True]:
        for reverse in [False, True]:
            attrs = {"exclusive": exclusive, "reverse": reverse} | ({"axis": axis} if axis else {})
            f.case("cumsum", {"x": a}, cumsum(a, axis, exclusive, reverse), attrs)
odd = np.array([1, np.inf, 2, -np.inf, 3, np.nan, 1], np.float32)
f.case("cumsum", {"x": odd}, np.cumsum(odd))
f.case("cumsum", {"x": odd}, np.array([0, 1, np.inf, np.inf, np.nan, np.nan, np.nan], np.float32),
       {"exclusive": True})
f.case("cumsum", {"x": np.full(1000, 0.1, np.float32)},
       np.cumsum(np.full(1000, np.float32(0.1)).astype(np.float64)).astype(np.float32), tol=(1e-7, 0))
f.case("cumsum", {"x": x}, error="axis 3", attrs={"axis": 3})
f.case("cumsum", {"x": x > 0}, error="numbers")
f.case("cumsum", {"x": np.float32(1)}, error="axis 0")
f.save()
