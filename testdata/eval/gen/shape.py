"""Shapes and views against numpy; `reshape`'s zeros and `reshape_like` from their definition."""

import numpy as np

from common import Family

f = Family("shape")
x = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
i64 = np.arange(6, dtype=np.int64).reshape(2, 3) * 2**40
empty = np.zeros((2, 0, 3), np.float16)

for v in [x, i64, empty, np.float32(7), np.array([True, False])]:
    f.case("shape", {"x": v}, np.array(np.shape(v), np.int32))


def vector(*n, dtype=np.int32):
    return np.array(n, dtype)


def reshape(v, shape, want, **flags):
    f.case("reshape", {"x": v, "shape": shape}, want, static=True, contents=["shape"], **flags)


reshape(x, vector(4, 6), x.reshape(4, 6))
reshape(x, vector(-1), x.reshape(-1))
reshape(x, vector(3, -1, 2), x.reshape(3, -1, 2))
reshape(x, vector(6, 0), x.reshape(6, 4))
reshape(x, vector(0, 2, 0, 0), x.reshape(1, 2, 3, 4))
reshape(x, vector(-1, 0, 0), x)
reshape(x, vector(0, 0, 0), x)
reshape(x, vector(2, -1, 0, dtype=np.int64), x)
reshape(np.float32([5]), np.zeros(0, np.int32), np.float32(5))
reshape(np.float32(5), vector(1, 1), np.float32([[5]]))
reshape(empty, vector(0, 3), np.zeros((0, 3), np.float16))
reshape(empty, vector(3, 0, 7), np.zeros((3, 0, 7), np.float16))
f.case("reshape", {"x": x, "shape": vector(5, 5)}, error="do not fill", constant=True)
f.case("reshape", {"x": x, "shape": vector(5, 0, 5)}, error="elements", constant=True)
f.case("reshape", {"x": x, "shape": vector(7, -1)}, error="24", static=True, constant=True)
f.case("reshape", {"x": x, "shape": vector(-1, -1)}, error="−1", constant=True)
f.case("reshape", {"x": x, "shape": vector(-2, -12)}, error="-2x-12", constant=True)
f.case("reshape", {"x": x, "shape": np.float32([24])}, error="integer is needed")
f.case("reshape", {"x": x, "shape": np.int32(24)}, error="a vector is needed")
f.case("reshape", {"x": x, "shape": vector(2**31 - 1, 2**31 - 1, 2**31 - 1, -1)}, error="no one reading",
       static=True)

for v, perm in [(x, (2, 0, 1)), (x, (0, 1, 2)), (x, (-1, 1, 0)), (i64, (1, 0)), (empty, (1, 2, 0))]:
    f.case("transpose", {"x": v}, np.ascontiguousarray(v.transpose(perm)), {"perm": list(perm)})
f.case("transpose", {"x": np.float32(1)}, np.float32(1), {"perm": []})
f.case("transpose", {"x": x}, error="no permutation", attrs={"perm": [0, 1]})
f.case("transpose", {"x": x}, error="no permutation", attrs={"perm": [0, 1, -2]})
f.case("transpose", {"x": x}, error="axis 3", attrs={"perm": [0, 1, 3]})

for v, axes in [(x, [0]), (x, [-1]), (x, [1, 3]), (x, [3, 1]), (x, [0, -1]), (i64, [-2]),
                (np.float32(2), [0, 1]), (empty, [2]), (x, [])]:
    f.case("expand_dims", {"x": v}, np.expand_dims(v, tuple(axes)), {"axes": axes})
f.case("expand_dims", {"x": x}, error="axis 4", attrs={"axes": [4]})
f.case("expand_dims", {"x": x}, error="twice", attrs={"axes": [0, -5]})

s = x[:1, :, None, :2]
for v, axes in [(s, [0]), (s, [-2]), (s, [0, 2]), (s, [2, -4]), (np.int32([[3]]), [0, 1])]:
    f.case("squeeze", {"x": v}, np.squeeze(v, tuple(axes)), {"axes": axes}, static=True)
f.case("squeeze", {"x": s}, np.squeeze(s), static=True)
f.case("squeeze", {"x": s}, s, {"axes": []})
f.case("squeeze", {"x": s}, s[0], {"axes": [0, 1]}, static=True)
f.case("squeeze", {"x": np.zeros((1, 0), np.float32)}, np.zeros(0, np.float32), static=True)
f.case("squeeze", {"x": np.float32(4)}, np.float32(4))
f.case("squeeze", {"x": s}, error="axis 4", attrs={"axes": [4]})
f.case("squeeze", {"x": s}, error="twice", attrs={"axes": [0, -4]})

for axis, shape in [(None, (2, 12)), (0, (1, 24)), (2, (6, 4)), (3, (24, 1)), (-1, (6, 4))]:
    f.case("flatten2d", {"x": x}, x.reshape(shape), {} if axis is None else {"axis": axis})
f.case("flatten2d", {"x": np.float32([1, 2])}, np.float32([[1], [2]]))
f.case("flatten2d", {"x": x}, error="axis 4", attrs={"axis": 4})
f.case("flatten2d", {"x": x}, error="axis -4", attrs={"axis": -4})

a, b = np.zeros((6, 1), np.float32), np.zeros((5, 2, 2, 9), np.int32)
for begins, ends, masks in [([0, 1], [1, 3], [False, False]), ([0, -3], [1, -1], [False, False]),
                            ([0, 1], [0, 3], [True, False])]:
    want = []
    for ref, begin, end, mask in zip([a, b], begins, ends, masks):
        want += list(ref.shape[begin:] if mask else ref.shape[begin:end])
    f.case("reshape_like", {"x": x, "ref_tensors": [a, b]}, x.reshape(want),
           {"begins": begins, "ends": ends, "end_masks": masks})
f.case("reshape_like", {"x": x, "ref_tensors": [x]}, x,
       {"begins": [0], "ends": [0], "end_masks": [True]})
f.case("reshape_like", {"x": np.float32([3]), "ref_tensors": []}, np.float32(3),
       {"begins": [], "ends": [], "end_masks": []})
f.case("reshape_like", {"x": x, "ref_tensors": [a]}, error="do not fill", static=True,
       attrs={"begins": [0], "ends": [1], "end_masks": [False]})
f.case("reshape_like", {"x": x, "ref_tensors": [a]}, error="axes 0 to 3",
       attrs={"begins": [0], "ends": [3], "end_masks": [False]})
f.case("reshape_like", {"x": x, "ref_tensors": [a]}, error="2 `begins`",
       attrs={"begins": [0, 0], "ends": [1], "end_masks": [False]})
f.save()
