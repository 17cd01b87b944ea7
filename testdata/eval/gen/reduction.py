"""Reductions against torch and numpy in doubles."""

import numpy as np
import torch

from common import Family

rng = np.random.default_rng(3)
f = Family("reduction")
x = rng.normal(size=(2, 3, 4)).astype(np.float32)
i = rng.integers(-9, 10, size=(2, 3, 4)).astype(np.int32)


def lse(v, axis, keepdims):
    m = np.max(v, axis=axis, keepdims=True)
    out = m + np.log(np.sum(np.exp(v - m), axis=axis, keepdims=True))
    return out if keepdims else np.squeeze(out, axis=axis)


def square(v, **k):
    return np.sum(v * v, **k)


OPS = {
    "reduce_sum": np.sum, "reduce_mean": np.mean, "reduce_prod": np.prod, "reduce_max": np.max,
    "reduce_min": np.min, "reduce_sum_square": square,
    "reduce_l1_norm": lambda v, **k: np.sum(np.abs(v), **k),
    "reduce_l2_norm": lambda v, **k: np.sqrt(square(v, **k)),
    "reduce_log_sum": lambda v, **k: np.log(np.sum(v, **k)),
    "reduce_log_sum_exp": lse,
}
for op, g in OPS.items():
    v = np.abs(x) if op == "reduce_log_sum" else x
    for axes in [[0], [-1], [1, 2], [2, 0], None]:
        for keep in [False, True]:
            axis = tuple(range(3)) if axes is None else tuple(axes)
            want = g(v.astype(np.float64), axis=axis, keepdims=keep).astype(np.float32)
            attrs = {"keep_dims": keep} | ({"axes": axes} if axes is not None else {})
            if keep or axes in [[-1], [2, 0], None]:
                f.case(op, {"x": v}, want, attrs, tol=(2e-6, 1e-6))
    h = v.astype(np.float16)
    f.case(op, {"x": h}, g(h.astype(np.float64), axis=(1,), keepdims=False).astype(np.float16),
           {"axes": [1]})
    n = np.abs(i) + 1 if op == "reduce_log_sum" else i
    want = np.trunc(g(n.astype(np.float64), axis=(2,), keepdims=False)).astype(np.int32)
    f.case(op, {"x": n}, want, {"axes": [2]})
    f.case(op, {"x": v}, error="axes", attrs={"axes": []})
    f.case(op, {"x": v}, error="twice", attrs={"axes": [0, -3]})

empty = np.zeros((2, 0), np.float32)
for op, value in [("reduce_sum", 0), ("reduce_prod", 1), ("reduce_sum_square", 0),
                  ("reduce_l1_norm", 0), ("reduce_l2_norm", 0), ("reduce_log_sum", -np.inf),
                  ("reduce_log_sum_exp", -np.inf), ("reduce_mean", np.nan)]:
    f.case(op, {"x": empty}, np.full(2, value, np.float32), {"axes": [1]})
for op in ["reduce_max", "reduce_min"]:
    f.case(op, {"x": empty}, error="no elements", attrs={"axes": [1]})
f.case("reduce_mean", {"x": empty.astype(np.int32)}, error="no elements", attrs={"axes": [1]})
f.case("reduce_max", {"x": empty}, np.zeros((0,), np.float32), {"axes": [0]})
f.case("reduce_sum", {"x": np.float32(3.5)}, np.float32(3.5))
f.case("reduce_sum", {"x": np.array([2**31 - 1, 1], np.int32)}, np.int32(-2**31))
f.case("reduce_mean", {"x": np.array([-3, -4], np.int32)}, np.int32(-3))
f.case("reduce_mean", {"x": np.array([2**62, 2**62], np.int64)}, np.int64(2**62))
f.case("reduce_sum", {"x": np.full(4096, 0.1, np.float32)},
       np.float32(np.sum(np.full(4096, 0.1, np.float32).astype(np.float64))), tol=(1e-7, 0))

odd = np.array([[1, np.nan, 3, np.nan], [np.inf, 2, np.inf, 1], [-np.inf] * 4,
                [-np.inf, 5, 5, np.inf]], np.float32)
for op in ["reduce_max", "reduce_min", "reduce_sum"]:
    f.case(op, {"x": odd}, OPS[op](odd, axis=1, keepdims=False), {"axes": [1]})
f.case("reduce_log_sum_exp", {"x": odd}, torch.logsumexp(torch.tensor(odd), 1), {"axes": [1]})
f.case("reduce_log_sum_exp", {"x": np.array([1e30, 1e30], np.float32)}, np.float32(1e30))

ties = np.array([[1, 3, 3, 0], [2, 2, 2, 2], [-1, -5, 0, -5]], np.float32)
for op, g in [("reduce_argmax", np.argmax), ("reduce_argmin", np.argmin)]:
    for v in [x, i, x.astype(np.float16)]:
        f.case(op, {"x": v}, g(v, axis=-1).astype(np.int32))
        f.case(op, {"x": v}, g(v, axis=1, keepdims=True).astype(np.int32),
               {"axis": 1, "keep_dims": True})
        f.case(op, {"x": v}, g(v, axis=0).astype(np.uint16), {"axis": -3, "output_dtype": "u16"})
    f.case(op, {"x": ties}, g(ties, axis=1).astype(np.int32))
    f.case(op, {"x": odd}, g(odd, axis=1).astype(np.int32))
    f.case(op, {"x": empty}, error="no elements")
    f.case(op, {"x": x}, error="axis 3", attrs={"axis": 3})
    f.case(op, {"x": x}, error="an integer is needed", attrs={"output_dtype": "f32"})
f.save()
