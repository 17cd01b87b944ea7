//! Graphs in a few lines.

use std::collections::BTreeMap;

use mlc_diag::{Diagnostics, Loc};
use mlc_eval::{Array, EvalValue, Evaluator};
use mlc_tensor::{DType, Tensor};
use mlc_torch::dtype::Layout;
use mlc_torch::graph::{
    Arg, Dialect, ExportedProgram, Graph, InputKind, InputSpec, Node, Output, OutputKind,
    OutputSpec, Sym, Target, TensorMeta,
};
use mlc_torch::lower::{self, LowerOptions, StateMode};
use mlc_torch::symexpr::SymExpr;

/// A graph of f32 tensors under construction.
pub(crate) struct Case {
    graph: Graph,
    inputs: Vec<InputSpec>,
    data: Vec<Array>,
}

pub(crate) fn ints(all: &[i64]) -> Arg {
    Arg::Ints(all.iter().map(|&n| Sym::Known(n)).collect())
}

pub(crate) fn int(n: i64) -> Arg {
    Arg::Int(Sym::Known(n))
}

pub(crate) fn tensor(name: &str) -> Arg {
    Arg::Tensor(name.to_owned())
}

fn packed(shape: &[i64]) -> Vec<i64> {
    let mut strides = vec![1; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i] * shape[i];
    }
    strides
}

impl Case {
    pub(crate) fn new() -> Self {
        let graph = Graph {
            inputs: Vec::new(),
            nodes: Vec::new(),
            outputs: Vec::new(),
            tensors: BTreeMap::new(),
            sym_ints: BTreeMap::new(),
            sym_floats: BTreeMap::new(),
            sym_bools: BTreeMap::new(),
            single_return: false,
        };
        Self { graph, inputs: Vec::new(), data: Vec::new() }
    }

    /// Declares a tensor that does not lie packed in memory.
    pub(crate) fn declare(mut self, name: &str, shape: &[i64], strides: &[i64]) -> Self {
        self.put(name, DType::F32, (shape, strides));
        self
    }

    /// Declares a tensor that lies packed in memory.
    pub(crate) fn meta(mut self, name: &str, dtype: DType, shape: &[i64]) -> Self {
        self.put(name, dtype, (shape, &packed(shape)));
        self
    }

    fn put(&mut self, name: &str, dtype: DType, (shape, strides): (&[i64], &[i64])) {
        let expr = |all: &[i64]| all.iter().map(|&n| SymExpr::Int(n)).collect();
        let meta = TensorMeta {
            dtype,
            sizes: expr(shape),
            strides: expr(strides),
            layout: Layout::Strided,
            requires_grad: false,
        };
        self.graph.tensors.insert(name.to_owned(), meta);
    }

    fn add(mut self, name: &str, dtype: DType, shape: &[i64]) -> Self {
        self.put(name, dtype, (shape, &packed(shape)));
        self.graph.inputs.push(tensor(name));
        self.inputs.push(InputSpec {
            value: tensor(name),
            name: name.to_owned(),
            kind: InputKind::User,
        });
        self
    }

    /// An input with the elements 0, 1, 2, …
    pub(crate) fn input(self, name: &str, shape: &[i64]) -> Self {
        let extents: Vec<usize> = shape.iter().map(|&n| n as usize).collect();
        let count = extents.iter().product::<usize>();
        let values = (0..count).map(|i| i as f32).collect();
        let array = Array::from_f32s(DType::F32, &extents, values).unwrap();
        let mut case = self.add(name, DType::F32, shape);
        case.data.push(array);
        case
    }

    /// An input of indices.
    pub(crate) fn indices(self, name: &str, values: &[i64]) -> Self {
        let array = Array::from_i64s(DType::I64, &[values.len()], values.to_vec()).unwrap();
        let mut case = self.add(name, DType::I64, &[values.len() as i64]);
        case.data.push(array);
        case
    }

    /// A buffer of f32, a vector.
    pub(crate) fn buffer(self, name: &str, values: &[f32]) -> Self {
        let floats: Vec<f64> = values.iter().map(|&x| f64::from(x)).collect();
        let tensor = Tensor::from_f64s(DType::F32, &[values.len() as u64], &floats).unwrap();
        self.kept(name, tensor)
    }

    /// A buffer that counts: a scalar of i64, 0.
    pub(crate) fn count(self, name: &str) -> Self {
        self.kept(name, Tensor::from_i64s(DType::I64, &[], &[0]).unwrap())
    }

    fn kept(self, name: &str, tensor: Tensor) -> Self {
        let shape: Vec<i64> = tensor.shape().iter().map(|&n| n as i64).collect();
        let mut case = self.add(name, tensor.dtype(), &shape);
        if let Some(spec) = case.inputs.last_mut() {
            spec.kind = InputKind::Buffer { tensor, persistent: true };
        }
        case
    }

    /// The graph alone, for a higher-order op.
    pub(crate) fn into_graph(mut self, outputs: &[&str]) -> Graph {
        self.graph.outputs = outputs.iter().map(|name| tensor(name)).collect();
        self.graph
    }

    /// `names… = op(args…)` of a higher-order op.
    pub(crate) fn higher(mut self, op: &str, names: &[&str], args: &[Arg]) -> Self {
        self.graph.nodes.push(Node {
            target: Target {
                namespace: "higher_order".to_owned(),
                op: op.to_owned(),
                overload: String::new(),
            },
            args: args.iter().map(|arg| (String::new(), arg.clone())).collect(),
            outputs: names.iter().map(|name| Output::Tensor((*name).to_owned())).collect(),
            loc: Loc::unknown(),
        });
        self
    }

    /// `name = op(args…)`
    pub(crate) fn node(mut self, name: &str, op: &str, args: &[(&str, Arg)]) -> Self {
        self.graph.nodes.push(Node {
            target: Target {
                namespace: "aten".to_owned(),
                op: op.to_owned(),
                overload: "default".to_owned(),
            },
            args: args.iter().map(|(name, arg)| ((*name).to_owned(), arg.clone())).collect(),
            outputs: vec![Output::Tensor(name.to_owned())],
            loc: Loc::unknown(),
        });
        self
    }

    /// The graph, lowered.
    pub(crate) fn with(
        self,
        outputs: &[&str],
        states: StateMode,
    ) -> Result<lower::Lowered, Diagnostics> {
        lower::lower_with(
            &self.source(outputs),
            &lower::registry(),
            &LowerOptions { states, ..LowerOptions::default() },
        )
    }

    /// How often an op stands in the program.
    pub(crate) fn ops(self, outputs: &[&str], op: &str) -> usize {
        let lowered = self.with(outputs, StateMode::Buffers).unwrap();
        let (_, function) = lowered.program.functions.iter().next().unwrap();
        let mut count = 0;
        function.for_each_node(&mut |_, node| {
            count += usize::from(function.nodes[node].op.spec().name == op);
        });
        count
    }

    fn lowered(mut self, outputs: &[&str]) -> (Result<mlc_ir::Program, String>, Vec<Array>) {
        let data = std::mem::take(&mut self.data);
        let program = lower::lower(&self.source(outputs), &lower::registry())
            .map_err(|found| found.items()[0].message.clone());
        (program, data)
    }

    fn source(mut self, outputs: &[&str]) -> ExportedProgram {
        self.graph.outputs = outputs.iter().map(|name| tensor(name)).collect();
        let outputs = outputs
            .iter()
            .map(|name| OutputSpec { value: tensor(name), name: None, kind: OutputKind::User })
            .collect();
        ExportedProgram {
            examples: BTreeMap::new(),
            torch_version: "2.7.1".to_owned(),
            schema: (8, 7),
            dialect: Dialect::Training,
            graph: self.graph,
            inputs: self.inputs,
            outputs,
            ranges: BTreeMap::new(),
            expr_ranges: Vec::new(),
        }
    }

    /// The elements of the outputs.
    pub(crate) fn run(self, outputs: &[&str]) -> Vec<Vec<f64>> {
        self.calls(outputs, 1).remove(0)
    }

    /// The elements of the only output in successive calls that keep the states.
    pub(crate) fn steps(self, output: &[&str], count: usize) -> Vec<Vec<f64>> {
        self.calls(output, count).into_iter().map(|mut outputs| outputs.remove(0)).collect()
    }

    fn calls(self, outputs: &[&str], count: usize) -> Vec<Vec<Vec<f64>>> {
        let (program, data) = self.lowered(outputs);
        let program = program.unwrap();
        assert!(!mlc_ir::verify(&program).has_errors());
        let func = program.functions.iter().next().map(|(id, _)| id).unwrap();
        let mut evaluator = Evaluator::new(&program, func);
        let mut states = evaluator.initial_states().unwrap();
        let array = |result: &EvalValue| match result {
            EvalValue::Array(array) => array.to_f64s().unwrap(),
            _ => panic!("no tensor"),
        };
        (0..count)
            .map(|_| evaluator.run(&data, &mut states).unwrap().iter().map(array).collect())
            .collect()
    }

    /// Why the graph cannot be lowered.
    pub(crate) fn error(self, outputs: &[&str]) -> String {
        self.lowered(outputs).0.unwrap_err()
    }
}
