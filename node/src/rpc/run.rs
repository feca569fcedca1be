//! Running a command: what it answers, as far as the first value, before a head is sent.

use std::panic::AssertUnwindSafe;
use std::pin::pin;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt as _, StreamExt as _};
use http::{Response, StatusCode};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::answer::{self, Answer, Shape};
use super::call::Prepared;
use super::multipart::too_large;
use super::reply;
use super::watch::{Outcome, Watched};
use crate::commands::Context;
use crate::commands::registry::{
    Call, Command, CommandError, Encoding, Needs, Request, Response as Answered, TextForm, ValueStream,
};
use crate::http::ResponseBody;

/// What is said of a command that panicked; the log says more.
const PANICKED: &str = "internal error: the command panicked, see the log of the daemon";

/// Runs a call and answers with it. The context is the call's own.
pub(super) async fn run(
    command: &Command,
    context: Context,
    prepared: Prepared,
    upload_bytes_max: Option<u64>,
    mut watched: Box<dyn Watched>,
) -> Response<ResponseBody> {
    let Prepared { call, request, upload } = prepared;
    let encoding = call.encoding().ok().flatten().unwrap_or(Encoding::Json);
    let deadline = call.timeout().ok().flatten().and_then(|limit| Instant::now().checked_add(limit));
    let begun = AssertUnwindSafe(begin(command, &context, request, call, deadline)).catch_unwind();
    match begun.await.unwrap_or_else(|_| Err(CommandError::new(PANICKED))) {
        Ok(Begun::Whole { shape, data }) => {
            watched.set_outcome(Outcome::Success);
            answer::whole(&shape, data, encoding)
        }
        Ok(Begun::Streamed { shape, first, output }) => {
            let is_loud = command.fails_loudly;
            let answer = Answer { first, output, deadline, is_loud, encoding, watched, upload };
            answer::streamed(&shape, answer)
        }
        Err(error) => {
            watched.set_outcome(Outcome::Error);
            match upload_bytes_max.filter(|_| upload.is_some_and(|upload| upload.is_too_large())) {
                Some(bytes_max) => reply::text(StatusCode::PAYLOAD_TOO_LARGE, too_large(bytes_max)),
                None => reply::error(&error, encoding),
            }
        }
    }
}

/// Waits no longer than to the deadline. What the work waits for then is looked at while it still does.
async fn within<T>(
    deadline: Option<Instant>,
    context: &Context,
    work: impl Future<Output = T>,
) -> Result<T, CommandError> {
    let Some(deadline) = deadline else { return Ok(work.await) };
    let mut work = pin!(work);
    timeout_at(deadline, work.as_mut()).await.map_err(|_| context.timed_out())
}

/// What a command has begun to answer.
enum Begun {
    /// All of it.
    Whole { shape: Shape, data: Bytes },
    /// Its beginning, and what follows.
    Streamed { shape: Shape, first: Option<Bytes>, output: Output },
}

/// Runs a command up to its first value: an error until then is the whole answer. Feeds are not waited for.
async fn begin(
    command: &Command,
    context: &Context,
    request: Request,
    call: Call,
    deadline: Option<Instant>,
) -> Result<Begun, CommandError> {
    if command.needs != Needs::Nothing && command.is_runnable() {
        context.require_repo()?;
    }
    let Some(running) = command.start(context.clone(), request) else {
        return Err(CommandError::client(
            "This command can't be called directly. Try one of its subcommands.",
        ));
    };
    let is_text = matches!(call.encoding(), Ok(Some(Encoding::Text)));
    let form = if is_text { command.text_form(&call) } else { None };
    let mut encoder = Encoder { form, call };
    let (shape, source) = match within(deadline, context, running).await?? {
        Answered::Empty => {
            let data = encoder.end()?;
            return Ok(Begun::Whole { shape: Shape::Values, data });
        }
        Answered::One(value) => {
            let data = [encoder.value(&value)?, encoder.end()?].concat().into();
            return Ok(Begun::Whole { shape: Shape::Value, data });
        }
        Answered::Stream(values) => (Shape::Values, Source::Values(values)),
        Answered::Bytes(bytes) => {
            let shape = Shape::Bytes { length: bytes.length, content_type: bytes.content_type };
            (shape, Source::Bytes(bytes.stream))
        }
    };
    let late = command.late;
    let mut output = Output { source: Some(source), encoder, context: context.clone(), late };
    let first = if command.is_feed { None } else { output.next_within(deadline).await.transpose()? };
    Ok(Begun::Streamed { shape, first, output })
}

/// Writes values as text or as lines of JSON.
struct Encoder {
    form: Option<Box<dyn TextForm>>,
    call: Call,
}

impl Encoder {
    fn value(&mut self, value: &Value) -> Result<Bytes, CommandError> {
        let mut out = Vec::new();
        if let Some(form) = &mut self.form {
            form.value(&self.call, value, &mut out)?;
        } else {
            serde_json::to_writer(&mut out, value).map_err(CommandError::from_error)?;
            out.push(b'\n');
        }
        Ok(out.into())
    }

    fn end(&mut self) -> Result<Bytes, CommandError> {
        let mut out = Vec::new();
        if let Some(form) = &mut self.form {
            form.end(&self.call, &mut out)?;
        }
        Ok(out.into())
    }
}

enum Source {
    Values(ValueStream),
    Bytes(BoxStream<'static, Result<Bytes, CommandError>>),
}

/// The bytes of an answer, as they come.
pub(super) struct Output {
    /// Away at its end.
    source: Option<Source>,
    encoder: Encoder,
    context: Context,
    /// What tells as a value that the time is over.
    late: Option<fn(&CommandError) -> Value>,
}

impl Output {
    /// The next bytes, never none of them; an error ends it.
    async fn next(&mut self) -> Option<Result<Bytes, CommandError>> {
        loop {
            let encoded = match self.source.as_mut()? {
                Source::Values(values) => {
                    if let Some(value) = values.next().await {
                        value.and_then(|value| self.encoder.value(&value))
                    } else {
                        self.source = None;
                        self.encoder.end()
                    }
                }
                Source::Bytes(bytes) => {
                    let data = bytes.next().await;
                    if data.is_none() {
                        self.source = None;
                    }
                    data?
                }
            };
            match encoded {
                Ok(data) if data.is_empty() => {}
                Ok(data) => return Some(Ok(data)),
                Err(error) => {
                    self.source = None;
                    return Some(Err(error));
                }
            }
        }
    }

    /// The same. If the deadline comes first, that is an error, or the last value.
    pub(super) async fn next_within(
        &mut self,
        deadline: Option<Instant>,
    ) -> Option<Result<Bytes, CommandError>> {
        let context = self.context.clone();
        within(deadline, &context, self.next()).await.unwrap_or_else(|late| {
            self.source = None;
            Some(self.late.map_or(Err(late.clone()), |value| self.encoder.value(&value(&late))))
        })
    }
}
