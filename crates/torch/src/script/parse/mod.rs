//! Reads the serialized source.
//!
//! The language is Python's as `torch.jit.save` writes it: classes with typed attributes, functions,
//! assignments, `if`, `for` over a range, `while`, `return`. Blocks are told by their indentation.

mod expr;
mod stmt;
mod text;

use super::ast::{File, Name};
use super::lex::{Kind, Token, tokens};

/// Expressions and blocks may be nested this deep.
const MAX_DEPTH: u32 = 100;

/// Why a file cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub(crate) struct SyntaxError {
    /// 1-based.
    pub(crate) line: u32,
    pub(crate) message: String,
}

type Parsed<T> = Result<T, SyntaxError>;

/// Reads the classes and functions of a file.
///
/// # Errors
/// The first thing that is not of the language.
pub(crate) fn parse(text: &str) -> Parsed<File> {
    if u32::try_from(text.len()).is_err() {
        return Err(SyntaxError { line: 1, message: "the file is too large".to_owned() });
    }
    Parser { text, tokens: tokens(text), at: 0, depth: 0, indents: Vec::new() }.file()
}

struct Parser<'t> {
    text: &'t str,
    tokens: Vec<Token<'t>>,
    at: usize,
    depth: u32,
    /// The columns of the blocks around.
    indents: Vec<u32>,
}

impl<'t> Parser<'t> {
    fn peek(&self) -> Token<'t> {
        self.tokens[self.at.min(self.tokens.len() - 1)]
    }

    fn next(&mut self) -> Token<'t> {
        let token = self.peek();
        self.at += 1;
        token
    }

    fn error<T>(&self, token: Token<'_>, message: String) -> Parsed<T> {
        let before = self.text.as_bytes().get(..token.at as usize).unwrap_or_default();
        let line = before.iter().filter(|&&b| b == b'\n').count() as u32 + 1;
        Err(SyntaxError { line, message })
    }

    fn unexpected<T>(&self, wanted: &str) -> Parsed<T> {
        let token = self.peek();
        let found = match token.kind {
            Kind::Newline => "the end of the line".to_owned(),
            Kind::End => "the end of the file".to_owned(),
            _ => format!("`{}`", token.text.chars().take(40).collect::<String>()),
        };
        self.error(token, format!("{found} stands where {wanted} is needed"))
    }

    /// Whether the next token is this mark or word.
    fn is(&self, text: &str) -> bool {
        let token = self.peek();
        let fits = matches!(token.kind, Kind::Word | Kind::Mark | Kind::Open | Kind::Close);
        fits && token.text == text
    }

    /// Takes this mark or word if it is next.
    fn take(&mut self, text: &str) -> bool {
        let is = self.is(text);
        self.at += usize::from(is);
        is
    }

    fn need(&mut self, text: &str) -> Parsed<()> {
        if self.take(text) { Ok(()) } else { self.unexpected(&format!("`{text}`")) }
    }

    fn name(&mut self) -> Parsed<Name> {
        match self.peek() {
            Token { kind: Kind::Word, text, .. } => {
                self.at += 1;
                Ok(text.into())
            }
            _ => self.unexpected("a name"),
        }
    }

    fn line_end(&mut self) -> Parsed<()> {
        self.take(";");
        match self.peek().kind {
            Kind::Newline => {
                self.at += 1;
                Ok(())
            }
            Kind::End => Ok(()),
            _ => self.unexpected("the end of the line"),
        }
    }

    /// Runs `work` one level deeper.
    fn nested<T>(&mut self, work: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= MAX_DEPTH {
            let token = self.peek();
            return self.error(token, format!("nested more than {MAX_DEPTH} levels deep"));
        }
        self.depth += 1;
        let result = work(self);
        self.depth -= 1;
        result
    }
}

#[cfg(test)]
mod tests {
    use super::super::ast::{ExprKind, StmtKind};
    use super::*;

    const SOURCE: &str = r#"op_version_set = 1
class Net(Module):
  __parameters__ = ["weight", ]
  __buffers__ = []
  weight : Tensor
  training : bool
  n : Final[int] = 4
  __annotations__["0"] = __torch__.torch.nn.modules.linear.Linear
  def forward(self: __torch__.Net,
    x: Tensor,
    y: Optional[Tensor]=None) -> Tuple[Tensor, Dict[str, int]]:
    _0, _1, = (getattr(self, "0")).forward(x, )
    a, b = 1, -2.5e-3
    c : Optional[Tensor] = None
    if torch.gt(a, 0):
      pass
    else:
      for i in range(3):
        torch.append(annotate(List[int], []), i)
      while _2:
        _2, k = bool(_4), k1
    self.n = (x)[0]
    return (a, {"k": inf, "q\"\n\101": (1,)})
class P(NamedTuple):
  x : Tensor
def free(x: Tensor) -> NoneType:
  return None
"#;

    #[test]
    fn a_file_with_everything() {
        let file = parse(SOURCE).unwrap();
        let names: Vec<&str> = file.classes.iter().map(|c| &*c.name).collect();
        assert_eq!(names, ["Net", "P"]);
        let net = &file.classes[0];
        assert_eq!(net.base.as_deref(), Some("Module"));
        assert_eq!(net.attributes.len(), 4);
        let values: Vec<&str> = net.values.iter().map(|v| &*v.0).collect();
        assert_eq!(values, ["__buffers__", "n"]);
        assert_eq!(net.parameters.iter().map(|p| &**p).collect::<Vec<_>>(), ["weight"]);
        let forward = &net.methods[0];
        assert_eq!(forward.parameters.len(), 3);
        assert!(forward.parameters[2].default.is_some());
        let kinds: Vec<bool> =
            forward.body.iter().map(|s| matches!(s.kind, StmtKind::Assign { .. })).collect();
        assert_eq!(kinds, [true, true, true, false, true, false]);
        let StmtKind::Return(Some(result)) = &forward.body[5].kind else { panic!() };
        let ExprKind::Tuple(items) = &result.kind else { panic!() };
        let ExprKind::Dict(pairs) = &items[1].kind else { panic!() };
        assert_eq!(pairs[1].0.kind, ExprKind::Str("q\"\nA".to_owned()));
        assert_eq!(file.functions.len(), 1);
    }

    #[test]
    fn operators_bind_as_in_python() {
        let file = parse("def f(a, b):\n  return not a + b * -2 ** 2 < 1 and b or a\n").unwrap();
        let StmtKind::Return(Some(result)) = &file.functions[0].body[0].kind else { panic!() };
        let shown = format!("{:?}", result.kind);
        assert!(shown.starts_with("Binary(Or, "), "{shown}");
    }

    #[test]
    fn what_is_wrong_has_its_line() {
        for (text, line, part) in [
            ("def f(x):\n  y = = 1\n", 2, "`=`"),
            ("def f(x):\n  y = (1, 2\n", 3, "the end of the"),
            ("class A(Module):\ndef f():\n  pass\n", 1, ""),
            ("def f(x):\n  import os\n", 2, ""),
            ("def f(x):\n      y = 1\n    z = 2\n", 3, "indent"),
            ("$", 1, "`$`"),
        ] {
            let Err(error) = parse(text) else {
                assert_eq!(part, "", "{text}");
                continue;
            };
            assert_eq!(error.line, line, "{text}: {error}");
            assert!(error.message.contains(part), "{error}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let deep = format!("def f(x):\n  y = {}x{}\n", "(".repeat(100_000), ")".repeat(100_000));
        assert!(parse(&deep).unwrap_err().message.contains("nested"));
        let minus = format!("def f(x):\n  y = {}1\n", "-".repeat(100_000));
        assert!(parse(&minus).unwrap_err().message.contains("nested"));
        let mut blocks = "def f(x):\n".to_owned();
        for level in 1..2000 {
            blocks.push_str(&" ".repeat(level));
            blocks.push_str("if x:\n");
        }
        assert!(parse(&blocks).unwrap_err().message.contains("nested"));
    }
}
