//! The stack machine.

use std::collections::BTreeMap;

use super::{Made, Object, Pickle, PickleError, Value, ValueId};

/// Values one pickle may have.
const MAX_VALUES: usize = 8 << 20;

/// Reads the first pickle in `bytes`.
///
/// # Errors
/// The bytes are no pickle of protocol 2 to 5, or one with opcodes that torch does not write.
pub fn read(bytes: &[u8]) -> Result<Pickle, PickleError> {
    let mut machine = Machine {
        bytes,
        at: 0,
        values: vec![Value::None, Value::Bool(false), Value::Bool(true)],
        stack: Vec::new(),
        marks: Vec::new(),
        memo: BTreeMap::new(),
    };
    if machine.byte()? != 0x80 || !(2..=5).contains(&machine.byte()?) {
        return Err(PickleError::Protocol);
    }
    loop {
        let at = machine.at;
        let opcode = machine.byte()?;
        if opcode == b'.' {
            let root = machine.pop()?;
            return Ok(Pickle { values: machine.values, root });
        }
        let known = machine.scalar(opcode)? || machine.collect(opcode)? || machine.call(opcode)?;
        if !known {
            return Err(PickleError::Opcode { opcode, at });
        }
    }
}

const NONE: ValueId = ValueId(0);
const FALSE: ValueId = ValueId(1);
const TRUE: ValueId = ValueId(2);

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    values: Vec<Value>,
    stack: Vec<ValueId>,
    marks: Vec<usize>,
    memo: BTreeMap<u32, ValueId>,
}

type Step<T> = Result<T, PickleError>;

impl<'a> Machine<'a> {
    fn take(&mut self, len: usize) -> Step<&'a [u8]> {
        let end = self.at.checked_add(len).filter(|&end| end <= self.bytes.len());
        let end = end.ok_or(PickleError::Truncated { at: self.bytes.len() })?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Step<[u8; N]> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    fn byte(&mut self) -> Step<u8> {
        Ok(self.array::<1>()?[0])
    }

    fn u32(&mut self) -> Step<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// A length of 1, 4 or 8 bytes.
    fn len(&mut self, width: u8) -> Step<usize> {
        let long = match width {
            1 => u64::from(self.byte()?),
            4 => u64::from(self.u32()?),
            _ => u64::from_le_bytes(self.array()?),
        };
        usize::try_from(long).map_err(|_| PickleError::Truncated { at: self.bytes.len() })
    }

    fn text(&mut self, len: usize) -> Step<Box<str>> {
        let at = self.at;
        let bytes = self.take(len)?;
        std::str::from_utf8(bytes).map(Box::from).map_err(|_| PickleError::Utf8 { at })
    }

    fn line(&mut self) -> Step<Box<str>> {
        let rest = &self.bytes[self.at..];
        let len = rest.iter().position(|&b| b == b'\n');
        let text = self.text(len.ok_or(PickleError::Truncated { at: self.bytes.len() })?)?;
        self.at += 1;
        Ok(text)
    }

    fn stack_error<T>(&self, what: &'static str) -> Step<T> {
        Err(PickleError::Stack { at: self.at.saturating_sub(1), what })
    }

    fn add(&mut self, value: Value) -> Step<ValueId> {
        if self.values.len() >= MAX_VALUES {
            return Err(PickleError::TooLarge { limit: MAX_VALUES });
        }
        let id = u32::try_from(self.values.len())
            .map_err(|_| PickleError::TooLarge { limit: MAX_VALUES })?;
        self.values.push(value);
        Ok(ValueId(id))
    }

    fn push(&mut self, value: Value) -> Step<bool> {
        let id = self.add(value)?;
        self.stack.push(id);
        Ok(true)
    }

    fn push_id(&mut self, id: ValueId) -> bool {
        self.stack.push(id);
        true
    }

    /// Pops above the last mark.
    fn pop(&mut self) -> Step<ValueId> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.pop() {
            Some(id) if self.stack.len() >= floor => Ok(id),
            _ => self.stack_error("nothing on the stack"),
        }
    }

    fn top(&self) -> Step<ValueId> {
        self.stack.last().copied().map_or_else(|| self.stack_error("nothing on the stack"), Ok)
    }

    fn pop_to_mark(&mut self) -> Step<Vec<ValueId>> {
        match self.marks.pop() {
            Some(mark) if mark <= self.stack.len() => Ok(self.stack.split_off(mark)),
            _ => self.stack_error("no mark on the stack"),
        }
    }

    fn top_value(&mut self) -> Step<&mut Value> {
        let at = self.top()?.0 as usize;
        let error = PickleError::Stack { at: self.at.saturating_sub(1), what: "no such value" };
        self.values.get_mut(at).ok_or(error)
    }

    /// Opcodes that push one plain value, and those of the memo.
    fn scalar(&mut self, opcode: u8) -> Step<bool> {
        match opcode {
            b'N' => Ok(self.push_id(NONE)),
            0x88 => Ok(self.push_id(TRUE)),
            0x89 => Ok(self.push_id(FALSE)),
            b'J' => {
                let int = i32::from_le_bytes(self.array()?);
                self.push(Value::Int(int.into()))
            }
            b'K' => {
                let int = self.byte()?;
                self.push(Value::Int(int.into()))
            }
            b'M' => {
                let int = u16::from_le_bytes(self.array()?);
                self.push(Value::Int(int.into()))
            }
            0x8a | 0x8b => {
                let len = self.len(if opcode == 0x8a { 1 } else { 4 })?;
                let value = long(self.take(len)?);
                self.push(value)
            }
            b'G' => {
                let float = f64::from_be_bytes(self.array()?);
                self.push(Value::Float(float))
            }
            b'X' | 0x8c | 0x8d => {
                let len = self.len(width(opcode, 0x8c, b'X'))?;
                let text = self.text(len)?;
                self.push(Value::Str(text))
            }
            b'B' | b'C' | 0x8e | 0x96 => {
                let len = self.len(width(opcode, b'C', b'B'))?;
                let bytes = self.take(len)?.into();
                self.push(Value::Bytes(bytes))
            }
            0x95 => self.take(8).map(|_| true),
            b'q' | b'r' | 0x94 => {
                let slot = match opcode {
                    b'q' => u32::from(self.byte()?),
                    b'r' => self.u32()?,
                    _ => self.memo.len() as u32,
                };
                let top = self.top()?;
                self.memo.insert(slot, top);
                Ok(true)
            }
            b'h' | b'j' => {
                let slot = if opcode == b'h' { u32::from(self.byte()?) } else { self.u32()? };
                match self.memo.get(&slot) {
                    Some(&id) => Ok(self.push_id(id)),
                    None => self.stack_error("no such memo"),
                }
            }
            _ => Ok(false),
        }
    }

    /// Opcodes that make and fill containers, and those that shape the stack.
    fn collect(&mut self, opcode: u8) -> Step<bool> {
        match opcode {
            b'(' => {
                self.marks.push(self.stack.len());
                Ok(true)
            }
            b'0' => self.pop().map(|_| true),
            b'1' => self.pop_to_mark().map(|_| true),
            b'2' => {
                let top = self.top()?;
                Ok(self.push_id(top))
            }
            b')' => self.push(Value::Tuple(Vec::new())),
            b']' => self.push(Value::List(Vec::new())),
            b'}' => self.push(Value::Dict(Vec::new())),
            0x8f => self.push(Value::Set(Vec::new())),
            b't' | b'l' | 0x91 => {
                let items = self.pop_to_mark()?;
                self.push(match opcode {
                    b't' => Value::Tuple(items),
                    b'l' => Value::List(items),
                    _ => Value::Set(items),
                })
            }
            0x85..=0x87 => {
                let count = usize::from(opcode - 0x84);
                let mut items = Vec::with_capacity(count);
                for _ in 0..count {
                    items.push(self.pop()?);
                }
                items.reverse();
                self.push(Value::Tuple(items))
            }
            b'd' => {
                let items = self.pop_to_mark()?;
                let pairs = self.paired(&items)?;
                self.push(Value::Dict(pairs))
            }
            b'a' => {
                let item = self.pop()?;
                self.append(&[item])
            }
            b'e' | 0x90 => {
                let items = self.pop_to_mark()?;
                self.append(&items)
            }
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.set_items(&[(key, value)])
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                let pairs = self.paired(&items)?;
                self.set_items(&pairs)
            }
            _ => Ok(false),
        }
    }

    fn paired(&self, items: &[ValueId]) -> Step<Vec<(ValueId, ValueId)>> {
        let (pairs, []) = items.as_chunks::<2>() else {
            return self.stack_error("a key without a value");
        };
        Ok(pairs.iter().map(|&[key, value]| (key, value)).collect())
    }

    fn append(&mut self, items: &[ValueId]) -> Step<bool> {
        match self.top_value()? {
            Value::List(list) | Value::Set(list) => list.extend(items),
            Value::Object(object) => object.appended.extend(items),
            _ => return self.stack_error("items for what is no list"),
        }
        Ok(true)
    }

    fn set_items(&mut self, pairs: &[(ValueId, ValueId)]) -> Step<bool> {
        match self.top_value()? {
            Value::Dict(dict) => dict.extend(pairs),
            Value::Object(object) => object.items.extend(pairs),
            _ => return self.stack_error("items for what is no dict"),
        }
        Ok(true)
    }

    /// Opcodes that name and would call something.
    fn call(&mut self, opcode: u8) -> Step<bool> {
        match opcode {
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.push(Value::Global { module, name })
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let text = |id: ValueId| match self.values.get(id.0 as usize) {
                    Some(Value::Str(text)) => Some(text.clone()),
                    _ => None,
                };
                match (text(module), text(name)) {
                    (Some(module), Some(name)) => self.push(Value::Global { module, name }),
                    _ => self.stack_error("a global whose name is no text"),
                }
            }
            b'Q' => {
                let id = self.pop()?;
                self.push(Value::Persistent(id))
            }
            b'R' | 0x81 | 0x92 => {
                let kwargs = if opcode == 0x92 { Some(self.pop()?) } else { None };
                let (args, callable) = (self.pop()?, self.pop()?);
                let made = if opcode == b'R' { Made::Call } else { Made::New };
                let (items, appended) = (Vec::new(), Vec::new());
                let state = None;
                let object = Object { made, callable, args, kwargs, state, items, appended };
                self.push(Value::Object(Box::new(object)))
            }
            b'b' => {
                let state = self.pop()?;
                match self.top_value()? {
                    Value::Object(object) => object.state = Some(state),
                    _ => return self.stack_error("state for what is no object"),
                }
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}

/// Bytes of the length that follows: 1 after `short`, 4 after `medium`, else 8.
fn width(opcode: u8, short: u8, medium: u8) -> u8 {
    match opcode {
        _ if opcode == short => 1,
        _ if opcode == medium => 4,
        _ => 8,
    }
}

/// An integer in two's complement, little-endian, of any length.
fn long(bytes: &[u8]) -> Value {
    let sign = if bytes.last().is_some_and(|b| b & 0x80 != 0) { 0xff } else { 0 };
    let mut wide = [sign; 8];
    let fits = bytes.len() <= 8;
    if fits {
        wide[..bytes.len()].copy_from_slice(bytes);
        Value::Int(i64::from_le_bytes(wide))
    } else {
        Value::BigInt(bytes.into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn integers_of_every_width() {
        assert_eq!(long(&[]), Value::Int(0));
        assert_eq!(long(&[0xff]), Value::Int(-1));
        assert_eq!(long(&[0xff, 0]), Value::Int(255));
        assert!(matches!(long(&[1; 9]), Value::BigInt(_)));
    }

    #[test]
    fn calls_stay_calls_and_shared_values_stay_shared() {
        let bytes = b"\x80\x02cos\nsystem\nq\x00X\x02\x00\x00\x00ls\x85R(h\x00h\x00t\x86.";
        let pickle = read(bytes).unwrap();
        let [object, pair] = pickle.sequence(pickle.root()).unwrap() else { panic!() };
        let Value::Object(object) = pickle.get(*object) else { panic!() };
        assert_eq!(pickle.global(object.callable), Some(("os", "system")));
        let [a, b] = pickle.sequence(*pair).unwrap() else { panic!() };
        assert_eq!((a, b), (&object.callable, &object.callable));
    }

    #[test]
    fn a_list_that_holds_itself_is_read() {
        let pickle = read(b"\x80\x02]q\x00h\x00a.").unwrap();
        assert_eq!(pickle.sequence(pickle.root()), Some(&[pickle.root()][..]));
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(read(b"hello").unwrap_err(), PickleError::Protocol);
        assert_eq!(read(b"\x80\x02N").unwrap_err(), PickleError::Truncated { at: 3 });
        assert!(matches!(read(b"\x80\x02a."), Err(PickleError::Stack { .. })));
        assert!(matches!(read(b"\x80\x02(N1."), Err(PickleError::Stack { .. })));
        assert!(matches!(read(b"\x80\x02X\xff\xff\xff\xff"), Err(PickleError::Truncated { .. })));
        let error = read(b"\x80\x02I1\n.").unwrap_err();
        assert_eq!(error, PickleError::Opcode { opcode: b'I', at: 2 });
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(tail in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut bytes = vec![0x80, 2];
            bytes.extend(tail);
            let _ = read(&bytes);
        }

        #[test]
        fn any_opcodes_are_read_or_refused(
            tail in prop::collection::vec(prop::sample::select(&b"N(012)]}\x8ftl\x91\x85\x86\x87daes\x90uQRb\x81\x92q\x00h\x00K\x05c\n\x93\x94."[..]), 0..200),
        ) {
            let mut bytes = vec![0x80, 2];
            bytes.extend(tail);
            let _ = read(&bytes);
        }
    }
}
