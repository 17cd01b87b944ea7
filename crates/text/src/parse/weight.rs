//! Weights and where their bytes come from.

use mlc_tensor::ZipOp;

use super::Read;
use super::cursor::Cursor;
use crate::ast::{Number, SourceAst, SourceKind, TypedSource, WeightAst};
use crate::lex::Kind;

impl Cursor<'_> {
    /// Reads `@name : type = source`.
    pub(super) fn weight(&mut self) -> Read<WeightAst> {
        let name = self.global()?;
        self.expect(Kind::Colon)?;
        let ty = self.ty()?;
        self.expect(Kind::Equal)?;
        let source = self.nested(Self::data)?;
        Ok(WeightAst { name, source: TypedSource { source, ty } })
    }

    fn typed_data(&mut self) -> Read<TypedSource> {
        let source = self.nested(Self::data)?;
        self.expect(Kind::Colon)?;
        let ty = self.ty()?;
        Ok(TypedSource { source, ty })
    }

    fn data(&mut self) -> Read<SourceAst> {
        let start = self.peek();
        let called = start.kind == Kind::Word && self.look(1).kind == Kind::OpenParen;
        let kind = if called && self.slice(start) != "nan" {
            self.next();
            self.next();
            let kind = self.data_call(self.slice(start))?;
            self.expect(Kind::CloseParen)?;
            kind
        } else {
            SourceKind::Literal(self.literal()?)
        };
        Ok(SourceAst { kind, span: start.span.to(self.last_span()) })
    }

    /// Reads the arguments of the source `name`.
    fn data_call(&mut self, name: &str) -> Read<SourceKind> {
        match name {
            "file" => {
                let path = self.string()?.item;
                self.expect(Kind::Comma)?;
                Ok(SourceKind::File(path, self.integer()?))
            }
            "hex" => Ok(SourceKind::Hex(self.hex()?)),
            "splat" => Ok(SourceKind::Splat(self.literal()?)),
            "random" => {
                let seed = self.integer()?;
                self.expect(Kind::Comma)?;
                Ok(SourceKind::Random(seed, self.float()?))
            }
            "strided" => {
                let of = Box::new(self.typed_data()?);
                self.named_argument("strides")?;
                let strides = self.integers()?.item;
                self.named_argument("offset")?;
                Ok(SourceKind::Strided { of, strides, offset: self.integer()? })
            }
            "reshape" => Ok(SourceKind::Reshape(Box::new(self.typed_data()?))),
            "cast" => Ok(SourceKind::Cast(Box::new(self.typed_data()?))),
            "transpose" => {
                let of = Box::new(self.typed_data()?);
                self.expect(Kind::Comma)?;
                Ok(SourceKind::Transpose(of, self.integers()?.item))
            }
            "concat" => {
                let axis = self.integer()?;
                let mut parts = Vec::new();
                while self.eat(Kind::Comma) {
                    parts.push(self.typed_data()?);
                }
                Ok(SourceKind::Concat(axis, parts))
            }
            other => {
                if let Some(op) = ZipOp::ALL.into_iter().find(|op| op.name() == other) {
                    let x = self.typed_data()?;
                    self.expect(Kind::Comma)?;
                    return Ok(SourceKind::Zip(op, Box::new([x, self.typed_data()?])));
                }
                let span = self.last_span();
                let message = format!(
                    "`{other}` is no source of bytes; there are file, hex, splat, random, strided, \
                     reshape, transpose, cast, concat, add, sub, mul, div"
                );
                Err(self.syntax(span, message))
            }
        }
    }

    fn named_argument(&mut self, name: &str) -> Read<()> {
        self.expect(Kind::Comma)?;
        if !self.eat_word(name) {
            return Err(self.expected(&format!("`{name} =`")));
        }
        self.expect(Kind::Equal)?;
        Ok(())
    }

    fn hex(&mut self) -> Read<Vec<u8>> {
        let text = self.string()?;
        let digits = text.item.as_bytes();
        let pairs = digits.chunks(2).map(|pair| {
            let [high, low] = *pair else { return None };
            let digit = |c: u8| char::from(c).to_digit(16);
            u8::try_from(digit(high)? << 4 | digit(low)?).ok()
        });
        match pairs.collect() {
            Some(bytes) => Ok(bytes),
            None => Err(self.syntax(text.span, "bytes are pairs of hexadecimal digits")),
        }
    }

    fn float(&mut self) -> Read<f64> {
        let span = self.peek().span;
        let value = match self.number()? {
            Number::Int(i) => i.to_string().parse().ok(),
            Number::Float(text) => text.parse().ok(),
            Number::Nan(_) => None,
        };
        match value {
            Some(x) if f64::is_finite(x) => Ok(x),
            _ => Err(self.syntax(span, "a finite number is needed")),
        }
    }
}
