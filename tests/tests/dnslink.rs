//! A site has a domain name: its owner writes into the DNS what it links to, and every command and the gateway follow.
//!
//! The name server is the test's own, on loopback.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;
use std::path::Path;

use holdfast_tests::ask::Ask;
use holdfast_tests::dns::NameServer;
use holdfast_tests::need::temporary;
use holdfast_tests::run::Answer;
use holdfast_tests::swarm::Peer;
use serde_json::{Value, json};

/// A daemon that asks this server for the names of all domains but `.eth`.
fn peer(dir: &Path, server: &NameServer, config: &[(&str, Value)]) -> Peer {
    let resolvers = json!({ ".": server.url(), "eth.": "tls://dns.invalid" });
    let config: Vec<_> = [("DNS.Resolvers", resolvers)].into_iter().chain(config.iter().cloned()).collect();
    Peer::start(dir, "peer", &config, None)
}

/// A folder with one file, and its CID.
fn site(dir: &Path, peer: &Peer) -> String {
    let site = dir.join("site");
    fs::create_dir(&site).unwrap();
    fs::write(site.join("file"), "content").unwrap();
    peer.add(&["--cid-version=1"], &site)
}

#[track_caller]
fn refused(answer: &Answer, words: &str) {
    assert!(answer.err().contains(words), "{} does not say {words}", answer.err());
}

#[test]
fn a_domain_name_is_followed_wherever_a_path_is_taken() {
    let (dir, server) = (temporary("dnslink"), NameServer::start());
    let peer = peer(dir.path(), &server, &[]);
    let root = site(dir.path(), &peer);
    let long = format!("v=other {}", "x".repeat(600));
    server.set("_dnslink.site.example", 77, &["v=spf1 -all", &long, &format!("dnslink=/ipfs/{root}")]);
    let out = |args: &[&str]| peer.run(args).ok().out();

    assert_eq!(out(&["name", "resolve", "site.example"]), format!("/ipfs/{root}\n"));
    assert_eq!(out(&["name", "resolve", "/ipns/SITE.example/file"]), format!("/ipfs/{root}/file\n"));
    assert_eq!(out(&["resolve", "/ipns/site.example"]), format!("/ipfs/{root}\n"));
    assert_eq!(out(&["cat", "/ipns/site.example/file"]), "content");
    assert_eq!(out(&["cat", "ipns://site.example/file"]), "content");
    assert_eq!(out(&["ls", "/ipns/site.example"]), out(&["ls", &root]));
    assert_eq!(out(&["dag", "get", "/ipns/site.example"]), out(&["dag", "get", &root]));
    assert_eq!(out(&["pin", "add", "/ipns/site.example"]), format!("pinned {root} recursively\n"));
    out(&["files", "cp", "/ipns/site.example/file", "/copy"]);
    assert_eq!(out(&["files", "read", "/copy"]), "content");

    let page = Ask::new("GET", "/ipns/site.example/file").send(peer.daemon().gateway()).ok();
    assert_eq!(page.text(), "content");
    let kept = page.head.get("Cache-Control").unwrap().to_owned();
    let seconds: u64 = kept.strip_prefix("public, max-age=").unwrap().parse().unwrap();
    assert!((1..=77).contains(&seconds), "as long as the record says: {kept}");
    let asked = server.asked();
    assert!(asked.iter().all(|name| name == "_dnslink.site.example"), "{asked:?}");
}

#[test]
fn links_chain_over_names_and_keys_and_what_is_fixed_is_not_asked_for() {
    let (dir, server) = (temporary("dnslink-chain"), NameServer::start());
    let peer = peer(dir.path(), &server, &[("Ipns.MaxCacheTTL", json!("20s"))]);
    let root = site(dir.path(), &peer);
    peer.run(["name", "publish", "--allow-offline", &root]).ok();
    server.set("_dnslink.one.example", 60, &["dnslink=/ipns/two.example"]);
    server.set("_dnslink.two.example", 60, &[&format!("dnslink=/ipns/{}", peer.id())]);
    server.set("_dnslink.round.example", 60, &["dnslink=/ipns/round.example/on"]);
    for number in 0..33 {
        let next = format!("dnslink=/ipns/n{}.example", number + 1);
        server.set(&format!("_dnslink.n{number}.example"), 60, &[&next]);
    }
    server.set("_dnslink.n33.example", 60, &[&format!("dnslink=/ipfs/{root}")]);
    let out = |args: &[&str]| peer.run(args).ok().out();

    assert_eq!(out(&["name", "resolve", "one.example/file"]), format!("/ipfs/{root}/file\n"));
    assert_eq!(out(&["name", "resolve", "-r=false", "one.example"]), "/ipns/two.example\n");
    assert_eq!(out(&["resolve", "-r=false", "/ipns/one.example"]), "/ipns/two.example\n");
    assert_eq!(out(&["name", "resolve", "n2.example"]), format!("/ipfs/{root}\n"), "32 names");
    for name in ["n1.example", "n0.example", "round.example"] {
        refused(&peer.run(["name", "resolve", name]), "could not resolve name (recursion limit exceeded)");
    }
    let page = Ask::new("GET", "/ipns/two.example/file").send(peer.daemon().gateway()).ok();
    let kept = page.head.get("Cache-Control").unwrap().to_owned();
    let seconds: u64 = kept.strip_prefix("public, max-age=").unwrap().parse().unwrap();
    assert!((1..=20).contains(&seconds), "no longer than Ipns.MaxCacheTTL: {kept}");
}

#[test]
fn a_domain_name_without_one_link_says_what_is_wrong() {
    let (dir, server) = (temporary("dnslink-errors"), NameServer::start());
    let peer = peer(dir.path(), &server, &[]);
    server.set("_dnslink.two-links.example", 60, &["dnslink=/ipfs/bafkqaaa", "dnslink=/ipfs/bafkqaaa/a"]);
    server.set("_dnslink.other-texts.example", 60, &["v=spf1 -all"]);
    // A text at the name itself is no link, as in Kubo.
    server.set("bare.example", 60, &["dnslink=/ipfs/bafkqaaa"]);
    let none = "failed: could not resolve name: DNSLink lookup could not find a TXT record \
                (https://docs.ipfs.tech/concepts/dnslink/)";
    for name in ["nowhere.example", "other-texts.example", "bare.example", "localhost"] {
        let words = format!("DNSLink lookup for \"{name}.\" {none}");
        refused(&peer.run(["name", "resolve", name]), &words);
        refused(&peer.run(["cat", &format!("/ipns/{name}")]), &words);
    }
    refused(&peer.run(["name", "resolve", "two-links.example"]), "more than one IPFS content path");
    refused(&peer.run(["name", "resolve", "vitalik.eth"]), "DNS.Resolvers says to ask tls://dns.invalid");
    refused(&peer.run(["name", "resolve", "not a name"]), "cannot resolve: \"/ipns/not a name\"");
    refused(&peer.run(["name", "resolve", "--offline", "nowhere.example"]), "this node is not online");
    let page = Ask::new("GET", "/ipns/nowhere.example").send(peer.daemon().gateway());
    assert!(page.status() >= 400 && page.text().contains("DNSLink lookup"), "{}", page.text());
    assert!(!server.asked().iter().any(|name| name.contains("eth")), "{:?}", server.asked());
    let said = peer.daemon().stderr();
    assert!(said.contains("tls://dns.invalid cannot be asked"), "{said}");
}
