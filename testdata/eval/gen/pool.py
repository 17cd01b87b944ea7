"""Pools by a loop over windows in doubles; checked here against torch where torch has the mode."""

import itertools
import math

import torch
import torch.nn.functional as F

from common import Family

torch.manual_seed(12)
f = Family("pool")


def extent(i, k, s, p, ceil):
    if not ceil:
        return (i + sum(p) - k) // s + 1
    n = (i + sum(p) - k + s - 1) // s + 1
    return n - 1 if sum(p) > 0 and (n - 1) * s >= i + p[0] else n


def windows(x, attrs):
    """Extents, and for each position the flat list of elements under the window."""
    size, k = x.shape[2:], attrs["kernel_sizes"]
    s = attrs.get("strides") or [1] * len(k)
    pad, kind = attrs.get("pad") or [0] * 2 * len(k), attrs["pad_type"]
    starts = []
    for i in range(len(k)):
        p = pad[2 * i:2 * i + 2] if kind == "custom" else [0, 0]
        if kind.startswith("same"):
            n = math.ceil(size[i] / s[i])
            total = max(0, (n - 1) * s[i] + k[i] - size[i])
            p = [total // 2] if kind == "same" else [total - total // 2]
        else:
            n = extent(size[i], k[i], s[i], p, attrs.get("ceil_mode", False))
        starts.append([j * s[i] - p[0] for j in range(n)])
    for at in itertools.product(*starts):
        cut = [slice(max(a, 0), max(0, min(a + k[i], size[i]))) for i, a in enumerate(at)]
        yield x[(slice(None), slice(None), *cut)].flatten(2)
    yield [len(a) for a in starts]


def pool(op, x, tol=None, **attrs):
    *parts, size = windows(x.double(), attrs)
    if op == "max_pool":
        inf = float("-inf")
        y = [p.amax(2) if p.shape[2] else torch.full(p.shape[:2], inf).double() for p in parts]
    elif op == "l2_pool":
        y = [(p**2).sum(2).sqrt() for p in parts]
    else:
        whole = math.prod(attrs["kernel_sizes"])
        exclude = attrs.get("exclude_padding_from_average", False)
        y = [p.sum(2) / (p.shape[2] if exclude else whole) for p in parts]
    y = torch.stack(y, 2).reshape(*x.shape[:2], *size)
    f.case(op, {"x": x}, y.to(x.dtype), attrs, tol)
    return y


r = torch.randn
x1, x2, x3 = r(2, 2, 9), r(1, 2, 7, 6), r(1, 2, 4, 5, 3)
for op in ["max_pool", "avg_pool", "l2_pool"]:
    pool(op, x1, kernel_sizes=[3], pad_type="valid")
    pool(op, x1, kernel_sizes=[4], strides=[3], pad_type="custom", pad=[2, 1])
    pool(op, x1, kernel_sizes=[4], strides=[2], pad_type="same")
    pool(op, x1, kernel_sizes=[4], strides=[2], pad_type="same_lower")
    pool(op, x1, kernel_sizes=[2], strides=[4], pad_type="valid", ceil_mode=True)
    pool(op, x2, kernel_sizes=[2, 3], strides=[2, 1], pad_type="valid")
    pool(op, x2, kernel_sizes=[3, 3], strides=[2, 2], pad_type="custom", pad=[1, 1, 1, 1], ceil_mode=True)
    pool(op, x2, kernel_sizes=[3, 2], strides=[3, 2], pad_type="custom", pad=[1, 1, 0, 0], ceil_mode=True)
    pool(op, x2, kernel_sizes=[5, 4], strides=[3, 2], pad_type="same")
    pool(op, x2.half(), kernel_sizes=[2, 2], pad_type="valid", tol=(1e-3, 1e-3))
for op in ["max_pool", "avg_pool"]:
    pool(op, x3, kernel_sizes=[2, 3, 2], strides=[2, 1, 1], pad_type="custom", pad=[1, 0, 1, 1, 0, 1])
    pool(op, x3, kernel_sizes=[3, 3, 3], pad_type="same", strides=[2, 2, 2])
for kind in ["same", "same_lower"]:
    pool("avg_pool", x2, kernel_sizes=[3, 4], strides=[2, 3], pad_type=kind,
         exclude_padding_from_average=True)
pool("avg_pool", x3, kernel_sizes=[3, 2, 2], pad_type="custom", pad=[1, 1, 1, 0, 0, 1],
     exclude_padding_from_average=True)
y = pool("avg_pool", x2, kernel_sizes=[3, 3], strides=[2, 2], pad_type="custom", pad=[1, 1, 1, 1],
         ceil_mode=True, exclude_padding_from_average=True)
assert torch.allclose(y, F.avg_pool2d(x2.double(), 3, 2, 1, True, False))
y = pool("avg_pool", x2, kernel_sizes=[3, 3], strides=[2, 2], pad_type="custom", pad=[1, 1, 1, 1])
assert torch.allclose(y, F.avg_pool2d(x2.double(), 3, 2, 1))
y = pool("max_pool", x2, kernel_sizes=[3, 3], strides=[2, 3], pad_type="custom", pad=[1, 1, 1, 1],
         ceil_mode=True)
assert torch.allclose(y, F.max_pool2d(x2.double(), 3, [2, 3], 1, 1, True))
pool("max_pool", -x2.abs() - 1, kernel_sizes=[3, 3], pad_type="custom", pad=[1, 1, 1, 1])
pool("max_pool", x1[:, :, :3], kernel_sizes=[2], pad_type="custom", pad=[3, 0])
pool("max_pool", x2.double(), kernel_sizes=[2, 2], pad_type="valid")
nan = x1.clone()
nan[0, 0, 4], nan[1, 1, 0], nan[1, 0, 8] = float("nan"), float("inf"), float("-inf")
pool("max_pool", nan, kernel_sizes=[3], strides=[2], pad_type="same")
e = {"static": True}
k = {"kernel_sizes": [2], "pad_type": "valid"}
f.case("max_pool", {"x": x2}, error="`kernel_sizes`", attrs=k, **e)
f.case("max_pool", {"x": x1}, error="does not fit", attrs=k | {"kernel_sizes": [10]}, **e)
f.case("max_pool", {"x": x1}, error="`ceil_mode`", attrs=k | {"pad_type": "same", "ceil_mode": True})
f.case("avg_pool", {"x": x3}, error="`ceil_mode`",
       attrs={"kernel_sizes": [2, 2, 2], "pad_type": "valid", "ceil_mode": True})
f.case("l2_pool", {"x": x3}, error="rank from 3 to 4",
       attrs={"kernel_sizes": [2, 2, 2], "pad_type": "valid"})
f.save()
