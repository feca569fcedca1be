//! A peer that would keep others from the records of names.

use std::path::Path;

use holdfast_dht::ipns::Publish;
use libp2p::futures::future::join_all;
use libp2p_identity::Keypair;
use serde_json::json;
use tokio::time::sleep;

use super::*;
use crate::Node;
use crate::config::Config;
use crate::node;
use crate::pubsub::{self, PubsubFlags, PubsubSettings};
use crate::repo_init::InitParams;
use crate::swarm::{Protocols, SwarmHandle, SwarmParams, SwarmSettings, start};

/// Questions that are asked, or begun, at once.
const MANY: usize = 60;
/// How long those who mean well may have to wait: half of what one question may take.
const WAIT_MAX: Duration = Duration::from_secs(5);

async fn honest(folder: &Path, name: &str) -> Node {
    let repo = folder.join(name);
    let params = InitParams { repo: repo.clone(), profiles: "test".to_owned(), ..InitParams::default() };
    node::init(&params, &mut |_| {}).unwrap();
    let flags = PubsubFlags { names: Some(true), ..PubsubFlags::default() };
    let opening =
        Node::builder().repo(repo).maintenance(false).online(true).routing("none").pubsub(flags).open();
    Box::pin(opening).await.unwrap()
}

async fn hostile() -> (SwarmHandle, Pubsub) {
    let mut config = Config::defaults();
    config.apply_profiles("test").unwrap();
    config.set("Addresses.Swarm", json!(["/ip4/127.0.0.1/tcp/0"])).unwrap();
    let key = Keypair::generate_ed25519();
    let pubsub_settings = PubsubSettings::of_config(&config).unwrap();
    let (behaviour, pubsub, _) = pubsub::Behaviour::new(&key, pubsub_settings).unwrap();
    let params = SwarmParams {
        key,
        agent: "hostile".to_owned(),
        settings: SwarmSettings::of_config(&config, None).unwrap(),
        protocols: Protocols { pubsub: Some(behaviour), ..Protocols::default() },
        exchange: None,
    };
    (Box::pin(start(params)).await.unwrap(), pubsub)
}

async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let end = Instant::now() + Duration::from_secs(60);
    while !holds().await {
        assert!(Instant::now() < end, "it never came to this: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn who_begins_many_questions_and_answers_none_keeps_nobody_else_from_records() {
    let folder = tempfile::tempdir().unwrap();
    let (owner, reader) = (honest(folder.path(), "owner").await, honest(folder.path(), "reader").await);
    let (swarm, target) = (owner.swarm().unwrap(), reader.swarm().unwrap());
    let addresses = target.local_addresses().listening;
    swarm.connect(target.peer_id(), &addresses).await.unwrap();
    let name = Name::from(swarm.peer_id());
    let topic = topic_of(&name);
    reader.name_gossip().unwrap().look_up(name).await;
    owner.pubsub().unwrap().join(&topic).await.unwrap();
    until("the owner knows its reader", || async {
        owner.pubsub().unwrap().peers(Some(&topic)).await.unwrap().contains(&target.peer_id())
    })
    .await;

    let (liar, pubsub) = hostile().await;
    liar.connect(target.peer_id(), &addresses).await.unwrap();
    // It takes questions, and holds them; and it begins some of its own.
    let mut asked = liar.streams().accept(record_fetch::PROTOCOL).unwrap();
    let begun = (0..MANY).map(|_| liar.streams().open(target.peer_id(), record_fetch::PROTOCOL));
    let begun = join_all(begun).await;
    assert!(begun.iter().all(Result::is_ok));
    for _ in 0..MANY {
        pubsub.join(&topic).await.unwrap();
        pubsub.leave(&topic).await.unwrap();
    }
    pubsub.join(&topic).await.unwrap();
    let first = timeout(WAIT_MAX, asked.next()).await.expect("it is asked once");
    let second = timeout(Duration::from_secs(1), asked.next()).await;
    assert!(second.is_err(), "it is asked again before it has answered");

    let publish = Publish {
        value: "/ipfs/bafkqaaa".to_owned(),
        lifetime: Duration::from_secs(3600),
        ttl: Duration::from_secs(60),
        sequence: None,
        v1_compatible: true,
    };
    let published = owner.names().publish("self", publish).await.unwrap();
    owner.pubsub().unwrap().publish(&topic, published.record.as_bytes().to_vec()).await.unwrap();
    let comes = until("the message is examined", || async { reader.names().record(name).await.is_ok() });
    timeout(WAIT_MAX, comes).await.expect("a message waits for questions");
    let asking = async {
        let stream = swarm.streams().open(target.peer_id(), record_fetch::PROTOCOL).await.unwrap();
        record_fetch::ask(stream, &key_of(&name)).await.unwrap()
    };
    let answer = timeout(WAIT_MAX, asking).await.expect("a question waits for those of another");
    assert_eq!(answer.as_deref(), Some(published.record.as_bytes()));
    drop((first, begun));
}
