//! Interprets `forward`.
//!
//! Words: an [`item`] is a Python value at compile time; a *number* among them is known only when the
//! program runs. What fails is reported where it fails and gives a poisoned item; what is made of that
//! is poisoned without another report.
//!
//! Limits: steps ([`MAX_STEPS`]), depth ([`MAX_DEPTH`]) and trips of unrolled loops.

mod builtin;
mod call;
mod collections;
mod expr;
mod flow;
mod inputs;
mod item;
mod merge;
mod numbers;
mod ops;
mod outputs;
mod scope;
mod stmt;
mod stored;
mod tensors;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use mlc_diag::{Diagnostic, Diagnostics, Loc, codes};
use mlc_ir::{InputRequest, Program};

use super::ast::{Function, Name};
use super::module;
use super::module::ScriptModule;
use super::source::Code;
use crate::graph::is_internal;
use crate::lower::alias::Owner;
use crate::lower::attempt::{Attempt, Source, lower_source};
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Registry;
use crate::lower::{Cx, LowerOptions, Lowered};
pub(super) use inputs::forward;
use item::{Content, Heap, Item};
use stored::Loader;

/// Statements and expressions that are interpreted in one attempt.
const MAX_STEPS: u64 = 20_000_000;
/// Calls, blocks and expressions within one another.
const MAX_DEPTH: u32 = 1000;
/// What the stack of the interpreter may take; [`MAX_DEPTH`] levels fit several times.
const STACK: usize = 256 << 20;

/// Lowers the `forward` method of a module; see [`super::lower`].
pub(super) fn lower(
    module: &ScriptModule,
    registry: &Registry,
    options: &LowerOptions,
) -> Result<Lowered, Diagnostics> {
    let source = Script { module, inputs: &options.inputs };
    // The interpreter goes as deep as the source does.
    std::thread::scope(|scope| {
        let work = || lower_source(&source, registry, options);
        match std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work) {
            Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            Err(error) => {
                let message = format!("no thread can be started: {error}");
                Err(Diagnostic::new(codes::RESOURCE_LIMIT, message).into())
            }
        }
    })
}

struct Script<'m> {
    module: &'m ScriptModule,
    inputs: &'m [InputRequest],
}

impl Source for Script<'_> {
    fn declare(&self) -> Program {
        inputs::declare(self.module)
    }

    fn listed_writes(&self) -> BTreeSet<Owner> {
        BTreeSet::new()
    }

    fn fill(&self, attempt: &mut Attempt<'_>, cx: &mut Cx<'_>, found: &mut Diagnostics) {
        let module = self.module;
        let mut heap = Heap::default();
        let forward = match inputs::forward(module) {
            Ok(forward) => forward,
            Err(problem) => return found.push(*problem),
        };
        attempt.take_names(forward.function.parameters.iter().map(|p| p.name.to_string()));
        let mut loader =
            Loader::new((module, &module.data), &mut heap, (&mut *attempt, &mut *cx), found);
        let root = loader.item(module.data.pickle.root(), "");
        let restored = std::mem::take(&mut loader.restored);
        let mut loader =
            Loader::new((module, &module.constants), &mut heap, (&mut *attempt, &mut *cx), found);
        let ids = module.constants.pickle.sequence(module.constants.pickle.root());
        let constants: Vec<Item> = ids
            .unwrap_or_default()
            .iter()
            .enumerate()
            .map(|(i, &id)| loader.item(id, &format!("constant_{i}")))
            .collect();
        let arguments = inputs::arguments(&mut inputs::Maker {
            script: self,
            attempt,
            cx,
            heap: &mut heap,
            found,
            code: forward,
        });
        let Some(arguments) = arguments else { return };
        let mut interp = Interp {
            cx,
            module,
            heap,
            found,
            constants,
            frames: Vec::new(),
            steps: 0,
            depth: 0,
            regions: 0,
            quantizes: false,
            named: BTreeMap::new(),
        };
        if let Err(Stop::Fatal) = interp.restore(restored) {
            return;
        }
        let mut all = vec![root];
        all.extend(arguments);
        match interp.call_code(forward, all, Vec::new()) {
            Ok(result) => {
                interp.outputs(&result);
                let kept = interp.attribute_writes();
                for (owner, value) in kept {
                    attempt.kept(owner, value);
                }
            }
            Err(Stop::Raised(message)) => {
                let message = format!("the model always raises `{message}`");
                let help = "give inputs that it accepts";
                interp.found.push(Diagnostic::new(codes::UNSUPPORTED_ARGUMENT, message).help(help));
            }
            Err(Stop::Fatal) => {}
        }
    }
}

/// Why interpretation does not go on.
#[derive(Debug)]
enum Stop {
    /// The program raises an exception.
    Raised(String),
    /// A limit was hit; it was reported.
    Fatal,
}

type Eval<T> = Result<T, Stop>;

/// A call in progress.
struct Frame<'m> {
    vars: BTreeMap<Name, Item>,
    /// Functions that are defined within this one.
    closures: BTreeMap<&'m str, &'m Function>,
    code: Code<'m>,
    /// The module whose method it is.
    path: Rc<str>,
    /// What is evaluated now.
    at: u32,
}

struct Interp<'i, 'm, 'p> {
    cx: &'i mut Cx<'p>,
    module: &'m ScriptModule,
    heap: Heap,
    found: &'i mut Diagnostics,
    constants: Vec<Item>,
    frames: Vec<Frame<'m>>,
    steps: u64,
    depth: u32,
    /// Branches and loops of the program that are open.
    regions: u32,
    /// Whether the op that is called takes the types of quantized tensors.
    quantizes: bool,
    /// How many values were named after each op.
    named: BTreeMap<String, u32>,
}

impl<'m> Interp<'_, 'm, '_> {
    /// Counts a step one level deeper.
    fn deeper<T>(&mut self, at: u32, work: impl FnOnce(&mut Self) -> Eval<T>) -> Eval<T> {
        self.steps += 1;
        if self.steps > MAX_STEPS || self.depth >= MAX_DEPTH {
            let what = if self.depth >= MAX_DEPTH {
                format!("calls and expressions are nested more than {MAX_DEPTH} levels deep")
            } else {
                format!("the code takes more than {MAX_STEPS} steps")
            };
            let loc = self.loc(at, None);
            self.found.push(
                Diagnostic::new(codes::RESOURCE_LIMIT, what)
                    .at_op(&loc)
                    .help("keep loops and recursion in the model small"),
            );
            return Err(Stop::Fatal);
        }
        self.depth += 1;
        let result = work(self);
        self.depth -= 1;
        result
    }

    /// Lets objects that were saved by a method of their own (`__getstate__`) take their state.
    fn restore(&mut self, objects: Vec<(Item, Item)>) -> Eval<()> {
        for (object, state) in objects {
            let Item::Object(cell) = object else { continue };
            let Content::Object(data) = self.heap.get(cell) else { continue };
            let class = Rc::clone(&data.class);
            if let Some(code) = self.module.sources.method(&class, "__setstate__") {
                match self.call_code(code, vec![object, state], Vec::new()) {
                    Err(Stop::Fatal) => return Err(Stop::Fatal),
                    Err(Stop::Raised(_)) | Ok(_) => {}
                }
            }
        }
        self.heap.settle_objects();
        Ok(())
    }

    fn vars(&mut self) -> &mut BTreeMap<Name, Item> {
        let last = self.frames.len() - 1;
        &mut self.frames[last].vars
    }

    /// The place of what is evaluated: the module, and the line of the user's code, which is that of
    /// the innermost caller outside of torch.
    fn loc(&self, at: u32, origin: Option<&str>) -> Loc {
        let own = self.frames.last().map(|frame| (frame, at));
        let callers = self.frames.iter().rev().skip(1).map(|frame| (frame, frame.at));
        let frames = own.into_iter().chain(callers);
        let mut places = frames.filter_map(|(frame, at)| frame.code.file.lines.at(at)).peekable();
        let innermost = places.peek().cloned();
        let user = places.find(|(file, _)| !is_internal(file));
        let source = user.or(innermost).or_else(|| {
            let frame = self.frames.last()?;
            Some((frame.code.file.entry.clone(), frame.code.file.lines.own(at)))
        });
        Loc {
            module: self
                .frames
                .last()
                .map(|frame| &*frame.path)
                .filter(|path| !path.is_empty())
                .map(Into::into),
            source,
            origin: origin.map(Into::into),
            passes: Vec::new(),
        }
    }

    /// Reports a problem at the place of `origin`.
    fn report(&mut self, error: LowerError, at: u32, origin: &str) {
        if !error.consequence {
            let loc = self.loc(at, Some(origin));
            self.found.push(error.into_diagnostic(origin).at_op(&loc));
        }
    }

    /// The item, or poison behind a report.
    fn settle(&mut self, result: LowerResult<Item>, at: u32, origin: &str) -> Item {
        result.unwrap_or_else(|error| {
            self.report(error, at, origin);
            Item::Poison
        })
    }

    /// An item that may be used; what must not be is reported.
    fn usable(&mut self, item: Item, at: u32) -> Item {
        let Item::Absent(absent) = &item else { return item };
        let loc = self.loc(at, None);
        let problem = Diagnostic::new(absent.code, absent.message.clone());
        self.found.push(problem.at_op(&loc).help(absent.help));
        Item::Poison
    }
}

/// The qualified name of an attribute.
fn attribute(path: &str, name: &str) -> String {
    module::join(path, name)
}
