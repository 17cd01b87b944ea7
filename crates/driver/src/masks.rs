//! Which inputs of integers are masks.

use std::collections::{BTreeMap, BTreeSet};

use mlc_ir::{Function, Value};

/// For each argument of the body, whether it holds integers that decide something, such as which
/// positions count, and are neither indices nor part of a result: they are compared, or become floats
/// or truth values.
pub(crate) fn masks(function: &Function) -> Vec<bool> {
    let args = &function.regions[function.body].args;
    let is_int = |value: Value| function.ty(value).as_tensor().is_some_and(|t| t.dtype.is_int());
    let mut from: BTreeMap<Value, BTreeSet<usize>> = args
        .iter()
        .enumerate()
        .filter(|&(_, &arg)| is_int(arg))
        .map(|(at, &arg)| (arg, BTreeSet::from([at])))
        .collect();
    let (mut decides, mut other) = (BTreeSet::<usize>::new(), BTreeSet::<usize>::new());
    function.for_each_node(&mut |_, node| {
        let data = &function.nodes[node];
        let mut sources = BTreeSet::new();
        for slot in 0..data.operands.slots() {
            let name = data.op.spec().operands.get(slot).map_or("", |operand| operand.name);
            for value in data.operands.slot(slot) {
                let Some(found) = from.get(value) else { continue };
                let uses = if name == "indices" { &mut other } else { &mut sources };
                uses.extend(found);
            }
        }
        if sources.is_empty() {
            return;
        }
        for &result in &data.results {
            if is_int(result) {
                from.entry(result).or_default().extend(&sources);
            } else {
                decides.extend(&sources);
            }
        }
    });
    for result in &function.regions[function.body].results {
        other.extend(from.get(result).into_iter().flatten());
    }
    (0..args.len()).map(|at| decides.contains(&at) && !other.contains(&at)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_and_results_are_no_masks() {
        let text = "
func @main(%m: tensor<4xi64>, %i: tensor<4xi64>, %k: tensor<4xi64>, %x: tensor<9xf32>)
    -> (y: tensor<4xf32>, z: tensor<4xi64>) {
  %1 = cast %m {dtype = f32}
  %2 = add %i, 1
  %3 = gather %x, %2
  %4 = cast %i {dtype = f32}
  %5 = mul %1, %3
  %y = add %5, %4
  %6 = less %k, 3
  %z = add %k, 1
  return %y, %z
}";
        let options = mlc_text::ParseOptions::default();
        let program = mlc_text::parse("text", text, &options).expect("a program").program;
        let func = program.function("main").expect("a function");
        assert_eq!(masks(&program.functions[func]), [true, false, false, false]);
    }
}
