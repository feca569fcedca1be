//! `key`.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::blocking::{blocking, read_input};
use super::config::{line, load};
use super::registry::{Arg, Call, Command, CommandError, Needs, Opt, Request, Response};
use super::{Context, key_rotate, key_sign};
use crate::keys::{ENCODED_BYTES_MAX, ExportFormat, IpnsBase, KeyInfo, Keystore};

pub(super) fn command() -> Command {
    Command::new("key", "Create and list IPNS name keypairs.")
        .needs(Needs::Config)
        .subcommand(export())
        .subcommand(generate())
        .subcommand(import())
        .subcommand(list("list"))
        .subcommand(list("ls"))
        .subcommand(rename())
        .subcommand(remove())
        .subcommand(key_rotate::command())
        .subcommand(key_sign::sign())
        .subcommand(key_sign::verify())
}

fn generate() -> Command {
    Command::new("gen", "Create a new keypair.")
        .arg(Arg::text("name", "Name of key to create.").required())
        .opt(Opt::string("type t", "Type of the key to create: rsa, ed25519, secp256k1.").default("ed25519"))
        .opt(Opt::int("size s", "Size of the key to generate."))
        .opt(ipns_base())
        .needs(Needs::Config)
        .run(|context, request| async move {
            let base = base(&request)?;
            let (name, kind) = (request.arg(0).to_owned(), request.text("type").to_owned());
            let bits = size(&kind, request.int_opt("size"));
            let key = change_store(&context, move |store| {
                store.generate(&name, &kind, bits).map_err(CommandError::from_error)
            })
            .await?;
            Ok(Response::One(key_value(&key, base)))
        })
        .text(|_, value, out| line(out, text_of(value, "Id")))
}

/// What ipfshttpclient and aioipfs send with every key that they ask for, whatever its kind.
const RSA_BITS_OF_CLIENTS: i64 = 2048;

/// The size asked for, unless it is one that clients name without meaning it.
fn size(kind: &str, bits: Option<i64>) -> Option<i64> {
    bits.filter(|bits| kind != "ed25519" || *bits != RSA_BITS_OF_CLIENTS)
}

fn import() -> Command {
    Command::new("import", "Import a key and prints imported key id.")
        .arg(Arg::text("name", "Name to associate with key in keychain.").required())
        .arg(Arg::file("key", "Key provided by generate or export.").required())
        .opt(ipns_base())
        .opt(
            Opt::string(
                "format f",
                "The format of the private key to import: libp2p-protobuf-cleartext or pem-pkcs8-cleartext.",
            )
            .default("libp2p-protobuf-cleartext"),
        )
        .opt(Opt::bool("allow-any-key-type", "Allow importing any key type."))
        .needs(Needs::Config)
        .run(|context, mut request| async move {
            let (base, name) = (base(&request)?, request.arg(0).to_owned());
            let format =
                ExportFormat::for_import(request.text("format")).map_err(CommandError::from_error)?;
            let any = request.bool("allow-any-key-type");
            // Before the turn is taken: whoever sends it may be slow.
            let bytes = read_input(&context, request.take_input(), "key", ENCODED_BYTES_MAX as u64).await?;
            let key = change_store(&context, move |store| {
                store.import(&name, &bytes, format, any).map_err(CommandError::from_error)
            })
            .await?;
            Ok(Response::One(key_value(&key, base)))
        })
        .text(|_, value, out| line(out, text_of(value, "Id")))
}

fn export() -> Command {
    Command::new("export", "Export a keypair.")
        .help("Writes a named private key to a file: by default <name>.key, in the protobuf form of libp2p.")
        .arg(Arg::text("name", "Name of key to export.").required())
        .opt(Opt::string("output o", "The path where the output should be stored."))
        .opt(
            Opt::string(
                "format f",
                "The format of the exported private key: libp2p-protobuf-cleartext or pem-pkcs8-cleartext.",
            )
            .default("libp2p-protobuf-cleartext"),
        )
        .needs(Needs::Config)
        .terminal_only()
        .run(|context, request| async move {
            let name = request.arg(0).to_owned();
            let format =
                ExportFormat::for_export(request.text("format")).map_err(CommandError::from_error)?;
            // A name may hold slashes: by default the file lies in this folder all the same.
            let base = name.trim_end_matches('/').rsplit('/').next().unwrap_or(&name);
            let default = PathBuf::from(format!("{base}.{}", format.file_ending()));
            let output = request.text_opt("output").map_or(default, PathBuf::from);
            in_store(&context, move |store| {
                let bytes = store.export(&name, format).map_err(CommandError::from_error)?;
                Keystore::write_exported(&output, &bytes).map_err(CommandError::from_error)
            })
            .await?;
            Ok(Response::Empty)
        })
}

/// `key list` and its other name.
fn list(name: &'static str) -> Command {
    Command::new(name, "List all local keypairs.")
        .opt(Opt::bool("l", "Show extra information about keys."))
        .opt(ipns_base())
        .needs(Needs::Config)
        .run(|context, request| async move {
            let base = base(&request)?;
            let own = load(&context).await?.private_key().map_err(CommandError::from_error)?.peer_id();
            let keys =
                in_store(&context, move |store| store.list(own).map_err(CommandError::from_error)).await?;
            Ok(keys_value(&keys, base))
        })
        .text(keys_text)
}

fn rename() -> Command {
    Command::new("rename", "Rename a keypair.")
        .arg(Arg::text("name", "Name of key to rename.").required())
        .arg(Arg::text("newName", "New name of the key.").required())
        .opt(Opt::bool("force f", "Allow to overwrite an existing key."))
        .opt(ipns_base())
        .needs(Needs::Config)
        .run(|context, request| async move {
            let base = base(&request)?;
            let (name, new_name) = (request.arg(0).to_owned(), request.arg(1).to_owned());
            let force = request.bool("force");
            let was = name.clone();
            let renamed = change_store(&context, move |store| {
                store.rename(&name, &new_name, force).map_err(CommandError::from_error)
            })
            .await?;
            Ok(Response::One(json!({
                "Was": was,
                "Now": renamed.key.name,
                "Id": base.format(&renamed.key.peer_id),
                "Overwrite": renamed.overwrite,
            })))
        })
        .text(|_, value, out| {
            let (id, now) = (text_of(value, "Id"), text_of(value, "Now"));
            match value.get("Overwrite").and_then(Value::as_bool) {
                Some(true) => line(out, &format!("Key {id} renamed to {now} with overwriting")),
                _ => line(out, &format!("Key {id} renamed to {now}")),
            }
        })
}

fn remove() -> Command {
    Command::new("rm", "Remove a keypair.")
        .arg(Arg::text("name", "Names of keys to remove.").required().variadic().stdin())
        .opt(Opt::bool("l", "Show extra information about keys."))
        .opt(ipns_base())
        .needs(Needs::Config)
        .run(|context, request| async move {
            let (base, names) = (base(&request)?, request.args().to_vec());
            let removed = change_store(&context, move |store| {
                let removed: Result<Vec<_>, _> = names.iter().map(|name| store.remove(name)).collect();
                removed.map_err(CommandError::from_error)
            })
            .await?;
            Ok(keys_value(&removed, base))
        })
        .text(keys_text)
}

fn ipns_base() -> Opt {
    Opt::string("ipns-base", "Encoding used for keys: b58mh or a multibase for CIDv1.").default("base36")
}

fn base(request: &Request) -> Result<IpnsBase, CommandError> {
    request.text("ipns-base").parse().map_err(CommandError::from_error)
}

/// Reads the key store of the context's repo.
async fn in_store<T: Send + 'static>(
    context: &Context,
    work: impl FnOnce(&Keystore) -> Result<T, CommandError> + Send + 'static,
) -> Result<T, CommandError> {
    context.require_repo()?;
    let repo = context.repo_dir().to_owned();
    blocking(move || work(&Keystore::at(&repo))).await
}

/// Changes the key store of the context's repo, under the lock of the repo.
async fn change_store<T: Send + 'static>(
    context: &Context,
    work: impl FnOnce(&Keystore) -> Result<T, CommandError> + Send + 'static,
) -> Result<T, CommandError> {
    context.require_repo()?;
    let (repo, turn) = (context.repo_dir().to_owned(), context.turn());
    blocking(move || {
        let _taken = turn.take()?;
        work(&Keystore::open(&repo).map_err(CommandError::from_error)?)
    })
    .await
}

fn key_value(key: &KeyInfo, base: IpnsBase) -> Value {
    json!({ "Name": key.name, "Id": base.format(&key.peer_id) })
}

fn keys_value(keys: &[KeyInfo], base: IpnsBase) -> Response {
    let keys: Vec<_> = keys.iter().map(|key| key_value(key, base)).collect();
    Response::One(json!({ "Keys": keys }))
}

fn text_of<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// Names, or with `-l` IDs and names in columns.
fn keys_text(call: &Call, value: &Value, out: &mut Vec<u8>) -> Result<(), CommandError> {
    let none = Vec::new();
    let keys = value.get("Keys").and_then(Value::as_array).unwrap_or(&none);
    let width = keys.iter().map(|key| text_of(key, "Id").len()).max().unwrap_or_default();
    keys.iter().try_for_each(|key| {
        let (id, name) = (text_of(key, "Id"), text_of(key, "Name"));
        if call.bool("l") { line(out, &format!("{id:<width$} {name} ")) } else { line(out, name) }
    })
}
