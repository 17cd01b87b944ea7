"""Padding against numpy."""

import numpy as np

from common import Family

rng = np.random.default_rng(13)
f = Family("pad")
NUMPY = {"constant": "constant", "reflect": "reflect", "replicate": "edge"}


def pad(x, amounts, mode="constant", value=None, **flags):
    n = len(amounts) // 2
    pairs = [(0, 0)] * (x.ndim - n) + [tuple(amounts[2 * i:2 * i + 2]) for i in range(n)]
    extra = {"constant_values": value or 0} if mode == "constant" else {}
    attrs = {"mode": mode} | ({} if value is None else {"constant_val": value})
    y = np.pad(x, pairs, NUMPY[mode], **extra)
    f.case("pad", {"x": x, "pad": np.array(amounts, dtype=np.int32)}, y, attrs,
           contents=["pad"], **flags)


x = rng.standard_normal((2, 3, 4)).astype(np.float32)
pad(x, [1, 2])
pad(x, [1, 0, 0, 2], value=-1.5)
pad(x, [1, 2, 3, 0, 0, 1], value=float("7"))
pad(x, [0, 0, 0, 0, 0, 0])
pad(x, [])
pad(x[0, 0], [2, 3], value=0.1)
pad(x.astype(np.float16), [1, 1], value=0.1)
pad(x.astype(np.float64), [1, 1], value=0.1)
pad(np.arange(6, dtype=np.int32).reshape(2, 3), [1, 1, 0, 2], value=-3.0)
pad(np.arange(3, dtype=np.int32), [1, 2], value=9.0)
pad(np.array([True, False]), [1, 1], value=1.0)
pad(np.zeros((0, 2), dtype=np.float32), [2, 1, 0, 1], value=4.0)
for mode in ["reflect", "replicate"]:
    pad(x, [3, 3], mode)
    pad(x, [2, 1, 0, 3], mode)
    pad(x, [1, 0, 2, 2, 1, 3], mode)
    pad(x, [0, 0], mode)
    pad(np.arange(4, dtype=np.int64), [1, 3], mode)
pad(x, [6, 9], "replicate")
pad(x[:, :1], [2, 2, 0, 0], "replicate")
p = np.array([4, 0], dtype=np.int32)
f.case("pad", {"x": x, "pad": p}, attrs={"mode": "reflect"}, error="reflect")
f.case("pad", {"x": x, "pad": -p}, error="-4")
f.case("pad", {"x": x, "pad": np.array([1, 2, 3], dtype=np.int32)}, error="`pad`")
f.case("pad", {"x": x[0, 0], "pad": np.array([1, 2, 3, 4], dtype=np.int32)}, error="`pad`")
f.save()
