//! `pin`: what this node keeps.

mod add;
mod ls;
mod remote;
mod rm;
mod verify;

use holdfast_blockstore::PIN_NAME_BYTES_MAX;
use holdfast_dag::cid::Cid;
use serde_json::{Value, json};

use super::cid_text::CidText;
use super::fast_provide::Fast;
use super::registry::{Arg, Command, CommandError, Opt, Request, Response};
use super::{Context, fast_provide, paths};
use crate::node::Node;
use crate::provide::Content;
use crate::services::pins::{PinAddError, PinProgress};

/// What these commands announce.
const PINNED: Content = Content { pinned: true, in_files: false };

/// The group.
pub(super) fn command() -> Command {
    Command::new("pin", "Pin (and unpin) objects to local storage.")
        .subcommand(add::command())
        .subcommand(ls::command())
        .subcommand(remote::command())
        .subcommand(rm::command())
        .subcommand(update())
        .subcommand(verify::command())
}

fn update() -> Command {
    Command::new("update", "Update a recursive pin.")
        .help(
            "Pins a new object in the place of an old one, which has to be pinned recursively. The new pin has the \
             name of the old one; only what differs is walked. Both changes are one: no moment sees neither pin.",
        )
        .arg(Arg::text("from-path", "Path to old object.").required())
        .arg(Arg::text("to-path", "Path to a new object to be pinned.").required())
        .opt(Opt::bool("unpin", "Remove the old pin.").default(true))
        .opts(fast_provide::options())
        .run(run_update)
        .text(|_, value, out| {
            let mut pins = pins_of(value);
            let (from, to) = (pins.next().unwrap_or_default(), pins.next().unwrap_or_default());
            out.extend_from_slice(format!("updated {from} to {to}\n").as_bytes());
            Ok(())
        })
}

/// The block that a path ends in.
async fn resolve(node: &Node, text: &str) -> Result<Cid, CommandError> {
    node.resolve_block(&paths::parse(text)?).await.map_err(CommandError::from_error)
}

/// A pin's name, unless it is too long.
fn check_name(name: &str) -> Result<(), CommandError> {
    let bytes = name.len();
    if bytes > PIN_NAME_BYTES_MAX {
        return Err(CommandError::from_error(PinAddError::Name { bytes }));
    }
    Ok(())
}

/// The texts in a value's field `Pins`.
fn pins_of(value: &Value) -> impl Iterator<Item = &str> {
    value.get("Pins").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

async fn run_update(context: Context, request: Request) -> Result<Response, CommandError> {
    let cids = CidText::of_call(&request)?;
    let node = context.node().await?;
    let fast = Fast::of_call(node, &request, PINNED)?;
    // Both are read before either is followed.
    let paths = paths::parse_all(request.args())?;
    let mut ends = Vec::with_capacity(paths.len());
    for path in &paths {
        ends.push(node.resolve_block(path).await.map_err(CommandError::from_error)?);
    }
    if let [from, to] = ends.as_slice() {
        let (pins, progress) = (node.pins(), PinProgress::default());
        let update = pins.update(*from, *to, request.bool("unpin"), &progress);
        update.await.map_err(CommandError::from_error)?;
        fast.try_announce(&[*to]).await;
    }
    let pins: Vec<_> = ends.iter().map(|cid| cids.text(cid)).collect();
    Ok(Response::One(json!({ "Pins": pins })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::registry::{Door, RawOption, Registry};

    fn text(path: &[&str], options: &[(&str, &str)], value: &Value) -> String {
        let registry = crate::commands::registry();
        let path = registry.find(path).unwrap();
        let options: Vec<_> = options.iter().map(|(name, value)| RawOption::new(*name, *value)).collect();
        let call = Registry::call(&path, &options, Door::Http).unwrap();
        let mut out = Vec::new();
        let mut form = path.command().text_form(&call).unwrap();
        form.value(&call, value, &mut out).unwrap();
        form.end(&call, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn text_forms_are_those_of_kubo() {
        let pins = json!({ "Pins": ["a", "b"] });
        assert_eq!(text(&["pin", "add"], &[], &pins), "pinned a recursively\npinned b recursively\n");
        assert_eq!(text(&["pin", "add"], &[("r", "false")], &pins), "pinned a directly\npinned b directly\n");
        assert_eq!(text(&["pin", "add"], &[], &json!({ "Progress": 3, "Bytes": 8 })), "");
        assert_eq!(text(&["pin", "rm"], &[], &pins), "unpinned a\nunpinned b\n");
        assert_eq!(text(&["pin", "update"], &[], &pins), "updated a to b\n");
        let keys = json!({ "Keys": { "a": { "Type": "direct", "Name": "n" }, "b": { "Type": "indirect", "Name": "" } } });
        assert_eq!(text(&["pin", "ls"], &[], &keys), "a direct n\nb indirect\n");
        assert_eq!(text(&["pin", "ls"], &[("q", "")], &keys), "a\nb\n");
        let one = json!({ "Cid": "a", "Type": "recursive", "Name": "n" });
        assert_eq!(text(&["pin", "ls"], &[("stream", "")], &one), "a recursive n\n");
        let broken = json!({ "Cid": "a", "BadNodes": [{ "Cid": "b", "Err": "gone" }] });
        assert_eq!(text(&["pin", "verify"], &[], &broken), "a broken\n  b: gone\n");
        assert_eq!(text(&["pin", "verify"], &[("q", "")], &broken), "a\n");
        let sound = json!({ "Cid": "a", "Ok": true });
        assert_eq!(text(&["pin", "verify"], &[], &sound), "a ok\n");
        assert_eq!(text(&["pin", "verify"], &[("q", "")], &sound), "");
    }
}
