//! A client asks `commands` what this node can do, and believes it.
//!
//! The web page looks there for pinning services, scripts for options. So everything that is listed is there, over HTTP too,
//! with every option that current Kubo gives it; and nothing that is there is missing.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};

use holdfast_tests::ask::Ask;
use holdfast_tests::daemon::Daemon;
use holdfast_tests::need::{data, json, say, temporary};
use holdfast_tests::run::Node;
use serde_json::Value;

/// Kubo has no route for them either: they are the terminal's.
const ONLY_AT_THE_TERMINAL: [&str; 11] = [
    "init",
    "daemon",
    "config edit",
    "key export",
    "key rotate",
    "repo migrate",
    "files chroot",
    "commands completion bash",
    "commands completion zsh",
    "commands completion fish",
    "repo rebuild",
];

fn options(value: &Value) -> BTreeSet<String> {
    let all = value["Options"].as_array().into_iter().flatten();
    all.flat_map(|option| option["Names"].as_array().unwrap())
        .map(|name| name.as_str().unwrap().to_owned())
        .collect()
}

/// Every command in the tree below `value`, with its options and whether it has commands below it.
fn walk(value: &Value, path: &str, found: &mut BTreeMap<String, (BTreeSet<String>, bool)>) {
    let below = value["Subcommands"].as_array().cloned().unwrap_or_default();
    if !path.is_empty() {
        found.insert(path.to_owned(), (options(value), !below.is_empty()));
    }
    for command in &below {
        let name = command["Name"].as_str().unwrap();
        let path = if path.is_empty() { name.to_owned() } else { format!("{path} {name}") };
        walk(command, &path, found);
    }
}

fn listed(daemon: &Daemon) -> BTreeMap<String, (BTreeSet<String>, bool)> {
    let value = Ask::command("commands?flags=true").send(daemon.api()).ok().value();
    let mut found = BTreeMap::new();
    walk(&value, "", &mut found);
    found
}

/// What the route says: an option given twice is refused after the command was found and before it runs.
fn status(daemon: &Daemon, path: &str) -> (u16, String) {
    let command = format!("{}?encoding=json&encoding=json", path.replace(' ', "/"));
    let reply = Ask::command(&command).send(daemon.api());
    (reply.status(), reply.text())
}

#[test]
fn every_listed_command_is_there_and_every_command_that_is_there_is_listed() {
    let Some(data) = data("Kubo's list of commands") else { return };
    let kubo = json(&data.join("kubo-commands.json"));
    let kubo = kubo["commands"].as_object().unwrap();
    let dir = temporary("commands");
    let daemon = Daemon::alone(&Node::init(&dir.path().join("repo")), &[]);
    let ours = listed(&daemon);
    let mut wrong = Vec::new();

    for (path, (_, group)) in &ours {
        let terminal = ONLY_AT_THE_TERMINAL.iter().any(|only| only == path);
        let (status, text) = status(&daemon, path);
        let right = match (terminal, group) {
            (true, _) => status == 404,
            (false, true) => matches!(status, 400 | 404),
            (false, false) => status == 400 && text.contains("encoding"),
        };
        if !right {
            wrong.push(format!("{path} is listed and answers {status} {text:?}"));
        }
    }
    for path in kubo.keys().filter(|path| !path.is_empty() && !ours.contains_key(*path)) {
        // Not listed: its route says so, in one of two ways, and does nothing.
        let reply = Ask::command(&path.replace(' ', "/")).send(daemon.api());
        let (status, text) = (reply.status(), reply.text());
        let says = match status {
            404 => true,
            400 | 500 => text.split_whitespace().count() >= 4 || text.contains("is required"),
            _ => false,
        };
        if !says {
            wrong.push(format!("{path} is not listed and answers {status} {text:?}"));
        }
    }
    say(&format!(
        "rpc_commands: {} of Kubo's {} commands are listed, and {} that it has not",
        kubo.keys().filter(|path| ours.contains_key(*path)).count(),
        kubo.len(),
        ours.keys().filter(|path| !kubo.contains_key(*path)).count()
    ));
    assert!(wrong.is_empty(), "{} commands:\n{}", wrong.len(), wrong.join("\n"));
    daemon.stop();
}

#[test]
fn every_option_of_kubo_is_listed_with_its_command_or_is_in_the_table_of_those_we_have_not() {
    let Some(data) = data("Kubo's list of options") else { return };
    let kubo = json(&data.join("kubo-commands.json"));
    let dir = temporary("commands");
    let node = Node::init(&dir.path().join("repo"));
    let daemon = Daemon::alone(&node, &[]);
    let ours = listed(&daemon);
    let (mut have, mut missing) = (0, Vec::new());
    for (path, names) in kubo["commands"].as_object().unwrap() {
        let Some((options, _)) = ours.get(path) else { continue };
        for name in names.as_array().unwrap().iter().flat_map(|names| names.as_str().unwrap().split(' ')) {
            if name.is_empty() || options.contains(name) {
                have += 1;
                continue;
            }
            // What is not listed is refused with a sentence that says why; an option of which nothing is known is ignored, as
            // Kubo does it, which would be the wrong answer here.
            let value = if name.len() == 1 { format!("-{name}=1") } else { format!("--{name}=1") };
            let words: Vec<&str> = path.split(' ').chain([value.as_str()]).collect();
            let said = node.run(&words);
            if said.code == Some(0) || said.err().contains("unknown option") {
                missing.push(format!("{path} --{name}: {}", said.err()));
            }
        }
    }
    say(&format!("rpc_commands: {have} options are listed"));
    assert!(have > 300, "{have} options: is the list read rightly?");
    assert!(missing.is_empty(), "{}:\n{}", missing.len(), missing.join("\n"));

    // Both doors list the same.
    let terminal = node.run(["--enc=json", "commands", "--flags"]).ok().out();
    let terminal: Value = serde_json::from_str(&terminal).unwrap();
    let mut alone = BTreeMap::new();
    walk(&terminal, "", &mut alone);
    assert_eq!(alone, ours);
    daemon.stop();
}
