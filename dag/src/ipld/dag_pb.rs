//! DAG-PB in the data model: `{Data: bytes, Links: [{Hash: link, Name: string, Tsize: int}]}`.
//!
//! `Links` is always there, `Data`, `Name` and `Tsize` where the block has them. A name that is not UTF-8 is given
//! (and taken) as bytes, so that a block survives the way there and back.

use super::{DecodeError, EncodeError, Map, Value};
use crate::pb::{self, PbLinkRef, PbNodeRef};

/// Decodes a block.
pub fn decode(block: &[u8]) -> Result<Value, DecodeError> {
    let node = pb::decode(block)?;
    let mut map = Map::new();
    if let Some(data) = node.data {
        map.push("Data", Value::Bytes(data.to_vec()));
    }
    map.push("Links", Value::List(node.links.iter().map(link_value).collect()));
    Ok(Value::Map(map))
}

fn link_value(link: &PbLinkRef<'_>) -> Value {
    let mut map = Map::new();
    map.push("Hash", Value::link(link.cid));
    if let Some(name) = link.name {
        let text = std::str::from_utf8(name).map(|text| Value::String(text.to_owned()));
        map.push("Name", text.unwrap_or_else(|_| Value::Bytes(name.to_vec())));
    }
    if let Some(tsize) = link.tsize {
        map.push("Tsize", Value::Int(i128::from(tsize)));
    }
    Value::Map(map)
}

/// Encodes a value of that form. Links are sorted by name; those of equal names keep their order.
pub fn encode(value: &Value) -> Result<Vec<u8>, EncodeError> {
    let Value::Map(map) = value else { return Err(form("node must be a map")) };
    only_keys(map, &["Data", "Links"])?;
    let data = match map.get("Data") {
        None => None,
        Some(Value::Bytes(data)) => Some(data.as_slice()),
        Some(_) => return Err(form("Data must be bytes")),
    };
    let Some(Value::List(links)) = map.get("Links") else { return Err(form("Links must be a list")) };
    let mut links = links.iter().map(link_from).collect::<Result<Vec<_>, _>>()?;
    links.sort_by_key(PbLinkRef::name);
    Ok(pb::encode(&PbNodeRef { links, data }))
}

fn link_from(value: &Value) -> Result<PbLinkRef<'_>, EncodeError> {
    let Value::Map(map) = value else { return Err(form("bad link")) };
    only_keys(map, &["Hash", "Name", "Tsize"])?;
    let cid = match map.get("Hash") {
        Some(Value::Link(cid)) => **cid,
        Some(_) => return Err(form("link Hash must be a CID")),
        None => return Err(form("link must have a Hash")),
    };
    let name = match map.get("Name") {
        None => None,
        Some(Value::String(name)) => Some(name.as_bytes()),
        Some(Value::Bytes(name)) if std::str::from_utf8(name).is_err() => Some(name.as_slice()),
        Some(_) => return Err(form("link Name must be a string")),
    };
    let tsize = match map.get("Tsize") {
        None => None,
        Some(Value::Int(tsize)) if *tsize < 0 => return Err(form("link Tsize cannot be negative")),
        Some(Value::Int(tsize)) => {
            Some(u64::try_from(*tsize).map_err(|_| form("link Tsize must fit 64 bits"))?)
        }
        Some(_) => return Err(form("link Tsize must be an integer")),
    };
    Ok(PbLinkRef { cid, name, tsize })
}

fn only_keys(map: &Map, known: &[&str]) -> Result<(), EncodeError> {
    if let Some(key) = map.duplicate_key() {
        return Err(EncodeError::DuplicateKey(key.to_owned()));
    }
    match map.iter().find(|(key, _)| !known.contains(&key.as_str())) {
        Some((key, _)) => Err(form(&format!("invalid key {key:?}"))),
        None => Ok(()),
    }
}

fn form(what: &str) -> EncodeError {
    EncodeError::Form(format!("invalid DAG-PB form ({what})"))
}
