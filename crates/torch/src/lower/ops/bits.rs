//! Bits of integers, which Core ML has no ops for: by arithmetic, in `i32` as everything it computes
//! with integers.
//!
//! Word: a *digit* is four bits, the place of an element in tables of 16 by 16.

use mlc_ir::Value;
use mlc_ir::ops::{
    Abs, Add, Equal, Exp2, FloorDiv, Gather, Greater, Less, LogicalAnd, LogicalOr, LogicalXor,
    Maximum, Minimum, Mod, Mul, NotEqual, ReduceMax, Select, Sub, WhileLoop,
};
use mlc_tensor::{DType, Tensor};

use crate::lower::Cx;
use crate::lower::call::Call;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::{Operand, Val};

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "aten.bitwise_and", lower: |cx, call| bitwise(cx, call, Logic::And) },
    Lowering { name: "aten.bitwise_or", lower: |cx, call| bitwise(cx, call, Logic::Or) },
    Lowering { name: "aten.bitwise_xor", lower: |cx, call| bitwise(cx, call, Logic::Xor) },
    Lowering { name: "aten.__and__", lower: |cx, call| bitwise(cx, call, Logic::And) },
    Lowering { name: "aten.__or__", lower: |cx, call| bitwise(cx, call, Logic::Or) },
    Lowering { name: "aten.__xor__", lower: |cx, call| bitwise(cx, call, Logic::Xor) },
    Lowering { name: "aten.bitwise_left_shift", lower: |cx, call| shift(cx, call, true) },
    Lowering { name: "aten.bitwise_right_shift", lower: |cx, call| shift(cx, call, false) },
    Lowering { name: "aten.__lshift__", lower: |cx, call| shift(cx, call, true) },
    Lowering { name: "aten.__rshift__", lower: |cx, call| shift(cx, call, false) },
    Lowering { name: "aten.gcd", lower: |cx, call| divisors(cx, call, false) },
    Lowering { name: "aten.lcm", lower: |cx, call| divisors(cx, call, true) },
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Logic {
    And,
    Or,
    Xor,
}

impl Logic {
    fn of(self, a: i64, b: i64) -> i64 {
        match self {
            Self::And => a & b,
            Self::Or => a | b,
            Self::Xor => a ^ b,
        }
    }
}

fn bitwise(cx: &mut Cx<'_>, call: &Call<'_>, logic: Logic) -> LowerResult<Vec<Val>> {
    let (a, b) = (call.operand("self")?, call.operand("other")?);
    let dtype = cx.promoted(&[&a, &b])?;
    if dtype == DType::Bool {
        let (x, y) = (cx.operand(&a, dtype)?, cx.operand(&b, dtype)?);
        let z = match logic {
            Logic::And => cx.binary(LogicalAnd {}, x, y)?,
            Logic::Or => cx.binary(LogicalOr {}, x, y)?,
            Logic::Xor => cx.binary(LogicalXor {}, x, y)?,
        };
        return cx.one(z);
    }
    let Some((low, _)) = dtype.int_range() else {
        return Err(LowerError::dtype(format!("bits of {dtype}")));
    };
    let (x, y) = (cx.operand(&a, DType::I32)?, cx.operand(&b, DType::I32)?);
    for (own, other) in [(x, y), (y, x)] {
        if let Some(mask) = single(cx, other)?
            && let Some(z) = masked(cx, own, mask, logic)?
        {
            // What is broadcast must not lose the shape of the mask.
            let z = if cx.b.tensor(other)?.rank() > cx.b.tensor(own)?.rank() {
                let zero = cx.b.scalar(DType::I32, 0.0)?;
                let zeros = cx.binary(Mul {}, other, zero)?;
                cx.binary(Add {}, z, zeros)?
            } else {
                z
            };
            let z = cx.cast(z, dtype)?;
            return cx.one(z);
        }
    }
    let digits = (dtype.bits() / 4).min(8) as usize;
    let z = by_digits(cx, [x, y], (logic, digits, low < 0))?;
    let z = cx.cast(z, dtype)?;
    cx.one(z)
}

/// The number that a known value holds everywhere.
fn single(cx: &Cx<'_>, x: Value) -> LowerResult<Option<i64>> {
    let Some(tensor) = cx.b.constant_of(x).filter(|tensor| tensor.count() == 1) else {
        return Ok(None);
    };
    Ok(tensor.to_i64s()?.first().copied())
}

/// `x` combined with a mask: what a run of bits holds is a difference of remainders.
fn masked(cx: &mut Cx<'_>, x: Value, mask: i64, logic: Logic) -> LowerResult<Option<Value>> {
    let bits = if mask < 0 { !mask } else { mask };
    if bits >= 1 << 30 {
        return Ok(None);
    }
    let mut held: Option<Value> = None;
    let remainder = |cx: &mut Cx<'_>, bit: u32| -> LowerResult<Value> {
        let power = cx.b.int(1i64 << bit)?;
        cx.binary(Mod {}, x, power)
    };
    let mut bit = 0;
    while bit < 31 {
        if bits >> bit & 1 == 0 {
            bit += 1;
            continue;
        }
        let end = (bit..32).find(|&k| bits >> k & 1 == 0).unwrap_or(31);
        let mut run = remainder(cx, end)?;
        if bit > 0 {
            let below = remainder(cx, bit)?;
            run = cx.binary(Sub {}, run, below)?;
        }
        held = Some(match held {
            Some(sum) => cx.binary(Add {}, sum, run)?,
            None => run,
        });
        bit = end;
    }
    let held = match held {
        Some(held) => held,
        None => cx.b.scalar(DType::I32, 0.0)?,
    };
    let others = cx.binary(Sub {}, x, held)?;
    // `others` are the bits of `x` off `bits`, and `held` those on it.
    let (inside, outside) = if mask < 0 { (others, held) } else { (held, others) };
    let z = match logic {
        Logic::And => inside,
        Logic::Or => {
            let mask = cx.b.int(mask)?;
            cx.binary(Add {}, outside, mask)?
        }
        Logic::Xor => {
            let mask = cx.b.int(mask)?;
            let flipped = cx.binary(Sub {}, mask, inside)?;
            cx.binary(Add {}, outside, flipped)?
        }
    };
    Ok(Some(z))
}

/// Digit by digit from a table; the highest digit of signed integers carries the sign.
fn by_digits(
    cx: &mut Cx<'_>,
    operands: [Value; 2],
    (logic, digits, signed): (Logic, usize, bool),
) -> LowerResult<Value> {
    let entries = |signed: bool| -> Vec<i64> {
        let value = |k: i64| logic.of(k / 16, k % 16);
        (0..256).map(value).map(|v| if signed && v > 7 { v - 16 } else { v }).collect()
    };
    let table = cx.b.constant(Tensor::from_i64s(DType::I32, &[256], &entries(false))?)?;
    let last = cx.b.constant(Tensor::from_i64s(DType::I32, &[256], &entries(signed))?)?;
    let sixteen = cx.b.int(16)?;
    let mut rest = operands;
    let mut sum: Option<Value> = None;
    for digit in 0..digits {
        let low = [cx.binary(Mod {}, rest[0], sixteen)?, cx.binary(Mod {}, rest[1], sixteen)?];
        let row = cx.binary(Mul {}, low[0], sixteen)?;
        let place = cx.binary(Add {}, row, low[1])?;
        let table = if digit + 1 == digits { last } else { table };
        let op = Gather { axis: 0, batch_dims: 0, validate_indices: false };
        let found = op.build(&mut cx.b, table, place)?;
        let weight = cx.b.int(16i64.pow(digit as u32))?;
        let found = cx.binary(Mul {}, found, weight)?;
        sum = Some(match sum {
            Some(sum) => cx.binary(Add {}, sum, found)?,
            None => found,
        });
        if digit + 1 < digits {
            for value in &mut rest {
                *value = cx.binary(FloorDiv {}, *value, sixteen)?;
            }
        }
    }
    sum.ok_or_else(|| LowerError::invalid("integers without bits"))
}

/// `x · 2ⁿ`, without the bits beyond the type, or `⌊x / 2ⁿ⌋`. An `n` outside the width of the type
/// shifts everything out.
fn shift(cx: &mut Cx<'_>, call: &Call<'_>, left: bool) -> LowerResult<Vec<Val>> {
    let (a, b) = (call.operand("self")?, call.operand("other")?);
    let dtype = cx.promoted(&[&a, &b])?;
    let Some((low, high)) = dtype.int_range().filter(|_| dtype != DType::Bool) else {
        return Err(LowerError::dtype(format!("shifted bits of {dtype}")));
    };
    let x = cx.operand(&a, DType::I32)?;
    let width = i64::from(dtype.bits()).min(32);
    let n = cx.operand(&b, DType::I32)?;
    let (zero, most) = (cx.b.int(0)?, cx.b.int(width - 1)?);
    let above = cx.binary(Greater {}, n, most)?;
    let below = cx.binary(Less {}, n, zero)?;
    let outside = cx.binary(LogicalOr {}, above, below)?;
    let y = if left {
        let n = Select {}.build(&mut cx.b, outside, zero, n)?;
        let power = power_of_two(cx, n)?;
        let mut y = cx.binary(Mul {}, x, power)?;
        if width < 32 {
            let span = cx.b.int(1 << width)?;
            let half = cx.b.int(if low < 0 { high + 1 } else { 0 })?;
            y = cx.binary(Add {}, y, half)?;
            y = cx.binary(Mod {}, y, span)?;
            y = cx.binary(Sub {}, y, half)?;
        }
        Select {}.build(&mut cx.b, outside, zero, y)?
    } else {
        let n = Select {}.build(&mut cx.b, outside, most, n)?;
        // 2³¹ is no i32: in two steps.
        let sixteen = cx.b.int(16)?;
        let first = cx.binary(Minimum {}, n, sixteen)?;
        let second = cx.binary(Sub {}, n, first)?;
        let mut y = x;
        for step in [first, second] {
            let power = power_of_two(cx, step)?;
            y = cx.binary(FloorDiv {}, y, power)?;
        }
        y
    };
    let y = cx.cast(y, dtype)?;
    cx.one(y)
}

fn power_of_two(cx: &mut Cx<'_>, n: Value) -> LowerResult<Value> {
    match single(cx, n)? {
        Some(n @ 0..=30) => Ok(cx.b.int(1 << n)?),
        _ => cx.unary(Exp2 {}, n),
    }
}

/// The greatest common divisor, by Euclid's algorithm for all elements at a time, or the least
/// common multiple.
fn divisors(cx: &mut Cx<'_>, call: &Call<'_>, multiple: bool) -> LowerResult<Vec<Val>> {
    let (a, b) = (call.tensor("self")?, call.tensor("other")?);
    let dtype = cx.promoted(&[&Operand::Tensor(a), &Operand::Tensor(b)])?;
    if !dtype.is_int() || dtype == DType::Bool {
        return Err(LowerError::dtype(format!("divisors of {dtype}")));
    }
    let shape = super::view::common_shape(cx, &[a, b])?;
    let (x, y) = (cx.read_as(a, DType::I32)?, cx.read_as(b, DType::I32)?);
    let (x, y) = (cx.unary(Abs {}, x)?, cx.unary(Abs {}, y)?);
    let x = super::indices::widened(cx, x, &shape)?;
    let y = super::indices::widened(cx, y, &shape)?;
    let (zero, one) = (cx.b.int(0)?, cx.b.int(1)?);
    let results = WhileLoop::build_with::<LowerError>(
        &mut cx.b,
        vec![x, y],
        |b, args| {
            let most = ReduceMax { axes: None, keep_dims: false }.build(b, args[1])?;
            Ok(Greater {}.build(b, most, zero)?)
        },
        |b, args| {
            let (x, y) = (args[0], args[1]);
            let done = Equal {}.build(b, y, zero)?;
            let divisor = Maximum {}.build(b, y, one)?;
            let rest = Mod {}.build(b, x, divisor)?;
            let next = Select {}.build(b, done, x, y)?;
            let rest = Select {}.build(b, done, zero, rest)?;
            Ok(vec![next, rest])
        },
    )?;
    let &[divisor, _] = &results[..] else {
        return Err(LowerError::invalid("no results"));
    };
    let z = if multiple {
        let some = cx.binary(NotEqual {}, divisor, zero)?;
        let held = Select {}.build(&mut cx.b, some, divisor, one)?;
        let part = cx.binary(FloorDiv {}, x, held)?;
        cx.binary(Mul {}, part, y)?
    } else {
        divisor
    };
    let z = cx.cast(z, dtype)?;
    cx.one(z)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_hold_the_digits() {
        for (logic, want) in [(Logic::And, 0b1000), (Logic::Or, 0b1110), (Logic::Xor, 0b0110)] {
            assert_eq!(logic.of(0b1100, 0b1010), want);
        }
    }
}
