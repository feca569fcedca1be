//! What a plain libp2p stream carries: `raw-stream tcp|quic-v1 MEBIBYTES` prints the seconds that it took.
//!
//! Two swarms of this process, each with libp2p's own transport and its defaults (TCP with noise and yamux, or QUIC),
//! on loopback. One writes as many bytes into one stream, the other reads them to the end and answers with one byte.

use std::error::Error;
use std::time::Instant;

use futures_util::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{StreamProtocol, SwarmEvent};
use libp2p::{Multiaddr, Swarm, SwarmBuilder, noise, tcp, yamux};
use libp2p_stream::Behaviour;

type Failure = Box<dyn Error + Send + Sync>;

const PROTOCOL: StreamProtocol = StreamProtocol::new("/raw/1.0.0");

/// Bytes that one call writes or reads.
const PIECE_BYTES: usize = 256 << 10;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut args = std::env::args().skip(1);
    let usage = "usage: raw-stream tcp|quic-v1 MEBIBYTES";
    let listen: Multiaddr = match args.next().as_deref() {
        Some("tcp") => "/ip4/127.0.0.1/tcp/0".parse()?,
        Some("quic-v1") => "/ip4/127.0.0.1/udp/0/quic-v1".parse()?,
        _ => return Err(usage.into()),
    };
    let mebibytes: usize = args.next().ok_or(usage)?.parse()?;

    let mut reader = swarm()?;
    reader.listen_on(listen)?;
    let address = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = reader.select_next_some().await {
            break address.with(Protocol::P2p(*reader.local_peer_id()));
        }
    };
    let peer = *reader.local_peer_id();
    let mut incoming = reader.behaviour().new_control().accept(PROTOCOL)?;
    tokio::spawn(run(reader));
    tokio::spawn(async move {
        let Some((_, mut stream)) = incoming.next().await else { return Ok(()) };
        let mut piece = vec![0; PIECE_BYTES];
        while stream.read(&mut piece).await? > 0 {}
        stream.write_all(&[1]).await?;
        stream.close().await
    });

    let mut writer = swarm()?;
    writer.dial(address)?;
    while !matches!(writer.select_next_some().await, SwarmEvent::ConnectionEstablished { .. }) {}
    let mut control = writer.behaviour().new_control();
    tokio::spawn(run(writer));
    let mut stream = control.open_stream(peer, PROTOCOL).await.map_err(|error| error.to_string())?;
    let piece = vec![7; PIECE_BYTES];
    let start = Instant::now();
    for _ in 0..(mebibytes << 20) / PIECE_BYTES {
        stream.write_all(&piece).await?;
    }
    stream.close().await?;
    stream.read_exact(&mut [0]).await?;
    println!("{}", start.elapsed().as_secs_f64());
    Ok(())
}

fn swarm() -> Result<Swarm<Behaviour>, Failure> {
    Ok(SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)?
        .with_quic()
        .with_behaviour(|_| Behaviour::new())?
        .with_swarm_config(|config| config.with_idle_connection_timeout(std::time::Duration::from_secs(60)))
        .build())
}

async fn run(mut swarm: Swarm<Behaviour>) {
    while swarm.next().await.is_some() {}
}
