//! Relays that a node finds for itself when nobody can dial it.

use serde_json::json;

use super::{listening, node, plain, until};
use crate::config::Config;
use crate::swarm::SwarmSettings;

fn settings(keys: &[(&str, serde_json::Value)]) -> SwarmSettings {
    let mut config = Config::defaults();
    config.apply_profiles("test").unwrap();
    for (key, value) in keys {
        config.set(key, value.clone()).unwrap();
    }
    SwarmSettings::of_config(&config, None).unwrap()
}

#[tokio::test]
async fn relays_that_refuse_do_not_keep_a_node_from_one_that_is_willing() {
    // They serve no circuits, and stand first in the list.
    let refusing = [plain().await, plain().await];
    let willing = node(settings(&[("Swarm.RelayService.Enabled", json!(true))])).await;
    let listed: Vec<String> = refusing
        .iter()
        .chain([&willing])
        .map(|relay| format!("{}/p2p/{}", listening(relay)[0], relay.peer_id()))
        .collect();
    let hidden = node(settings(&[
        ("Internal.Libp2pForceReachability", json!("private")),
        ("Swarm.RelayClient.Enabled", json!(true)),
        ("Swarm.RelayClient.StaticRelays", json!(listed)),
    ]))
    .await;
    let through = format!("/p2p/{}/p2p-circuit", willing.peer_id());
    until("it announces a circuit through the willing one", || async {
        hidden.local_addresses().announced.iter().any(|address| address.to_string().contains(&through))
    })
    .await;
    until("the connection manager leaves the relay alone", || async {
        hidden.worth().is_protected(&willing.peer_id())
    })
    .await;
    let caller = node(settings(&[("Swarm.RelayClient.Enabled", json!(true))])).await;
    let circuit = format!("{}{through}", listening(&willing)[0]).parse().unwrap();
    caller.connect(hidden.peer_id(), &[circuit]).await.unwrap();
}
