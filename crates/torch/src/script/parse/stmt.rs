//! Statements, functions and classes.

use super::super::ast::{Class, Expr, ExprKind, File, Function, Name, Parameter, Stmt, StmtKind};
use super::super::lex::Kind;
use super::{Parsed, Parser};

impl Parser<'_> {
    pub(super) fn file(mut self) -> Parsed<File> {
        let mut file = File::default();
        while self.peek().kind != Kind::End {
            if self.is("class") {
                file.classes.push(self.class()?);
            } else if self.is("def") {
                file.functions.push(self.function()?);
            } else if self.is("import") || self.is("from") {
                while !matches!(self.peek().kind, Kind::Newline | Kind::End) {
                    self.at += 1;
                }
                self.line_end()?;
            } else {
                // Old files begin with `op_version_set = 1`.
                self.stmt()?;
            }
        }
        Ok(file)
    }

    fn class(&mut self) -> Parsed<Class> {
        self.need("class")?;
        let name = self.name()?;
        let mut base = None;
        if self.take("(") {
            if !self.is(")") {
                let of = self.expr()?;
                base = of.path().map(Name::from);
            }
            self.need(")")?;
        }
        let mut class = Class {
            name,
            base,
            attributes: Vec::new(),
            values: Vec::new(),
            parameters: Vec::new(),
            methods: Vec::new(),
        };
        self.need(":")?;
        self.line_end()?;
        // A class may be empty.
        let Some(indent) = self.peek().indent.filter(|&indent| indent > 0) else {
            return Ok(class);
        };
        self.indents.push(indent);
        while self.peek().indent == Some(indent) {
            if self.is("def") {
                class.methods.push(self.function()?);
            } else {
                let stmt = self.stmt()?;
                member(&mut class, stmt);
            }
        }
        self.dedent()?;
        Ok(class)
    }

    /// Leaves a block: the next line is one of a block around it.
    fn dedent(&mut self) -> Parsed<()> {
        self.indents.pop();
        let token = self.peek();
        match token.indent {
            Some(own) if own == 0 || self.indents.contains(&own) => Ok(()),
            _ => self.error(token, "the indentation fits no block".to_owned()),
        }
    }

    fn function(&mut self) -> Parsed<Function> {
        self.need("def")?;
        let name = self.name()?;
        self.need("(")?;
        let mut parameters = Vec::new();
        while !self.take(")") {
            if self.take("*") {
                self.take(",");
                continue;
            }
            let name = self.name()?;
            let ty = if self.take(":") { Some(self.expr()?) } else { None };
            let default = if self.take("=") { Some(self.expr()?) } else { None };
            parameters.push(Parameter { name, ty, default });
            if !self.take(",") {
                self.need(")")?;
                break;
            }
        }
        let result = if self.take("->") { Some(self.expr()?) } else { None };
        let body = self.block()?;
        Ok(Function { name, parameters, result, body })
    }

    /// `:` and the statements that are indented below it.
    fn block(&mut self) -> Parsed<Vec<Stmt>> {
        self.need(":")?;
        self.line_end()?;
        let token = self.peek();
        let outer = self.indents.last().copied().unwrap_or(0);
        let Some(indent) = token.indent.filter(|&indent| indent > outer) else {
            return self.error(token, "a block is missing".to_owned());
        };
        self.nested(|p| {
            p.indents.push(indent);
            let mut body = Vec::new();
            while p.peek().indent == Some(indent) && p.peek().kind != Kind::End {
                body.push(p.stmt()?);
            }
            p.dedent()?;
            Ok(body)
        })
    }

    pub(super) fn stmt(&mut self) -> Parsed<Stmt> {
        let at = self.peek().at;
        let kind = if self.take("if") {
            self.branch()?
        } else if self.take("for") {
            let target = self.expr()?;
            self.need("in")?;
            let over = self.expr()?;
            StmtKind::For(target, over, self.block()?)
        } else if self.take("while") {
            let condition = self.expr()?;
            StmtKind::While(condition, self.block()?)
        } else if self.is("def") {
            StmtKind::Define(self.nested(Self::function)?)
        } else {
            let kind = self.simple()?;
            self.line_end()?;
            kind
        };
        Ok(Stmt { at, kind })
    }

    fn branch(&mut self) -> Parsed<StmtKind> {
        let condition = self.expr()?;
        let then = self.block()?;
        let at = self.peek().at;
        let otherwise = if self.take("elif") {
            let kind = self.nested(Self::branch)?;
            vec![Stmt { at, kind }]
        } else if self.take("else") {
            self.block()?
        } else {
            Vec::new()
        };
        Ok(StmtKind::If(condition, then, otherwise))
    }

    fn simple(&mut self) -> Parsed<StmtKind> {
        let ends = |p: &Self| matches!(p.peek().kind, Kind::Newline | Kind::End);
        if self.take("return") {
            let value = if ends(self) { None } else { Some(self.tuple()?) };
            return Ok(StmtKind::Return(value));
        }
        if self.take("assert") {
            let condition = self.expr()?;
            let message = if self.take(",") { Some(self.expr()?) } else { None };
            return Ok(StmtKind::Assert(condition, message));
        }
        if self.take("raise") {
            let value = if ends(self) { None } else { Some(self.expr()?) };
            return Ok(StmtKind::Raise(value));
        }
        for (word, kind) in
            [("pass", StmtKind::Pass), ("break", StmtKind::Break), ("continue", StmtKind::Continue)]
        {
            if self.take(word) {
                return Ok(kind);
            }
        }
        self.assignment()
    }

    fn assignment(&mut self) -> Parsed<StmtKind> {
        let left = self.tuple()?;
        let ty = if self.take(":") { Some(self.expr()?) } else { None };
        if !self.take("=") {
            return Ok(match ty {
                Some(ty) => StmtKind::Declare(left, ty),
                None => StmtKind::Expr(left),
            });
        }
        let value = self.tuple()?;
        let (targets, unpack) = match left.kind {
            ExprKind::Tuple(items) => (items, true),
            kind => (vec![Expr { at: left.at, kind }], false),
        };
        Ok(StmtKind::Assign { targets, unpack, ty, value })
    }
}

/// Adds what a statement in the body of a class says.
fn member(class: &mut Class, stmt: Stmt) {
    match stmt.kind {
        StmtKind::Declare(name, ty) => class.attributes.extend(key(&name).map(|name| (name, ty))),
        StmtKind::Assign { targets, ty, value, .. } => {
            let Some(target) = targets.into_iter().next() else { return };
            let Some(name) = key(&target) else { return };
            if matches!(target.kind, ExprKind::Index(..)) {
                class.attributes.push((name, value));
                return;
            }
            if &*name == "__parameters__" {
                if let ExprKind::List(items) = &value.kind {
                    let names = items.iter().filter_map(|item| match &item.kind {
                        ExprKind::Str(text) => Some(Name::from(text.as_str())),
                        _ => None,
                    });
                    class.parameters.extend(names);
                }
                return;
            }
            if let Some(ty) = ty {
                class.attributes.push((name.clone(), ty));
            }
            class.values.push((name, value));
        }
        _ => {}
    }
}

/// The attribute that is meant by its name or by `__annotations__["name"]`.
fn key(target: &Expr) -> Option<Name> {
    match &target.kind {
        ExprKind::Name(name) => Some(name.clone()),
        ExprKind::Index(of, index) if of.as_name().is_some_and(|n| &**n == "__annotations__") => {
            match &index.kind {
                ExprKind::Str(text) => Some(text.as_str().into()),
                _ => None,
            }
        }
        _ => None,
    }
}
