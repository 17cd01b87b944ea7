//! Integers that only mean "as far as it goes".

use mlc_ir::{Function, Op, Trait, Uses, Value};

/// Whether nothing that uses the constant `value` tells its element `number`, which is beyond i32, from
/// the nearest i32: bounds of slices, which are cut off at the extent, and bounds that no i32 reaches.
pub(crate) fn saturates(function: &Function, uses: &Uses, value: Value, number: i64) -> bool {
    let mut work = vec![value];
    let mut seen = 0;
    while let Some(value) = work.pop() {
        seen += 1;
        if seen > 64 || uses.yields(value) > 0 {
            return false;
        }
        for &user in uses.users(value) {
            let data = &function.nodes[user];
            let moves = matches!(data.op, Op::Concat(_) | Op::Stack(_) | Op::Cast(_))
                || data.op.spec().traits.has(Trait::View);
            let fine = match &data.op {
                Op::SliceByIndex(_) => !data.operands.slot(0).contains(&value),
                Op::Minimum(_) => number > 0,
                Op::Maximum(_) => number < 0,
                _ => moves && data.operands.slot(0).contains(&value),
            };
            if !fine {
                return false;
            }
            if moves {
                work.extend(&data.results);
            }
        }
    }
    true
}
