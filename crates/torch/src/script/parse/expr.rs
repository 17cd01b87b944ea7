//! Expressions.

use super::super::ast::{Binary, Expr, ExprKind, Unary};
use super::super::lex::{Kind, Token};
use super::{Parsed, Parser, text};

/// Operators of one strength, weakest first, by the functions that they stand for.
const LEVELS: &[&[(&str, &str)]] = &[
    &[("|", "__or__")],
    &[("^", "__xor__")],
    &[("&", "__and__")],
    &[("<<", "__lshift__"), (">>", "__rshift__")],
    &[("+", "add"), ("-", "sub")],
    &[("*", "mul"), ("/", "div"), ("//", "floordiv"), ("%", "remainder"), ("@", "matmul")],
];

const COMPARISONS: &[(&str, &str)] =
    &[("<", "lt"), (">", "gt"), ("<=", "le"), (">=", "ge"), ("==", "eq"), ("!=", "ne")];

impl Parser<'_> {
    /// An expression, or several with commas between them, which are a tuple.
    pub(super) fn tuple(&mut self) -> Parsed<Expr> {
        let first = self.expr()?;
        if !self.is(",") {
            return Ok(first);
        }
        let at = first.at;
        let mut items = vec![first];
        while self.take(",") {
            let ends = matches!(self.peek().kind, Kind::Newline | Kind::End | Kind::Close);
            if ends || self.is("=") {
                break;
            }
            items.push(self.expr()?);
        }
        Ok(Expr { at, kind: ExprKind::Tuple(items) })
    }

    /// One expression.
    pub(super) fn expr(&mut self) -> Parsed<Expr> {
        self.nested(|p| {
            let then = p.or()?;
            if !p.take("if") {
                return Ok(then);
            }
            let condition = p.or()?;
            p.need("else")?;
            let otherwise = p.expr()?;
            let at = then.at;
            Ok(Expr { at, kind: ExprKind::If(Box::new([condition, then, otherwise])) })
        })
    }

    fn or(&mut self) -> Parsed<Expr> {
        let mut all = self.and()?;
        while self.take("or") {
            let right = self.and()?;
            all = binary(Binary::Or, all, right);
        }
        Ok(all)
    }

    fn and(&mut self) -> Parsed<Expr> {
        let mut all = self.not()?;
        while self.take("and") {
            let right = self.not()?;
            all = binary(Binary::And, all, right);
        }
        Ok(all)
    }

    fn not(&mut self) -> Parsed<Expr> {
        let at = self.peek().at;
        if self.take("not") {
            let of = self.nested(Self::not)?;
            return Ok(Expr { at, kind: ExprKind::Unary(Unary::Not, Box::new(of)) });
        }
        let mut left = self.level(0)?;
        while let Some(function) = self.comparison() {
            let right = self.level(0)?;
            left = match function.strip_prefix("not ") {
                None => binary(Binary::Call(function), left, right),
                Some(_) => {
                    let of = Box::new(binary(Binary::Call("__contains__"), right, left));
                    Expr { at, kind: ExprKind::Unary(Unary::Not, of) }
                }
            };
        }
        Ok(left)
    }

    fn comparison(&mut self) -> Option<&'static str> {
        if self.take("is") {
            return Some(if self.take("not") { "__isnot__" } else { "__is__" });
        }
        if self.is("not") {
            self.at += 1;
            return self.take("in").then_some("not in");
        }
        let found = COMPARISONS.iter().find(|(mark, _)| self.is(mark))?;
        self.at += 1;
        Some(found.1)
    }

    fn level(&mut self, level: usize) -> Parsed<Expr> {
        let Some(operators) = LEVELS.get(level) else { return self.unary() };
        let mut left = self.level(level + 1)?;
        while let Some((_, function)) = operators.iter().find(|(mark, _)| self.is(mark)) {
            self.at += 1;
            let right = self.level(level + 1)?;
            left = binary(Binary::Call(function), left, right);
        }
        Ok(left)
    }

    fn unary(&mut self) -> Parsed<Expr> {
        let at = self.peek().at;
        let operator = match () {
            () if self.take("-") => Unary::Minus,
            () if self.take("~") => Unary::Invert,
            () if self.take("+") => return self.nested(Self::unary),
            () => return self.power(),
        };
        let of = self.nested(Self::unary)?;
        let kind = match (operator, of.kind) {
            (Unary::Minus, ExprKind::Int(n)) => ExprKind::Int(n.wrapping_neg()),
            (Unary::Minus, ExprKind::Float(x)) => ExprKind::Float(-x),
            (operator, kind) => ExprKind::Unary(operator, Box::new(Expr { at: of.at, kind })),
        };
        Ok(Expr { at, kind })
    }

    fn power(&mut self) -> Parsed<Expr> {
        let base = self.postfix()?;
        if !self.take("**") {
            return Ok(base);
        }
        let power = self.nested(Self::unary)?;
        Ok(binary(Binary::Call("pow"), base, power))
    }

    fn postfix(&mut self) -> Parsed<Expr> {
        let mut of = self.atom()?;
        let mut depth = 0;
        loop {
            let at = of.at;
            depth += 1;
            if depth > super::MAX_DEPTH {
                let token = self.peek();
                return self.error(token, "too many subscripts in a row".to_owned());
            }
            let kind = if self.take(".") {
                ExprKind::Attr(Box::new(of), self.name()?)
            } else if self.take("[") {
                let index = if self.is("]") { self.unexpected("an index")? } else { self.tuple()? };
                self.need("]")?;
                ExprKind::Index(Box::new(of), Box::new(index))
            } else if self.take("(") {
                let (args, named) = self.arguments()?;
                ExprKind::Call(Box::new(of), args, named)
            } else {
                return Ok(of);
            };
            of = Expr { at, kind };
        }
    }

    #[expect(clippy::type_complexity, reason = "positional and named arguments")]
    fn arguments(&mut self) -> Parsed<(Vec<Expr>, Vec<(super::Name, Expr)>)> {
        let (mut args, mut named) = (Vec::new(), Vec::new());
        while !self.take(")") {
            let keyword = self.peek().kind == Kind::Word
                && self.tokens.get(self.at + 1).is_some_and(|t| t.text == "=");
            if keyword {
                let name = self.name()?;
                self.need("=")?;
                named.push((name, self.expr()?));
            } else {
                args.push(self.expr()?);
            }
            if !self.take(",") {
                self.need(")")?;
                break;
            }
        }
        Ok((args, named))
    }

    /// Expressions up to a closing bracket, and whether a comma stands behind the last.
    fn items(&mut self, close: &str) -> Parsed<(Vec<Expr>, bool)> {
        let (mut items, mut comma) = (Vec::new(), false);
        while !self.take(close) {
            items.push(self.expr()?);
            comma = self.take(",");
            if !comma {
                self.need(close)?;
                break;
            }
        }
        Ok((items, comma))
    }

    fn atom(&mut self) -> Parsed<Expr> {
        let token = self.next();
        let at = token.at;
        let kind = match token.kind {
            Kind::Word => match token.text {
                "None" => ExprKind::None,
                "True" => ExprKind::Bool(true),
                "False" => ExprKind::Bool(false),
                "inf" => ExprKind::Float(f64::INFINITY),
                "nan" => ExprKind::Float(f64::NAN),
                "infj" => ExprKind::Imaginary(f64::INFINITY),
                "nanj" => ExprKind::Imaginary(f64::NAN),
                "import" | "lambda" | "def" | "class" | "if" | "else" | "for" | "while" => {
                    self.at -= 1;
                    return self.unexpected("an expression");
                }
                name => ExprKind::Name(name.into()),
            },
            Kind::Int => match token.text.parse() {
                Ok(n) => ExprKind::Int(n),
                // Only with a minus in front does it fit.
                Err(_) if token.text == "9223372036854775808" => ExprKind::Int(i64::MIN),
                Err(_) => return self.error(token, format!("`{}` is too large", token.text)),
            },
            Kind::Float => ExprKind::Float(self.float(token, token.text)?),
            Kind::Imaginary => {
                ExprKind::Imaginary(self.float(token, token.text.trim_end_matches('j'))?)
            }
            Kind::Str => {
                let mut value = text::unquoted(token.text);
                // Texts side by side are one.
                while self.peek().kind == Kind::Str {
                    value.push_str(&text::unquoted(self.next().text));
                }
                ExprKind::Str(value)
            }
            Kind::Open => match token.text {
                "(" => {
                    let (mut items, comma) = self.items(")")?;
                    match items.pop() {
                        Some(one) if items.is_empty() && !comma => return Ok(one),
                        last => {
                            items.extend(last);
                            ExprKind::Tuple(items)
                        }
                    }
                }
                "[" => ExprKind::List(self.items("]")?.0),
                _ => ExprKind::Dict(self.pairs()?),
            },
            _ => {
                self.at -= 1;
                return self.unexpected("an expression");
            }
        };
        Ok(Expr { at, kind })
    }

    fn float(&self, token: Token<'_>, text: &str) -> Parsed<f64> {
        match text.parse() {
            Ok(x) => Ok(x),
            Err(_) => self.error(token, format!("`{text}` is no number")),
        }
    }

    fn pairs(&mut self) -> Parsed<Vec<(Expr, Expr)>> {
        let mut pairs = Vec::new();
        while !self.take("}") {
            let key = self.expr()?;
            self.need(":")?;
            pairs.push((key, self.expr()?));
            if !self.take(",") {
                self.need("}")?;
                break;
            }
        }
        Ok(pairs)
    }
}

fn binary(operator: Binary, left: Expr, right: Expr) -> Expr {
    let at = left.at;
    Expr { at, kind: ExprKind::Binary(operator, Box::new(left), Box::new(right)) }
}
