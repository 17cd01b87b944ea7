"""Writes testdata/eval/programs.json: programs for the ops that no fixture of one op can show, which
are control flow, lists, states, random numbers and classifiers, with what NumPy and loops give.

An array is [element type, shape, elements]; a call has inputs and outputs in order of the program's,
and states keep their contents from one call to the next. Texts are lists of strings, dictionaries
lists of pairs. `tolerance` is absolute.
"""

import json
import pathlib

import numpy as np

NAMES = {"float32": "f32", "float16": "f16", "int32": "i32", "bool": "bool", "int8": "i8", "uint8": "u8",
         "int16": "i16", "uint16": "u16"}
programs = []


def array(value):
    value = np.asarray(value)
    return [NAMES[str(value.dtype)], list(value.shape), value.reshape(-1).tolist()]


def program(name, text, *calls, tol=0.0):
    turn = lambda v: v if isinstance(v, dict) else array(v)
    programs.append({
        "name": name, "tolerance": tol, "text": text.strip("\n") + "\n",
        "calls": [{"inputs": [array(i) for i in ins], "outputs": [turn(o) for o in outs]} for ins, outs in calls],
    })


f4 = lambda *v: np.array(v, np.float32)
i4 = lambda *v: np.array(v, np.int32)

# const and identity.
for dtype, numpy, word in [("f32", "float32", "1.5"), ("f16", "float16", "-0.25"), ("i32", "int32", "-7"),
                           ("bool", "bool", "true"), ("i8", "int8", "-128"), ("u8", "uint8", "255"),
                           ("i16", "int16", "-300"), ("u16", "uint16", "65535")]:
    value = np.array({"true": True}.get(word) if word == "true" else float(word)).astype(numpy)
    program(f"constant {dtype}", f"""
func @main(%x: tensor<2x{dtype}>) -> ({dtype}, tensor<2x{dtype}>) {{
  %c = const {word} : {dtype}
  %y = identity %x : tensor<2x{dtype}>
  return %c, %y
}}""", ([np.array([0, 1]).astype(numpy)], [value, np.array([0, 1]).astype(numpy)]))

# Control flow.
program("both branches", """
func @main(%p: bool, %x: tensor<3xf32>) -> (tensor<3xf32>, i32) {
  %y, %n = cond %p {
    %a = mul %x, 2.0
    %k = const 1 : i32
    yield %a, %k
  } {
    %b = sub %x, 1.0
    %m = const 2 : i32
    yield %b, %m
  }
  return %y, %n
}""", ([np.array(True), f4(1, -2, 3)], [f4(2, -4, 6), np.int32(1)]),
        ([np.array(False), f4(1, -2, 3)], [f4(0, -3, 2), np.int32(2)]))
program("branches in branches", """
func @main(%x: f32) -> f32 {
  %positive = greater %x, 0.0
  %y = cond %positive {
    %large = greater %x, 10.0
    %z = cond %large {
      %a = log %x
      yield %a
    } {
      yield %x
    }
    yield %z
  } {
    %b = mul %x, -1.0
    yield %b
  }
  return %y
}""", *[([np.float32(v)], [np.float32(np.log(v) if v > 10 else abs(v))]) for v in (-3, 4, 20, 0)], tol=1e-6)
program("a branch that is not taken does not fail", """
func @main(%i: i32, %x: tensor<3xi32>) -> i32 {
  %inside = less %i, 3
  %y = cond %inside {
    %at = gather %x, %i {axis = 0}
    yield %at
  } {
    %none = const -1 : i32
    yield %none
  }
  return %y
}""", ([np.int32(1), i4(5, 6, 7)], [np.int32(6)]), ([np.int32(9), i4(5, 6, 7)], [np.int32(-1)]))


def collatz(n):
    steps = 0
    while n > 1:
        n, steps = (n // 2 if n % 2 == 0 else 3 * n + 1), steps + 1
    return steps


program("a loop of branches", """
func @main(%n: i32) -> i32 {
  %zero = const 0 : i32
  %last, %steps = while_loop [%n, %zero] (%a: i32, %k: i32) {
    %go = greater %a, 1
    yield %go
  } (%b: i32, %m: i32) {
    %rest = mod %b, 2
    %even = equal %rest, 0
    %next = cond %even {
      %half = floor_div %b, 2
      yield %half
    } {
      %three = mul %b, 3
      %up = add %three, 1
      yield %up
    }
    %more = add %m, 1
    yield %next, %more
  }
  return %steps
}""", *[([np.int32(n)], [np.int32(collatz(n))]) for n in (1, 6, 7, 27)])
program("a loop that never runs", """
func @main(%x: tensor<2xf32>) -> tensor<2xf32> {
  %y = while_loop [%x] (%a: tensor<2xf32>) {
    %no = const false : bool
    yield %no
  } (%b: tensor<2xf32>) {
    %c = mul %b, 0.0
    yield %c
  }
  return %y
}""", ([f4(3, 4)], [f4(3, 4)]))
program("loops in loops", """
func @main(%n: i32) -> i32 {
  %zero = const 0 : i32
  %i, %sum = while_loop [%zero, %zero] (%a: i32, %s: i32) {
    %go = less %a, %n
    yield %go
  } (%b: i32, %t: i32) {
    %j, %inner = while_loop [%zero, %t] (%c: i32, %u: i32) {
      %more = less %c, %b
      yield %more
    } (%d: i32, %v: i32) {
      %e = add %d, 1
      %w = add %v, 1
      yield %e, %w
    }
    %next = add %b, 1
    yield %next, %inner
  }
  return %sum
}""", *[([np.int32(n)], [np.int32(n * (n - 1) // 2)]) for n in (0, 1, 5)])

# Lists.
for dtype, numpy in [("f32", "float32"), ("f16", "float16"), ("i32", "int32"), ("bool", "bool")]:
    value = np.array([1, 0]).astype(numpy)
    for dynamic in ("true", "false"):
        program(f"a list of {dtype}, dynamic {dynamic}", f"""
func @main(%x: tensor<2x{dtype}>) -> (tensor<2x{dtype}>, i32, tensor<2x2x{dtype}>) {{
  %n = const 3 : i32
  %l = make_list init_length = %n {{dynamic_length = {dynamic}, elem_shape = [2], dtype = {dtype}}}
  %i = const 1 : i32
  %m = list_write %l, %i, %x
  %j = const 0 : i32
  %o = list_write %m, %j, %x
  %y = list_read %o, %i
  %length = list_length %o
  %at = const [1, 0] : tensor<2xi32>
  %rows = list_gather %o, %at
  return %y, %length, %rows
}}""", ([value], [value, np.int32(3), np.stack([value, value])]))
program("a list without length", """
func @main(%x: tensor<3x2xf32>) -> (i32, i32, tensor<2x2xf32>, tensor<2xf32>) {
  %l = make_list {elem_shape = [2], dtype = f32}
  %before = list_length %l
  %at = const [2, 0, 1] : tensor<3xi32>
  %m = list_scatter %l, %at, %x
  %after = list_length %m
  %picked = const [0, 2] : tensor<2xi32>
  %rows = list_gather %m, %picked
  %last = const 2 : i32
  %y = list_read %m, %last
  return %before, %after, %rows, %y
}""", ([np.arange(6, dtype=np.float32).reshape(3, 2)], [np.int32(1), np.int32(3), np.array([[2, 3], [0, 1]], np.float32), f4(0, 1)]))
for dtype, numpy in [("f16", "float16"), ("i32", "int32"), ("bool", "bool")]:
    rows = np.array([[1, 0], [0, 1]]).astype(numpy)
    program(f"rows of {dtype}", f"""
func @main(%x: tensor<2x2x{dtype}>) -> tensor<3x2x{dtype}> {{
  %n = const 2 : i32
  %l = make_list init_length = %n {{elem_shape = [2], dtype = {dtype}}}
  %at = const [1, 0] : tensor<2xi32>
  %m = list_scatter %l, %at, %x
  %all = const [0, 1, 0] : tensor<3xi32>
  %y = list_gather %m, %all
  return %y
}}""", ([rows], [rows[[1, 0, 1]]]))
program("rows of a list again", """
func @main(%x: tensor<2x2xf32>, %at: tensor<2xi32>) -> tensor<2x2xf32> {
  %n = const 2 : i32
  %l = make_list init_length = %n {elem_shape = [2], dtype = f32}
  %m = list_scatter %l, %at, %x
  %all = const [0, 1] : tensor<2xi32>
  %y = list_gather %m, %all
  return %y
}""", ([np.array([[1, 2], [3, 4]], np.float32), i4(0, 1)], [np.array([[1, 2], [3, 4]], np.float32)]),
        ([np.array([[1, 2], [3, 4]], np.float32), i4(1, 0)], [np.array([[3, 4], [1, 2]], np.float32)]))
program("a list filled by a loop", """
symbols { k = 0..64 }

func @main(%n: i32) -> (i32, tensor<2xi32>) {
  %zero = const 0 : i32
  %none = const 0 : i32
  %l = make_list init_length = %none {elem_shape = [2], dtype = i32}
  %k, %all = while_loop [%zero, %l] (%i: i32, %a: list<tensor<2xi32>, k>) {
    %go = less %i, %n
    yield %go
  } (%j: i32, %b: list<tensor<2xi32>, k>) {
    %pair = const [1, -1] : tensor<2xi32>
    %value = mul %pair, %j
    %c = list_write %b, %j, %value
    %next = add %j, 1
    yield %next, %c
  }
  %length = list_length %all
  %one = const 1 : i32
  %y = list_read %all, %one
  return %length, %y
}""", ([np.int32(4)], [np.int32(4), i4(1, -1)]), ([np.int32(2)], [np.int32(2), i4(1, -1)]))

# States.
x = [np.array(v, np.float16) for v in ([1, 2, 3], [0.5, -1, 4], [0, 0, 0.25])]
sums = np.cumsum(x, axis=0, dtype=np.float16)
program("a state that adds up", """
func @main(%x: tensor<3xf16>, state %s: state<tensor<3xf16>>) -> tensor<3xf16> {
  %old = read_state %s
  %y = add %old, %x
  write_state %s, %y
  return %y
}""", *[([v], [s]) for v, s in zip(x, sums)])
program("a state read before and after it is written", """
func @main(%x: tensor<3xf16>, state %s: state<tensor<3xf16>>) -> (tensor<3xf16>, tensor<3xf16>) {
  %old = read_state %s
  write_state %s, %x
  %new = read_state %s
  return %old, %new
}""", *[([v], [o, v]) for v, o in zip(x, [np.zeros(3, np.float16)] + x)])
program("two states and two writes", """
func @main(%x: tensor<3xf16>, state %a: state<tensor<3xf16>>, state %b: state<tensor<1xf16>>) -> (tensor<3xf16>, tensor<1xf16>) {
  write_state %a, %x
  %double = add %x, %x
  write_state %a, %double
  %count = read_state %b
  %more = add %count, 1.0
  write_state %b, %more
  %y = read_state %a
  return %y, %more
}""", *[([v], [v + v, np.array([k + 1], np.float16)]) for k, v in enumerate(x)])

# Classifiers.
scores = f4(0.1, 0.6, 0.3)
classify = lambda words: f"""
func @main(%x: tensor<3xf32>) -> (str, dict<str, f64>) {{
  %label, %all = classify %x {{classes = {json.dumps(words)}}}
  return %label, %all
}}"""
for name, s, best in [("the greatest", scores, 1), ("the first of equal ones", f4(0.4, 0.2, 0.4), 0),
                      ("a negative one", f4(-3, -2, -2.5), 1)]:
    words = ["ant", "bee", "cat"]
    program(f"classify: {name}", classify(words),
            ([s], [{"strs": [words[best]]}, {"dict": [[w, float(v)] for w, v in zip(words, s)]}]), tol=1e-7)
program("classify: numbers", """
func @main(%x: tensor<3xf32>) -> (i64, dict<i64, f64>) {
  %label, %all = classify %x {class_ids = [7, -2, 40]}
  return %label, %all
}""", ([scores], [{"int": -2}, {"dict": [["7", float(scores[0])], ["-2", float(scores[1])], ["40", float(scores[2])]]}]), tol=1e-7)

# Random numbers: the moments of many.
true = np.array(True)
for low, high, dtype, seed in [(None, None, "f32", "{seed = 5}"), (None, None, "f32", ""), (-2.0, 6.0, "f32", "{seed = 7}"),
                               (0.0, 1.0, "f16", "{seed = 1}"), (None, 3.0, "f32", ""), (0.5, None, "f32", "{seed = 5}")]:
    given = "".join(f", {n} = %{n}" for n, v in (("low", low), ("high", high)) if v is not None)
    made = "".join(f"  %{n} = const {v} : {dtype}\n" for n, v in (("low", low), ("high", high)) if v is not None)
    a, b = (0.0 if low is None else low), (1.0 if high is None else high)
    program(f"uniform {low} {high} {dtype} {seed}", f"""
func @main(%unused: f32) -> (f32, bool, f32) {{
  %shape = const [64, 64] : tensor<2xi32>
{made}  %u = random_uniform %shape{given} {seed} : tensor<64x64x{dtype}>
  %x = cast %u {{dtype = f32}}
  %mean = reduce_mean %x
  %least = reduce_min %x
  %most = reduce_max %x
  %above = greater_equal %least, {a}
  %below = {"less_equal" if dtype == "f16" else "less"} %most, {b}
  %inside = logical_and %above, %below
  %centred = sub %x, %mean
  %squared = square %centred
  %variance = reduce_mean %squared
  return %mean, %inside, %variance
}}""", ([np.float32(0)], [np.float32((a + b) / 2), true, np.float32((b - a) ** 2 / 12)]), tol=0.06 * (b - a) ** 2)
for mean, deviation, dtype, seed in [(None, None, "f32", "{seed = 3}"), (4.0, 0.5, "f32", "{seed = 9}"), (-1.0, 2.0, "f16", "{seed = 1}"), (1.0, None, "f32", ""), (None, 2.0, "f32", "{seed = 4}")]:
    given = "".join(f", {n} = %{n}" for n, v in (("mean", mean), ("stddev", deviation)) if v is not None)
    made = "".join(f"  %{n} = const {v} : {dtype}\n" for n, v in (("mean", mean), ("stddev", deviation)) if v is not None)
    m, d = (0.0 if mean is None else mean), (1.0 if deviation is None else deviation)
    program(f"normal {mean} {deviation} {dtype}", f"""
func @main(%unused: f32) -> (f32, f32) {{
  %shape = const [64, 64] : tensor<2xi32>
{made}  %u = random_normal %shape{given} {seed} : tensor<64x64x{dtype}>
  %x = cast %u {{dtype = f32}}
  %m = reduce_mean %x
  %centred = sub %x, %m
  %squared = square %centred
  %variance = reduce_mean %squared
  return %m, %variance
}}""", ([np.float32(0)], [np.float32(m), np.float32(d * d)]), tol=0.15 * d * max(d, 1))
for prob, dtype, seed in [(None, "f32", "{seed = 3}"), (0.2, "f32", ""), (0.75, "f16", "{seed = 8}"), (1.0, "f32", "{seed = 2}"), (0.0, "f32", "{seed = 2}")]:
    given, made = ("", "") if prob is None else (", prob = %prob", f"  %prob = const {prob} : {dtype}\n")
    p = 0.5 if prob is None else prob
    program(f"bernoulli {prob} {dtype}", f"""
func @main(%unused: f32) -> (f32, bool) {{
  %shape = const [4096] : tensor<1xi32>
{made}  %u = random_bernoulli %shape{given} {seed} : tensor<4096x{dtype}>
  %x = cast %u {{dtype = f32}}
  %mean = reduce_mean %x
  %squared = square %x
  %same = equal %squared, %x
  %ints = cast %same {{dtype = i32}}
  %least = reduce_min %ints
  %all = equal %least, 1
  return %mean, %all
}}""", ([np.float32(0)], [np.float32(p), true]), tol=0.04)
for mode, dtype, seed, size in [("logits", "f32", ", seed = 3", 2048), ("probs", "f32", "", 2048), ("logits", "f16", ", seed = 6", 2048), ("probs", "f16", ", seed = 2", 2048), (None, "f32", "", None)]:
    p = np.array([[0.5, 0.125, 0.375], [0.1, 0.8, 0.1]])
    given = (p if mode == "probs" else np.log(p)).astype("f4" if dtype == "f32" else "f2")
    attrs = "" if mode is None else f"{{mode = {mode}, size = {size}{seed}}}"
    shape = f"2x{size or 1}"
    if mode is None:
        given = np.array([[0, -1e4, -1e4], [-1e4, -1e4, 0]], np.float32)
        program("categorical default", f"""
func @main(%x: tensor<2x3xf32>) -> tensor<2x1xf32> {{
  %u = random_categorical %x : tensor<2x1xf32>
  return %u
}}""", ([given], [f4([0], [2])]))
        continue
    program(f"categorical {mode} {dtype}", f"""
func @main(%x: tensor<2x3x{dtype}>) -> (tensor<2xf32>, tensor<2xf32>) {{
  %u = random_categorical %x {attrs} : tensor<{shape}x{dtype}>
  %i = cast %u {{dtype = i32}}
  %first = equal %i, 0
  %second = equal %i, 1
  %a = cast %first {{dtype = f32}}
  %b = cast %second {{dtype = f32}}
  %y = reduce_mean %a {{axes = [1]}}
  %z = reduce_mean %b {{axes = [1]}}
  return %y, %z
}}""", ([given], [f4(0.5, 0.1), f4(0.125, 0.8)]), tol=0.06)

path = pathlib.Path(__file__).parent.parent / "programs.json"
path.write_text("[\n" + ",\n".join(json.dumps(p) for p in programs) + "\n]\n")
print(len(programs), "programs")
