"""Semantics that bite, each with the values that the runtime was seen to give or that follow from the
definition. Those of `non_maximum_suppression` stand with its other cases in detect.py."""

import numpy as np

from common import Family

f = Family("traps")
row = np.array([[[[10, 20]]]], np.float32)

# Nearest neighbours: `resize` rounds the sampling point, the older ops floor it.
for dtype in [np.int32, np.int16, np.uint16]:
    f.case("resize", {"x": row, "shape": np.array([1, 3], dtype)}, row[..., [0, 1, 1]],
           {"resized_dims": 2, "interpolation_mode": "NEAREST_NEIGHBOR",
            "sampling_mode": "DEFAULT"}, contents=["shape"])
f.case("resize_nearest_neighbor", {"x": row}, row[..., [0, 0, 1]],
       {"target_size_height": 1, "target_size_width": 3})
f.case("upsample_nearest_neighbor", {"x": row}, row[..., [0, 0, 1]],
       {"scale_factor_height": 1, "scale_factor_width": 1.5})

# Indices count from the front.
x = np.array([5, 6, 7], np.float32)
back, pair = np.array([-1, 0], np.int32), np.array([1, 2], np.float32)
f.case("gather", {"x": x, "indices": back}, error="-1")
f.case("gather_along_axis", {"x": x, "indices": back}, error="-1")
f.case("gather_nd", {"x": x, "indices": back[:, None]}, error="-1", static=True)
f.case("scatter", {"data": x, "indices": back, "updates": pair}, error="-1")
f.case("scatter_along_axis", {"data": x, "indices": back, "updates": pair}, error="-1")
f.case("scatter_nd", {"data": x, "indices": back[:, None], "updates": pair}, error="-1", static=True)

# A constant of another float type: the result has the type of the other operand.
a = np.array([[1, 2]], np.float32)
w = np.array([[0.5], [0.25]], np.float16)
f.case("linear", {"x": a, "weight": w.T.copy()}, np.array([[1]], np.float32))
f.case("linear", {"x": a.astype(np.float16), "weight": w.T.astype(np.float32)}, np.array([[1]], np.float16))

# The outside of an image is `pad_value`, and a box ends with its last pixel.
image = np.arange(9, dtype=np.float32).reshape(1, 1, 3, 3)
f.case("crop_resize", {"x": image, "boxes": np.array([[1, 1, 3, 3]], np.float32)},
       np.array([[[[4, 5, -1], [7, 8, -1], [-1, -1, -1]]]], np.float32),
       {"target_height": 3, "target_width": 3, "sampling_mode": "ALIGN_CORNERS", "pad_value": -1.0})
f.case("crop_resize", {"x": image, "boxes": np.array([[2, 2, 2, 2]], np.float32)},
       np.array([[[[8]]]], np.float32),
       {"target_height": 1, "target_width": 1, "sampling_mode": "ALIGN_CORNERS"})

# Half precision: 0 times an infinite mask is no number, times the lowest number it is 0.
off = np.array([0, 1], np.float16)
f.case("mul", {"x": off, "y": np.array(-np.inf, np.float16)}, np.array([np.nan, -np.inf], np.float16))
f.case("mul", {"x": off, "y": np.array(-65504, np.float16)}, np.array([0, -65504], np.float16))
f.case("add", {"x": np.array([-65504], np.float16), "y": np.array([-65504], np.float16)},
       np.array([-np.inf], np.float16))
f.case("rsqrt", {"x": np.array([0, 1], np.float16)}, np.array([np.inf, 1], np.float16), {"epsilon": 1e-12})
f.case("log", {"x": np.array([0], np.float32)}, np.log(np.array([1e-45], np.float32)), {"epsilon": 1e-45})

# Powers lose signs, and only even ones.
f.case("pow", {"x": np.array([-3, 3], np.float32), "y": np.array(2, np.float32)}, np.array([9, 9], np.float32))
f.case("pow", {"x": np.array([-3, 3], np.float32), "y": np.array(0.5, np.float32)},
       np.array([np.nan, np.sqrt(3)], np.float32))

# Integers wrap.
f.case("add", {"x": np.array([2**31 - 1], np.int32), "y": np.array([1], np.int32)}, np.array([-2**31], np.int32))
f.case("mul", {"x": np.array([65536], np.int32), "y": np.array([65536], np.int32)}, np.array([0], np.int32))
f.save()
