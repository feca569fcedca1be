//! `key sign` and `key verify`: proving that one has a key.

use holdfast_dht::ipns::Name;
use libp2p_identity::PublicKey;
use multibase::Base;
use serde_json::json;

use super::Context;
use super::blocking::in_place;
use super::config::load;
use super::registry::{Arg, Command, CommandError, Needs, Opt, Request, Response, Status};
use crate::config::Config;
use crate::go_text::go_quote;
use crate::keys::{IpnsBase, KeyError, Keystore, SELF};
use crate::services::names::KeyLookupError;

/// Stands before what is signed, so that no signature is one over something else.
const PREFIX: &[u8] = b"libp2p-key signed message:";

/// Longest message that is signed or verified, in bytes.
const MESSAGE_BYTES_MAX: u64 = 4 << 20;

pub(super) fn sign() -> Command {
    Command::new("sign", "Generates a signature for the given data with a specified key.")
        .help(
            "Signs bytes, to prove that one has the key of a peer ID or an IPNS name. What is signed begins with \
             \"libp2p-key signed message:\", so that the signature is of no use for anything else.",
        )
        .arg(Arg::file("data", "The data to sign.").required().stdin())
        .opt(Opt::string("key k", "The name of the key to use for signing."))
        .opt(ipns_base())
        .needs(Needs::Config)
        .status(Status::Experimental)
        .run(run_sign)
}

pub(super) fn verify() -> Command {
    Command::new("verify", "Verify that the given data and signature match.")
        .help(
            "Says whether a key signed these bytes with 'key sign'. The key is one of the key store, or an IPNS name or a \
             peer ID that holds its public key.",
        )
        .arg(Arg::file("data", "The data to verify against the given signature.").required().stdin())
        .opt(Opt::string("key k", "The name of the key to use for verifying."))
        .opt(Opt::string("signature s", "Multibase-encoded signature to verify."))
        .opt(ipns_base())
        .needs(Needs::Config)
        .status(Status::Experimental)
        .run(run_verify)
}

fn ipns_base() -> Opt {
    Opt::string("ipns-base", "Encoding used for keys: b58mh or a multibase for CIDv1.").default("base36")
}

async fn run_sign(context: Context, mut request: Request) -> Result<Response, CommandError> {
    let base: IpnsBase = request.text("ipns-base").parse().map_err(CommandError::from_error)?;
    let name = key_name(request.text("key")).to_owned();
    let (config, repo) = (load(&context).await?, context.repo_dir().to_owned());
    let mut input = request.take_input();
    in_place(&context, move || {
        let message = message(&input.read_file("data", MESSAGE_BYTES_MAX)?);
        let key = match name.as_str() {
            SELF => config.private_key().map_err(CommandError::from_error)?,
            name => Keystore::at(&repo).get(name).map_err(no_such_key)?,
        };
        let signature = key.keypair().sign(&message).map_err(CommandError::from_error)?;
        Ok::<_, CommandError>(Response::One(json!({
            "Key": { "Name": name, "Id": base.format(&key.peer_id()) },
            "Signature": multibase::encode(Base::Base64Url, signature),
        })))
    })
    .await
}

async fn run_verify(context: Context, mut request: Request) -> Result<Response, CommandError> {
    let base: IpnsBase = request.text("ipns-base").parse().map_err(CommandError::from_error)?;
    let name = key_name(request.text("key")).to_owned();
    let signature = match request.text("signature") {
        "" => Err(CommandError::new("cannot decode multibase for zero length string")),
        text => multibase::decode(text).map_err(CommandError::from_error),
    };
    let (_, signature) = signature?;
    let (config, repo) = (load(&context).await?, context.repo_dir().to_owned());
    let mut input = request.take_input();
    in_place(&context, move || {
        let message = message(&input.read_file("data", MESSAGE_BYTES_MAX)?);
        let (name, key) = public_key(&config, &Keystore::at(&repo), &name)?;
        Ok::<_, CommandError>(Response::One(json!({
            "Key": { "Name": name, "Id": base.format(&key.to_peer_id()) },
            "SignatureValid": key.verify(&message, &signature),
        })))
    })
    .await
}

fn key_name(text: &str) -> &str {
    if text.is_empty() { SELF } else { text }
}

fn message(data: &[u8]) -> Vec<u8> {
    [PREFIX, data].concat()
}

/// Kubo has other words here than in `key rm`.
fn no_such_key(error: KeyError) -> CommandError {
    match error {
        KeyError::NotFound(_) => CommandError::from_error(KeyLookupError::NoName),
        other => CommandError::from_error(other),
    }
}

/// The public key that is meant, and its name if it is one of ours.
fn public_key(config: &Config, keystore: &Keystore, text: &str) -> Result<(String, PublicKey), CommandError> {
    if text == SELF {
        let key = config.private_key().map_err(CommandError::from_error)?;
        return Ok((text.to_owned(), key.keypair().public()));
    }
    match keystore.get(text) {
        Ok(key) => return Ok((text.to_owned(), key.keypair().public())),
        Err(KeyError::NotFound(_) | KeyError::LongName(_)) => {}
        Err(error) => return Err(CommandError::from_error(error)),
    }
    let name: Name = text.parse().map_err(|_| {
        let text = go_quote(text);
        CommandError::new(format!("'{text}' is not a known key, an IPNS Name, or a valid PeerID"))
    })?;
    let key = name.public_key().ok_or_else(|| CommandError::new("public key is not embedded in peer ID"))?;
    Ok((String::new(), key))
}
