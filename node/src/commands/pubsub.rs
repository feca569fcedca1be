//! `pubsub`: messages about topics. Topics and messages are bytes, and travel over RPC in multibase (base64url).

use futures_util::future::BoxFuture;
use futures_util::stream;
use holdfast_dag::base::{Base, decode, encode};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::blocking::read_input;
use super::config::line;
use super::registry::{Arg, Call, Command, CommandError, Encoding, Needs, Opt, Request, Response, Status};
use super::{Context, Terminal, escape};
use crate::keys::parse_peer_id;
use crate::pubsub::{MESSAGE_BYTES_MAX, Message, Pubsub, Subscription};

/// Kubo's words where pubsub was not switched on.
const NO_PUBSUB: &str =
    "experimental pubsub feature not enabled, run daemon with --enable-pubsub-experiment to use";

pub(super) fn command() -> Command {
    Command::new("pubsub", "An experimental publish-subscribe system.")
        .help(
            "Publishes messages about a topic, and follows those of others. Only a daemon with Pubsub.Enabled in its config, \
             or started with --enable-pubsub-experiment, does so.\n\n  $ {program} pubsub sub news\n  $ echo hello | \
             {program} pubsub pub news\n\nMessages are signed, have at most 1 MiB, and go to whoever is connected then: \
             nothing is kept for later. Who reads too slowly loses some.",
        )
        .needs(Needs::Config)
        .status(Status::Experimental)
        .subcommand(publish())
        .subcommand(subscribe())
        .subcommand(ls())
        .subcommand(peers())
        .subcommand(reset())
}

/// A command of this group.
fn member(name: &'static str, tagline: &'static str) -> Command {
    Command::new(name, tagline).needs(Needs::Config).status(Status::Experimental)
}

/// Pubsub of a running daemon.
fn pubsub(context: &Context) -> Result<&Pubsub, CommandError> {
    let pubsub = context.online_node().and_then(|node| node.pubsub());
    pubsub.ok_or_else(|| CommandError::new(NO_PUBSUB))
}

fn multibase(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&encode(Base::Base64Url, bytes)).into_owned()
}

/// Topics are typed as they are, and sent in multibase.
fn encode_topic(call: &mut Call, _terminal: &Terminal) -> Result<(), CommandError> {
    call.map_args(|topic| multibase(topic.as_bytes()));
    Ok(())
}

/// A topic as it came over RPC. The words are Kubo's.
fn topic(request: &Request, index: usize) -> Result<String, CommandError> {
    let (base, bytes) = decode(request.arg(index).as_bytes())
        .map_err(|error| CommandError::new(format!("URL arg must be multibase encoded: {error}")))?;
    if base != Base::Base64Url {
        return Err(CommandError::new("URL arg must be base64url encoded"));
    }
    String::from_utf8(bytes)
        .map_err(|_| CommandError::new("the topic is no UTF-8 text: this version knows no others"))
}

fn publish() -> Command {
    member("pub", "Publish data to a given pubsub topic.")
        .help("Reads a file, or standard input, and publishes it as one message.")
        .arg(
            Arg::text("topic", "Topic to publish to (multibase encoded when sent over HTTP RPC).").required(),
        )
        .arg(Arg::file("data", "The data to be published.").required().stdin())
        .pre_run(encode_topic)
        .run(|context: Context, mut request: Request| async move {
            let topic = topic(&request, 0)?;
            let pubsub = pubsub(&context)?;
            let data = read_input(&context, request.take_input(), "data", MESSAGE_BYTES_MAX as u64).await?;
            pubsub.publish(&topic, data).await.map_err(CommandError::from_error)?;
            Ok(Response::Empty)
        })
}

fn subscribe() -> Command {
    member("sub", "Subscribe to messages on a given topic.")
        .help(
            "Writes the data of every message as it comes, one after the other as they are, until it is interrupted. \
             --enc=json writes who sent it, its number and topics too; data, number and topics are in multibase then.",
        )
        .arg(
            Arg::text("topic", "Name of topic to subscribe to (multibase encoded when sent over HTTP RPC).")
                .required(),
        )
        .pre_run(encode_topic)
        .run(run_subscribe)
        .text(|_, value, out| {
            out.extend_from_slice(&data(value)?);
            Ok(())
        })
        .terminal(show)
        .feed()
}

async fn run_subscribe(context: Context, request: Request) -> Result<Response, CommandError> {
    let topic = topic(&request, 0)?;
    let subscription = pubsub(&context)?.subscribe(&topic).await.map_err(CommandError::from_error)?;
    // It ends with the daemon, which waits for its requests.
    let stopping = context.runtime().map(crate::runtime::Runtime::stopping);
    let next = |(mut subscription, mut stopping): (Subscription, Option<watch::Receiver<bool>>)| async move {
        let stopped = async {
            match &mut stopping {
                Some(stopping) => drop(stopping.wait_for(|stop| *stop).await),
                None => std::future::pending().await,
            }
        };
        let message = tokio::select! {
            message = subscription.next() => message?,
            () = stopped => return None,
        };
        Some((Ok(in_json(&message)), (subscription, stopping)))
    };
    Ok(Response::Stream(Box::pin(stream::unfold((subscription, stopping), next))))
}

/// A message as Kubo has it: what is not there is left out.
fn in_json(message: &Message) -> Value {
    let mut value = serde_json::Map::new();
    if let Some(from) = &message.from {
        value.insert("from".to_owned(), json!(from.to_base58()));
    }
    value.insert("data".to_owned(), json!(multibase(&message.data)));
    let seqno = message.seqno.map(u64::to_be_bytes);
    value.insert("seqno".to_owned(), json!(multibase(seqno.as_ref().map_or(&[], |bytes| &bytes[..]))));
    value.insert("topicIDs".to_owned(), json!([multibase(message.topic.as_bytes())]));
    Value::Object(value)
}

/// The data of a message.
fn data(value: &Value) -> Result<Vec<u8>, CommandError> {
    let text = value.get("data").and_then(Value::as_str).unwrap_or_default();
    let (_, data) = decode(text.as_bytes()).map_err(CommandError::from_error)?;
    Ok(data)
}

/// At a terminal, what strangers send must not drive it. Elsewhere it is written as it came.
fn show<'a>(
    terminal: &'a mut Terminal,
    call: &'a Call,
    response: Response,
) -> BoxFuture<'a, Result<(), CommandError>> {
    Box::pin(async move {
        let in_json = call.encoding()? == Some(Encoding::Json);
        let Response::Stream(mut messages) = response else { return Ok(()) };
        while let Some(message) = terminal.next(&mut messages).await? {
            let message = message?;
            if in_json {
                terminal.print(format!("{message}\n"))?;
            } else if terminal.out_is_terminal {
                let data = data(&message)?;
                let text = String::from_utf8_lossy(&data);
                let lines: Vec<_> = text.split('\n').map(escape).collect();
                terminal.print(lines.join("\n"))?;
            } else {
                terminal.print(data(&message)?)?;
            }
            terminal.flush()?;
        }
        Ok(())
    })
}

fn ls() -> Command {
    member("ls", "List subscribed topics by name.")
        .run(|context: Context, _| async move {
            let topics = pubsub(&context)?.topics().await.map_err(CommandError::from_error)?;
            let topics: Vec<String> = topics.iter().map(|topic| multibase(topic.as_bytes())).collect();
            Ok(Response::One(json!({ "Strings": topics })))
        })
        .text(|_, value, out| {
            for topic in strings(value) {
                let (_, bytes) = decode(topic.as_bytes()).map_err(CommandError::from_error)?;
                line(out, &escape(&String::from_utf8_lossy(&bytes)))?;
            }
            Ok(())
        })
}

fn strings(value: &Value) -> impl Iterator<Item = &str> {
    value.get("Strings").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

fn peers() -> Command {
    member("peers", "List peers we are currently pubsubbing with.")
        .help("Lists the connected peers that speak pubsub; with a topic, those that follow it.")
        .arg(Arg::text("topic", "Topic to list connected peers of."))
        .pre_run(encode_topic)
        .run(|context: Context, request: Request| async move {
            let topic = if request.args().is_empty() { None } else { Some(topic(&request, 0)?) };
            let topic = topic.filter(|topic| !topic.is_empty());
            let peers = pubsub(&context)?.peers(topic.as_deref()).await.map_err(CommandError::from_error)?;
            let peers: Vec<String> = peers.iter().map(ToString::to_string).collect();
            Ok(Response::One(json!({ "Strings": peers })))
        })
        .text(|_, value, out| strings(value).try_for_each(|peer| line(out, peer)))
}

fn reset() -> Command {
    member("reset", "Forget the last numbers of messages.")
        .help(
            "A message counts as new if its number is above the last one of its sender, which is remembered until the daemon \
             ends. This forgets them: of all senders, or of one.",
        )
        .opt(Opt::string("peer p", "Forget only what this peer has sent."))
        .run(|context: Context, request: Request| async move {
            let pubsub = pubsub(&context)?;
            let peer = request.text_opt("peer").filter(|text| !text.is_empty()).map(parse_peer_id).transpose();
            let peer = peer.map_err(|error| CommandError::new(format!("invalid peer ID: {error}")))?;
            let deleted = pubsub.reset(peer).await.map_err(CommandError::from_error)?;
            Ok(Response::One(json!({ "deleted": deleted })))
        })
        .text(|call, value, out| {
            let deleted = value.get("deleted").and_then(Value::as_u64).unwrap_or_default();
            match (call.text("peer"), deleted) {
                ("", deleted) => line(out, &format!("Reset validator state for {deleted} peer(s)")),
                (peer, 0) => line(out, &format!("No validator state found for peer {peer}")),
                (peer, _) => line(out, &format!("Reset validator state for peer {peer}")),
            }
        })
}
