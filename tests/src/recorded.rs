//! The scenario of recorded answers: its inputs, its steps at the terminal, and the names in its texts.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::inputs::sha256_of_counters;
use crate::need::json;
use crate::run::last_cid;

/// One thing that was asked of Kubo at the terminal, and what it answered.
#[derive(Debug, Clone)]
pub struct Step {
    /// Its name, by which later steps call what it printed.
    pub name: String,
    /// The arguments, names in them not filled in.
    pub args: Vec<String>,
    /// What it read.
    pub stdin: String,
    /// The exit code.
    pub rc: i64,
    /// What it printed.
    pub out: String,
    /// The first line of its errors.
    pub err: String,
    /// Whether lines count in any order.
    pub any_order: bool,
}

/// The recorded scenario, and what its steps printed here so far.
#[derive(Debug)]
pub struct Scenario {
    answers: Value,
    fixed: Vec<(&'static str, String)>,
    printed: BTreeMap<String, String>,
}

impl Scenario {
    /// Reads the scenario in `data` and lays its inputs under `dir`.
    ///
    /// # Panics
    /// When the file is not as its description says.
    pub fn lay(data: &Path, dir: &Path) -> Self {
        let answers = json(&data.join("kubo-answers.json"));
        let (input, output) = (dir.join("in"), dir.join("out"));
        fs::create_dir_all(&output).unwrap();
        let mut scenario = Self { answers, fixed: Vec::new(), printed: BTreeMap::new() };
        let first = scenario.steps().into_iter().find(|step| step.name == "add-hello");
        let hello = last_cid(&first.expect("the scenario adds hello.txt").out).unwrap();
        lay_inputs(&scenario.answers, &input, &hello);
        scenario.fixed = vec![
            ("IN", input.to_str().unwrap().to_owned()),
            ("OUT", output.to_str().unwrap().to_owned()),
            ("HELLO", hello),
        ];
        scenario
    }

    /// The steps at the terminal, in order.
    pub fn steps(&self) -> Vec<Step> {
        let text = |step: &Value, key: &str| step[key].as_str().unwrap_or_default().to_owned();
        let step = |step: &Value| Step {
            name: text(step, "name"),
            args: step["args"]
                .as_array()
                .unwrap()
                .iter()
                .map(|arg| arg.as_str().unwrap().to_owned())
                .collect(),
            stdin: text(step, "stdin"),
            rc: step["rc"].as_i64().unwrap(),
            out: text(step, "out"),
            err: text(step, "err"),
            any_order: step["lines_in_any_order"].as_bool().unwrap_or(false),
        };
        self.answers["cli"].as_array().unwrap().iter().map(step).collect()
    }

    /// The steps over HTTP, in order, as they are written.
    pub fn rpc_steps(&self) -> Vec<Value> {
        self.answers["rpc"].as_array().unwrap().clone()
    }

    /// Notes what a step printed, for those after it.
    pub fn printed(&mut self, step: &str, out: &str) {
        if let Some(cid) = last_cid(out) {
            self.printed.insert(step.to_owned(), cid);
        }
    }

    /// What is to be sent: all names filled in.
    pub fn sent(&self, text: &str) -> String {
        fill(text, &self.fixed, &self.printed)
    }

    /// What was answered: the names of inputs filled in; wild runs stay.
    pub fn answered(&self, text: &str) -> String {
        fill(text, &self.fixed, &BTreeMap::new())
    }
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
