//! An event as a line, in text or JSON.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::layer::Context;

use super::{Format, Logs, subsystems};

/// Bytes of a message or field that are kept.
const TEXT_BYTES_MAX: usize = 8 << 10;
/// What stands in the place of a secret.
const REDACTED: &str = "(redacted)";
/// Fields whose names hold one of these are never shown.
const SECRET_NAMES: [&str; 6] =
    ["authorization", "auth_secret", "password", "private_key", "secret", "token"];
/// What comes before a secret within a text.
const SECRET_SCHEMES: [&str; 2] = ["Bearer ", "Basic "];

/// The layer that makes lines and hands them on.
#[derive(Debug)]
pub(super) struct LineLayer {
    logs: Logs,
}

impl LineLayer {
    pub(super) fn new(logs: Logs) -> Self {
        Self { logs }
    }
}

impl<S: Subscriber> Layer<S> for LineLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let line = Line::of(event);
        let inner = &self.logs.inner;
        inner.readers.send(line.level.into(), || line.json());
        if let Some(sink) = &inner.sink {
            sink.send(line.format(sink.format()));
        }
    }
}

/// One event, taken apart.
#[derive(Debug)]
pub(super) struct Line {
    time: String,
    level: tracing::Level,
    logger: String,
    message: String,
    fields: Vec<(&'static str, Value)>,
}

impl Line {
    fn of(event: &Event<'_>) -> Self {
        let mut time = String::with_capacity(32);
        // Writing to a string does not fail.
        let _ = SystemTime.format_time(&mut Writer::new(&mut time));
        let metadata = event.metadata();
        let logger = subsystems::of_target(metadata.target());
        let logger =
            logger.map_or_else(|| metadata.target().to_owned(), |subsystem| subsystem.name.to_owned());
        let mut line =
            Self { time, level: *metadata.level(), logger, message: String::new(), fields: Vec::new() };
        event.record(&mut line);
        line
    }

    pub(super) fn format(&self, format: Format) -> String {
        match format {
            Format::Text => self.text(false),
            Format::Color => self.text(true),
            Format::Json => self.json(),
        }
    }

    /// The keys are those of Kubo's lines.
    pub(super) fn json(&self) -> String {
        let mut map = Map::new();
        map.insert("level".to_owned(), self.level.as_str().to_ascii_lowercase().into());
        map.insert("ts".to_owned(), self.time.as_str().into());
        map.insert("logger".to_owned(), self.logger.as_str().into());
        map.insert("msg".to_owned(), self.message.as_str().into());
        for (name, value) in &self.fields {
            map.entry(*name).or_insert_with(|| value.clone());
        }
        format!("{}\n", Value::Object(map))
    }

    fn text(&self, color: bool) -> String {
        let level = self.level.as_str();
        let mut out = if color {
            let code = match self.level {
                tracing::Level::ERROR => 31,
                tracing::Level::WARN => 33,
                tracing::Level::INFO => 32,
                tracing::Level::DEBUG => 34,
                tracing::Level::TRACE => 35,
            };
            format!("{} \x1b[{code}m{level:<5}\x1b[0m {}: ", self.time, self.logger)
        } else {
            format!("{} {level:<5} {}: ", self.time, self.logger)
        };
        out.push_str(&one_line(&self.message));
        for (name, value) in &self.fields {
            let shown = match value {
                Value::String(text) if is_plain(text) => text.clone(),
                other => other.to_string(),
            };
            let _ = write!(out, " {name}={shown}");
        }
        out.push('\n');
        out
    }

    fn add(&mut self, field: &Field, value: Value) {
        let name = field.name();
        let lower = name.to_ascii_lowercase();
        let value =
            if SECRET_NAMES.iter().any(|secret| lower.contains(secret)) { REDACTED.into() } else { value };
        match (name, value) {
            ("message", Value::String(text)) => self.message = text,
            (_, value) => self.fields.push((name, value)),
        }
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, text_of(&format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, text_of(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, json!(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, json!(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, json!(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, json!(value));
    }
}

/// A text without secrets, cut to what is kept.
fn text_of(text: &str) -> Value {
    let text = without_secrets(text);
    if text.len() <= TEXT_BYTES_MAX {
        return text.into_owned().into();
    }
    // A character has four bytes at most: one of these is where one begins.
    let cut = (TEXT_BYTES_MAX - 3..=TEXT_BYTES_MAX).rev().find_map(|end| text.get(..end));
    format!("{}... ({} bytes)", cut.unwrap_or_default(), text.len()).into()
}

/// Takes credentials out of a text that quotes an HTTP header.
fn without_secrets(text: &str) -> Cow<'_, str> {
    let mut out = Cow::Borrowed(text);
    for scheme in SECRET_SCHEMES {
        if !out.contains(scheme) {
            continue;
        }
        let mut clean = String::with_capacity(out.len());
        let mut pieces = out.split(scheme);
        clean.push_str(pieces.next().unwrap_or_default());
        for piece in pieces {
            let end = piece
                .find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ','))
                .unwrap_or(piece.len());
            clean.push_str(scheme);
            clean.push_str(REDACTED);
            clean.push_str(piece.get(end..).unwrap_or_default());
        }
        out = Cow::Owned(clean);
    }
    out
}

/// A message that drives no terminal and forges no line.
fn one_line(text: &str) -> Cow<'_, str> {
    crate::commands::escape(text)
}

/// Whether a value needs no quotes.
fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && !text.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '"' | '='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_in_a_text_are_taken_out() {
        assert_eq!(
            without_secrets("Authorization: Bearer abc.def, then \"Basic dXNlcg==\" and Basic"),
            "Authorization: Bearer (redacted), then \"Basic (redacted)\" and Basic"
        );
        assert!(matches!(without_secrets("nothing to hide"), Cow::Borrowed(_)));
    }

    #[test]
    fn a_long_text_is_cut_and_says_so() {
        let text = text_of(&"é".repeat(TEXT_BYTES_MAX));
        let text = text.as_str().unwrap();
        assert!(text.len() < TEXT_BYTES_MAX + 40 && text.ends_with("... (16384 bytes)"), "{}", text.len());
    }
}
