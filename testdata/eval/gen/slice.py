"""Slices against numpy."""

import numpy as np

from common import Family

rng = np.random.default_rng(12)
f = Family("slice")


def t(*shape, dtype=np.float32):
    return rng.integers(-50, 50, size=shape).astype(dtype)


def ints(values):
    return np.array(values, np.int32)


def parts(begin, end, stride=None, begin_mask=None, end_mask=None, squeeze_mask=None):
    out = []
    for i in range(len(begin)):
        step = stride[i] if stride else 1
        if squeeze_mask and squeeze_mask[i]:
            out.append(begin[i])
        else:
            out.append(slice(None if begin_mask and begin_mask[i] else begin[i],
                             None if end_mask and end_mask[i] else end[i], step))
    return tuple(out)


x = t(4, 5, 6)
v = t(7, dtype=np.int32)
CASES = [
    (x, [1, 0, 2], [3, 5, 6], {}),
    (x, [0, 1, 0], [4, 2, 6], {}),
    (x, [-3, -2, -6], [-1, 5, 6], {}),
    (x, [-9, 0, 0], [9, 9, 9], {}),
    (x, [0, 0, 0], [4, 5, 6], {"stride": [2, 3, 4]}),
    (x, [1, 0, 1], [4, 5, 6], {"stride": [2, 1, 2]}),
    (x, [2, 7, 3], [0, 0, 0], {"begin_mask": [False, True, False], "end_mask": [True] * 3}),
    (x, [3, 4, 5], [0, 0, 0], {"stride": [-1, -2, -1]}),
    (x, [0, 3, -1], [0, 1, 2], {"stride": [-1, -1, -3], "begin_mask": [True, False, False],
                                "end_mask": [True, False, False]}),
    (x, [0, -1, 2], [0, 0, 0], {"squeeze_mask": [False, True, True], "end_mask": [True] * 3}),
    (x, [1, 2, 3], [0, 0, 0], {"squeeze_mask": [True] * 3}),
    (x, [0, 2, 0], [0, 0, 0], {"squeeze_mask": [False, True, False],
                               "begin_mask": [True, True, True], "end_mask": [True] * 3}),
    (x, [3, 2, 6], [2, 2, 9], {}),
    (v, [2], [6], {}),
    (v, [6], [0], {"stride": [-2]}),
    (v, [-1], [0], {"end_mask": [True]}),
    (v, [-2], [0], {"squeeze_mask": [True]}),
    (v, [0], [0], {"stride": [-3], "begin_mask": [True], "end_mask": [True]}),
    (v, [1], [6], {"stride": [2**31 - 1]}),
    (t(3, 0), [0, 0], [2, 4], {}),
    (t(0) > 0, [0], [0], {"stride": [-1], "begin_mask": [True], "end_mask": [True]}),
    (t(2, 3, dtype=np.int8), [0, 1], [1, 3], {}),
    (t(2, 3) > 0, [1, 0], [2, 2], {}),
]
for a, begin, end, attrs in CASES:
    # `begin` of a squeezed axis counts, even where a mask is set.
    f.case("slice_by_index", {"x": a, "begin": ints(begin), "end": ints(end)},
           np.asarray(a[parts(begin, end, **attrs)]), attrs, contents=["begin", "end"])


def refuse(begin, end, error, x=x, op="slice_by_index", **attrs):
    f.case(op, {"x": x, "begin": ints(begin), "end": ints(end)}, error=error, static=True,
           attrs=attrs)


refuse([0, 0, 6], [1, 1, 1], "element 6 of an axis of 6", squeeze_mask=[False, False, True])
refuse([0, 0, -7], [1, 1, 1], "element -7 of an axis of 6", squeeze_mask=[False, False, True])
refuse([0, 0, 6], [1, 1, 1], "backwards from 6", stride=[1, 1, -1])
refuse([0, 0, 2], [1, 1, -7], "backwards from 2 to -7", stride=[1, 1, -1])
refuse([0, 0, 0], [1, 1, 1], "zero", stride=[1, 1, 0])
refuse([0, 0, 0], [1, 1, 1], "lengths", stride=[1, 1])
refuse([0, 0, 0], [1, 1, 1], "lengths", end_mask=[True])
refuse([0, 0], [1, 1, 1], "a vector of 3")
refuse([0, 0, 0], [1, 1], "a vector of 3")
f.case("slice_by_index", {"x": np.float32(3), "begin": ints([]), "end": ints([])}, error="scalar")
f.case("slice_by_index", {"x": v, "begin": np.float32([0]), "end": ints([2])}, error="integer")

for a, begin, size in [(x, [1, 0, 2], [2, 5, 3]), (x, [0, 1, 5], [-1, -1, -1]),
                       (x, [-2, 0, -6], [2, 0, -1]), (v, [2], [3]), (v, [7], [-1]), (v, [7], [0]),
                       (t(2, 0), [1, 0], [1, -1])]:
    cut = tuple(slice(b % d if d else b, d if n == -1 else b % d + n) if b < 0 else
                slice(b, d if n == -1 else b + n) for b, n, d in zip(begin, size, a.shape))
    f.case("slice_by_size", {"x": a, "begin": ints(begin), "size": ints(size)}, a[cut],
           contents=["begin", "size"])
for begin, size in [([3], [5]), ([8], [-1]), ([-8], [2]), ([0], [-2])]:
    f.case("slice_by_size", {"x": v, "begin": ints(begin), "size": ints(size)},
           error=f"{size[0]} elements from {begin[0]} of an axis of 7", static=True)

for a, begin, end, attrs in CASES:
    want = a.copy()
    cut = parts(begin, end, **attrs)
    update = np.asarray(t(*np.shape(a[cut])).astype(a.dtype))
    want[cut] = update
    operands = {"x": a, "update": update, "begin": ints(begin), "end": ints(end)}
    if update.ndim == 0:
        f.case("slice_update", operands, error="keep an axis", attrs=attrs)
    else:
        f.case("slice_update", operands, want, attrs, contents=["begin", "end"])
operands = {"x": v, "begin": ints([1]), "end": ints([3])}
f.case("slice_update", operands | {"update": ints([1, 2, 3])}, error="the slice of", constant=True)
f.case("slice_update", operands | {"update": np.float32([1, 2])}, error="`update` is f32")

for a, axes in [(x, [0]), (x, [-1, 0]), (x, [1]), (x, None), (v, None), (v, [0]), (x, []),
                (t(2, 0), [1]), (np.float32(2), None)]:
    want = np.flip(a, axis=None if axes is None else tuple(axes))
    f.case("reverse", {"x": a}, np.array(want), {} if axes is None else {"axes": axes})
f.case("reverse", {"x": x}, error="axis 3", attrs={"axes": [3]})
f.case("reverse", {"x": x}, error="twice", attrs={"axes": [0, -3]})


def reverse_sequence(a, lengths, seq, batch):
    out = a.copy()
    for i, n in enumerate(lengths):
        at = [slice(None)] * a.ndim
        at[batch] = i
        for k in range(n):
            at[seq] = k
            source = list(at)
            source[seq] = n - 1 - k
            out[tuple(at)] = a[tuple(source)]
    return out


for a, lengths, seq, batch in [(x, [5, 0, 1, 3], 1, 0), (x, [1, 2, 3, 4, 0], 0, 1),
                               (x, [6, 2, 3, 5, 1], -1, 1), (x, [2, 4, 3, 1, 0, 2], 0, 2),
                               (t(0, 3), [], 1, 0)]:
    f.case("reverse_sequence", {"x": a, "lengths": ints(lengths)},
           reverse_sequence(a, lengths, seq, batch), {"seq_axis": seq, "batch_axis": batch})
f.case("reverse_sequence", {"x": x, "lengths": ints([6, 0, 0, 0])}, error="6", static=True,
       attrs={"seq_axis": 1})
f.case("reverse_sequence", {"x": x, "lengths": ints([-1, 0, 0, 0])}, error="-1", attrs={"seq_axis": 1},
       static=True)
f.case("reverse_sequence", {"x": x, "lengths": ints([1, 1])}, error="axis 0", static=True,
       attrs={"seq_axis": 1})
f.case("reverse_sequence", {"x": x, "lengths": ints([1] * 4)}, error="both", attrs={"seq_axis": -3})


def windows(a, axis, size, stride):
    out = np.lib.stride_tricks.sliding_window_view(a, size, axis=axis)
    axis %= a.ndim
    out = np.moveaxis(out, -1, axis + 1)
    return np.ascontiguousarray(np.take(out, range(0, out.shape[axis], stride), axis=axis))


for a, axis, size, stride in [(x, 0, 2, 1), (x, 1, 3, 2), (x, -1, 2, 3), (x, 2, 6, 1), (v, 0, 3, 2),
                              (t(2, 4, 0), 1, 2, 1)]:
    attrs = {"axis": axis, "size": size} | ({"stride": stride} if stride != 1 else {})
    f.case("sliding_windows", {"x": a}, windows(a, axis, size, stride), attrs)
f.case("sliding_windows", {"x": x}, error="windows of 5", static=True, attrs={"axis": 0, "size": 5})
f.case("sliding_windows", {"x": x}, error="`size` is 0", attrs={"axis": 0, "size": 0})
f.case("sliding_windows", {"x": x}, error="`stride` is 0", attrs={"axis": 0, "size": 1, "stride": 0})

m = t(2, 4, 5)
BANDS = [(-1, -1), (0, 0), (1, 0), (0, -1), (-1, 0), (2, 1), (9, 9)]
for a, bands in [(m, BANDS), (m[0, :, :2].astype(np.int32), BANDS[2:4]), (m[0] > 0, BANDS[5:]),
                 (t(0, 3), BANDS[:2]), (t(3, 0), BANDS[:2]),
                 (np.full((3, 3), np.nan, np.float32), BANDS[1:2])]:
    for lower, upper in bands:
        rows, columns = np.indices(a.shape[-2:])
        keep = ((lower < 0) | (rows - columns <= lower)) & ((upper < 0) | (columns - rows <= upper))
        f.case("band_part", {"x": a}, np.where(keep, a, np.zeros_like(a)),
               {"lower": lower, "upper": upper})
f.case("band_part", {"x": m[0]}, m[0], {"lower": 2**62, "upper": 2**62})
f.case("band_part", {"x": v}, error="matrix")
f.save()
