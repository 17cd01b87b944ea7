//! Graphs in a few lines.

use std::collections::BTreeMap;

use mlc_diag::Loc;
use mlc_eval::{Array, EvalValue, Evaluator};
use mlc_tensor::DType;
use mlc_torch::dtype::Layout;
use mlc_torch::graph::{
    Arg, Dialect, ExportedProgram, Graph, InputKind, InputSpec, Node, Output, OutputKind,
    OutputSpec, Sym, Target, TensorMeta,
};
use mlc_torch::lower;
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
        self.meta(name, DType::F32, (shape, strides));
        self
    }

    fn meta(&mut self, name: &str, dtype: DType, (shape, strides): (&[i64], &[i64])) {
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
        self.meta(name, dtype, (shape, &packed(shape)));
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

    fn lowered(mut self, outputs: &[&str]) -> (Result<mlc_ir::Program, String>, Vec<Array>) {
        self.graph.outputs = outputs.iter().map(|name| tensor(name)).collect();
        let outputs = outputs
            .iter()
            .map(|name| OutputSpec { value: tensor(name), name: None, kind: OutputKind::User })
            .collect();
        let source = ExportedProgram {
            torch_version: "2.7.1".to_owned(),
            schema: (8, 7),
            dialect: Dialect::Training,
            graph: self.graph,
            inputs: self.inputs,
            outputs,
            ranges: BTreeMap::new(),
            expr_ranges: Vec::new(),
        };
        let program = lower::lower(&source, &lower::registry())
            .map_err(|found| found.items()[0].message.clone());
        (program, self.data)
    }

    /// The elements of the outputs.
    pub(crate) fn run(self, outputs: &[&str]) -> Vec<Vec<f64>> {
        let (program, data) = self.lowered(outputs);
        let program = program.unwrap();
        assert!(!mlc_ir::verify(&program).has_errors());
        let func = program.functions.iter().next().map(|(id, _)| id).unwrap();
        let mut evaluator = Evaluator::new(&program, func);
        let mut states = evaluator.initial_states().unwrap();
        let results = evaluator.run(&data, &mut states).unwrap();
        results
            .iter()
            .map(|result| match result {
                EvalValue::Array(array) => array.to_f64s().unwrap(),
                _ => panic!("no tensor"),
            })
            .collect()
    }

    /// Why the graph cannot be lowered.
    pub(crate) fn error(self, outputs: &[&str]) -> String {
        self.lowered(outputs).0.unwrap_err()
    }
}
