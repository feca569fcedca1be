//! The writer under JSON and DAG-JSON.

use super::budget::DEPTH_MAX;
use super::{EncodeError, Value};

/// Which of the two is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// One line, sorted keys, links and bytes in reserved maps.
    Dag,
    /// Lines indented by tabs, keys as they came in, neither links nor bytes.
    Plain,
}

pub(super) fn encode(value: &Value, style: Style) -> Result<Vec<u8>, EncodeError> {
    let mut writer = Writer { out: Vec::new(), style };
    writer.value(value, 0)?;
    if style == Style::Plain && matches!(value, Value::List(_) | Value::Map(_)) {
        writer.out.push(b'\n');
    }
    Ok(writer.out)
}

struct Writer {
    out: Vec<u8>,
    style: Style,
}

impl Writer {
    fn value(&mut self, value: &Value, depth: usize) -> Result<(), EncodeError> {
        match value {
            Value::Null => self.text("null"),
            Value::Bool(value) => self.text(if *value { "true" } else { "false" }),
            Value::Int(int) => self.int(*int)?,
            Value::Float(float) => self.float(*float)?,
            Value::String(text) => self.string(text),
            Value::List(_) | Value::Map(_) if depth >= DEPTH_MAX => return Err(EncodeError::TooDeep),
            Value::List(items) => {
                self.out.push(b'[');
                for (index, item) in items.iter().enumerate() {
                    self.before_entry(index, depth);
                    self.value(item, depth + 1)?;
                }
                self.close(b']', depth);
            }
            Value::Map(map) => self.map(map, depth)?,
            Value::Link(cid) if self.style == Style::Dag => {
                self.text("{\"/\":\"");
                self.text(&cid.to_string());
                self.text("\"}");
            }
            Value::Bytes(bytes) if self.style == Style::Dag => {
                self.text("{\"/\":{\"bytes\":\"");
                self.text(&multibase::Base::Base64.encode(bytes));
                self.text("\"}}");
            }
            Value::Link(_) => return Err(EncodeError::Kind { kind: "links", codec: "JSON" }),
            Value::Bytes(_) => return Err(EncodeError::Kind { kind: "bytes", codec: "JSON" }),
        }
        Ok(())
    }

    fn map(&mut self, map: &super::Map, depth: usize) -> Result<(), EncodeError> {
        if let Some(key) = map.duplicate_key() {
            return Err(EncodeError::DuplicateKey(key.to_owned()));
        }
        let mut entries: Vec<_> = map.iter().collect();
        if self.style == Style::Dag {
            if is_reserved(&entries) {
                return Err(EncodeError::Reserved);
            }
            entries.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        }
        self.out.push(b'{');
        for (index, (key, value)) in entries.into_iter().enumerate() {
            self.before_entry(index, depth);
            self.string(key);
            self.out.push(b':');
            self.value(value, depth + 1)?;
        }
        self.close(b'}', depth);
        Ok(())
    }

    fn before_entry(&mut self, index: usize, depth: usize) {
        if index > 0 {
            self.out.push(b',');
        }
        self.line(depth + 1);
    }

    fn close(&mut self, bracket: u8, depth: usize) {
        self.line(depth);
        self.out.push(bracket);
    }

    fn line(&mut self, indent: usize) {
        if self.style == Style::Plain {
            self.out.push(b'\n');
            self.out.extend(std::iter::repeat_n(b'\t', indent));
        }
    }

    fn int(&mut self, int: i128) -> Result<(), EncodeError> {
        if !(-(1 << 64)..1 << 64).contains(&int) {
            return Err(EncodeError::IntegerRange(int));
        }
        self.text(&int.to_string());
        Ok(())
    }

    /// ECMAScript's number to string: decimal from 1e-6 up to 1e21, else with an exponent.
    fn float(&mut self, float: f64) -> Result<(), EncodeError> {
        if !float.is_finite() {
            return Err(EncodeError::Float(float.to_string()));
        }
        let magnitude = float.abs();
        if magnitude != 0.0 && !(1e-6..1e21).contains(&magnitude) {
            let text = format!("{float:e}");
            match text.split_once('e') {
                Some((digits, exponent)) if !exponent.starts_with('-') => {
                    self.text(digits);
                    self.text("e+");
                    self.text(exponent);
                }
                _ => self.text(&text),
            }
        } else {
            self.text(&float.to_string());
        }
        Ok(())
    }

    /// Escapes what JSON demands, and the two line separators that are not JavaScript.
    fn string(&mut self, text: &str) {
        self.out.push(b'"');
        for character in text.chars() {
            match character {
                '"' => self.text("\\\""),
                '\\' => self.text("\\\\"),
                '\n' => self.text("\\n"),
                '\r' => self.text("\\r"),
                '\t' => self.text("\\t"),
                '\0'..='\x1f' | '\u{2028}' | '\u{2029}' => {
                    self.text(&format!("\\u{:04x}", u32::from(character)));
                }
                _ => self.text(character.encode_utf8(&mut [0; 4])),
            }
        }
        self.out.push(b'"');
    }

    fn text(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }
}

/// Whether a map would read back as a link or as bytes.
fn is_reserved(entries: &[&(String, Value)]) -> bool {
    match entries {
        [(key, Value::String(_))] => key == "/",
        [(key, Value::Map(inner))] if key == "/" => {
            inner.len() == 1 && matches!(inner.get("bytes"), Some(Value::String(_)))
        }
        _ => false,
    }
}
