"""Cases of other element types, derived from the smallest case of each op in the other families.

Ops that move elements commute with any function of an element, so operands and result of such a case
are mapped together. Indices are the same in another integer type. Float ops are run with operands in
f16, against the f32 result within what f16 can tell. Casts and weight decompressors are computed anew.
Run this after the scripts of the other families.
"""

import json
import pathlib
import struct

import numpy as np
import torch

from common import Family, Sub

HERE = pathlib.Path(__file__).parent.parent
TYPES = {
    "F16": "float16", "F32": "float32", "I32": "int32", "I8": "int8", "U8": "uint8",
    "I16": "int16", "U16": "uint16", "BOOL": "bool",
}
f = Family("derived")


def load():
    """Every case by op, with its tensors; those of types that NumPy lacks are left out."""
    found = {}
    for index in sorted(HERE.glob("*.json")):
        if index.stem in ("derived", "programs") or not index.with_suffix(".safetensors").exists():
            continue
        data = json.loads(index.read_text())
        raw = index.with_suffix(".safetensors").read_bytes()
        length = struct.unpack("<Q", raw[:8])[0]
        header = json.loads(raw[8:8 + length])

        def tensor(key):
            entry = header[key]
            if entry["dtype"] not in TYPES or key in data["dtypes"]:
                return None
            start, end = (8 + length + at for at in entry["data_offsets"])
            return np.frombuffer(raw[start:end], TYPES[entry["dtype"]]).reshape(entry["shape"])

        for case in data["cases"]:
            if "expected" not in case:
                continue
            operands = {slot: [tensor(k) for k in keys] for slot, keys in case["operands"].items()}
            results = [tensor(k) for k in case["expected"]]
            every = [t for ts in operands.values() for t in ts] + results
            if any(t is None for t in every) or not all(t.size for t in every):
                continue
            found.setdefault(case["op"], []).append((case, operands, results))
    for cases in found.values():
        cases.sort(key=lambda c: sum(t.size for ts in c[1].values() for t in ts))
    return found


CASES = load()
FLAGS = ("constant", "static", "contents")


def add(case, operands, results, tol, attrs=None):
    flags = {k: case[k] for k in FLAGS if k in case}
    attrs = case["attrs"] if attrs is None else attrs
    f.case(case["op"], operands, results, attrs, tol=tol, **flags)


# The slots of elements that move, the first first; the type of the result follows.
MOVED = {
    "batch_to_space": ("x",), "crop": ("x",), "depth_to_space": ("x",), "expand_dims": ("x",),
    "flatten2d": ("x",), "gather": ("x",), "gather_along_axis": ("x",), "gather_nd": ("x",),
    "pixel_shuffle": ("x",), "pixel_unshuffle": ("x",), "reshape": ("x",), "reshape_like": ("x",),
    "reverse": ("x",), "reverse_sequence": ("x",), "slice_by_index": ("x",),
    "slice_by_size": ("x",), "slice_update": ("x", "update"), "sliding_windows": ("x",),
    "space_to_batch": ("x",), "space_to_depth": ("x",), "split": ("x",), "squeeze": ("x",),
    "tile": ("x",), "transpose": ("x",), "band_part": ("x",), "select": ("a", "b"),
    "scatter_along_axis": ("data", "updates"), "scatter_nd": ("data", "updates"),
    "scatter": ("data", "updates"), "concat": ("values",), "stack": ("values",), "pad": None,
    "identity": ("x",), "topk": ("x",), "shape": ("x",), "upsample_nearest_neighbor": ("x",),
    "resize_nearest_neighbor": ("x",), "one_hot": ("on_value", "off_value"), "fill_like": None,
}
ALL = ["float16", "float32", "int32", "int8", "uint8", "int16", "uint16", "bool"]
NUMBERS = [t for t in ALL if t != "bool"]
ARITHMETIC = ["float16", "float32", "int32"]
TAKES = {
    "batch_to_space": ARITHMETIC, "crop": ARITHMETIC[:2], "depth_to_space": ARITHMETIC,
    "flatten2d": ARITHMETIC + ["bool"], "gather": ALL, "gather_along_axis": NUMBERS,
    "gather_nd": ALL, "pixel_shuffle": ARITHMETIC[:2], "pixel_unshuffle": ARITHMETIC[:2],
    "space_to_batch": ARITHMETIC, "space_to_depth": ARITHMETIC, "band_part": ARITHMETIC,
    "scatter_along_axis": ARITHMETIC, "scatter_nd": ARITHMETIC, "scatter": ARITHMETIC,
    "select": ARITHMETIC + ["bool"], "split": ARITHMETIC + ["bool"], "tile": ARITHMETIC + ["bool"],
    "concat": ALL, "stack": ALL, "topk": NUMBERS, "shape": ALL, "gather": ALL,
    "upsample_nearest_neighbor": ARITHMETIC[:2], "resize_nearest_neighbor": ARITHMETIC[:2],
    "one_hot": ARITHMETIC + ["bool"],
}


def is_sum(case):
    """Whether elements are also computed with."""
    return case["attrs"].get("mode", "update") not in ("update",) and case["op"].startswith("scatter")


def mapped(op, slots, dtype):
    """The smallest case of `op` whose elements fit `dtype` in order of size, mapped to it."""
    for case, operands, results in CASES.get(op, []):
        if is_sum(case) or any(slot not in operands for slot in slots):
            continue
        given = np.concatenate([t.reshape(-1) for s in slots for t in operands[s]]).astype("f8")
        if not np.isfinite(given).all():
            continue
        values = np.unique(np.concatenate([given, [0.0]]))
        limit = 2 if dtype == "bool" else 120 if dtype in ("int8", "uint8") else 30000
        if dtype != "bool" and len(values) > limit:
            continue
        order = np.arange(len(values)) - (0 if dtype[0] in "ub" else np.searchsorted(values, 0.0))
        if dtype == "bool":
            order = values > np.median(values) if op != "topk" else order
            order[values == 0] = False
        if dtype.startswith("uint"):
            if (values < 0).any() and (op in ("batch_to_space", "space_to_batch", "band_part")):
                continue
        to = dict(zip(values.tolist(), order.tolist()))
        turn = lambda t: np.array([to[v] for v in t.reshape(-1).astype("f8").tolist()], dtype).reshape(t.shape)
        try:
            new = {s: [turn(t) for t in ts] if s in slots else ts for s, ts in operands.items()}
            is_moved = [op != "shape" and not (op == "topk" and i == 1) for i in range(len(results))]
            out = [turn(t) if m else t for t, m in zip(results, is_moved)]
        except KeyError:
            continue
        return add(case, new, out, (0, 0))
    print("no case of", op, dtype)


for op, slots in MOVED.items():
    if slots is None or op not in CASES:
        continue
    have = {str(t.dtype) for _, operands, _ in CASES[op] for t in operands.get(slots[0], [])}
    for dtype in TAKES.get(op, ALL):
        if dtype not in have:
            mapped(op, slots, dtype)

# Slots of indices, extents and bounds in the other integer types.
INDICES = {
    ("gather", "indices"): ["int16", "uint16", "int8", "uint8"],
    ("gather_along_axis", "indices"): ["int16", "uint16", "int8", "uint8"],
    ("gather_nd", "indices"): ["int16", "uint16", "int8", "uint8"],
    ("reshape", "shape"): ["int16", "int8"],
    ("reverse_sequence", "lengths"): ["int16", "int8"],
    ("slice_by_size", "begin size"): ["int16", "int8"],
    ("slice_by_index", "begin end"): ["int16", "int8"],
    ("slice_update", "begin end"): ["int16", "int8"],
    ("topk", "k"): ["int16", "int8"],
    ("crop_resize", "box_indices"): ["uint16"],
    ("resize", "shape"): ["int16", "uint16", "uint32"],
    ("resample", "coordinates"): ["int8", "uint8", "int16", "uint16"],
}
for (op, names), dtypes in INDICES.items():
    names = names.split()
    for dtype in dtypes:
        for case, operands, results in CASES[op]:
            if any(n not in operands for n in names):
                continue
            indices = [t for n in names for t in operands[n]]
            info = np.iinfo(dtype)
            if not all(t.dtype.kind in "iu" and t.min() >= info.min and t.max() <= info.max for t in indices):
                continue
            new = {s: [t.astype(dtype) for t in ts] if s in names else ts for s, ts in operands.items()}
            add(case, new, results, case["tolerance"])
            break
        else:
            print("no case of", op, names, dtype)

# Ops of floats in f16.
HALF = {
    "affine": 0, "batch_norm": 5, "clamped_relu": 0, "conv_transpose": 3, "crop_resize": 0, "elu": 0,
    "instance_norm": 3, "inverse": 0, "l2_norm": 0, "layer_norm": 3, "linear": 3,
    "linear_activation": 0, "local_response_norm": 0, "lstm": 0, "prelu": 0, "resize": 0,
    "rnn": 0, "gru": 0, "rsqrt": 0, "scaled_tanh": 0, "sigmoid_hard": 0, "softplus_parametric": 0,
    "threshold": 0, "thresholded_relu": 0, "upsample_bilinear": 0, "conv": 3, "fill_like": 0,
    "resize_bilinear": 0, "resample": 0,
}


def in_half(op, least, wanted=()):
    """The smallest case of `op` with `least` operands and those `wanted`, in f16."""
    for case, operands, results in CASES[op]:
        floats = [t for ts in operands.values() for t in ts if t.dtype == np.float32]
        if not floats or len(operands) < least or any(w not in operands for w in wanted):
            continue
        every = np.concatenate([t.reshape(-1) for t in floats + [r for r in results if r.dtype == np.float32]])
        if not np.isfinite(every).all() or np.abs(every).max() > 1000:
            continue
        half = lambda t: t.astype(np.float16) if t.dtype == np.float32 else t
        add(case, {s: [half(t) for t in ts] for s, ts in operands.items()},
            [half(t) for t in results], (1e-2, 5e-3))
        return
    print("no case of", op, "in f16", wanted)


for op, least in HALF.items():
    in_half(op, least)
in_half("lstm", 0, ("peephole",))
in_half("lstm", 0, ("weight_ih_back", "bias_back"))
in_half("lstm", 0, ("bias",))
in_half("rnn", 0, ("bias",))
in_half("crop_resize", 0, ("boxes",))

# Casts from each type to each.
CAST = ["float16", "float32", "int8", "uint8", "int16", "uint16", "int32", "bool"]
IR = dict(zip(CAST, ["f16", "f32", "i8", "u8", "i16", "u16", "i32", "bool"]))
for source in CAST:
    x = np.array([0, 1, 2, 5, 117, 63], source)
    for goal in CAST:
        f.case("cast", {"x": x}, x.astype(goal), {"dtype": IR[goal]}, tol=(0, 0))

# Values of `one_hot` and `fill_like`.
for dtype in ARITHMETIC + ["bool"]:
    on, off = np.array(1, dtype), np.array(0, dtype)
    f.case("one_hot", {"indices": np.array([2, 0], np.int32), "one_hot_vector_size": np.array(3, np.int32),
                       "on_value": on, "off_value": off},
           np.array([[0, 0, 1], [1, 0, 0]], dtype), {"axis": -1}, contents=["one_hot_vector_size"])
    for other in ARITHMETIC + ["bool"]:
        f.case("fill_like", {"ref_tensor": np.ones((2, 3), dtype), "value": np.array(1, other)},
               np.ones((2, 3), other))

# Boxes of integers.
image = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
f.case("crop_resize", {"x": image, "boxes": np.array([[0, 1, 2, 3]], np.uint16),
                       "box_indices": np.array([0], np.uint16)},
       image[:, :, 0:3, 1:4],
       {"target_height": 3, "target_width": 3, "normalized_coordinates": False,
        "box_coordinate_mode": "CORNERS_HEIGHT_FIRST", "sampling_mode": "ALIGN_CORNERS"})

# Boxes in the form before iOS 17: every box cuts every image, or names its image.
for dtype in ["float32", "float16"]:
    images = np.arange(32, dtype=dtype).reshape(2, 1, 4, 4)
    roi = np.array([[0, 1, 2, 3], [1, 0, 3, 2]], dtype).reshape(2, 1, 4, 1, 1)
    cut = lambda i, b: images[i, :, int(b[0]):int(b[2]) + 1, int(b[1]):int(b[3]) + 1]
    want = np.stack([np.stack([cut(i, b) for i in range(2)]) for b in roi.reshape(2, 4)])
    attrs = {"target_height": 3, "target_width": 3, "sampling_mode": "ALIGN_CORNERS"}
    f.case("crop_resize", {"x": images, "roi": roi}, want, attrs, static=True)
    named = np.concatenate([np.array([1, 0], dtype).reshape(2, 1, 1, 1, 1), roi], 2)
    want = np.stack([cut(i, b)[None] for i, b in zip([1, 0], roi.reshape(2, 4))])
    f.case("crop_resize", {"x": images, "roi": named}, want, attrs, static=True)
f.case("crop_resize", {"x": images, "roi": named[:1], "boxes": roi.reshape(2, 4)}, attrs=attrs,
       error="belong to different forms")

# Weight decompressors of every element type.
rng = np.random.default_rng(7)
SMALL = {"i4": (-8, 7), "u4": (0, 15), "i8": (-128, 127), "u8": (0, 255)}


def stored(name, values):
    if name in ("i4", "u1", "u2", "u3", "u4", "u6"):
        return Sub(name, values)
    return np.asarray(values).astype({"f16": "f2", "f32": "f4"}.get(name, name.replace("u", "uint") if name[0] == "u" else name.replace("i", "int")))


for data in ["i4", "u4", "i8", "u8", "f16", "f32"]:
    for scale in ["f2", "f4"]:
        low, high = SMALL.get(data, (-20, 20))
        q, o = rng.integers(low, high + 1, (2, 4)), rng.integers(low, high + 1, (2, 2))
        s = np.array([[0.5, 0.25], [2, 0.125]], scale)
        big = lambda t: np.repeat(t, 2, 1)
        want = (big(s).astype("f8") * (q - big(o))).astype(scale)
        f.case("constexpr_blockwise_shift_scale",
               {"data": stored(data, q), "scale": s, "offset": stored(data, o)}, want, constant=True, tol=(0, 0))
        mask = np.array([[1, 0, 1, 1], [0, 1, 0, 1]])
        f.case("constexpr_sparse_blockwise_shift_scale",
               {"data_mask": Sub("u1", mask), "nonzero_data": stored(data, q[mask == 1]), "scale": s,
                "offset": stored(data, o)}, [Sub("u1", mask), want[mask == 1]], constant=True, tol=(0, 0))
for indices, bits in [("u1", 1), ("u2", 2), ("u3", 3), ("u4", 4), ("u6", 6), ("u8", 8)]:
    for lut, low, high in [("i8", -128, 127), ("u8", 0, 255), ("f16", -20, 20), ("f32", -20, 20)]:
        table = stored(lut, rng.integers(low, high + 1, (1, 1, 2**bits, 1)))
        i = rng.integers(0, 2**bits, (2, 4))
        mask = np.array([[1, 0, 1, 1], [0, 1, 0, 1]])
        dense = table.reshape(-1)[i]
        f.case("constexpr_lut_to_sparse",
               {"indices_mask": Sub("u1", mask), "indices_nonzero_data": stored(indices, i[mask == 1]),
                "lut": table}, [Sub("u1", mask), dense[mask == 1]], constant=True, tol=(0, 0))
        f.case("constexpr_lut_to_dense", {"indices": stored(indices, i), "lut": table}, dense,
               constant=True, tol=(0, 0))
        if bits == 1 and lut == "f16":
            f.case("constexpr_lut_to_sparse",
                   {"indices_mask": Sub("u1", mask), "indices_nonzero_data": stored(indices, i[mask == 1]),
                    "lut": table}, [Sub("u1", mask), dense[mask == 1]], {"vector_axis": -1},
                   constant=True, tol=(0, 0))

# Arguments that change nothing but what is allowed.
for op, attr in [("gather_along_axis", "validate_indices"), ("gather_nd", "validate_indices"),
                 ("scatter_along_axis", "validate_indices"), ("scatter_nd", "validate_indices")]:
    case, operands, results = CASES[op][0]
    add(case, operands, results, case["tolerance"], case["attrs"] | {attr: True})
case, operands, results = next(c for c in CASES["reverse_sequence"] if "batch_axis" in c[0]["attrs"])
axis = case["attrs"]["batch_axis"] - operands["x"][0].ndim
add(case, operands, results, case["tolerance"], case["attrs"] | {"batch_axis": axis})

# Pixels that divide the image, as torch has them by default.
theta = torch.tensor([[[0.8, 0.3, 0.1], [-0.2, 1.1, -0.3]], [[1, 0, 0], [0, 1, 0]]])
photo = torch.arange(24, dtype=torch.float32).reshape(2, 1, 3, 4)
for size in [(2, 1, 3, 4), (2, 1, 5, 2), (2, 1, 1, 1)]:
    grid = torch.nn.functional.affine_grid(theta, list(size), align_corners=False)
    want = torch.nn.functional.grid_sample(photo, grid, align_corners=False)
    f.case("affine", {"x": photo, "transform_matrix": theta.reshape(2, 6)}, want,
           {"output_height": size[2], "output_width": size[3], "sampling_mode": "bilinear",
            "padding_mode": "constant", "padding_value": 0.0, "align_corners": False,
            "coordinates_mode": "normalized_minus_one_to_one"}, tol=(1e-4, 1e-5))

# A few more.
f.case("fill", {"shape": np.array([2, 2], np.int32), "value": np.array(2.5, np.float32)},
       np.full((2, 2), 2.5, np.float32), contents=["shape"], static=True)
f.case("logical_not", {"x": np.array([[True], [False]])}, np.array([[False], [True]]))
f.case("logical_not", {"x": np.array(True)}, np.array(False))
f.case("constexpr_cast", {"source_val": np.array([1, -0.5, 65504, 6e-8], np.float16)},
       np.array([1, -0.5, 65504, 6e-8], np.float16).astype(np.float32), {"output_dtype": "f32"},
       constant=True, tol=(0, 0))
f.case("constexpr_cast", {"source_val": np.array([np.inf, np.nan], np.float16)},
       np.array([np.inf, np.nan], np.float32), {"output_dtype": "f32"}, constant=True, tol=(0, 0))
image = np.arange(12, dtype=np.float32).reshape(1, 1, 3, 4)
for dtype in ["uint8", "uint16", "int8", "int16", "int32"]:
    at = np.array([[[0, 0], [3, 2]], [[1, 2], [7, 1]]], dtype)[None]
    f.case("resample", {"x": image, "coordinates": at},
           np.array([[0, 11], [9, -1]], np.float32)[None, None],
           {"sampling_mode": "nearest", "padding_mode": "constant", "padding_value": -1.0,
            "coordinates_mode": "unnormalized", "align_corners": False})
f.save()
