//! A network lets nobody ask name servers in the clear, or the user does not want to: names are asked for over HTTPS.
//!
//! The server is the test's own, on loopback, with a certificate that nobody but the test vouches for.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::net::{Ipv6Addr, TcpListener};
use std::path::Path;

use holdfast_tests::dns::NameServer;
use holdfast_tests::dns_https::HttpsFront;
use holdfast_tests::need::{skip, temporary};
use holdfast_tests::run::Answer;
use holdfast_tests::swarm::Peer;
use serde_json::{Value, json};

/// A daemon that asks this URL for all names, and trusts who is in the file.
fn peer(dir: &Path, name: &str, url: &str, trusts: &Path, config: &[(&str, Value)]) -> Peer {
    let resolvers = [("DNS.Resolvers", json!({ ".": url }))];
    let config: Vec<_> = resolvers.into_iter().chain(config.iter().cloned()).collect();
    Peer::with(Peer::repo(dir, name, "test", &config, None).variable("SSL_CERT_FILE", trusts))
}

#[track_caller]
fn refused(answer: &Answer, words: &[&str]) {
    for words in words {
        assert!(answer.err().contains(words), "{} does not say {words}", answer.err());
    }
}

#[test]
fn a_site_and_a_bootstrap_peer_are_found_over_https() {
    let dir = temporary("dns-https");
    let server = NameServer::start();
    let front = HttpsFront::start(&server, dir.path(), "authority");
    server.set("_dnslink.site.example", 60, &["dnslink=/ipfs/bafkqaaa"]);
    let there = Peer::start(dir.path(), "there", &[], None);
    server.set("_dnsaddr.peers.example", 60, &[&format!("dnsaddr={}", there.address("tcp"))]);

    // By its name, which the system's resolver knows, and by its address.
    for host in ["localhost", "127.0.0.1"] {
        let bootstrap = json!([format!("/dnsaddr/peers.example/p2p/{}", there.id())]);
        let here = peer(dir.path(), host, &front.url(host), front.authority(), &[("Bootstrap", bootstrap)]);
        here.wait_for_peer(there.id());
        assert_eq!(here.run(["name", "resolve", "site.example"]).ok().out(), "/ipfs/bafkqaaa\n", "{host}");
        here.connect("/dnsaddr/peers.example");
        refused(&here.run(["name", "resolve", "nowhere.example"]), &["could not find a TXT record"]);
    }
    assert!(server.asked().contains(&"_dnsaddr.peers.example".to_owned()), "{:?}", server.asked());
}

#[test]
fn a_server_that_is_named_by_an_ipv6_address_is_asked() {
    let dir = temporary("dns-https-ipv6");
    if TcpListener::bind("[::1]:0").is_err() {
        return skip(
            "name servers at IPv6 addresses",
            "this machine has no IPv6, not even on the loopback device",
        );
    }
    let server = NameServer::start();
    let front = HttpsFront::start_at(&server, dir.path(), "authority", Ipv6Addr::LOCALHOST.into());
    let stranger = HttpsFront::start(&server, dir.path(), "stranger");
    server.set("_dnslink.site.example", 60, &["dnslink=/ipfs/bafkqaaa"]);
    let url = front.url("[::1]");
    let here = peer(dir.path(), "here", &url, front.authority(), &[]);
    assert_eq!(here.run(["name", "resolve", "site.example"]).ok().out(), "/ipfs/bafkqaaa\n");
    // On the same connection, and by what is kept of the first answer.
    refused(&here.run(["name", "resolve", "nowhere.example"]), &["could not find a TXT record"]);
    assert_eq!(here.run(["name", "resolve", "site.example"]).ok().out(), "/ipfs/bafkqaaa\n");

    let untrusting = peer(dir.path(), "untrusting", &url, stranger.authority(), &[]);
    let said = format!("asking {url} (DNS.Resolvers)");
    refused(&untrusting.run(["name", "resolve", "site.example"]), &[&said, "certificate"]);
    let elsewhere = url.replace("/own/", "/other/");
    let lost = peer(dir.path(), "lost", &elsewhere, front.authority(), &[]);
    refused(&lost.run(["name", "resolve", "site.example"]), &[&elsewhere, "404"]);
}

#[test]
fn a_server_that_nobody_vouches_for_is_asked_nothing() {
    let dir = temporary("dns-https-stranger");
    let server = NameServer::start();
    let [front, other] = ["authority", "other"].map(|name| HttpsFront::start(&server, dir.path(), name));
    server.set("_dnslink.site.example", 60, &["dnslink=/ipfs/bafkqaaa"]);
    let url = front.url("127.0.0.1");
    let here = peer(dir.path(), "here", &url, other.authority(), &[]);
    let said = format!("asking {url} (DNS.Resolvers)");
    refused(&here.run(["name", "resolve", "site.example"]), &[&said, "certificate"]);
    refused(&here.run(["swarm", "connect", "/dnsaddr/site.example"]), &[&said, "certificate"]);
    assert_eq!(server.asked(), Vec::<String>::new());

    // The same server at a path where it takes no questions.
    let elsewhere = url.replace("/own/", "/other/");
    let here = peer(dir.path(), "elsewhere", &elsewhere, front.authority(), &[]);
    refused(&here.run(["name", "resolve", "site.example"]), &[&elsewhere, "404"]);
}

#[test]
fn a_server_that_is_dead_or_silent_is_named_in_the_error() {
    let dir = temporary("dns-https-dead");
    // Connections are taken by the system, and nobody ever answers on them.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let url = format!("https://127.0.0.1:{port}/dns-query");
    let nobody = dir.path().join("nobody.pem");
    HttpsFront::start(&NameServer::start(), dir.path(), "nobody");
    let here = peer(dir.path(), "here", &url, &nobody, &[]);
    let words = [&*url, "no answer within 8 seconds"];
    refused(&here.run(["name", "resolve", "site.example"]), &words);
    refused(&here.run(["swarm", "connect", "/dnsaddr/site.example"]), &words);
    drop(silent);
    refused(&here.run(["name", "resolve", "site.example"]), &[&url, "refused"]);
}
