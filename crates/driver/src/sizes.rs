//! Which extents a program of flexible shapes is run with.

use std::collections::{BTreeMap, BTreeSet};

use mlc_ir::{Dim, Function, Param, ParamKind, Program, TensorType};

/// Numbers for the symbols of inputs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sizes {
    /// By symbol; one without a number has its default, or its least value.
    pub(crate) symbols: BTreeMap<String, i64>,
    /// Which of the shapes that inputs list.
    pub(crate) row: Option<usize>,
}

/// The symbols in the inputs of `function`.
fn symbols(function: &Function) -> BTreeSet<String> {
    let args = &function.regions[function.body].args;
    let mut names = BTreeSet::new();
    for (param, &arg) in function.params.iter().zip(args) {
        if param.kind == ParamKind::Input {
            function.ty(arg).for_each_dim(&mut |dim| {
                dim.for_each_symbol(&mut |name| {
                    names.insert(name.to_owned());
                });
            });
        }
    }
    names
}

impl Sizes {
    /// The sizes to compare programs on beside the default one: the least, the greatest, and one
    /// between, or the listed shapes at the same places.
    pub(crate) fn others(program: &Program, function: &Function) -> Vec<Self> {
        let names = symbols(function);
        if names.is_empty() {
            return Vec::new();
        }
        let listed = function.params.iter().map(|param| param.enumerated.len()).max().unwrap_or(0);
        if listed > 0 {
            let rows: BTreeSet<usize> = [1, listed / 2, listed - 1].into_iter().collect();
            let row = |row| Self { row: Some(row), ..Self::default() };
            return rows.into_iter().filter(|&row| row > 0 && row < listed).map(row).collect();
        }
        let at = |pick: &dyn Fn(i64, Option<i64>) -> i64| {
            let numbers = names.iter().map(|name| {
                let range = program.symbols.range(name);
                (name.clone(), pick(range.min.max(1), range.max))
            });
            Self { symbols: numbers.collect(), row: None }
        };
        let least = at(&|min, _| min);
        let middle = at(&|min, max| match max {
            Some(max) => min.midpoint(max.max(min)),
            None => min.saturating_mul(2).saturating_add(1),
        });
        let mut all = vec![least, middle];
        if names.iter().all(|name| program.symbols.range(name).max.is_some()) {
            all.push(at(&|min, max| max.unwrap_or(min)));
        }
        all.dedup();
        all
    }

    /// The same with a number for each symbol that the default shapes, or the listed ones, of the inputs
    /// of `function` tell.
    pub(crate) fn complete(&self, function: &Function) -> Self {
        let mut all = self.clone();
        let args = &function.regions[function.body].args;
        // What is listed comes before what is a default.
        for listed in [true, false] {
            for (param, &arg) in function.params.iter().zip(args) {
                let row = self.row.and_then(|row| param.enumerated.get(row));
                let shape = if listed { row } else { param.default_shape.as_ref() };
                let (Some(shape), Some(ty)) = (shape, function.ty(arg).as_tensor()) else {
                    continue;
                };
                for (dim, &extent) in ty.shape.iter().zip(shape) {
                    let Some((symbol, factor, offset)) = dim.linear() else { continue };
                    let rest = i64::try_from(extent).ok().and_then(|n| n.checked_sub(offset));
                    if let Some(rest) = rest.filter(|rest| rest % factor == 0) {
                        all.symbols.entry(symbol).or_insert(rest / factor);
                    }
                }
            }
        }
        all
    }

    /// The extents of an input; see [`Sizes::complete`].
    pub(crate) fn shape(&self, program: &Program, param: &Param, ty: &TensorType) -> Vec<usize> {
        let row = self.row.and_then(|row| param.enumerated.get(row));
        if let Some(shape) = row.filter(|shape| shape.len() == ty.rank()) {
            return shape.iter().map(|&extent| extent as usize).collect();
        }
        let number = |name: &str| Some(Dim::Const(self.number(program, name)));
        let extent = |dim: &Dim| dim.substitute(&number).as_const().unwrap_or(1).max(0) as usize;
        ty.shape.iter().map(extent).collect()
    }

    /// The number of a symbol.
    pub(crate) fn number(&self, program: &Program, name: &str) -> i64 {
        let known = self.symbols.get(name).copied();
        known.unwrap_or_else(|| program.symbols.range(name).min.max(1))
    }

    /// `s0=4, s1=8`, or which of the listed shapes it is.
    pub(crate) fn text(&self) -> String {
        if let Some(row) = self.row {
            return format!("listed shape {}", row + 1);
        }
        let all: Vec<String> = self.symbols.iter().map(|(name, n)| format!("{name}={n}")).collect();
        all.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn least_middle_and_greatest_sizes_are_tried() {
        let text = "mlc-ir 1\nsymbols { s = 2..9 }\nfunc @main(%x: tensor<(s)x(2*s)xf32>) -> tensor<(s)x(2*s)xf32> {\n  %y = relu %x\n  return %y\n}\n";
        let program =
            mlc_text::parse("t", text, &mlc_text::ParseOptions::default()).unwrap().program;
        let (_, function) = program.functions.iter().next().unwrap();
        let ty = function.ty(function.regions[function.body].args[0]).as_tensor().unwrap();
        let shapes: Vec<Vec<usize>> = Sizes::others(&program, function)
            .iter()
            .map(|sizes| sizes.complete(function).shape(&program, &function.params[0], ty))
            .collect();
        assert_eq!(shapes, [[2, 4], [5, 10], [9, 18]]);
    }
}
