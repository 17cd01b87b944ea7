//! The pass `bounds`.

use mlc_diag::{Diagnostic, Place, codes};
use mlc_ir::{Param, Program, SymbolRange};
use mlc_pass::{Changed, Pass, PassCx, Phase, Result};
use serde::{Deserialize, Serialize};

/// Gives every symbolic extent of an input an upper bound: packages must name one. An extent that the
/// source leaves open may be up to `limit` then, or twice its least value if that is more, and a
/// warning says so.
///
/// ```mlc before
/// symbols { s = 2.. }
/// func @f(%x: tensor<(s)x4xf32>) -> tensor<(s)x4xf32> {
///   %y = relu %x
///   return %y
/// }
/// ```
/// ```mlc after
/// symbols { s = 2..4096 }
/// func @f(%x: tensor<(s)x4xf32>) -> tensor<(s)x4xf32> {
///   %y = relu %x
///   return %y
/// }
/// ```
#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Bounds {
    /// The upper bound that an extent without one gets.
    limit: u32,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { limit: 4096 }
    }
}

impl Pass for Bounds {
    fn name(&self) -> &'static str {
        "bounds"
    }

    fn phase(&self) -> Phase {
        Phase::Legalize
    }

    fn is_required(&self) -> bool {
        true
    }

    fn run(&self, program: &mut Program, cx: &mut PassCx) -> Result<Changed> {
        let mut changed = false;
        for func in cx.functions(program) {
            let function = &program.functions[func];
            let args = function.regions[function.body].args.clone();
            let params: Vec<Param> = function.params.clone();
            for (param, arg) in params.iter().zip(args) {
                let (mut open, mut axis) = (Vec::new(), 0);
                program.functions[func].ty(arg).for_each_dim(&mut |dim| {
                    dim.for_each_symbol(&mut |name| open.push((name.to_owned(), axis)));
                    axis += 1;
                });
                for (name, axis) in open {
                    let SymbolRange { min, max } = program.symbols.range(&name);
                    if max.is_some() {
                        continue;
                    }
                    let max = i64::from(self.limit).max(min.saturating_mul(2));
                    program.symbols.declare(&name, SymbolRange { min, max: Some(max) });
                    cx.report(assumed((&param.name, axis), &name, max));
                    changed = true;
                }
            }
        }
        Ok(changed.into())
    }
}

fn assumed((input, axis): (&str, usize), symbol: &str, max: i64) -> Diagnostic {
    let message =
        format!("`{symbol}` of input `{input}` has no upper bound; up to {max} is accepted");
    Diagnostic::new(codes::UNBOUNDED_EXTENT, message)
        .at(Place::Argument(input.into()))
        .note("a package must name the largest extent that an input may have")
        .help(format!("give it with `--dynamic {input}.{axis}={symbol}:1..512`"))
}
