//! Programs on several nodes tell one another what happens, by topics; and what nobody switched on says so.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::Path;

use holdfast_tests::ask::{Ask, Multipart};
use holdfast_tests::daemon::Daemon;
use holdfast_tests::inputs::noise;
use holdfast_tests::need::temporary;
use holdfast_tests::swarm::Peer;
use holdfast_tests::wait::wait_until;
use holdfast_tests::wire::Wire;
use serde_json::{Value, json};

/// `news` in multibase, as it goes over RPC.
const NEWS: &str = "ubmV3cw";

/// A node that meets only whom it is told to: the DHT would connect all of them with each other.
fn peer(dir: &Path, name: &str, config: &[(&str, Value)]) -> Peer {
    let own = [("Pubsub.Enabled", json!(true)), ("Routing.Type", json!("none"))];
    let config: Vec<_> = own.into_iter().chain(config.iter().cloned()).collect();
    Peer::start(dir, name, &config, None)
}

/// Follows a topic in JSON, one message a line.
fn follow(peer: &Peer, topic: &str) -> Daemon {
    let reader = Daemon::spawn(peer.node().command(["pubsub", "sub", "--enc=json", topic]));
    wait_until("a topic among those that are followed", || {
        let topics = peer.run(["pubsub", "ls"]).ok().out();
        if topics.lines().any(|line| line == topic) { Ok(()) } else { Err(topics) }
    });
    reader
}

/// Waits until a peer knows that others follow a topic.
fn wait_for_followers(peer: &Peer, topic: &str, followers: &[&Peer]) {
    let mut expected: Vec<&str> = followers.iter().map(|peer| peer.id()).collect();
    expected.sort_unstable();
    wait_until("the peers of a topic", || {
        let found = peer.run(["pubsub", "peers", topic]).ok().out();
        if found.lines().eq(expected.iter().copied()) { Ok(()) } else { Err(found) }
    });
}

/// The messages that a reader was given, once it has this many.
fn messages(reader: &Daemon, count: usize) -> Vec<Value> {
    wait_until("messages", || {
        let lines = reader.lines();
        if lines.len() < count {
            return Err(lines);
        }
        Ok(lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect())
    })
}

fn publish(peer: &Peer, topic: &str, data: &[u8]) {
    peer.node().run_with(["pubsub", "pub", topic], data).ok();
}

/// In multibase.
fn encoded(peer: &Peer, data: &[u8]) -> String {
    peer.node().run_with(["multibase", "encode"], data).ok().out()
}

#[test]
fn a_message_reaches_those_who_follow_its_topic_also_over_a_third_node() {
    let dir = temporary("pubsub");
    let [one, middle, other] = ["one", "middle", "other"].map(|name| peer(dir.path(), name, &[]));
    for end in [&one, &other] {
        end.connect(&middle.address("tcp"));
    }
    let readers = [&one, &middle, &other].map(|peer| follow(peer, "news"));
    wait_for_followers(&middle, "news", &[&one, &other]);
    wait_for_followers(&one, "news", &[&middle]);
    wait_for_followers(&other, "news", &[&middle]);

    let sent = b"\x00\xffnot a text\nat all";
    publish(&one, "news", sent);
    publish(&one, "elsewhere", b"nobody hears this");
    publish(&one, "news", b"");
    let expected = [encoded(&one, sent), "u".to_owned()];
    for reader in &readers {
        let messages = messages(reader, 2);
        let data: Vec<&str> = messages.iter().map(|message| message["data"].as_str().unwrap()).collect();
        assert_eq!(data, expected);
        assert_eq!(messages[0]["from"], one.id());
        assert_eq!(messages[0]["topicIDs"], json!([NEWS]));
        // Letters of the base do not stand in the order of what they mean.
        let number = |message: &Value| {
            let text = message["seqno"].as_str().unwrap();
            assert_eq!(text.len(), 12, "{text}");
            one.node().run_with(["multibase", "decode"], text.as_bytes()).ok().stdout
        };
        assert!(number(&messages[0]) < number(&messages[1]), "{messages:?}");
        assert_eq!(messages.len(), 2, "each once");
    }

    // Who stops reading no longer follows.
    let [reader, ..] = readers;
    drop(reader);
    wait_until("no topic", || {
        let topics = one.run(["pubsub", "ls"]).ok().out();
        if topics.is_empty() { Ok(()) } else { Err(topics) }
    });
    wait_for_followers(&middle, "news", &[&other]);
    let all = middle.run(["pubsub", "peers"]).ok().out();
    let mut ids = [one.id(), other.id()];
    ids.sort_unstable();
    assert!(all.lines().eq(ids), "{all}");
    assert_eq!(
        middle.run(["pubsub", "reset", "-p", one.id()]).ok().out(),
        format!("Reset validator state for peer {}\n", one.id())
    );
    assert_eq!(middle.run(["pubsub", "reset"]).ok().out(), "Reset validator state for 0 peer(s)\n");
    // What others serve is said.
    let protocols = middle.identity()["Protocols"].to_string();
    assert!(protocols.contains("/meshsub/1.1.0") && protocols.contains("/floodsub/1.0.0"), "{protocols}");
}

#[test]
fn the_text_of_messages_is_their_data_and_headers_come_before_the_first() {
    let dir = temporary("pubsub-text");
    let peer = peer(dir.path(), "peer", &[]);
    let reader = Daemon::spawn(peer.node().command(["pubsub", "sub", "news"]));
    wait_until("a topic", || {
        let answer = Ask::command("pubsub/ls").send(peer.daemon().api()).ok().value();
        if answer == json!({ "Strings": [NEWS] }) { Ok(()) } else { Err(answer) }
    });
    publish(&peer, "news", b"one\ntwo\n");
    assert_eq!(reader.wait_for("two"), "two");
    assert_eq!(reader.lines(), ["one", "two"]);

    let parts = Multipart::new().file("data", b"three\n");
    let answer = Ask::with_args("pubsub/pub", &[NEWS]).parts(&parts).send(peer.daemon().api()).ok();
    assert_eq!(answer.text(), "");
    reader.wait_for("three");
    // Another client is answered before there is anything to be told.
    let mut wire = Wire::tcp(peer.daemon().api());
    let host = peer.daemon().api().to_string();
    wire.send(&Ask::with_args("pubsub/sub", &[NEWS]).bytes(&host));
    assert_eq!(wire.head().unwrap().status, 200);
}

#[test]
fn what_is_wrong_with_a_call_is_said_in_kubos_words() {
    let dir = temporary("pubsub-words");
    let on = peer(dir.path(), "on", &[]);
    let off = Peer::start(dir.path(), "off", &[], None);
    let words = |peer: &Peer, command: &str, args: &[&str]| {
        let answer = Ask::with_args(command, args).send(peer.daemon().api());
        assert_eq!(answer.status(), 500, "{}", answer.text());
        answer.value()["Message"].as_str().unwrap().to_owned()
    };
    let not_enabled =
        "experimental pubsub feature not enabled, run daemon with --enable-pubsub-experiment to use";
    assert_eq!(words(&off, "pubsub/ls", &[]), not_enabled);
    assert_eq!(words(&off, "pubsub/peers", &[]), not_enabled);
    assert_eq!(words(&off, "pubsub/sub", &[NEWS]), not_enabled);
    assert!(off.run(["pubsub", "sub", "news"]).err().contains(not_enabled));
    assert!(words(&on, "pubsub/sub", &["news"]).starts_with("URL arg must be multibase encoded"));
    assert_eq!(words(&on, "pubsub/sub", &["zabc"]), "URL arg must be base64url encoded");
    let large = vec![0; 1 << 20];
    let refused = on.node().run_with(["pubsub", "pub", "news"], &large);
    assert!(refused.err().contains("larger than pubsub carries"), "{}", refused.err());
    let larger = vec![0; (1 << 20) + 1];
    assert!(!on.node().run_with(["pubsub", "pub", "news"], &larger).failed().err().is_empty());
    publish(&on, "news", &vec![0; (1 << 20) - 2048]);
}

/// The largest message is 1 MiB on the wire, where its topic, writer, number and signature count too: as go-libp2p-pubsub has
/// it, whose nodes end the stream of whoever sends more.
#[test]
fn the_largest_message_arrives_and_one_byte_more_is_refused_with_the_limit() {
    const LARGEST: usize = (1 << 20) - 1024 - "news".len();
    let dir = temporary("pubsub-largest");
    let [one, other] = ["one", "other"].map(|name| peer(dir.path(), name, &[]));
    one.connect(&other.address("tcp"));
    let readers = [&one, &other].map(|peer| follow(peer, "news"));
    wait_for_followers(&one, "news", &[&other]);
    wait_for_followers(&other, "news", &[&one]);

    let largest = noise(1, LARGEST as u64);
    publish(&one, "news", &largest);
    let expected = encoded(&one, &largest);
    for reader in &readers {
        let told = messages(reader, 1);
        assert!(told[0]["data"] == expected, "other bytes arrived");
    }
    let refused = one.node().run_with(["pubsub", "pub", "news"], &noise(2, LARGEST as u64 + 1)).failed();
    let words = refused.err();
    assert!(
        words.contains(&(LARGEST + 1).to_string()) && words.contains(&format!("at most {LARGEST} bytes")),
        "{words}"
    );
    // Nothing of it went out, and the streams are as they were.
    publish(&other, "news", b"still here");
    let expected = encoded(&other, b"still here");
    for reader in &readers {
        assert_eq!(messages(reader, 2)[1]["data"], expected);
    }
}

#[test]
fn the_flag_of_the_daemon_stands_over_the_config_and_both_routers_meet() {
    let dir = temporary("pubsub-flags");
    let flooding = [("Pubsub.Router", json!("floodsub"))];
    let [one, other] = ["one", "other"].map(|name| Peer::repo(dir.path(), name, "test", &flooding, None));
    one.run(["config", "--json", "Pubsub.Enabled", "true"]).ok();
    {
        let off = Daemon::start(&one, &["--enable-pubsub-experiment=false"]);
        assert!(one.run(["pubsub", "ls"]).err().contains("not enabled"));
        off.stop().ok();
    }
    other.run(["config", "--json", "Pubsub.Router", "\"\""]).ok();
    other.run(["config", "--json", "Pubsub.Enabled", "true"]).ok();
    let [one, other] = [one, other].map(Peer::with);
    one.connect(&other.address("tcp"));
    let (here, there) = (follow(&one, "news"), follow(&other, "news"));
    wait_for_followers(&one, "news", &[&other]);
    wait_for_followers(&other, "news", &[&one]);
    publish(&one, "news", b"from floodsub");
    publish(&other, "news", b"from gossipsub");
    for reader in [&here, &there] {
        let mut from: Vec<Value> =
            messages(reader, 2).iter().map(|message| message["from"].clone()).collect();
        from.sort_by_key(|id| id == other.id());
        assert_eq!(from, [one.id(), other.id()]);
    }
}

#[test]
fn messages_without_a_signature_reach_nobody_who_wants_one() {
    let dir = temporary("pubsub-unsigned");
    let [one, other] = ["one", "other"].map(|name| peer(dir.path(), name, &[]));
    let middle = peer(dir.path(), "middle", &[("Pubsub.DisableSigning", json!(true))]);
    for end in [&one, &other] {
        end.connect(&middle.address("tcp"));
    }
    let [reader, between, _far] = [&one, &middle, &other].map(|peer| follow(peer, "news"));
    wait_for_followers(&middle, "news", &[&one, &other]);
    for end in [&one, &other] {
        wait_for_followers(end, "news", &[&middle]);
    }
    publish(&middle, "news", b"unsigned");
    // It comes the same way, behind the other.
    publish(&other, "news", b"signed");
    let told = messages(&between, 2);
    assert_eq!(
        [&told[0]["from"], &told[1]["from"]],
        [middle.id(), other.id()],
        "who wants no signature takes one"
    );
    let messages = messages(&reader, 1);
    assert_eq!((messages.len(), messages[0]["from"].as_str().unwrap()), (1, other.id()));
}

#[test]
fn all_messages_without_a_signature_reach_those_who_want_none() {
    const COUNT: usize = 40;
    let dir = temporary("pubsub-unsigned-many");
    let unsigned = [("Pubsub.DisableSigning", json!(true))];
    let [one, middle, other] = ["one", "middle", "other"].map(|name| peer(dir.path(), name, &unsigned));
    for end in [&one, &other] {
        end.connect(&middle.address("tcp"));
    }
    let readers = [&one, &middle, &other].map(|peer| follow(peer, "news"));
    wait_for_followers(&middle, "news", &[&one, &other]);
    for end in [&one, &other] {
        wait_for_followers(end, "news", &[&middle]);
    }
    let sent: Vec<String> = (0..COUNT).map(|number| format!("message {number}")).collect();
    for text in &sent {
        publish(&one, "news", text.as_bytes());
    }
    let mut expected: Vec<String> = sent.iter().map(|text| encoded(&one, text.as_bytes())).collect();
    expected.sort_unstable();
    for reader in &readers {
        let told = messages(reader, COUNT);
        let mut data: Vec<&str> = told.iter().map(|message| message["data"].as_str().unwrap()).collect();
        data.sort_unstable();
        assert_eq!(data, expected, "each once");
    }
}
