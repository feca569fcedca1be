//! Clients that nobody here wrote drive a real daemon: what they add, read, pin and ask comes out
//! as it does with Kubo.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::Path;

use holdfast_tests::ask::Ask;
use holdfast_tests::daemon::Daemon;
use holdfast_tests::need::temporary;
use holdfast_tests::pinning_service::PinningService;
use holdfast_tests::reply::End;
use holdfast_tests::strangers::{Inputs, Programs, authorizations, daemon, name_it_ipfs};
use serde_json::{Value, json};

/// A daemon, one that asks for authorization, and the settings that tell a script of both.
struct Stage {
    dir: tempfile::TempDir,
    daemons: Vec<Daemon>,
    settings: Value,
}

impl Stage {
    fn set(name: &str, address: fn(&Daemon) -> String, config: &[(&str, Value)]) -> Self {
        let dir = temporary(name);
        let (node, plain) = daemon(dir.path(), "plain", config);
        let closed: Vec<(&str, Value)> =
            config.iter().cloned().chain([("API.Authorizations", authorizations())]).collect();
        let (_, guarded) = daemon(dir.path(), "guarded", &closed);
        let inputs = Inputs::lay(&dir.path().join("inputs"), &node);
        let scratch = dir.path().join("scratch");
        std::fs::create_dir(&scratch).unwrap();
        let settings = json!({
            "api": address(&plain), "auth_api": address(&guarded),
            "inputs": inputs.dir, "scratch": scratch, "tree_cid": inputs.tree_cid,
        });
        Self { dir, daemons: vec![plain, guarded], settings }
    }

    /// The same, for ipfshttpclient: its daemons say that they are of another version.
    fn that_reports(name: &str, version: &str) -> Self {
        let mut stage = Self::set(name, multiaddr, &[("API.ReportedVersion", json!(version))]);
        stage.settings["reported"] = json!(version);
        stage
    }

    fn scratch(&self) -> &Path {
        Path::new(self.settings["scratch"].as_str().unwrap())
    }

    #[track_caller]
    fn run(self, programs: Programs, script: &str) {
        programs.run(script, &self.settings, self.scratch());
        for daemon in self.daemons {
            // Whatever a client did to it, it ends as it should.
            daemon.stop().ok();
        }
        drop(self.dir);
    }
}

fn url(daemon: &Daemon) -> String {
    daemon.url()
}

fn multiaddr(daemon: &Daemon) -> String {
    daemon.api_multiaddrs().swap_remove(0)
}

#[test]
fn kubo_rpc_client_uses_everything_that_needs_no_peers() {
    if Programs::Clients.present("kubo-rpc-client 7.1.0") {
        let mut stage = Stage::set("kubo-rpc-client", url, &[]);
        // A pinning service that keeps what it is asked for when it has read it all from the daemon.
        let api = stage.daemons[0].api();
        let service = PinningService::start("key", move |asked| {
            let car = Ask::with_args("dag/export", &[&asked.cid]).send(api);
            if car.status() == 200 && car.end == End::Whole { Ok(()) } else { Err(car.text()) }
        });
        stage.settings["service"] = json!({"endpoint": service.endpoint(), "key": "key"});
        stage.run(Programs::Clients, "kubo_rpc_client/main.mjs");
    }
}

#[test]
fn ipfshttpclient_uses_everything_that_needs_no_peers() {
    if Programs::Python.present("ipfshttpclient 0.8.0a2") {
        Stage::set("ipfshttpclient", multiaddr, &[]).run(Programs::Python, "ipfshttpclient_tour.py");
    }
}

#[test]
fn ipfshttpclient_as_pip_installs_it_is_served_by_a_daemon_that_reports_an_old_version() {
    if !Programs::OldPython.present("ipfshttpclient 0.7.0") {
        return;
    }
    let mut stage = Stage::that_reports("ipfshttpclient-old", "0.7.0");
    let (_, real) = daemon(stage.dir.path(), "real", &[]);
    stage.settings["plain_api"] = json!(multiaddr(&real));
    stage.daemons.push(real);
    stage.run(Programs::OldPython, "ipfshttpclient_tour.py");
}

#[test]
fn a_daemon_that_reports_the_old_version_serves_the_newer_ipfshttpclient_too() {
    if Programs::Python.present("ipfshttpclient 0.8.0a2, with a reported version") {
        Stage::that_reports("ipfshttpclient-both", "0.7.0").run(Programs::Python, "ipfshttpclient_tour.py");
    }
}

#[test]
fn aioipfs_uses_everything_that_needs_no_peers() {
    if Programs::Python.present("aioipfs 0.7.1") {
        Stage::set("aioipfs", multiaddr, &[]).run(Programs::Python, "aioipfs_tour.py");
    }
}

#[test]
fn basic_ipfs_runs_the_binary_as_its_own_node() {
    if !Programs::Python.present("basic-ipfs 1.0.1") {
        return;
    }
    let dir = temporary("basic-ipfs");
    let node = holdfast_tests::run::Node::init(&dir.path().join("repo"));
    let inputs = Inputs::lay(&dir.path().join("inputs"), &node);
    let scratch = dir.path().join("scratch");
    name_it_ipfs(&scratch);
    let settings = json!({"repo": node.repo(), "inputs": inputs.dir, "scratch": scratch});
    Programs::Python.run("basic_ipfs_tour.py", &settings, &scratch);
}

#[test]
fn ipfsd_ctl_spawns_and_stops_the_binary_and_never_has_to_kill_it() {
    if !Programs::Clients.present("ipfsd-ctl 17.0.0") {
        return;
    }
    let dir = temporary("ipfsd-ctl");
    let settings = json!({"bin": holdfast_tests::run::binary(), "times": 25});
    Programs::Clients.run("ipfsd_ctl.mjs", &settings, dir.path());
}

#[test]
fn ipfsspec_reads_through_the_gateway() {
    if !Programs::Python.present("ipfsspec 0.6.0") {
        return;
    }
    let dir = temporary("ipfsspec");
    let (node, running) = daemon(dir.path(), "repo", &[]);
    let inputs = Inputs::lay(&dir.path().join("inputs"), &node);
    for flags in [&["-r"][..], &["-r", "--cid-version=1"][..]] {
        let mut args = vec!["add", "-Q"];
        args.extend(flags);
        args.push(inputs.dir.to_str().unwrap());
        node.run(&args).ok();
    }
    // As its users have it found: in the repo's file.
    let url = std::fs::read_to_string(node.repo().join("gateway")).unwrap();
    assert_eq!(url, format!("http://{}", running.gateway()));
    let settings = json!({
        "gateway": url, "inputs": inputs.dir, "scratch": dir.path(), "tree_cid": inputs.tree_cid,
    });
    Programs::Python.run("ipfsspec_tour.py", &settings, dir.path());
}
