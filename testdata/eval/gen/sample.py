"""Sampling against torch's grid_sample and affine_grid, torchvision's roi_align, and loops."""

import math

import numpy as np
import torch
import torch.nn.functional as F
import torchvision

from common import Family

torch.manual_seed(16)
f = Family("sample")
x = torch.randn(2, 2, 4, 5)
grid = torch.rand(2, 3, 3, 2) * 3 - 1.5


def resample(x, at, want, sampling, padding, unit, align, value=0.0, **flags):
    f.case("resample", {"x": x, "coordinates": at}, want, {
        "sampling_mode": sampling, "padding_mode": padding, "padding_value": value,
        "coordinates_mode": unit, "align_corners": align,
    }, **flags)


UNITS = ["unnormalized", "normalized_minus_one_to_one", "normalized_zero_to_one"]
for sampling in ["bilinear", "nearest"]:
    for padding, torchs, aligned in [
        ("constant", "zeros", [True, False]), ("border", "border", [True, False]),
        ("reflection", "reflection", [True]), ("symmetric", "reflection", [False]),
    ]:
        for align in aligned:
            y = F.grid_sample(x.double(), grid.double(), sampling, torchs, align).float()
            resample(x, grid, y, sampling, padding, UNITS[1], align, tol=(1e-4, 1e-5))


def position(v, n, unit, align):
    if unit == UNITS[0]:
        return v
    u = (v + 1) / 2 if unit == UNITS[1] else v
    return u * (n - 1) if align else u * n - 0.5


def fold(at, low, high):
    if high <= low:
        return 0.0
    while not low <= at <= high:
        at = 2 * low - at if at < low else 2 * high - at
    return at


def move(at, n, padding):
    if padding == "constant":
        return at
    if padding == "reflection":
        at = fold(at, 0, n - 1)
    if padding == "symmetric":
        at = fold(at, -0.5, n - 0.5)
    return min(max(at, 0), n - 1)


def loop(x, at, sampling, padding, unit, align, value):
    n, c, rows, columns = x.shape
    _, h, w, _ = at.shape
    y = torch.zeros(n, c, h, w, dtype=torch.double)
    for b in range(n):
        for i in range(h):
            for j in range(w):
                px = move(position(float(at[b, i, j, 0]), columns, unit, align), columns, padding)
                py = move(position(float(at[b, i, j, 1]), rows, unit, align), rows, padding)
                if sampling == "nearest":
                    taps = [(round(py), round(px), 1.0)]
                else:
                    fy, fx = math.floor(py), math.floor(px)
                    taps = [(fy + a, fx + k, abs(1 - a - (py - fy)) * abs(1 - k - (px - fx)))
                            for a in (0, 1) for k in (0, 1)]
                for r, q, share in taps:
                    inside = 0 <= r < rows and 0 <= q < columns
                    if share:
                        y[b, :, i, j] += share * (x[b, :, r, q].double() if inside else value)
    return y


pixels = torch.rand(2, 2, 3, 2) * 12 - 4
for sampling in ["bilinear", "nearest"]:
    for padding in ["constant", "border", "reflection", "symmetric"]:
        for unit, align in [(UNITS[0], True), (UNITS[0], False), (UNITS[2], True), (UNITS[2], False)]:
            at = pixels if unit == UNITS[0] else pixels / 4
            resample(x, at, loop(x, at, sampling, padding, unit, align, 2.5).float(), sampling, padding,
                     unit, align, 2.5, tol=(1e-4, 1e-5))
whole = torch.tensor([[[[0, 0], [4, 3], [5, 1]]], [[[-1, 2], [2, 4], [1, 1]]]], dtype=torch.int32)
resample(x, whole, loop(x, whole, "bilinear", "constant", UNITS[0], True, -1.0).float(), "bilinear",
         "constant", UNITS[0], True, -1.0)
line = torch.randn(1, 1, 1, 3)
at = torch.tensor([[[[0.4, 0.7], [1.6, -3.0]]]])
for padding in ["reflection", "symmetric"]:
    resample(line, at, loop(line, at, "bilinear", padding, UNITS[0], True, 0.0).float(), "bilinear",
             padding, UNITS[0], True)
# Ties: halves go to the even element.
at = torch.tensor([[[[0.5, 0.0], [1.5, 0.0], [-0.5, 0.0]]]])
resample(line, at, torch.stack([line[..., 0], line[..., 2], line[..., 0]], 3), "nearest", "border",
         UNITS[0], True)
# As the runtime gives them: four pixels sampled in each padding.
four = torch.tensor([11.0, 22, 33, 44]).reshape(1, 1, 2, 2)
at = torch.tensor([-1.0, -2, -3.7, -1, 0, 0, 3.5, 1.2]).reshape(1, 2, 2, 2)
for want, mode in [
    ([8.585, 6.17, 27.5, 6.17], ("bilinear", "constant", UNITS[1], True, 6.17)),
    ([11.0, 11, 11, 44], ("nearest", "border", UNITS[0], False, -1.0)),
    ([22.0, 36.3, 11, 34.1], ("bilinear", "reflection", UNITS[2], True, -1.0)),
    ([22.0, 33, 11, 33], ("nearest", "symmetric", UNITS[2], False, -1.0)),
]:
    resample(four, at, torch.tensor(want).reshape(1, 1, 2, 2), *mode, tol=(1e-5, 1e-5))
half = (x.half(), grid.half())
resample(*half, F.grid_sample(half[0].double(), half[1].double(), align_corners=True).half(),
         "bilinear", "constant", UNITS[1], True, tol=(2e-3, 1e-3))
f.case("resample", {"x": x, "coordinates": grid[:1]}, error="`coordinates`", static=True, attrs={
    "sampling_mode": "nearest", "padding_mode": "border", "padding_value": 0.0,
    "coordinates_mode": UNITS[0], "align_corners": True})

fixed = {"sampling_mode": "bilinear", "padding_mode": "constant", "padding_value": 0.0,
         "coordinates_mode": UNITS[1], "align_corners": True}
for count, h, w in [(2, 3, 4), (1, 2, 7)]:
    m = torch.randn(count, 6)
    theta = m.reshape(count, 2, 3).expand(2, 2, 3).double()
    y = F.grid_sample(x.double(), F.affine_grid(theta, (2, 2, h, w), align_corners=True),
                      align_corners=True).float()
    f.case("affine", {"x": x, "transform_matrix": m}, y,
           fixed | {"output_height": h, "output_width": w}, tol=(1e-4, 1e-5))
m = torch.tensor([[-1.0, -2.0, -3.7, -1.0, 3.5, 1.2]])
f.case("affine", {"x": four, "transform_matrix": m},
       torch.tensor([10.7525, 2.5025, 0, 1.98, 0, 0, 0, 0, 0]).reshape(1, 1, 3, 3),
       fixed | {"output_height": 3, "output_width": 3}, tol=(1e-4, 1e-5))
f.case("affine", {"x": four, "transform_matrix": m}, error="corners of an extent of 1",
       attrs=fixed | {"output_height": 1, "output_width": 3})
f.case("affine", {"x": four, "transform_matrix": m}, error="`padding_value`",
       attrs=fixed | {"output_height": 2, "output_width": 3, "padding_value": 1.0})

MODES = ["STRICT_ALIGN_CORNERS", "ALIGN_CORNERS", "DEFAULT", "OFFSET_CORNERS", "UNALIGN_CORNERS"]


def step(mode, i, n, x):
    at = {"DEFAULT": i * x / n, "OFFSET_CORNERS": (i + 0.5) * max(1, x - 1) / n,
          "UNALIGN_CORNERS": (i + 0.5) * x / n - 0.5}.get(mode, i * (x - 1) / max(n - 1, 1))
    if mode == "ALIGN_CORNERS" and n == 1:
        at = (x - 1) / 2
    return min(max(at, min(0, x - 1)), max(0, x - 1))


def crop_resize(x, boxes, indices, size, order="CORNERS_HEIGHT_FIRST", mode="DEFAULT", scale=1.0,
                normalized=False, pad=0.0, tol=None):
    y = torch.full((len(boxes), x.shape[1], *size), pad).double()
    for k, (box, index) in enumerate(zip(boxes.double(), indices)):
        a, b, c, d = [float(v) for v in box]
        if order.startswith("CENTER"):
            a, b, c, d = a - c / 2, b - d / 2, a + c / 2, b + d / 2
        edges = [(a, c), (b, d)] if "HEIGHT" in order else [(b, d), (a, c)]
        points = []
        for axis in (0, 1):
            extent = x.shape[2 + axis]
            by = scale * (extent - 1 if normalized else 1)
            start, end = edges[axis][0] * by, edges[axis][1] * by
            points.append([start + step(mode, i, size[axis], end - start + 1)
                           for i in range(size[axis])])
        for i, py in enumerate(points[0]):
            for j, px in enumerate(points[1]):
                if -1e-6 < py < x.shape[2] - 1 + 1e-6 and -1e-6 < px < x.shape[3] - 1 + 1e-6:
                    at = torch.tensor([[[[px, py]]]]).double()
                    y[k, :, i, j] = loop(x[index:index + 1], at, "bilinear", "border", UNITS[0],
                                         True, 0.0)[0, :, 0, 0]
    operands = {"x": x, "boxes": boxes}
    if indices != list(range(len(boxes))):
        operands["box_indices"] = torch.tensor(indices, dtype=torch.int32)
    f.case("crop_resize", operands, y.to(x.dtype), {
        "target_height": size[0], "target_width": size[1], "normalized_coordinates": normalized,
        "spatial_scale": scale, "box_coordinate_mode": order, "sampling_mode": mode,
        "pad_value": pad}, tol or (1e-4, 1e-5))
    return y


boxes = torch.tensor([[0.5, 1.0, 2.5, 3.25], [1.0, 2.0, 4.5, 3.0], [-1.0, 0.0, 1.0, 6.0]])
for mode in MODES:
    crop_resize(x, boxes, [1, 0, 1], (3, 2), mode=mode, pad=7.5)
    crop_resize(x, boxes[:2], [0, 1], (1, 1), mode=mode)
for order in ["CORNERS_WIDTH_FIRST", "CENTER_SIZE_HEIGHT_FIRST", "CENTER_SIZE_WIDTH_FIRST"]:
    crop_resize(x, boxes, [0, 0, 1], (2, 3), order, "ALIGN_CORNERS", pad=1.0)
crop_resize(x, boxes / 4, [1, 1, 0], (3, 3), normalized=True, mode="STRICT_ALIGN_CORNERS", pad=-2.0)
crop_resize(x, boxes * 4, [1, 1, 0], (2, 2), scale=0.25, mode="UNALIGN_CORNERS", pad=3.0)
crop_resize(x.half(), boxes[:2], [0, 1], (2, 2), mode="ALIGN_CORNERS", tol=(2e-3, 1e-3))
inside = torch.tensor([[0.5, 0.5, 3.0, 2.5], [1.0, 0.25, 3.5, 1.5]])
y = crop_resize(x, inside, [1, 0], (3, 2), "CORNERS_WIDTH_FIRST", "OFFSET_CORNERS")
rois = torch.cat([torch.tensor([[1.0], [0.0]]), inside], 1)
assert torch.allclose(y, torchvision.ops.roi_align(x.double(), rois.double(), (3, 2), 1.0, 1))
# As the runtime gives them.
image = torch.arange(1.0, 17).reshape(1, 1, 4, 4)
share = torch.tensor([[0.1, 0.3, 1.3, 1.0], [0.5, 1.8, 1.0, 0.3], [0.0, 0.4, 0.6, 0.7]])
want = torch.tensor([3.1, 5.2, 10, 10, 10, 7.9, 10, 13.9, 2.2, 3.1, 9.4, 10.3]).reshape(3, 1, 2, 2)
f.case("crop_resize", {"x": image, "boxes": share, "box_indices": torch.zeros(3, dtype=torch.int32)},
       want, {"target_height": 2, "target_width": 2, "normalized_coordinates": True,
              "sampling_mode": "ALIGN_CORNERS", "pad_value": 10.0}, tol=(1e-5, 1e-5))
for box, want, size in [([1.0, 1, 2, 2], [6.0, 7, 10, 11], 2), ([2.0, 2, 1, 1], [11.0, 10, 7, 6], 2),
                        ([1.0, 1, 2, 2], [8.5], 1)]:
    f.case("crop_resize", {"x": image, "boxes": torch.tensor([box])},
           torch.tensor(want).reshape(1, 1, size, size),
           {"target_height": size, "target_width": size, "sampling_mode": "ALIGN_CORNERS"})
f.case("crop_resize", {"x": image, "boxes": torch.tensor([[1, 1, 2, 2]], dtype=torch.int32)},
       torch.tensor([[[[6.0]]]]))
f.case("crop_resize", {"x": image, "boxes": share}, error="without `box_indices`", static=True)
f.case("crop_resize", {"x": image, "boxes": share,
                       "box_indices": torch.tensor([0, 1, 0], dtype=torch.int32)}, error="1")

for h, w in [([0, 1], [1, 1]), ([0, 0], [0, 0]), ([2, 1], [0, 4])]:
    y = x[..., h[0]:4 - h[1], w[0]:5 - w[1]]
    f.case("crop", {"x": x}, y, {"crop_height": h, "crop_width": w})
whole = torch.arange(12, dtype=torch.int32).reshape(1, 3, 4)
f.case("crop", {"x": whole}, whole[:, 1:, :3], {"crop_height": [1, 0], "crop_width": [0, 1]})
f.case("crop", {"x": x}, attrs={"crop_height": [2, 2], "crop_width": [0, 0]}, error="`crop_height`",
       static=True)
f.save()
