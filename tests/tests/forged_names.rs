//! A record of a name is kept when it is valid, and refused when it is forged: by Kubo, and by us.
//!
//! The sender is no node: it writes each record by hand and puts it by one message of the DHT. What is refused resets its
//! stream; what is kept comes back as it was sent. A third node then reads what is kept.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::io;

use holdfast_tests::foreign::{Foreign, Kind};
use holdfast_tests::hostile::names::{
    DHT_MESSAGE_BYTES_MAX, LAN_DHT, Parts, Terms, get_value, put_value, record_in, routing_key,
};
use holdfast_tests::hostile::{Hostile, STREAM_WAIT_MAX, hear_frame};
use holdfast_tests::need::temporary;
use holdfast_tests::swarm::Peer;
use libp2p::PeerId;
use libp2p::futures::AsyncWriteExt as _;
use libp2p::identity::Keypair;
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::time::timeout;

/// Two paths that nobody has to have.
const HELD: &str = "/ipfs/bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku";
const FALSE: &str = "/ipfs/bafkqaaa";

const FAR: &str = "2100-01-01T00:00:00Z";
const PAST: &str = "2020-01-01T00:00:00Z";

/// What is held, and what is newer.
const TERMS: Terms<'_> = Terms { value: HELD, sequence: 7, validity: FAR };
const NEWER: Terms<'_> = Terms { value: FALSE, sequence: 8, validity: FAR };

/// Who puts records, whatever they are.
struct Sender {
    runtime: Runtime,
    peer: Hostile,
}

impl Sender {
    fn connect(to: &str) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (peer, _) = runtime.block_on(Hostile::connect(&Keypair::generate_ed25519(), to)).unwrap();
        Self { runtime, peer }
    }

    /// What is answered to a message; an error where the stream is reset or ended.
    fn say(&self, message: &[u8]) -> io::Result<Vec<u8>> {
        let answered = self.runtime.block_on(async {
            let mut stream = self.peer.open(LAN_DHT).await.unwrap().expect("it serves the DHT");
            timeout(STREAM_WAIT_MAX, async {
                stream.write_all(message).await?;
                stream.flush().await?;
                hear_frame(&mut stream, DHT_MESSAGE_BYTES_MAX).await
            })
            .await
        });
        answered.expect("an answer or a refusal in time")
    }

    /// Puts a record, and says whether it was kept.
    fn put(&self, key: &[u8], record: &[u8]) -> bool {
        match self.say(&put_value(key, record)) {
            Ok(answer) => {
                assert_eq!(record_in(&answer).as_deref(), Some(record), "kept, it is said again");
                true
            }
            Err(_) => false,
        }
    }

    fn held(&self, key: &[u8]) -> Option<Vec<u8>> {
        record_in(&self.say(&get_value(key)).unwrap())
    }
}

/// Records that are all newer than what is held, but for one, and forged in one part each.
fn forgeries(key: &Keypair) -> Vec<(&'static str, Vec<u8>)> {
    let good = Parts::signed(key, NEWER);
    let stranger = Keypair::generate_ed25519();
    let mut flipped = good.clone();
    flipped.signature_v2.as_mut().unwrap()[20] ^= 1;
    let of_stranger = Parts::signed(&stranger, NEWER);
    let with_its_key = Parts { public_key: Some(stranger.public().encode_protobuf()), ..of_stranger.clone() };
    let with_our_key = Parts { public_key: Some(key.public().encode_protobuf()), ..of_stranger.clone() };
    let says_another = Parts { value: HELD.into(), ..good.clone() };
    let says_newer = Parts { sequence: 9, ..good.clone() };
    let expired = Parts::signed(key, Terms { validity: PAST, ..NEWER });
    let said_to_live = Parts { validity: FAR.into(), ..expired.clone() };
    let older = Parts::signed(key, Terms { sequence: 6, ..NEWER });
    let unsigned = Parts { signature_v2: None, ..good.clone() };
    let first_version = Parts { data: None, ..unsigned.clone() };
    let forged = [
        ("a signature with a flipped bit", flipped),
        ("the record of another key", of_stranger),
        ("the record of another key, which it brings along", with_its_key),
        ("the record of another key, said to be of this one", with_our_key),
        ("a value that is not the one signed", says_another),
        ("a number that is not the one signed", says_newer),
        ("an end of life that has passed", expired),
        ("an end of life that is not the one signed", said_to_live),
        ("an older number", older),
        ("no signature of the second version", unsigned),
        ("nothing of the second version", first_version),
    ];
    let cut = good.write();
    let cut = cut[..cut.len() - 1].to_vec();
    let noise = ("no record at all", vec![0xff; 300]);
    let written = forged.into_iter().map(|(what, parts)| (what, parts.write()));
    written.chain([("a record that is cut", cut), noise]).collect()
}

/// A keeper, by its addresses, gets a valid record and forged ones; the reader, who knows only the keeper, reads what is kept.
fn only_valid_records_are_kept(keeper: (&str, &str), reader: &Peer) {
    let (quic, tcp) = keeper;
    let key = Keypair::generate_ed25519();
    let name = key.public().to_peer_id();
    let (under, sender) = (routing_key(&name), Sender::connect(quic));
    assert_eq!(sender.held(&under), None);
    let forged = forgeries(&key);
    for (what, record) in forged.iter().filter(|(what, _)| *what != "an older number") {
        assert!(!sender.put(&under, record), "{what} is kept where there is nothing");
        assert_eq!(sender.held(&under), None, "{what} is given out where there was nothing");
    }
    let valid = Parts::signed(&key, TERMS).write();
    assert!(sender.put(&under, &valid), "a valid record is refused");
    assert_eq!(sender.held(&under).as_ref(), Some(&valid));
    for (what, record) in &forged {
        assert!(!sender.put(&under, record), "{what} is kept in place of a valid record");
        assert_eq!(sender.held(&under).as_ref(), Some(&valid), "{what} is given out");
    }
    let newer = Parts::signed(&key, NEWER).write();
    let of_other = routing_key(&PeerId::random());
    assert!(!sender.put(&of_other, &newer), "a valid record is kept under another name");
    reader.connect(tcp);
    let path = format!("/ipns/{name}");
    let resolved = || reader.run(["name", "resolve", "--nocache", &path]).ok().out().trim().to_owned();
    assert_eq!(resolved(), HELD);
    assert_eq!(reader.run(["routing", "get", &path]).ok().stdout, valid);
    // The sender is able to put what is newer: none of it was refused for who sent it.
    assert!(sender.put(&under, &newer), "a newer record is refused");
    assert_eq!(resolved(), FALSE);
    assert_eq!(reader.run(["routing", "get", &path]).ok().stdout, newer);
}

fn ours(dir: &std::path::Path, name: &str) -> Peer {
    Peer::start(dir, name, &[("Routing.Type", json!("dht"))], None)
}

#[test]
fn kubo_keeps_a_valid_record_and_refuses_every_forged_one() {
    if !Kind::Kubo.present("forged IPNS records with Kubo") {
        return;
    }
    let dir = temporary("forged-names");
    let listen = json!({"listen": ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"]});
    let keeper = Foreign::start(Kind::Kubo, dir.path(), "keeper", listen, None);
    let reader = ours(dir.path(), "reader");
    only_valid_records_are_kept((keeper.address("quic-v1"), keeper.address("tcp")), &reader);
}

#[test]
fn we_keep_a_valid_record_and_refuse_every_forged_one() {
    let dir = temporary("forged-names");
    let (keeper, reader) = (ours(dir.path(), "keeper"), ours(dir.path(), "reader"));
    only_valid_records_are_kept((&keeper.address("quic-v1"), &keeper.address("tcp")), &reader);
}
