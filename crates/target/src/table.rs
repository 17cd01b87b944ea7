//! The signature table: its text form, and the lookups.
//!
//! The data stand in `data/ios*.ops`, one file for each opset that brought signatures; an op that a file leaves out
//! keeps the signature it had. Blank lines and lines that begin with `#` say nothing. The rest:
//!
//! ```text
//! op NAME -> OUTPUTS [serialized-only] [where ID in DTYPE DTYPE.., ID in ..]
//!   PARAM: [KIND] [const] [DTYPE] [optional | optional:ABSENCE | = DEFAULT]
//! ```
//!
//! - OUTPUTS is a number, `n` (variadic), or `2-unless-FLAG`: two results, one when the parameter FLAG is false.
//! - KIND is left out for tensors. DTYPE is a data type, several joined by `|`, or the ID of a domain.
//! - DEFAULT is an integer, a float (with a point or exponent), `true`, `false`, a `"string"`, a `[list, of, those]`
//!   or a formula; ABSENCE says what the op does without the argument. Any of the three makes the parameter optional.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use thiserror::Error;

use crate::nearest::closest;
use crate::{
    Absence, DataType, DefaultValue, Formula, OpSignature, Opset, Outputs, Param, ParamDtype,
    ParamKind,
};

/// All signatures by op, oldest first.
type Table = BTreeMap<&'static str, Vec<OpSignature>>;

/// The data files, oldest first.
const SOURCES: [(Opset, &str); 4] = [
    (Opset::Ios15, include_str!("../data/ios15.ops")),
    (Opset::Ios16, include_str!("../data/ios16.ops")),
    (Opset::Ios17, include_str!("../data/ios17.ops")),
    (Opset::Ios18, include_str!("../data/ios18.ops")),
];

/// The signature of `op` in `opset`: the newest one that is not newer than `opset`.
///
/// `None` when the op is unknown or came later; [`first_opset`] tells the two apart.
pub fn signature(op: &str, opset: Opset) -> Option<&'static OpSignature> {
    versions(op).iter().rfind(|signature| signature.since <= opset)
}

/// The opset that brought `op`; `None` when there is no such op.
pub fn first_opset(op: &str) -> Option<Opset> {
    versions(op).first().map(|signature| signature.since)
}

/// All signatures of `op`, oldest first; empty when there is no such op.
pub fn versions(op: &str) -> &'static [OpSignature] {
    table().get(op).map_or(&[], Vec::as_slice)
}

/// The names of all ops of all opsets, in alphabetical order.
pub fn ops() -> impl Iterator<Item = &'static str> {
    table().keys().copied()
}

/// Up to three op names close to `op`, closest first; empty when none is.
pub fn nearest(op: &str) -> Vec<&'static str> {
    closest(op, ops())
}

fn table() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| parse_all().expect("a test parses the data that is compiled in"))
}

fn parse_all() -> Result<Table, TableError> {
    let mut table = Table::new();
    for (since, text) in SOURCES {
        parse(since, text, &mut table)?;
    }
    Ok(table)
}

/// A line of a data file that is not what the module docs say.
#[derive(Debug, PartialEq, Eq, Error)]
#[error("data/{since}.ops:{line}: {fault}")]
struct TableError {
    since: Opset,
    line: usize,
    fault: Fault,
}

#[derive(Debug, PartialEq, Eq, Error)]
enum Fault {
    #[error("no `->` with a number of results after the op")]
    Outputs,
    #[error("a domain is not of the form `ID in DTYPE..`")]
    Domain,
    #[error("a parameter is not of the form `NAME: ..`, or stands before the first op")]
    Param,
    #[error("`{0}` is defined twice")]
    Twice(&'static str),
    #[error("`{0}` is neither a dtype, a domain of the op nor any word of the grammar")]
    Word(&'static str),
    #[error("`{0}` is no default")]
    Default(&'static str),
    #[error("`{0}` is no parameter of the op")]
    Flag(&'static str),
}

/// Adds the signatures in `text` to `table`, which holds those of the earlier opsets.
fn parse(since: Opset, text: &'static str, table: &mut Table) -> Result<(), TableError> {
    let mut current: Option<(usize, OpSignature)> = None;
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let content = line.trim();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let at = |fault| TableError { since, line: number, fault };
        if let Some(header) = content.strip_prefix("op ") {
            finish(current.take(), table)?;
            current = Some((number, parse_header(since, header).map_err(at)?));
        } else {
            let (_, signature) = current.as_mut().ok_or_else(|| at(Fault::Param))?;
            let param = parse_param(content, signature).map_err(at)?;
            signature.params.push(param);
        }
    }
    finish(current, table)
}

/// Checks what needs the whole entry and files it.
fn finish(entry: Option<(usize, OpSignature)>, table: &mut Table) -> Result<(), TableError> {
    let Some((line, signature)) = entry else {
        return Ok(());
    };
    let at = |fault| TableError { since: signature.since, line, fault };
    if let Outputs::OneLessUnless { flag, .. } = signature.outputs
        && signature.param(flag).is_none()
    {
        return Err(at(Fault::Flag(flag)));
    }
    let versions = table.entry(signature.name).or_default();
    if versions.last().is_some_and(|last| last.since >= signature.since) {
        return Err(at(Fault::Twice(signature.name)));
    }
    versions.push(signature);
    Ok(())
}

fn parse_header(since: Opset, header: &'static str) -> Result<OpSignature, Fault> {
    let (head, domains) = match header.split_once(" where ") {
        Some((head, domains)) => (head, parse_domains(domains)?),
        None => (header, BTreeMap::new()),
    };
    let (name, results) = head.split_once(" -> ").ok_or(Fault::Outputs)?;
    let (outputs, serialized_only) = match results.split_once(' ') {
        None => (results, false),
        Some((outputs, "serialized-only")) => (outputs, true),
        Some((_, word)) => return Err(Fault::Word(word)),
    };
    let outputs = parse_outputs(outputs)?;
    Ok(OpSignature { name, since, params: Vec::new(), domains, outputs, serialized_only })
}

fn parse_outputs(text: &'static str) -> Result<Outputs, Fault> {
    if text == "n" {
        return Ok(Outputs::Variadic);
    }
    let (count, flag) = match text.split_once("-unless-") {
        Some((count, flag)) => (count, Some(flag)),
        None => (text, None),
    };
    let count = count.parse().map_err(|_| Fault::Outputs)?;
    Ok(flag.map_or(Outputs::Exactly(count), |flag| Outputs::OneLessUnless { count, flag }))
}

fn parse_domains(text: &'static str) -> Result<BTreeMap<&'static str, Vec<DataType>>, Fault> {
    let mut domains = BTreeMap::new();
    for domain in text.split(", ") {
        let (id, dtypes) = domain.split_once(" in ").ok_or(Fault::Domain)?;
        let dtypes = dtypes.split(' ').map(parse_dtype).collect::<Result<Vec<_>, _>>()?;
        if domains.insert(id, dtypes).is_some() {
            return Err(Fault::Twice(id));
        }
    }
    Ok(domains)
}

fn parse_dtype(word: &'static str) -> Result<DataType, Fault> {
    word.parse().map_err(|_| Fault::Word(word))
}

fn parse_param(line: &'static str, signature: &OpSignature) -> Result<Param, Fault> {
    let (name, rest) = line.split_once(": ").ok_or(Fault::Param)?;
    if signature.param(name).is_some() {
        return Err(Fault::Twice(name));
    }
    let (words, default) = match rest.split_once(" = ") {
        Some((words, default)) => (words, Some(parse_default(default)?)),
        None => (rest, None),
    };
    let mut param = Param {
        name,
        kind: ParamKind::Tensor,
        dtype: ParamDtype::Untyped,
        constant: false,
        optional: default.is_some(),
        default,
    };
    for word in words.split(' ') {
        add_word(word, signature, &mut param)?;
    }
    Ok(param)
}

fn add_word(word: &'static str, signature: &OpSignature, param: &mut Param) -> Result<(), Fault> {
    if word == "const" {
        param.constant = true;
    } else if word == "optional" {
        param.optional = true;
    } else if let Some(name) = word.strip_prefix("optional:") {
        let absence = Absence::ALL.into_iter().find(|absence| absence.name() == name);
        param.optional = true;
        param.default = Some(DefaultValue::Absent(absence.ok_or(Fault::Word(word))?));
    } else if let Some(kind) = ParamKind::ALL.into_iter().find(|kind| kind.name() == word) {
        param.kind = kind;
    } else if let Some((id, _)) = signature.domains.get_key_value(word) {
        param.dtype = ParamDtype::Domain(id);
    } else if word.contains('|') {
        let dtypes = word.split('|').map(parse_dtype).collect::<Result<_, _>>()?;
        param.dtype = ParamDtype::OneOf(dtypes);
    } else {
        param.dtype = ParamDtype::Fixed(parse_dtype(word)?);
    }
    Ok(())
}

fn parse_default(text: &'static str) -> Result<DefaultValue, Fault> {
    let inside = |open, close| text.strip_prefix(open).and_then(|rest| rest.strip_suffix(close));
    if let Some(string) = inside('"', '"') {
        return Ok(DefaultValue::Str(string));
    }
    if let Some(items) = inside('[', ']') {
        let items = items.split(", ").filter(|item| !item.is_empty()).map(parse_default);
        return Ok(DefaultValue::List(items.collect::<Result<_, _>>()?));
    }
    if let Ok(value) = text.parse() {
        return Ok(DefaultValue::Bool(value));
    }
    if let Ok(value) = text.parse() {
        return Ok(DefaultValue::Int(value));
    }
    if let Some(formula) = Formula::ALL.into_iter().find(|formula| formula.name() == text) {
        return Ok(DefaultValue::Formula(formula));
    }
    match text.parse() {
        Ok(value) if f64::is_finite(value) => Ok(DefaultValue::Float(value)),
        Ok(_) | Err(_) => Err(Fault::Default(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::{Fault, SOURCES, Table, first_opset, nearest, ops, parse, parse_all, signature};
    use crate::{
        Absence, DataType, DefaultValue, Formula, OpSignature, Opset, Outputs, Param, ParamDtype,
        ParamKind,
    };

    /// Prints a signature in the form of the data files.
    fn print(signature: &OpSignature) -> String {
        let mut text = format!("op {} -> ", signature.name);
        text += &match signature.outputs {
            Outputs::Exactly(count) => count.to_string(),
            Outputs::Variadic => "n".to_owned(),
            Outputs::OneLessUnless { count, flag } => format!("{count}-unless-{flag}"),
        };
        if signature.serialized_only {
            text += " serialized-only";
        }
        let domains: Vec<String> = signature
            .domains
            .iter()
            .map(|(id, all)| format!("{id} in {}", join(all, " ")))
            .collect();
        if !domains.is_empty() {
            text += &format!(" where {}", domains.join(", "));
        }
        for param in &signature.params {
            text += &format!("\n{}", print_param(param));
        }
        text
    }

    fn print_param(param: &Param) -> String {
        let mut words = vec![format!("  {}:", param.name)];
        if param.kind != ParamKind::Tensor {
            words.push(param.kind.name().to_owned());
        }
        if param.constant {
            words.push("const".to_owned());
        }
        match &param.dtype {
            ParamDtype::Fixed(dtype) => words.push(dtype.to_string()),
            ParamDtype::OneOf(dtypes) => words.push(join(dtypes, "|")),
            ParamDtype::Domain(id) => words.push((*id).to_owned()),
            ParamDtype::Untyped => {}
        }
        match &param.default {
            Some(DefaultValue::Absent(absence)) => {
                words.push(format!("optional:{}", absence.name()));
            }
            Some(default) => words.push(format!("= {default}")),
            None if param.optional => words.push("optional".to_owned()),
            None => {}
        }
        words.join(" ")
    }

    fn join(dtypes: &[DataType], separator: &str) -> String {
        let names: Vec<&str> = dtypes.iter().map(|dtype| dtype.name()).collect();
        names.join(separator)
    }

    /// The file's own lines, domains sorted by id as the table keeps them.
    fn canonical(text: &str) -> Vec<String> {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines
            .map(|line| match line.split_once(" where ") {
                Some((head, domains)) => {
                    let mut domains: Vec<&str> = domains.split(", ").collect();
                    domains.sort_unstable();
                    format!("{head} where {}", domains.join(", "))
                }
                None => line.to_owned(),
            })
            .collect()
    }

    #[test]
    fn all_data_parse_and_print_back() {
        let table = parse_all().unwrap();
        let mut total = 0;
        for (since, text) in SOURCES {
            let printed: Vec<String> = table
                .values()
                .flatten()
                .filter(|signature| signature.since == since)
                .flat_map(|signature| {
                    print(signature).lines().map(str::to_owned).collect::<Vec<_>>()
                })
                .collect();
            assert_eq!(printed.len(), canonical(text).len(), "{since}");
            for (printed, line) in printed.iter().zip(canonical(text)) {
                assert_eq!(*printed, line, "{since}");
            }
            total += table.values().flatten().filter(|s| s.since == since).count();
        }
        assert_eq!((table.len(), total), (168, 227));
    }

    #[test]
    fn every_signature_is_consistent() {
        for signature in ops().flat_map(super::versions) {
            let name = signature.name;
            for param in &signature.params {
                let tensor = param.kind == ParamKind::Tensor;
                assert_eq!(tensor, param.dtype != ParamDtype::Untyped, "{name}.{}", param.name);
                assert!(param.optional || param.default.is_none(), "{name}.{}", param.name);
                if let Some(DefaultValue::Str(_)) = param.default {
                    let string = ParamDtype::Fixed(DataType::String);
                    assert_eq!(param.dtype, string, "{name}.{}", param.name);
                }
            }
            for id in signature.domains.keys() {
                let used = signature.params.iter().any(|p| p.dtype == ParamDtype::Domain(id));
                assert!(used, "{name}: domain {id} has no parameter");
            }
        }
    }

    #[test]
    fn gather_changes_twice() {
        let indices = |opset| {
            let gather = signature("gather", opset).unwrap();
            let param = gather.param("indices").unwrap();
            join(gather.allowed(param).unwrap(), " ")
        };
        assert_eq!(indices(Opset::Ios15), "int32");
        assert_eq!(indices(Opset::Ios16), "int32 uint16 int16");
        assert!(signature("gather", Opset::Ios15).unwrap().param("batch_dims").is_none());
        let newest = signature("gather", Opset::Ios17).unwrap();
        assert_eq!(newest.since, Opset::Ios17);
        let names: Vec<&str> = newest.params.iter().map(|param| param.name).collect();
        assert_eq!(names, ["x", "indices", "axis", "batch_dims", "validate_indices"]);
        let axis = newest.param("axis").unwrap();
        assert_eq!((axis.constant, axis.optional), (true, true));
        assert_eq!(axis.default, Some(DefaultValue::Int(0)));
        for later in [Opset::Ios18, Opset::Ios26] {
            assert!(std::ptr::eq(signature("gather", later).unwrap(), newest));
        }
    }

    #[test]
    fn conv_frees_the_weight_dtype_in_ios17() {
        let old = signature("conv", Opset::Ios16).unwrap();
        assert_eq!(old.since, Opset::Ios15);
        assert_eq!(old.param("weight").unwrap().dtype, ParamDtype::Domain("T"));
        let new = signature("conv", Opset::Ios17).unwrap();
        assert_eq!(new.param("weight").unwrap().dtype, ParamDtype::Domain("U"));
        assert_eq!(new.domains["U"], [DataType::Fp16, DataType::Fp32]);
        let default = |name: &str| new.param(name).unwrap().default.clone();
        assert_eq!(default("strides"), Some(DefaultValue::Formula(Formula::OnesPerSpatialDim)));
        assert_eq!(default("pad_type"), Some(DefaultValue::Str("valid")));
        assert_eq!(default("groups"), Some(DefaultValue::Int(1)));
    }

    #[test]
    fn attention_came_with_ios18() {
        let op = "scaled_dot_product_attention";
        assert_eq!(first_opset(op), Some(Opset::Ios18));
        assert_eq!(signature(op, Opset::Ios17), None);
        let mask = signature(op, Opset::Ios26).unwrap().param("attn_mask").unwrap();
        assert!(mask.optional && !mask.constant);
        assert_eq!(mask.default, Some(DefaultValue::Absent(Absence::NoMask)));
    }

    #[test]
    fn results_kinds_and_rare_fields() {
        let newest = |op| signature(op, Opset::Ios26).unwrap();
        assert_eq!(newest("split").outputs, Outputs::Variadic);
        assert_eq!(signature("topk", Opset::Ios15).unwrap().outputs, Outputs::Exactly(2));
        let flagged = Outputs::OneLessUnless { count: 2, flag: "return_indices" };
        assert_eq!(newest("topk").outputs, flagged);
        assert_eq!(newest("write_state").outputs, Outputs::Exactly(0));
        assert!(newest("write_state").serialized_only && !newest("read_state").serialized_only);
        assert_eq!(newest("write_state").param("input").unwrap().kind, ParamKind::State);
        assert_eq!(newest("concat").param("values").unwrap().kind, ParamKind::Tuple);
        assert_eq!(newest("cond").param("_true_fn").unwrap().kind, ParamKind::Block);
        assert_eq!(newest("const").param("val").unwrap().kind, ParamKind::Internal);
        let back = newest("lstm").param("bias_back").unwrap();
        assert!(back.optional && back.default.is_none());
        let epsilon = newest("rsqrt").param("epsilon").unwrap().default.clone();
        assert_eq!(epsilon, Some(DefaultValue::Float(9.999999960041972e-13)));
    }

    #[test]
    fn unknown_ops_have_neighbours() {
        assert_eq!(signature("gathr", Opset::Ios26), None);
        assert_eq!(first_opset("gathr"), None);
        assert_eq!(nearest("gathr"), ["gather"]);
        assert_eq!(nearest("Sigmoid"), ["sigmoid"]);
        assert!(ops().is_sorted());
    }

    #[test]
    fn forms_the_data_do_not_use_yet() {
        let mut table = Table::new();
        parse(
            Opset::Ios26,
            "op f -> 1\n  p: const int32|bool = [1, 2]\n  q: fp32 = []",
            &mut table,
        )
        .unwrap();
        let params = &table["f"][0].params;
        let dtypes = ParamDtype::OneOf(vec![DataType::Int32, DataType::Bool]);
        assert_eq!(params[0].dtype, dtypes);
        let list = DefaultValue::List(vec![DefaultValue::Int(1), DefaultValue::Int(2)]);
        assert_eq!(params[0].default, Some(list));
        assert_eq!(params[1].default, Some(DefaultValue::List(vec![])));
        assert_eq!(print_param(&params[0]), "  p: const int32|bool = [1, 2]");
    }

    #[test]
    fn faults_name_the_line() {
        let rows = [
            ("  x: fp32", 1, Fault::Param),
            ("op f", 1, Fault::Outputs),
            ("op f -> many", 1, Fault::Outputs),
            ("op f -> 1 later", 1, Fault::Word("later")),
            ("op f -> 1 where T", 1, Fault::Domain),
            ("op f -> 1 where T in fp99", 1, Fault::Word("fp99")),
            ("op f -> 1 where T in fp16, T in fp32", 1, Fault::Twice("T")),
            ("# f\nop f -> 1\n  x", 3, Fault::Param),
            ("op f -> 1\n  x: U", 2, Fault::Word("U")),
            ("op f -> 1\n  x: fp32 optional:never", 2, Fault::Word("optional:never")),
            ("op f -> 1\n  x: fp32 = NaN", 2, Fault::Default("NaN")),
            ("op f -> 1\n  x: fp32 = [1, half]", 2, Fault::Default("half")),
            ("op f -> 1\n  x: fp32\n  x: fp32", 3, Fault::Twice("x")),
            ("op f -> 1\nop f -> 2", 2, Fault::Twice("f")),
            ("op f -> 2-unless-g\n  x: fp32", 1, Fault::Flag("g")),
        ];
        for (text, line, fault) in rows {
            let error = parse(Opset::Ios15, text, &mut Table::new()).unwrap_err();
            assert_eq!((error.line, &error.fault), (line, &fault), "{text}");
            assert!(error.to_string().starts_with(&format!("data/ios15.ops:{line}: ")));
        }
    }
}
