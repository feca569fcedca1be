//! A script asks a node without a network for what needs one, and for what only a daemon has.
//!
//! Each such command ends at once, with 1 and with the words that scripts know from Kubo; nothing hangs, nothing is made up.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use holdfast_tests::need::temporary;
use holdfast_tests::run::Node;

const PEER: &str = "12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5";
const CID: &str = "bafkreiafdxaehozptg73zud3kraoqdyc4vg2jzpwad26m4cnwj4gopmshm";
const ADDRESS: &str = "/ip4/127.0.0.1/tcp/1/p2p/12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5";

const COMMAND: &str = "this command must be run in online mode. Try running 'ipfs daemon' first";
const ACTION: &str = "this action must be run in online mode, try running 'ipfs daemon' first";

fn node() -> (tempfile::TempDir, Node) {
    let dir = temporary("offline");
    let node = Node::init(&dir.path().join("repo"));
    (dir, node)
}

#[test]
fn what_needs_peers_says_so_in_kubos_words() {
    let (_dir, node) = node();
    let unable = format!("unable to run offline: {COMMAND}");
    let lines: &[(&[&str], &str)] = &[
        (&["bitswap", "ledger", PEER], COMMAND),
        (&["bitswap", "stat"], &unable),
        (&["bitswap", "wantlist"], COMMAND),
        (&["dht", "findpeer", PEER], COMMAND),
        (&["dht", "findprovs", CID], COMMAND),
        (&["dht", "provide", CID], COMMAND),
        (&["dht", "query", PEER], COMMAND),
        (&["filestore", "ls"], "filestore is not enabled, see https://git.io/vNItf"),
        (&["mount"], COMMAND),
        (&["p2p", "ls"], "libp2p stream mounting not enabled"),
        (&["provide", "once", CID], COMMAND),
        (&["provide", "stat"], COMMAND),
        (&["routing", "findprovs", CID], COMMAND),
        (&["stats", "bitswap"], &unable),
        (&["stats", "bw"], &unable),
        (&["stats", "dht"], COMMAND),
        (&["stats", "provide"], COMMAND),
        (&["stats", "reprovide"], COMMAND),
        (&["swarm", "addrs"], ACTION),
        (&["swarm", "filters"], COMMAND),
        (&["swarm", "filters", "add", "/ip4/10.0.0.0/ipcidr/8"], COMMAND),
        (&["swarm", "peering", "add", ADDRESS], COMMAND),
        (&["swarm", "peering", "ls"], COMMAND),
        (
            &["swarm", "resources"],
            "missing ResourceMgr: make sure the daemon is running with Swarm.ResourceMgr.Enabled",
        ),
        (&["version", "check"], COMMAND),
    ];
    for (line, words) in lines {
        let answer = node.run(*line).failed();
        assert_eq!(answer.error_line(), format!("Error: {words}"), "`{}`", answer.line);
    }
    node.run(["config", "--json", "Experimental.Libp2pStreamMounting", "true"]).ok();
    assert_eq!(node.run(["p2p", "ls"]).failed().error_line(), format!("Error: {COMMAND}"));
}

#[test]
fn what_only_a_daemon_has_says_so() {
    let (_dir, node) = node();
    for line in [&["log", "level"][..], &["log", "tail"], &["diag", "cmds"], &["diag", "profile"]] {
        let answer = node.run(line).failed();
        let words = format!("Error: command must be run on the daemon: [{}]", line.join(" "));
        assert_eq!(answer.error_line(), words, "`{}`", answer.line);
    }
    assert_eq!(node.run(["diag", "healthy"]).failed().error_line(), "Error: daemon not running");
}

#[test]
fn what_needs_neither_works() {
    let (_dir, node) = node();
    assert_eq!(node.run(["provide", "clear"]).ok().out(), "removed 0 items from provide queue\n");
    assert_eq!(node.run(["provide", "clear", "--quiet"]).ok().out(), "");
    assert!(node.run(["log", "ls"]).ok().out().lines().any(|line| line == "gc"));
    let deps = node.run(["version", "deps"]).ok().out();
    assert!(deps.starts_with("holdfast@") && deps.contains("\ntokio@1."), "{deps}");
    let system: serde_json::Value = serde_json::from_slice(&node.run(["diag", "sys"]).ok().stdout).unwrap();
    assert_eq!(system["net"]["online"], false);
    assert!(system["diskinfo"]["free_space"].as_u64().unwrap() > 0, "{system}");
    assert_eq!(node.run(["repo", "migrate"]).ok().out(), "Repository is already at version 18.\n");
    let down = node.run(["repo", "migrate", "--to=17"]).failed();
    assert_eq!(down.error_line(), "Error: downgrade from version 18 to 17 requires --allow-downgrade flag");
    node.run(["repo", "migrate", "--to=17", "--allow-downgrade"]).failed();
}

#[test]
fn pinning_services_are_kept_in_the_config_and_their_keys_are_not_shown() {
    let (_dir, node) = node();
    let secret = "k3y-of-the-service";
    node.run(["pin", "remote", "service", "add", "mine", "https://example.com/psa/", secret]).ok();
    node.run(["pin", "remote", "service", "add", "a.b", "http://127.0.0.1:1", secret]).ok();
    let list = node.run(["pin", "remote", "service", "ls"]).ok().out();
    assert_eq!(list, "a.b  http://127.0.0.1:1\nmine https://example.com/psa\n");
    let again = node.run(["pin", "remote", "service", "add", "mine", "https://example.com", secret]).failed();
    assert_eq!(again.error_line(), "Error: service already present");
    for (endpoint, words) in [
        ("example.com", "service endpoint must be a valid HTTP URL"),
        ("https://example.com/pins", "service endpoint should be provided without the /pins suffix"),
        ("https://example.com?a=b", "service endpoint should be provided without any query parameters"),
    ] {
        let answer = node.run(["pin", "remote", "service", "add", "new", endpoint, secret]).failed();
        assert_eq!(answer.error_line(), format!("Error: {words}"), "`{}`", answer.line);
    }
    let shown = node.run(["config", "show"]).ok().out();
    assert!(shown.contains("https://example.com/psa") && !shown.contains(secret), "{shown}");
    node.run(["pin", "remote", "service", "rm", "mine"]).ok();
    node.run(["pin", "remote", "service", "rm", "never-there"]).ok();
    assert_eq!(node.run(["pin", "remote", "service", "ls"]).ok().out(), "a.b http://127.0.0.1:1\n");
}
