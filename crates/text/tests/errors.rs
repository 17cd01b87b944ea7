//! Faulty texts: all problems at once, with their places.

use mlc_text::{ParseOptions, parse};

fn errors(text: &str) -> String {
    let options = ParseOptions { base_dir: "/nonexistent".into(), locate: false };
    let found = parse("t.mlc", text, &options).expect_err("the text is faulty");
    assert!(found.has_errors());
    found.items().iter().map(|d| format!("{d}\n")).collect()
}

#[test]
fn one_bad_statement_hides_no_other() {
    let found = errors(
        "func @main(%x: tensor<2x8xf16>, %i: tensor<3xi32>) -> (y: tensor<2x8xf16>) {
  %1 = mul %x %x
  %2 = relu %1
  %3 = rleu %x
  %4 = add %3, %x
  %5 = softmax %x {axsi = 1, axis = 0.5}
  %6 = gelu %x {mode = EXACTT
  %7 = add %x, %i
  %8 = concat %x {axis = 0}
  %9 = relu %nope
  %10 = add %x
  %11 = add %x, %x, %x
  %12 = relu %x : tensor<2x9xf16>
  %13 = relu %x : f32
  %14 = topk %x, kk = 3
  %15, %16 = relu %x
  %17 = leaky_relu %x
  %x = relu %x
  %y = § relu %x
  %18 = add %x, %x : tensor<2x8xf16>, f32
  %19 = clip %x {alpha = 0.0, beta = 1.0, alpha = 2.0}
  %20 = relu [%x]
  %21 = select %x {
  return %y, %x
}

func @main(%a: f32, %a: tensro<2xf32>) {
}

func @next() -> f32 {
  %0 = const [1, 2] : f32
  %1 = const [[1], [2, 3]] : tensor<2x2xf32>
  %2 = const 1e999 : f32
  %3 = const 300 : i8
  %4 = const @missing
  return %0
}
",
    );
    insta::assert_snapshot!(found);
}

#[test]
fn sections_are_checked() {
    let found = errors(
        "mlc-ir 2
symbols { s = 4..2, s = 1.. }
metadata { \"a\" = \"b\", \"a\" = \"c\" }
weights {
  @f : tensor<4xf32> = file(\"missing.bin\", 0)
  @g : tensor<4xf32> = flie(\"missing.bin\", 0)
  @h : tensor<4xf32> = hex(\"00\")
  @i : tensor<4xf32> = hex(\"0\")
  @j : tensor<4x5xf32> = reshape(splat(1.0) : tensor<21xf32>)
  @k : tensor<4x5xf32> = transpose(splat(1.0) : tensor<5x4xf32>, [1, 1])
  @l : tensor<2xf32> = strided(splat(1.0) : tensor<2xf32>, strides = [2], offset = 0)
  @m : tensor<9223372036854775807x9223372036854775807x0xf32> = splat(0)
  @n : tensor<4xf32> = strided(strided(splat(1) : tensor<1xf32>, strides = [0], offset = 0) : tensor<281474976710656xf32>, strides = [1], offset = 0)
  @o : tensor<(s)xf32> = splat(0.0)
  @h : tensor<4xu4> = splat(1)
  @p : str = splat(1)
  @q : tensor<99999999999999999999xf32> = splat(1)
}
func @f(%x: tensor<(s+t)xf32> {default = [1, 2]}, state %y: f32, %z: state<f32>, %w: tensor<?xf32>) {
  %0 = const @f
  %1 = const @q
  %2 = const @ff
  %3 = identity %0
}
junk
func @g(%x: tensor<2x3xf32>) -> (x: tensor<2x3xf32>, b: f32) {
  return %x
}
func @h(%x: tensor<2x3xf32> {enumerated = [[2, 3]], default = [3, 2]}) -> tensor<3x2xf32> {
  return %x
",
    );
    insta::assert_snapshot!(found);
}

#[test]
fn nesting_is_bounded() {
    let deep = |open: &str, close: &str| format!("{}{}", open.repeat(5000), close.repeat(5000));
    for text in [
        format!("func @f() {{ %0 = const {} }}", deep("[", "]")),
        format!("func @f() {{ %0 = foo {} }}", deep("[", "]")),
        format!("func @f(%x: {}) {{ }}", deep("tuple<", ">")),
        format!("func @f(%x: tensor<{}xf32>) {{ }}", deep("(", ")")),
        format!("func @f(%x: tensor<({})xf32>) {{ }}", deep("max(1, ", ")")),
        format!("func @f() {{ {} }}", deep("foo { ", " }")),
        format!("weights {{ @a : f32 = {} }}", deep("cast(", ")")),
    ] {
        let found = errors(&text);
        assert!(found.contains("nested deeper than 64 levels"), "{found}");
    }
    let long = format!("func @f(%x: tensor<(a{})xf32>) {{ }}", "*a".repeat(100_000));
    assert!(errors(&long).contains("an extent of more than 256 parts"));
}

#[test]
fn problems_are_capped() {
    let text = format!("func @f() {{\n{}}}\n", "  %0 = = 1\n".repeat(10_000));
    let found = parse("t", &text, &ParseOptions::default()).expect_err("faulty");
    let places: usize = found.items().iter().map(|d| d.places.len()).sum();
    assert!(places <= 1000, "{places}");
}

#[test]
fn long_names_and_long_lines_are_read_in_linear_time() {
    let long = "x".repeat(1_000_000);
    let many: String = (0..30_000).map(|i| format!("{}, %v, ", i % 10)).collect();
    for text in [
        format!("func @f(%{long}: f32) {{ %a = relu %{long}y }}"),
        format!("func @f(%v: f32) {{ %a = {long} %v }}"),
        format!(
            "func @f(%v: f32) {{ %a = clip %v {{{long} = 1, alpha = {long}, beta = \"{long}\"}} }}"
        ),
        format!("func @f(%v: f32, %{long}: {long}) {{ }}"),
        format!("func @f(%v: f32) {{ %a = concat [{many}] {{axis = 3}} }}"),
        format!("func @f(%v: f32) {{ {} }}", "%a = relu %b ".repeat(50_000)),
        format!("func @f(%v: f32) {{ {} }}", "relu %a, %b, ".repeat(50_000)),
        format!("func @f(%v: f32) {{ {} }}", "{ a = 1 ".repeat(50_000)),
        format!("func @f(%v: f32) {{\n{} }}", "x { a = 1\n".repeat(50_000)),
        format!("func @f(%v: f32) -> f32 {{ return {} }}", "%v, ".repeat(50_000)),
    ] {
        let found = errors(&text);
        assert!(found.len() < 200_000, "{} bytes of messages", found.len());
    }
}
