//! Pickles of protocol 2 to 5 as inert data.
//!
//! Nothing is imported or called: a callable is its name, a call is the callable with its arguments.
//! Written here because crates that read pickles decode to plain data and know neither persistent
//! ids nor calls.
//!
//! Words: an *object* is what a `REDUCE` or `NEWOBJ` made, with the state and the items that later
//! opcodes gave it; a *persistent id* names something outside of the pickle. Values live in an arena
//! and are shared by id, so equal ids are one Python object and cycles do no harm.

mod machine;

pub use machine::read;

/// Names a value of a [`Pickle`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(u32);

/// A Python value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `None`.
    None,
    /// A boolean.
    Bool(bool),
    /// An integer that fits 64 bits.
    Int(i64),
    /// Any other integer: two's complement, little-endian.
    BigInt(Box<[u8]>),
    /// A float.
    Float(f64),
    /// Text.
    Str(Box<str>),
    /// Bytes or a bytearray.
    Bytes(Box<[u8]>),
    /// A tuple.
    Tuple(Vec<ValueId>),
    /// A list.
    List(Vec<ValueId>),
    /// A set or frozenset.
    Set(Vec<ValueId>),
    /// A dict in order of insertion; a later pair replaces an earlier one with an equal key.
    Dict(Vec<(ValueId, ValueId)>),
    /// A class or function, by name.
    Global {
        /// Its module.
        module: Box<str>,
        /// Its qualified name.
        name: Box<str>,
    },
    /// What a call would make.
    Object(Box<Object>),
    /// Something outside, by an id that is itself a value.
    Persistent(ValueId),
}

/// How an [`Object`] is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// `callable(*args)`.
    Call,
    /// `callable.__new__(callable, *args)`.
    New,
}

/// A call that was not made, with what followed it.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// How.
    pub made: Made,
    /// The callable or class.
    pub callable: ValueId,
    /// The positional arguments, a tuple.
    pub args: ValueId,
    /// The keyword arguments, a dict.
    pub kwargs: Option<ValueId>,
    /// What `BUILD` passed, usually a dict of attributes.
    pub state: Option<ValueId>,
    /// What `SETITEMS` passed.
    pub items: Vec<(ValueId, ValueId)>,
    /// What `APPENDS` or `ADDITEMS` passed.
    pub appended: Vec<ValueId>,
}

/// All values of a pickle.
#[derive(Debug, Clone)]
pub struct Pickle {
    values: Vec<Value>,
    root: ValueId,
}

impl Pickle {
    /// The outermost value.
    #[must_use]
    pub fn root(&self) -> ValueId {
        self.root
    }

    /// A value.
    #[must_use]
    pub fn get(&self, id: ValueId) -> &Value {
        self.values.get(id.0 as usize).unwrap_or(&Value::None)
    }

    /// All values, in the order in which they are made.
    pub fn values(&self) -> impl Iterator<Item = &Value> {
        self.values.iter()
    }

    /// The text of a string.
    #[must_use]
    pub fn str(&self, id: ValueId) -> Option<&str> {
        match self.get(id) {
            Value::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The integer, if it fits.
    #[must_use]
    pub fn int(&self, id: ValueId) -> Option<i64> {
        match self.get(id) {
            Value::Int(i) => Some(*i),
            _ => None,
        }
    }

    /// The elements of a tuple or list.
    #[must_use]
    pub fn sequence(&self, id: ValueId) -> Option<&[ValueId]> {
        match self.get(id) {
            Value::Tuple(items) | Value::List(items) => Some(items),
            _ => None,
        }
    }

    /// Module and name of a global.
    #[must_use]
    pub fn global(&self, id: ValueId) -> Option<(&str, &str)> {
        match self.get(id) {
            Value::Global { module, name } => Some((module, name)),
            _ => None,
        }
    }

    /// The pairs of a dict or an `OrderedDict`.
    #[must_use]
    pub fn pairs(&self, id: ValueId) -> Option<&[(ValueId, ValueId)]> {
        match self.get(id) {
            Value::Dict(pairs) => Some(pairs),
            Value::Object(object)
                if self.global(object.callable) == Some(("collections", "OrderedDict")) =>
            {
                Some(&object.items)
            }
            _ => None,
        }
    }

    /// What kind of value it is, for messages.
    #[must_use]
    pub fn describe(&self, id: ValueId) -> String {
        match self.get(id) {
            Value::None => "None".into(),
            Value::Bool(_) => "a bool".into(),
            Value::Int(_) | Value::BigInt(_) => "an int".into(),
            Value::Float(_) => "a float".into(),
            Value::Str(_) => "a str".into(),
            Value::Bytes(_) => "bytes".into(),
            Value::Tuple(_) => "a tuple".into(),
            Value::List(_) => "a list".into(),
            Value::Set(_) => "a set".into(),
            Value::Dict(_) => "a dict".into(),
            Value::Global { module, name } => format!("`{module}.{name}`"),
            Value::Object(object) => match self.global(object.callable) {
                Some((module, name)) => format!("an object made by `{module}.{name}`"),
                None => "an object".into(),
            },
            Value::Persistent(_) => "a storage".into(),
        }
    }
}

/// What can be wrong with a pickle.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PickleError {
    /// The bytes end before `STOP`.
    #[error("pickle ends at byte {at}, before its end mark")]
    Truncated {
        /// Where.
        at: usize,
    },
    /// It does not begin with a protocol from 2 to 5.
    #[error("pickle does not begin with protocol 2 to 5")]
    Protocol,
    /// An opcode that is not read here.
    #[error("pickle has opcode {opcode:#04x} at byte {at}, which files of torch do not use")]
    Opcode {
        /// The opcode.
        opcode: u8,
        /// Where.
        at: usize,
    },
    /// An opcode found a stack that it cannot work on.
    #[error("pickle is inconsistent at byte {at}: {what}")]
    Stack {
        /// Where.
        at: usize,
        /// What is missing or of the wrong kind.
        what: &'static str,
    },
    /// Text that is not UTF-8.
    #[error("pickle has text at byte {at} that is not UTF-8")]
    Utf8 {
        /// Where.
        at: usize,
    },
    /// More values than a file of torch has.
    #[error("pickle has more than {limit} values")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
}
