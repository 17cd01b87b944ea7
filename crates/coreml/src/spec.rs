//! The messages of a model file.
//!
//! Meaning and units of every field stand in `proto/*.proto`. Maps are ordered by key, so encoding a
//! message twice gives the same bytes. Fields that `proto/` does not declare are lost in decoding;
//! [`crate::unknown`] finds them.

pub use crate::proto::core_ml::specification::{
    ArrayFeatureType, DictionaryFeatureType, DoubleFeatureType, FeatureDescription, FeatureType,
    FunctionDescription, ImageFeatureType, Int64FeatureType, Metadata, Model, ModelDescription,
    Pipeline, PipelineClassifier, PipelineRegressor, SequenceFeatureType, SizeRange,
    StateFeatureType, StringFeatureType, array_feature_type, dictionary_feature_type, feature_type,
    image_feature_type, model, sequence_feature_type, state_feature_type,
};

/// ML Programs: functions, operations, types and constants.
pub mod mil {
    pub use crate::proto::core_ml::specification::mil_spec::{
        Argument, Block, DataType, DictionaryType, DictionaryValue, Dimension, Function, ListType,
        ListValue, NamedValueType, Operation, Program, StateType, TensorType, TensorValue,
        TupleType, TupleValue, Value, ValueType, argument, dictionary_value, dimension,
        tensor_value, value, value_type,
    };
}
