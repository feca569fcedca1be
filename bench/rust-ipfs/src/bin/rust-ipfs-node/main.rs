//! rust-ipfs as a peer that a test or bench drives: `rust-ipfs-node SETTINGS`.
//!
//! SETTINGS is a JSON object: `listen` (multiaddrs on 127.0.0.1 or 10.x; default TCP on a free port), `repo` (a folder;
//! default: in memory). It knows no bootstrap peers, DNS, relays, HTTP gateways or routers, and asks no DHT. Then it
//! speaks the protocol of `tests/interop/peers/lines.py`; what fetches goes to connected peers for what is not there:
//!
//! ```text
//! id, connect addr, peers
//! add        path     {"cid", "seconds"}: a file, with rust-ipfs's defaults
//! put_block  path     {"cid"}: the file as one raw block
//! block      cid      {"bytes", "sha256"}: one block
//! chain      nodes    {"cid"}: of dag-cbor nodes, each {"n", "next"}; the CID of the newest
//! cat        cid      {"bytes", "sha256", "seconds"}
//! fetch      cid      {"seconds"}: everything below it
//! list       cid      {"entries"}
//! walk       cid      {"nodes", "seconds"}: a chain to its end
//! ```

mod act;

use std::error::Error;
use std::io::{BufRead as _, Write as _};
use std::time::Duration;

use rust_ipfs::builder::DefaultIpfsBuilder;
use rust_ipfs::{Ipfs, Multiaddr, ping};
use serde_json::{Value, json};

/// Long enough for any test: connections without a request stay.
const IDLE_SECONDS_MAX: u64 = 3600;

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let settings = std::env::args().nth(1).ok_or("usage: rust-ipfs-node SETTINGS")?;
    let settings: Value = serde_json::from_str(&settings)?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let node = match start(&settings).await {
            Ok(node) => node,
            Err(error) => {
                say(&json!({"error": error.to_string()}));
                return Err(error);
            }
        };
        say(&json!({"ready": act::id(&node).await?}));
        serve(&node).await;
        Ok(())
    })
}

async fn start(settings: &Value) -> Result<Ipfs, Failure> {
    let mut listen = vec!["/ip4/127.0.0.1/tcp/0".to_owned()];
    if let Some(given) = settings["listen"].as_array() {
        listen = given.iter().filter_map(|text| text.as_str().map(str::to_owned)).collect();
    }
    if let Some(far) = listen.iter().find(|text| !text.starts_with("/ip4/127.0.0.1/") && !text.starts_with("/ip4/10.")) {
        return Err(format!("only loopback and 10.x listeners, not {far}").into());
    }
    let listen = listen.iter().map(|text| text.parse()).collect::<Result<Vec<Multiaddr>, _>>()?;
    let mut builder = DefaultIpfsBuilder::new()
        .enable_tcp()
        .enable_quic_with_config(|mut config| {
            // It ends a connection on which nothing came for 300 ms, and never asks again for what was on its way: on a busy
            // machine a process may be still for longer. These are the values of its libp2p.
            config.max_idle_timeout = 10_000;
            config.keep_alive_interval = Duration::from_secs(5);
            config
        })
        .with_identify(Default::default())
        .with_ping(ping::Config::default())
        .with_bitswap()
        .set_idle_connection_timeout(IDLE_SECONDS_MAX)
        .set_listening_addrs(listen);
    if let Some(repo) = settings["repo"].as_str() {
        builder = builder.set_path(repo);
    }
    Ok(builder.start().await?)
}

/// Answers requests beside each other until the input ends.
async fn serve(node: &Ipfs) {
    let (sender, mut requests) = tokio::sync::mpsc::channel::<Value>(64);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { return };
            let Ok(request) = serde_json::from_str(&line) else { return };
            if sender.blocking_send(request).is_err() {
                return;
            }
        }
    });
    while let Some(request) = requests.recv().await {
        let node = node.clone();
        tokio::spawn(async move {
            let number = request["n"].clone();
            say(&match act::act(&node, &request).await {
                Ok(answer) => json!({"n": number, "ok": answer}),
                Err(error) => json!({"n": number, "error": error.to_string()}),
            });
        });
    }
}

fn say(answer: &Value) {
    // Nobody reading means that the test is over.
    let _ = writeln!(std::io::stdout(), "{answer}");
}
