//! Statements as ops.

use mlc_diag::{Loc, codes};
use mlc_ir::{Builder, Inferred, Node, Op, OpError, OpSpec, Operands, Region, ops};
use mlc_tensor::Tensor;

use super::declared;
use super::function::FunctionCx;
use super::literal::{Misfit, default_dtype};
use super::operand::Given;
use crate::ast::OpAst;

/// Most combinations of element types that are tried for the literals of one op.
const MAX_ATTEMPTS: usize = 64;

/// An op that only lacks the tensors of its literals.
struct Pending<'t> {
    ast: &'t OpAst,
    op: Op,
    slots: Vec<Vec<Given<'t>>>,
    regions: Vec<Region>,
}

impl FunctionCx<'_, '_> {
    /// Appends the op of a statement to `region` and names its results.
    pub(super) fn op(&mut self, region: Region, ast: &OpAst) {
        let node = self.try_op(region, ast);
        let Some(node) = node else {
            for name in &ast.results {
                self.define(name, None);
            }
            return;
        };
        let place = self.lower.source.place(ast.op.span);
        self.lower.spans.nodes.insert((self.func, node), place);
        let results = self.lower.program.functions[self.func].nodes[node].results.clone();
        if !ast.results.is_empty() && ast.results.len() != results.len() {
            let message = format!(
                "`{}` has {} results, {} are named",
                ast.op.item,
                results.len(),
                ast.results.len()
            );
            self.lower.problem(codes::TYPE_MISMATCH, ast.op.span, message);
        }
        for (i, name) in ast.results.iter().enumerate() {
            self.define(name, results.get(i).copied());
        }
    }

    fn try_op(&mut self, region: Region, ast: &OpAst) -> Option<Node> {
        let spec = ops::spec(&ast.op.item);
        if spec.is_none() {
            self.lower.unknown(
                (codes::UNKNOWN_OP, ast.op.span),
                (format!("there is no op `{}`", ast.op.item), &ast.op.item),
                ops::specs().map(|spec| spec.name),
            );
        }
        let regions: Vec<Option<Region>> = ast.regions.iter().map(|r| self.region(r)).collect();
        let spec = spec?;
        let slots = self.slots(ast, spec);
        let op = self.lower.payload(ast, spec);
        let sound = self.region_count(ast, spec);
        let regions = regions.into_iter().collect::<Option<Vec<_>>>()?;
        let (Some(slots), Some(op), true) = (slots, op, sound) else { return None };
        self.attempt(region, Pending { ast, op, slots, regions })
    }

    fn region_count(&mut self, ast: &OpAst, spec: &OpSpec) -> bool {
        let fits = ast.regions.len() == spec.regions.len();
        if !fits {
            let message = format!(
                "`{}` has {} regions, {} needed",
                spec.name,
                ast.regions.len(),
                spec.regions.len()
            );
            let mut problem = self.lower.source.problem(codes::INVALID_IR, ast.span, message);
            if !spec.regions.is_empty() {
                problem = problem.note(format!("its regions are {}", spec.regions.join(", ")));
            }
            self.lower.report(problem);
        }
        fits
    }

    /// Tries the element types that literals can have until inference accepts the op.
    fn attempt(&mut self, region: Region, pending: Pending<'_>) -> Option<Node> {
        let choices = self.choices(&pending.slots)?;
        let total = choices.iter().try_fold(1usize, |n, c| n.checked_mul(c.len()));
        let total = total.unwrap_or(MAX_ATTEMPTS).min(MAX_ATTEMPTS);
        let mut refusal: Option<Refusal> = None;
        for attempt in 0..total {
            let mut rest = attempt;
            let mut pick = vec![0; choices.len()];
            for (slot, choice) in pick.iter_mut().zip(&choices).rev() {
                *slot = rest % choice.len().max(1);
                rest /= choice.len().max(1);
            }
            let picked: Result<Vec<Tensor>, &Misfit> = choices
                .iter()
                .zip(&pick)
                .filter_map(|(choice, &at)| choice.get(at))
                .map(|made| made.as_ref().cloned())
                .collect();
            let refused = match picked {
                Ok(tensors) => match self.infer(region, &pending, tensors) {
                    Ok((operands, inferred)) => {
                        return self.append(region, pending, operands, inferred);
                    }
                    Err(error) => Refusal::Op(error),
                },
                Err(misfit) => {
                    Refusal::Literal(Misfit { span: misfit.span, message: misfit.message.clone() })
                }
            };
            refusal = match (refusal, refused) {
                (Some(first @ Refusal::Op(_)), _) => Some(first),
                (Some(first), Refusal::Literal(_)) => Some(first),
                (_, refused) => Some(refused),
            };
        }
        match refusal? {
            Refusal::Op(error) => {
                let message = format!("`{}`: {}", pending.ast.op.item, error.message);
                self.lower.problem(error.code, pending.ast.span, message);
            }
            Refusal::Literal(misfit) => {
                self.lower.problem(codes::TYPE_MISMATCH, misfit.span, misfit.message);
            }
        }
        None
    }

    /// For each literal, its tensor as each element type to try: those of the operands that are
    /// values, in order, then its own. Types that it cannot have are left out unless none is left.
    fn choices(&mut self, slots: &[Vec<Given<'_>>]) -> Option<Vec<Vec<Result<Tensor, Misfit>>>> {
        let mut all = Vec::new();
        let dtypes = self.dtypes(slots);
        for given in slots.iter().flatten() {
            let Given::Literal(literal, ty) = given else { continue };
            let mut candidates = if ty.is_some() { Vec::new() } else { dtypes.clone() };
            let own = default_dtype(literal);
            if !candidates.contains(&own) {
                candidates.push(own);
            }
            let mut made = Vec::new();
            for dtype in candidates {
                made.push(self.lower.operand_tensor(literal, *ty, dtype)?);
            }
            if made.iter().any(Result::is_ok) {
                made.retain(Result::is_ok);
            }
            all.push(made);
        }
        Some(all)
    }

    /// What inference says with these tensors for the literals. Constants that were made for them
    /// stay in the region only if it accepts the op.
    fn infer(
        &mut self,
        region: Region,
        pending: &Pending<'_>,
        tensors: Vec<Tensor>,
    ) -> Result<(Operands, Inferred), OpError> {
        let func = self.func;
        let before = self.lower.program.functions[func].regions[region].nodes.len();
        let loc = self.loc(pending.ast);
        let mut tensors = tensors.into_iter();
        let mut builder = Builder { program: &mut self.lower.program, func, region, loc };
        let mut operands = Operands::new();
        let mut build = || {
            for slot in &pending.slots {
                let mut values = Vec::new();
                for given in slot {
                    values.push(match (given, tensors.len()) {
                        (Given::Value(value), _) => *value,
                        (Given::Literal(..), _) => match tensors.next() {
                            Some(tensor) => builder.constant(tensor)?,
                            None => return Err(OpError::ty("a literal has no value")),
                        },
                    });
                }
                operands.push_slot(values);
            }
            builder.infer(&pending.op, &operands, &pending.regions)
        };
        match build() {
            Ok(inferred) => Ok((operands, inferred)),
            Err(error) => {
                self.lower.program.functions[func].regions[region].nodes.truncate(before);
                Err(error)
            }
        }
    }

    fn append(
        &mut self,
        region: Region,
        pending: Pending<'_>,
        operands: Operands,
        mut inferred: Inferred,
    ) -> Option<Node> {
        let ast = pending.ast;
        if !self.declare(ast, &mut inferred) {
            return None;
        }
        let loc = self.loc(ast);
        let func = self.func;
        let mut builder = Builder { program: &mut self.lower.program, func, region, loc };
        Some(builder.append(pending.op, operands, pending.regions, inferred))
    }

    /// Joins the types of the statement with those that inference gave; says whether they agree.
    fn declare(&mut self, ast: &OpAst, inferred: &mut Inferred) -> bool {
        let (Some(first), Some(last)) = (ast.types.first(), ast.types.last()) else { return true };
        if ast.types.len() != inferred.results.len() {
            let message = format!(
                "`{}` has {} results, {} types are given",
                ast.op.item,
                inferred.results.len(),
                ast.types.len()
            );
            self.lower.problem(codes::TYPE_MISMATCH, first.span.to(last.span), message);
            return false;
        }
        let mut agree = true;
        for ((ty, _), declared) in inferred.results.iter_mut().zip(&ast.types) {
            match declared::meet(ty, &declared.item) {
                Ok(met) => *ty = met,
                Err(code) => {
                    let message = format!(
                        "the result of `{}` is {ty}, {} is declared",
                        ast.op.item, declared.item
                    );
                    self.lower.problem(code, declared.span, message);
                    agree = false;
                }
            }
        }
        agree
    }

    fn loc(&mut self, ast: &OpAst) -> mlc_ir::LocId {
        let loc = match &ast.loc {
            Some(loc) => loc.clone(),
            None if self.lower.options.locate => {
                let line = self.lower.source.line(ast.op.span.start);
                let line = u32::try_from(line).unwrap_or(u32::MAX);
                Loc { source: Some((self.lower.source.name.clone(), line)), ..Loc::unknown() }
            }
            None => Loc::unknown(),
        };
        self.lower.program.intern_loc(loc)
    }
}

/// Why an attempt failed.
enum Refusal {
    Op(OpError),
    Literal(Misfit),
}
