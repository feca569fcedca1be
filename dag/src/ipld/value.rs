//! The values of the data model.

use crate::cid::Cid;

/// Any IPLD value. It takes 32 bytes and what hangs on it.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// An integer; codecs hold -2^64 to 2^64 - 1.
    Int(i128),
    /// A double; codecs hold neither NaN nor infinities.
    Float(f64),
    /// Text.
    String(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Values in order.
    List(Vec<Value>),
    /// Values by name.
    Map(Map),
    /// A link to another block. Boxed: a CID is five times the size of all other kinds.
    Link(Box<Cid>),
}

impl Value {
    /// A link.
    pub fn link(cid: Cid) -> Self {
        Self::Link(Box::new(cid))
    }

    /// The name of its kind in the data model.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float",
            Self::String(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::List(_) => "list",
            Self::Map(_) => "map",
            Self::Link(_) => "link",
        }
    }

    /// The child under a path segment: a key of a map, or a decimal index into a list.
    pub fn get(&self, segment: &str) -> Option<&Self> {
        match self {
            Self::Map(map) => map.get(segment),
            Self::List(list) => list.get(segment.parse::<usize>().ok()?),
            _ => None,
        }
    }
}

/// A map that keeps its entries in the order they came in; encoders that have an order of their own sort.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Map {
    entries: Vec<(String, Value)>,
}

impl Map {
    /// No entries.
    pub fn new() -> Self {
        Self::default()
    }

    /// The value under `key`; takes time linear in the number of entries.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.entries.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// Appends an entry. Whether keys are unique is checked by whoever encodes.
    pub fn push(&mut self, key: impl Into<String>, value: Value) {
        self.entries.push((key.into(), value));
    }

    /// Entries in order.
    pub fn iter(&self) -> std::slice::Iter<'_, (String, Value)> {
        self.entries.iter()
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The first key that occurs twice. Free for maps in order, `n log n` for others.
    pub fn duplicate_key(&self) -> Option<&str> {
        let keys = || self.entries.iter().map(|(key, _)| key.as_str());
        let ascending = |key: &str, next: &str| (key.len(), key) < (next.len(), next);
        if keys().zip(keys().skip(1)).all(|(key, next)| ascending(key, next)) {
            return None;
        }
        let mut sorted: Vec<&str> = keys().collect();
        sorted.sort_unstable();
        let repeated = sorted.iter().zip(sorted.iter().skip(1)).find(|(key, next)| key == next);
        repeated.map(|(key, _)| *key)
    }
}

impl FromIterator<(String, Value)> for Map {
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(entries: I) -> Self {
        Self { entries: entries.into_iter().collect() }
    }
}

impl<'a> IntoIterator for &'a Map {
    type Item = &'a (String, Value);
    type IntoIter = std::slice::Iter<'a, (String, Value)>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl IntoIterator for Map {
    type Item = (String, Value);
    type IntoIter = std::vec::IntoIter<(String, Value)>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}
