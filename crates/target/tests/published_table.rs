//! Compares the signature table with the sheet of facts it was made from, where that stands beside the checkout.

use std::collections::BTreeSet;
use std::path::Path;

use mlc_target::{
    Absence, DataType, DefaultValue, Formula, OpSignature, Opset, Outputs, Param, ParamDtype, ops,
    versions,
};
use serde_json::Value;

const SHEET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/spec/mil_ops.json");

#[test]
fn every_entry_equals_the_sheet() {
    if !Path::new(SHEET).exists() {
        println!("skipped: no ../shared/spec/mil_ops.json beside the checkout");
        return;
    }
    let text = std::fs::read_to_string(SHEET).expect("the sheet can be read");
    let sheet: Value = serde_json::from_str(&text).expect("the sheet is JSON");
    let sheet = sheet["ops"].as_object().expect("the sheet has ops");

    let names: BTreeSet<&str> = sheet.keys().map(String::as_str).collect();
    assert_eq!(ops().collect::<BTreeSet<_>>(), names);
    for (name, entry) in sheet {
        assert_keys(name, entry, &["since", "versions", "serialized_only"]);
        let ours = versions(name);
        let published = entry["versions"].as_object().expect("an op has versions");
        assert_eq!(ours.len(), published.len(), "{name}");
        assert_eq!(entry["since"], since(ours[0].since), "{name}");
        for signature in ours {
            let theirs = &published[&since(signature.since)];
            assert_signature(signature, theirs);
            let serialized_only = entry.get("serialized_only").is_some_and(|flag| *flag == true);
            assert_eq!(signature.serialized_only, serialized_only, "{name}");
        }
    }
}

fn since(opset: Opset) -> String {
    opset.label().replace(' ', "")
}

fn assert_keys(what: &str, value: &Value, known: &[&str]) {
    for key in value.as_object().expect("an entry is an object").keys() {
        assert!(known.contains(&key.as_str()), "{what}: key `{key}` is new");
    }
}

fn assert_signature(ours: &OpSignature, theirs: &Value) {
    let what = format!("{} {}", ours.name, ours.since);
    assert_keys(&what, theirs, &["domains", "outputs", "inputs"]);
    assert_eq!(Some(ours.outputs), outputs(ours, &theirs["outputs"]), "{what}");

    let domains = theirs["domains"].as_object().expect("domains are an object");
    assert_eq!(ours.domains.len(), domains.len(), "{what}");
    for (id, dtypes) in domains {
        assert_eq!(ours.domains[id.as_str()], dtype_list(dtypes), "{what}");
    }

    let params = theirs["inputs"].as_array().expect("inputs are a list");
    assert_eq!(ours.params.len(), params.len(), "{what}");
    for (ours_param, theirs_param) in ours.params.iter().zip(params) {
        assert_param(&format!("{what}.{}", ours_param.name), ours_param, theirs_param);
    }
}

fn assert_param(what: &str, ours: &Param, theirs: &Value) {
    assert_keys(what, theirs, &["name", "kind", "dtype", "const", "optional", "default"]);
    assert_eq!(theirs["name"], ours.name, "{what}");
    assert_eq!(theirs["kind"], ours.kind.name(), "{what}");
    assert_eq!(theirs.get("const").is_some_and(|flag| *flag == true), ours.constant, "{what}");
    assert_eq!(theirs.get("optional").is_some_and(|flag| *flag == true), ours.optional, "{what}");
    let same_dtype = match (&ours.dtype, theirs.get("dtype")) {
        (ParamDtype::Untyped, theirs) => theirs.is_none(),
        (_, None) => false,
        (ParamDtype::Fixed(dtype), Some(theirs)) => theirs == dtype.name(),
        (ParamDtype::Domain(id), Some(theirs)) => theirs == id,
        (ParamDtype::OneOf(dtypes), Some(theirs)) => *dtypes == dtype_list(theirs),
    };
    assert!(same_dtype, "{what}: {:?} is not {:?}", ours.dtype, theirs.get("dtype"));
    let theirs_default = theirs.get("default").filter(|value| !value.is_null());
    assert_eq!(ours.default, theirs_default.and_then(|value| default(ours, value)), "{what}");
    assert_eq!(ours.default.is_some(), theirs_default.is_some(), "{what}");
}

fn dtype_list(value: &Value) -> Vec<DataType> {
    let names = value.as_array().expect("dtypes are a list").iter();
    names.map(|name| name.as_str().and_then(|n| n.parse().ok()).expect("a dtype")).collect()
}

/// The sheet gives `topk` its text also where the op has no such parameter yet; there both results are always made.
fn outputs(ours: &OpSignature, value: &Value) -> Option<Outputs> {
    let flag = "return_indices";
    match value.as_str() {
        Some("n") => Some(Outputs::Variadic),
        Some("2 (1 if return_indices=false)") if ours.param(flag).is_some() => {
            Some(Outputs::OneLessUnless { count: 2, flag })
        }
        Some("2 (1 if return_indices=false)") => Some(Outputs::Exactly(2)),
        Some(_) => None,
        None => value.as_u64().and_then(|n| usize::try_from(n).ok()).map(Outputs::Exactly),
    }
}

fn default(param: &Param, value: &Value) -> Option<DefaultValue> {
    match value {
        Value::Bool(flag) => Some(DefaultValue::Bool(*flag)),
        Value::Number(number) => match number.as_i64() {
            Some(integer) => Some(DefaultValue::Int(integer)),
            None => number.as_f64().map(DefaultValue::Float),
        },
        Value::String(text) => string_default(param, text),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn string_default(param: &Param, text: &str) -> Option<DefaultValue> {
    if let Some(words) = text.strip_prefix("absent: ") {
        return absence(words).map(DefaultValue::Absent);
    }
    if param.dtype != ParamDtype::Fixed(DataType::String) {
        return formula(text).map(DefaultValue::Formula);
    }
    // Only an equal string can be returned: the typed form borrows from the table.
    match param.default {
        Some(DefaultValue::Str(ours)) if ours == text => Some(DefaultValue::Str(ours)),
        Some(_) | None => None,
    }
}

fn formula(text: &str) -> Option<Formula> {
    Some(match text {
        "ones" => Formula::Ones,
        "zeros" => Formula::Zeros,
        "ones(r-2)" => Formula::OnesPerSpatialDim,
        "zeros(2*(r-2))" => Formula::ZerosPerSpatialEnd,
        "range(r)" => Formula::AllAxes,
        "zeros(weight.shape[0]) in weight dtype" => Formula::ZerosPerWeightRow,
        "arange(boxes.shape[0])" => Formula::BoxNumbers,
        _ => return None,
    })
}

fn absence(words: &str) -> Option<Absence> {
    Some(match words {
        "computed" => Absence::Computed,
        "0" | "zeros" => Absence::Zero,
        "allowed only if VECTOR_SIZE==1" => Absence::ScalarEntries,
        "per tensor" => Absence::PerTensor,
        "no mask" => Absence::NoMask,
        "all axes" => Absence::AllAxes,
        "len(split_sizes)" => Absence::SplitSizes,
        "equal parts" => Absence::EqualParts,
        "every size-1 axis" => Absence::UnitAxes,
        "not align_corners" => Absence::NotAlignCorners,
        _ => return None,
    })
}
