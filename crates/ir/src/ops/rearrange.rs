//! Moving elements between channels, batch and space.

use crate::dim::Dim;
use crate::infer::{InferCx, Inferred, OpError, OpResult};
use crate::types::TensorType;

op! {
    /// `y[n, c, h·f + i, w·f + j] = x[n, c·f² + i·f + j, h, w]` with `f = upscale_factor`.
    "pixel_shuffle" = PixelShuffle(x: One) { upscale_factor: i64 }
        + Pure + View => infer_pixel_shuffle;

    /// `y[n, c·f² + i·f + j, h, w] = x[n, c, h·f + i, w·f + j]` with `f = downscale_factor`.
    "pixel_unshuffle" = PixelUnshuffle(x: One) { downscale_factor: i64 }
        + Pure + View => infer_pixel_unshuffle;

    /// `y[n, c, h·b + i, w·b + j] = x[n, (i·b + j)·C/b² + c, h, w]` with `b = block_size`.
    "depth_to_space" = DepthToSpace(x: One) { block_size: i64 }
        + Pure + View => infer_depth_to_space;

    /// `y[n, (i·b + j)·C + c, h, w] = x[n, c, h·b + i, w·b + j]` with `b = block_size`.
    "space_to_depth" = SpaceToDepth(x: One) { block_size: i64 }
        + Pure + View => infer_space_to_depth;

    /// `x`, `[N, C, H, W]`, is padded with zeros by `paddings`, `[[top, bottom], [left, right]]` flat,
    /// then `y[(i·q + j)·N + n, c, h, w] = x[n, c, h·p + i, w·q + j]` with `[p, q] = block_shape`.
    "space_to_batch" = SpaceToBatch(x: One) { block_shape: Vec<i64>, paddings: Vec<i64> }
        + Pure => infer_space_to_batch;

    /// `y[n, c, h·p + i, w·q + j] = x[(i·q + j)·N/(p·q) + n, c, h, w]` with `[p, q] = block_shape`, of
    /// which `crops`, `[[top, bottom], [left, right]]` flat, is cut off.
    "batch_to_space" = BatchToSpace(x: One) { block_shape: Vec<i64>, crops: Vec<i64> }
        + Pure => infer_batch_to_space;
}

fn image<'a>(cx: &InferCx<'a>) -> OpResult<&'a TensorType> {
    let x = cx.tensor("x")?;
    if x.rank() != 4 {
        return Err(OpError::shape(format!("`x` is {x}, a rank of 4 is needed")));
    }
    Ok(x)
}

/// `extent / by`.
fn divided(x: &TensorType, axis: usize, by: &Dim) -> OpResult<Dim> {
    exact(&x.shape[axis], by).ok_or_else(|| {
        OpError::shape(format!("axis {axis} of `x` ({x}) is not a multiple of {by}"))
    })
}

/// `extent / by`, unless a number shows that there is a rest.
fn exact(extent: &Dim, by: &Dim) -> Option<Dim> {
    match extent.modulo(by) {
        Dim::Const(rest) if rest != 0 => None,
        _ => Some(extent.floor_div(by)),
    }
}

fn factor(name: &str, factor: i64) -> OpResult<(Dim, Dim)> {
    if !(1..=65536).contains(&factor) {
        return Err(OpError::attr(format!("`{name}` is {factor}, from 1 to 65536 is possible")));
    }
    Ok((Dim::Const(factor), Dim::Const(factor * factor)))
}

fn to_space(cx: &InferCx<'_>, (block, area): (Dim, Dim)) -> OpResult<Inferred> {
    let x = image(cx)?;
    let channels = divided(x, 1, &area)?;
    let shape = [x.shape[0].clone(), channels, x.shape[2].mul(&block), x.shape[3].mul(&block)];
    Ok(Inferred::tensor(x.dtype, shape))
}

fn from_space(cx: &InferCx<'_>, (block, area): (Dim, Dim)) -> OpResult<Inferred> {
    let x = image(cx)?;
    let (height, width) = (divided(x, 2, &block)?, divided(x, 3, &block)?);
    let shape = [x.shape[0].clone(), x.shape[1].mul(&area), height, width];
    Ok(Inferred::tensor(x.dtype, shape))
}

fn infer_pixel_shuffle(op: &PixelShuffle, cx: &InferCx<'_>) -> OpResult<Inferred> {
    to_space(cx, factor("upscale_factor", op.upscale_factor)?)
}

fn infer_pixel_unshuffle(op: &PixelUnshuffle, cx: &InferCx<'_>) -> OpResult<Inferred> {
    from_space(cx, factor("downscale_factor", op.downscale_factor)?)
}

fn infer_depth_to_space(op: &DepthToSpace, cx: &InferCx<'_>) -> OpResult<Inferred> {
    to_space(cx, factor("block_size", op.block_size)?)
}

fn infer_space_to_depth(op: &SpaceToDepth, cx: &InferCx<'_>) -> OpResult<Inferred> {
    from_space(cx, factor("block_size", op.block_size)?)
}

/// Block extents and the (before, after) of both spatial axes.
fn blocks(block: &[i64], (name, edges): (&str, &[i64])) -> OpResult<([Dim; 2], [[Dim; 2]; 2])> {
    let &[p, q] = block else {
        return Err(OpError::attr(format!("`block_shape` is {block:?}, 2 numbers are needed")));
    };
    if ![p, q].iter().all(|b| (1..=65536).contains(b)) {
        let message = format!("`block_shape` is {block:?}, from 1 to 65536 is possible");
        return Err(OpError::attr(message));
    }
    let &[top, bottom, left, right] = edges else {
        return Err(OpError::attr(format!("`{name}` is {edges:?}, 4 numbers are needed")));
    };
    if edges.iter().any(|&e| e < 0) {
        return Err(OpError::attr(format!("`{name}` is {edges:?}, none may be below 0")));
    }
    let edges = [[top, bottom], [left, right]].map(|pair| pair.map(Dim::Const));
    Ok(([Dim::Const(p), Dim::Const(q)], edges))
}

fn infer_space_to_batch(op: &SpaceToBatch, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let x = image(cx)?;
    let (block, edges) = blocks(&op.block_shape, ("paddings", &op.paddings))?;
    let batch = x.shape[0].mul(&block[0]).mul(&block[1]);
    let mut shape = vec![batch, x.shape[1].clone()];
    for (i, (block, [before, after])) in block.iter().zip(&edges).enumerate() {
        let padded = x.shape[2 + i].add(before).add(after);
        shape.push(exact(&padded, block).ok_or_else(|| {
            let axis = 2 + i;
            let message = format!("padded axis {axis} ({padded}) of {x} is no multiple of {block}");
            OpError::shape(message)
        })?);
    }
    Ok(Inferred::tensor(x.dtype, shape))
}

fn infer_batch_to_space(op: &BatchToSpace, cx: &InferCx<'_>) -> OpResult<Inferred> {
    let x = image(cx)?;
    let (block, edges) = blocks(&op.block_shape, ("crops", &op.crops))?;
    let mut shape = vec![divided(x, 0, &block[0].mul(&block[1]))?, x.shape[1].clone()];
    for (i, (block, [before, after])) in block.iter().zip(&edges).enumerate() {
        let whole = x.shape[2 + i].mul(block);
        let extent = whole.sub(before).sub(after);
        if extent.as_const().is_some_and(|n| n < 0) {
            let message = format!("`crops` {:?} leave nothing of {whole}", op.crops);
            return Err(OpError::shape(message));
        }
        shape.push(extent);
    }
    Ok(Inferred::tensor(x.dtype, shape))
}

#[cfg(test)]
mod tests {
    use mlc_tensor::DType;

    use super::*;
    use crate::builder::Builder;
    use crate::program::{FuncId, Function, Param, Program, Value};
    use crate::types::Type;

    fn start(shape: Vec<Dim>) -> (Program, FuncId, Value) {
        let mut program = Program::new();
        let mut function = Function::new("main");
        let x = function.add_param(Param::input("x"), Type::tensor(DType::F32, shape));
        let func = program.functions.push(function);
        (program, func, x)
    }

    #[test]
    fn shuffling_there_and_back() {
        let (n, h) = (Dim::symbol("n"), Dim::symbol("h"));
        let shape = vec![n, 18.into(), h.clone(), 5.into()];
        let (mut program, func, x) = start(shape.clone());
        let mut b = Builder::new(&mut program, func);
        let y = PixelShuffle { upscale_factor: 3 }.build(&mut b, x).unwrap();
        assert_eq!(b.tensor(y).unwrap().shape[1..], [2.into(), h.mul(&3.into()), 15.into()]);
        let z = PixelUnshuffle { downscale_factor: 3 }.build(&mut b, y).unwrap();
        assert_eq!(b.tensor(z).unwrap().shape, shape);
        let error = DepthToSpace { block_size: 4 }.build(&mut b, x).unwrap_err();
        assert!(error.message.contains("multiple of 16"), "{error}");
        assert!(SpaceToDepth { block_size: 0 }.build(&mut b, x).is_err());
    }

    #[test]
    fn batches_there_and_back() {
        let h = Dim::symbol("h");
        let shape = vec![2.into(), 3.into(), h.mul(&2.into()), 4.into()];
        let (mut program, func, x) = start(shape.clone());
        let mut b = Builder::new(&mut program, func);
        let to = SpaceToBatch { block_shape: vec![2, 3], paddings: vec![1, 1, 0, 2] };
        let y = to.build(&mut b, x).unwrap();
        let rows = h.add(&1.into());
        assert_eq!(b.tensor(y).unwrap().shape, [12.into(), 3.into(), rows, 2.into()]);
        let back = BatchToSpace { block_shape: vec![2, 3], crops: vec![1, 1, 0, 2] };
        let z = back.build(&mut b, y).unwrap();
        assert_eq!(b.tensor(z).unwrap().shape, shape);
        let to = SpaceToBatch { block_shape: vec![2, 3], paddings: vec![0; 4] };
        assert!(to.build(&mut b, x).unwrap_err().message.contains("axis 3"));
    }
}
