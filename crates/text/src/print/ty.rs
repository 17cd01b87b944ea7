//! Types.

use mlc_ir::{Dim, Type};

use crate::names;

/// A symbol as it stands in a type.
pub(super) fn symbol(name: &str) -> String {
    names::word(name)
}

/// The text of a type. Symbols that are no words stand in quotes.
pub(super) fn text(ty: &Type) -> String {
    let mut plain = true;
    ty.for_each_dim(&mut |dim| dim.for_each_symbol(&mut |name| plain &= names::is_word(name)));
    if plain {
        return ty.to_string();
    }
    let quoted = |name: &str| Some(Dim::symbol(&symbol(name)));
    ty.map_dims(&mut |dim| dim.substitute(&quoted)).to_string()
}
