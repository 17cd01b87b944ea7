//! What inputs and outputs stand for, with their tensors.

use std::collections::BTreeSet;

use mlc_diag::codes;
use mlc_tensor::Tensor;

use super::arg::convert;
use super::{Arg, Graph, InputKind, InputSpec, OutputKind, OutputSpec, Sym};
use crate::report::Report;
use crate::schema::{self, TreeSpec, key_paths};
use crate::torch_save::Weights;

/// The two dicts of a program.
pub(crate) struct Stored {
    pub(crate) weights: Weights,
    pub(crate) constants: Weights,
}

/// What each input of `graph` stands for.
pub(crate) fn inputs(
    module: &schema::GraphModule,
    graph: &Graph,
    stored: &Stored,
    report: &mut Report,
) -> Vec<InputSpec> {
    let specs = &module.signature.input_specs;
    if specs.len() != graph.inputs.len() {
        let message = format!(
            "the graph has {} inputs and the signature {}",
            graph.inputs.len(),
            specs.len()
        );
        report.graph(message, "signature");
        return Vec::new();
    }
    let mut user_names = user_input_names(module, specs).into_iter();
    let mut out = Vec::with_capacity(specs.len());
    for (i, (spec, value)) in specs.iter().zip(&graph.inputs).enumerate() {
        let entry = format!("input {i}");
        let mut resolver = Resolver { graph, stored, entry: &entry, report };
        if let Some((name, kind)) = resolver.input(spec, value, &mut user_names) {
            out.push(InputSpec { value: value.clone(), name, kind });
        }
    }
    out
}

struct Resolver<'a> {
    graph: &'a Graph,
    stored: &'a Stored,
    entry: &'a str,
    report: &'a mut Report,
}

impl Resolver<'_> {
    fn input(
        &mut self,
        spec: &schema::InputSpec,
        value: &Arg,
        user_names: &mut impl Iterator<Item = Option<String>>,
    ) -> Option<(String, InputKind)> {
        use schema::InputSpec as Spec;
        Some(match spec {
            Spec::Parameter(p) => {
                self.same_name(&p.arg.name, value);
                let tensor = self.tensor(&p.parameter_name, true, value)?;
                (p.parameter_name.clone(), InputKind::Parameter(tensor))
            }
            Spec::Buffer(b) => {
                self.same_name(&b.arg.name, value);
                let tensor = self.tensor(&b.buffer_name, b.persistent, value)?;
                let kind = InputKind::Buffer { tensor, persistent: b.persistent };
                (b.buffer_name.clone(), kind)
            }
            Spec::TensorConstant(c) => {
                self.same_name(&c.arg.name, value);
                let tensor = self.tensor(&c.tensor_constant_name, false, value)?;
                (c.tensor_constant_name.clone(), InputKind::Constant(tensor))
            }
            Spec::CustomObj(o) => {
                self.same_name(&o.arg.name, value);
                (o.custom_obj_name.clone(), InputKind::CustomObj)
            }
            Spec::Token(t) => (t.arg.name.clone(), InputKind::Token),
            Spec::User(user) => {
                // What is refused here was refused as an input of the graph as well.
                let own = convert(&user.arg, &mut |_| None).ok()?;
                if !same_literal(&own, value) {
                    let message = format!("{} is not the value its spec names", self.entry);
                    self.report.graph(message, self.entry);
                }
                let name = user_names.next().flatten();
                let known = matches!(
                    value,
                    Arg::None
                        | Arg::Str(_)
                        | Arg::Int(Sym::Known(_))
                        | Arg::Float(Sym::Known(_))
                        | Arg::Bool(Sym::Known(_))
                );
                let kind = if known { InputKind::Literal } else { InputKind::User };
                (name.unwrap_or_else(|| self.value_name(value)), kind)
            }
            Spec::Literal(literal) => {
                let own = constant(&literal.value);
                if !same_literal(&own, value) {
                    let message = format!("{} is not the literal its spec names", self.entry);
                    self.report.graph(message, self.entry);
                }
                let name = user_names.next().flatten();
                (name.unwrap_or_else(|| literal.name.clone()), InputKind::Literal)
            }
            Spec::Unknown(key) => {
                let message = format!("{} is of kind `{key}`, which is not known", self.entry);
                self.report.at_entry(codes::UNSUPPORTED_SCHEMA, message, self.entry);
                return None;
            }
        })
    }

    fn value_name(&self, value: &Arg) -> String {
        let mut found = None;
        value.for_each_name(&mut |name, _| found = Some(name.to_owned()));
        found.unwrap_or_else(|| self.entry.replace(' ', "_"))
    }

    fn same_name(&mut self, name: &str, value: &Arg) {
        let own = self.value_name(value);
        if own != name {
            let message =
                format!("{} is `{own}` in the graph and `{name}` in its spec", self.entry);
            self.report.graph(message, self.entry);
        }
    }

    /// The stored tensor of a qualified name, in the dict it belongs to or else in the other one.
    fn tensor(&mut self, name: &str, persistent: bool, value: &Arg) -> Option<Tensor> {
        let Stored { weights, constants } = self.stored;
        let (first, second) = if persistent { (weights, constants) } else { (constants, weights) };
        match first.get(name).or_else(|| second.get(name)) {
            Some(Ok(tensor)) => {
                self.fits(name, tensor, value);
                Some(tensor.clone())
            }
            // Broken ones are reported for the whole dict.
            Some(Err(e)) if e.is_corrupt() => None,
            Some(Err(e)) => {
                self.report.weight(name, e);
                None
            }
            None => {
                let message = format!("there are no values for `{name}`");
                self.report.at_entry(codes::CORRUPT_WEIGHTS, message, name);
                None
            }
        }
    }

    fn fits(&mut self, name: &str, tensor: &Tensor, value: &Arg) {
        let Arg::Tensor(input) = value else {
            self.report.graph(format!("`{name}` is passed as what is no tensor"), self.entry);
            return;
        };
        let Some(meta) = self.graph.tensors.get(input) else { return };
        let same_rank = meta.sizes.len() == tensor.shape().len();
        let differs = |(size, &own): (&crate::symexpr::SymExpr, &u64)| {
            size.as_int().is_some_and(|size| u64::try_from(size) != Ok(own))
        };
        let shape_differs = !same_rank || meta.sizes.iter().zip(tensor.shape()).any(differs);
        if shape_differs || meta.dtype != tensor.dtype() {
            let sizes: Vec<String> = meta.sizes.iter().map(ToString::to_string).collect();
            let message = format!(
                "`{name}` is stored as {} {:?}, and the graph takes {} [{}]",
                tensor.dtype(),
                tensor.shape(),
                meta.dtype,
                sizes.join(", ")
            );
            self.report.at_entry(codes::CORRUPT_WEIGHTS, message, name);
        }
    }
}

fn constant(value: &schema::ConstantValue) -> Arg {
    match value {
        schema::ConstantValue::None(_) => Arg::None,
        schema::ConstantValue::Int(i) => Arg::Int(Sym::Known(*i)),
        schema::ConstantValue::Float(x) => Arg::Float(Sym::Known(x.0)),
        schema::ConstantValue::Str(text) => Arg::Str(text.clone()),
        schema::ConstantValue::Bool(b) => Arg::Bool(Sym::Known(*b)),
    }
}

/// Equality with NaN equal to itself.
fn same_literal(a: &Arg, b: &Arg) -> bool {
    match (a, b) {
        (Arg::Float(Sym::Known(a)), Arg::Float(Sym::Known(b))) => a.to_bits() == b.to_bits(),
        (a, b) => a == b,
    }
}

fn call_signature(module: &schema::GraphModule) -> Option<&schema::CallSignature> {
    module.module_call_graph.iter().find(|call| call.fqn.is_empty())?.signature.as_ref()
}

/// One name for each of the user's inputs, unless the tree does not fit or names clash.
fn user_input_names(
    module: &schema::GraphModule,
    specs: &[schema::InputSpec],
) -> Vec<Option<String>> {
    let count = specs
        .iter()
        .filter(|s| matches!(s, schema::InputSpec::User(_) | schema::InputSpec::Literal(_)))
        .count();
    let names = call_signature(module).and_then(|call| {
        let spec = TreeSpec::parse(&call.in_spec).ok()?;
        let paths = key_paths(&spec, &module.treespec_namedtuple_fields);
        let roots = call.forward_arg_names.as_deref().unwrap_or(&[]);
        paths.iter().map(|path| input_name(path, roots)).collect::<Option<Vec<_>>>()
    });
    match names {
        Some(names) if names.len() == count && all_differ(&names) => {
            names.into_iter().map(Some).collect()
        }
        _ => vec![None; count],
    }
}

/// The tree of the inputs is `(args, kwargs)`.
fn input_name(path: &[String], roots: &[String]) -> Option<String> {
    let (side, rest) = path.split_first()?;
    let (first, rest) = rest.split_first()?;
    let first = match side.as_str() {
        "0" => roots.get(first.parse::<usize>().ok()?)?,
        _ => first,
    };
    let parts: Vec<&str> = std::iter::once(first).chain(rest).map(String::as_str).collect();
    Some(parts.join("_"))
}

fn all_differ(names: &[String]) -> bool {
    names.iter().collect::<BTreeSet<_>>().len() == names.len()
}

/// What each output of `graph` stands for.
pub(crate) fn outputs(
    module: &schema::GraphModule,
    graph: &Graph,
    report: &mut Report,
) -> Vec<OutputSpec> {
    let specs = &module.signature.output_specs;
    if specs.len() != graph.outputs.len() {
        let message = format!(
            "the graph has {} outputs and the signature {}",
            graph.outputs.len(),
            specs.len()
        );
        report.graph(message, "signature");
        return Vec::new();
    }
    let targets = MutationTargets::of(module);
    let mut names = user_output_names(module, specs).into_iter();
    let mut out = Vec::with_capacity(specs.len());
    for (i, (spec, value)) in specs.iter().zip(&graph.outputs).enumerate() {
        let entry = format!("output {i}");
        let Some((arg, kind)) = output_kind(spec) else {
            if let schema::OutputSpec::Unknown(key) = spec {
                let message = format!("{entry} is of kind `{key}`, which is not known");
                report.at_entry(codes::UNSUPPORTED_SCHEMA, message, &entry);
            }
            continue;
        };
        let mut own = None;
        value.for_each_name(&mut |name, _| own = Some(name));
        if let (Some(arg), Some(own)) = (arg, own)
            && arg != own
        {
            let message = format!("{entry} is `{own}` in the graph and `{arg}` in its spec");
            report.graph(message, &entry);
        }
        if let Some(message) = targets.missing(&kind) {
            report.graph(message, &entry);
        }
        let name = if kind == OutputKind::User { names.next().flatten() } else { None };
        out.push(OutputSpec { value: value.clone(), name, kind });
    }
    out
}

/// What a spec says of its output: the name of the value, if it is one tensor, and where it goes.
fn output_kind(spec: &schema::OutputSpec) -> Option<(Option<&str>, OutputKind)> {
    use schema::OutputSpec as Spec;
    Some(match spec {
        Spec::User(user) => {
            let name = match &user.arg {
                schema::Argument::Tensor(name) => Some(name.name.as_str()),
                _ => None,
            };
            (name, OutputKind::User)
        }
        Spec::BufferMutation(b) => {
            (Some(&b.arg.name), OutputKind::BufferMutation(b.buffer_name.clone()))
        }
        Spec::InputMutation(i) => {
            (Some(&i.arg.name), OutputKind::InputMutation(i.user_input_name.clone()))
        }
        Spec::ParameterMutation(p) => {
            (Some(&p.arg.name), OutputKind::ParameterMutation(p.parameter_name.clone()))
        }
        Spec::Loss(arg) => (Some(&arg.arg.name), OutputKind::Loss),
        Spec::GradientToParameter(p) => {
            (Some(&p.arg.name), OutputKind::GradientToParameter(p.parameter_name.clone()))
        }
        Spec::GradientToInput(i) => {
            (Some(&i.arg.name), OutputKind::GradientToInput(i.user_input_name.clone()))
        }
        Spec::Token(arg) => (Some(&arg.arg.name), OutputKind::Token),
        Spec::Unknown(_) => return None,
    })
}

/// What a mutation may write to.
struct MutationTargets<'a> {
    buffers: BTreeSet<&'a str>,
    parameters: BTreeSet<&'a str>,
    users: BTreeSet<&'a str>,
}

impl<'a> MutationTargets<'a> {
    fn of(module: &'a schema::GraphModule) -> Self {
        let mut all =
            Self { buffers: BTreeSet::new(), parameters: BTreeSet::new(), users: BTreeSet::new() };
        for spec in &module.signature.input_specs {
            match spec {
                schema::InputSpec::Buffer(b) => all.buffers.insert(&b.buffer_name),
                schema::InputSpec::Parameter(p) => all.parameters.insert(&p.parameter_name),
                schema::InputSpec::User(user) => match &user.arg {
                    schema::Argument::Tensor(name) => all.users.insert(&name.name),
                    _ => false,
                },
                _ => false,
            };
        }
        all
    }

    fn missing(&self, kind: &OutputKind) -> Option<String> {
        let (known, what, name) = match kind {
            OutputKind::BufferMutation(name) => (&self.buffers, "buffer", name),
            OutputKind::ParameterMutation(name) => (&self.parameters, "parameter", name),
            OutputKind::InputMutation(name) => (&self.users, "input", name),
            _ => return None,
        };
        (!known.contains(name.as_str()))
            .then(|| format!("{what} `{name}` is written and is no input"))
    }
}

/// One name for each of the user's outputs whose place in the result has a key.
fn user_output_names(
    module: &schema::GraphModule,
    specs: &[schema::OutputSpec],
) -> Vec<Option<String>> {
    let count = specs.iter().filter(|s| matches!(s, schema::OutputSpec::User(_))).count();
    let paths = call_signature(module)
        .and_then(|call| TreeSpec::parse(&call.out_spec).ok())
        .map(|spec| key_paths(&spec, &module.treespec_namedtuple_fields))
        .filter(|paths| paths.len() == count)
        .unwrap_or_default();
    let keyed = |path: &Vec<String>| path.iter().any(|part| part.parse::<u64>().is_err());
    let names: Vec<Option<String>> =
        paths.iter().map(|path| keyed(path).then(|| path.join("_"))).collect();
    let known: Vec<String> = names.iter().flatten().cloned().collect();
    if names.len() == count && all_differ(&known) { names } else { vec![None; count] }
}
