//! The op table of the IR against the signatures of every opset, entry by entry.
//!
//! `mlc-target` has the signatures, and a test of it proves them against the published sheet. What is
//! not the same by intent stands in [`EXCEPTIONS`]; an exception that is not needed fails too.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use mlc_ir::ops::{self, Op};
use mlc_ir::{Arity, AttrKind, AttrSpec, AttrValue, ConstPool, F64, OpSpec, ResultCount};
use mlc_target::{
    Absence, DataType, DefaultValue, Formula, OpSignature, Outputs, Param, ParamKind, versions,
};
use mlc_tensor::{DType, Tensor};

/// What differs, as `op.parameter`, and why.
const EXCEPTIONS: &[(&str, &str)] = &[
    ("conv_quantized", "a leftover of neural networks that ML Programs do not take"),
    ("const.val", "the IR calls the constant `value`; packages hold it as an attribute"),
    ("classify.classes", "labels that are integers are `class_ids` in the IR, and one is needed"),
    ("constexpr_lut_to_dense.shape", "the form of iOS 18 has the shape of `indices`"),
    ("constexpr_sparse_to_dense.shape", "the form of iOS 18 has the shape of `mask`"),
    ("crop_resize.roi", "the form before iOS 17, which has no `boxes`"),
    ("crop_resize.boxes", "the form from iOS 17 on, which has no `roi`"),
    ("non_maximum_suppression.score_threshold", "iOS 17 dropped it"),
];

/// Ops of which the number of results depends on their arguments or on the opset.
const RESULTS_INFERRED: [&str; 5] =
    ["cond", "non_maximum_suppression", "split", "topk", "while_loop"];

/// Parameters that packages hold as literals and the signatures do not mark as constants.
const LITERALS: [(&str, &str); 4] = [
    ("make_list", "elem_shape"),
    ("reshape_like", "begins"),
    ("reshape_like", "ends"),
    ("reshape_like", "end_masks"),
];

#[test]
fn every_entry_equals_the_signatures() {
    let mut table = Table::default();
    let names: BTreeSet<&str> = mlc_target::ops().collect();
    assert!(names.len() > 160);
    for &name in &names {
        match ops::spec(name) {
            Some(spec) => table.op(spec),
            None => table.differs(name, "the IR has no such op"),
        }
    }
    for spec in ops::specs() {
        assert!(names.contains(spec.name), "`{}` is no MIL op", spec.name);
    }
    assert!(table.problems.is_empty(), "{}", table.problems.join("\n"));
    for (what, reason) in EXCEPTIONS {
        assert!(table.excused.contains(what), "nothing of `{what}` differs: {reason}");
    }
}

/// What was found to differ.
#[derive(Default)]
struct Table {
    problems: Vec<String>,
    excused: BTreeSet<&'static str>,
}

impl Table {
    fn differs(&mut self, what: &str, message: impl std::fmt::Display) {
        match EXCEPTIONS.iter().find(|(excused, _)| *excused == what) {
            Some((excused, _)) => drop(self.excused.insert(excused)),
            None => self.problems.push(format!("{what}: {message}")),
        }
    }

    fn op(&mut self, spec: &OpSpec) {
        let defaults = defaults(spec);
        for signature in versions(spec.name) {
            self.results(spec, signature);
            let mut blocks = 0;
            for param in &signature.params {
                let what = format!("{}.{}", spec.name, param.name);
                let attr = spec.attrs.iter().position(|attr| attr.name == param.name);
                match (spec.operand(param.name), attr) {
                    (Some(slot), None) => self.operand(&what, spec.operands[slot].arity, param),
                    (None, Some(at)) => {
                        self.attribute(&what, (&spec.attrs[at], defaults[at].as_ref()), param);
                        self.literal(spec, &spec.attrs[at], param);
                    }
                    (None, None) if param.kind == ParamKind::Block => blocks += 1,
                    (None, None) => {
                        self.differs(&what, format_args!("{} has it", signature.since));
                    }
                    (Some(_), Some(_)) => self.differs(&what, "operand and attribute"),
                }
            }
            if blocks != spec.regions.len() {
                self.differs(spec.name, format_args!("{blocks} blocks"));
            }
        }
        self.names(spec);
    }

    fn results(&mut self, spec: &OpSpec, signature: &OpSignature) {
        let inferred = RESULTS_INFERRED.contains(&spec.name);
        let same = match (spec.results, signature.outputs) {
            (ResultCount::Fixed(ours), Outputs::Exactly(theirs)) => ours == theirs && !inferred,
            (ResultCount::Fixed(_), _) => false,
            (ResultCount::Inferred, _) => inferred,
        };
        if !same {
            let what = format!("{} in {}", spec.name, signature.since);
            self.differs(&what, format_args!("{:?}, {:?}", spec.results, signature.outputs));
        }
    }

    /// Every operand and attribute is a parameter of some opset.
    fn names(&mut self, spec: &OpSpec) {
        let operands = spec.operands.iter().map(|operand| operand.name);
        for name in operands.chain(spec.attrs.iter().map(|attr| attr.name)) {
            let renamed =
                matches!((spec.name, name), ("const", "value") | ("classify", "class_ids"));
            let known = versions(spec.name).iter().any(|version| version.param(name).is_some());
            if known == renamed {
                self.differs(&format!("{}.{name}", spec.name), "no opset has it");
            }
        }
    }

    /// A value that may be computed is an operand; a constant one is an operand if it is a tensor of
    /// weights.
    fn operand(&mut self, what: &str, arity: Arity, param: &Param) {
        let wanted = match (param.kind, param.optional) {
            (ParamKind::Tuple, _) => Arity::Many,
            (_, true) => Arity::Opt,
            (_, false) => Arity::One,
        };
        if arity != wanted {
            self.differs(what, format_args!("{arity:?}, not {wanted:?}"));
        }
        if param.constant && param.kind != ParamKind::Tensor {
            self.differs(what, "a constant that is no tensor is an operand");
        }
    }

    fn attribute(
        &mut self,
        what: &str,
        (attr, default): (&AttrSpec, Option<&AttrValue>),
        param: &Param,
    ) {
        if attr.required == param.optional {
            self.differs(what, format_args!("required: {}", attr.required));
        } else if param.optional && !same_default(attr.kind, default, param.default.as_ref()) {
            let theirs = &param.default;
            self.differs(what, format_args!("{default:?} is not {theirs:?}"));
        }
        if !fits(attr.kind, param.kind) {
            self.differs(what, format_args!("{:?} as a {}", attr.kind, param.kind.name()));
        }
    }

    /// An attribute is a constant in packages, of a type that can hold it.
    fn literal(&mut self, spec: &OpSpec, attr: &AttrSpec, param: &Param) {
        let what = format!("{}.{}", spec.name, attr.name);
        if param.constant == LITERALS.contains(&(spec.name, attr.name)) {
            self.differs(&what, format_args!("constant: {}", param.constant));
        }
        for signature in versions(spec.name) {
            let Some(param) = signature.param(attr.name) else { continue };
            for &dtype in signature.allowed(param).unwrap_or_default() {
                if !holds(attr.kind, dtype) {
                    self.differs(&what, format_args!("{:?} as {dtype}", attr.kind));
                }
            }
        }
    }
}

/// The defaults of an op; those of required attributes are anything.
fn defaults(spec: &OpSpec) -> Vec<Option<AttrValue>> {
    let tensor = Tensor::from_bytes(DType::Bool, &[], vec![1]).unwrap();
    let constant = ConstPool::default().intern(tensor);
    let given = |attr: &AttrSpec| {
        attr.required.then(|| match attr.kind {
            AttrKind::Int | AttrKind::OptInt => AttrValue::Int(1),
            AttrKind::Float | AttrKind::OptFloat => AttrValue::Float(F64(1.0)),
            AttrKind::Bool | AttrKind::OptBool => AttrValue::Bool(true),
            AttrKind::Str => AttrValue::Str("x".to_owned()),
            AttrKind::Ints | AttrKind::OptInts => AttrValue::Ints(Vec::new()),
            AttrKind::Bools => AttrValue::Bools(Vec::new()),
            AttrKind::Strs => AttrValue::Strs(Vec::new()),
            AttrKind::DType => AttrValue::DType(DType::F32),
            AttrKind::Word(words) => AttrValue::Word(words[0]),
            AttrKind::Const => AttrValue::Const(constant),
        })
    };
    let given: Vec<Option<AttrValue>> = spec.attrs.iter().map(given).collect();
    Op::from_attrs(spec.name, &given).unwrap().unwrap().defaults()
}

fn fits(attr: AttrKind, param: ParamKind) -> bool {
    match param {
        ParamKind::Tensor => !matches!(attr, AttrKind::Strs),
        ParamKind::Tuple => matches!(attr, AttrKind::Ints | AttrKind::Bools),
        ParamKind::List => matches!(attr, AttrKind::Strs),
        ParamKind::State | ParamKind::Block | ParamKind::Any | ParamKind::Internal => false,
    }
}

fn holds(attr: AttrKind, dtype: DataType) -> bool {
    match attr {
        AttrKind::Int | AttrKind::Ints | AttrKind::OptInt | AttrKind::OptInts => {
            matches!(dtype, DataType::Int32 | DataType::Uint32 | DataType::Int8 | DataType::Int16)
        }
        AttrKind::Float | AttrKind::OptFloat => {
            matches!(dtype, DataType::Fp16 | DataType::Fp32 | DataType::Int32)
        }
        AttrKind::Bool | AttrKind::Bools | AttrKind::OptBool => dtype == DataType::Bool,
        AttrKind::Str | AttrKind::Strs | AttrKind::DType | AttrKind::Word(_) => {
            dtype == DataType::String
        }
        AttrKind::Const => true,
    }
}

/// An empty list and `None` stand for what MIL does when the argument is left out.
fn same_default(kind: AttrKind, ours: Option<&AttrValue>, theirs: Option<&DefaultValue>) -> bool {
    let Some(ours) = ours else { return false };
    match (ours, theirs) {
        (AttrValue::None, None | Some(DefaultValue::Absent(_))) => true,
        (AttrValue::None, Some(DefaultValue::Formula(formula))) => *formula == Formula::AllAxes,
        (AttrValue::Ints(items), None) => items.is_empty(),
        (AttrValue::Ints(items), Some(DefaultValue::Formula(formula))) => {
            let known = [Formula::OnesPerSpatialDim, Formula::ZerosPerSpatialEnd];
            items.is_empty() && known.contains(formula)
        }
        (AttrValue::Bools(items), None | Some(DefaultValue::Absent(Absence::NoMask))) => {
            items.is_empty()
        }
        (AttrValue::Ints(ours), Some(DefaultValue::List(theirs))) => {
            let equal = |(&ours, theirs): (&i64, &DefaultValue)| *theirs == DefaultValue::Int(ours);
            ours.len() == theirs.len() && ours.iter().zip(theirs).all(equal)
        }
        (AttrValue::Int(ours), Some(DefaultValue::Int(theirs))) => ours == theirs,
        (AttrValue::Bool(ours), Some(DefaultValue::Bool(theirs))) => ours == theirs,
        (AttrValue::Float(ours), Some(DefaultValue::Int(theirs))) => ours.0 == *theirs as f64,
        // Some stand in the sheet as the f32 number next to the decimal one.
        (AttrValue::Float(ours), Some(DefaultValue::Float(theirs))) => {
            ours.0 as f32 == *theirs as f32
        }
        (AttrValue::Word(ours), Some(DefaultValue::Str(theirs))) => ours == theirs,
        (AttrValue::Str(ours), Some(DefaultValue::Str(theirs))) => ours == theirs,
        (AttrValue::DType(ours), Some(DefaultValue::Str(theirs))) => {
            let theirs: Option<DataType> = theirs.parse().ok();
            kind == AttrKind::DType && theirs.map(mlc_coreml::dtype::dtype) == Some(*ours)
        }
        _ => false,
    }
}
