"""Pixel shuffles against torch; blocks by reshapes in the order that the definitions name."""

import numpy as np
import torch
import torch.nn.functional as F

from common import Family

rng = np.random.default_rng(14)
f = Family("rearrange")


def draw(*shape):
    return rng.standard_normal(shape).astype(np.float32)


for shape, by in [((2, 8, 2, 3), 2), ((1, 9, 1, 2), 3), ((1, 3, 2, 2), 1)]:
    x = draw(*shape)
    n, c, h, w = shape
    f.case("pixel_shuffle", {"x": x}, F.pixel_shuffle(torch.tensor(x), by), {"upscale_factor": by})
    y = x.reshape(n, by, by, c // by**2, h, w).transpose(0, 3, 4, 1, 5, 2)
    y = np.ascontiguousarray(y).reshape(n, c // by**2, h * by, w * by)
    f.case("depth_to_space", {"x": x}, y, {"block_size": by})
    f.case("space_to_depth", {"x": y}, x, {"block_size": by})
for shape, by in [((2, 2, 4, 6), 2), ((1, 1, 3, 6), 3), ((1, 3, 2, 2), 1)]:
    x = torch.tensor(draw(*shape))
    f.case("pixel_unshuffle", {"x": x}, F.pixel_unshuffle(x, by), {"downscale_factor": by})
f.case("pixel_shuffle", {"x": np.arange(8, dtype=np.int64).reshape(1, 8, 1, 1)},
       np.arange(8, dtype=np.int64).reshape(1, 2, 2, 2), {"upscale_factor": 2})
f.case("depth_to_space", {"x": np.zeros((0, 8, 2, 2), np.float32)},
       np.zeros((0, 2, 4, 4), np.float32), {"block_size": 2})


def to_batch(x, block, pads):
    (t, b, l, r), (p, q) = pads, block
    x = np.pad(x, [(0, 0), (0, 0), (t, b), (l, r)])
    n, c, h, w = x.shape
    y = x.reshape(n, c, h // p, p, w // q, q).transpose(3, 5, 0, 1, 2, 4)
    return np.ascontiguousarray(y).reshape(n * p * q, c, h // p, w // q)


for shape, block, pads in [
    ((2, 3, 4, 6), [2, 3], [0, 0, 0, 0]),
    ((1, 2, 3, 5), [2, 2], [1, 0, 0, 1]),
    ((2, 1, 5, 4), [3, 1], [2, 2, 1, 0]),
    ((1, 2, 2, 2), [1, 4], [0, 1, 3, 3]),
]:
    x = draw(*shape)
    y = to_batch(x, block, pads)
    f.case("space_to_batch", {"x": x}, y, {"block_shape": block, "paddings": pads})
    f.case("batch_to_space", {"x": y}, x, {"block_shape": block, "crops": pads})
e = {"static": True}
x = draw(2, 6, 3, 4)
f.case("pixel_shuffle", {"x": x}, attrs={"upscale_factor": 2}, error="multiple of 4", **e)
f.case("pixel_unshuffle", {"x": x}, attrs={"downscale_factor": 2}, error="axis 2", **e)
f.case("space_to_depth", {"x": x[0]}, attrs={"block_size": 1}, error="rank of 4")
f.case("space_to_batch", {"x": x}, attrs={"block_shape": [2, 2], "paddings": [0] * 4},
       error="axis 2", **e)
f.case("batch_to_space", {"x": x}, attrs={"block_shape": [2, 1], "crops": [4, 3, 0, 0]},
       error="`crops`", **e)
f.case("batch_to_space", {"x": x}, attrs={"block_shape": [2], "crops": [0] * 4}, error="`block_shape`")
f.save()
