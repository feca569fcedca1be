//! Peers that only keep a node company: `guests ADDRESS COUNT SECONDS`.
//!
//! Each has a key and a TCP connection of its own, says who it is, and sends and answers pings. They leave when the
//! seconds are over.

use std::error::Error;
use std::time::Duration;

use futures_util::StreamExt as _;
use libp2p::swarm::NetworkBehaviour;
use libp2p::{Multiaddr, SwarmBuilder, identify, noise, ping, tcp, yamux};

type Failure = Box<dyn Error + Send + Sync>;

#[derive(NetworkBehaviour)]
struct Guest {
    identify: identify::Behaviour,
    ping: ping::Behaviour,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let mut args = std::env::args().skip(1);
    let usage = "usage: guests ADDRESS COUNT SECONDS";
    let host: Multiaddr = args.next().ok_or(usage)?.parse()?;
    let count: u32 = args.next().ok_or(usage)?.parse()?;
    let seconds = args.next().ok_or(usage)?.parse()?;
    for _ in 0..count {
        let host = host.clone();
        tokio::spawn(async move {
            if let Err(error) = visit(host).await {
                eprintln!("{error}");
            }
        });
    }
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    Ok(())
}

async fn visit(host: Multiaddr) -> Result<(), Failure> {
    let mut swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)?
        .with_behaviour(|key| Guest {
            identify: identify::Behaviour::new(identify::Config::new("/ipfs/0.1.0".to_owned(), key.public())),
            ping: ping::Behaviour::default(),
        })?
        .build();
    swarm.dial(host)?;
    loop {
        swarm.select_next_some().await;
    }
}
