//! Diagnostics: what is wrong, where in the user's model, and what to do about it.
//!
//! A [`Diagnostic`] is plain data. Libraries below `driver` return typed errors and turn them into
//! diagnostics at their border; only `cli` renders them ([`Diagnostic`]'s `Display` is the plain
//! form it starts from).
//!
//! Words: a *code* names one kind of problem for good ([`Code`], one row in [`codes::CODES`]); a
//! *place* says where one instance of it is ([`Place`]); the *exit class* of a code fixes the exit
//! code of the process ([`ExitClass`]).

pub mod codes;
mod diagnostic;
mod loc;
mod nearest;

pub use codes::{Code, CodeInfo};
pub use diagnostic::{Diagnostic, Diagnostics, ExitClass, Group, Severity};
pub use loc::{Loc, Place};
pub use nearest::nearest;
