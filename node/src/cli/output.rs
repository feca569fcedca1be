//! Writing a response out.

use serde_json::Value;

use crate::commands::registry::{ByteStream, Call, Command, CommandError, Encoding, Response, TextForm};
use crate::commands::{Terminal, escape};

/// Writes a response the way the call asks for.
pub(super) async fn show(
    terminal: &mut Terminal,
    command: &Command,
    call: &Call,
    response: Response,
) -> Result<(), CommandError> {
    let encoding = call.encoding()?;
    let is_bytes = matches!(response, Response::Bytes(_));
    if let Some(view) = &command.terminal
        && (is_bytes || !call.json_lines())
    {
        view(terminal, call, response).await?;
        return terminal.flush();
    }
    let text = match encoding {
        Some(Encoding::Json) if call.json_lines() || !command.always_text => None,
        _ => command.text_form(call),
    };
    let mut writer =
        ValueWriter { text, escape: terminal.out_is_terminal && !command.plain_output, buffer: Vec::new() };
    let mut failure = None;
    match response {
        Response::Empty => writer.end(terminal, call)?,
        Response::One(value) => {
            failure = command.failure_in(&value);
            writer.write(terminal, call, value)?;
            writer.end(terminal, call)?;
        }
        Response::Stream(mut values) => {
            while let Some(value) = terminal.next(&mut values).await? {
                let value = value?;
                failure = failure.or_else(|| command.failure_in(&value));
                writer.write(terminal, call, value)?;
            }
            writer.end(terminal, call)?;
        }
        Response::Bytes(bytes) => copy(terminal, call, bytes).await?,
    }
    terminal.flush()?;
    failure.map_or(Ok(()), Err)
}

/// Copies bytes to standard output, with progress unless a person reads them there.
async fn copy(terminal: &mut Terminal, call: &Call, mut bytes: ByteStream) -> Result<(), CommandError> {
    let mut progress = (!terminal.out_is_terminal && call.bool_opt("progress") != Some(false))
        .then(|| terminal.progress(&call.path().join(" "), bytes.length));
    while let Some(piece) = terminal.next(&mut bytes.stream).await? {
        let piece = piece?;
        terminal.print(&piece)?;
        if let Some(progress) = &mut progress {
            progress.add_bytes(piece.len() as u64);
        }
    }
    Ok(())
}

/// Writes values, as text or as lines of JSON.
struct ValueWriter {
    text: Option<Box<dyn TextForm>>,
    escape: bool,
    buffer: Vec<u8>,
}

impl ValueWriter {
    fn write(&mut self, terminal: &mut Terminal, call: &Call, value: Value) -> Result<(), CommandError> {
        self.buffer.clear();
        if let Some(form) = &mut self.text {
            let value = if self.escape { escaped(value) } else { value };
            form.value(call, &value, &mut self.buffer)?;
        } else {
            // JSON escapes control characters by itself.
            serde_json::to_writer(&mut self.buffer, &value).map_err(CommandError::from_error)?;
            self.buffer.push(b'\n');
        }
        terminal.print(&self.buffer)
    }

    fn end(&mut self, terminal: &mut Terminal, call: &Call) -> Result<(), CommandError> {
        self.buffer.clear();
        if let Some(form) = &mut self.text {
            form.end(call, &mut self.buffer)?;
        }
        terminal.print(&self.buffer)
    }
}

/// A value in whose texts no control character is left: names from elsewhere must not drive a terminal.
fn escaped(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(escape(&text).into_owned()),
        Value::Array(items) => Value::Array(items.into_iter().map(escaped).collect()),
        Value::Object(map) => Value::Object(
            map.into_iter().map(|(key, item)| (escape(&key).into_owned(), escaped(item))).collect(),
        ),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_do_not_reach_a_terminal() {
        assert_eq!(escape("plain"), "plain");
        assert_eq!(escape("a\u{1b}[31m\nb\u{9b}"), "a\\x1b[31m\\nb\\u{9b}");
        let value = serde_json::json!({ "N\u{7}": ["x\u{1b}", 1] });
        assert_eq!(escaped(value), serde_json::json!({ "N\\x07": ["x\\x1b", 1] }));
    }
}
