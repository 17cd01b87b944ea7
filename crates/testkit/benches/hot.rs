//! The hot parts of a conversion, one group each: `cargo bench -p mlc-testkit -- NAME`.

use std::fmt::Write as _;
use std::hint::black_box;
use std::io::{self, Cursor};
use std::path::PathBuf;
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mlc_coreml::blob::{BlobSpec, BlobWriter};
use mlc_driver::Driver;
use mlc_eval::{Array, Evaluator, States};
use mlc_ir::{Builder, Program};
use mlc_pass::{PassManager, Pipeline};
use mlc_target::DataType;
use mlc_tensor::{DType, Span, Tensor};
use mlc_text::ParseOptions;

/// A file of torch that is small enough to be in the repository.
fn file() -> PathBuf {
    mlc_testkit::workspace_root().join("testdata/models/squeezenet1_1.pt2")
}

fn driver() -> Driver {
    Driver::new(&[]).expect("the passes of the project have names of their own")
}

fn parsed(text: &str) -> Program {
    let parsed = mlc_text::parse("bench.mlc", text, &ParseOptions::default());
    parsed.expect("the text is sound").program
}

/// Layers of a transformer as a frontend writes them: linears, a softmax of several ops, a GELU of
/// several ops, normalization by hand.
fn layers(count: usize, width: usize) -> Program {
    let mut weights = String::from("weights {\n");
    let mut body = String::new();
    let wide = 4 * width;
    let mut x = "%x".to_owned();
    for i in 0..count {
        let _ = write!(
            weights,
            "  @q{i} : tensor<{width}x{width}xf32> = random({i}, 0.1)\n  @u{i} : tensor<{wide}x{width}xf32> = random({}, 0.1)\n  @d{i} : tensor<{width}x{wide}xf32> = random({}, 0.1)\n",
            i + 1000,
            i + 2000
        );
        let _ = write!(
            body,
            "  %q{i} = const @q{i} : tensor<{width}x{width}xf32>\n  %u{i} = const @u{i} : tensor<{wide}x{width}xf32>\n  %d{i} = const @d{i} : tensor<{width}x{wide}xf32>\n  %m{i} = reduce_mean {x} {{axes = [-1], keep_dims = true}}\n  %c{i} = sub {x}, %m{i}\n  %s{i} = mul %c{i}, %c{i}\n  %v{i} = reduce_mean %s{i} {{axes = [-1], keep_dims = true}}\n  %e{i} = add %v{i}, 0.00001\n  %r{i} = rsqrt %e{i}\n  %n{i} = mul %c{i}, %r{i}\n  %a{i} = linear %n{i}, %q{i}\n  %at{i} = transpose %a{i} {{perm = [0, 2, 1]}}\n  %p{i} = matmul %n{i}, %at{i}\n  %w{i} = softmax %p{i} {{axis = -1}}\n  %o{i} = matmul %w{i}, %a{i}\n  %h{i} = add {x}, %o{i}\n  %f{i} = linear %h{i}, %u{i}\n  %f1{i} = mul %f{i}, 0.70710678\n  %f2{i} = erf %f1{i}\n  %f3{i} = add %f2{i}, 1.0\n  %f4{i} = mul %f{i}, %f3{i}\n  %f5{i} = mul %f4{i}, 0.5\n  %g{i} = linear %f5{i}, %d{i}\n  %y{i} = add %h{i}, %g{i}\n"
        );
        x = format!("%y{i}");
    }
    let ty = format!("tensor<1x16x{width}xf32>");
    parsed(&format!("{weights}}}\nfunc @main(%x: {ty}) -> {ty} {{\n{body}  return {x}\n}}\n"))
}

fn archive(c: &mut Criterion) {
    let path = file();
    c.bench_function("archive/open", |b| {
        b.iter(|| black_box(mlc_torch::archive::Archive::open(&path).map(|a| a.entries().count())));
    });
}

fn import(c: &mut Criterion) {
    let (driver, path) = (driver(), file());
    c.bench_function("import/squeezenet", |b| {
        b.iter(|| black_box(driver.load(&path, None).is_ok()))
    });
    c.bench_function("import/text of 32 layers", |b| b.iter(|| black_box(layers(32, 16))));
}

fn verifier(c: &mut Criterion) {
    let mut group = c.benchmark_group("verifier");
    for count in [16, 64] {
        let program = layers(count, 16);
        group.throughput(Throughput::Elements(count as u64));
        group.bench_with_input(BenchmarkId::from_parameter(count), &program, |b, program| {
            b.iter(|| black_box(mlc_ir::verify(program).has_errors()));
        });
    }
    group.finish();
}

/// A pipeline for each family of passes.
const FAMILIES: [(&str, &str); 7] = [
    ("cleanup", "cleanup"),
    ("layout", "sink-transposes"),
    ("egraph", "egraph"),
    ("precision", "precision{to=fp16}"),
    ("legalize", "legalize{target=ios18}"),
    ("dedup", "dedup-consts"),
    (
        "canonical",
        "cleanup,sink-transposes,egraph,cleanup,precision{to=fp16},cleanup,legalize{target=ios18}",
    ),
];

fn passes(c: &mut Criterion) {
    let driver = driver();
    let mut group = c.benchmark_group("pass");
    for (name, pipeline) in FAMILIES {
        run_passes(&mut group, &driver, (name, pipeline), &layers(16, 16));
    }
    group.finish();
}

/// Schemes of compression, on weights of about a million elements.
const SCHEMES: [(&str, &str); 5] = [
    ("w8", "quantize-weights{scheme=w8}"),
    ("w4-block32", "quantize-weights{scheme=w4-block32}"),
    ("lut4", "palettize-weights{scheme=lut4}"),
    ("lut4-g16", "palettize-weights{scheme=lut4-g16}"),
    ("prune-50", "prune-weights{scheme=prune-50}"),
];

fn compression(c: &mut Criterion) {
    let driver = driver();
    let mut group = c.benchmark_group("compression");
    group.sample_size(10).throughput(Throughput::Elements(9 * 352 * 352));
    for (name, pipeline) in SCHEMES {
        run_passes(&mut group, &driver, (name, pipeline), &layers(1, 352));
    }
    group.finish();
}

type Group<'a> = criterion::BenchmarkGroup<'a, criterion::measurement::WallTime>;

fn run_passes(
    group: &mut Group<'_>,
    driver: &Driver,
    (name, pipeline): (&str, &str),
    program: &Program,
) {
    let pipeline = Pipeline::parse(pipeline).expect("the pipeline is sound");
    group.bench_function(name, |b| {
        b.iter_batched(
            || program.clone(),
            |mut program| {
                let ran = PassManager::new(driver.passes()).run(&pipeline, &mut program);
                assert!(ran.is_ok(), "{name} fails");
                program
            },
            BatchSize::LargeInput,
        );
    });
}

fn weights(c: &mut Criterion) {
    let shape = [2048, 2048];
    let count = 2048 * 2048;
    let random = Tensor::random(DType::F32, &shape, 1, 1.0).expect("a small tensor");
    let bytes = random.bytes().expect("a small tensor").into_owned();
    let singles = Tensor::from_bytes(DType::F32, &shape, bytes).expect("all bytes are there");
    let doubles = singles.cast(DType::F64).expect("floats");
    let doubles = doubles.bytes().expect("a small tensor").into_owned();
    let doubles = Tensor::from_bytes(DType::F64, &shape, doubles).expect("all bytes are there");
    let brains = singles.cast(DType::Bf16).expect("floats");
    let brains = brains.bytes().expect("a small tensor").into_owned();
    let brains = Tensor::from_bytes(DType::Bf16, &shape, brains).expect("all bytes are there");
    let mut group = c.benchmark_group("weights");
    for (name, from) in [("f32", &singles), ("f64", &doubles), ("bf16", &brains)] {
        let halves = from.cast(DType::F16).expect("floats");
        group.throughput(Throughput::Bytes(from.byte_len()));
        group.bench_function(format!("{name} to f16"), |b| {
            b.iter(|| black_box(halves.write_to(&mut io::sink()).is_ok()));
        });
    }
    let halves = singles.cast(DType::F16).expect("floats");
    let turned = halves.transpose(&[1, 0]).expect("a matrix");
    group.throughput(Throughput::Bytes(singles.byte_len()));
    group.bench_function("transposed f32 to f16", |b| {
        b.iter(|| black_box(turned.write_to(&mut io::sink()).is_ok()));
    });
    group.bench_function("digest", |b| b.iter(|| black_box(singles.digest().is_ok())));
    group.bench_function("range", |b| b.iter(|| black_box(Span::of(&singles).is_ok())));
    group.bench_function("blob of f32 as f16", |b| {
        let spec = BlobSpec::for_elements(DataType::Fp16, count).expect("a small blob");
        b.iter(|| {
            let mut writer = BlobWriter::new(Cursor::new(Vec::new())).expect("memory");
            let stored = writer.append_unique(spec, |out| halves.write_to(out));
            black_box(stored.is_ok() && writer.finish().is_ok())
        });
    });
    // Constants that differ in their first elements, and ones that have to be read to be told apart.
    let pipeline = Pipeline::parse("dedup-consts").expect("the pipeline is sound");
    for (name, equal) in [("dedup of others", false), ("dedup of equals", true)] {
        let program = constants(equal);
        group.throughput(Throughput::Bytes(64 * 4 * 65_536));
        group.bench_function(name, |b| {
            b.iter_batched(
                || program.clone(),
                |mut program| {
                    let driver = driver();
                    let ran = PassManager::new(driver.passes()).run(&pipeline, &mut program);
                    assert!(ran.is_ok(), "{name} fails");
                    program
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

/// Elements of a constant.
const LENGTH: u32 = 65_536;

/// 64 constants of a quarter of a megabyte, different or all of equal bytes.
fn constants(equal: bool) -> Program {
    let mut program = parsed("func @main(%x: f32) -> f32 {\n  %y = relu %x\n  return %y\n}\n");
    let func = program.function("main").expect("the text has it");
    let mut b = Builder::new(&mut program, func);
    let number = |k: u32| f64::from(if equal { k % LENGTH } else { k });
    let numbers: Vec<f64> = (0..64 * LENGTH).map(number).collect();
    let all = Tensor::from_f64s(DType::F32, &[64 * u64::from(LENGTH)], &numbers);
    let all = all.expect("as many as needed");
    for i in 0..64 {
        let part = all.strided(&[LENGTH.into()], &[1], i * u64::from(LENGTH));
        b.constant(part.expect("it lies within")).expect("a constant of singles");
    }
    program
}

/// Ops whose kernels take most of the time of a comparison.
const KERNELS: [(&str, &str, &[usize]); 7] = [
    (
        "conv 3x3",
        "weights {\n  @w : tensor<64x64x3x3xf32> = random(1, 0.1)\n}\nfunc @main(%x: tensor<1x64x56x56xf32>) -> tensor<1x64x56x56xf32> {\n  %w = const @w : tensor<64x64x3x3xf32>\n  %y = conv %x, %w {pad_type = same}\n  return %y\n}\n",
        &[1, 64, 56, 56],
    ),
    (
        "conv depthwise",
        "weights {\n  @w : tensor<64x1x3x3xf32> = random(1, 0.1)\n}\nfunc @main(%x: tensor<1x64x56x56xf32>) -> tensor<1x64x56x56xf32> {\n  %w = const @w : tensor<64x1x3x3xf32>\n  %y = conv %x, %w {groups = 64, pad_type = same}\n  return %y\n}\n",
        &[1, 64, 56, 56],
    ),
    (
        "linear",
        "weights {\n  @w : tensor<1024x1024xf32> = random(1, 0.1)\n}\nfunc @main(%x: tensor<128x1024xf32>) -> tensor<128x1024xf32> {\n  %w = const @w : tensor<1024x1024xf32>\n  %y = linear %x, %w\n  return %y\n}\n",
        &[128, 1024],
    ),
    (
        "matmul f16",
        "func @main(%x: tensor<12x128x128xf16>) -> tensor<12x128x128xf16> {\n  %y = matmul %x, %x\n  return %y\n}\n",
        &[12, 128, 128],
    ),
    (
        "softmax f16",
        "func @main(%x: tensor<12x128x128xf16>) -> tensor<12x128x128xf16> {\n  %y = softmax %x {axis = -1}\n  return %y\n}\n",
        &[12, 128, 128],
    ),
    (
        "softmax",
        "func @main(%x: tensor<12x128x128xf32>) -> tensor<12x128x128xf32> {\n  %y = softmax %x {axis = -1}\n  return %y\n}\n",
        &[12, 128, 128],
    ),
    (
        "gelu",
        "func @main(%x: tensor<128x3072xf32>) -> tensor<128x3072xf32> {\n  %y = gelu %x {mode = exact}\n  return %y\n}\n",
        &[128, 3072],
    ),
];

fn kernels(c: &mut Criterion) {
    let mut group = c.benchmark_group("eval");
    for (name, text, shape) in KERNELS {
        let program = parsed(text);
        let func = program.function("main").expect("the text has it");
        let count: usize = shape.iter().product();
        let numbers = (0..count).map(|i| ((i * 37 % 101) as f32) / 50.0 - 1.0).collect();
        let input = [Array::from_f32s(DType::F32, shape, numbers).expect("as many as needed")];
        group.bench_function(name, |b| {
            b.iter(|| {
                let outputs = Evaluator::new(&program, func).run(&input, &mut States::new());
                assert!(outputs.is_ok(), "{name} fails");
                outputs
            });
        });
    }
    group.finish();
}

fn short() -> Criterion {
    Criterion::default()
        .measurement_time(Duration::from_secs(3))
        .warm_up_time(Duration::from_secs(1))
}

criterion_group! {
    name = hot;
    config = short();
    targets = archive, import, verifier, passes, compression, weights, kernels
}
criterion_main!(hot);
