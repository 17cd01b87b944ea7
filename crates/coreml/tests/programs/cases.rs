//! Small programs, each with the first opset that takes it.

use mlc_ir::attr::{PadMode, PadType, ScatterMode};
use mlc_ir::ops::{
    Add, Cast, Classify, Concat, Cond, Conv, Gather, Greater, LayerNorm, Less, Linear, ListRead,
    ListWrite, Log, MakeList, Matmul, MaxPool, Mul, Pad, ReadState, ReduceMean, Relu, Reshape,
    Scatter, Shape, SliceByIndex, Softmax, SpaceToBatch, Split, Topk, Transpose, UpsampleBilinear,
    WhileLoop, WriteState,
};
use mlc_ir::{Builder, Dim, F64, Op, Operands, Program, SymbolRange, Type, Value};
use mlc_target::Opset;
use mlc_tensor::{DType, Tensor};

use crate::support::{add_function, program};

/// A named program and the first opset that takes it.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) since: Opset,
    pub(crate) program: Program,
}

pub(crate) fn all() -> Vec<Case> {
    let case = |name, since, program| Case { name, since, program };
    vec![
        case("convnet", Opset::Ios15, convnet(DType::F32)),
        case("convnet-f16", Opset::Ios16, convnet(DType::F16)),
        case("attention", Opset::Ios16, attention()),
        case("moves", Opset::Ios15, moves()),
        case("indexing", Opset::Ios17, indexing()),
        case("scatter", Opset::Ios15, scatter()),
        case("resampling", Opset::Ios15, resampling()),
        case("dynamic", Opset::Ios15, dynamic()),
        case("enumerated", Opset::Ios15, enumerated()),
        case("branch", Opset::Ios15, branch()),
        case("loop", Opset::Ios15, counting_loop()),
        case("list", Opset::Ios15, list()),
        case("state", Opset::Ios18, state()),
        case("labels", Opset::Ios15, classifier(true)),
        case("numbers", Opset::Ios15, classifier(false)),
        case("functions", Opset::Ios18, functions()),
    ]
}

pub(crate) fn tensor(dtype: DType, shape: &[i64]) -> Type {
    Type::tensor(dtype, shape.iter().map(|&d| Dim::Const(d)).collect::<Vec<_>>())
}

pub(crate) fn weight(b: &mut Builder<'_>, dtype: DType, shape: &[u64], seed: u64) -> Value {
    let tensor = Tensor::random(dtype, shape, seed, 0.5).unwrap();
    b.constant(tensor).unwrap()
}

fn convnet(dtype: DType) -> Program {
    program(&[("image", tensor(dtype, &[1, 3, 16, 16]))], |b, args| {
        let (w, bias) = (weight(b, dtype, &[4, 3, 3, 3], 1), weight(b, dtype, &[4], 2));
        b.name(w, "conv1.weight");
        let conv = Conv {
            strides: vec![2, 2],
            pad_type: PadType::Custom,
            pad: vec![1, 1, 1, 1],
            dilations: vec![1, 1],
            groups: 1,
        };
        let x = conv.build(b, args[0], w, Some(bias)).unwrap();
        b.name(x, "conv1");
        let x = Relu {}.build(b, x).unwrap();
        let pool = MaxPool {
            kernel_sizes: vec![2, 2],
            strides: vec![2, 2],
            pad_type: PadType::Valid,
            pad: vec![0, 0, 0, 0],
            ceil_mode: false,
        };
        let x = pool.build(b, x).unwrap();
        let x = ReduceMean { axes: Some(vec![2, 3]), keep_dims: false }.build(b, x).unwrap();
        let (w, bias) = (weight(b, dtype, &[5, 4], 3), weight(b, dtype, &[5], 4));
        let x = Linear {}.build(b, x, w, Some(bias)).unwrap();
        let y = Softmax { axis: -1 }.build(b, x).unwrap();
        vec![("probabilities", y)]
    })
}

fn attention() -> Program {
    let dtype = DType::F16;
    program(&[("x", tensor(dtype, &[2, 6, 8]))], |b, args| {
        let (gamma, beta) = (weight(b, dtype, &[8], 1), weight(b, dtype, &[8], 2));
        let norm = LayerNorm { axes: Some(vec![-1]), epsilon: F64(2f64.powi(-17)) };
        let x = norm.build(b, args[0], Some(gamma), Some(beta)).unwrap();
        let w = weight(b, dtype, &[24, 8], 3);
        let qkv = Linear {}.build(b, x, w, None).unwrap();
        let split = Split { num_splits: Some(3), split_sizes: None, axis: 2 };
        let parts = split.build_many(b, qkv).unwrap();
        let matmul = Matmul { transpose_x: false, transpose_y: true };
        let scores = matmul.build(b, parts[0], parts[1]).unwrap();
        let scale = b.scalar(dtype, 0.125).unwrap();
        let scores = Mul {}.build(b, scores, scale).unwrap();
        let scores = Softmax { axis: -1 }.build(b, scores).unwrap();
        let matmul = Matmul { transpose_x: false, transpose_y: false };
        let y = matmul.build(b, scores, parts[2]).unwrap();
        vec![("y", y), ("scores", scores)]
    })
}

fn moves() -> Program {
    program(&[("x", tensor(DType::F32, &[2, 3, 4, 4]))], |b, args| {
        let shape = b.ints(&[2, 3, 16]).unwrap();
        let flat = Reshape {}.build(b, args[0], shape).unwrap();
        let turned = Transpose { perm: vec![0, 2, 1] }.build(b, flat).unwrap();
        let (begin, end) = (b.ints(&[0, 1, 0]).unwrap(), b.ints(&[2, 9, 3]).unwrap());
        let slice = SliceByIndex {
            stride: vec![1, 2, 1],
            begin_mask: vec![true, false, true],
            end_mask: vec![],
            squeeze_mask: vec![],
        };
        let cut = slice.build(b, turned, begin, end).unwrap();
        let joined = Concat { axis: 1, interleave: false }.build(b, vec![cut, cut]).unwrap();
        let amounts = b.ints(&[1, 2, 0, 1]).unwrap();
        let pad = Pad { mode: PadMode::Constant, constant_val: F64(-1.5) };
        let padded = pad.build(b, joined, amounts).unwrap();
        let space = SpaceToBatch { block_shape: vec![2, 2], paddings: vec![1, 1, 0, 0] };
        let blocks = space.build(b, args[0]).unwrap();
        let many = b.ints(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, -11]).unwrap();
        vec![("padded", padded), ("blocks", blocks), ("passed", args[0]), ("constant", many)]
    })
}

fn indexing() -> Program {
    let params = [("table", tensor(DType::F32, &[40, 8])), ("ids", tensor(DType::I32, &[1, 5]))];
    program(&params, |b, args| {
        let gather = Gather { axis: 0, batch_dims: 0, validate_indices: false };
        let ids = Cast { dtype: DType::I16 }.build(b, args[1]).unwrap();
        let rows = gather.build(b, args[0], ids).unwrap();
        let k = b.int(3).unwrap();
        let topk = Topk {
            axis: -1,
            ascending: false,
            sort: true,
            return_indices: true,
            output_indices_dtype: DType::I32,
        };
        let best = topk.build_many(b, rows, Some(k)).unwrap();
        vec![("values", best[0]), ("indices", best[1])]
    })
}

fn scatter() -> Program {
    program(
        &[("x", tensor(DType::F32, &[4, 3])), ("update", tensor(DType::F32, &[2, 3]))],
        |b, args| {
            let indices = b.ints(&[1, 3]).unwrap();
            let scatter = Scatter { axis: 0, mode: ScatterMode::Update, validate_indices: false };
            let y = scatter.build(b, args[0], indices, args[1]).unwrap();
            let y = Log { epsilon: F64(1e-5) }.build(b, y).unwrap();
            vec![("y", y)]
        },
    )
}

fn resampling() -> Program {
    program(&[("x", tensor(DType::F32, &[1, 2, 4, 6]))], |b, args| {
        let upsample = UpsampleBilinear {
            scale_factor_height: F64(2.0),
            scale_factor_width: F64(1.5),
            align_corners: false,
            half_pixel_centers: None,
        };
        let y = upsample.build(b, args[0]).unwrap();
        vec![("y", y)]
    })
}

fn dynamic() -> Program {
    let mut program = Program::new();
    program.symbols.declare("n", SymbolRange { min: 1, max: Some(8) });
    program.symbols.declare("t", SymbolRange { min: 2, max: Some(64) });
    let (n, t) = (Dim::symbol("n"), Dim::symbol("t"));
    let ty = Type::tensor(DType::F32, [n.clone(), t.clone(), Dim::Const(4)]);
    add_function(&mut program, "main", &[("x", ty)], |b, args| {
        let shape = Shape {}.build(b, args[0]).unwrap();
        let (begin, end) = (b.ints(&[0]).unwrap(), b.ints(&[2]).unwrap());
        let slice = SliceByIndex {
            stride: vec![],
            begin_mask: vec![],
            end_mask: vec![],
            squeeze_mask: vec![],
        };
        let outer = slice.build(b, shape, begin, end).unwrap();
        let rest = b.ints(&[2, 2]).unwrap();
        let wanted = Concat { axis: 0, interleave: false }.build(b, vec![outer, rest]).unwrap();
        let y = Reshape {}.build(b, args[0], wanted).unwrap();
        vec![("y", y), ("shape", shape)]
    });
    let func = program.function("main").unwrap();
    program.functions[func].params[0].default_shape = Some(vec![1, 16, 4]);
    program
}

fn enumerated() -> Program {
    let mut program = Program::new();
    program.symbols.declare("h", SymbolRange { min: 8, max: Some(32) });
    let ty = Type::tensor(DType::F32, [Dim::Const(1), Dim::symbol("h")]);
    add_function(&mut program, "main", &[("x", ty)], |b, args| {
        vec![("y", Relu {}.build(b, args[0]).unwrap())]
    });
    let func = program.function("main").unwrap();
    let param = &mut program.functions[func].params[0];
    param.default_shape = Some(vec![1, 16]);
    param.enumerated = vec![vec![1, 16], vec![1, 8], vec![1, 32]];
    program
}

fn branch() -> Program {
    program(&[("x", tensor(DType::F32, &[4]))], |b, args| {
        let x = args[0];
        let mean = ReduceMean { axes: None, keep_dims: false }.build(b, x).unwrap();
        let zero = b.scalar(DType::F32, 0.0).unwrap();
        let pred = Greater {}.build(b, mean, zero).unwrap();
        let yes = b.region(&[], |b, _| Ok::<_, ()>(vec![Relu {}.build(b, x).unwrap(), x]));
        let no = b.region(&[], |b, _| {
            let two = b.scalar(DType::F32, 2.0).unwrap();
            let y = Mul {}.build(b, x, two).unwrap();
            Ok::<_, ()>(vec![y, y])
        });
        let mut operands = Operands::new();
        operands.push_slot([pred]);
        let node = b.push(Op::Cond(Cond {}), operands, vec![yes.unwrap(), no.unwrap()]).unwrap();
        let results = b.results(node).to_vec();
        vec![("a", results[0]), ("b", results[1])]
    })
}

fn counting_loop() -> Program {
    program(&[("x", tensor(DType::F32, &[4]))], |b, args| {
        let start = b.int(0).unwrap();
        let types = [tensor(DType::I32, &[]), tensor(DType::F32, &[4])];
        let test = b.region(&types, |b, vars| {
            let limit = b.int(3).unwrap();
            Ok::<_, ()>(vec![Less {}.build(b, vars[0], limit).unwrap()])
        });
        let body = b.region(&types, |b, vars| {
            let one = b.int(1).unwrap();
            let next = Add {}.build(b, vars[0], one).unwrap();
            let y = Softmax { axis: 0 }.build(b, vars[1]).unwrap();
            let y = Add {}.build(b, y, args[0]).unwrap();
            Ok::<_, ()>(vec![next, y])
        });
        let mut operands = Operands::new();
        operands.push_slot([start, args[0]]);
        let node = b
            .push(Op::WhileLoop(WhileLoop {}), operands, vec![test.unwrap(), body.unwrap()])
            .unwrap();
        let results = b.results(node).to_vec();
        vec![("count", results[0]), ("y", results[1])]
    })
}

fn list() -> Program {
    program(&[("x", tensor(DType::F32, &[2, 3]))], |b, args| {
        let length = b.int(4).unwrap();
        let make = MakeList { dynamic_length: false, elem_shape: vec![2, 3], dtype: DType::F32 };
        let ls = make.build(b, Some(length)).unwrap();
        let index = b.int(1).unwrap();
        let ls = ListWrite {}.build(b, ls, index, args[0]).unwrap();
        let y = ListRead {}.build(b, ls, index).unwrap();
        vec![("y", y)]
    })
}

fn state() -> Program {
    let cache = Type::State(mlc_ir::TensorType::new(DType::F16, [Dim::Const(1), Dim::Const(4)]));
    program(&[("cache", cache), ("x", tensor(DType::F16, &[1, 4]))], |b, args| {
        let old = ReadState {}.build(b, args[0]).unwrap();
        let sum = Add {}.build(b, old, args[1]).unwrap();
        WriteState {}.build_many(b, args[0], sum).unwrap();
        let new = ReadState {}.build(b, args[0]).unwrap();
        let y = Relu {}.build(b, new).unwrap();
        vec![("y", y)]
    })
}

fn classifier(with_words: bool) -> Program {
    program(&[("x", tensor(DType::F32, &[1, 3]))], |b, args| {
        let p = Softmax { axis: -1 }.build(b, args[0]).unwrap();
        let classify = if with_words {
            let words = ["cat", "dog", "größe"].map(str::to_owned).to_vec();
            Classify { classes: words, class_ids: vec![] }
        } else {
            Classify { classes: vec![], class_ids: vec![7, -2, 1 << 40] }
        };
        let results = classify.build_many(b, p).unwrap();
        vec![("label", results[0]), ("label_probs", results[1])]
    })
}

fn functions() -> Program {
    let mut program = Program::new();
    for name in ["decode", "prefill"] {
        let rows = if name == "decode" { 1 } else { 16 };
        add_function(&mut program, name, &[("x", tensor(DType::F16, &[rows, 8]))], |b, args| {
            let w = weight(b, DType::F16, &[8, 8], 9);
            vec![("y", Linear {}.build(b, args[0], w, None).unwrap())]
        });
    }
    program
}
