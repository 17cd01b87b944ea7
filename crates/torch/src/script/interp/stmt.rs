//! Statements.

use mlc_diag::codes;

use super::super::ast::{Expr, ExprKind, Stmt, StmtKind};
use super::item::{Content, Item};
use super::{Eval, Interp, Stop};
use crate::lower::error::LowerError;
use crate::lower::value::Val;

/// How a block ended.
pub(super) enum Flow {
    /// Behind its last statement.
    Next,
    /// With the result of the function.
    Return(Item),
}

impl<'m> Interp<'_, 'm, '_> {
    pub(super) fn block(&mut self, body: &'m [Stmt]) -> Eval<Flow> {
        for stmt in body {
            let flow = self.deeper(stmt.at, |interp| interp.stmt(stmt))?;
            if let Flow::Return(_) = flow {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    fn stmt(&mut self, stmt: &'m Stmt) -> Eval<Flow> {
        if let Some(frame) = self.frames.last_mut() {
            frame.at = stmt.at;
        }
        match &stmt.kind {
            StmtKind::Assign { targets, unpack, value, ty } => {
                let item = match ty {
                    // An empty list has the type of its variable; it holds the same nothing.
                    Some(_) | None => self.eval(value)?,
                };
                if *unpack {
                    self.unpack(targets, &item, stmt.at)?;
                } else if let [target] = &targets[..] {
                    self.assign(target, item)?;
                }
            }
            StmtKind::Declare(..) | StmtKind::Pass => {}
            StmtKind::Define(function) => {
                if let Some(frame) = self.frames.last_mut() {
                    frame.closures.insert(&function.name, function);
                }
            }
            StmtKind::Expr(expr) => drop(self.eval(expr)?),
            StmtKind::If(condition, then, otherwise) => {
                let condition = self.eval(condition)?;
                return self.branch(condition, (then, otherwise), stmt.at);
            }
            StmtKind::For(target, over, body) => return self.for_loop(target, over, body),
            StmtKind::While(condition, body) => return self.while_loop(condition, body),
            StmtKind::Return(value) => {
                let item = match value {
                    Some(value) => self.eval(value)?,
                    None => Item::NONE,
                };
                return Ok(Flow::Return(item));
            }
            StmtKind::Assert(condition, message) => {
                let condition = self.eval(condition)?;
                if matches!(condition, Item::Val(Val::Bool(false))) {
                    let message = match message {
                        Some(message) => self.eval(message)?,
                        None => Item::str("an assertion"),
                    };
                    return Err(Stop::Raised(self.text(&message)));
                }
            }
            StmtKind::Raise(value) => {
                let text = match value.as_ref().map(|value| &value.kind) {
                    Some(ExprKind::Call(_, args, _)) => match args.first() {
                        Some(arg) => {
                            let arg = self.eval(arg)?;
                            self.text(&arg)
                        }
                        None => String::new(),
                    },
                    _ => String::new(),
                };
                return Err(Stop::Raised(text));
            }
            StmtKind::Break | StmtKind::Continue => {
                let error = LowerError::argument("`break` and `continue` are not read")
                    .help("save the module with torch 1.8 or later, which writes none");
                self.report(error, stmt.at, "loop");
                return Err(Stop::Fatal);
            }
        }
        Ok(Flow::Next)
    }

    fn unpack(&mut self, targets: &'m [Expr], item: &Item, at: u32) -> Eval<()> {
        let item = self.usable(item.clone(), at);
        let items: Vec<Item> = match self.heap.sequence(&item) {
            Some(items) if items.len() == targets.len() => items.to_vec(),
            Some(items) => {
                let message = format!("{} values for {} names", items.len(), targets.len());
                self.report(LowerError::invalid(message), at, "assignment");
                vec![Item::Poison; targets.len()]
            }
            None => {
                if !matches!(item, Item::Poison) {
                    let message = format!("{} for {} names", item.kind(), targets.len());
                    self.report(LowerError::invalid(message), at, "assignment");
                }
                vec![Item::Poison; targets.len()]
            }
        };
        for (target, item) in targets.iter().zip(items) {
            self.assign(target, item)?;
        }
        Ok(())
    }

    pub(super) fn assign(&mut self, target: &'m Expr, item: Item) -> Eval<()> {
        match &target.kind {
            ExprKind::Name(name) => {
                if let Some(tensor) = item.tensor()
                    && !name.starts_with('_')
                {
                    self.cx.suggest_name(tensor, name);
                }
                self.vars().insert(name.clone(), item);
            }
            ExprKind::Tuple(targets) | ExprKind::List(targets) => {
                self.unpack(targets, &item, target.at)?;
            }
            ExprKind::Attr(of, name) => {
                let of = self.eval(of)?;
                let Item::Object(cell) = of else {
                    if !matches!(of, Item::Poison) {
                        let message = format!("{} has no attribute `{name}` to set", of.kind());
                        self.report(LowerError::invalid(message), target.at, "assignment");
                    }
                    return Ok(());
                };
                if let Content::Object(object) = self.heap.change(cell) {
                    let before = object.attributes.insert(name.clone(), item);
                    object.before.entry(name.clone()).or_insert(before);
                }
            }
            ExprKind::Index(of, index) => {
                let (of, index) = (self.eval(of)?, self.eval(index)?);
                let result = self.set_item(&of, &index, item);
                self.settle(result, target.at, "assignment");
            }
            _ => {
                let error = LowerError::new(codes::SYNTAX, "nothing can be assigned to this");
                self.report(error, target.at, "assignment");
            }
        }
        Ok(())
    }
}
