//! Every constant of a model, in a fixed order.

use crate::spec::mil::value::immediate_value::Value as Immediate;
use crate::spec::mil::value_type::Type;
use crate::spec::{Model, mil, model};

/// Calls `visit` with every [`mil::Value`] of the model: literals, attributes and values nested in
/// lists, tuples and dictionaries, after the value that holds them. Sub-models of a pipeline are
/// included. Functions, block specializations, arguments and attributes come in order of their names.
pub fn visit_values<'m>(model: &'m Model, visit: &mut dyn FnMut(&'m mil::Value)) {
    let pipeline = match &model.r#type {
        Some(model::Type::MlProgram(program)) => return visit_program(program, visit),
        Some(model::Type::Pipeline(pipeline)) => Some(pipeline),
        Some(model::Type::PipelineClassifier(outer)) => outer.pipeline.as_ref(),
        Some(model::Type::PipelineRegressor(outer)) => outer.pipeline.as_ref(),
        None => None,
    };
    for model in pipeline.iter().flat_map(|pipeline| &pipeline.models) {
        visit_values(model, visit);
    }
}

/// The constants of the model that stand in weight files.
pub fn blob_values(model: &Model) -> Vec<(&mil::value::BlobFileValue, &mil::Value)> {
    let mut found = Vec::new();
    visit_values(model, &mut |value| {
        if let Some(mil::value::Value::BlobFileValue(blob)) = &value.value {
            found.push((blob, value));
        }
    });
    found
}

fn visit_program<'m>(program: &'m mil::Program, visit: &mut dyn FnMut(&'m mil::Value)) {
    program.attributes.values().for_each(|value| visit_value(value, visit));
    for function in program.functions.values() {
        function.inputs.iter().for_each(|input| visit_named(input, visit));
        function.attributes.values().for_each(|value| visit_value(value, visit));
        function.block_specializations.values().for_each(|block| visit_block(block, visit));
    }
}

fn visit_block<'m>(block: &'m mil::Block, visit: &mut dyn FnMut(&'m mil::Value)) {
    block.inputs.iter().for_each(|input| visit_named(input, visit));
    block.attributes.values().for_each(|value| visit_value(value, visit));
    for operation in &block.operations {
        for binding in operation.inputs.values().flat_map(|argument| &argument.arguments) {
            if let Some(mil::argument::binding::Binding::Value(value)) = &binding.binding {
                visit_value(value, visit);
            }
        }
        operation.outputs.iter().for_each(|output| visit_named(output, visit));
        operation.attributes.values().for_each(|value| visit_value(value, visit));
        operation.blocks.iter().for_each(|block| visit_block(block, visit));
    }
}

fn visit_value<'m>(value: &'m mil::Value, visit: &mut dyn FnMut(&'m mil::Value)) {
    visit(value);
    value.r#type.iter().for_each(|ty| visit_type(ty, visit));
    let Some(mil::value::Value::ImmediateValue(immediate)) = &value.value else { return };
    match &immediate.value {
        Some(Immediate::List(list)) => {
            list.values.iter().for_each(|value| visit_value(value, visit));
        }
        Some(Immediate::Tuple(tuple)) => {
            tuple.values.iter().for_each(|value| visit_value(value, visit));
        }
        Some(Immediate::Dictionary(dictionary)) => {
            for pair in &dictionary.values {
                pair.key.iter().chain(&pair.value).for_each(|value| visit_value(value, visit));
            }
        }
        Some(Immediate::Tensor(_)) | None => {}
    }
}

fn visit_named<'m>(named: &'m mil::NamedValueType, visit: &mut dyn FnMut(&'m mil::Value)) {
    named.r#type.iter().for_each(|ty| visit_type(ty, visit));
}

fn visit_type<'m>(ty: &'m mil::ValueType, visit: &mut dyn FnMut(&'m mil::Value)) {
    match &ty.r#type {
        Some(Type::TensorType(tensor)) => {
            tensor.attributes.values().for_each(|value| visit_value(value, visit));
        }
        Some(Type::ListType(list)) => list.r#type.iter().for_each(|ty| visit_type(ty, visit)),
        Some(Type::TupleType(tuple)) => tuple.types.iter().for_each(|ty| visit_type(ty, visit)),
        Some(Type::DictionaryType(dictionary)) => {
            let types = dictionary.key_type.iter().chain(&dictionary.value_type);
            types.for_each(|ty| visit_type(ty, visit));
        }
        Some(Type::StateType(state)) => {
            state.wrapped_type.iter().for_each(|ty| visit_type(ty, visit));
        }
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Pipeline, PipelineClassifier};

    fn in_file(offset: u64) -> mil::Value {
        let blob = mil::value::BlobFileValue { file_name: "w".to_owned(), offset };
        mil::Value { value: Some(mil::value::Value::BlobFileValue(blob)), ..Default::default() }
    }

    fn immediate(value: Immediate) -> mil::Value {
        let value = mil::value::ImmediateValue { value: Some(value) };
        mil::Value { value: Some(mil::value::Value::ImmediateValue(value)), ..Default::default() }
    }

    fn literal(value: mil::Value) -> mil::Argument {
        let binding = Some(mil::argument::binding::Binding::Value(value));
        mil::Argument { arguments: vec![mil::argument::Binding { binding }] }
    }

    fn program(operations: Vec<mil::Operation>) -> Model {
        let block = mil::Block { operations, ..Default::default() };
        let function = mil::Function {
            block_specializations: [("CoreML8".to_owned(), block)].into(),
            attributes: [("f".to_owned(), in_file(2))].into(),
            ..Default::default()
        };
        let program = mil::Program {
            functions: [("main".to_owned(), function)].into(),
            attributes: [("p".to_owned(), in_file(1))].into(),
            ..Default::default()
        };
        Model { r#type: Some(model::Type::MlProgram(program)), ..Default::default() }
    }

    fn offsets(model: &Model) -> Vec<u64> {
        blob_values(model).into_iter().map(|(blob, _)| blob.offset).collect()
    }

    #[test]
    fn finds_values_wherever_they_stand() {
        let pair = mil::dictionary_value::KeyValuePair {
            key: Some(in_file(4)),
            value: Some(immediate(Immediate::Tuple(mil::TupleValue { values: vec![in_file(5)] }))),
        };
        let dictionary = mil::DictionaryValue { values: vec![pair] };
        let list = mil::ListValue {
            values: vec![in_file(3), immediate(Immediate::Dictionary(dictionary))],
        };
        let inner = mil::Operation {
            inputs: [("x".to_owned(), literal(in_file(7)))].into(),
            ..Default::default()
        };
        let outer = mil::Operation {
            inputs: [("values".to_owned(), literal(immediate(Immediate::List(list))))].into(),
            attributes: [("val".to_owned(), in_file(6))].into(),
            blocks: vec![mil::Block { operations: vec![inner], ..Default::default() }],
            ..Default::default()
        };
        assert_eq!(offsets(&program(vec![outer])), [1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn looks_into_the_models_of_a_pipeline() {
        let pipeline =
            Pipeline { models: vec![program(vec![]), program(vec![])], ..Default::default() };
        let classifier = PipelineClassifier { pipeline: Some(pipeline) };
        let model = Model {
            r#type: Some(model::Type::PipelineClassifier(classifier)),
            ..Default::default()
        };
        assert_eq!(offsets(&model), [1, 2, 1, 2]);
    }
}
