//! Element types of features, and images: conversions in front of the program and behind it.

use std::collections::BTreeMap;

use mlc_diag::{Diagnostic, Diagnostics, Place, codes};
use mlc_ir::ops::{Add, Cast, ExpandDims, Mul, Squeeze, Transpose};
use mlc_ir::{Builder, Dim, FuncId, Node, ParamKind, Program, Region, TensorType, Type, Value};
use mlc_pass::{Rebuild, Result, Step, rebuild};
use mlc_tensor::{DType, Tensor};

use super::{ImageRequest, InterfaceOptions, Pinned, asked_dtype, image_of};

/// How an image lies in the tensor of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// Channels before rows, with a batch axis.
    Nchw,
    /// Channels last, with a batch axis.
    Nhwc,
    /// Channels before rows.
    Chw,
    /// Channels last.
    Hwc,
    /// Rows and columns alone.
    Hw,
}

impl Layout {
    /// The layout of a tensor with images of `channels` channels.
    fn of(shape: &[Dim], channels: usize) -> Option<Self> {
        let is = |dim: &Dim, n: usize| i64::try_from(n).is_ok_and(|n| dim.is(n));
        match shape {
            [n, c, _, _] if is(n, 1) && is(c, channels) => Some(Self::Nchw),
            [n, _, _, c] if is(n, 1) && is(c, channels) => Some(Self::Nhwc),
            [c, _, _] if is(c, channels) => Some(Self::Chw),
            [_, _, c] if is(c, channels) => Some(Self::Hwc),
            [_, _] if channels == 1 => Some(Self::Hw),
            _ => None,
        }
    }

    /// For each axis of `[1, channels, height, width]`, what stands there of a shape of the model.
    fn image_axes<T: Clone>(self, shape: &[T], one: T) -> Vec<T> {
        match (self, shape) {
            (Self::Nchw, _) => shape.to_vec(),
            (Self::Nhwc, [n, h, w, c]) => vec![n.clone(), c.clone(), h.clone(), w.clone()],
            (Self::Chw, [c, h, w]) => vec![one, c.clone(), h.clone(), w.clone()],
            (Self::Hwc, [h, w, c]) => vec![one, c.clone(), h.clone(), w.clone()],
            (Self::Hw, [h, w]) => vec![one.clone(), one, h.clone(), w.clone()],
            _ => shape.to_vec(),
        }
    }

    /// `[1, channels, height, width]` as the model has it.
    fn unpack(self, b: &mut Builder<'_>, x: Value) -> Result<Value> {
        let turned = match self {
            Self::Nhwc | Self::Hwc => Transpose { perm: vec![0, 2, 3, 1] }.build(b, x)?,
            _ => x,
        };
        Ok(match self {
            Self::Nchw | Self::Nhwc => turned,
            Self::Chw | Self::Hwc => Squeeze { axes: Some(vec![0]) }.build(b, turned)?,
            Self::Hw => Squeeze { axes: Some(vec![0, 1]) }.build(b, turned)?,
        })
    }

    /// What the model has as `[1, channels, height, width]`.
    fn pack(self, b: &mut Builder<'_>, x: Value) -> Result<Value> {
        let whole = match self {
            Self::Nchw | Self::Nhwc => x,
            Self::Chw | Self::Hwc => ExpandDims { axes: vec![0] }.build(b, x)?,
            Self::Hw => ExpandDims { axes: vec![0, 1] }.build(b, x)?,
        };
        Ok(match self {
            Self::Nhwc | Self::Hwc => Transpose { perm: vec![0, 3, 1, 2] }.build(b, whole)?,
            _ => whole,
        })
    }
}

/// What becomes of one feature.
#[derive(Debug, Clone)]
enum Change {
    /// The caller sees another element type.
    Type(DType),
    /// The caller sees an image.
    Image(ImageRequest, Layout),
}

/// Makes the changes to element types and images that `options` ask for.
pub(super) fn change(
    program: &mut Program,
    func: FuncId,
    options: &InterfaceOptions,
    found: &mut Diagnostics,
) -> std::result::Result<Pinned, Diagnostics> {
    let function = &program.functions[func];
    let body = &function.regions[function.body];
    let mut hooks = Convert::default();
    let mut pinned = Pinned::default();
    for (at, (param, &arg)) in function.params.iter().zip(&body.args).enumerate() {
        let flag = format!("--input {}", param.name);
        if let Some(change) = wanted(options, (&flag, &param.name), function.ty(arg), found) {
            if param.kind == ParamKind::State {
                let message =
                    format!("`{}` is a state, which is no array of the caller", param.name);
                let place = Place::Argument(flag.as_str().into());
                found.push(Diagnostic::new(codes::UNSUPPORTED_SIGNATURE, message).at(place));
                continue;
            }
            if let Change::Type(dtype) = change {
                pinned.inputs.insert(at, dtype);
            }
            hooks.inputs.insert(at, change);
        }
    }
    for (at, (output, &value)) in function.outputs.iter().zip(&body.results).enumerate() {
        let flag = format!("--output {}", output.name);
        if let Some(change) = wanted(options, (&flag, &output.name), function.ty(value), found) {
            if let Change::Type(dtype) = change {
                pinned.outputs.insert(at, dtype);
            }
            hooks.outputs.insert(at, change);
        }
    }
    if found.has_errors() {
        return Err(std::mem::take(found));
    }
    if !hooks.inputs.is_empty() || !hooks.outputs.is_empty() {
        let layouts = hooks.inputs.clone();
        rebuild(program, func, "interface", &mut hooks).map_err(|error| error.0)?;
        for (at, change) in layouts {
            if let Change::Image(_, layout) = change {
                let param = &mut program.functions[func].params[at];
                let shapes = param.default_shape.iter_mut().chain(&mut param.enumerated);
                shapes.for_each(|shape| *shape = layout.image_axes(shape, 1));
            }
        }
    }
    Ok(pinned)
}

/// The change that is asked for a feature.
fn wanted(
    options: &InterfaceOptions,
    (flag, name): (&str, &str),
    ty: &Type,
    found: &mut Diagnostics,
) -> Option<Change> {
    let tensor = ty.as_tensor();
    if let Some(image) = image_of(options, name) {
        return image_change(image, (name, ty, asked_dtype(options, name)), found);
    }
    let dtype = asked_dtype(options, name)?;
    match tensor {
        Some(_) => Some(Change::Type(dtype)),
        None => {
            let message = format!("`{name}` is {ty}, whose element type cannot be chosen");
            let place = Place::Argument(flag.into());
            found.push(Diagnostic::new(codes::UNSUPPORTED_SIGNATURE, message).at(place));
            None
        }
    }
}

fn image_change(
    image: ImageRequest,
    (name, ty, asked): (&str, &Type, Option<DType>),
    found: &mut Diagnostics,
) -> Option<Change> {
    let place = || Place::Argument(format!("--image {name}").into());
    let channels = image.channels.count();
    if let Some(asked) = asked.filter(|&asked| asked != DType::F16 || channels != 1) {
        let message = format!("image `{name}` cannot be {asked}");
        let note = "pixels of colour are bytes; a grey image may have f16 values";
        found.push(Diagnostic::new(codes::UNSUPPORTED_DTYPE, message).at(place()).note(note));
        return None;
    }
    let layout = ty.as_tensor().and_then(|ty| Layout::of(&ty.shape, channels));
    let Some(layout) = layout else {
        let message = format!("`{name}` is {ty}, which is no image of {channels} channels");
        found.push(Diagnostic::new(codes::UNSUPPORTED_SIGNATURE, message).at(place()).note(
            format!(
                "an image is 1x{channels}xHxW or 1xHxWx{channels}; its batch axis may be left out"
            ),
        ));
        return None;
    };
    let plain = image.arithmetic().iter().all(|&(factor, summand)| factor == 1.0 && summand == 0.0);
    let integer = ty.as_tensor().is_some_and(|ty| !ty.dtype.is_float());
    if integer && !plain {
        let message = format!("`{name}` is {ty}: pixels that are scaled are no integers");
        let help = "leave `scale`, `mean` and `std` out";
        found.push(Diagnostic::new(codes::UNSUPPORTED_ARGUMENT, message).at(place()).help(help));
        return None;
    }
    Some(Change::Image(image, layout))
}

#[derive(Default)]
struct Convert {
    inputs: BTreeMap<usize, Change>,
    outputs: BTreeMap<usize, Change>,
}

fn cast(b: &mut Builder<'_>, x: Value, dtype: DType) -> Result<Value> {
    if b.tensor(x)?.dtype == dtype {
        return Ok(x);
    }
    Ok(Cast { dtype }.build(b, x)?)
}

/// The type of pixels in the program.
fn pixel(image: &ImageRequest) -> DType {
    if image.half { DType::F16 } else { DType::F32 }
}

/// `x · factor + summand` by channel, in the second of four axes.
fn arithmetic(b: &mut Builder<'_>, x: Value, image: &ImageRequest) -> Result<Value> {
    let dtype = b.tensor(x)?.dtype;
    let (factors, summands): (Vec<f64>, Vec<f64>) = image.arithmetic().into_iter().unzip();
    let mut y = x;
    if factors.iter().any(|&factor| factor != 1.0) {
        let factor = by_channel(b, dtype, &factors)?;
        y = Mul {}.build(b, y, factor)?;
    }
    if summands.iter().any(|&summand| summand != 0.0) {
        let summand = by_channel(b, dtype, &summands)?;
        y = Add {}.build(b, y, summand)?;
    }
    Ok(y)
}

fn by_channel(b: &mut Builder<'_>, dtype: DType, values: &[f64]) -> Result<Value> {
    let shape: &[u64] = if values.windows(2).all(|pair| pair[0] == pair[1]) {
        return Ok(b.scalar(dtype, values[0])?);
    } else {
        &[1, values.len() as u64, 1, 1]
    };
    let tensor = Tensor::from_f64s(dtype, shape, values)?;
    Ok(b.constant(tensor)?)
}

impl Rebuild for Convert {
    fn enter(&mut self, b: &mut Builder<'_>, region: Region, index: usize) -> Result<Value> {
        let arg = b.function().regions[region].args[index];
        if region != b.function().body {
            return Ok(arg);
        }
        let Some(change) = self.inputs.get(&index) else { return Ok(arg) };
        let inner = b.tensor(arg)?.clone();
        match change {
            Change::Type(dtype) => {
                b.function_mut().values[arg].ty = inner.with_dtype(*dtype).into();
                cast(b, arg, inner.dtype)
            }
            Change::Image(image, layout) => {
                let shape = layout.image_axes(&inner.shape, Dim::Const(1));
                let outer = TensorType::new(pixel(image), shape);
                b.function_mut().values[arg].ty = outer.into();
                let ready = arithmetic(b, arg, image)?;
                let ready = layout.unpack(b, ready)?;
                cast(b, ready, inner.dtype)
            }
        }
    }

    fn node(&mut self, _: &mut Builder<'_>, _: Node) -> Result<Step> {
        Ok(Step::Keep)
    }

    fn leave(&mut self, b: &mut Builder<'_>, region: Region, results: &mut [Value]) -> Result<()> {
        if region != b.function().body {
            return Ok(());
        }
        for (&at, change) in &self.outputs {
            results[at] = match change {
                Change::Type(dtype) => cast(b, results[at], *dtype)?,
                Change::Image(image, layout) => {
                    let wide = cast(b, results[at], DType::F32)?;
                    let whole = layout.pack(b, wide)?;
                    let ready = arithmetic(b, whole, image)?;
                    cast(b, ready, pixel(image))?
                }
            };
        }
        Ok(())
    }
}
