//! Ops that operands drawn at random hardly ever fit: their shapes belong together, or they need
//! regions, lists, states or stored weights. Each is built whole.

use mlc_ir::attr::{
    Activation, BoxCoordinateMode, CoordinatesMode, Direction, ResampleMode, ResamplePadding,
    SamplingMode,
};
use mlc_ir::ops::{
    Add, Affine, Cast, Classify, Cond, ConstexprAffineDequantize, ConstexprBlockwiseShiftScale,
    ConstexprCast, ConstexprLutToDense, ConstexprLutToSparse, ConstexprSparseBlockwiseShiftScale,
    ConstexprSparseToDense, CropResize, Greater, Gru, Less, ListGather, ListLength, ListRead,
    ListScatter, ListWrite, Lstm, MakeList, Mul, NonMaximumSuppression, NonZero, ReadState,
    ReduceMax, Resample, Rnn, ScaledDotProductAttention, Sub, Tanh, WhileLoop, WriteState,
};
use mlc_ir::{Builder, Dim, F64, OpError, OpResult, Param, TensorType, Type, Value};
use mlc_tensor::{DType, Tensor};

use super::Draw;

/// Results that other ops may use, and those that are outputs alone.
#[derive(Default)]
pub(super) struct Made {
    pub(super) values: Vec<Value>,
    pub(super) outputs: Vec<Value>,
}

impl Made {
    fn of(values: Vec<Value>) -> OpResult<Self> {
        Ok(Self { values, outputs: Vec::new() })
    }
}

/// Where a recipe builds, and from what.
pub(super) struct Kitchen<'a, 'b> {
    pub(super) b: &'a mut Builder<'b>,
    pub(super) draw: &'a mut Draw,
    pub(super) values: &'a [Value],
}

/// Builds one op and what it needs.
pub(super) type Recipe = fn(&mut Kitchen<'_, '_>) -> OpResult<Made>;

/// The recipe for an op, if it needs one.
pub(super) fn recipe(name: &str) -> Option<Recipe> {
    Some(match name {
        "rnn" => rnn,
        "gru" => gru,
        "lstm" => lstm,
        "resample" => resample,
        "affine" => affine,
        "crop_resize" => crop_resize,
        "non_maximum_suppression" => suppression,
        "scaled_dot_product_attention" => attention,
        "cond" => cond,
        "while_loop" => while_loop,
        "make_list" | "list_length" | "list_read" | "list_write" | "list_gather"
        | "list_scatter" => lists,
        "read_state" | "write_state" => states,
        "classify" => classify,
        "non_zero" => non_zero,
        "constexpr_affine_dequantize" => affine_dequantize,
        "constexpr_blockwise_shift_scale" => blockwise,
        "constexpr_cast" => constexpr_cast,
        "constexpr_lut_to_dense" => lut,
        "constexpr_lut_to_sparse" => sparse_lut,
        "constexpr_sparse_blockwise_shift_scale" => sparse_blockwise,
        "constexpr_sparse_to_dense" => sparse,
        _ => return None,
    })
}

impl Kitchen<'_, '_> {
    fn numbers(
        &mut self,
        dtype: DType,
        shape: &[u64],
        of: fn(&mut Draw) -> f64,
    ) -> OpResult<Value> {
        let count = shape.iter().product::<u64>();
        let numbers: Vec<f64> = (0..count).map(|_| of(self.draw)).collect();
        let tensor = Tensor::from_f64s(dtype, shape, &numbers);
        self.b.constant(tensor.map_err(|error| OpError::ty(error.to_string()))?)
    }

    fn weight(&mut self, dtype: DType, shape: &[u64]) -> OpResult<Value> {
        self.numbers(dtype, shape, |draw| draw.below(33) as f64 / 32.0 - 0.5)
    }

    /// Integers below 2 to the power of the bits of the element type.
    fn small(&mut self, dtype: DType, shape: &[u64]) -> OpResult<Value> {
        let (low, high) = dtype.int_range().unwrap_or((0, 1));
        let count = shape.iter().product::<u64>();
        let span = (high - low + 1) as usize;
        let numbers: Vec<i64> =
            (0..count).map(|_| low + self.draw.below(span.min(256)) as i64).collect();
        let tensor = Tensor::from_i64s(dtype, shape, &numbers);
        self.b.constant(tensor.map_err(|error| OpError::ty(error.to_string()))?)
    }

    /// Floats of that shape; a value of it, or a constant that a value moves.
    fn floats(&mut self, dtype: DType, shape: &[u64]) -> OpResult<Value> {
        let fits = |b: &Builder<'_>, &&value: &&Value| {
            let ty = b.ty(value).as_tensor();
            ty.is_some_and(|ty| ty.dtype == dtype && ty.static_shape().as_deref() == Some(shape))
        };
        if let Some(&value) = self.values.iter().find(|value| fits(self.b, value)) {
            return Ok(value);
        }
        let base = self.weight(dtype, shape)?;
        let is_float = |b: &Builder<'_>, &&value: &&Value| {
            b.ty(value).as_tensor().is_some_and(|ty| ty.dtype.is_float())
        };
        let Some(&value) = self.values.iter().find(|value| is_float(self.b, value)) else {
            return Ok(base);
        };
        let most = ReduceMax { axes: None, keep_dims: false }.build(self.b, value)?;
        let most = Cast { dtype }.build(self.b, most)?;
        let most = Tanh {}.build(self.b, most)?;
        Add {}.build(self.b, base, most)
    }

    fn dtype(&mut self) -> DType {
        self.draw.one(&[DType::F32, DType::F16])
    }

    fn either<T>(&mut self, value: OpResult<T>) -> OpResult<Option<T>> {
        let value = value?;
        Ok((self.draw.below(2) == 0).then_some(value))
    }

    fn activation(&mut self) -> Activation {
        self.draw.one(&[
            Activation::Tanh,
            Activation::Sigmoid,
            Activation::Relu,
            Activation::Linear,
            Activation::ScaledTanh,
            Activation::HardSigmoid,
        ])
    }
}

/// Steps, batch, inputs and hidden units.
fn sizes(k: &mut Kitchen<'_, '_>) -> [u64; 4] {
    let mut one = |items: &[u64]| k.draw.one(items);
    [one(&[1, 2, 3]), one(&[1, 2]), one(&[1, 3, 4]), one(&[1, 2, 4])]
}

fn rnn(k: &mut Kitchen<'_, '_>) -> OpResult<Made> {
    let ([s, b, i, h], dtype) = (sizes(k), k.dtype());
    let (x, h0) = (k.floats(dtype, &[s, b, i])?, k.floats(dtype, &[b, h])?);
    let (wi, wh, bias) =
        (k.weight(dtype, &[h, i])?, k.weight(dtype, &[h, h])?, k.weight(dtype, &[h]));
    let bias = k.either(bias)?;
    let op = Rnn {
        direction: k.draw.one(&[Direction::Forward, Direction::Reverse]),
        output_sequence: k.draw.below(2) == 0,
        activation: k.activation(),
    };
    Made::of(op.build_many(k.b, x, h0, wi, wh, bias)?)
}

fn pair(values: Vec<Value>) -> (Value, Value) {
    (values[0], values[1])
}

fn gru(k: &mut Kitchen<'_, '_>) -> OpResult<Made> {
    let ([s, b, i, h], dtype) = (sizes(k), k.dtype());
    let (x, h0) = (k.floats(dtype, &[s, b, i])?, k.floats(dtype, &[b, h])?);
    let (wi, wh) = (k.weight(dtype, &[3 * h, i])?, k.weight(dtype, &[3 * h, h])?);
    let (bias, input_bias) = (k.weight(dtype, &[3 * h]), k.weight(dtype, &[3 * h]));
    let reset_after = k.draw.below(4) == 0;
    let bias = k.either(bias)?;
    let input_bias = if reset_after { k.either(input_bias)? } else { None };
    let op = Gru {
        direction: k.draw.one(&[Direction::Forward, Direction::Reverse]),
        output_sequence: k.draw.below(2) == 0,
        recurrent_activation: k.activation(),
        activation: k.activation(),
        reset_after,
    };
    Made::of(op.build_many(k.b, x, h0, wi, wh, bias, input_bias)?)
}

fn lstm(k: &mut Kitchen<'_, '_>) -> OpResult<Made> {
    let ([s, b, i, h], dtype) = (sizes(k), k.dtype());
    let both = k.draw.below(3) == 0;
    let states = if both { 2 * h } else { h };
    let x = k.floats(dtype, &[s, b, i])?;
    let (h0, c0) = (k.floats(dtype, &[b, states])?, k.floats(dtype, &[b, states])?);
    let weights = [(4 * h, i), (4 * h, h)].map(|(rows, columns)| [rows, columns]);
    let (wi, wh) = (k.weight(dtype, &weights[0])?, k.weight(dtype, &weights[1])?);
    let (bias, peephole) = (k.weight(dtype, &[4 * h]), k.weight(dtype, &[3 * h]));
    let (bias, peephole) = (k.either(bias)?, k.either(peephole)?);
    let mut back = [None; 4];
    if both {
        back = [
            Some(k.weight(dtype, &weights[0])?),
            Some(k.weight(dtype, &weights[1])?),
            bias.map(|_| k.weight(dtype, &[4 * h])).transpose()?,
            peephole.map(|_| k.weight(dtype, &[3 * h])).transpose()?,
        ];
    }
    let op = Lstm {
        direction: match both {
            true => Direction::Bidirectional,
            false => k.draw.one(&[Direction::Forward, Direction::Reverse]),
        },
        output_sequence: k.draw.below(2) == 0,
        recurrent_activation: k.activation(),
        cell_activation: k.activation(),
        activation: k.activation(),
        clip: k.draw.one(&[None, Some(F64(0.5))]),
    };
    let [wi_back, wh_back, bias_back, peephole_back] = back;
    Made::of(op.build_many(
        k.b,
        x,
        h0,
        c0,
        wi,
        wh,
        bias,
        peephole,
        wi_back,
        wh_back,
        bias_back,
        peephole_back,
    )?)
}

fn resample(k: &mut Kitchen<'_, '_>) -> OpResult<Made> {
    let dtype = k.dtype();
    let x = k.floats(dtype, &[1, 2, 3, 4])?;
    let at = k.floats(DType::F32, &[1, 2, 3, 2])?;
    let op = Resample {
        sampling_mode: k.draw.one(&[ResampleMode::Bilinear, ResampleMode::Nearest]),
        padding_mode: k.draw.one(&[
            ResamplePadding::Constant,
            ResamplePadding::Border,
            ResamplePadding::Reflection,
            ResamplePadding::Symmetric,
        ]),
        padding_value: F64(k.draw.float()),
        coordinates_mode: k.draw.one(&[
            CoordinatesMode::Unnormalized,
            CoordinatesMode::NormalizedMinusOneToOne,
            CoordinatesMode::NormalizedZeroToOne,
        ]),
        align_corners: k.draw.below(2) == 0,
    };
    Made::of(vec![op.build(k.b, x, at)?])
}

fn affine(k: &mut Kitchen<'_, '_>) -> OpResult<Made> {
    let dtype = k.dtype();
    let x = k.floats(dtype, &[2, 1, 3, 4])?;
    let batch = k.draw.one(&[1, 2]);
    let matrix = k.floats(dtype, &[batch, 6])?;
    let op = Affine {
        output_height: k.draw.extent(),
        output_width: k.draw.extent(),
        sampling_mode: ResampleMode::Bilinear,
        padding_mode: ResamplePadding::Constant,
        padding_value: F64(0.0),
        coordinates_mode: CoordinatesMode::NormalizedMinusOneToOne,
        align_corners: k.draw.below(2) == 0,
    };
    Made::of(vec![op.build(k.b, x, matrix)?])
}

fn crop_resize(k: &mut Kitchen<'_, '_>) -> OpResult<Made> {
    let dtype = k.dtype();
    let x = k.floats(dtype, &[2, 2, 4, 4])?;
    let is_older = k.draw.below(3) == 0;
    let (mut boxes, mut indices, mut roi) = (None, None, None);
    if is_older {
        roi = Some(k.floats(dtype, &[2, 1, 4, 1, 1])?);
    } else {
        boxes = Some(k.floats(dtype, &[2, 4])?);
        let both = k.b.ints(&[1, 0]);
        indices = k.either(both)?;
    }
    let op = CropResize {
        target_height: k.draw.one(&[1, 2, 3]),
        target_width: k.draw.one(&[1, 2, 3]),
        normalized_coordinates: k.draw.below(2) == 0,
        spatial_scale: F64(k.draw.one(&[1.0, 0.5])),
        box_coordinate_mode: k.draw.one(&[
            BoxCoordinateMode::CornersHeightFirst,
            BoxCoordinateMode::CornersWidthFirst,
            BoxCoordinateMode::CenterSizeHeightFirst,
            BoxCoordinateMode::CenterSizeWidthFirst,
        ]),
        sampling_mode: k.draw.one(&[
            SamplingMode::StrictAlignCorners,
            SamplingMode::AlignCorners,
            SamplingMode::Default,
            SamplingMode::OffsetCorners,
            SamplingMode::UnalignCorners,
        ]),
        pad_value: F64(k.draw.one(&[0.0, 0.5])),
    };
    Made::of(vec![op.build(k.b, x, boxes, indices, roi)?])
}

fn suppression(k: &mut Kitchen<'_, '_>) -> OpResult<Made> {
    let dtype = k.dtype();
    // Constants: boxes that lie near a threshold may fall on either side of it after rounding.
    let boxes = k.numbers(dtype, &[1, 4, 4], |draw| draw.below(8) as f64 + 1.0)?;
    let scores = k.floats(dtype, &[1, 4, 2])?;
    let op = NonMaximumSuppression {
        iou_threshold: F64(k.draw.one(&[0.25, 0.5])),
        score_threshold: k.draw.one(&[None, Some(F64(0.125))]),
        max_boxes: k.draw.one(&[1, 3, 5]),
        per_class_suppression: k.draw.below(2) == 0,
    };
    Made::of(op.build_many(k.b, boxes, scores)?)
}

fn attention(k: &mut Kitchen<'_, '_>) -> OpResult<Made> {
    let dtype = k.dtype();
    let query = k.floats(dtype, &[1, 2, 3, 4])?;
    let key = k.floats(dtype, &[1, 2, 5, 4])?;
    let value = k.floats(dtype, &[1, 2, 5, 3])?;
    let mask = k.floats(dtype, &[3, 5]);
    let mask = k.either(mask)?;
    Made::of(vec![ScaledDotProductAttention {}.build(k.b, query, key, value, mask)?])
}

fn cond(k: &mut Kitchen<'_, '_>) -> OpResult<Made> {
    let (x, level) = (k.floats(DType::F32, &[2, 3])?, k.draw.float());
    let most = ReduceMax { axes: None, keep_dims: false }.build(k.b, x)?;
    let level = k.b.scalar(DType::F32, level)?;
    let test = Greater {}.build(k.b, most, level)?;
    let factor = k.weight(DType::F32, &[3])?;
    let results = Cond::build_with::<OpError>(
        k.b,
        test,
        |b| Ok(vec![Mul {}.build(b, x, factor)?, b.int(1)?]),
        |b| {
            let half = b.scalar(DType::F32, 0.5)?;
            Ok(vec![Sub {}.build(b, x, half)?, b.int(2)?])
        },
    )?;
    Made::of(results)
}

fn while_loop(k: &mut Kitchen<'_, '_>) -> OpResult<Made> {
    let dtype = k.dtype();
    let x = k.floats(dtype, &[2, 3])?;
    let (count, zero) = (k.draw.one(&[0, 1, 3]), k.b.int(0)?);
    let step = k.weight(dtype, &[2, 1])?;
    let results = WhileLoop::build_with::<OpError>(
        k.b,
        vec![zero, x],
        |b, v| {
            let count = b.int(count)?;
            Less {}.build(b, v[0], count)
        },
        |b, v| {
            let one = b.int(1)?;
            let next = Add {}.build(b, v[0], one)?;
            let moved = Add {}.build(b, v[1], step)?;
            Ok(vec![next, Tanh {}.build(b, moved)?])
        },
    )?;
    Made::of(results)
}

fn lists(k: &mut Kitchen<'_, '_>) -> OpResult<Made> {
    let dtype = k.dtype();
    let rows = k.floats(dtype, &[2, 3])?;
    let value = k.floats(dtype, &[3])?;
    let length = k.b.int(2)?;
    let op = MakeList { dynamic_length: k.draw.below(2) == 0, elem_shape: vec![3], dtype };
    let list = op.build(k.b, Some(length))?;
    let (both, one) = (k.b.ints(&[1, 0])?, k.b.int(1)?);
    let list = ListScatter {}.build(k.b, list, both, rows)?;
    let list = ListWrite {}.build(k.b, list, one, value)?;
    Made::of(vec![
        ListRead {}.build(k.b, list, one)?,
        ListLength {}.build(k.b, list)?,
        ListGather {}.build(k.b, list, both)?,
    ])
}

fn states(k: &mut Kitchen<'_, '_>) -> OpResult<Made> {
    let count = k.b.function().params.len();
    let ty = Type::State(TensorType::new(DType::F16, [Dim::Const(2), Dim::Const(3)]));
    let state = k.b.function_mut().add_param(Param::state(format!("s{count}")), ty);
    let x = k.floats(DType::F16, &[2, 3])?;
    let before = ReadState {}.build(k.b, state)?;
    let sum = Add {}.build(k.b, before, x)?;
    let half = k.b.scalar(DType::F16, 0.5)?;
    let kept = Mul {}.build(k.b, sum, half)?;
    WriteState {}.build_many(k.b, state, kept)?;
    let after = ReadState {}.build(k.b, state)?;
    Made::of(vec![sum, after])
}

fn classify(k: &mut Kitchen<'_, '_>) -> OpResult<Made> {
    let scores = k.floats(DType::F32, &[3])?;
    let op = match k.draw.below(2) {
        0 => Classify {
            classes: ["ant", "bee", "cat"].map(str::to_owned).to_vec(),
            class_ids: Vec::new(),
        },
        _ => Classify { classes: Vec::new(), class_ids: vec![4, 0, -2] },
    };
    let outputs = op.build_many(k.b, scores)?;
    Ok(Made { values: Vec::new(), outputs })
}

/// Where a value is not zero: how many places there are, only running tells.
fn non_zero(k: &mut Kitchen<'_, '_>) -> OpResult<Made> {
    let x = k.floats(DType::F32, &[2, 3])?;
    let places = NonZero {}.build(k.b, x)?;
    Ok(Made { values: Vec::new(), outputs: vec![places] })
}

fn affine_dequantize(k: &mut Kitchen<'_, '_>) -> OpResult<Made> {
    let (stored, dtype) = (k.draw.one(&[DType::I8, DType::U8]), k.dtype());
    let data = k.small(stored, &[4, 6])?;
    let shape: &[u64] = if k.draw.below(2) == 0 { &[4] } else { &[] };
    let (zero, scale) = (k.small(stored, shape)?, k.weight(dtype, shape)?);
    Made::of(vec![ConstexprAffineDequantize { axis: 0 }.build(k.b, data, zero, scale)?])
}

fn stored(k: &mut Kitchen<'_, '_>) -> DType {
    k.draw.one(&[DType::I4, DType::U4, DType::I8, DType::U8])
}

fn blockwise(k: &mut Kitchen<'_, '_>) -> OpResult<Made> {
    let (stored, dtype) = (stored(k), k.dtype());
    let blocks = [k.draw.one(&[1, 2, 4]), k.draw.one(&[1, 2, 3, 6])];
    let (data, scale) = (k.small(stored, &[4, 6])?, k.weight(dtype, &blocks)?);
    let offset = k.small(stored, &blocks);
    let offset = k.either(offset)?;
    Made::of(vec![ConstexprBlockwiseShiftScale {}.build(k.b, data, scale, offset)?])
}

fn constexpr_cast(k: &mut Kitchen<'_, '_>) -> OpResult<Made> {
    let x = k.weight(DType::F16, &[4, 6])?;
    Made::of(vec![ConstexprCast { output_dtype: DType::F32 }.build(k.b, x)?])
}

/// An index type and its number of bits.
fn index(k: &mut Kitchen<'_, '_>) -> (DType, u64) {
    k.draw.one(&[
        (DType::U1, 1),
        (DType::U2, 2),
        (DType::U3, 3),
        (DType::U4, 4),
        (DType::U6, 6),
        (DType::U8, 8),
    ])
}

fn lut(k: &mut Kitchen<'_, '_>) -> OpResult<Made> {
    let ((stored, bits), dtype) = (index(k), k.dtype());
    let (groups, vector) = (k.draw.one(&[1, 2, 4]), k.draw.one(&[1, 1, 2]));
    let indices = k.small(stored, &[4, 6])?;
    let table = k.weight(dtype, &[groups, 1, 1 << bits, vector])?;
    let axis = if vector == 1 { k.draw.one(&[None, Some(0), Some(1)]) } else { Some(0) };
    let op = ConstexprLutToDense { vector_axis: axis, shape: None };
    Made::of(vec![op.build(k.b, indices, table)?])
}

/// A mask of 4 by 6, and how many ones it has.
fn mask(k: &mut Kitchen<'_, '_>) -> OpResult<(Value, u64)> {
    let bits: Vec<i64> = (0..24).map(|at| i64::from(at == 0 || k.draw.below(2) == 0)).collect();
    let tensor = Tensor::from_i64s(DType::U1, &[4, 6], &bits);
    let mask = k.b.constant(tensor.map_err(|error| OpError::ty(error.to_string()))?)?;
    Ok((mask, bits.iter().sum::<i64>() as u64))
}

fn dense(k: &mut Kitchen<'_, '_>, parts: Vec<Value>) -> OpResult<Made> {
    let (mask, values) = pair(parts);
    Made::of(vec![ConstexprSparseToDense { shape: None }.build(k.b, values, mask)?])
}

fn sparse(k: &mut Kitchen<'_, '_>) -> OpResult<Made> {
    let (dtype, (mask, count)) = (k.dtype(), mask(k)?);
    let values = k.weight(dtype, &[count])?;
    dense(k, vec![mask, values])
}

fn sparse_lut(k: &mut Kitchen<'_, '_>) -> OpResult<Made> {
    let ((stored, bits), dtype, (mask, count)) = (index(k), k.dtype(), mask(k)?);
    let (indices, table) = (k.small(stored, &[count])?, k.weight(dtype, &[2, 1, 1 << bits, 1])?);
    let op = ConstexprLutToSparse { vector_axis: None };
    let parts = op.build_many(k.b, mask, indices, table)?;
    dense(k, parts)
}

fn sparse_blockwise(k: &mut Kitchen<'_, '_>) -> OpResult<Made> {
    let (stored, dtype, (mask, count)) = (stored(k), k.dtype(), mask(k)?);
    let (data, scale) = (k.small(stored, &[count])?, k.weight(dtype, &[2, 3])?);
    let offset = k.small(stored, &[2, 3]);
    let offset = k.either(offset)?;
    let op = ConstexprSparseBlockwiseShiftScale {};
    let parts = op.build_many(k.b, mask, data, scale, offset)?;
    dense(k, parts)
}
