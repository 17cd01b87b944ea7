"""Decoding of stored weights: loops over the definition."""

import itertools

import numpy as np

from common import Family, Sub

rng = np.random.default_rng(9)
f = Family("constexpr")
BITS = {"u1": 1, "u2": 2, "u3": 3, "u4": 4, "u6": 6, "u8": 8}


def small(dtype, values):
    """A tensor of a type of at most 8 bits."""
    if dtype in ("u8", "i8"):
        return np.asarray(values).astype({"u8": np.uint8, "i8": np.int8}[dtype])
    return Sub(dtype, values)


# Per tensor and per channel.
for np_dtype, axis, shape in [(np.int8, 0, (3, 4)), (np.uint8, 1, (3, 4)), (np.uint8, -1, (2, 3, 2))]:
    info = np.iinfo(np_dtype)
    q = rng.integers(info.min, info.max + 1, shape).astype(np_dtype)
    n = shape[axis]
    place = [-1 if i == axis % len(shape) else 1 for i in range(len(shape))]
    for out in [np.float32, np.float16]:
        scale, zero = rng.uniform(0.01, 0.1, n).astype(out), rng.integers(-9, 9, n) % 100
        for s, z in [(scale, zero.astype(np_dtype)), (scale[0], np_dtype(7)),
                     (scale, np_dtype(3)), (scale[0], zero.astype(np.float32))]:
            sw = np.float64(s).reshape(place) if np.ndim(s) else np.float64(s)
            zw = np.float64(z).reshape(place) if np.ndim(z) else np.float64(z)
            f.case("constexpr_affine_dequantize", {"quantized_data": q, "zero_point": z, "scale": s},
                   (sw * (q - zw)).astype(out), {"axis": axis}, tol=(0, 0) if out == np.float16 else
                   (1e-7, 0))
f.case("constexpr_affine_dequantize",
       {"quantized_data": q, "zero_point": np.uint8(0), "scale": np.float32([1, 2])},
       error="`scale`", attrs={"axis": 1}, static=True)

# Blocks.
for dtype, low, high in [("i4", -8, 7), ("u4", 0, 15), ("i8", -128, 127), ("u8", 0, 255)]:
    for shape, blocks in [((4, 6), (4, 1)), ((4, 6), (2, 3)), ((4, 6), (4, 6)), ((4, 6), (1, 1)),
                          ((2, 4, 3), (1, 2, 3)), ((6,), (2,))]:
        q = rng.integers(low, high + 1, shape)
        o = rng.integers(low, high + 1, blocks)
        s = rng.uniform(0.1, 1, blocks).astype(np.float16)
        want = np.zeros(shape)
        for at in itertools.product(*map(range, shape)):
            block = tuple(i // (d // b) for i, d, b in zip(at, shape, blocks))
            want[at] = np.float64(s[block]) * (q[at] - o[block])
        operands = {"data": small(dtype, q), "scale": s, "offset": small(dtype, o)}
        f.case("constexpr_blockwise_shift_scale", operands, want.astype(np.float16), tol=(0, 0))
    del operands["offset"]
    f.case("constexpr_blockwise_shift_scale", operands, (np.repeat(s, 3).astype(np.float64) * q
                                                         ).astype(np.float16), tol=(0, 0))
w = rng.normal(size=(2, 4)).astype(np.float16)
s, o = rng.normal(size=(2, 2)).astype(np.float32), rng.normal(size=(2, 2)).astype(np.float16)
f.case("constexpr_blockwise_shift_scale", {"data": w, "scale": s, "offset": o},
       (np.repeat(s, 2, 1).astype(np.float64) * (w.astype(np.float64) - np.repeat(o, 2, 1))
        ).astype(np.float32))
bad = {"data": Sub("i4", np.zeros((4, 6))), "scale": np.ones((3, 6), np.float16)}
f.case("constexpr_blockwise_shift_scale", bad, error="must divide", static=True)
bad["scale"] = np.ones((2, 6), np.float16)
f.case("constexpr_blockwise_shift_scale", bad | {"offset": np.zeros((2, 6), np.int8)}, error="`offset`")
f.case("constexpr_blockwise_shift_scale", bad | {"offset": Sub("i4", np.zeros((2, 3)))},
       error="`offset`", static=True)

f.case("constexpr_cast", {"source_val": w}, w.astype(np.float32), {"output_dtype": "f32"})
f.case("constexpr_cast", {"source_val": s}, s.astype(np.float16), {"output_dtype": "f16"})
f.case("constexpr_cast", {"source_val": w}, error="a float is needed", attrs={"output_dtype": "i32"})


def look_up(indices, lut, axis):
    groups, vector = lut.shape[:-2], lut.shape[-1]
    shape = list(indices.shape)
    if axis is not None:
        shape[axis] *= vector
    out = np.zeros(shape, lut.dtype)
    for at in itertools.product(*map(range, indices.shape)):
        group = tuple(i // (d // g) for i, d, g in zip(at, indices.shape, groups))
        for v in range(vector):
            to = list(at)
            if axis is not None:
                to[axis] = at[axis] * vector + v
            out[tuple(to)] = lut[group + (indices[at], v)]
    return out


def table(groups, bits, vector, dtype=np.float16):
    lut = rng.normal(size=(*groups, 2**bits, vector)) * 50
    return lut.astype(dtype)


for dtype, bits in BITS.items():
    i = rng.integers(0, 2**bits, (4, 6))
    lut = table((1, 1), bits, 1)
    f.case("constexpr_lut_to_dense", {"indices": small(dtype, i), "lut": lut}, look_up(i, lut, None))
for groups, vector, axis in [((4, 1), 1, None), ((1, 3), 1, 0), ((2, 3), 2, 0), ((4, 1), 3, 1),
                             ((2, 1), 2, -1)]:
    i = rng.integers(0, 4, (4, 6))
    for np_dtype in [np.float16, np.int8, np.float32]:
        lut = table(groups, 2, vector, np_dtype)
        f.case("constexpr_lut_to_dense", {"indices": Sub("u2", i), "lut": lut}, look_up(i, lut, axis),
               {} if axis is None else {"vector_axis": axis})
i = rng.integers(0, 2, (2, 3, 1, 2))
lut = table((2, 1, 1, 1), 1, 2)
f.case("constexpr_lut_to_dense", {"indices": Sub("u1", i), "lut": lut}, look_up(i, lut, 1),
       {"vector_axis": 1})
f.case("constexpr_lut_to_dense", {"indices": Sub("u1", i), "lut": lut}, error="`vector_axis`",
       static=True)
f.case("constexpr_lut_to_dense", {"indices": Sub("u2", i), "lut": lut}, error="4 entries",
       attrs={"vector_axis": 1}, static=True)
f.case("constexpr_lut_to_dense", {"indices": Sub("u1", i), "lut": lut[0]}, error="rank 6",
       attrs={"vector_axis": 1})
f.case("constexpr_lut_to_dense", {"indices": np.zeros((2, 2), np.int32), "lut": table((1, 1), 1, 1)},
       error="u1, u2, u3")


def pack(values, bits):
    stream = [(int(v) >> k) & 1 for v in np.ravel(values) for k in range(bits)]
    stream += [0] * (-len(stream) % 8)
    return np.array([sum(b << k for k, b in enumerate(stream[p:p + 8]))
                     for p in range(0, len(stream), 8)], np.uint8)


for bits in [1, 2, 4, 6, 8]:
    for shape in [(3, 5), (7,), (2, 2, 2)]:
        i = rng.integers(0, 2**bits, shape)
        lut = table((), bits, 1, np.float16 if bits < 6 else np.uint8).ravel()
        f.case("constexpr_lut_to_dense", {"indices": pack(i, bits), "lut": lut}, lut[i],
               {"shape": list(shape)})
f.case("constexpr_lut_to_dense", {"indices": np.zeros(3, np.uint8), "lut": np.zeros(8, np.float16)},
       error="2, 4, 16, 64 or 256", attrs={"shape": [8]}, static=True)
f.case("constexpr_lut_to_dense", {"indices": np.zeros(3, np.uint8), "lut": np.zeros(4, np.float16)},
       error="2 u8", attrs={"shape": [8]}, static=True)

NP = {"i8": np.int8, "u8": np.uint8, "f16": np.float16, "f32": np.float32}
for dtype in ["i4", "u4", "i8", "u8", "f16", "f32"]:
    for shape in [(3, 5), (11,), (2, 1, 3)]:
        mask = rng.integers(0, 2, shape)
        dense = np.zeros(shape, NP.get(dtype, np.int8))
        values = rng.integers(0 if dtype[0] == "u" else -8, 8, int(mask.sum()))
        dense[mask == 1] = values
        values = values.astype(NP[dtype]) if dtype in NP else Sub(dtype, values)
        want = dense if dtype in NP else Sub(dtype, dense)
        f.case("constexpr_sparse_to_dense", {"nonzero_data": values, "mask": Sub("u1", mask)}, want)
        if dtype in NP:
            f.case("constexpr_sparse_to_dense", {"nonzero_data": values, "mask": pack(mask, 1)}, want,
                   {"shape": list(shape)})
mask = np.array([1, 0, 1, 1])
f.case("constexpr_sparse_to_dense", {"nonzero_data": np.float16([1, 2]), "mask": Sub("u1", mask)},
       error="2 values for 3 places")
f.case("constexpr_sparse_to_dense", {"nonzero_data": np.float16([1]), "mask": mask.astype(np.uint8)},
       error="u1 is needed")
f.case("constexpr_sparse_to_dense", {"nonzero_data": np.float16([1]), "mask": np.zeros(2, np.uint8)},
       error="1 u8", attrs={"shape": [4]}, static=True)

for groups, vector, axis in [((1, 1), 1, None), ((2, 1), 1, None), ((1, 3), 2, 0), ((4, 1), 3, 1)]:
    mask = rng.integers(0, 2, (4, 6))
    mask[0, 0] = 1
    i = rng.integers(0, 4, (4, 6)) * mask
    lut = table(groups, 2, vector)
    dense = look_up(i, lut, axis)
    spread = mask if axis is None else np.repeat(mask, vector, axis)
    f.case("constexpr_lut_to_sparse",
           {"indices_mask": Sub("u1", mask), "indices_nonzero_data": Sub("u2", i[mask == 1]),
            "lut": lut}, [Sub("u1", spread), dense[spread == 1]],
           {} if axis is None else {"vector_axis": axis})
f.case("constexpr_lut_to_sparse",
       {"indices_mask": Sub("u1", mask), "indices_nonzero_data": Sub("u2", [1]), "lut": lut},
       error="1 values for", attrs={"vector_axis": 1})

for dtype, low, high in [("i4", -8, 7), ("u8", 0, 255)]:
    for blocks in [(4, 1), (2, 3), (1, 1)]:
        mask = rng.integers(0, 2, (4, 6))
        q, o = rng.integers(low, high + 1, (4, 6)), rng.integers(low, high + 1, blocks)
        s = rng.uniform(0.1, 1, blocks).astype(np.float16)
        big = lambda t: np.repeat(np.repeat(t, 4 // blocks[0], 0), 6 // blocks[1], 1)
        want = (big(s).astype(np.float64) * (q - big(o))).astype(np.float16)[mask == 1]
        operands = {"data_mask": Sub("u1", mask), "nonzero_data": small(dtype, q[mask == 1]),
                    "scale": s, "offset": small(dtype, o)}
        f.case("constexpr_sparse_blockwise_shift_scale", operands, [Sub("u1", mask), want],
               tol=(0, 0))
del operands["offset"]
want = (big(s).astype(np.float64) * q).astype(np.float16)[mask == 1]
f.case("constexpr_sparse_blockwise_shift_scale", operands, [Sub("u1", mask), want], tol=(0, 0))
f.save()
