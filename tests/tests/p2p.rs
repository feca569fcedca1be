//! A server behind one node is reached from beside another, through a stream between the two.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::thread;

use holdfast_tests::ask::Ask;
use holdfast_tests::daemon::Daemon;
use holdfast_tests::need::temporary;
use holdfast_tests::swarm::Peer;
use holdfast_tests::wait::{PATIENCE, wait_until};
use rustix::process::Signal;
use serde_json::{Value, json};

const ON: &str = "Experimental.Libp2pStreamMounting";

fn peer(dir: &Path, name: &str) -> Peer {
    Peer::start(dir, name, &[(ON, json!(true))], None)
}

/// A server that reads to the end, and then answers with `tag` and what it read.
fn server(tag: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            thread::spawn(move || {
                let mut bytes = tag.as_bytes().to_vec();
                // Whoever goes away early is not answered.
                if connection.read_to_end(&mut bytes).is_ok() {
                    drop(connection.write_all(&bytes));
                }
            });
        }
    });
    address
}

fn multiaddr(address: SocketAddr) -> String {
    format!("/ip4/{}/tcp/{}", address.ip(), address.port())
}

fn listeners(peer: &Peer) -> Vec<Value> {
    let answer = Ask::command("p2p/ls").send(peer.daemon().api()).ok().value();
    answer["Listeners"].as_array().unwrap().clone()
}

fn streams(peer: &Peer) -> Vec<Value> {
    let answer = Ask::command("p2p/stream/ls").send(peer.daemon().api()).ok().value();
    answer["Streams"].as_array().unwrap().clone()
}

/// Forwards to a peer, and returns where to connect.
fn forward(from: &Peer, to: &Peer, protocol: &str) -> SocketAddr {
    let target = format!("/p2p/{}", to.id());
    from.run(["p2p", "forward", protocol, "/ip4/127.0.0.1/tcp/0", &target]).ok();
    let all = listeners(from);
    let listener = all.iter().find(|listener| listener["Protocol"] == protocol).unwrap();
    assert_eq!(listener["TargetAddress"], target);
    let port = listener["ListenAddress"].as_str().unwrap().rsplit_once('/').unwrap().1;
    format!("127.0.0.1:{port}").parse().unwrap()
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends, closes its half, and reads to the end.
fn exchange(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = connect(address);
    let mut sender = stream.try_clone().unwrap();
    let sent = bytes.to_vec();
    let sending = thread::spawn(move || {
        sender.write_all(&sent).unwrap();
        sender.shutdown(Shutdown::Write).unwrap();
    });
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    sending.join().unwrap();
    answer
}

#[test]
fn bytes_go_both_ways_and_a_half_that_is_closed_does_not_close_the_other() {
    let dir = temporary("p2p");
    let [here, there] = ["here", "there"].map(|name| peer(dir.path(), name));
    here.connect(&there.address("tcp"));
    let target = multiaddr(server("said: "));
    there.run(["p2p", "listen", "/x/echo", &target]).ok();
    let expected = json!({"Protocol": "/x/echo", "ListenAddress": format!("/p2p/{}", there.id()), "TargetAddress": target});
    assert_eq!(listeners(&there), [expected]);
    let address = forward(&here, &there, "/x/echo");
    assert_eq!(exchange(address, b"hello"), b"said: hello");
    let large: Vec<u8> = (0..8_u32 << 20).map(|number| (number % 251) as u8).collect();
    let answers: Vec<_> = (0..4)
        .map(|_| {
            let large = large.clone();
            thread::spawn(move || exchange(address, &large))
        })
        .collect();
    for answer in answers {
        let answer = answer.join().unwrap();
        assert!(answer.strip_prefix(b"said: ") == Some(&large[..]), "{} bytes came back", answer.len());
    }
    wait_until("no stream", || {
        if streams(&here).is_empty() && streams(&there).is_empty() { Ok(()) } else { Err(streams(&here)) }
    });

    // With -r, the server is told who comes.
    there.run(["p2p", "listen", "-r", "/x/who", &target]).ok();
    let address = forward(&here, &there, "/x/who");
    assert_eq!(
        exchange(address, b"I").strip_prefix(b"said: ").unwrap(),
        format!("{}\nI", here.id()).as_bytes()
    );
    let table = there.run(["p2p", "ls", "-v"]).ok().out();
    assert!(table.starts_with("Protocol Listen Address"), "{table}");
}

/// Waits until a peer is in the routing table of another.
fn wait_for_table(of: &Peer, peer: &Peer) {
    wait_until("a peer in the routing table", || {
        let stats = of.daemon().post("/api/v0/stats/dht?arg=lan").json();
        if stats.to_string().contains(peer.id()) { Ok(()) } else { Err(stats) }
    });
}

#[test]
fn a_peer_that_is_known_by_its_id_alone_is_looked_for_before_a_stream_is_opened() {
    let dir = temporary("p2p-unknown");
    let config = [(ON, json!(true)), ("Routing.LoopbackAddressesOnLanDHT", json!(true))];
    let [here, middle, there] =
        ["here", "middle", "there"].map(|name| Peer::start(dir.path(), name, &config, None));
    for end in [&here, &there] {
        end.connect(&middle.address("tcp"));
        wait_for_table(end, &middle);
        wait_for_table(&middle, end);
    }
    there.run(["p2p", "listen", "/x/echo", &multiaddr(server("found: "))]).ok();
    let address = forward(&here, &there, "/x/echo");
    assert_eq!(exchange(address, b"me"), b"found: me");
    assert!(here.peers().contains(&there.id().to_owned()));
}

#[test]
fn streams_and_listeners_are_listed_and_closed() {
    let dir = temporary("p2p-close");
    let [here, there] = ["here", "there"].map(|name| peer(dir.path(), name));
    here.connect(&there.address("tcp"));
    let target = multiaddr(server(""));
    there.run(["p2p", "listen", "/x/echo", &target]).ok();
    let again = there.run(["p2p", "listen", "/x/echo", &target]);
    assert!(again.err().contains("listener already registered"), "{}", again.err());
    let address = forward(&here, &there, "/x/echo");
    let mut open = connect(address);
    open.write_all(b"and").unwrap();
    let listed = wait_until("the stream at both ends", || {
        let ends = [streams(&here), streams(&there)];
        if ends.iter().all(|list| list.len() == 1) { Ok(ends) } else { Err(ends) }
    });
    assert_eq!(listed[0][0]["OriginAddress"], multiaddr(open.local_addr().unwrap()));
    assert_eq!(listed[0][0]["TargetAddress"], format!("/p2p/{}", there.id()));
    assert_eq!(listed[1][0]["OriginAddress"], format!("/p2p/{}", here.id()));
    assert_eq!(listed[1][0]["TargetAddress"], target);

    // Listeners go, and what they opened stays.
    assert_eq!(here.run(["p2p", "close", "-p", "/x/other"]).ok().out(), "Closed 0 stream(s)\n");
    assert_eq!(here.run(["p2p", "close", "-p", "/x/echo"]).ok().out(), "Closed 1 stream(s)\n");
    wait_until("nobody to listen", || if TcpStream::connect(address).is_err() { Ok(()) } else { Err(()) });
    assert_eq!(there.run(["p2p", "close", "-a"]).ok().out(), "Closed 1 stream(s)\n");
    assert_eq!((listeners(&here), listeners(&there)), (Vec::new(), Vec::new()));
    assert_eq!((streams(&here).len(), streams(&there).len()), (1, 1));

    let number = listed[0][0]["HandlerID"].as_str().unwrap();
    here.run(["p2p", "stream", "close", number]).ok();
    wait_until("no stream", || {
        let ends = [streams(&here), streams(&there)];
        if ends.iter().all(Vec::is_empty) { Ok(()) } else { Err(ends) }
    });
    let mut rest = Vec::new();
    // Closed or reset: either way it is over.
    let ended = open.read_to_end(&mut rest);
    assert!(rest.is_empty(), "{ended:?} {rest:?}");
}

#[test]
fn in_the_foreground_it_lasts_as_long_as_the_command() {
    let dir = temporary("p2p-foreground");
    let peer = peer(dir.path(), "peer");
    let target = multiaddr(server(""));
    let foreground = || {
        let command = Daemon::spawn(peer.node().command(["p2p", "listen", "-f", "/x/echo", &target]));
        command.wait_for(&format!("Listening on /x/echo, forwarding to {target}, waiting for interrupt..."));
        assert_eq!(listeners(&peer).len(), 1);
        command
    };
    let interrupted = foreground();
    interrupted.signal(Signal::INT);
    interrupted.wait();
    wait_until("no listener", || if listeners(&peer).is_empty() { Ok(()) } else { Err(listeners(&peer)) });

    let closed = foreground();
    peer.run(["p2p", "close", "-a"]).ok();
    closed.wait_for("Received interrupt, removing listener for /x/echo");
    closed.wait().ok();
}

#[test]
fn what_is_wrong_with_a_call_is_said_in_kubos_words() {
    let dir = temporary("p2p-words");
    let on = peer(dir.path(), "on");
    let off = Peer::start(dir.path(), "off", &[], None);
    let target = multiaddr(server(""));
    let port_zero = "/ip4/127.0.0.1/tcp/0";
    let refused = |peer: &Peer, args: &[&str], words: &str| {
        let answer = peer.run(args).failed();
        assert!(answer.err().contains(words), "{args:?}: {}", answer.err());
    };
    refused(&off, &["p2p", "ls"], "libp2p stream mounting not enabled");
    refused(&on, &["p2p", "listen", "echo", &target], "protocol name must be within '/x/' namespace");
    refused(&on, &["p2p", "listen", "/x/echo", port_zero], "port can not be 0");
    refused(
        &on,
        &["p2p", "listen", "/x/echo", "/ip4/127.0.0.1"],
        "address does not contain tcp or udp protocol",
    );
    refused(&on, &["p2p", "close"], "no matching options given");
    refused(&on, &["p2p", "close", "-a", "-p", "/x/a"], "can't combine --all with other matching options");
    refused(&on, &["p2p", "stream", "close"], "no id specified");
    on.run(["p2p", "listen", "--allow-custom-protocol", "/custom", &target]).ok();
    let alone = on.stop();
    assert!(alone.run(["p2p", "ls"]).failed().err().contains("must be run in online mode"));
}

#[test]
fn nobody_at_the_other_end_closes_the_connection_and_nothing_else() {
    let dir = temporary("p2p-nobody");
    let [here, there] = ["here", "there"].map(|name| peer(dir.path(), name));
    here.connect(&there.address("tcp"));
    let address = forward(&here, &there, "/x/nobody");
    let mut bytes = Vec::new();
    // Closed or reset.
    let _ = connect(address).read_to_end(&mut bytes);
    assert!(bytes.is_empty());
    // Once somebody listens, the same forward works.
    there.run(["p2p", "listen", "/x/nobody", &multiaddr(server("now "))]).ok();
    assert_eq!(exchange(address, b"yes"), b"now yes");
}
