//! The parser. The constructor form is a call in the infix grammar, so one grammar reads both.

use super::{SymExpr, SymFn};

/// Levels of nesting.
const MAX_DEPTH: u32 = 100;
/// Infix operators that deepen the tree.
const MAX_JOINS: u32 = 400;

/// Why a text is no expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("symbolic expression `{text}`: {what} at byte {at}")]
pub struct ParseError {
    /// The text, cut after 80 characters.
    pub text: String,
    /// Where.
    pub at: usize,
    /// What is wrong.
    pub what: String,
}

/// Reads a sympy expression in constructor or infix form.
///
/// # Errors
/// The text is no expression, nests too deep, or uses a function that is not known.
pub fn parse(text: &str) -> Result<SymExpr, ParseError> {
    let mut parser = Parser { text, at: 0, depth: 0, joins: 0 };
    let result = parser.expression(0).and_then(|expr| {
        parser.skip_space();
        if parser.at < text.len() { Err("something after the expression".into()) } else { Ok(expr) }
    });
    result.map_err(|what| ParseError { text: text.chars().take(80).collect(), at: parser.at, what })
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: u32,
    joins: u32,
}

/// An argument of a call.
enum Term {
    Expr(SymExpr),
    Text(String),
}

type Parsed<T> = Result<T, String>;

/// Infix operators, longest first; the number is the binding power.
const OPERATORS: &[(&str, u8, Infix)] = &[
    ("**", 70, Infix::Call(SymFn::Pow)),
    ("//", 60, Infix::Call(SymFn::FloorDiv)),
    ("<=", 30, Infix::Call(SymFn::Le)),
    (">=", 30, Infix::Call(SymFn::Ge)),
    ("==", 30, Infix::Call(SymFn::Eq)),
    ("!=", 30, Infix::Call(SymFn::Ne)),
    ("and ", 20, Infix::Call(SymFn::And)),
    ("or ", 10, Infix::Call(SymFn::Or)),
    ("*", 60, Infix::Call(SymFn::Mul)),
    ("/", 60, Infix::Call(SymFn::TrueDiv)),
    ("%", 60, Infix::Call(SymFn::PythonMod)),
    ("+", 50, Infix::Call(SymFn::Add)),
    ("-", 50, Infix::Subtract),
    ("&", 45, Infix::Call(SymFn::And)),
    ("|", 40, Infix::Call(SymFn::Or)),
    ("<", 30, Infix::Call(SymFn::Lt)),
    (">", 30, Infix::Call(SymFn::Gt)),
];

#[derive(Clone, Copy)]
enum Infix {
    Call(SymFn),
    Subtract,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn skip_space(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn eat(&mut self, token: &str) -> bool {
        self.skip_space();
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn expect(&mut self, token: &str) -> Parsed<()> {
        if self.eat(token) { Ok(()) } else { Err(format!("`{token}` expected")) }
    }

    fn expression(&mut self, least: u8) -> Parsed<SymExpr> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(format!("more than {MAX_DEPTH} levels"));
        }
        let mut left = self.prefix()?;
        loop {
            self.skip_space();
            let rest = self.rest();
            let Some(&(token, power, infix)) =
                OPERATORS.iter().find(|row| rest.starts_with(row.0) && row.1 >= least)
            else {
                break;
            };
            self.at += token.len();
            let right_associative = matches!(infix, Infix::Call(SymFn::Pow));
            let right = self.expression(if right_associative { power } else { power + 1 })?;
            left = match infix {
                Infix::Subtract => self.join(SymFn::Add, left, negate(right))?,
                Infix::Call(function) => self.join(function, left, right)?,
            };
        }
        self.depth -= 1;
        Ok(left)
    }

    /// Applies an infix operator; sums, products and the like stay one flat call.
    fn join(&mut self, function: SymFn, left: SymExpr, right: SymExpr) -> Parsed<SymExpr> {
        let flat = matches!(function, SymFn::Add | SymFn::Mul | SymFn::And | SymFn::Or);
        match left {
            SymExpr::Apply(same, mut args) if flat && same == function => {
                args.push(right);
                Ok(SymExpr::Apply(function, args))
            }
            left => {
                self.joins += 1;
                if self.joins > MAX_JOINS {
                    return Err(format!("more than {MAX_JOINS} operators"));
                }
                apply(function, vec![left, right])
            }
        }
    }

    fn prefix(&mut self) -> Parsed<SymExpr> {
        if self.eat("-") {
            return Ok(negate(self.expression(65)?));
        }
        if self.eat("~") || self.eat("not ") {
            return apply(SymFn::Not, vec![self.expression(65)?]);
        }
        if self.eat("(") {
            let inner = self.expression(0)?;
            self.expect(")")?;
            return Ok(inner);
        }
        self.skip_space();
        let rest = self.rest();
        match rest.chars().next() {
            Some(c) if c.is_ascii_digit() || c == '.' => self.number(),
            Some(c) if c.is_alphabetic() || c == '_' => {
                let name = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
                let len = rest.find(|c| !name(c)).unwrap_or(rest.len());
                self.at += len;
                if self.eat("(") { self.call(&rest[..len]) } else { Ok(constant(&rest[..len])) }
            }
            _ => Err("a value expected".into()),
        }
    }

    fn number(&mut self) -> Parsed<SymExpr> {
        let bytes = self.rest().as_bytes();
        let mut len = 0;
        while let Some(&b) = bytes.get(len) {
            let exponent_sign =
                matches!(b, b'+' | b'-') && matches!(bytes.get(len.wrapping_sub(1)), Some(b'e'));
            if !(b.is_ascii_digit() || b == b'.' || b == b'e' || exponent_sign) {
                break;
            }
            len += 1;
        }
        let token = &self.rest()[..len];
        let value = match token.parse::<i64>() {
            Ok(int) => SymExpr::Int(int),
            Err(_) if token.bytes().all(|b| b.is_ascii_digit()) => {
                return Err("integer beyond 64 bits".into());
            }
            Err(_) => SymExpr::Float(token.parse().map_err(|_| "a number expected".to_owned())?),
        };
        self.at += len;
        Ok(value)
    }

    fn call(&mut self, name: &str) -> Parsed<SymExpr> {
        let mut args = Vec::new();
        while !self.eat(")") {
            if !args.is_empty() {
                self.expect(",")?;
                if self.eat(")") {
                    break;
                }
            }
            if self.keyword() {
                self.expression(0)?;
                args.push(Term::Text(String::new()));
                continue;
            }
            args.push(self.term()?);
        }
        construct(name, args)
    }

    /// Eats `name=`, an assumption such as `integer=True`.
    fn keyword(&mut self) -> bool {
        self.skip_space();
        let rest = self.rest();
        let len = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(0);
        let found = len > 0 && rest[len..].starts_with('=') && !rest[len..].starts_with("==");
        if found {
            self.at += len + 1;
        }
        found
    }

    fn term(&mut self) -> Parsed<Term> {
        self.skip_space();
        let Some(quote) = self.rest().chars().next().filter(|c| matches!(c, '\'' | '"')) else {
            return self.expression(0).map(Term::Expr);
        };
        self.at += 1;
        let len = self.rest().find(quote).ok_or("text without an end")?;
        let text = self.rest()[..len].to_owned();
        self.at += len + 1;
        Ok(Term::Text(text))
    }
}

fn constant(name: &str) -> SymExpr {
    match name {
        "true" | "True" => SymExpr::Bool(true),
        "false" | "False" => SymExpr::Bool(false),
        "oo" | "int_oo" | "inf" => SymExpr::Infinity { negative: false },
        symbol => SymExpr::Symbol(symbol.to_owned()),
    }
}

fn negate(expr: SymExpr) -> SymExpr {
    match expr {
        SymExpr::Int(i) if i != i64::MIN => SymExpr::Int(-i),
        SymExpr::Float(x) => SymExpr::Float(-x),
        SymExpr::Infinity { negative } => SymExpr::Infinity { negative: !negative },
        other => SymExpr::Apply(SymFn::Mul, vec![SymExpr::Int(-1), other]),
    }
}

fn apply(function: SymFn, args: Vec<SymExpr>) -> Parsed<SymExpr> {
    if !function.takes(args.len()) {
        return Err(format!("{function:?} with {} arguments", args.len()));
    }
    Ok(SymExpr::Apply(function, args))
}

/// Makes the expression that `name(args)` stands for. Empty texts are assumptions.
fn construct(name: &str, args: Vec<Term>) -> Parsed<SymExpr> {
    let first_text = args.iter().find_map(|arg| match arg {
        Term::Text(text) if !text.is_empty() => Some(text.clone()),
        _ => None,
    });
    let exprs: Vec<SymExpr> = args
        .into_iter()
        .filter_map(|arg| match arg {
            Term::Expr(expr) => Some(expr),
            Term::Text(_) => None,
        })
        .collect();
    match (name, &first_text, exprs.as_slice()) {
        ("Symbol" | "Dummy", Some(name), _) => return Ok(SymExpr::Symbol(name.clone())),
        ("Integer", None, [SymExpr::Int(i)]) => return Ok(SymExpr::Int(*i)),
        ("Rational", None, [SymExpr::Int(p), SymExpr::Int(q)]) if *q > 0 => {
            return Ok(SymExpr::Rational(*p, *q));
        }
        ("Float", Some(text), _) => {
            return text.parse().map(SymExpr::Float).map_err(|_| "a float expected".into());
        }
        ("Float", None, [SymExpr::Float(x)]) => return Ok(SymExpr::Float(*x)),
        ("Float", None, [SymExpr::Int(x)]) => return Ok(SymExpr::Float(*x as f64)),
        ("Identity", None, [inner]) => return Ok(inner.clone()),
        _ => {}
    }
    if first_text.is_some() {
        return Err(format!("text in a call of `{name}`"));
    }
    match name {
        "ExprCondPair" => apply(SymFn::Piecewise, exprs),
        "Piecewise" => {
            let mut flat = Vec::new();
            for expr in exprs {
                match expr {
                    SymExpr::Apply(SymFn::Piecewise, pair) if pair.len() == 2 => flat.extend(pair),
                    _ => return Err("a pair in `Piecewise` expected".into()),
                }
            }
            apply(SymFn::Piecewise, flat)
        }
        _ => match SymFn::from_name(name) {
            Some(function) => apply(function, exprs),
            None => Err(format!("function `{name}` is not known")),
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> String {
        parse(text).unwrap().to_string()
    }

    #[test]
    fn constructor_form() {
        assert_eq!(shown("Symbol('s77', positive=True, integer=True)"), "s77");
        let text =
            "Add(Mul(Integer(8), Symbol('s30', integer=True)), Mul(Integer(-1), Symbol('s33')))";
        assert_eq!(shown(text), "((8 * s30) + (-1 * s33))");
        let text = "TruncToInt(Mul(Float('3.6', precision=53), ToFloat(Symbol('s0'))))";
        assert_eq!(shown(text), "Trunc((3.6 * ToFloat(s0)))");
        assert_eq!(shown("GreaterThan(Symbol('u0', integer=True), Integer(0))"), "(u0 >= 0)");
        assert_eq!(shown("Pow(Symbol('s0'), Rational(1, 2))"), "(s0 ** (1/2))");
        let text = "Piecewise(ExprCondPair(Integer(1), StrictLessThan(Symbol('s0'), Integer(3))), ExprCondPair(Integer(2), true))";
        assert_eq!(shown(text), "Piecewise(1, (s0 < 3), 2, true)");
    }

    #[test]
    fn infix_form() {
        assert_eq!(shown("4*s2"), "(4 * s2)");
        assert_eq!(shown("(s0 - 1)//2 + 1"), "(((s0 + -1) // 2) + 1)");
        assert_eq!(shown("-s0**2"), "(-1 * (s0 ** 2))");
        assert_eq!(shown("2**3**2"), "(2 ** (3 ** 2))");
        assert_eq!(shown("Eq(Mod(s0, 2), 0) & (s1 >= 2)"), "((Mod(s0, 2) == 0) and (s1 >= 2))");
        assert_eq!(shown("a - b - c"), "(a + (-1 * b) + (-1 * c))");
        assert_eq!(shown("Max(1, u0)"), "Max(1, u0)");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let what = |text: &str| parse(text).unwrap_err().what;
        assert_eq!(what("frob(s0)"), "function `frob` is not known");
        assert_eq!(what("Mod(s0)"), "Mod with 1 arguments");
        assert_eq!(what("s0 +"), "a value expected");
        assert_eq!(what("s0 s1"), "something after the expression");
        assert_eq!(what(&"(".repeat(500)), "more than 100 levels");
        assert_eq!(what(&"1/".repeat(5000)), "more than 400 operators");
        assert_eq!(what("99999999999999999999"), "integer beyond 64 bits");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[a-zA-Z0-9+*/%()'=<>&|~, .é-]{0,60}") {
            let _ = parse(&text);
        }

        #[test]
        fn shown_text_reads_back(a in 0i64..100, b in 1i64..9, f in 0usize..5) {
            let op = ["+", "*", "//", "<=", "**"][f];
            let once = parse(&format!("s0 {op} {a} // {b}")).unwrap();
            prop_assert_eq!(parse(&once.to_string()).unwrap(), once);
        }
    }
}
