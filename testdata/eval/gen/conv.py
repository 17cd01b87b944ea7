"""Convolutions against torch in doubles. Paddings that torch has not are made by padding the operand
(conv) or by cutting the unpadded result (conv_transpose)."""

import math

import torch
import torch.nn.functional as F

from common import Family

torch.manual_seed(11)
f = Family("conv")
CONV = [None, F.conv1d, F.conv2d, F.conv3d]
BACK = [None, F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d]


def spread(n, values, default):
    return [default] * n if not values else values


def conv(x, w, b=None, tol=None, **attrs):
    n = x.dim() - 2
    s, d = spread(n, attrs.get("strides"), 1), spread(n, attrs.get("dilations"), 1)
    kind, pads = attrs.get("pad_type", "valid"), []
    for i in range(n):
        size, span = x.shape[2 + i], (w.shape[2 + i] - 1) * d[i] + 1
        total = max(0, (math.ceil(size / s[i]) - 1) * s[i] + span - size)
        pads.append({
            "valid": (0, 0),
            "custom": tuple(attrs.get("pad", [0] * 2 * n)[2 * i:2 * i + 2]),
            "same": (total // 2, total - total // 2),
            "same_lower": (total - total // 2, total // 2),
        }[kind])
    padded = F.pad(x.double(), [p for pair in reversed(pads) for p in pair])
    y = CONV[n](padded, w.double(), None if b is None else b.double(), s, 0, d,
                attrs.get("groups", 1))
    operands = {"x": x, "weight": w} | ({} if b is None else {"bias": b})
    f.case("conv", operands, y.to(x.dtype), attrs, tol)


def conv_transpose(x, w, b=None, tol=None, **attrs):
    n = x.dim() - 2
    s, d = spread(n, attrs.get("strides"), 1), spread(n, attrs.get("dilations"), 1)
    kind = attrs.get("pad_type", "valid")
    y = BACK[n](x.double(), w.double(), None, s, 0, 0, attrs.get("groups", 1), d)
    for i in range(n):
        full, pad = y.shape[2 + i], attrs.get("pad", [0] * 2 * n)[2 * i:2 * i + 2]
        size = {"valid": full, "custom": full - sum(pad)}.get(kind, x.shape[2 + i] * s[i])
        if "output_shape" in attrs:
            size = attrs["output_shape"][2 + i]
        total = max(0, full - size)
        before = {"valid": 0, "custom": pad[0], "same": total // 2}.get(kind, total - total // 2)
        edges = [0, 0] * (n - 1 - i) + [-before, before + size - full]
        y = F.pad(y, edges)
    if b is not None:
        y = y + b.double().reshape([1, -1] + [1] * n)
    operands = {"x": x, "weight": w} | ({} if b is None else {"bias": b})
    f.case("conv_transpose", operands, y.to(x.dtype), attrs, tol)


r = torch.randn
# 1 axis
conv(r(2, 3, 7), r(4, 3, 3), r(4))
conv(r(1, 4, 9), r(6, 2, 3), r(6), groups=2, strides=[2], dilations=[2], pad_type="custom", pad=[1, 3])
conv(r(1, 2, 5), r(3, 2, 4), pad_type="same", strides=[2])
conv(r(1, 2, 5), r(3, 2, 4), pad_type="same_lower", strides=[2])
conv(r(1, 1, 20), r(3, 1, 5), r(3), strides=[3])
conv(r(1, 2, 3), r(1, 2, 1), pad_type="custom", pad=[4, 0], strides=[2])
# 2 axes
conv(r(2, 3, 6, 5), r(4, 3, 3, 2), r(4))
conv(r(1, 3, 6, 5), r(2, 3, 1, 1))
conv(r(1, 3, 7, 8), r(2, 3, 3, 3), r(2), strides=[2, 1], pad_type="custom", pad=[1, 0, 2, 1])
conv(r(1, 4, 8, 7), r(4, 1, 3, 3), r(4), groups=4, pad_type="same")
conv(r(2, 2, 8, 7), r(6, 1, 3, 2), groups=2, strides=[2, 3], dilations=[2, 1], pad_type="same_lower")
conv(r(1, 6, 5, 5), r(9, 2, 3, 3), r(9), groups=3, dilations=[1, 2], pad_type="same")
conv(r(1, 2, 5, 6), r(2, 2, 2, 2), strides=[3, 3], pad_type="same")
conv(r(1, 2, 8, 5), r(2, 2, 1, 1), strides=[4, 3], pad_type="same")
conv(r(1, 2, 2, 2), r(2, 2, 3, 3), pad_type="custom", pad=[5, 5, 0, 4])
conv(r(0, 2, 4, 4), r(3, 2, 3, 3))
conv(r(1, 3, 4, 4).half(), r(2, 3, 3, 3).half(), r(2).half(), tol=(2e-3, 1e-3))
conv(r(1, 3, 4, 4), r(2, 3, 3, 3).half(), r(2).half())
conv(r(1, 3, 4, 4).double(), r(2, 3, 3, 3).double(), r(2).double())
conv(r(1, 2, 4, 4).double(), r(2, 1, 3, 3).double(), groups=2)
# 3 axes
conv(r(1, 2, 4, 5, 3), r(3, 2, 2, 3, 2), r(3))
conv(r(1, 4, 5, 4, 4), r(4, 2, 3, 2, 3), r(4), groups=2, strides=[2, 1, 2], dilations=[1, 2, 1],
     pad_type="custom", pad=[1, 0, 1, 1, 0, 2])
conv(r(2, 2, 4, 3, 4), r(2, 1, 3, 3, 3), groups=2, pad_type="same", strides=[2, 2, 1])
conv(r(1, 2, 4, 3, 4), r(2, 2, 2, 2, 2), pad_type="same_lower")
e = {"static": True}
f.case("conv", {"x": r(1, 3, 4), "weight": r(2, 2, 3)}, error="2 channels", **e)
f.case("conv", {"x": r(1, 4, 4), "weight": r(3, 2, 3)}, error="2 groups", attrs={"groups": 2}, **e)
f.case("conv", {"x": r(1, 3, 4), "weight": r(2, 3, 5)}, error="does not fit", **e)
f.case("conv", {"x": r(1, 3, 4), "weight": r(2, 3, 3), "bias": r(3)}, error="`bias`", **e)
f.case("conv", {"x": r(1, 3, 4), "weight": r(2, 3, 3)}, error="`pad`", attrs={"pad": [1]}, **e)
f.case("conv", {"x": r(1, 3), "weight": r(2, 3)}, error="rank from 3 to 5", **e)

conv_transpose(r(2, 3, 4), r(3, 2, 3), r(2))
conv_transpose(r(1, 4, 4), r(4, 3, 4), r(6), groups=2, strides=[3], dilations=[2])
conv_transpose(r(1, 2, 5), r(2, 2, 4), strides=[2], pad_type="same")
conv_transpose(r(1, 2, 5), r(2, 2, 5), strides=[2], pad_type="same_lower")
conv_transpose(r(1, 2, 3), r(2, 2, 1), r(2), strides=[3], pad_type="same")
conv_transpose(r(2, 3, 4, 5), r(3, 2, 3, 2), r(2), strides=[2, 1], pad_type="custom", pad=[1, 0, 1, 1])
conv_transpose(r(1, 4, 3, 3), r(4, 1, 3, 3), r(4), groups=4, strides=[2, 2], pad_type="custom",
               pad=[1, 1, 1, 1])
conv_transpose(r(1, 2, 3, 3), r(2, 3, 3, 3), r(3), strides=[2, 2], pad_type="same",
               output_shape=[1, 3, 5, 6])
conv_transpose(r(1, 2, 3, 3), r(2, 3, 4, 4), strides=[2, 2], pad_type="same_lower",
               output_shape=[1, 3, 5, 6])
conv_transpose(r(1, 2, 3, 3), r(2, 3, 2, 2), r(3), strides=[2, 2], output_shape=[1, 3, 7, 6])
conv_transpose(r(1, 2, 3, 4).half(), r(2, 3, 2, 2).half(), tol=(2e-3, 1e-3))
conv_transpose(r(1, 2, 3, 4).double(), r(2, 3, 2, 2).double())
conv_transpose(r(1, 2, 3, 2, 2), r(2, 2, 2, 3, 3), r(2), strides=[2, 1, 2], dilations=[1, 2, 1])
conv_transpose(r(1, 4, 2, 2, 3), r(4, 1, 3, 3, 3), groups=2, strides=[2, 2, 2], pad_type="same")
# torch's own padding and output padding
x, w, b = r(1, 4, 4, 5), r(4, 3, 3, 4), r(6)
y = F.conv_transpose2d(x.double(), w.double(), b.double(), [2, 3], [1, 2], [1, 2], 2, [1, 1])
f.case("conv_transpose", {"x": x, "weight": w, "bias": b}, y.float(),
       {"strides": [2, 3], "pad_type": "custom", "pad": [1, 1, 2, 2], "groups": 2,
        "output_shape": list(y.shape)})
f.case("conv_transpose", {"x": r(1, 3, 4), "weight": r(2, 2, 3)}, error="channels", **e)
f.case("conv_transpose", {"x": r(1, 2, 2), "weight": r(2, 2, 1)}, error="leaves nothing",
       attrs={"pad_type": "custom", "pad": [1, 1]}, **e)
f.case("conv_transpose", {"x": r(1, 2, 2), "weight": r(2, 2, 1)}, error="`output_shape`",
       attrs={"output_shape": [1, 3, 2]}, **e)
f.save()
