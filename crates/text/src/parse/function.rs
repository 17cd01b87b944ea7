//! Functions: signature and body.

use super::Read;
use super::cursor::Cursor;
use crate::ast::{FunctionAst, OutputAst, ParamAst};
use crate::lex::Kind;

impl Cursor<'_> {
    /// Reads what stands behind `func`.
    pub(super) fn function(&mut self) -> Read<FunctionAst> {
        let name = self.global()?;
        self.expect(Kind::OpenParen)?;
        let params = self.list(Kind::CloseParen, Self::param)?;
        let outputs = if self.eat(Kind::Arrow) { Some(self.outputs()?) } else { None };
        self.expect(Kind::OpenBrace)?;
        let body = self.body("return")?;
        Ok(FunctionAst { name, params, outputs, body })
    }

    /// Reads `state %x as "feature": type {default = [..], enumerated = [[..]]}`.
    fn param(&mut self) -> Read<ParamAst> {
        let state = self.eat_word("state");
        let name = self.value()?;
        let feature = if self.eat_word("as") { Some(self.feature()?.item) } else { None };
        self.expect(Kind::Colon)?;
        let ty = self.ty()?;
        let mut param =
            ParamAst { name, feature, state, ty, default: None, enumerated: Vec::new() };
        if self.eat(Kind::OpenBrace) {
            self.list(Kind::CloseBrace, |this| this.param_option(&mut param))?;
        }
        Ok(param)
    }

    fn param_option(&mut self, param: &mut ParamAst) -> Read<()> {
        let name = self.word("`default` or `enumerated`")?;
        self.expect(Kind::Equal)?;
        match name.item.as_str() {
            "default" => param.default = Some(self.integers()?),
            "enumerated" => {
                self.expect(Kind::OpenBracket)?;
                param.enumerated = self.list(Kind::CloseBracket, Self::integers)?;
            }
            other => {
                let message =
                    format!("`{other}` is no option of a parameter; there are default, enumerated");
                return Err(self.syntax(name.span, message));
            }
        }
        Ok(())
    }

    /// Reads `type` or `(name: type, type)`.
    fn outputs(&mut self) -> Read<Vec<OutputAst>> {
        if self.eat(Kind::OpenParen) {
            return self.list(Kind::CloseParen, Self::output);
        }
        Ok(vec![OutputAst { name: None, ty: self.ty()? }])
    }

    fn output(&mut self) -> Read<OutputAst> {
        let named = self.look(1).kind == Kind::Colon;
        let name = if named {
            let name = self.feature()?;
            self.expect(Kind::Colon)?;
            Some(name)
        } else {
            None
        };
        Ok(OutputAst { name, ty: self.ty()? })
    }
}
