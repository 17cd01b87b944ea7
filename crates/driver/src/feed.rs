//! Inputs to run a function with: from files, from text, or made from a seed.

use std::fs;
use std::path::Path;

use mlc_diag::{Diagnostic, Diagnostics, Place, codes};
use mlc_eval::Array;
use mlc_ir::{Function, ParamKind, Program, TensorType};
use mlc_tensor::{DType, DTypeKind, Tensor};

use crate::sizes::Sizes;

/// What one input gets.
#[derive(Debug, Clone, PartialEq)]
pub enum Feed {
    /// Values from a seed: normal for floats, small integers, coin flips.
    Random(u64),
    /// Zeros.
    Zeros,
    /// Ones.
    Ones,
    /// This number everywhere.
    Fill(f64),
    /// Whole numbers from 0 to 255, from a seed.
    Pixels(u64),
    /// These values.
    Array(FeedArray),
}

/// Values of an input.
#[derive(Debug, Clone)]
pub struct FeedArray(pub Array);

impl PartialEq for FeedArray {
    fn eq(&self, other: &Self) -> bool {
        self.0.shape() == other.0.shape() && self.0.to_f64s().ok() == other.0.to_f64s().ok()
    }
}

fn bad(argument: &str, message: impl Into<String>) -> Diagnostic {
    Diagnostic::new(codes::BAD_ARGUMENT, message).at(Place::Argument(argument.into()))
}

/// Parses the right side of `--in NAME=…`: `@file.npy`, `@file.png`, `@file.safetensors:KEY`,
/// `rand:SEED`, `zeros`, `ones`, or numbers separated by commas.
///
/// # Errors
/// The text is none of these, or the file cannot be read.
pub fn parse(name: &str, text: &str) -> Result<Feed, Diagnostics> {
    if let Some(seed) = text.strip_prefix("rand") {
        let seed = match seed.strip_prefix(':') {
            Some(digits) => {
                digits.parse().map_err(|_| bad(name, format!("`{digits}` is no seed")))?
            }
            None if seed.is_empty() => 0,
            None => return Err(bad(name, format!("`{text}` is no way to make an input")).into()),
        };
        return Ok(Feed::Random(seed));
    }
    match text {
        "zeros" => return Ok(Feed::Zeros),
        "ones" => return Ok(Feed::Ones),
        _ => {}
    }
    if let Some(file) = text.strip_prefix('@') {
        return Ok(Feed::Array(FeedArray(read_file(name, file)?)));
    }
    let numbers = text
        .split(',')
        .map(|item| item.trim().parse::<f64>())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| {
            bad(name, format!("`{text}` is no way to make an input"))
                .help("use @FILE.npy, @FILE.png, @FILE.safetensors:KEY, rand:SEED, zeros, ones, or numbers separated by commas")
        })?;
    let array = Array::from_f64s(DType::F64, &[numbers.len()], numbers)
        .map_err(|e| bad(name, e.to_string()))?;
    Ok(Feed::Array(FeedArray(array)))
}

fn read_file(name: &str, file: &str) -> Result<Array, Diagnostics> {
    let (path, key) = match file.split_once(".safetensors:") {
        Some((stem, key)) => (format!("{stem}.safetensors"), Some(key)),
        None => (file.to_owned(), None),
    };
    let path = Path::new(&path);
    let read = |path: &Path| {
        fs::read(path).map_err(|e| {
            let message = format!("cannot be read: {e}");
            Diagnostics::from(crate::input::file_problem(codes::FILE_NOT_FOUND, path, message))
        })
    };
    let wrong = |message: String| crate::input::file_problem(codes::UNKNOWN_FORMAT, path, message);
    match path.extension().and_then(|e| e.to_str()) {
        Some("npy") => Ok(crate::npy::read(&read(path)?).map_err(wrong)?),
        Some("png") => Ok(crate::image::read_png(&read(path)?).map_err(wrong)?),
        Some("safetensors") => {
            let all = read_safetensors(path)?;
            match key {
                Some(key) => all
                    .into_iter()
                    .find(|(name, _)| name == key)
                    .map(|(_, array)| array)
                    .ok_or_else(|| wrong(format!("there is no tensor `{key}`")).into()),
                None => match <[_; 1]>::try_from(all) {
                    Ok([(_, array)]) => Ok(array),
                    Err(all) => Err(bad(name, format!("the file has {} tensors", all.len()))
                        .help("name one: @FILE.safetensors:KEY")
                        .into()),
                },
            }
        }
        _ => Err(bad(name, format!("`{file}` is no .npy, .png or .safetensors file")).into()),
    }
}

/// All tensors of a safetensors file, by name, in order of name.
///
/// # Errors
/// The file cannot be read or has an element type that cannot be evaluated.
pub fn read_safetensors(path: &Path) -> Result<Vec<(String, Array)>, Diagnostics> {
    let wrong = |message: String| crate::input::file_problem(codes::UNKNOWN_FORMAT, path, message);
    let bytes = fs::read(path).map_err(|e| {
        crate::input::file_problem(codes::FILE_NOT_FOUND, path, format!("cannot be read: {e}"))
    })?;
    let tensors =
        safetensors::SafeTensors::deserialize(&bytes).map_err(|e| wrong(e.to_string()))?;
    let mut all = Vec::new();
    for (name, view) in tensors.tensors() {
        let Some(dtype) = from_safetensors(view.dtype()) else { continue };
        let shape: Vec<u64> = view.shape().iter().map(|&d| d as u64).collect();
        let tensor =
            Tensor::from_bytes(dtype, &shape, view.data()).map_err(|e| wrong(e.to_string()))?;
        all.push((name, Array::from_tensor(&tensor).map_err(|e| wrong(e.to_string()))?));
    }
    all.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(all)
}

fn from_safetensors(dtype: safetensors::Dtype) -> Option<DType> {
    use safetensors::Dtype as S;
    Some(match dtype {
        S::BOOL => DType::Bool,
        S::U8 => DType::U8,
        S::I8 => DType::I8,
        S::U16 => DType::U16,
        S::I16 => DType::I16,
        S::U32 => DType::U32,
        S::I32 => DType::I32,
        S::U64 => DType::U64,
        S::I64 => DType::I64,
        S::F16 => DType::F16,
        S::BF16 => DType::Bf16,
        S::F32 => DType::F32,
        S::F64 => DType::F64,
        _ => return None,
    })
}

/// What the inputs of a function get.
#[derive(Debug)]
pub(crate) struct Feeds<'a> {
    /// By name.
    pub(crate) named: &'a [(String, Feed)],
    /// All others.
    pub(crate) default: &'a Feed,
    /// The extents to use.
    pub(crate) sizes: &'a Sizes,
}

/// The inputs of `function`, in order.
///
/// # Errors
/// A name that is no input, or values that do not fit it.
pub(crate) fn inputs(
    program: &Program,
    function: &Function,
    plan: &Feeds<'_>,
) -> Result<Vec<Array>, Diagnostics> {
    let Feeds { named: feeds, default, sizes } = *plan;
    let sizes = sizes.complete(function);
    let mut found = Diagnostics::new();
    let names: Vec<&str> = function
        .params
        .iter()
        .filter(|p| p.kind == ParamKind::Input)
        .map(|p| p.name.as_str())
        .collect();
    for (name, _) in feeds {
        if !names.contains(&name.as_str()) {
            let near = mlc_diag::nearest(name, names.iter().copied());
            let help = match near.first() {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("inputs are {}", names.join(", ")),
            };
            found.push(bad(name, format!("there is no input `{name}`")).help(help));
        }
    }
    let mut arrays = Vec::new();
    let args = &function.regions[function.body].args;
    for (index, (param, &arg)) in function.params.iter().zip(args).enumerate() {
        if param.kind != ParamKind::Input {
            continue;
        }
        let Some(ty) = function.ty(arg).as_tensor() else {
            found.push(bad(&param.name, format!("input `{}` is no tensor", param.name)));
            continue;
        };
        let feed = feeds.iter().rfind(|(name, _)| *name == param.name).map_or(default, |f| &f.1);
        let shape = sizes.shape(program, param, ty);
        if elements(&shape).is_none() {
            let message = format!("input `{}` is {ty}, too large to run", param.name);
            let argument = Place::Argument(param.name.as_str().into());
            found.push(Diagnostic::new(codes::RESOURCE_LIMIT, message).at(argument));
            continue;
        }
        match make(feed, ty, &shape, index as u64) {
            Ok(array) => arrays.push(array),
            Err(message) => found.push(bad(&param.name, message)),
        }
    }
    if found.has_errors() { Err(found) } else { Ok(arrays) }
}

/// Most elements of an input: they are made as 8-byte numbers.
const MOST_ELEMENTS: usize = 1 << 28;

/// How many elements there are, if that is no more than [`MOST_ELEMENTS`].
fn elements(shape: &[usize]) -> Option<usize> {
    let count = shape.iter().try_fold(1usize, |count, &extent| count.checked_mul(extent))?;
    (count <= MOST_ELEMENTS).then_some(count)
}

fn make(feed: &Feed, ty: &TensorType, shape: &[usize], index: u64) -> Result<Array, String> {
    let text = |e: mlc_eval::EvalError| e.to_string();
    match feed {
        Feed::Array(FeedArray(array)) => {
            let same_rank = array.rank() == ty.rank();
            let array = if same_rank {
                array.clone()
            } else if array.count() == shape.iter().product::<usize>() {
                array.reshape(shape).map_err(text)?
            } else {
                return Err(format!("values of shape {:?} do not fit {ty}", array.shape()));
            };
            array.cast(ty.dtype).map_err(text)
        }
        Feed::Zeros => constant(ty.dtype, shape, 0.0),
        Feed::Ones => constant(ty.dtype, shape, 1.0),
        Feed::Fill(value) => constant(ty.dtype, shape, *value),
        Feed::Pixels(seed) => pixels(ty.dtype, shape, seed.wrapping_add(index)),
        Feed::Random(seed) => random(ty.dtype, shape, seed.wrapping_add(index)),
    }
}

fn constant(dtype: DType, shape: &[usize], value: f64) -> Result<Array, String> {
    let count = shape.iter().product();
    match dtype.kind() {
        DTypeKind::Float => Array::from_f64s(dtype, shape, vec![value; count]),
        _ => Array::from_i64s(dtype, shape, vec![value as i64; count]),
    }
    .map_err(|e| e.to_string())
}

fn pixels(dtype: DType, shape: &[usize], seed: u64) -> Result<Array, String> {
    let count: usize = shape.iter().product();
    let uniform = Tensor::random(DType::F64, &[count as u64], seed, 1.0).and_then(|t| t.to_f64s());
    let uniform = uniform.map_err(|e| e.to_string())?;
    let values = uniform.iter().map(|x| (f64::midpoint(*x, 1.0) * 256.0).floor().min(255.0));
    match dtype.kind() {
        DTypeKind::Float => Array::from_f64s(dtype, shape, values.collect()),
        _ => Array::from_i64s(dtype, shape, values.map(|x| x as i64).collect()),
    }
    .map_err(|e| e.to_string())
}

/// Normal floats, integers in 0..8, coin flips: from the seed and the position alone.
fn random(dtype: DType, shape: &[usize], seed: u64) -> Result<Array, String> {
    let count: usize = shape.iter().product();
    let extents = [2 * count as u64];
    let uniform = Tensor::random(DType::F64, &extents, seed, 1.0).and_then(|t| t.to_f64s());
    let uniform = uniform.map_err(|e| e.to_string())?;
    let unit = |i: usize| f64::midpoint(uniform[i], 1.0);
    match dtype.kind() {
        DTypeKind::Float => {
            // Box–Muller transform of two uniform numbers.
            let normal = |i: usize| {
                let radius = (-2.0 * (1.0 - unit(2 * i)).ln()).sqrt();
                radius * (std::f64::consts::TAU * unit(2 * i + 1)).cos()
            };
            Array::from_f64s(dtype, shape, (0..count).map(normal).collect())
        }
        DTypeKind::Bool => Array::from_bools(shape, (0..count).map(|i| unit(i) < 0.5).collect()),
        _ => Array::from_i64s(dtype, shape, (0..count).map(|i| (unit(i) * 8.0) as i64).collect()),
    }
    .map_err(|e| e.to_string())
}
