//! One function: parameters with the ranges of their extents, and the body.

use mlc_diag::codes;
use mlc_ir::{Builder, Dim, FuncId, Function, Param, ParamKind, SymbolRange, Type};
use mlc_target::Opset;

use super::block::BlockReader;
use super::description::{self, Flexibility};
use super::{Reading, types};
use crate::interface::{FeatureKey, FeatureOptions};
use crate::spec::{FeatureDescription, FunctionDescription, ModelDescription, mil};

/// Reads the function `name` into the program; problems go to `cx`.
pub(super) fn read(
    cx: &mut Reading,
    name: &str,
    function: &mil::Function,
    description: &ModelDescription,
) {
    let entry = format!("function {name}");
    let Some(description) = description::of_function(description, name) else {
        cx.report(codes::CORRUPT_PACKAGE, &entry, "the function is not described");
        return;
    };
    let opset = Opset::from_opset_string(&function.opset);
    let Some(opset) = opset.filter(|&opset| opset <= cx.opset) else {
        let message = format!("operation set `{}` does not fit the model", function.opset);
        cx.report(codes::UNSUPPORTED_SCHEMA, &entry, message);
        return;
    };
    let Some(block) = function.block_specializations.get(&function.opset) else {
        let message = format!("there is no body for `{}`", function.opset);
        cx.report(codes::CORRUPT_PACKAGE, &entry, message);
        return;
    };
    let func = cx.program.functions.push(Function::new(name));
    let mut params = Params { cx, func, entry: &entry, description: &description };
    let Some(bound) = params.read(function) else { return };
    let mut reader = BlockReader::new(cx, name, opset, block);
    for (input, value) in function.inputs.iter().zip(bound) {
        reader.define(&input.name, value);
    }
    let mut program = std::mem::take(&mut reader.cx.program);
    let mut builder = Builder::new(&mut program, func);
    let results = reader.block(&mut builder, block);
    reader.cx.program = program;
    if let Some(results) = results {
        let function = &mut cx.program.functions[func];
        for (output, value) in block.outputs.iter().zip(results) {
            function.add_output(output.as_str(), value);
        }
    }
    outputs(cx, name, block, &description);
}

/// Options of outputs; the described outputs must be those of the body.
fn outputs(cx: &mut Reading, name: &str, block: &mil::Block, description: &FunctionDescription) {
    let described: Vec<&String> = description.output.iter().map(|feature| &feature.name).collect();
    if described != block.outputs.iter().collect::<Vec<_>>() {
        let message = format!("outputs {described:?} are described, {:?} exist", block.outputs);
        cx.report(codes::CORRUPT_PACKAGE, &format!("function {name}"), message);
    }
    for feature in &description.output {
        match description::feature(feature) {
            Ok((options, _)) => remember(cx, name, &feature.name, options),
            Err(problem) => {
                let message = format!("output `{}`: {problem}", feature.name);
                cx.report(codes::UNSUPPORTED_SIGNATURE, &format!("function {name}"), message);
            }
        }
    }
}

fn remember(cx: &mut Reading, function: &str, name: &str, options: FeatureOptions) {
    if options != FeatureOptions::default() {
        cx.features.insert(FeatureKey::new(function, name), options);
    }
}

struct Params<'a> {
    cx: &'a mut Reading,
    func: FuncId,
    entry: &'a str,
    description: &'a FunctionDescription,
}

impl Params<'_> {
    /// One value a parameter, or nothing if one could not be read.
    fn read(&mut self, function: &mil::Function) -> Option<Vec<mlc_ir::Value>> {
        let mut values = Vec::new();
        for input in &function.inputs {
            match self.param(input) {
                Ok(value) => values.push(value),
                Err(problem) => {
                    let message = format!("input `{}`: {problem}", input.name);
                    self.cx.report(codes::UNSUPPORTED_SIGNATURE, self.entry, message);
                }
            }
        }
        let described = self.description.input.len() + self.description.state.len();
        if described != function.inputs.len() {
            let message =
                format!("{described} inputs are described, {} exist", function.inputs.len());
            self.cx.report(codes::CORRUPT_PACKAGE, self.entry, message);
        }
        (values.len() == function.inputs.len()).then_some(values)
    }

    fn param(&mut self, input: &mil::NamedValueType) -> Result<mlc_ir::Value, String> {
        let ty = types::value_type(input.r#type.as_ref())?;
        let (kind, features) = match ty {
            Type::State(_) => (ParamKind::State, &self.description.state),
            _ => (ParamKind::Input, &self.description.input),
        };
        let by_name = |feature: &&FeatureDescription| feature.name == input.name;
        let feature = features.iter().find(by_name).ok_or("it is not described")?;
        let (options, flexibility) = description::feature(feature)?;
        let mut param = match kind {
            ParamKind::Input => Param::input(input.name.as_str()),
            ParamKind::State => Param::state(input.name.as_str()),
        };
        let ty = self.with_symbols(&input.name, &ty, &flexibility)?;
        if ty.as_tensor().is_some_and(|ty| ty.static_shape().is_none()) {
            let is_given = !flexibility.default.is_empty();
            param.default_shape = is_given.then_some(flexibility.default);
        }
        param.enumerated = flexibility.enumerated;
        let function = self.cx.program.functions[self.func].name.clone();
        remember(self.cx, &function, &input.name, options);
        Ok(self.cx.program.functions[self.func].add_param(param, ty))
    }

    /// The type with a symbol for each open extent, in the range that the description gives it.
    fn with_symbols(
        &mut self,
        name: &str,
        ty: &Type,
        flexibility: &Flexibility,
    ) -> Result<Type, String> {
        let Flexibility { default, ranges, enumerated } = flexibility;
        let rank = ty.as_tensor().map_or(0, mlc_ir::TensorType::rank);
        let has_rank = |n: usize| n == 0 || rank == 0 || n == rank;
        if !has_rank(default.len())
            || !has_rank(ranges.len())
            || enumerated.iter().any(|shape| shape.len() != rank)
        {
            return Err(format!("the described shapes do not fit {ty}"));
        }
        let mut axis = 0;
        Ok(ty.map_dims(&mut |dim| {
            let at = axis;
            axis += 1;
            if *dim != Dim::Unknown {
                return dim.clone();
            }
            let seen =
                || enumerated.iter().map(|shape| i64::try_from(shape[at]).unwrap_or(i64::MAX));
            let range = match (ranges.get(at), seen().min(), seen().max()) {
                (Some(&(min, max)), _, _) => SymbolRange { min, max },
                (None, Some(min), max) => SymbolRange { min, max },
                (None, None, _) => SymbolRange::default(),
            };
            let symbols = &mut self.cx.program.symbols;
            let mut symbol = format!("{name}_{at}");
            while symbols.contains(&symbol) {
                symbol.push('_');
            }
            symbols.declare(&symbol, range);
            Dim::symbol(&symbol)
        }))
    }
}
