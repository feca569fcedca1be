//! The reader under JSON and DAG-JSON.
//!
//! It takes what Kubo's reader takes, trailing commas included. Lone surrogates in escapes become U+FFFD, as there.

use super::budget::{Budget, DEPTH_MAX, LIST_ENTRY_COST, MAP_ENTRY_COST};
use super::json_write::float_text;
use super::{DecodeError, Map, Value};
use crate::cid::parse_cid;

/// Which maps are more than maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Forms {
    /// None: JSON.
    None,
    /// `{"/":"cid"}` and `{"/":{"bytes":"base64"}}`: DAG-JSON.
    LinksAndBytes,
}

pub(super) fn decode(block: &[u8], forms: Forms) -> Result<Value, DecodeError> {
    let mut parser = Parser { text: Text { rest: block }, budget: Budget::new(), open: Vec::new(), forms };
    let value = parser.value()?;
    match parser.text.token() {
        Err(_) => Ok(value),
        Ok(_) => Err(DecodeError::TrailingBytes("json")),
    }
}

/// A list or map that is not complete yet.
enum Open {
    List(Vec<Value>),
    Map { entries: Map, key: String },
}

struct Parser<'a> {
    text: Text<'a>,
    budget: Budget,
    /// Containers around the next value, outermost first. Instead of recursion: depth costs heap, not stack.
    open: Vec<Open>,
    forms: Forms,
}

impl Parser<'_> {
    fn value(&mut self) -> Result<Value, DecodeError> {
        let mut first = self.text.token().map_err(|_| DecodeError::UnexpectedEof)?;
        loop {
            let mut value = match first {
                b'[' | b'{' => {
                    if let Some(value) = self.reserved(first)? {
                        value
                    } else {
                        self.open(first)?;
                        match self.text.token()? {
                            b']' if first == b'[' => self.close()?,
                            b'}' if first == b'{' => self.close()?,
                            other => {
                                first = self.entry(other)?;
                                continue;
                            }
                        }
                    }
                }
                _ => self.scalar(first)?,
            };
            loop {
                let close = match self.open.last_mut() {
                    None => return Ok(value),
                    Some(Open::List(items)) => {
                        items.push(value);
                        b']'
                    }
                    Some(Open::Map { entries, key }) => {
                        entries.push(std::mem::take(key), value);
                        b'}'
                    }
                };
                let mut next = self.text.token()?;
                if next == b',' {
                    next = self.text.token()?;
                } else if next != close {
                    let (container, name) =
                        if close == b']' { ("array close", "array") } else { ("map close", "map") };
                    return Err(DecodeError::malformed(format!(
                        "expected comma or {container} after {name} value; got {}",
                        byte_name(next)
                    )));
                }
                if next != close {
                    first = self.entry(next)?;
                    break;
                }
                value = self.close()?;
            }
        }
    }

    fn open(&mut self, bracket: u8) -> Result<(), DecodeError> {
        if self.open.len() >= DEPTH_MAX {
            return Err(DecodeError::TooDeep);
        }
        self.open.push(match bracket {
            b'[' => Open::List(Vec::new()),
            _ => Open::Map { entries: Map::new(), key: String::new() },
        });
        Ok(())
    }

    /// Pops the innermost container, whose closing bracket was read.
    fn close(&mut self) -> Result<Value, DecodeError> {
        match self.open.pop().expect("invariant: called with a container open") {
            Open::List(items) => Ok(Value::List(items)),
            Open::Map { entries, .. } => match entries.duplicate_key() {
                Some(key) => Err(DecodeError::DuplicateKey(key.to_owned())),
                None => Ok(Value::Map(entries)),
            },
        }
    }

    /// Goes from the first byte of an entry to the first byte of its value: past the key, in a map.
    fn entry(&mut self, first: u8) -> Result<u8, DecodeError> {
        let Some(Open::Map { key, .. }) = self.open.last_mut() else {
            self.budget.spend(LIST_ENTRY_COST)?;
            return Ok(first);
        };
        if first != b'"' {
            return Err(DecodeError::malformed(format!(
                "invalid char while expecting start of key: {}",
                byte_name(first)
            )));
        }
        *key = self.text.string()?;
        self.budget.spend(key.len() + MAP_ENTRY_COST)?;
        match self.text.token()? {
            b':' => self.text.token(),
            other => {
                Err(DecodeError::malformed(format!("expected colon after map key; got {}", byte_name(other))))
            }
        }
    }

    fn scalar(&mut self, first: u8) -> Result<Value, DecodeError> {
        match first {
            b'n' => self.text.literal("ull").map(|()| Value::Null),
            b't' => self.text.literal("rue").map(|()| Value::Bool(true)),
            b'f' => self.text.literal("alse").map(|()| Value::Bool(false)),
            b'"' => {
                let text = self.text.string()?;
                self.budget.spend(text.len())?;
                Ok(Value::String(text))
            }
            b'-' | b'0'..=b'9' => {
                self.budget.spend(1)?;
                self.text.number(first)
            }
            other => Err(DecodeError::malformed(format!(
                "invalid char while expecting start of value: {}",
                byte_name(other)
            ))),
        }
    }

    /// A whole map that stands for a link or for bytes, if that is what begins here. Consumes nothing otherwise.
    fn reserved(&mut self, first: u8) -> Result<Option<Value>, DecodeError> {
        if first != b'{' || self.forms == Forms::None {
            return Ok(None);
        }
        let mut ahead = self.text;
        if !ahead.takes(b"\"") || ahead.string()? != "/" || !ahead.takes(b":") {
            return Ok(None);
        }
        let (value, cost) = match ahead.token()? {
            b'"' => {
                let text = ahead.string()?;
                if !ahead.closes_map() {
                    return Ok(None);
                }
                (Value::link(parse_cid(&text)?), text.len())
            }
            b'{' => {
                if !ahead.takes(b"\"") || ahead.string()? != "bytes" || !ahead.takes(b":\"") {
                    return Ok(None);
                }
                let text = ahead.string()?;
                if !ahead.closes_map() || !ahead.closes_map() {
                    return Ok(None);
                }
                (Value::Bytes(base64(&text)?), text.len())
            }
            _ => return Ok(None),
        };
        self.budget.spend(cost)?;
        self.text = ahead;
        Ok(Some(value))
    }
}

/// Decodes standard base64 with or without padding.
fn base64(text: &str) -> Result<Vec<u8>, DecodeError> {
    let digits = text.trim_end_matches('=');
    let padding = text.len() - digits.len();
    let decoded = multibase::Base::Base64.decode(digits);
    match decoded {
        Ok(bytes) if padding == 0 || (padding <= 2 && text.len().is_multiple_of(4)) => Ok(bytes),
        _ => Err(DecodeError::malformed("illegal base64 data")),
    }
}

/// What error messages call a byte.
fn byte_name(byte: u8) -> String {
    match byte {
        b',' => "comma".to_owned(),
        b':' => "colon".to_owned(),
        b'{' => "map open".to_owned(),
        b'}' => "map close".to_owned(),
        b'[' => "array open".to_owned(),
        b']' => "array close".to_owned(),
        b'"' => "quote".to_owned(),
        other => format!("{other:#x}"),
    }
}

/// What is left of the input. `Copy`, so that a look ahead costs nothing to take back.
#[derive(Clone, Copy)]
struct Text<'a> {
    rest: &'a [u8],
}

impl Text<'_> {
    fn byte(&mut self) -> Result<u8, DecodeError> {
        let (first, rest) = self.rest.split_first().ok_or(DecodeError::Eof)?;
        self.rest = rest;
        Ok(*first)
    }

    /// The next byte that is not white space.
    fn token(&mut self) -> Result<u8, DecodeError> {
        loop {
            match self.byte()? {
                b' ' | b'\t' | b'\r' | b'\n' => {}
                other => return Ok(other),
            }
        }
    }

    /// Whether these are the next tokens; consumes up to the first that is not.
    fn takes(&mut self, tokens: &[u8]) -> bool {
        tokens.iter().all(|token| self.token().as_ref() == Ok(token))
    }

    /// Whether a map ends here, behind a trailing comma or without; consumes up to the first token that says no.
    fn closes_map(&mut self) -> bool {
        match self.token() {
            Ok(b'}') => true,
            Ok(b',') => self.takes(b"}"),
            _ => false,
        }
    }

    fn literal(&mut self, suffix: &str) -> Result<(), DecodeError> {
        let (found, rest) = self.rest.split_at_checked(suffix.len()).ok_or(DecodeError::UnexpectedEof)?;
        self.rest = rest;
        if found == suffix.as_bytes() {
            return Ok(());
        }
        let found = String::from_utf8_lossy(found);
        Err(DecodeError::malformed(format!("invalid literal suffix: expected {suffix:?}, got {found:?}")))
    }

    /// A string whose opening quote was read.
    fn string(&mut self) -> Result<String, DecodeError> {
        let mut out = Vec::new();
        loop {
            let run = self.rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f));
            let (run, rest) = run.and_then(|run| self.rest.split_at_checked(run)).ok_or(DecodeError::Eof)?;
            out.extend_from_slice(run);
            self.rest = rest;
            match self.byte()? {
                b'"' => break,
                b'\\' => {
                    let character = self.escape()?;
                    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                }
                byte => {
                    let words = format!("invalid unprintable byte in string literal: {byte:#x}");
                    return Err(DecodeError::malformed(words));
                }
            }
        }
        String::from_utf8(out).map_err(|_| DecodeError::malformed("string literal is not UTF-8"))
    }

    /// What follows a backslash.
    fn escape(&mut self) -> Result<char, DecodeError> {
        Ok(match self.byte()? {
            plain @ (b'"' | b'\\' | b'/') => char::from(plain),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let high = self.hex4()?;
                let mut ahead = *self;
                let pair = match high {
                    0xd800..=0xdbff if ahead.byte() == Ok(b'\\') && ahead.byte() == Ok(b'u') => {
                        let low = ahead.hex4()?;
                        (0xdc00..=0xdfff)
                            .contains(&low)
                            .then(|| 0x1_0000 + ((high & 0x3ff) << 10) + (low & 0x3ff))
                    }
                    _ => None,
                };
                if pair.is_some() {
                    *self = ahead;
                }
                char::from_u32(pair.unwrap_or(high)).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            other => {
                let words = format!("invalid byte in string escape sequence: {other:#x}");
                return Err(DecodeError::malformed(words));
            }
        })
    }

    fn hex4(&mut self) -> Result<u32, DecodeError> {
        let mut code = 0;
        for _ in 0..4 {
            let byte = self.byte()?;
            let digit = char::from(byte).to_digit(16).ok_or_else(|| {
                DecodeError::malformed(format!("invalid byte in \\u hexadecimal character escape: {byte:#x}"))
            })?;
            code = code << 4 | digit;
        }
        Ok(code)
    }

    /// A number whose first byte was read: an integer, or a float if it has a fraction or an exponent.
    fn number(&mut self, first: u8) -> Result<Value, DecodeError> {
        let mut digits = vec![first];
        let bad = |place: &str, byte: u8| {
            DecodeError::malformed(format!("invalid byte {place}numeric literal: {byte:#x}"))
        };
        let leading =
            if first == b'-' { self.digit(&mut digits).map_err(|byte| bad("in ", byte))? } else { first };
        if leading != b'0' {
            self.digits(&mut digits);
        }
        let mut is_float = false;
        if self.rest.first() == Some(&b'.') {
            is_float = true;
            digits.push(self.byte()?);
            self.digit(&mut digits).map_err(|byte| bad("after decimal in ", byte))?;
            self.digits(&mut digits);
        }
        if let Some(b'e' | b'E') = self.rest.first() {
            is_float = true;
            digits.push(self.byte()?);
            if let Some(b'+' | b'-') = self.rest.first() {
                digits.push(self.byte()?);
            }
            self.digit(&mut digits).map_err(|byte| bad("in exponent of ", byte))?;
            self.digits(&mut digits);
        }
        let text = String::from_utf8(digits).expect("invariant: only ASCII was pushed");
        let out_of_range = || {
            let parse = if is_float { "ParseFloat" } else { "ParseInt" };
            DecodeError::malformed(format!("strconv.{parse}: parsing {text:?}: value out of range"))
        };
        if is_float {
            let float: f64 = text.parse().map_err(|_| out_of_range())?;
            return if float.is_finite() { Ok(Value::Float(float)) } else { Err(out_of_range()) };
        }
        match text.parse::<i128>() {
            Ok(int) if (-(1 << 64)..1 << 64).contains(&int) => Ok(Value::Int(int)),
            // From 2^64 up to 1e21 floats are written like integers; no other such integer is let through.
            _ => match text.parse() {
                Ok(float) if float_text(float) == text => Ok(Value::Float(float)),
                _ => Err(out_of_range()),
            },
        }
    }

    /// Takes one digit, or says what is there instead (0 at the end).
    fn digit(&mut self, digits: &mut Vec<u8>) -> Result<u8, u8> {
        match self.rest.split_first() {
            Some((digit, rest)) if digit.is_ascii_digit() => {
                self.rest = rest;
                digits.push(*digit);
                Ok(*digit)
            }
            other => Err(other.map_or(0, |(byte, _)| *byte)),
        }
    }

    /// Takes all digits that follow.
    fn digits(&mut self, digits: &mut Vec<u8>) {
        let end = self.rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(self.rest.len());
        let (run, rest) = self.rest.split_at(end);
        digits.extend_from_slice(run);
        self.rest = rest;
    }
}
