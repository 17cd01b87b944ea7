//! One function: names, blocks, operations.

use std::collections::BTreeMap;

use mlc_diag::Diagnostics;
use mlc_ir::{
    Def, EntityId, Function, Node, NodeData, Op, ParamKind, Region, Trait, Type, Uses, Value,
};
use mlc_target::OpSignature;
use mlc_tensor::{DType, Tensor};
use prost::Message as _;

use super::attrs::{Attributes, Bound, param_name};
use super::legal::{self, is_const, is_constexpr_op, takes_inputs};
use super::names::Namespace;
use super::{Emission, constexpr, types, values};
use crate::dtype::data_type;
use crate::spec::mil;

/// A function as MIL declares it, and the names its features got.
pub(super) struct Emitted {
    pub(super) function: mil::Function,
    /// One name a parameter.
    pub(super) params: Vec<String>,
    /// One name an output.
    pub(super) outputs: Vec<String>,
}

/// Writes `function`; what is wrong with it is reported to `cx`.
///
/// # Errors
/// What stops everything: the weight file cannot be written.
pub(super) fn emit<'p>(
    cx: &mut Emission<'p, '_>,
    function: &'p Function,
) -> Result<Emitted, Diagnostics> {
    let mut space = Namespace::default();
    let params: Vec<String> = function.params.iter().map(|p| space.claim(&p.name)).collect();
    let outputs: Vec<String> = function.outputs.iter().map(|o| space.claim(&o.name)).collect();
    let mut emitter = Emitter {
        written: written(function),
        names: vec![None; function.values.len()],
        shared: BTreeMap::new(),
        hoisted: Vec::new(),
        cx,
        function,
        space,
    };
    emitter.name_values(&params, &outputs);
    let block = emitter.body(&params, &outputs)?;
    let opset = emitter.cx.opset();
    let inputs = emitter.inputs(&params);
    let function = mil::Function {
        inputs,
        opset: opset.opset_string().to_owned(),
        block_specializations: [(opset.opset_string().to_owned(), block)].into(),
        ..Default::default()
    };
    Ok(Emitted { function, params, outputs })
}

/// Ops that become operations, by index: all but constants that nobody uses or that stand in the
/// arguments of constexpr ops alone.
fn written(function: &Function) -> Vec<bool> {
    let mut written = vec![true; function.nodes.len()];
    let uses = Uses::of(function);
    function.for_each_node(&mut |_, node| {
        let data = &function.nodes[node];
        if is_const(data) {
            written[node.index()] = data.results.iter().any(|&value| {
                let by_name = |user: &Node| !is_constexpr_op(&function.nodes[*user]);
                uses.yields(value) > 0 || uses.users(value).iter().any(by_name)
            });
        }
    });
    written
}

struct Emitter<'e, 'p, 'w> {
    cx: &'e mut Emission<'p, 'w>,
    function: &'p Function,
    space: Namespace,
    written: Vec<bool>,
    names: Vec<Option<String>>,
    /// Names of the constants made of attributes, by their encoding.
    shared: BTreeMap<Vec<u8>, String>,
    /// Constants that stand before the op of the body that is being written.
    hoisted: Vec<mil::Operation>,
}

impl<'p> Emitter<'_, 'p, '_> {
    fn name(&self, value: Value) -> &str {
        self.names.get(value.index()).and_then(Option::as_deref).unwrap_or("missing")
    }

    /// Features first, then values that have names, then the others, all in execution order.
    fn name_values(&mut self, params: &[String], outputs: &[String]) {
        let function = self.function;
        let body = &function.regions[function.body];
        for (&arg, name) in body.args.iter().zip(params) {
            let name = match is_scalar(function.ty(arg)) {
                true => self.space.claim(&format!("{name}_scalar")),
                false => name.clone(),
            };
            self.names[arg.index()] = Some(name);
        }
        for (&result, name) in body.results.iter().zip(outputs) {
            if self.names[result.index()].is_none() && self.yields_itself(function.body, result) {
                self.names[result.index()] = Some(name.clone());
            }
        }
        let mut values = Vec::new();
        function.for_each_node(&mut |_, node| {
            let data = &function.nodes[node];
            if self.written[node.index()] {
                values.extend(data.results.iter().map(|&value| (value, data.op.spec().name)));
            }
            for &region in &data.regions {
                values.extend(function.regions[region].args.iter().map(|&arg| (arg, "arg")));
            }
        });
        for &(value, _) in &values {
            if let (None, Some(name)) = (&self.names[value.index()], self.given_name(value)) {
                self.names[value.index()] = Some(self.space.claim(&name));
            }
        }
        for (value, kind) in values {
            if self.names[value.index()].is_none() {
                self.names[value.index()] = Some(self.space.numbered(kind));
            }
        }
    }

    /// The value's own name; that of its tensor for a constant.
    fn given_name(&self, value: Value) -> Option<String> {
        if let Some(name) = &self.function.values[value].name {
            return Some(name.to_string());
        }
        match &self.function.def(value)?.1.op {
            Op::Const(payload) => self.cx.program.consts.name(payload.value).map(str::to_owned),
            _ => None,
        }
    }

    /// Whether a block can name the value as its result: an op of that very block makes it, which is
    /// not a constant.
    fn yields_itself(&self, region: Region, value: Value) -> bool {
        let Def::Result(node, _) = self.function.values[value].def else { return false };
        let data = &self.function.nodes[node];
        let is_here = self.function.regions[region].nodes.contains(&node);
        is_here && !is_const(data) && !is_constexpr_op(data)
    }

    fn inputs(&mut self, params: &[String]) -> Vec<mil::NamedValueType> {
        let function = self.function;
        let body = &function.regions[function.body];
        let mut inputs = Vec::new();
        for kind in [ParamKind::Input, ParamKind::State] {
            for ((param, &arg), name) in function.params.iter().zip(&body.args).zip(params) {
                if param.kind == kind {
                    let mut input = self.named(name.clone(), function.ty(arg));
                    if let Some(ty) = function.ty(arg).as_tensor().filter(|ty| ty.shape.is_empty())
                    {
                        input.r#type = data_type(ty.dtype).map(|dtype| types::fixed(dtype, &[1]));
                    }
                    inputs.push(input);
                }
            }
        }
        inputs
    }

    fn named(&mut self, name: String, ty: &Type) -> mil::NamedValueType {
        let r#type = types::value_type(&self.cx.program.symbols, ty);
        if r#type.is_none() {
            self.cx.internal(format!("`{name}` is {ty}, which Core ML has no word for"));
        }
        mil::NamedValueType { name, r#type }
    }

    fn body(&mut self, params: &[String], outputs: &[String]) -> Result<mil::Block, Diagnostics> {
        let function = self.function;
        let region = &function.regions[function.body];
        let mut operations = Vec::new();
        let uses = Uses::of(function);
        for ((param, &arg), name) in function.params.iter().zip(&region.args).zip(params) {
            if is_scalar(function.ty(arg)) {
                let squeeze = self.squeeze(name, arg)?;
                operations.append(&mut self.hoisted);
                operations.push(squeeze);
            } else if param.kind == ParamKind::Input && uses.count(arg) == 0 {
                let kept = self.space.claim(&format!("{name}_tmp"));
                operations.push(self.identity(arg, kept));
            }
        }
        for &node in &region.nodes {
            if let Some(operation) = self.operation(node)? {
                operations.append(&mut self.hoisted);
                operations.push(operation);
            }
        }
        for (&result, name) in region.results.iter().zip(outputs) {
            if self.name(result) != name {
                operations.push(self.identity(result, name.clone()));
            }
        }
        Ok(mil::Block { operations, outputs: outputs.to_vec(), ..Default::default() })
    }

    fn block(&mut self, region: Region) -> Result<mil::Block, Diagnostics> {
        let data = &self.function.regions[region];
        let inputs = data.args.iter().map(|&arg| {
            let name = self.name(arg).to_owned();
            self.named(name, self.function.ty(arg))
        });
        let inputs = inputs.collect();
        let mut operations = Vec::new();
        for &node in &data.nodes {
            operations.extend(self.operation(node)?);
        }
        let mut outputs: Vec<String> = Vec::new();
        for &result in &data.results {
            let mut name = self.name(result).to_owned();
            if !self.yields_itself(region, result) || outputs.contains(&name) {
                name = self.space.numbered("identity");
                operations.push(self.identity(result, name.clone()));
            }
            outputs.push(name);
        }
        Ok(mil::Block { inputs, outputs, operations, ..Default::default() })
    }

    fn identity(&mut self, value: Value, name: String) -> mil::Operation {
        let x = by_name(vec![self.name(value).to_owned()]);
        mil::Operation {
            r#type: "identity".to_owned(),
            inputs: [("x".to_owned(), x)].into(),
            attributes: named_attribute(&name),
            outputs: vec![self.named(name, self.function.ty(value))],
            ..Default::default()
        }
    }

    /// A scalar of the program from the vector of one element that the caller gives.
    fn squeeze(&mut self, input: &str, scalar: Value) -> Result<mil::Operation, Diagnostics> {
        let name = self.name(scalar).to_owned();
        let axes = Tensor::from_i64s(DType::I32, &[1], &[0]).map_err(values::broken_tensor)?;
        let axes = self.cx.values.tensor(&axes)?;
        let axes = self.shared(axes, &name, "axes");
        Ok(mil::Operation {
            r#type: "squeeze".to_owned(),
            inputs: [
                ("axes".to_owned(), by_name(vec![axes])),
                ("x".to_owned(), by_name(vec![input.to_owned()])),
            ]
            .into(),
            attributes: named_attribute(&name),
            outputs: vec![self.named(name, self.function.ty(scalar))],
            ..Default::default()
        })
    }

    /// `None` for constants that are not written, and for ops that the opset does not take.
    fn operation(&mut self, node: Node) -> Result<Option<mil::Operation>, Diagnostics> {
        let data = &self.function.nodes[node];
        if !self.written[node.index()] {
            return Ok(None);
        }
        if let Op::Const(payload) = &data.op {
            return self.constant(data, payload.value).map(Some);
        }
        let before = self.cx.found.items().len();
        legal::check(self.cx.program, self.function, node, self.cx.opset(), &mut self.cx.found);
        let mut blocks = Vec::new();
        for &region in &data.regions {
            blocks.push(self.block(region)?);
        }
        let name = data.op.spec().name;
        let signature = mlc_target::signature(name, self.cx.opset());
        let Some(signature) = signature.filter(|_| self.cx.found.items().len() == before) else {
            return Ok(None);
        };
        let label = match data.results.first() {
            Some(&first) => self.name(first).to_owned(),
            None => self.space.numbered(name),
        };
        let mut operation = mil::Operation {
            r#type: name.to_owned(),
            attributes: named_attribute(&label),
            blocks,
            ..Default::default()
        };
        for &result in &data.results {
            let result_name = self.name(result).to_owned();
            operation.outputs.push(self.named(result_name, self.function.ty(result)));
        }
        if data.op.spec().traits.has(Trait::Constexpr) {
            self.constexpr(data, signature, &mut operation)?;
        } else {
            self.operands(data, &mut operation);
            self.attributes(data, signature, &label, &mut operation)?;
        }
        Ok(Some(operation))
    }

    fn constant(
        &mut self,
        data: &NodeData,
        id: mlc_ir::ConstId,
    ) -> Result<mil::Operation, Diagnostics> {
        let name = data.results.first().map_or("missing", |&value| self.name(value)).to_owned();
        let Some(tensor) = self.cx.program.consts.try_get(id) else {
            self.cx.internal(format!("constant `{name}` is not in the program"));
            return Ok(mil::Operation::default());
        };
        let value = self.cx.values.tensor(tensor);
        Ok(const_operation(name, self.cx.at(data, value)?))
    }

    fn operands(&mut self, data: &NodeData, operation: &mut mil::Operation) {
        for (slot, operand) in data.op.spec().operands.iter().enumerate() {
            let values = data.operands.slot(slot);
            if !values.is_empty() {
                let names = values.iter().map(|&value| self.name(value).to_owned()).collect();
                operation.inputs.insert(operand.name.to_owned(), by_name(names));
            }
        }
    }

    fn attributes(
        &mut self,
        data: &NodeData,
        signature: &OpSignature,
        label: &str,
        operation: &mut mil::Operation,
    ) -> Result<(), Diagnostics> {
        let op = Attributes { program: self.cx.program, function: self.function, data, signature };
        let (values, defaults) = (data.op.attrs(), data.op.defaults());
        let specs = data.op.spec().attrs;
        for ((attr, value), default) in specs.iter().zip(&values).zip(&defaults) {
            let bound = match op.bind(attr, value, default.as_ref(), &mut self.cx.values) {
                Ok(bound) => bound,
                Err(problems) => {
                    self.cx.found.extend(problems);
                    continue;
                }
            };
            let argument = match bound {
                Bound::Absent => continue,
                Bound::Named(value) => by_name(vec![self.shared(value, label, attr.name)]),
                Bound::Tuple(values) => by_name(
                    values.into_iter().map(|value| self.shared(value, label, attr.name)).collect(),
                ),
                Bound::Literal(values) => by_value(values),
            };
            let param = param_name(&operation.r#type, attr.name);
            operation.inputs.insert(param.to_owned(), argument);
        }
        Ok(())
    }

    /// The name of a constant made of an attribute; equal ones have one.
    fn shared(&mut self, value: mil::Value, label: &str, param: &str) -> String {
        let key = value.encode_to_vec();
        if let Some(name) = self.shared.get(&key) {
            return name.clone();
        }
        let name = self.space.claim(&format!("{label}_{param}"));
        self.hoisted.push(const_operation(name.clone(), value));
        self.shared.insert(key, name.clone());
        name
    }

    fn constexpr(
        &mut self,
        data: &NodeData,
        signature: &OpSignature,
        operation: &mut mil::Operation,
    ) -> Result<(), Diagnostics> {
        let op = Attributes { program: self.cx.program, function: self.function, data, signature };
        let mut literals: Vec<(String, mil::Value)> = Vec::new();
        for (slot, operand) in data.op.spec().operands.iter().enumerate() {
            let Some(&value) = data.operands.slot(slot).first() else { continue };
            match self.cx.program.constant_of(self.function, value) {
                Some(tensor) => {
                    let stored = constexpr::stored(operand.name, tensor, signature)
                        .map_err(values::broken_tensor)
                        .and_then(|tensor| self.cx.values.tensor(&tensor));
                    literals.push((operand.name.to_owned(), self.cx.at(data, stored)?));
                }
                None => {
                    let argument = by_name(vec![self.name(value).to_owned()]);
                    operation.inputs.insert(operand.name.to_owned(), argument);
                }
            }
        }
        let (values, defaults) = (data.op.attrs(), data.op.defaults());
        for ((attr, value), default) in data.op.spec().attrs.iter().zip(&values).zip(&defaults) {
            match op.bind(attr, value, default.as_ref(), &mut self.cx.values) {
                Ok(Bound::Named(value)) => literals.push((attr.name.to_owned(), value)),
                Ok(_) => {}
                Err(problems) => self.cx.found.extend(problems),
            }
        }
        if let Some(shape) = constexpr::shape(self.function, data, signature) {
            let value = self.cx.values.tensor(&shape);
            literals.push(("shape".to_owned(), self.cx.at(data, value)?));
        }
        for (name, value) in literals {
            if takes_inputs(signature) {
                operation.inputs.insert(name, by_value(vec![value]));
            } else {
                operation.attributes.insert(name, value);
            }
        }
        Ok(())
    }
}

/// Whether a parameter of this type is a scalar. Core ML has no arrays of rank 0, so the caller gives
/// a vector of one element.
fn is_scalar(ty: &Type) -> bool {
    ty.as_tensor().is_some_and(|ty| ty.shape.is_empty())
}

fn by_name(names: Vec<String>) -> mil::Argument {
    use mil::argument::{Binding, binding};
    let arguments =
        names.into_iter().map(|name| Binding { binding: Some(binding::Binding::Name(name)) });
    mil::Argument { arguments: arguments.collect() }
}

fn by_value(values: Vec<mil::Value>) -> mil::Argument {
    use mil::argument::{Binding, binding};
    let arguments =
        values.into_iter().map(|value| Binding { binding: Some(binding::Binding::Value(value)) });
    mil::Argument { arguments: arguments.collect() }
}

fn named_attribute(name: &str) -> BTreeMap<String, mil::Value> {
    [("name".to_owned(), values::string(name))].into()
}

fn const_operation(name: String, value: mil::Value) -> mil::Operation {
    let mut attributes = named_attribute(&name);
    let r#type = value.r#type.clone();
    attributes.insert("val".to_owned(), value);
    mil::Operation {
        r#type: "const".to_owned(),
        outputs: vec![mil::NamedValueType { name, r#type }],
        attributes,
        ..Default::default()
    }
}
