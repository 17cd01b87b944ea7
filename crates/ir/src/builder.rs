//! Appends ops to a region, inferring their types.

use std::sync::Arc;

use mlc_tensor::{DType, Tensor};
use smallvec::SmallVec;

use crate::dim::Dim;
use crate::infer::{InferCx, Inferred, OpError, OpResult};
use crate::ops::{Const, Op};
use crate::program::{
    Def, FuncId, Function, LocId, Node, NodeData, Operands, Program, Region, Value, ValueData,
};
use crate::types::{TensorType, Type};

/// A cursor at the end of a region.
///
/// Every payload type has `build` (one result) and `build_many`, which take the builder and the
/// operands in the order of the op's entry.
pub struct Builder<'a> {
    /// The program.
    pub program: &'a mut Program,
    /// The function that is built.
    pub func: FuncId,
    /// The region that ops are appended to.
    pub region: Region,
    /// The location that new ops get.
    pub loc: LocId,
}

impl<'a> Builder<'a> {
    /// A cursor at the end of the body of `func`.
    pub fn new(program: &'a mut Program, func: FuncId) -> Self {
        let region = program.functions[func].body;
        let loc = program.intern_loc(mlc_diag::Loc::unknown());
        Self { program, func, region, loc }
    }

    /// The function that is built.
    #[must_use]
    pub fn function(&self) -> &Function {
        &self.program.functions[self.func]
    }

    /// The function that is built.
    pub fn function_mut(&mut self) -> &mut Function {
        &mut self.program.functions[self.func]
    }

    /// The type of a value.
    #[must_use]
    pub fn ty(&self, value: Value) -> &Type {
        self.function().ty(value)
    }

    /// The tensor type of a value.
    ///
    /// # Errors
    /// It is no tensor.
    pub fn tensor(&self, value: Value) -> OpResult<&TensorType> {
        let ty = self.ty(value);
        ty.as_tensor().ok_or_else(|| OpError::ty(format!("{ty} is not a tensor")))
    }

    /// The known contents of a small integer vector or scalar.
    #[must_use]
    pub fn content(&self, value: Value) -> Option<&[Dim]> {
        self.function().values[value].content.as_deref()
    }

    /// The tensor of a value that is a constant.
    #[must_use]
    pub fn constant_of(&self, value: Value) -> Option<&Tensor> {
        self.program.constant_of(self.function(), value)
    }

    /// Names a value unless it has a name.
    pub fn name(&mut self, value: Value, name: &str) {
        let slot = &mut self.function_mut().values[value].name;
        if slot.is_none() {
            *slot = Some(Arc::from(name));
        }
    }

    /// Appends an op with nested regions that exist already.
    ///
    /// # Errors
    /// What inference finds wrong; nothing is appended then.
    pub fn push(&mut self, op: Op, operands: Operands, regions: Vec<Region>) -> OpResult<Node> {
        let results = self.infer(&op, &operands, &regions)?;
        Ok(self.append(op, operands, regions, results))
    }

    /// The results that [`Builder::push`] would give the op, unknown extents included.
    ///
    /// # Errors
    /// What inference finds wrong.
    pub fn infer(&self, op: &Op, operands: &Operands, regions: &[Region]) -> OpResult<Inferred> {
        infer(self.program, self.func, op, operands, regions)
    }

    /// Appends an op whose results are known: those that [`Builder::infer`] gave, where the caller
    /// may have replaced unknown extents by ones that it was told. Unknown extents that are left
    /// get a symbol of their own.
    pub fn append(
        &mut self,
        op: Op,
        operands: Operands,
        regions: Vec<Region>,
        results: Inferred,
    ) -> Node {
        let types = freshen(self.program, results);
        let function = &mut self.program.functions[self.func];
        let node = function.nodes.push(NodeData {
            op,
            operands,
            results: SmallVec::new(),
            regions: SmallVec::from_vec(regions),
            loc: self.loc,
        });
        for (i, (ty, content)) in types.into_iter().enumerate() {
            let def = Def::Result(node, i as u32);
            let value = function.values.push(ValueData { ty, content, name: None, def });
            function.nodes[node].results.push(value);
        }
        function.regions[self.region].nodes.push(node);
        node
    }

    /// The results of an op.
    #[must_use]
    pub fn results(&self, node: Node) -> &[Value] {
        &self.function().nodes[node].results
    }

    /// Makes a region: adds arguments of `args`, runs `fill` with the cursor in it, and sets what it
    /// yields.
    ///
    /// # Errors
    /// What `fill` gives.
    pub fn region<E>(
        &mut self,
        args: &[Type],
        fill: impl FnOnce(&mut Builder<'_>, &[Value]) -> Result<Vec<Value>, E>,
    ) -> Result<Region, E> {
        let function = &mut self.program.functions[self.func];
        let region = function.regions.push(crate::program::RegionData::default());
        let args: Vec<Value> = args.iter().map(|ty| function.add_arg(region, ty.clone())).collect();
        let mut inner =
            Builder { program: &mut *self.program, func: self.func, region, loc: self.loc };
        let results = fill(&mut inner, &args)?;
        self.program.functions[self.func].regions[region].results = results;
        Ok(region)
    }

    /// A constant.
    ///
    /// # Errors
    /// The shape cannot be an IR type.
    pub fn constant(&mut self, tensor: Tensor) -> OpResult<Value> {
        let value = self.program.consts.intern(tensor);
        Const { value }.build(self)
    }

    /// A constant scalar of `dtype`.
    ///
    /// # Errors
    /// Numbers cannot be converted to `dtype`.
    pub fn scalar(&mut self, dtype: DType, x: f64) -> OpResult<Value> {
        let tensor = Tensor::from_f64s(dtype, &[], &[x]).map_err(|e| OpError::ty(e.to_string()))?;
        self.constant(tensor)
    }

    /// A constant vector of i32.
    ///
    /// # Errors
    /// A number does not fit i32.
    pub fn ints(&mut self, values: &[i64]) -> OpResult<Value> {
        if let Some(x) = values.iter().find(|&&x| i32::try_from(x).is_err()) {
            return Err(OpError::attr(format!("{x} does not fit i32")));
        }
        let tensor = Tensor::from_i64s(DType::I32, &[values.len() as u64], values)
            .map_err(|e| OpError::ty(e.to_string()))?;
        self.constant(tensor)
    }

    /// A constant scalar of i32.
    ///
    /// # Errors
    /// The number does not fit i32.
    pub fn int(&mut self, value: i64) -> OpResult<Value> {
        if i32::try_from(value).is_err() {
            return Err(OpError::attr(format!("{value} does not fit i32")));
        }
        self.constant(
            Tensor::from_i64s(DType::I32, &[], &[value]).map_err(|e| OpError::ty(e.to_string()))?,
        )
    }
}

/// What inference says of an op with these operands and regions.
pub(crate) fn infer(
    program: &Program,
    func: FuncId,
    op: &Op,
    operands: &Operands,
    regions: &[Region],
) -> OpResult<Inferred> {
    let function = &program.functions[func];
    let spec = op.spec();
    check_arity(spec, operands, regions)?;
    let inferred = op.infer(&InferCx { program, function, spec, operands, regions })?;
    for (ty, _) in &inferred.results {
        let mut negative = None;
        ty.for_each_dim(&mut |dim| {
            if dim.as_const().is_some_and(|n| n < 0) {
                negative = Some(dim.clone());
            }
        });
        if let Some(dim) = negative {
            return Err(OpError::shape(format!("result {ty} has the extent {dim}")));
        }
    }
    Ok(inferred)
}

fn check_arity(
    spec: &crate::spec::OpSpec,
    operands: &Operands,
    regions: &[Region],
) -> OpResult<()> {
    use crate::spec::Arity;
    if operands.slots() != spec.operands.len() {
        let message = format!("{} operand slots, {} needed", operands.slots(), spec.operands.len());
        return Err(OpError::ty(message));
    }
    for (i, slot) in spec.operands.iter().enumerate() {
        let count = operands.slot(i).len();
        let fits = match slot.arity {
            Arity::One => count == 1,
            Arity::Opt => count <= 1,
            Arity::Many => true,
        };
        if !fits {
            return Err(OpError::ty(format!("operand `{}` has {count} values", slot.name)));
        }
    }
    if regions.len() != spec.regions.len() {
        let message = format!("{} regions, {} needed", regions.len(), spec.regions.len());
        return Err(OpError::ty(message));
    }
    Ok(())
}

/// Gives each unknown extent a symbol of its own.
pub(crate) fn freshen(program: &mut Program, inferred: Inferred) -> Vec<(Type, Option<Vec<Dim>>)> {
    inferred
        .results
        .into_iter()
        .map(|(ty, content)| {
            let ty = ty.map_dims(&mut |dim| match dim {
                Dim::Unknown => program.symbols.fresh(),
                dim => dim.clone(),
            });
            let content = content.filter(|dims| !dims.contains(&Dim::Unknown));
            (ty, content)
        })
        .collect()
}

/// Anything that fills one operand slot.
pub trait IntoSlot {
    /// Appends the slot.
    fn push_to(self, operands: &mut Operands);
}

impl IntoSlot for Value {
    fn push_to(self, operands: &mut Operands) {
        operands.push_slot([self]);
    }
}

impl IntoSlot for Option<Value> {
    fn push_to(self, operands: &mut Operands) {
        operands.push_slot(self);
    }
}

impl IntoSlot for Vec<Value> {
    fn push_to(self, operands: &mut Operands) {
        operands.push_slot(self);
    }
}

/// The Rust type of each kind of slot, for the generated builders.
pub mod arity {
    use crate::program::Value;

    /// A slot of one value.
    pub type One = Value;
    /// An optional slot.
    pub type Opt = Option<Value>;
    /// A slot of many values.
    pub type Many = Vec<Value>;
}
