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
                self.close(b']', items.is_empty(), depth);
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
            entries.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        }
        self.out.push(b'{');
        for (index, (key, value)) in entries.into_iter().enumerate() {
            self.before_entry(index, depth);
            self.string(key);
            self.text(if self.style == Style::Dag { ":" } else { ": " });
            self.value(value, depth + 1)?;
        }
        self.close(b'}', map.is_empty(), depth);
        Ok(())
    }

    fn before_entry(&mut self, index: usize, depth: usize) {
        if index > 0 {
            self.out.push(b',');
        }
        self.line(depth + 1);
    }

    fn close(&mut self, bracket: u8, is_empty: bool, depth: usize) {
        if !is_empty {
            self.line(depth);
        }
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

    fn float(&mut self, float: f64) -> Result<(), EncodeError> {
        if !float.is_finite() {
            return Err(EncodeError::Float(float.to_string()));
        }
        self.text(&float_text(float));
        Ok(())
    }

    /// Escapes what JSON demands, and the two line separators that are not JavaScript.
    fn string(&mut self, text: &str) {
        let escaped = |char: char| matches!(char, '"' | '\\' | '\0'..='\x1f' | '\u{2028}' | '\u{2029}');
        self.out.push(b'"');
        for run in text.split_inclusive(escaped) {
            let Some(last) = run.chars().next_back().filter(|char| escaped(*char)) else {
                self.text(run);
                continue;
            };
            self.text(run.strip_suffix(last).unwrap_or(run));
            match last {
                '"' => self.text("\\\""),
                '\\' => self.text("\\\\"),
                '\n' => self.text("\\n"),
                '\r' => self.text("\\r"),
                '\t' => self.text("\\t"),
                other => self.text(&format!("\\u{:04x}", u32::from(other))),
            }
        }
        self.out.push(b'"');
    }

    fn text(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }
}

/// ECMAScript's number to string: decimal from 1e-6 up to 1e21, else with an exponent.
pub(super) fn float_text(float: f64) -> String {
    let scientific = shortest(float);
    let magnitude = float.abs();
    if magnitude == 0.0 || (1e-6..1e21).contains(&magnitude) {
        return decimal(&scientific);
    }
    match scientific.split_once('e') {
        Some((digits, exponent)) if !exponent.starts_with('-') => format!("{digits}e+{exponent}"),
        _ => scientific,
    }
}

/// The shortest digits that give a float back, in scientific notation; of two equally near, those that end evenly.
fn shortest(float: f64) -> String {
    let text = format!("{float:e}");
    let digits = text.bytes().take_while(|byte| *byte != b'e').filter(u8::is_ascii_digit).count();
    // Rust takes the upper of two equally near, Go and ECMAScript the even one. They are equally near only where the
    // exact value is one digit longer and ends in 5: no double has more than 767 digits.
    let exact = format!("{float:.767e}");
    let Some((mantissa, exponent)) = exact.split_once('e') else { return text };
    let mantissa = mantissa.trim_end_matches('0');
    if mantissa.bytes().filter(u8::is_ascii_digit).count() != digits + 1 {
        return text;
    }
    match mantissa.strip_suffix('5') {
        Some(lower) if lower.ends_with(['0', '2', '4', '6', '8']) => {
            let lower = format!("{lower}e{exponent}");
            if lower.parse() == Ok(float) { lower } else { text }
        }
        _ => text,
    }
}

/// A number in scientific notation, written without an exponent.
fn decimal(scientific: &str) -> String {
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |mantissa| ("-", mantissa));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let shift: i64 = exponent.parse().unwrap_or(0);
    let digits = format!("{whole}{fraction}");
    let (Ok(point), length) = (usize::try_from(shift + 1), digits.len()) else {
        let zeros = "0".repeat(usize::try_from(-shift - 1).unwrap_or(0));
        return format!("{sign}0.{zeros}{digits}");
    };
    match digits.split_at_checked(point) {
        Some(("", fraction)) => format!("{sign}0.{fraction}"),
        Some((whole, "")) => format!("{sign}{whole}"),
        Some((whole, fraction)) => format!("{sign}{whole}.{fraction}"),
        None => format!("{sign}{digits}{}", "0".repeat(point - length)),
    }
}
