//! Which DHT is told. Loopback counts as public here, as the classifier says.

use holdfast_blockstore::StoreConfig;
use holdfast_dht::kad::{AddressClass, Classify};
use holdfast_dht::records::MemoryStore;
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, Swarm, SwarmBuilder, identify};
use libp2p_identity::Keypair;

use super::*;

/// More than any of this takes.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct LoopbackIsPublic;

impl Classify for LoopbackIsPublic {
    fn classify(&self, _: &Multiaddr) -> AddressClass {
        AddressClass::Public
    }
}

fn wan_config() -> kad::Config {
    kad::Config { classifier: Arc::new(LoopbackIsPublic), ..kad::Config::new(Scope::Wan) }
}

#[derive(NetworkBehaviour)]
struct Peer {
    identify: identify::Behaviour,
    dht: Behaviour,
}

/// Runs a DHT until the test ends, and returns its address.
async fn run(key: &Keypair, dht: Behaviour, to: Option<Multiaddr>) -> Multiaddr {
    let mut swarm: Swarm<Peer> = SwarmBuilder::with_existing_identity(key.clone())
        .with_tokio()
        .with_quic()
        .with_behaviour(|key| Peer {
            identify: identify::Behaviour::new(identify::Config::new("ipfs/0.1.0".to_owned(), key.public())),
            dht,
        })
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(PATIENCE))
        .build();
    swarm.listen_on("/ip4/127.0.0.1/udp/0/quic-v1".parse().unwrap()).unwrap();
    let address = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            break address;
        }
    };
    swarm.behaviour_mut().dht.set_own_addresses(std::slice::from_ref(&address));
    if let Some(to) = to {
        swarm.dial(to).unwrap();
    }
    tokio::spawn(async move {
        loop {
            if let SwarmEvent::Behaviour(PeerEvent::Identify(identify::Event::Received {
                peer_id,
                info,
                ..
            })) = swarm.select_next_some().await
            {
                swarm.behaviour_mut().dht.on_identified(peer_id, &info.protocols, &info.listen_addrs);
            }
        }
    });
    address
}

/// The routing of a node whose DHT of public addresses has one peer, which answers and keeps records. The handle is that peer's.
pub(crate) async fn beside_a_server(config: &Config, store: &Store, pool: &Pool) -> (Routing, Handle) {
    let server = Keypair::generate_ed25519();
    let records = Arc::new(MemoryStore::default());
    let (mut dht, handle) = Behaviour::new(server.public().to_peer_id(), wan_config(), records);
    dht.set_mode(Mode::Server);
    let address = run(&server, dht, None).await;
    let key = config.private_key().unwrap();
    let (us, of) = (key.peer_id(), RoutingMode::of_config(config, "").unwrap());
    let made = Routing::with_wan(us, of, config, (store, pool), true, wan_config());
    let (routing, behaviours) = made.unwrap().unwrap();
    run(key.keypair(), behaviours.wan, Some(address)).await;
    // Nobody drives the other one: what it is asked fails.
    drop(behaviours.lan);
    let met = async {
        while routing.dht(Scope::Wan).table_len() == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, met).await.expect("the peer is in the table");
    (routing, handle)
}

/// How many ADD_PROVIDER a node with this profile sends to a peer at a public address, for one key that is announced in both ways.
async fn told(profile: &str) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let repo = folder.path().join("repo");
    let profiles = profile.to_owned();
    let params = crate::repo_init::InitParams { repo: repo.clone(), profiles, ..Default::default() };
    let config = crate::node::init(&params, &mut |_| {}).unwrap();
    let store = Store::open(&repo, StoreConfig::default()).unwrap();
    let pool = Pool::new(1, 1).unwrap();
    let (routing, _server) = beside_a_server(&config, &store, &pool).await;
    let hash =
        *holdfast_dag::cid::Cid::try_from("bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy")
            .unwrap()
            .hash();
    let announced = async {
        let _ = routing.provide(&hash, None).await;
        let _ = routing.provide_fast(&hash).await;
        routing.stats(Scope::Wan).await.unwrap()
    };
    let stats = timeout(PATIENCE, announced).await.expect("in time");
    let count = stats.messages.by_name().find(|(name, _)| *name == "ADD_PROVIDER");
    assert_eq!(routing.announced_in().contains(&Scope::Wan), profile != "mesh", "what the sweep takes");
    count.unwrap().1.outbound
}

#[test]
fn how_long_an_announcement_may_take_is_what_the_config_says() {
    for scope in [Scope::Wan, Scope::Lan] {
        let time = |text: &str| dht_config(&Config::parse(text).unwrap(), scope).unwrap().announce_timeout;
        assert_eq!(time("{}"), Duration::from_secs(10));
        let set = r#"{"Provide":{"DHT":{"SendProviderRecordTimeout":"3s"}}}"#;
        assert_eq!(time(set), Duration::from_secs(3));
    }
}

#[tokio::test]
async fn the_profile_mesh_announces_nothing_to_a_peer_at_a_public_address() {
    assert_eq!(told("mesh").await, 0);
    assert!(told("test").await > 0, "otherwise nothing was tried");
}

#[tokio::test]
async fn the_second_dht_is_waited_for_a_moment_when_the_first_has_found_something() {
    let soon = |value: u8| async move { Ok::<_, QueryError>(value) };
    let later = |value: u8| async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        Ok::<_, QueryError>(value)
    };
    let never = || std::future::pending::<Result<u8, QueryError>>();
    let failed = |error| async move { Err::<u8, _>(error) };
    assert_eq!(both(soon(1), later(2), PATIENCE).await, Ok((Some(1), Some(2))));
    assert_eq!(both(later(1), soon(2), PATIENCE).await, Ok((Some(1), Some(2))));
    assert_eq!(both(soon(1), never(), Duration::from_millis(10)).await, Ok((Some(1), None)));
    assert_eq!(both(failed(QueryError::NotFound), later(2), PATIENCE).await, Ok((None, Some(2))));
    let (empty, dead) = (failed(QueryError::NoPeers), failed(QueryError::NotFound));
    assert_eq!(both(empty, dead, PATIENCE).await, Err(QueryError::NotFound), "what says more");
}
