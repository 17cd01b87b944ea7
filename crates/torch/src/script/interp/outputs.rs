//! What the model gives: its results, and attributes that it wrote.

use std::collections::BTreeSet;

use mlc_diag::codes;
use mlc_ir::Value;

use super::item::{Content, Item};
use super::{Interp, attribute};
use crate::lower::alias::Owner;
use crate::lower::attempt::unique;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::value::Val;

/// Results a model may have.
const MAX_OUTPUTS: usize = 4096;

impl Interp<'_, '_, '_> {
    /// Makes the result of `forward` the outputs of the program. Keys and fields are names; others are
    /// numbered.
    pub(super) fn outputs(&mut self, result: &Item) {
        let mut leaves = Vec::new();
        if let Err(error) = self.flatten(result, String::new(), &mut leaves) {
            return self.found.push(error.into_diagnostic("output"));
        }
        let mut taken: BTreeSet<String> =
            self.cx.b.function().params.iter().map(|param| param.name.clone()).collect();
        let single = leaves.len() == 1;
        for (name, item) in leaves {
            match self.output(&item) {
                Ok(Some(value)) => {
                    let numbered =
                        name.is_empty() || name.split('_').all(|part| part.parse::<u32>().is_ok());
                    let wanted = match name.as_str() {
                        _ if single && numbered => "output".to_owned(),
                        name if numbered => format!("output_{name}"),
                        name => name.to_owned(),
                    };
                    let name = unique(&wanted, &mut taken);
                    self.cx.b.function_mut().add_output(name, value);
                }
                Ok(None) => {}
                Err(error) if error.consequence => {}
                Err(error) => self.found.push(error.into_diagnostic("output")),
            }
        }
        let none = self.cx.b.function().outputs.is_empty();
        if none && !self.found.has_errors() {
            let message = "the model gives no tensor".to_owned();
            self.found.push(crate::lower::graph_problem(
                codes::UNSUPPORTED_SIGNATURE,
                message,
                "return a tensor from `forward`",
            ));
        }
    }

    fn output(&mut self, item: &Item) -> LowerResult<Option<Value>> {
        match item {
            Item::Poison => Err(LowerError::consequence()),
            Item::Absent(why) => Err(LowerError::new(why.code, why.message.clone()).help(why.help)),
            Item::Number(tensor, _) => self.cx.output_value(&Val::Tensor(*tensor)),
            Item::Val(Val::Float(_) | Val::Bool(_) | Val::Relation(_)) => {
                let tensor = self.tensor_of(item)?;
                self.cx.output_value(&Val::Tensor(tensor))
            }
            Item::Val(val) => self.cx.output_value(val),
            item => Err(LowerError::new(
                codes::UNSUPPORTED_SIGNATURE,
                format!("{} cannot be an output", item.kind()),
            )),
        }
    }

    /// The parts of a result with their names.
    fn flatten(
        &self,
        item: &Item,
        name: String,
        leaves: &mut Vec<(String, Item)>,
    ) -> LowerResult<()> {
        let below = |key: &str| {
            if name.is_empty() { key.to_owned() } else { format!("{name}_{key}") }
        };
        if leaves.len() >= MAX_OUTPUTS || name.len() > 1000 {
            return Err(LowerError::argument("the result has too many parts"));
        }
        match item {
            Item::Tuple(tuple) => {
                for (i, item) in tuple.items.iter().enumerate() {
                    let key = match tuple.fields.get(i) {
                        Some(field) => field.to_string(),
                        None => i.to_string(),
                    };
                    self.flatten(item, below(&key), leaves)?;
                }
            }
            Item::List(cell) => match self.heap.get(*cell) {
                Content::List(items) => {
                    for (i, item) in items.iter().enumerate() {
                        self.flatten(item, below(&i.to_string()), leaves)?;
                    }
                }
                _ => return Err(self.broken(*cell)),
            },
            Item::Dict(cell) => match self.heap.get(*cell) {
                Content::Dict(pairs) => {
                    for (key, item) in pairs {
                        self.flatten(item, below(&self.text(key)), leaves)?;
                    }
                }
                _ => return Err(self.broken(*cell)),
            },
            item => leaves.push((name, item.clone())),
        }
        Ok(())
    }

    /// Attributes of the module that hold other tensors in the end: what their buffers are to hold.
    /// Other attributes that changed are reported, since the next call would not see it.
    pub(super) fn attribute_writes(&mut self) -> Vec<(Owner, Value)> {
        let mut written = Vec::new();
        let objects: Vec<_> = self
            .heap
            .stored_objects()
            .flat_map(|object| {
                object.before.iter().filter_map(|(name, before)| {
                    let now = object.attributes.get(name)?.clone();
                    Some((attribute(&object.path, name), before.clone(), now))
                })
            })
            .collect();
        for (name, before, now) in objects {
            match self.attribute_write(&name, before.as_ref(), &now) {
                Ok(value) => written.extend(value.map(|value| (Owner::Model(name), value))),
                Err(error) if error.consequence => {}
                Err(error) => self.found.push(error.into_diagnostic(&format!("self.{name}"))),
            }
        }
        written
    }

    fn attribute_write(
        &mut self,
        name: &str,
        before: Option<&Item>,
        now: &Item,
    ) -> LowerResult<Option<Value>> {
        let changed = |kind: &str| {
            LowerError::new(
                codes::UNSUPPORTED_SIGNATURE,
                format!("the attribute `{name}` becomes {kind} and would have to be kept for the next call"),
            )
            .help("keep it in a buffer: a tensor whose shape and type stay")
        };
        match (before, now) {
            (_, Item::Poison) => Err(LowerError::consequence()),
            (Some(Item::Val(Val::Tensor(old))), Item::Val(Val::Tensor(new))) => {
                if old == new {
                    return Ok(None);
                }
                let same = self.cx.shape(*old)? == self.cx.shape(*new)?
                    && self.cx.dtype(*old)? == self.cx.dtype(*new)?;
                if !same {
                    return Err(changed("a tensor of another shape or type"));
                }
                self.cx.read(*new).map(Some)
            }
            (Some(Item::Val(a)), Item::Val(b)) if a == b => Ok(None),
            (Some(Item::List(a)), Item::List(b)) | (Some(Item::Dict(a)), Item::Dict(b))
                if a == b =>
            {
                Ok(None)
            }
            (Some(Item::Object(a)), Item::Object(b)) if a == b => Ok(None),
            (_, now) => Err(changed(now.kind())),
        }
    }
}
