//! A user moves from Kubo with scripts that parse what it prints.
//!
//! Current Kubo was asked 208 things, one after the other, on one fresh repo; what it answered is
//! recorded. The same things are asked here of our binary under the name `ipfs`, and the answers
//! are compared: exit code and data (at least 98 %), and the words of errors (at least 95 %).
//! What differs on purpose stands in the table below, with its reason.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use holdfast_tests::answers::{data_equal, text_equal};
use holdfast_tests::need::{data, say, temporary};
use holdfast_tests::recorded::Scenario;
use holdfast_tests::run::Node;

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

#[test]
fn recorded_answers_of_kubo_are_ours() {
    let Some(data) = data("recorded answers of Kubo") else { return };
    let dir = temporary("answers");
    let mut scenario = Scenario::lay(&data, dir.path());
    let steps = scenario.steps();
    let ipfs = dir.path().join("ipfs");
    std::os::unix::fs::symlink(holdfast_tests::run::binary(), &ipfs).unwrap();
    let node = Node::init(&dir.path().join("repo")).called_as(&ipfs);

    let (mut compared, mut same_data, mut same_words) = (0_u32, 0_u32, 0_u32);
    let mut on_purpose = 0;
    let mut differences = Vec::new();
    for step in &steps {
        let args: Vec<String> = step.args.iter().map(|arg| scenario.sent(arg)).collect();
        let answer = node.run_with(&args, step.stdin.as_bytes());
        scenario.printed(&step.name, &answer.out());
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
        let (out, err) = (scenario.answered(&step.out), scenario.answered(&step.err));
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
