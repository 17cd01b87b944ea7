"""Elementwise ops against numpy and torch in doubles."""

import math

import numpy as np
import torch

from common import Family

rng = np.random.default_rng(6)
f = Family("elementwise")
x = np.concatenate([[0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, -2.5, 0.999, -0.999, 1e-3],
                    rng.normal(size=12) * 4]).astype(np.float32).reshape(4, 6)
unit = (rng.uniform(-1, 1, size=(3, 4))).astype(np.float32)
positive = (np.abs(x) + 0.01).astype(np.float32)
odd = np.array([np.inf, -np.inf, np.nan, 3e38, -1e-40, 80.0, -120.0], np.float32)
ints = np.array([[0, 1, -1, 7, -8], [2**31 - 1, -2**31, 30, 3, 100]], np.int32)
erf = np.vectorize(math.erf)
np.seterr(all="ignore")

UNARY = {
    "abs": np.abs, "atan": np.arctan, "ceil": np.ceil, "cos": np.cos, "cosh": np.cosh, "erf": erf,
    "exp": np.exp, "exp2": np.exp2, "floor": np.floor, "round": np.round, "sign": np.sign,
    "sin": np.sin, "sinh": np.sinh, "square": np.square, "tan": np.tan, "tanh": np.tanh,
}
for op, g in UNARY.items():
    f.case(op, {"x": x}, g(x.astype(np.float64)).astype(np.float32), tol=(3e-7, 1e-45))
    h = x.astype(np.float16)
    f.case(op, {"x": h}, g(h.astype(np.float64)).astype(np.float16), tol=(6e-4, 1e-7))
    f.case(op, {"x": x.astype(np.float64)}, g(x.astype(np.float64)), tol=(1e-14, 1e-15))
    if op not in ("sin", "cos", "tan"):
        f.case(op, {"x": odd}, g(odd.astype(np.float64)).astype(np.float32), tol=(3e-7, 1e-45))
for op, g in [("acos", np.arccos), ("asin", np.arcsin), ("atanh", np.arctanh)]:
    f.case(op, {"x": unit}, g(unit.astype(np.float64)).astype(np.float32), tol=(3e-7, 1e-45))
    edge = np.array([1.0, -1.0, 0.0, 1.5, np.nan], np.float32)
    f.case(op, {"x": edge}, g(edge.astype(np.float64)).astype(np.float32))
    f.case(op, {"x": unit.astype(np.float16)},
           g(unit.astype(np.float16).astype(np.float64)).astype(np.float16))
f.case("sqrt", {"x": x}, np.sqrt(x.astype(np.float64)).astype(np.float32), tol=(1e-7, 0))
f.case("sqrt", {"x": positive.astype(np.float16)}, np.sqrt(positive.astype(np.float16)))
f.case("sqrt", {"x": odd}, np.sqrt(odd))
f.case("abs", {"x": ints}, np.abs(ints))
f.case("sign", {"x": ints}, np.sign(ints))
f.case("square", {"x": ints}, np.square(ints))
f.case("exp2", {"x": np.array([0, 1, 5, 30], np.int32)}, np.array([1, 2, 32, 2**30], np.int32))
f.case("abs", {"x": np.zeros((0, 2), np.float32)}, np.zeros((0, 2), np.float32))
f.case("exp", {"x": ints}, error="a float is needed")
f.case("round", {"x": np.array([0.5, 1.5, 2.5, -0.5, -1.5, 8388609.0], np.float32)},
       np.array([0, 2, 2, -0.0, -2, 8388609.0], np.float32))
for epsilon in [None, 0.0, 0.25]:
    attrs = {} if epsilon is None else {"epsilon": epsilon}
    for op, default, g in [("inverse", 1e-4, lambda v: 1 / v), ("log", 1e-45, np.log),
                           ("rsqrt", 1e-12, lambda v: 1 / np.sqrt(v))]:
        e = float(np.float32(default if epsilon is None else epsilon))
        v = x if op == "inverse" else positive
        f.case(op, {"x": v}, g(v.astype(np.float64) + e).astype(np.float32), attrs, tol=(3e-7, 0))
f.case("log", {"x": np.array([0.0, -1.0, np.inf], np.float32)},
       np.array([np.log(float(np.float32(1e-45))), np.nan, np.inf], np.float32))
f.case("log", {"x": np.array([0.0, 1.0], np.float16)}, np.array([-np.inf, 0.0], np.float16))
f.case("inverse", {"x": np.array([0.0, -2.0], np.float32)}, np.array([np.inf, -0.5], np.float32),
       {"epsilon": 0.0})
f.case("rsqrt", {"x": np.array([0.0, 4.0], np.float32)}, np.array([np.inf, 0.5], np.float32),
       {"epsilon": 0.0})
f.case("clip", {"x": x}, np.clip(x, -1, np.float32(0.7)), {"alpha": -1.0, "beta": 0.7})
f.case("clip", {"x": odd}, np.clip(odd, -2, 3), {"alpha": -2, "beta": 3})
f.case("clip", {"x": x.astype(np.float16)}, np.clip(x.astype(np.float16), 0, np.float16(0.3)),
       {"alpha": 0.0, "beta": 0.3})
f.case("threshold", {"x": x}, np.maximum(x, np.float32(0.3)), {"alpha": 0.3})
f.case("threshold", {"x": ints}, np.maximum(ints, -2), {"alpha": -2.0})
f.case("threshold", {"x": odd}, np.maximum(odd, 0), {"alpha": 0.0})
bools = np.array([[True, False, True], [False, False, True]])
f.case("logical_not", {"x": bools}, ~bools)
f.case("logical_not", {"x": np.array(True)}, np.array(False))
f.case("logical_not", {"x": ints}, error="bool is needed")

casts = np.array([0.0, -0.9, 1.9, -2.5, 300.0, 1e-3], np.float32)
for dtype, name in [(np.int32, "i32"), (np.int8, "i8"), (np.uint8, "u8"), (np.float16, "f16"),
                    (np.int64, "i64"), (np.float64, "f64"), (np.bool_, "bool")]:
    source = casts if name not in ("i8", "u8") else casts[[0, 2, 5]]
    f.case("cast", {"x": source}, source.astype(dtype), {"dtype": name})
f.case("cast", {"x": ints}, ints.astype(np.int8), {"dtype": "i8"})
f.case("cast", {"x": ints}, ints.astype(np.uint16), {"dtype": "u16"})
f.case("cast", {"x": ints}, ints.astype(np.float32), {"dtype": "f32"})
f.case("cast", {"x": ints}, ints.astype(bool), {"dtype": "bool"})
f.case("cast", {"x": bools}, bools.astype(np.float32), {"dtype": "f32"})
f.case("cast", {"x": bools}, bools.astype(np.int32), {"dtype": "i32"})
big = np.array([2**53 + 1, -(2**60) - 1, 7], np.int64)
f.case("cast", {"x": big}, big.astype(bool), {"dtype": "bool"})
f.case("cast", {"x": big}, big.astype(np.int32), {"dtype": "i32"})
f.case("cast", {"x": np.array([1e9 + 1, 65504.0, 65520.0, 1e-8])},
       np.array([1e9 + 1, 65504.0, 65520.0, 1e-8]).astype(np.float16), {"dtype": "f16"}, tol=(0, 0))
f.case("cast", {"x": np.array([1.0, 2.7], np.float32)},
       torch.tensor([1.0, 2.7]).bfloat16(), {"dtype": "bf16"}, tol=(0, 0))

SHAPES = [((2, 3), (2, 3)), ((2, 3), ()), ((), (2, 3)), ((2, 1), (3,)), ((1, 3), (4, 2, 1)),
          ((2, 0), (1, 1)), ((), ())]
FLOATS = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "real_div": np.divide,
    "floor_div": lambda a, b: np.floor(a / b), "mod": np.mod, "pow": np.power,
    "maximum": np.maximum, "minimum": np.minimum, "equal": np.equal, "not_equal": np.not_equal,
    "less": np.less, "less_equal": np.less_equal, "greater": np.greater,
    "greater_equal": np.greater_equal,
}
COMPARE = ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")
special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 2.0, -3.0], np.float32)
for op, g in FLOATS.items():
    for a, b in SHAPES:
        p, q = rng.normal(size=a).astype(np.float32), rng.normal(size=b).astype(np.float32)
        if op == "pow":
            p = np.abs(p)
        want = np.asarray(g(np.asarray(p, np.float64), np.asarray(q, np.float64)))
        want = want if op in COMPARE else want.astype(np.float32)
        f.case(op, {"x": p, "y": q}, want, tol=(3e-7, 1e-45))
    i, j = rng.integers(-20, 20, (3, 4)).astype(np.int32), rng.integers(1, 6, (4,)).astype(np.int32)
    j[::2] *= -1
    j = np.abs(j) if op == "pow" else j
    want = np.trunc(i / j).astype(np.int32) if op == "real_div" else None
    want = np.floor_divide(i, j) if op == "floor_div" else want
    want = g(i, j) if want is None else want
    f.case(op, {"x": i, "y": j}, want)
    p, q = np.float16([1.5, -2, 0.1, 300]), np.float16([0.3, 1.5, 0.1, 300])
    p = np.abs(p) if op == "pow" else p
    want = g(p.astype(np.float64), q.astype(np.float64))
    f.case(op, {"x": p, "y": q}, want if op in COMPARE else want.astype(np.float16))
    if op not in ("floor_div", "mod"):
        a, b = special.reshape(7, 1), special.reshape(1, 7)
        f.case(op, {"x": a, "y": b}, g(a, b))
f.case("mod", {"x": np.float32([5, -5, 5, -5, 6, -6, 0]), "y": np.float32([3, 3, -3, -3, 3, -3, -3])},
       np.float32([2, 1, -1, -2, 0, 0, 0]))
f.case("floor_div", {"x": np.float32([7, -7, 1, -1, 0]), "y": np.float32([2, 2, 0, 0, 0])},
       np.float32([3, -4, np.inf, -np.inf, np.nan]))
f.case("mod", {"x": np.float32([1, np.inf, 1, -1]), "y": np.float32([0, 2, np.inf, np.inf])},
       np.mod(np.float32([1, np.inf, 1, -1]), np.float32([0, 2, np.inf, np.inf])))
top = np.array([2**31 - 1, -2**31, -2**31], np.int32)
f.case("add", {"x": top, "y": np.int32(1)}, top + np.int32(1))
f.case("mul", {"x": top, "y": np.int32(3)}, top * np.int32(3))
f.case("pow", {"x": np.array([2, -3, 0, 10], np.int32), "y": np.array([10, 3, 0, 2], np.int32)},
       np.array([1024, -27, 1, 100], np.int32))
for op in ["real_div", "floor_div", "mod"]:
    f.case(op, {"x": np.int32([1]), "y": np.int32([0])}, error="division by zero")
near = np.array([2**53 + 1, 2**53], np.int64)
f.case("equal", {"x": near, "y": np.int64(2**53)}, np.array([False, True]))
f.case("add", {"x": x, "y": ints}, error="`y` is i32")
f.case("add", {"x": bools, "y": bools}, error="a number is needed")
f.case("add", {"x": np.zeros((2, 3), np.float32), "y": np.zeros((2, 2), np.float32)},
       error="do not broadcast", static=True)
for op, g in [("logical_and", np.logical_and), ("logical_or", np.logical_or),
              ("logical_xor", np.logical_xor)]:
    f.case(op, {"x": np.array([[True], [False]]), "y": np.array([True, False])},
           g([[True], [False]], [True, False]))
    f.case(op, {"x": bools, "y": ~bools}, g(bools, ~bools))
    f.case(op, {"x": bools, "y": np.array(True)}, g(bools, True))
    f.case(op, {"x": ints, "y": ints}, error="bool is needed")
for cond, a, b in [((2, 3), (2, 3), (2, 3)), ((2, 1), (3,), ()), ((), (2, 3), (1, 3)),
                   ((2, 3), (), ())]:
    c = rng.uniform(size=cond) > 0.5
    p, q = rng.normal(size=a).astype(np.float32), rng.normal(size=b).astype(np.float32)
    f.case("select", {"cond": c, "a": p, "b": q}, np.where(c, p, q))
    i, j = np.asarray(p * 9).astype(np.int32), np.asarray(q * 9).astype(np.int32)
    f.case("select", {"cond": c, "a": i, "b": j}, np.where(c, i, j))
    f.case("select", {"cond": c, "a": i > 0, "b": j > 0}, np.where(c, i > 0, j > 0))
f.case("select", {"cond": np.array([True, False]), "a": np.float32([1, np.nan]),
                  "b": np.float32([np.nan, 2])}, np.float32([1, 2]))
f.save()
