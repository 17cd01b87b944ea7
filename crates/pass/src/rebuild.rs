//! Changing the types of a function.

use std::collections::BTreeMap;

use mlc_ir::infer::Inferred;
use mlc_ir::{Builder, Dim, FuncId, Node, NodeData, Op, Program, Region, Type, Value};

use crate::pass::Result;

/// What becomes of an op that [`rebuild`] shows.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// It stays, and its results get the types that inference gives them now.
    Keep,
    /// It becomes this op on the same operands, and its results get new types.
    Become(Op),
    /// Its results are replaced by these values and it goes.
    Replace(Vec<Value>),
}

/// What [`rebuild`] asks at each place of a function.
pub trait Rebuild {
    /// The value that stands for argument `index` of `region` in it; the cursor is at its start. The
    /// argument may be given another type here.
    ///
    /// # Errors
    /// The pass cannot go on.
    fn enter(&mut self, b: &mut Builder<'_>, region: Region, index: usize) -> Result<Value> {
        Ok(b.function().regions[region].args[index])
    }

    /// What becomes of `node`, whose operands are the new ones, after the ops of its regions. Types
    /// of its results are still the old ones.
    ///
    /// # Errors
    /// The pass cannot go on.
    fn node(&mut self, b: &mut Builder<'_>, node: Node) -> Result<Step>;

    /// Changes what `region` yields; the cursor is at its end.
    ///
    /// # Errors
    /// The pass cannot go on.
    fn leave(&mut self, b: &mut Builder<'_>, region: Region, results: &mut [Value]) -> Result<()> {
        let _ = (b, region, results);
        Ok(())
    }
}

/// Walks a function in execution order and rebuilds it with other types.
///
/// Unlike [`mlc_ir::Rewriter`] it infers the types of an op only after the ops of its regions and the
/// callback have had their say, so types may be inconsistent in between. Ops that the callbacks build
/// are marked as made by `pass`. Where inference does not know an extent, the old one stays. Linear in
/// the number of ops.
///
/// # Errors
/// What the callbacks give, or an op whose operands do not fit at the end.
pub fn rebuild(
    program: &mut Program,
    func: FuncId,
    pass: &'static str,
    hooks: &mut dyn Rebuild,
) -> Result<()> {
    let loc = program.intern_loc(mlc_diag::Loc::unknown().after(pass));
    let body = program.functions[func].body;
    let mut walk = Walk { func, pass, map: BTreeMap::new(), hooks };
    let mut builder = Builder { program, func, region: body, loc };
    walk.region(&mut builder, body)
}

struct Walk<'a> {
    func: FuncId,
    pass: &'static str,
    map: BTreeMap<Value, Value>,
    hooks: &'a mut dyn Rebuild,
}

impl Walk<'_> {
    fn resolve(&self, value: Value) -> Value {
        self.map.get(&value).copied().unwrap_or(value)
    }

    fn region(&mut self, outer: &mut Builder<'_>, region: Region) -> Result<()> {
        let mut b =
            Builder { program: &mut *outer.program, func: self.func, region, loc: outer.loc };
        let old = std::mem::take(&mut b.function_mut().regions[region].nodes);
        for index in 0..b.function().regions[region].args.len() {
            let arg = b.function().regions[region].args[index];
            let value = self.hooks.enter(&mut b, region, index)?;
            if value != arg {
                self.map.insert(arg, value);
            }
        }
        for node in old {
            self.node(&mut b, node)?;
        }
        let mut results = std::mem::take(&mut b.function_mut().regions[region].results);
        for result in &mut results {
            *result = self.resolve(*result);
        }
        self.hooks.leave(&mut b, region, &mut results)?;
        b.function_mut().regions[region].results = results;
        Ok(())
    }

    fn node(&mut self, b: &mut Builder<'_>, node: Node) -> Result<()> {
        let mut operands = std::mem::take(&mut b.function_mut().nodes[node].operands);
        for operand in operands.all_mut() {
            *operand = self.resolve(*operand);
        }
        b.function_mut().nodes[node].operands = operands;
        let loc = b.program.loc(b.function().nodes[node].loc).after(self.pass);
        b.loc = b.program.intern_loc(loc);
        for nested in b.function().nodes[node].regions.clone() {
            self.region(b, nested)?;
        }
        match self.hooks.node(b, node)? {
            Step::Keep => retype(b, node),
            Step::Become(op) => {
                let loc = b.loc;
                let data = &mut b.function_mut().nodes[node];
                data.op = op;
                data.loc = loc;
                retype(b, node)
            }
            Step::Replace(values) => {
                let results = b.results(node).to_vec();
                debug_assert_eq!(results.len(), values.len(), "one value a result");
                for (from, to) in results.into_iter().zip(values) {
                    let function = b.function_mut();
                    if function.values[to].name.is_none() {
                        function.values[to].name = function.values[from].name.clone();
                    }
                    if from != to {
                        self.map.insert(from, to);
                    }
                }
                Ok(())
            }
        }
    }
}

/// Links `node` at the cursor, with the types that inference gives its results.
fn retype(b: &mut Builder<'_>, node: Node) -> Result<()> {
    let NodeData { op, operands, regions, results, .. } = &b.function().nodes[node];
    let results = results.clone();
    let inferred = b.infer(op, operands, regions)?;
    for (&value, (ty, content)) in results.iter().zip(known(b, &results, inferred).results) {
        let ty = ty.map_dims(&mut |dim| match dim {
            Dim::Unknown => b.program.symbols.fresh(),
            dim => dim.clone(),
        });
        let data = &mut b.function_mut().values[value];
        data.ty = ty;
        data.content = content.filter(|dims| !dims.contains(&Dim::Unknown));
    }
    let region = b.region;
    b.function_mut().regions[region].nodes.push(node);
    Ok(())
}

/// The inferred results, with the extents of `old` where inference does not know them.
pub(crate) fn known(b: &Builder<'_>, old: &[Value], mut inferred: Inferred) -> Inferred {
    for (&value, (ty, _)) in old.iter().zip(&mut inferred.results) {
        *ty = with_known(ty, b.ty(value));
    }
    inferred
}

fn with_known(ty: &Type, old: &Type) -> Type {
    let mut dims = Vec::new();
    old.for_each_dim(&mut |dim| dims.push(dim.clone()));
    let mut count = 0;
    ty.for_each_dim(&mut |_| count += 1);
    if dims.len() != count {
        return ty.clone();
    }
    let mut dims = dims.into_iter();
    ty.map_dims(&mut |dim| match (dim, dims.next()) {
        (Dim::Unknown, Some(old)) => old,
        _ => dim.clone(),
    })
}

/// Appends `op` in the place of `node`: as [`Builder::push`], but extents that inference does not know
/// are those of the results of `node`.
///
/// # Errors
/// What inference finds wrong; nothing is appended then.
pub fn append_like(
    b: &mut Builder<'_>,
    node: Node,
    op: Op,
    operands: mlc_ir::Operands,
) -> mlc_ir::OpResult<Vec<Value>> {
    let inferred = b.infer(&op, &operands, &[])?;
    let old = b.results(node).to_vec();
    let inferred = known(b, &old, inferred);
    let new = b.append(op, operands, Vec::new(), inferred);
    Ok(b.results(new).to_vec())
}
