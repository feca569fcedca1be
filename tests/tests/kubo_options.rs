//! A script passes an option that it has always passed to Kubo.
//!
//! For every command that exists here, every option name of current Kubo is either accepted, or
//! refused with a sentence that says why. "unknown option" is neither.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use holdfast_tests::need::{data, json, say, temporary};
use holdfast_tests::run::Node;

/// Commands that run until they are stopped: only their listed options are checked.
const RUN_ON: [&str; 4] = ["daemon", "mount", "log tail", "pubsub sub"];

/// Option names as `commands --flags` lists them, by command path.
fn listed(node: &Node) -> BTreeMap<String, BTreeSet<String>> {
    let mut commands: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in node.run(["commands", "--flags"]).ok().out().lines() {
        for form in line.split(" / ") {
            let Some(rest) = form.split_once(' ').map(|(_, rest)| rest) else { continue };
            let (path, flag) = match rest.rsplit_once(' ') {
                Some((path, flag)) if flag.starts_with('-') => (path, Some(flag)),
                _ => (rest, None),
            };
            let flags = commands.entry(path.to_owned()).or_default();
            flags.extend(flag.map(|flag| flag.trim_start_matches('-').to_owned()));
        }
    }
    commands
}

#[test]
fn every_option_of_kubo_is_accepted_or_refused_with_a_sentence() {
    let Some(data) = data("options of Kubo's commands") else { return };
    let kubo = json(&data.join("kubo-commands.json"));
    let dir = temporary("options");
    let node = Node::init(&dir.path().join("repo")).within(Duration::from_secs(20));
    let ours = listed(&node);
    let (mut commands, mut accepted, mut refused) = (0, 0, 0);
    let mut bad = Vec::new();
    for (path, options) in kubo["commands"].as_object().unwrap() {
        // The options of the root hold for every command: `version` stands for all.
        let words: Vec<&str> = if path.is_empty() { vec!["version"] } else { path.split(' ').collect() };
        let Some(flags) = ours.get(&words.join(" ")) else { continue };
        commands += 1;
        for name in options.as_array().unwrap().iter().flat_map(|names| names.as_str().unwrap().split(' ')) {
            if name.is_empty() {
                continue;
            }
            if RUN_ON.contains(&path.as_str()) {
                if flags.contains(name) {
                    accepted += 1;
                } else {
                    bad.push(format!("{path}: {name} is not listed"));
                }
                continue;
            }
            // `1` is a number, a string, and `true`; help options take no value.
            let dashes = if name.len() == 1 { "-" } else { "--" };
            let option = match name {
                "h" | "help" => format!("{dashes}{name}"),
                "timeout" => "--timeout=1s".to_owned(),
                _ => format!("{dashes}{name}=1"),
            };
            let answer = node.run(words.iter().copied().chain([option.as_str()]));
            let said = answer.err();
            if said.contains("unknown option") || said.contains("panicked") || answer.code.is_none() {
                bad.push(format!("`{}`: {}", answer.line, answer.error_line()));
            } else if flags.contains(name) || path.is_empty() {
                accepted += 1;
            } else if answer.error_line().split_whitespace().count() >= 4 {
                refused += 1;
            } else {
                bad.push(format!("`{}`: neither listed nor refused with a sentence: {said:?}", answer.line));
            }
        }
        let help = node.run(words.iter().copied().chain(["--help"]));
        if help.code != Some(0) || help.stdout.is_empty() {
            bad.push(format!("`{}` gives no help", help.line));
        }
    }
    say(&format!(
        "kubo_options: {commands} commands exist; of their options {accepted} accepted, {refused} refused with a sentence, {} bad",
        bad.len()
    ));
    assert!(
        commands > 30,
        "only {commands} of Kubo's commands exist here: is `commands --flags` read rightly?"
    );
    assert!(bad.is_empty(), "{} options:\n{}", bad.len(), bad.join("\n"));
}

#[test]
fn an_option_that_kubo_does_not_have_is_named() {
    let dir = temporary("options");
    let node = Node::init(&dir.path().join("repo"));
    for args in [["add", "--nope"], ["cat", "--nope=1"], ["version", "--nope"]] {
        let answer = node.run(args).failed();
        assert_eq!(answer.error_line(), "Error: unknown option \"nope\"", "`{}`", answer.line);
    }
}
