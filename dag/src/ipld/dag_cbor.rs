//! DAG-CBOR: strict decoding, canonical encoding.
//!
//! Maps are written with shorter keys first and equal lengths in byte order, integers minimally, floats in 64 bits,
//! links as tag 42. Read are also maps in any order, short floats and `undefined`, since old data has them.

use super::budget::{Budget, DEPTH_MAX, LIST_ENTRY_COST, MAP_ENTRY_COST};
use super::cbor_head::{LINK_TAG, link_cid};
use super::{DecodeError, EncodeError, Head, Map, Reader, Value};
use crate::cid::Cid;

/// Decodes a block, which holds exactly one value.
pub fn decode(block: &[u8]) -> Result<Value, DecodeError> {
    decode_with(block, true)
}

/// Encodes a value canonically.
pub fn encode(value: &Value) -> Result<Vec<u8>, EncodeError> {
    encode_with(value, &Style { links: true, sorted: true })
}

/// A list or map that is not complete yet.
enum Open {
    List { items: Vec<Value>, left: u64 },
    Map { entries: Map, key: String, left: u64 },
}

impl Open {
    /// Takes a value; whether the container is complete now.
    fn add(&mut self, value: Value) -> bool {
        match self {
            Self::List { items, left } => {
                items.push(value);
                *left -= 1;
                *left == 0
            }
            Self::Map { entries, key, left } => {
                entries.push(std::mem::take(key), value);
                *left -= 1;
                *left == 0
            }
        }
    }

    fn close(self) -> Result<Value, DecodeError> {
        match self {
            Self::List { items, .. } => Ok(Value::List(items)),
            Self::Map { entries, .. } => match entries.duplicate_key() {
                Some(key) => Err(DecodeError::DuplicateKey(key.to_owned())),
                None => Ok(Value::Map(entries)),
            },
        }
    }
}

/// Decodes with or without links (plain CBOR has none).
pub(super) fn decode_with(block: &[u8], links: bool) -> Result<Value, DecodeError> {
    let mut decoder = Decoder { reader: Reader::new(block), budget: Budget::new(), open: Vec::new(), links };
    let value = decoder.value()?;
    if decoder.reader.is_at_end() { Ok(value) } else { Err(DecodeError::TrailingBytes("cbor")) }
}

struct Decoder<'a> {
    reader: Reader<'a>,
    budget: Budget,
    /// Containers around the next item, outermost first. Instead of recursion: depth costs heap, not stack.
    open: Vec<Open>,
    links: bool,
}

impl Decoder<'_> {
    fn value(&mut self) -> Result<Value, DecodeError> {
        loop {
            let Some(mut value) = self.item()? else { continue };
            loop {
                let Some(container) = self.open.last_mut() else { return Ok(value) };
                if !container.add(value) {
                    self.before_item()?;
                    break;
                }
                value = self.open.pop().expect("invariant: it was just borrowed").close()?;
            }
        }
    }

    /// Reads one item; `None` when it opened a container that has items.
    fn item(&mut self) -> Result<Option<Value>, DecodeError> {
        let head = self.reader.head()?;
        self.budget.spend(match head {
            Head::Bytes(bytes) | Head::Text(bytes) | Head::Link(bytes) => bytes.len(),
            Head::List(count) | Head::Map(count) => usize::try_from(count).unwrap_or(usize::MAX),
            Head::Bool(_) | Head::Int(_) | Head::Float(_) => 1,
            Head::Null => 0,
        })?;
        let value = match head {
            Head::Null => Value::Null,
            Head::Bool(value) => Value::Bool(value),
            Head::Int(value) => Value::Int(value),
            Head::Float(value) => Value::Float(value),
            Head::Bytes(bytes) => Value::Bytes(bytes.to_vec()),
            Head::Text(text) => Value::String(utf8(text)?),
            Head::Link(bytes) if self.links => Value::link(link_cid(bytes)?),
            Head::Link(_) => return Err(DecodeError::UnhandledTag(LINK_TAG)),
            Head::List(_) | Head::Map(_) if self.open.len() >= DEPTH_MAX => return Err(DecodeError::TooDeep),
            Head::List(0) => Value::List(Vec::new()),
            Head::Map(0) => Value::Map(Map::new()),
            Head::List(left) => {
                self.open.push(Open::List { items: Vec::new(), left });
                self.before_item()?;
                return Ok(None);
            }
            Head::Map(left) => {
                self.open.push(Open::Map { entries: Map::new(), key: String::new(), left });
                self.before_item()?;
                return Ok(None);
            }
        };
        Ok(Some(value))
    }

    /// Reads what comes before an item in the innermost container: the key, in a map.
    fn before_item(&mut self) -> Result<(), DecodeError> {
        match self.open.last_mut() {
            Some(Open::Map { key, .. }) => {
                let text = self.reader.key()?;
                self.budget.spend(text.len() + MAP_ENTRY_COST)?;
                *key = utf8(text)?;
            }
            Some(Open::List { .. }) if self.reader.is_at_end() => return Err(DecodeError::Eof),
            Some(Open::List { .. }) => self.budget.spend(LIST_ENTRY_COST)?,
            None => {}
        }
        Ok(())
    }
}

fn utf8(text: &[u8]) -> Result<String, DecodeError> {
    let text = std::str::from_utf8(text).map_err(|_| DecodeError::malformed("cbor: string is not UTF-8"))?;
    Ok(text.to_owned())
}

/// What differs between DAG-CBOR and plain CBOR.
pub(super) struct Style {
    /// Whether there are links.
    pub(super) links: bool,
    /// Whether maps are sorted; else they keep their order.
    pub(super) sorted: bool,
}

pub(super) fn encode_with(value: &Value, style: &Style) -> Result<Vec<u8>, EncodeError> {
    let mut out = Vec::new();
    put(&mut out, value, style, 0)?;
    Ok(out)
}

fn put(out: &mut Vec<u8>, value: &Value, style: &Style, depth: usize) -> Result<(), EncodeError> {
    if depth >= DEPTH_MAX && matches!(value, Value::List(_) | Value::Map(_)) {
        return Err(EncodeError::TooDeep);
    }
    match value {
        Value::Null => out.push(0xf6),
        Value::Bool(false) => out.push(0xf4),
        Value::Bool(true) => out.push(0xf5),
        Value::Int(int) => put_int(out, *int)?,
        Value::Float(float) if float.is_finite() => {
            out.push(0xfb);
            out.extend_from_slice(&float.to_be_bytes());
        }
        Value::Float(float) => return Err(EncodeError::Float(float.to_string())),
        Value::String(text) => put_string(out, 3, text.as_bytes()),
        Value::Bytes(bytes) => put_string(out, 2, bytes),
        Value::List(items) => {
            put_head(out, 4, items.len() as u64);
            for item in items {
                put(out, item, style, depth + 1)?;
            }
        }
        Value::Map(map) => {
            if let Some(key) = map.duplicate_key() {
                return Err(EncodeError::DuplicateKey(key.to_owned()));
            }
            put_head(out, 5, map.len() as u64);
            let mut entries: Vec<_> = map.iter().collect();
            if style.sorted {
                entries.sort_unstable_by(|(a, _), (b, _)| (a.len(), a).cmp(&(b.len(), b)));
            }
            for (key, value) in entries {
                put_string(out, 3, key.as_bytes());
                put(out, value, style, depth + 1)?;
            }
        }
        Value::Link(cid) if style.links => put_link(out, cid),
        Value::Link(_) => return Err(EncodeError::Kind { kind: "links", codec: "CBOR" }),
    }
    Ok(())
}

fn put_int(out: &mut Vec<u8>, int: i128) -> Result<(), EncodeError> {
    let (major, magnitude) = if int < 0 { (1, -1 - int) } else { (0, int) };
    let magnitude = u64::try_from(magnitude).map_err(|_| EncodeError::IntegerRange(int))?;
    put_head(out, major, magnitude);
    Ok(())
}

/// A link: tag 42 on the CID's bytes behind a zero.
pub(crate) fn put_link(out: &mut Vec<u8>, cid: &Cid) {
    let mut bytes = vec![0];
    bytes.extend_from_slice(&cid.to_bytes());
    put_head(out, 6, LINK_TAG);
    put_string(out, 2, &bytes);
}

/// Bytes (major type 2) or text (3).
pub(crate) fn put_string(out: &mut Vec<u8>, major: u8, bytes: &[u8]) {
    put_head(out, major, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// A head in its shortest form.
pub(crate) fn put_head(out: &mut Vec<u8>, major: u8, argument: u64) {
    let major = major << 5;
    let bytes = argument.to_be_bytes();
    let (info, len) = match argument {
        0..=23 => return out.push(major | argument as u8),
        24..=0xff => (24, 1),
        0x100..=0xffff => (25, 2),
        0x1_0000..=0xffff_ffff => (26, 4),
        _ => (27, 8),
    };
    out.push(major | info);
    out.extend(bytes.iter().skip(8 - len));
}
