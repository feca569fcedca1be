//! `pin ls`.

use std::fmt::Write as _;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt as _, TryStreamExt as _};
use holdfast_dag::cid::{Cid, parse_cid};
use serde_json::{Map, Value, json};

use super::super::cid_text::CidText;
use super::super::registry::{
    Arg, ByteStream, Call, Command, CommandError, Encoding, Opt, Request, Response,
};
use super::super::{Context, Terminal};
use super::{check_name, resolve};
use crate::services::pins::{ListOptions, PinHow, PinTypes, Pinned};

pub(super) fn command() -> Command {
    Command::new("ls", "List objects pinned to local storage.")
        .help(
            "Lists what is pinned: recursively, directly, and indirectly, which is what lies below recursive pins. With \
             arguments it says how each of them is pinned, and fails if one is not.\n\nPins come as they are found, \
             however many there are. Finding all that is pinned indirectly takes a walk: --type=recursive is quick.",
        )
        .arg(Arg::text("ipfs-path", "Path to object(s) to be listed.").variadic())
        .opt(
            Opt::string(
                "type t",
                "The type of pinned keys to list. Can be \"direct\", \"indirect\", \"recursive\", or \"all\".",
            )
            .default("all"),
        )
        .opt(Opt::bool("quiet q", "Output only the CIDs of pins."))
        .opt(Opt::string(
            "name n",
            "Limit returned pins to ones with names that contain the value provided (case-sensitive, partial match). \
             Implies --names=true.",
        ))
        .opt(Opt::bool("stream s", "Enable streaming of pins as they are discovered."))
        .opt(Opt::bool("names", "Include pin names in the output."))
        .run(run)
        .text(text)
        .pre_run(before)
}

/// The text of a listing is the same streamed or not: at the terminal it is streamed.
fn before(call: &mut Call, _terminal: &Terminal) -> Result<(), CommandError> {
    if call.encoding()? != Some(Encoding::Json) && call.args().is_empty() {
        call.set("stream", true);
    }
    Ok(())
}

async fn run(context: Context, request: Request) -> Result<Response, CommandError> {
    let name = request.text("name");
    check_name(name)?;
    let types = types(request.text("type"), !request.args().is_empty())?;
    let form = Form { cids: CidText::of_call(&request)?, names: request.bool("names") || !name.is_empty() };
    let node = context.node().await?;
    // The text of a listing is the same streamed or not.
    let as_text = request.encoding()? == Some(Encoding::Text);
    let streamed = request.bool("stream") || (as_text && request.args().is_empty());
    if request.args().is_empty() {
        let options = ListOptions { types: types.unwrap_or_default(), name: name.to_owned() };
        let steps = node.pins().list(options).map_err(CommandError::from_error);
        let pins = steps.map_ok(|step| stream::iter(step.into_iter().map(Ok))).try_flatten().boxed();
        return Ok(if streamed {
            Response::Stream(pins.map_ok(move |pin| form.streamed(&pin)).boxed())
        } else {
            Response::Bytes(keys(pins, form))
        });
    }
    let mut cids = Vec::with_capacity(request.args().len());
    for path in request.args() {
        cids.push(resolve(node, path).await?);
    }
    let states = match types {
        Some(types) => node.pins().states(cids, types).await.map_err(CommandError::from_error)?,
        None => vec![None; cids.len()],
    };
    let mut pins = Vec::with_capacity(states.len());
    for (state, path) in states.into_iter().zip(request.args()) {
        let not_pinned = || CommandError::new(format!("path '{path}' is not pinned"));
        pins.push(state.ok_or_else(not_pinned)?);
    }
    let named = pins.iter().zip(request.args()).map(|(pin, path)| {
        let cid = as_given(&request, path, &pin.cid).map_or_else(|| form.cid(&pin.cid), str::to_owned);
        (cid, pin)
    });
    if streamed {
        return Ok(Response::values(named.map(|(cid, pin)| form.streamed_as(cid, pin)).collect()));
    }
    let keys: Map<_, _> = named.map(|(cid, pin)| (cid, form.state(pin))).collect();
    Ok(Response::One(json!({ "Keys": keys })))
}

/// The CID of an argument as it was written, where it names a block by nothing else and no other form was asked for:
/// programs look their own text up in the answer.
fn as_given<'p>(call: &Call, path: &'p str, cid: &Cid) -> Option<&'p str> {
    if call.cid_base().is_some() || call.upgrade_cid_v0() {
        return None;
    }
    let text = path.trim_end_matches('/');
    let text = text.strip_prefix("/ipfs/").or_else(|| text.strip_prefix("ipfs://")).unwrap_or(text);
    let given = parse_cid(text).ok()?;
    (given.codec() == cid.codec() && given.hash() == cid.hash()).then_some(text)
}

/// The types that a word names; `None` for Kubo's internal pins, of which there are none.
fn types(word: &str, of_arguments: bool) -> Result<Option<PinTypes>, CommandError> {
    match (word, of_arguments) {
        ("all", _) | ("any", true) => Ok(Some(PinTypes::All)),
        ("recursive", _) => Ok(Some(PinTypes::Recursive)),
        ("direct", _) => Ok(Some(PinTypes::Direct)),
        ("indirect", _) => Ok(Some(PinTypes::Indirect)),
        ("internal", true) => Ok(None),
        _ => Err(CommandError::new(format!(
            "invalid type '{word}', must be one of {{direct, indirect, recursive, all}}"
        ))),
    }
}

/// How pins are written.
#[derive(Clone, Copy)]
struct Form {
    cids: CidText,
    names: bool,
}

impl Form {
    fn cid(self, cid: &Cid) -> String {
        self.cids.text(cid)
    }

    fn how(self, pin: &Pinned) -> String {
        match &pin.how {
            PinHow::Recursive => "recursive".to_owned(),
            PinHow::Direct => "direct".to_owned(),
            PinHow::Indirect(None) => "indirect".to_owned(),
            PinHow::Indirect(Some(root)) => format!("indirect through {}", self.cid(root)),
        }
    }

    fn name(self, pin: &Pinned) -> &str {
        if self.names { &pin.name } else { "" }
    }

    /// A value of the streamed form: a name that is empty is left out.
    fn streamed(self, pin: &Pinned) -> Value {
        self.streamed_as(self.cid(&pin.cid), pin)
    }

    /// The same, with this text of the CID.
    fn streamed_as(self, cid: String, pin: &Pinned) -> Value {
        let mut value = Map::new();
        value.insert("Cid".to_owned(), cid.into());
        if !self.name(pin).is_empty() {
            value.insert("Name".to_owned(), self.name(pin).into());
        }
        value.insert("Type".to_owned(), self.how(pin).into());
        Value::Object(value)
    }

    /// What the one value says of a CID.
    fn state(self, pin: &Pinned) -> Value {
        json!({ "Type": self.how(pin), "Name": self.name(pin) })
    }
}

/// `{"Keys":{...}}`, the one value of a listing that is not streamed, written as it is read: it would take a kilobyte a
/// pin to hold. It is of type JSON, and not a stream of bytes to those who care.
fn keys(pins: BoxStream<'static, Result<Pinned, CommandError>>, form: Form) -> ByteStream {
    let mut before = "{\"Keys\":{";
    let entries = pins.try_chunks(256).map_err(|error| error.1).map_ok(move |pins| {
        let mut text = String::new();
        for pin in &pins {
            text.push_str(std::mem::replace(&mut before, ","));
            let (cid, state) = (Value::from(form.cid(&pin.cid)), form.state(pin));
            let _ = write!(text, "{cid}:{state}");
        }
        Bytes::from(text)
    });
    let whole = AroundKeys::default();
    let stream = entries.map(Some).chain(stream::iter([None])).map(move |entry| whole.text(entry)).boxed();
    ByteStream { stream, length: None, content_type: "application/json" }
}

/// What comes around the entries: a listing without any is `{}`, as in Kubo.
#[derive(Default)]
struct AroundKeys {
    any: std::cell::Cell<bool>,
}

impl AroundKeys {
    fn text(&self, entry: Option<Result<Bytes, CommandError>>) -> Result<Bytes, CommandError> {
        match entry {
            Some(entry) => {
                self.any.set(true);
                entry
            }
            None if self.any.get() => Ok(Bytes::from_static(b"}}\n")),
            None => Ok(Bytes::from_static(b"{}\n")),
        }
    }
}

fn text(call: &Call, value: &Value, out: &mut Vec<u8>) -> Result<(), CommandError> {
    let field =
        |value: &Value, name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut line = |cid: &str, value: &Value| {
        out.extend_from_slice(cid.as_bytes());
        if !call.bool("quiet") {
            for word in [field(value, "Type"), field(value, "Name")].iter().filter(|word| !word.is_empty()) {
                out.push(b' ');
                out.extend_from_slice(word.as_bytes());
            }
        }
        out.push(b'\n');
    };
    match value.get("Keys").and_then(Value::as_object) {
        Some(keys) => keys.iter().for_each(|(cid, state)| line(cid, state)),
        None if value.get("Cid").is_some() => line(&field(value, "Cid"), value),
        None => {}
    }
    Ok(())
}
