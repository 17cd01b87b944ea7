//! Which names a block assigns.

use std::collections::BTreeSet;

use super::super::ast::{Expr, ExprKind, Name, Stmt, StmtKind};

/// The names that `body` assigns, in blocks within it as well.
pub(super) fn assigned(body: &[Stmt]) -> BTreeSet<Name> {
    let mut names = BTreeSet::new();
    block(body, &mut names);
    names
}

fn block(body: &[Stmt], names: &mut BTreeSet<Name>) {
    for stmt in body {
        match &stmt.kind {
            StmtKind::Assign { targets, .. } => {
                targets.iter().for_each(|target| self::target(target, names));
            }
            StmtKind::If(_, then, otherwise) => {
                block(then, names);
                block(otherwise, names);
            }
            StmtKind::For(variable, _, body) => {
                target(variable, names);
                block(body, names);
            }
            StmtKind::While(_, body) => block(body, names),
            _ => {}
        }
    }
}

fn target(target: &Expr, names: &mut BTreeSet<Name>) {
    match &target.kind {
        ExprKind::Name(name) => {
            names.insert(name.clone());
        }
        ExprKind::Tuple(items) | ExprKind::List(items) => {
            items.iter().for_each(|item| self::target(item, names));
        }
        _ => {}
    }
}

/// Whether a block ends in an exception whatever happens.
pub(super) fn always_raises(body: &[Stmt]) -> bool {
    body.iter().any(|stmt| match &stmt.kind {
        StmtKind::Raise(_) => true,
        StmtKind::Expr(Expr { kind: ExprKind::Call(callee, ..), .. }) => {
            callee.path().is_some_and(|path| path == "ops.prim.RaiseException")
        }
        StmtKind::If(_, then, otherwise) => always_raises(then) && always_raises(otherwise),
        _ => false,
    })
}
