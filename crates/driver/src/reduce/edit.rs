//! Changes of a program, and the program that they make.

use std::collections::{BTreeMap, BTreeSet};

use mlc_ir::{
    AttrValue, Builder, Dim, FuncId, Function, Node, Op, Operands, Param, Program, Region, Type,
    Value, remove_unused,
};
use mlc_tensor::{DType, Tensor};

/// What stands for a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// A new input of its type.
    Input,
    /// Another value of its type, defined before it.
    Value(Value),
}

/// An extent that becomes smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shrink {
    /// What it is.
    pub(super) from: u64,
    /// What it becomes.
    pub(super) to: u64,
    /// Whether it is replaced in attributes and constants of integers as well.
    pub(super) in_numbers: bool,
}

/// What changes; everything else stays.
#[derive(Debug, Clone, Default)]
pub(super) struct Edit {
    /// Functions that go.
    pub(super) functions: BTreeSet<FuncId>,
    /// Outputs that go, by position.
    pub(super) outputs: BTreeSet<(FuncId, usize)>,
    /// Values that become an output in place of the one at that position.
    pub(super) yields: BTreeMap<(FuncId, usize), Value>,
    /// Parameters that go; nothing may use them.
    pub(super) params: BTreeSet<(FuncId, usize)>,
    /// Values that others stand for.
    pub(super) values: BTreeMap<(FuncId, Value), By>,
    /// Ops that a region of them stands for, its arguments being their operands.
    pub(super) inlined: BTreeMap<(FuncId, Node), usize>,
    /// Attributes that get their default, by position.
    pub(super) defaults: BTreeSet<(FuncId, Node, usize)>,
    /// Constants that become others of their type.
    pub(super) constants: BTreeMap<Tensor, Tensor>,
    /// An extent.
    pub(super) shrink: Option<Shrink>,
    /// Metadata and places go.
    pub(super) bare: bool,
}

/// `program` after `edit`, without ops that nobody needs; none if that is no program.
pub(super) fn apply(program: &Program, edit: &Edit) -> Option<Program> {
    let mut made = Program::new();
    made.symbols = program.symbols.clone();
    if !edit.bare {
        made.metadata.clone_from(&program.metadata);
    }
    for (id, function) in program.functions.iter() {
        if edit.functions.contains(&id) {
            continue;
        }
        let new = made.functions.push(Function::new(function.name.clone()));
        let values = vec![None; function.values.len()];
        let mut copy = Copy { old: program, id, function, new, edit, values, added: 0 };
        copy.function(&mut made)?;
        remove_unused(&mut made.functions[new]);
    }
    let valid = !mlc_ir::verify(&made).has_errors();
    // Ids and constants are numbered anew, and constants that nobody uses any more go.
    valid.then_some(made)
}

struct Copy<'a> {
    old: &'a Program,
    id: FuncId,
    function: &'a Function,
    new: FuncId,
    edit: &'a Edit,
    /// New values by old ones.
    values: Vec<Option<Value>>,
    /// Inputs that were added.
    added: usize,
}

impl Copy<'_> {
    fn value(&self, old: Value) -> Option<Value> {
        use mlc_ir::EntityId;
        *self.values.get(old.index())?
    }

    fn set(&mut self, old: Value, new: Value) {
        use mlc_ir::EntityId;
        self.values[old.index()] = Some(new);
    }

    fn function(&mut self, made: &mut Program) -> Option<()> {
        let body = &self.function.regions[self.function.body];
        for (at, (param, &arg)) in self.function.params.iter().zip(&body.args).enumerate() {
            if self.edit.params.contains(&(self.id, at)) {
                continue;
            }
            let mut param = param.clone();
            if let Some(shape) = &mut param.default_shape {
                shape.iter_mut().for_each(|extent| *extent = self.extent(*extent));
            }
            for shape in &mut param.enumerated {
                shape.iter_mut().for_each(|extent| *extent = self.extent(*extent));
            }
            let ty = self.ty(self.function.ty(arg));
            let value = made.functions[self.new].add_param(param, ty);
            self.set(arg, value);
        }
        let mut builder = Builder::new(made, self.new);
        self.nodes(&mut builder, self.function.body)?;
        for (at, (output, &result)) in self.function.outputs.iter().zip(&body.results).enumerate() {
            if self.edit.outputs.contains(&(self.id, at)) {
                continue;
            }
            let result = self.edit.yields.get(&(self.id, at)).copied().unwrap_or(result);
            let value = self.value(result)?;
            made.functions[self.new].add_output(output.name.clone(), value);
        }
        Some(())
    }

    fn extent(&self, extent: u64) -> u64 {
        match self.edit.shrink {
            Some(shrink) if shrink.from == extent => shrink.to,
            _ => extent,
        }
    }

    fn ty(&self, ty: &Type) -> Type {
        ty.map_dims(&mut |dim| match dim.as_const().and_then(|n| u64::try_from(n).ok()) {
            Some(extent) => {
                i64::try_from(self.extent(extent)).map_or_else(|_| dim.clone(), Dim::Const)
            }
            None => dim.clone(),
        })
    }

    fn nodes(&mut self, b: &mut Builder<'_>, region: Region) -> Option<()> {
        for &node in &self.function.regions[region].nodes {
            self.node(b, node)?;
        }
        Some(())
    }

    fn node(&mut self, b: &mut Builder<'_>, node: Node) -> Option<()> {
        let data = &self.function.nodes[node];
        b.loc = match self.edit.bare {
            true => b.program.intern_loc(mlc_diag::Loc::unknown()),
            false => b.program.intern_loc(self.old.loc(data.loc).clone()),
        };
        if self.replaced(b, node)? {
            return Some(());
        }
        if let Some(&at) = self.edit.inlined.get(&(self.id, node)) {
            return self.inline(b, node, at);
        }
        let mut operands = Operands::new();
        for slot in 0..data.operands.slots() {
            let values: Option<Vec<Value>> =
                data.operands.slot(slot).iter().map(|&old| self.value(old)).collect();
            operands.push_slot(values?);
        }
        let mut regions = Vec::new();
        for &region in &data.regions {
            regions.push(self.region(b, region)?);
        }
        let op = self.op(b, node)?;
        let mut inferred = b.infer(&op, &operands, &regions).ok()?;
        for ((ty, _), &old) in inferred.results.iter_mut().zip(&data.results) {
            self.declared(ty, old);
        }
        let made = b.append(op, operands, regions, inferred);
        let results = b.results(made).to_vec();
        for (&old, new) in data.results.iter().zip(results) {
            b.function_mut().values[new].name = self.function.values[old].name.clone();
            self.set(old, new);
        }
        Some(())
    }

    /// Extents that inference does not know are those from before.
    fn declared(&self, ty: &mut Type, old: Value) {
        let old = self.ty(self.function.ty(old));
        if let (Type::Tensor(ty), Type::Tensor(old)) = (ty, &old)
            && ty.rank() == old.rank()
        {
            for (new, old) in ty.shape.iter_mut().zip(&old.shape) {
                if *new == Dim::Unknown {
                    *new = old.clone();
                }
            }
        }
    }

    /// Puts what stands for the results in their place; false if the op itself is needed.
    fn replaced(&mut self, b: &mut Builder<'_>, node: Node) -> Option<bool> {
        let results = self.function.nodes[node].results.clone();
        let by: Option<Vec<By>> =
            results.iter().map(|&value| self.edit.values.get(&(self.id, value)).copied()).collect();
        let Some(by) = by.filter(|by| !by.is_empty()) else { return Some(false) };
        for (&old, by) in results.iter().zip(by) {
            let new = match by {
                By::Value(other) => self.value(other)?,
                By::Input => {
                    let ty = self.ty(self.function.ty(old));
                    ty.as_tensor()?;
                    self.added += 1;
                    let name = self.fresh_name(b.function());
                    b.function_mut().add_param(Param::input(name), ty)
                }
            };
            self.set(old, new);
        }
        Some(true)
    }

    fn fresh_name(&self, function: &Function) -> String {
        let mut number = self.added;
        loop {
            let name = format!("in{number}");
            if function.params.iter().all(|param| param.name != name) {
                return name;
            }
            number += 1;
        }
    }

    fn inline(&mut self, b: &mut Builder<'_>, node: Node, at: usize) -> Option<()> {
        let data = &self.function.nodes[node];
        let region = *data.regions.get(at)?;
        let inner = &self.function.regions[region];
        // Arguments stand for the last operands: before them are conditions and the like.
        let operands = data.operands.all();
        let first = operands.len().checked_sub(inner.args.len())?;
        for (&arg, &operand) in inner.args.iter().zip(&operands[first..]) {
            let value = self.value(operand)?;
            self.set(arg, value);
        }
        self.nodes(b, region)?;
        let first = inner.results.len().checked_sub(data.results.len())?;
        for (&old, &result) in data.results.iter().zip(&inner.results[first..]) {
            let value = self.value(result)?;
            self.set(old, value);
        }
        Some(())
    }

    fn region(&mut self, b: &mut Builder<'_>, region: Region) -> Option<Region> {
        let inner = &self.function.regions[region];
        let types: Vec<Type> =
            inner.args.iter().map(|&arg| self.ty(self.function.ty(arg))).collect();
        b.region(&types, |b, args| {
            for (&old, &new) in inner.args.iter().zip(args) {
                self.set(old, new);
            }
            self.nodes(b, region).ok_or(())?;
            inner.results.iter().map(|&old| self.value(old).ok_or(())).collect()
        })
        .ok()
    }

    /// The op with its attributes changed, and its constants those of the new program.
    fn op(&self, b: &mut Builder<'_>, node: Node) -> Option<Op> {
        let op = &self.function.nodes[node].op;
        let defaults = op.defaults();
        let mut attrs = Vec::new();
        for (at, (value, default)) in op.attrs().into_iter().zip(defaults).enumerate() {
            if self.edit.defaults.contains(&(self.id, node, at)) {
                attrs.push(Some(default?));
                continue;
            }
            attrs.push(Some(match value {
                AttrValue::Const(id) => {
                    let tensor = self.constant(self.old.consts.try_get(id)?)?;
                    AttrValue::Const(match self.old.consts.name(id) {
                        Some(name) => b.program.consts.intern_named(tensor, name),
                        None => b.program.consts.intern(tensor),
                    })
                }
                AttrValue::Ints(items) => AttrValue::Ints(self.numbers(&items)),
                value => value,
            }));
        }
        Op::from_attrs(op.spec().name, &attrs)?.ok()
    }

    fn numbers(&self, items: &[i64]) -> Vec<i64> {
        let Some(shrink) = self.edit.shrink.filter(|shrink| shrink.in_numbers) else {
            return items.to_vec();
        };
        let map = |&item: &i64| match u64::try_from(item) {
            Ok(extent) if extent == shrink.from => i64::try_from(shrink.to).unwrap_or(item),
            _ => item,
        };
        items.iter().map(map).collect()
    }

    fn constant(&self, tensor: &Tensor) -> Option<Tensor> {
        if let Some(other) = self.edit.constants.get(tensor) {
            return Some(other.clone());
        }
        let Some(shrink) = self.edit.shrink else { return Some(tensor.clone()) };
        if shrink.in_numbers
            && matches!(tensor.dtype(), DType::I32 | DType::I64)
            && tensor.count() <= 16
        {
            let items = tensor.to_i64s().ok()?;
            let changed = self.numbers(&items);
            if changed != items {
                return Tensor::from_i64s(tensor.dtype(), tensor.shape(), &changed).ok();
            }
        }
        let shape: Vec<u64> = tensor.shape().iter().map(|&extent| self.extent(extent)).collect();
        if shape == tensor.shape() {
            return Some(tensor.clone());
        }
        let mut strides = vec![1u64; shape.len()];
        for axis in (1..shape.len()).rev() {
            strides[axis - 1] = strides[axis].checked_mul(tensor.shape()[axis])?;
        }
        tensor.strided(&shape, &strides, 0).ok()
    }
}
