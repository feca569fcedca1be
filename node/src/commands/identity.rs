//! `init` and `id`.

use serde::Serialize as _;
use serde_json::Value;
use serde_json::ser::{PrettyFormatter, Serializer};

use super::blocking::blocking;
use super::config::load;
use super::registry::{Arg, Call, Command, CommandError, Needs, Opt, Request, Response};
use super::{Context, Terminal, documents};
use crate::identify::IdInfo;
use crate::keys::IpnsBase;
use crate::node::Node;
use crate::repo_init::{InitParams, begin, get_started};
use crate::routing::reach;
use crate::swarm::{ConnectError, Need};
use holdfast_blockstore::repo::Repo;

/// Largest config file that `init` takes.
const CONFIG_BYTES_MAX: u64 = 16 << 20;

pub(super) fn init() -> Command {
    Command::new("init", "Initialize IPFS config file and repository.")
        .help(&super::profile_help::INIT)
        .arg(Arg::file("default-config", "Initialize with the given configuration."))
        .opt(
            Opt::string("algorithm a", "Cryptographic algorithm to use for key generation: ed25519 or rsa.")
                .default("ed25519"),
        )
        .opt(Opt::int("bits b", "Number of bits to use in the generated RSA private key."))
        .opt(Opt::bool("empty-repo e", "Don't add and pin help files to the local storage.").default(true))
        .opt(Opt::string(
            "profile p",
            "Apply profile settings to config. Multiple profiles can be separated by ','.",
        ))
        .needs(Needs::Nothing)
        .terminal_only()
        .alone()
        .run(run_init)
        .terminal(|terminal, _, response| Box::pin(print_lines(terminal, response)))
}

async fn run_init(context: Context, mut request: Request) -> Result<Response, CommandError> {
    context.require_repo_dir()?;
    let mut input = request.take_input();
    let mut params = InitParams {
        repo: context.repo_dir().to_owned(),
        config_file: context.config_file().map(ToOwned::to_owned),
        algorithm: request.text_opt("algorithm").map(ToOwned::to_owned),
        bits: request.int_opt("bits"),
        profiles: request.text("profile").to_owned(),
        given_config: None,
    };
    let (mut values, made) = blocking(move || {
        if let Some(config) = input.read_optional_file("default-config", CONFIG_BYTES_MAX)? {
            params.given_config = Some(String::from_utf8_lossy(&config).into_owned());
        }
        let mut lines = Vec::new();
        let made = begin(&params, &mut |text| lines.push(text.to_owned()))
            .map_err(CommandError::from_error)
            .and_then(|repo| {
                // Locked until the config is there: whoever opens the repo removes temporary files.
                let _locked = Repo::create(&params.repo).map_err(CommandError::from_error)?;
                repo.finish().map_err(CommandError::from_error)
            });
        let values: Vec<_> = lines.into_iter().map(|text| Ok(Value::String(text))).collect();
        Ok::<_, CommandError>((values, made))
    })
    .await?;
    // What was done so far is shown also before an error: an identity may have been made.
    match made {
        Err(error) => values.push(Err(error)),
        Ok(_) if request.bool("empty-repo") => {}
        Ok(_) => values.push(
            documents::add(&context)
                .await
                .map(|folder| Value::String(get_started(context.program(), &folder.to_string()))),
        ),
    }
    Ok(Response::Stream(Box::pin(futures_util::stream::iter(values))))
}

/// Prints each piece as it is: they bring their own line ends.
pub(super) async fn print_lines(terminal: &mut Terminal, response: Response) -> Result<(), CommandError> {
    let Response::Stream(mut pieces) = response else { return Ok(()) };
    while let Some(piece) = terminal.next(&mut pieces).await? {
        match piece {
            Ok(text) => terminal.print(text.as_str().unwrap_or_default())?,
            Err(error) => {
                terminal.flush()?;
                return Err(error);
            }
        }
    }
    terminal.flush()
}

pub(super) fn id() -> Command {
    Command::new("id", "Show IPFS node id info.")
        .help(
            "Prints this node's peer ID, public key, addresses, agent and protocols.\n\n--format takes any text with \
             <id>, <aver>, <pver>, <pubkey>, <addrs> and <protocols> in it.",
        )
        .arg(Arg::text("peerid", "Peer.ID of node to look up.").stdin())
        .opt(Opt::string("format f", "Optional output format."))
        .opt(
            Opt::string("peerid-base", "Encoding used for peer IDs: b58mh or a multibase for CIDv1.")
                .default("b58mh"),
        )
        .needs(Needs::Config)
        .run(run_id)
        .text(id_text)
        .plain_output()
}

async fn run_id(context: Context, request: Request) -> Result<Response, CommandError> {
    let base: IpnsBase = request.text("peerid-base").parse().map_err(CommandError::from_error)?;
    let config = load(&context).await?;
    let key = config.private_key().map_err(CommandError::from_error)?;
    if let Some(asked) = request.args().first() {
        let asked = crate::keys::parse_peer_id(asked).map_err(CommandError::from_error)?;
        if asked != key.peer_id() {
            if let Some(swarm) = context.swarm() {
                if !request.bool("offline") {
                    let routing = context.open_node().and_then(Node::routing);
                    reach(Need::Any, swarm, routing, asked, &[]).await.map_err(|error| peer_error(&error))?;
                }
                return id_value(&IdInfo::of_known(swarm.book(), &asked, base));
            }
            if !request.bool("offline") {
                return Err(CommandError::client(
                    "'ipfs id' cannot query information on remote peers without a running daemon; \
                     if you only want to convert --peerid-base, pass --offline option",
                ));
            }
            return id_value(&IdInfo::of_peer(&asked, base));
        }
    }
    let mut info = match context.swarm() {
        Some(swarm) => IdInfo::online(&key, base, swarm),
        None => IdInfo::offline(&key, base),
    };
    if let Some(version) = config.api().map_err(CommandError::from_error)?.reported_version {
        info.agent_version = format!("{} (API.ReportedVersion {version})", info.agent_version);
    }
    id_value(&info)
}

/// Without an address there is nobody to ask: Kubo says what may be done instead.
fn peer_error(error: &ConnectError) -> CommandError {
    match error {
        ConnectError::NoAddresses(_) => CommandError::new(
            "'ipfs id' cannot query information on remote peers without an address of them; connect to the peer with \
             'ipfs swarm connect' first, or, if you only want to convert --peerid-base, pass --offline option",
        ),
        other => CommandError::from_error(other),
    }
}

fn id_value(info: &IdInfo) -> Result<Response, CommandError> {
    serde_json::to_value(info).map(Response::One).map_err(CommandError::from_error)
}

fn id_text(call: &Call, value: &Value, out: &mut Vec<u8>) -> Result<(), CommandError> {
    match call.text_opt("format") {
        Some(format) => {
            let info: IdInfo = serde_json::from_value(value.clone()).map_err(CommandError::from_error)?;
            out.extend_from_slice(info.format(format).as_bytes());
            Ok(())
        }
        None => tabbed(value, out).map_err(CommandError::from_error),
    }
}

/// One line for each value, and a tab for each level, as Kubo has it.
fn tabbed(value: &Value, out: &mut Vec<u8>) -> serde_json::Result<()> {
    value.serialize(&mut Serializer::with_formatter(&mut *out, PrettyFormatter::with_indent(b"\t")))?;
    out.push(b'\n');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_peer_says_of_itself_keeps_its_spaces() {
        let (mut out, value) =
            (Vec::new(), serde_json::json!({ "AgentVersion": "two  spaces", "Protocols": ["/a"] }));
        tabbed(&value, &mut out).unwrap();
        let expected = "{\n\t\"AgentVersion\": \"two  spaces\",\n\t\"Protocols\": [\n\t\t\"/a\"\n\t]\n}\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
