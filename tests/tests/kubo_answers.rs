//! A user moves from Kubo with scripts that parse what it prints.
//!
//! Current Kubo was asked 208 things, one after the other, on one fresh repo; what it answered is
//! recorded. The same things are asked here of our binary under the name `ipfs`, and the answers
//! are compared: exit code and data (at least 98 %), and the words of errors (at least 95 %).
//! What differs on purpose stands in the table below, with its reason.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use holdfast_tests::answers::{data_equal, text_equal};
use holdfast_tests::inputs::sha256_of_counters;
use holdfast_tests::need::{data, json, say, temporary};
use holdfast_tests::run::{Node, last_cid};
use serde_json::Value;

/// Steps whose text differs on purpose. They are run, and their exit code is compared.
const ON_PURPOSE: [(&str, &str); 4] = [
    ("config-profile", "a profile change prints what it changed, not the whole config with everything in it"),
    (
        "config-profile0",
        "a profile change prints what it changed, not the whole config with everything in it",
    ),
    ("repo-ls-gone", "what Kubo collects includes leftovers of its own"),
    ("repo-verify", "Kubo counts leftovers of its own (its readme and profile files) among the blocks"),
];

struct Step {
    name: String,
    args: Vec<String>,
    stdin: String,
    rc: i64,
    out: String,
    err: String,
    any_order: bool,
}

fn steps(answers: &Value) -> Vec<Step> {
    let text = |step: &Value, key: &str| step[key].as_str().unwrap_or_default().to_owned();
    let step = |step: &Value| Step {
        name: text(step, "name"),
        args: step["args"].as_array().unwrap().iter().map(|arg| arg.as_str().unwrap().to_owned()).collect(),
        stdin: text(step, "stdin"),
        rc: step["rc"].as_i64().unwrap(),
        out: text(step, "out"),
        err: text(step, "err"),
        any_order: step["lines_in_any_order"].as_bool().unwrap_or(false),
    };
    answers["cli"].as_array().unwrap().iter().map(step).collect()
}

fn lay_inputs(answers: &Value, dir: &Path, hello: &str) {
    for (name, input) in answers["inputs"].as_object().unwrap() {
        let path = dir.join(name.trim_end_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if name.ends_with('/') {
            fs::create_dir_all(&path).unwrap();
        } else if let Some(text) = input["text"].as_str() {
            fs::write(&path, text.replace("$HELLO", hello)).unwrap();
        } else if let Some(hex) = input["hex"].as_str() {
            let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
            fs::write(&path, (0..hex.len()).step_by(2).map(byte).collect::<Vec<_>>()).unwrap();
        } else if let Some(count) = input["zeros"].as_u64() {
            fs::write(&path, vec![0; usize::try_from(count).unwrap()]).unwrap();
        } else if let Some(target) = input["symlink"].as_str() {
            std::os::unix::fs::symlink(target, &path).unwrap();
        } else if let Some(count) = input["sha256_of_counters"].as_u64() {
            fs::write(&path, sha256_of_counters(input["salt"].as_str().unwrap(), count)).unwrap();
        } else {
            panic!("the input {name} is of an unknown kind: {input}");
        }
    }
}

/// Replaces `$IN`, `$OUT`, `$HELLO` and `$name` (the CID that step `name` printed last).
fn fill(text: &str, fixed: &[(&str, String)], printed: &BTreeMap<String, String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some((word, value)) = fixed.iter().find(|(word, _)| rest.starts_with(word)) {
            out.push_str(value);
            rest = &rest[word.len()..];
            continue;
        }
        // The longest name wins: `dag-put-json` is also `dag-put` and something.
        let step =
            printed.iter().filter(|(name, _)| rest.starts_with(*name)).max_by_key(|(name, _)| name.len());
        let Some((name, cid)) = step else {
            out.push('$');
            continue;
        };
        out.push_str(cid);
        rest = &rest[name.len()..];
        rest = rest.strip_prefix("-cid").unwrap_or(rest);
    }
    out.push_str(rest);
    out
}

#[test]
fn recorded_answers_of_kubo_are_ours() {
    let Some(data) = data("recorded answers of Kubo") else { return };
    let answers = json(&data.join("kubo-answers.json"));
    let steps = steps(&answers);
    let dir = temporary("answers");
    let (input, output) = (dir.path().join("in"), dir.path().join("out"));
    fs::create_dir_all(&output).unwrap();
    let ipfs = dir.path().join("ipfs");
    std::os::unix::fs::symlink(holdfast_tests::run::binary(), &ipfs).unwrap();
    let node = Node::init(&dir.path().join("repo")).called_as(&ipfs);

    let hello = last_cid(&steps.iter().find(|step| step.name == "add-hello").unwrap().out).unwrap();
    lay_inputs(&answers, &input, &hello);
    let fixed = [
        ("IN", input.to_str().unwrap().to_owned()),
        ("OUT", output.to_str().unwrap().to_owned()),
        ("HELLO", hello),
    ];
    let mut printed = BTreeMap::new();
    let (mut compared, mut same_data, mut same_words) = (0_u32, 0_u32, 0_u32);
    let mut on_purpose = 0;
    let mut differences = Vec::new();
    for step in &steps {
        let args: Vec<String> = step.args.iter().map(|arg| fill(arg, &fixed, &printed)).collect();
        let answer = node.run_with(&args, step.stdin.as_bytes());
        if let Some(cid) = last_cid(&answer.out()) {
            printed.insert(step.name.clone(), cid);
        }
        let code = i64::from(answer.code.unwrap_or(-1));
        if let Some((_, reason)) = ON_PURPOSE.iter().find(|(name, _)| *name == step.name) {
            on_purpose += 1;
            assert_eq!(
                code, step.rc,
                "{}: the exit code is not part of the difference ({reason})",
                step.name
            );
            continue;
        }
        // Recorded texts hold the same words as the arguments, and wild runs that stay.
        let (out, err) =
            (fill(&step.out, &fixed, &BTreeMap::new()), fill(&step.err, &fixed, &BTreeMap::new()));
        let data_same = code == step.rc && data_equal(&out, &answer.out(), step.any_order);
        let words_same = text_equal(&err, &answer.error_line());
        compared += 1;
        same_data += u32::from(data_same);
        same_words += u32::from(words_same);
        if !data_same {
            differences.push(format!(
                "{} ({}): data\n  Kubo ({}): {out:?}\n  ours ({code}): {:?}\n  stderr: {:?}",
                step.name,
                answer.line,
                step.rc,
                answer.out(),
                answer.err()
            ));
        }
        if !words_same {
            let ours = answer.error_line();
            differences.push(format!(
                "{} ({}): words\n  Kubo: {err:?}\n  ours: {ours:?}\n  stderr: {:?}",
                step.name,
                answer.line,
                answer.err()
            ));
        }
    }
    let percent = |count: u32| f64::from(count) * 100.0 / f64::from(compared);
    for difference in &differences {
        say(&format!("kubo_answers: {}", difference.chars().take(1500).collect::<String>()));
    }
    say(&format!(
        "kubo_answers: {} steps: {compared} compared, {on_purpose} differ on purpose; same exit code and data {same_data} ({:.1} %), same words {same_words} ({:.1} %)",
        steps.len(),
        percent(same_data),
        percent(same_words)
    ));
    assert!(
        percent(same_data) >= 98.0,
        "exit code and data are the same in {:.1} % only",
        percent(same_data)
    );
    assert!(percent(same_words) >= 95.0, "the words are the same in {:.1} % only", percent(same_words));
}
