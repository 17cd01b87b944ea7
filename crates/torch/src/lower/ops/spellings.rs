//! Names that differ from a name in the table and mean the same.

use crate::lower::registry::Spelling;

const fn same(name: &'static str, same_as: &'static str) -> Spelling {
    Spelling { name, same_as }
}

pub(super) const SPELLINGS: &[Spelling] = &[
    same("aten.absolute", "aten.abs"),
    same("aten.arccos", "aten.acos"),
    same("aten.arccosh", "aten.acosh"),
    same("aten.arcsin", "aten.asin"),
    same("aten.arcsinh", "aten.asinh"),
    same("aten.arctan", "aten.atan"),
    same("aten.arctan2", "aten.atan2"),
    same("aten.arctanh", "aten.atanh"),
    same("aten.clip", "aten.clamp"),
    same("aten.divide", "aten.div"),
    same("aten.fix", "aten.trunc"),
    same("aten.ger", "aten.outer"),
    same("aten.greater", "aten.gt"),
    same("aten.greater_equal", "aten.ge"),
    same("aten.less", "aten.lt"),
    same("aten.less_equal", "aten.le"),
    same("aten.lift", "aten.alias"),
    same("aten.lift_fresh", "aten.alias"),
    same("aten.multiply", "aten.mul"),
    same("aten.negative", "aten.neg"),
    same("aten.not_equal", "aten.ne"),
    same("aten.size", "aten.sym_size"),
    same("aten.numel", "aten.sym_numel"),
    same("aten.special_erf", "aten.erf"),
    same("aten.special_exp2", "aten.exp2"),
    same("aten.special_expit", "aten.sigmoid"),
    same("aten.special_expm1", "aten.expm1"),
    same("aten.special_log1p", "aten.log1p"),
    same("aten.special_logsumexp", "aten.logsumexp"),
    same("aten.subtract", "aten.sub"),
    same("aten.true_divide", "aten.div"),
    same("aten.alpha_dropout", "aten.dropout"),
    same("aten.feature_dropout", "aten.dropout"),
    same("aten.feature_alpha_dropout", "aten.dropout"),
    same("aten.swapaxes", "aten.transpose"),
    same("aten.swapdims", "aten.transpose"),
    same("aten.moveaxis", "aten.movedim"),
    same("aten.concat", "aten.cat"),
    same("aten.concatenate", "aten.cat"),
    same("aten.row_stack", "aten.vstack"),
];
