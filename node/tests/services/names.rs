//! Somebody publishes a name, often and from several places at once: what it points at is what was published last, and its
//! numbers never go back.

use std::time::Duration;

use holdfast::services::names::{FixedNames, NameResolveError, ResolveDepth};
use holdfast::{Node, services::resolve::ResolveError};
use holdfast_dag::path::ContentPath;
use holdfast_dht::ipns::{Name, Publish};

use crate::support::Repo;

fn to(value: &str) -> Publish {
    Publish {
        value: value.to_owned(),
        lifetime: Duration::from_secs(3600),
        ttl: Duration::from_secs(60),
        sequence: None,
        v1_compatible: true,
    }
}

async fn publish(node: &Node, value: &str) -> (Name, u64) {
    let published = node.names().publish("self", to(value)).await.unwrap();
    (published.name, published.record.sequence().unwrap())
}

async fn resolve(node: &Node, path: &str) -> Result<String, NameResolveError> {
    let path = ContentPath::parse(path).unwrap();
    let resolution = node.names().resolve(&path, ResolveDepth::ToTheEnd).await?;
    Ok(resolution.path.to_string())
}

#[tokio::test]
async fn numbers_go_on_where_they_were_when_the_node_opens_again() {
    let repo = Repo::new(&[]);
    let node = repo.open().await;
    assert_eq!(publish(&node, "/ipfs/bafkqaaa").await.1, 0);
    assert_eq!(publish(&node, "/ipfs/bafkqaaa/a").await.1, 1);
    node.close().await.unwrap();
    let node = repo.open().await;
    let (name, number) = publish(&node, "/ipfs/bafkqaaa/b").await;
    assert_eq!(number, 2);
    assert_eq!(resolve(&node, &format!("/ipns/{name}/c")).await.unwrap(), "/ipfs/bafkqaaa/b/c");
    assert_eq!(node.names().record(name).await.unwrap().sequence().unwrap(), 2);
}

#[tokio::test]
async fn publishers_at_the_same_time_take_different_numbers() {
    let node = Repo::new(&[]).open().await;
    let publishers = (0..24).map(|number| {
        let node = node.clone();
        async move { publish(&node, &format!("/ipfs/bafkqaaa/{number}")).await.1 }
    });
    let mut numbers = futures_util::future::join_all(publishers).await;
    numbers.sort_unstable();
    assert_eq!(numbers, (0..24).collect::<Vec<u64>>());
}

#[tokio::test]
async fn a_name_is_followed_no_longer_than_its_record_is_valid() {
    let node = Repo::new(&[]).open().await;
    let expired = Publish { lifetime: Duration::from_nanos(1), ttl: Duration::ZERO, ..to("/ipfs/bafkqaaa") };
    let name = node.names().publish("self", expired).await.unwrap().name;
    let error = resolve(&node, &format!("/ipns/{name}")).await.unwrap_err();
    assert!(matches!(error, NameResolveError::Stored(_)), "{error}");
    assert!(error.to_string().starts_with("could not resolve name: "), "{error}");
    assert_eq!(publish(&node, "/ipfs/bafkqaaa/a").await.1, 1, "and the next number follows it all the same");
}

#[tokio::test]
async fn the_operator_can_fix_names() {
    let repo = Repo::new(&[]);
    let fixed = FixedNames::parse("a.example:/ipns/b.example/x,b.example:/ipfs/bafkqaaa").unwrap();
    let node = Node::builder().repo(repo.path()).fixed_names(fixed).open().await.unwrap();
    assert_eq!(resolve(&node, "/ipns/a.example/y").await.unwrap(), "/ipfs/bafkqaaa/x/y");
    let error = resolve(&node, "/ipns/c.example").await.unwrap_err();
    assert!(error.to_string().contains("DNSLink"), "{error}");
}

#[tokio::test]
async fn a_name_that_leads_to_itself_is_an_error_for_every_path() {
    let repo = Repo::new(&[]);
    let node = repo.open().await;
    let id = node.config().identity().unwrap().peer_id;
    let (name, _) = publish(&node, &format!("/ipns/{id}")).await;
    let path = ContentPath::parse(&format!("/ipns/{name}/a")).unwrap();
    let error = node.resolve(&path).await.unwrap_err();
    let recursion = |error: &NameResolveError| matches!(error, NameResolveError::Recursion);
    assert!(matches!(&error, ResolveError::Name(error) if recursion(error)), "{error}");
    let once = node.names().resolve(&path, ResolveDepth::OneHop).await.unwrap();
    assert_eq!(once.path.to_string(), format!("/ipns/{id}/a"));
    assert_eq!(once.ttl, Some(Duration::from_secs(60)));
}
