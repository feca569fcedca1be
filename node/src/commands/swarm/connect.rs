//! `swarm connect` and `swarm disconnect`.

use super::{of_action, peers_of_args, strings, strings_text};
use crate::commands::registry::{Arg, Command, CommandError, Needs, Request, Response};
use crate::commands::{Context, planned};
use crate::node::Node;
use crate::routing::reach;
use crate::swarm::Need;

pub(super) fn connect() -> Command {
    Command::new("connect", "Open connection to a given peer.")
        .help(
            "Sees to it that there is a connection. The address is advice: others that are known of the peer are tried too, \
             and where there is a connection already, it is enough. Where none of them leads to it, the DHT is asked.\n\nExample:\n\n  {program} swarm connect \
             /ip4/192.0.2.1/tcp/4001/p2p/12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5",
        )
        .arg(Arg::text("address", "Address of peer to connect to.").required().variadic().stdin())
        .needs(Needs::Config)
        .run(run_connect)
        .text(strings_text)
}

async fn run_connect(context: Context, request: Request) -> Result<Response, CommandError> {
    let swarm = match of_action(&context, request.call()) {
        Ok(swarm) => swarm,
        Err(error) => return Err(offline(request.arg(0), error)),
    };
    let mut done = Vec::new();
    for (peer, addresses) in peers_of_args(swarm, request.args()).await? {
        let what = format!("connect {peer}");
        let routing = context.open_node().and_then(Node::routing);
        reach(Need::Better, swarm, routing, peer, &addresses)
            .await
            .map_err(|error| CommandError::new(format!("{what} failure: {error}")))?;
        done.push(format!("{what} success"));
    }
    Ok(strings(&done))
}

/// Kubo names the peer before it notices that there is no network.
fn offline(address: &str, error: CommandError) -> CommandError {
    let peer = address.rsplit("/p2p/").next().unwrap_or_default();
    if !address.contains("/p2p/") || peer.is_empty() {
        return error;
    }
    CommandError::new(format!("connect {peer} failure: {}", planned::OFFLINE_ACTION))
}

pub(super) fn disconnect() -> Command {
    Command::new("disconnect", "Close connection to a given address.")
        .help(
            "Closes the connection through this address; with nothing but /p2p/ID, all connections to the peer. Either side \
             may open a new one at any time: see 'swarm filters' for what is never dialled.",
        )
        .arg(Arg::text("address", "Address of peer to disconnect from.").required().variadic().stdin())
        .needs(Needs::Config)
        .run(run_disconnect)
        .text(strings_text)
}

async fn run_disconnect(context: Context, request: Request) -> Result<Response, CommandError> {
    let swarm = of_action(&context, request.call())?;
    let mut done = Vec::new();
    for (peer, addresses) in peers_of_args(swarm, request.args()).await? {
        let addresses: Vec<Option<_>> =
            if addresses.is_empty() { vec![None] } else { addresses.into_iter().map(Some).collect() };
        for address in addresses {
            done.push(match swarm.disconnect(peer, address).await {
                Ok(()) => format!("disconnect {peer} success"),
                Err(error) => format!("disconnect {peer} failure: {error}"),
            });
        }
    }
    Ok(strings(&done))
}
