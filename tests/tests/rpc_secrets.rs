//! What is secret stays in the repo: no answer, error, log line, metric or diagnosis shows it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use holdfast_tests::ask::{Ask, Multipart};
use holdfast_tests::daemon::Daemon;
use holdfast_tests::need::{json, temporary};
use holdfast_tests::run::Node;
use holdfast_tests::wire::Wire;

const BEARER: &str = "s3cret-bearer-Xq7";
const PASSWORD: &str = "s3cret-password-Lm2";
const SERVICE_KEY: &str = "s3cret-service-Rt9";

const USERS: &str = r#"{
    "robot": {"AuthSecret": "bearer:s3cret-bearer-Xq7", "AllowedPaths": ["/"]},
    "person": {"AuthSecret": "basic:person:s3cret-password-Lm2", "AllowedPaths": ["/api/v0/id"]}
}"#;

fn base64_of_person() -> &'static str {
    // person:s3cret-password-Lm2
    "cGVyc29uOnMzY3JldC1wYXNzd29yZC1MbTI="
}

#[test]
fn no_answer_log_or_diagnosis_shows_a_secret() {
    let dir = temporary("secrets");
    let node = Node::init(&dir.path().join("repo"));
    node.run(["config", "--json", "API.Authorizations", USERS]).ok();
    // Only the file itself takes the key of a pinning service: commands refuse to touch it.
    let path = node.repo().join("config");
    let mut config = json(&path);
    config["Pinning"]["RemoteServices"] = serde_json::json!({
        "nest": {"API": {"Endpoint": "http://127.0.0.1:1/psa", "Key": SERVICE_KEY}}
    });
    std::fs::write(&path, serde_json::to_vec_pretty(&config).unwrap()).unwrap();
    let private = json(&node.repo().join("config"))["Identity"]["PrivKey"].as_str().unwrap().to_owned();
    let mut command = node.command(["daemon", "--offline", "-D"]);
    command.env("GOLOG_LOG_LEVEL", "debug");
    let daemon = Daemon::spawn(command).ready();
    let host = daemon.api().to_string();
    let secrets = [BEARER, PASSWORD, SERVICE_KEY, base64_of_person(), private.as_str()];
    let hides = |what: &str, text: &str| {
        for secret in secrets {
            assert!(!text.contains(secret), "{what} shows {secret}: {text}");
        }
    };
    let as_robot = |ask: Ask| ask.field("Authorization", &format!("Bearer {BEARER}"));

    let mut log = Wire::tcp(daemon.api());
    log.send(&as_robot(Ask::command("log/tail")).bytes(&host));
    assert_eq!(log.head().unwrap().status, 200);
    as_robot(Ask::command("log/level?arg=all&arg=debug")).send(daemon.api()).ok();

    for command in [
        "config/show",
        "config?arg=API",
        "config?arg=API.Authorizations",
        "config?arg=API.Authorizations.robot",
        "config?arg=API.Authorizations.robot.AuthSecret",
        "config?arg=api.authorizations",
        "config?arg=Pinning",
        "config?arg=Pinning.RemoteServices",
        "config?arg=Pinning.RemoteServices.nest.API.Key",
        "config?arg=Identity",
        "config?arg=Identity.PrivKey",
        "config?arg=identity.privkey",
        "config?arg=Mounts",
        "config/profile/apply?arg=server&dry-run=true",
        "pin/remote/service/ls",
        "diag/sys",
        "diag/cmds",
        "diag/cmds?verbose=true",
        "id",
        "commands",
        "version",
        "config?arg=API.Authorizations.robot.AuthSecret&arg=bearer:another",
    ] {
        let reply = as_robot(Ask::command(command)).send(daemon.api());
        hides(command, &reply.text());
        hides(command, &format!("{:?}", reply.head));
        // The same from a terminal beside the daemon.
        assert!(!reply.text().contains("panicked"), "{command}");
    }
    // A secret that came in as an argument does not come out in the list of requests.
    let new_key = "s3cret-new-Vw4";
    as_robot(Ask::with_args("config", &["Pinning.RemoteServices.nest.API.Key", new_key])).send(daemon.api());
    as_robot(Ask::with_args("pin/remote/service/add", &["egg", "http://127.0.0.1:1/psa", new_key]))
        .send(daemon.api());
    for command in ["diag/cmds", "diag/cmds?verbose=true", "config/show", "pin/remote/service/ls"] {
        let reply = as_robot(Ask::command(command)).send(daemon.api());
        assert!(!reply.text().contains(new_key), "{command}: {}", reply.text());
    }
    for path in [
        "/debug/vars",
        "/debug/metrics/prometheus",
        "/debug/stack",
        "/version",
        "/webui",
        "/api/v1/ipfs/health",
    ] {
        hides(path, &as_robot(Ask::new("GET", path)).send(daemon.api()).text());
    }
    // Refusals do not repeat what was sent.
    for value in [format!("Bearer {BEARER}x"), format!("Basic {}", base64_of_person())] {
        let reply = Ask::command("config/show").field("Authorization", &value).send(daemon.api());
        assert_eq!(reply.status(), 403);
        hides("a refusal", &reply.text());
    }
    let profile = as_robot(Ask::command("diag/profile?collectors=version&profile-time=0")).send(daemon.api());
    hides("diag/profile", &profile.text());

    // What was logged meanwhile, at level debug: to the standard error and to who listened.
    as_robot(Ask::command("add").parts(&Multipart::new().file("f", b"one more line")))
        .send(daemon.api())
        .ok();
    hides("the log", &daemon.stderr());
    let logged = log.read_for(std::time::Duration::from_secs(1));
    hides("log/tail", &holdfast_tests::run::readable(&logged));
    hides("standard output", &daemon.lines().join("\n"));
    let answer = daemon.stop();
    hides("the log at the end", &answer.err());
    // They are where they belong; the one that was set has been taken over.
    let config = json(&path);
    assert_eq!(config["Identity"]["PrivKey"], private.as_str());
    assert_eq!(config["API"]["Authorizations"]["robot"]["AuthSecret"], "bearer:another");
    assert_eq!(config["API"]["Authorizations"]["person"]["AuthSecret"], format!("basic:person:{PASSWORD}"));
}

#[test]
fn replacing_the_config_with_what_was_shown_keeps_the_secrets() {
    let dir = temporary("secrets");
    let node = Node::init(&dir.path().join("repo"));
    node.run(["config", "--json", "API.Authorizations", USERS]).ok();
    let daemon = Daemon::alone(&node, &[]);
    let as_robot = |ask: Ask| ask.field("Authorization", &format!("Bearer {BEARER}")).send(daemon.api());
    let before = json(&node.repo().join("config"));
    let shown = as_robot(Ask::command("config/show")).ok().body;
    as_robot(Ask::command("config/replace").parts(&Multipart::new().file("config", &shown))).ok();
    let after = json(&node.repo().join("config"));
    for pointer in ["/Identity/PrivKey", "/API/Authorizations"] {
        assert_eq!(before.pointer(pointer), after.pointer(pointer), "{pointer}");
    }
    daemon.stop();
}
