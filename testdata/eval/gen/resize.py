"""Resizing against torch, and by interpolation at the sampling points that the modes name."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from common import Family

rng = np.random.default_rng(15)
f = Family("resize")
MODES = ["STRICT_ALIGN_CORNERS", "ALIGN_CORNERS", "DEFAULT", "OFFSET_CORNERS", "UNALIGN_CORNERS"]


def draw(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def point(mode, i, n, x):
    if mode == "ALIGN_CORNERS" and n == 1:
        at = (x - 1) / 2
    elif mode in MODES[:2]:
        at = i * (x - 1) / max(n - 1, 1)
    elif mode == "DEFAULT":
        at = i * x / n
    elif mode == "OFFSET_CORNERS":
        at = (i + 0.5) * max(1, x - 1) / n
    else:
        at = (i + 0.5) * x / n - 0.5
    return min(max(at, 0), x - 1)


def linear(x, sizes, mode):
    y = x.astype(np.float64)
    for axis, n in zip(range(x.ndim - len(sizes), x.ndim), sizes):
        at = [point(mode, i, n, x.shape[axis]) for i in range(n)]
        y = np.apply_along_axis(lambda v: np.interp(at, np.arange(len(v)), v), axis, y)
    return y.astype(x.dtype)


def nearest(x, sizes, mode):
    y = x
    for axis, n in zip(range(x.ndim - len(sizes), x.ndim), sizes):
        at = [math.floor(point(mode, i, n, x.shape[axis]) + 0.5) for i in range(n)]
        y = np.take(y, at, axis)
    return np.ascontiguousarray(y)


x = draw(2, 2, 3, 4)
t = torch.tensor(x)
two = np.array([0, 1], np.float32).reshape(1, 1, 2)
for mode, want in zip(MODES, [[0, .25, .5, .75, 1], [0, .25, .5, .75, 1], [0, .4, .8, 1, 1],
                              [.1, .3, .5, .7, .9], [0, .1, .5, .9, 1]]):
    want = np.array(want, np.float32).reshape(1, 1, 5)
    assert np.allclose(linear(two, [1, 5], mode), want)
    f.case("resize_bilinear", {"x": two}, want,
           {"target_size_height": 1, "target_size_width": 5, "sampling_mode": mode})
    for h, w in [(7, 2), (1, 1), (3, 4), (2, 9)]:
        f.case("resize_bilinear", {"x": x}, linear(x, [h, w], mode),
               {"target_size_height": h, "target_size_width": w, "sampling_mode": mode})
f.case("resize_bilinear", {"x": x}, linear(x, [1, 1], "DEFAULT"))
y = F.interpolate(t.double(), (5, 7), mode="bilinear", align_corners=False).float()
f.case("resize_bilinear", {"x": x}, y,
       {"target_size_height": 5, "target_size_width": 7, "sampling_mode": "UNALIGN_CORNERS"})
y = F.interpolate(t.double(), (5, 7), mode="bilinear", align_corners=True).float()
f.case("resize_bilinear", {"x": x}, y,
       {"target_size_height": 5, "target_size_width": 7, "sampling_mode": "STRICT_ALIGN_CORNERS"})
f.case("resize_bilinear", {"x": x.astype(np.float16)}, linear(x.astype(np.float16), [5, 7], "DEFAULT"),
       {"target_size_height": 5, "target_size_width": 7})
edge = np.array([[[1.0, np.inf, np.nan]]], np.float32)
f.case("resize_bilinear", {"x": edge}, edge, {"target_size_height": 1, "target_size_width": 3,
                                              "sampling_mode": "UNALIGN_CORNERS"})

for h, w in [(6, 8), (1, 3), (5, 2), (9, 10)]:
    rows, columns = [i * 3 // h for i in range(h)], [i * 4 // w for i in range(w)]
    f.case("resize_nearest_neighbor", {"x": x}, np.ascontiguousarray(x[..., rows, :][..., columns]),
           {"target_size_height": h, "target_size_width": w})
f.case("resize_nearest_neighbor", {"x": x}, F.interpolate(t, (6, 12), mode="nearest"),
       {"target_size_height": 6, "target_size_width": 12})
f.case("resize_nearest_neighbor", {"x": np.arange(2, dtype=np.int32).reshape(1, 1, 2)},
       np.array([[[0, 0, 1]]], np.int32), {"target_size_height": 1, "target_size_width": 3})

up = "upsample_nearest_neighbor"
f.case(up, {"x": x}, F.interpolate(t, scale_factor=(2, 3), mode="nearest"),
       {"scale_factor_height": 2, "scale_factor_width": 3})
f.case(up, {"x": x}, F.interpolate(t, scale_factor=(1.5, 0.5), mode="nearest"),
       {"scale_factor_height": 1.5, "scale_factor_width": 0.5})
f.case(up, {"x": x}, F.interpolate(t, scale_factor=(2.7, 1.12), mode="nearest"),
       {"scale_factor_height": 2.7, "scale_factor_width": 1.12})
f.case(up, {"x": x}, x)
row = np.array([1.5, -2.5, 3.5], np.float32).reshape(1, 1, 3)
f.case(up, {"x": row}, np.tile(row[..., :2], (1, 3, 1)),
       {"scale_factor_height": 3.17, "scale_factor_width": 0.67})
f.case(up, {"x": row}, np.tile(row, (1, 2, 1)),
       {"scale_factor_height": 2.0, "scale_factor_width": 1.12})
f.case(up, {"x": row}, np.ascontiguousarray(row[..., [0, 0, 1, 1, 2]]),
       {"scale_factor_width": 5 / 3})

up = "upsample_bilinear"
for scale in [(2, 3), (2.5, 1.5), (0.5, 2.25), (1, 1)]:
    attrs = {"scale_factor_height": scale[0], "scale_factor_width": scale[1]}
    for align in [True, False]:
        y = F.interpolate(t.double(), scale_factor=scale, mode="bilinear", align_corners=align,
                          recompute_scale_factor=True).float()
        f.case(up, {"x": x}, y, attrs | {"align_corners": align})
        f.case(up, {"x": x}, y, attrs | {"align_corners": align, "half_pixel_centers": not align})
    sizes = [math.floor(n * s) for n, s in zip((3, 4), scale)]
    f.case(up, {"x": x}, linear(x, sizes, "DEFAULT"),
           attrs | {"align_corners": False, "half_pixel_centers": False})
f.case(up, {"x": x}, F.interpolate(t.double(), scale_factor=2, mode="bilinear",
                                   align_corners=True).float(),
       {"scale_factor_height": 2, "scale_factor_width": 2})


def resize(x, shape, dims, sizes, interpolation, mode, dtype=np.int32):
    y = (linear if interpolation == "LINEAR" else nearest)(x, sizes, mode)
    f.case("resize", {"x": x, "shape": np.array(shape, dtype)}, y,
           {"resized_dims": dims, "interpolation_mode": interpolation, "sampling_mode": mode},
           contents=["shape"])


for mode in MODES:
    resize(x, [1, 2, 5, 6], 2, [5, 6], "LINEAR", mode)
    resize(x, [7, 3], 2, [7, 3], "NEAREST_NEIGHBOR", mode, np.uint16)
resize(x, [0, 9, 0], 2, [9, 4], "LINEAR", "UNALIGN_CORNERS")
resize(x, [3, 2, 2], 3, [3, 2, 2], "LINEAR", "DEFAULT", np.int16)
resize(x, [4], 0, [], "LINEAR", "DEFAULT")
resize(np.arange(6, dtype=np.int32).reshape(2, 3), [4, 2], 1, [2], "NEAREST_NEIGHBOR", "DEFAULT")
f.case("resize", {"x": two, "shape": np.array([3], np.int32)},
       np.array([[[0, 1, 1]]], np.float32), {"resized_dims": 1, "interpolation_mode": "NEAREST_NEIGHBOR"})
f.case("resize", {"x": x, "shape": np.array([3], np.int32)}, error="entries", attrs={"resized_dims": 2},
       static=True)
f.case("resize", {"x": x, "shape": np.array([-3], np.int32)}, error="-3", attrs={"resized_dims": 1})
f.case("resize", {"x": np.arange(3, dtype=np.int32), "shape": np.array([3], np.int32)},
       error="linear interpolation", attrs={"resized_dims": 1})
f.case("upsample_bilinear", {"x": x}, error="both true", attrs={"half_pixel_centers": True})
f.case("upsample_nearest_neighbor", {"x": x}, error="`scale_factor_width`",
       attrs={"scale_factor_width": -1.0})
f.case("resize_bilinear", {"x": x[0, 0]}, error="rank of at least 3")
f.save()
