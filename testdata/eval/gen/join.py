"""Joining and splitting against numpy."""

import numpy as np

from common import Family

rng = np.random.default_rng(11)
f = Family("join")


def t(*shape, dtype=np.float32):
    return rng.integers(-50, 50, size=shape).astype(dtype)


for values, axis in [
    ([t(2, 3), t(1, 3), t(4, 3)], 0),
    ([t(2, 3, dtype=np.float16), t(2, 1, dtype=np.float16)], -1),
    ([t(2, 3, 2), t(2, 1, 2), t(2, 2, 2)], 1),
    ([t(2, 0), t(2, 2), t(2, 0)], 1),
    ([t(0, 2), t(0, 1)], 1),
    ([t(3, dtype=np.int64)], 0),
    ([t(2) > 0, t(3) > 0], 0),
]:
    f.case("concat", {"values": values}, np.concatenate(values, axis=axis), {"axis": axis})
scalars = [np.int32(4), np.int32(-1), np.int32(9)]
f.case("concat", {"values": scalars}, np.int32([4, -1, 9]), {"axis": 0})
f.case("concat", {"values": [np.int32([1, 2]), np.int32([3]), np.int32([4, 5])]},
       np.int32([1, 2, 3, 4, 5]), {"axis": -1})

a, b, c = t(2, 3, 2), t(2, 3, 2), t(2, 3, 2)
for axis in [0, 1, -1]:
    want = np.stack([a, b, c], axis=axis % 3 + 1)
    shape = list(a.shape)
    shape[axis] *= 3
    f.case("concat", {"values": [a, b, c]}, want.reshape(shape), {"axis": axis, "interleave": True})
f.case("concat", {"values": [np.int32([1, 2]), np.int32([3, 4])]}, np.int32([1, 3, 2, 4]),
       {"axis": 0, "interleave": True})
f.case("concat", {"values": [a, b[:, :2]]}, error="extents 3 and 2", static=True,
       attrs={"axis": 1, "interleave": True})
f.case("concat", {"values": [a, b[:, :2]]}, error="extents 3 and 2", static=True, attrs={"axis": 0})
f.case("concat", {"values": [a, b[0]]}, error="`values` are", attrs={"axis": 0})
f.case("concat", {"values": [a, b.astype(np.float16)]}, error="`values` are", attrs={"axis": 0})
f.case("concat", {"values": []}, error="empty", attrs={"axis": 0})
f.case("concat", {"values": [a]}, error="axis 3", attrs={"axis": 3})

for axis in [0, 1, 3, -1, -4]:
    f.case("stack", {"values": [a, b, c]}, np.stack([a, b, c], axis=axis), {"axis": axis})
f.case("stack", {"values": scalars}, np.int32([4, -1, 9]), {"axis": 0})
f.case("stack", {"values": [t(2, 0)] * 2}, np.zeros((2, 2, 0), np.float32), {"axis": 1})
f.case("stack", {"values": [a, b]}, error="axis 4", attrs={"axis": 4})
f.case("stack", {"values": [a, b[:1]]}, error="2x3x2 is not 1x3x2", static=True, attrs={"axis": 0})
f.case("stack", {"values": []}, error="empty", attrs={"axis": 0})

x = t(4, 6, 2)
for v, n, axis in [(x, 2, 0), (x, 3, 1), (x, 1, -1), (x, 2, -1), (t(6, dtype=np.int32), 3, 0),
                   (t(0, 2), 4, 0)]:
    f.case("split", {"x": v}, np.split(v, n, axis=axis), {"num_splits": n, "axis": axis})
for v, sizes, axis in [(x, [1, 5], 1), (x, [2, 0, 4], -2), (x, [4], 0), (t(5, dtype=np.int64), [2, 3], 0)]:
    want = np.split(v, np.cumsum(sizes)[:-1], axis=axis)
    f.case("split", {"x": v}, want, {"split_sizes": sizes, "axis": axis})
f.case("split", {"x": x}, np.split(x, [1], axis=1),
       {"split_sizes": [1, 5], "num_splits": 2, "axis": 1})
f.case("split", {"x": x}, error="no 4 equal parts", static=True, attrs={"num_splits": 4, "axis": 1})
f.case("split", {"x": x}, error="[1, 4]", static=True, attrs={"split_sizes": [1, 4], "axis": 1})
f.case("split", {"x": x}, error="[7, -1]", attrs={"split_sizes": [7, -1], "axis": 1})
f.case("split", {"x": x}, error="`num_splits` is", attrs={"split_sizes": [3, 3], "num_splits": 3, "axis": 1})
f.case("split", {"x": x}, error="neither", attrs={"axis": 1})
f.case("split", {"x": x}, error="`num_splits` is 0", attrs={"num_splits": 0, "axis": 1})
f.case("split", {"x": x}, error="axis 3", attrs={"num_splits": 1, "axis": 3})

y = t(2, 1, 3)
for v, reps in [(y, [1, 1, 1]), (y, [2, 1, 1]), (y, [1, 3, 1]), (y, [1, 1, 2]), (y, [2, 3, 2]),
                (t(3, dtype=np.int32), [3]), (t(2, 0), [2, 5]), (t(2, 2) > 0, [1, 2])]:
    f.case("tile", {"x": v, "reps": np.int32(reps)}, np.tile(v, reps), contents=["reps"])
f.case("tile", {"x": np.float32(2), "reps": np.zeros(0, np.int32)}, np.float32(2))
f.case("tile", {"x": y, "reps": np.int32([1, 0, 1])}, error="1x0x1", constant=True)
f.case("tile", {"x": y, "reps": np.int32([1, 2])}, error="a vector of 3", static=True)
f.case("tile", {"x": t(0, 2), "reps": np.int32([2**31 - 1, 2**31 - 1])}, error="too many elements",
       static=True)
f.save()
