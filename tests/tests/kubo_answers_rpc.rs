//! A user moves from Kubo with programs that read what its API answers.
//!
//! Current Kubo was asked 97 things over HTTP, after the things at the terminal, on the same repo; what it answered is
//! recorded. The same bytes are sent here to our daemon, and the answers are compared: status and data (at least 98 %),
//! the words of errors (at least 95 % of the answers that have any), and the header fields that were recorded (at least
//! 95 %). What differs on purpose stands in the table below, with its reason; an entry that has lost its reason fails.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::net::SocketAddr;

use holdfast_tests::answers::{json_equal, text_equal};
use holdfast_tests::ask::{Ask, Multipart};
use holdfast_tests::daemon::Daemon;
use holdfast_tests::need::{data, say, temporary};
use holdfast_tests::recorded::Scenario;
use holdfast_tests::reply::Reply;
use holdfast_tests::run::Node;
use serde_json::{Map, Value};

/// What a step's answer is here, where that is not what Kubo answers.
struct OnPurpose {
    step: &'static str,
    /// Our status; the data and the words are ours too.
    status: u16,
    /// Whether all recorded header fields still hold.
    same_fields: bool,
    reason: &'static str,
}

impl OnPurpose {
    /// Checks that the answer is what the table says, and that it does differ: else the entry has lost its reason.
    fn check(&self, reply: &Reply, same_data: bool, other_fields: &[String]) {
        let Self { step, reason, .. } = self;
        assert_eq!(reply.status(), self.status, "{step}: {reason}: {}", reply.text());
        assert_eq!(other_fields.is_empty(), self.same_fields, "{step}: {other_fields:?} ({reason})");
        let same = same_data && other_fields.is_empty();
        assert!(!same, "{step} answers as Kubo does, so it has no place in the table ({reason})");
    }
}

const fn differs(step: &'static str, status: u16, same_fields: bool, reason: &'static str) -> OnPurpose {
    OnPurpose { step, status, same_fields, reason }
}

const ON_PURPOSE: [OnPurpose; 3] = [
    differs("slash", 200, true, "our version, not Kubo's"),
    differs("host-bad", 403, false, "a page that rebinds its name to loopback gets nothing; Kubo answers it"),
    differs("repo-gc", 200, true, "what Kubo collects includes leftovers of its own"),
];

/// Sends one recorded step. `$name`s in paths and parts are filled in.
fn ask(scenario: &Scenario, step: &Value, to: SocketAddr) -> Reply {
    let path = scenario.sent(step["path"].as_str().unwrap());
    let mut request = Ask::new(step["method"].as_str().unwrap(), &path);
    for (name, value) in step["headers"].as_object().into_iter().flatten() {
        request = request.field(name, value.as_str().unwrap());
    }
    if let Some(parts) = step["parts"].as_array() {
        let mut body = Multipart::new();
        for part in parts {
            let bytes = match part["repeat"].as_array() {
                Some(repeat) => {
                    let count = usize::try_from(repeat[1].as_u64().unwrap()).unwrap();
                    repeat[0].as_str().unwrap().repeat(count).into_bytes()
                }
                None => scenario.sent(part["text"].as_str().unwrap()).into_bytes(),
            };
            let name = part["filename"].as_str().unwrap();
            body = body.part("file", name, part["content_type"].as_str().unwrap(), &bytes);
        }
        request = request.parts(&body);
    } else if step["method"] == "POST" {
        request = request.body(b"");
    }
    request.send(to)
}

/// The recorded body with the names of inputs filled in.
fn recorded(scenario: &Scenario, value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(scenario.answered(text)),
        Value::Array(list) => list.iter().map(|value| recorded(scenario, value)).collect(),
        Value::Object(object) => {
            object.iter().map(|(key, value)| (key.clone(), recorded(scenario, value))).collect()
        }
        other => other.clone(),
    }
}

/// Whether the body is the recorded one: text as text, an object as one value, a list as one list or as lines of JSON.
fn same_body(recorded: &Value, reply: &Reply, any_order: bool) -> bool {
    if let Value::String(text) = recorded {
        return text_equal(text, &reply.text());
    }
    let values: Result<Vec<Value>, _> =
        serde_json::Deserializer::from_slice(&reply.body).into_iter().collect();
    let Ok(mut values) = values else { return false };
    let Value::Array(list) = recorded else {
        return values.len() == 1 && json_equal(recorded, &values[0]);
    };
    if let [Value::Array(inner)] = values.as_slice() {
        values = inner.clone();
    }
    if !any_order {
        return list.len() == values.len() && list.iter().zip(&values).all(|(a, b)| json_equal(a, b));
    }
    for wanted in list {
        let Some(at) = values.iter().position(|value| json_equal(wanted, value)) else { return false };
        values.swap_remove(at);
    }
    values.is_empty()
}

/// The words of an answer that has any: the text of a refusal, the message of an error.
fn words(body: &Value) -> Option<String> {
    match body {
        Value::String(text) => Some(text.clone()),
        Value::Object(object) => object.get("Message")?.as_str().map(str::to_owned),
        _ => None,
    }
}

/// Whether an error is the recorded one but for its words: a text is a text, an object has the same other fields.
fn same_error(recorded: &Value, reply: &Reply) -> bool {
    let ours: Option<Value> = serde_json::from_slice(&reply.body).ok();
    match (recorded, ours) {
        (Value::String(_), ours) => !ours.is_some_and(|ours| ours.is_object()),
        (Value::Object(recorded), Some(Value::Object(ours))) => {
            let rest = |object: &Map<String, Value>| {
                let rest = object.iter().filter(|(key, _)| *key != "Message");
                rest.map(|(key, value)| (key.clone(), value.clone())).collect::<Value>()
            };
            json_equal(&rest(recorded), &rest(&ours))
        }
        _ => false,
    }
}

/// The recorded header fields that are missing here or have another value.
fn other_fields(step: &Value, reply: &Reply) -> Vec<String> {
    let fields = step["answer_headers"].as_object().unwrap().iter();
    let differ = fields.filter_map(|(name, value)| {
        let (wanted, ours) = (value.as_str().unwrap(), reply.head.get(name));
        (ours != Some(wanted)).then(|| format!("{name}: Kubo {wanted:?}, ours {ours:?}"))
    });
    differ.collect()
}

#[derive(Default)]
struct Count {
    all: u32,
    same: u32,
}

impl Count {
    fn add(&mut self, same: bool) {
        self.all += 1;
        self.same += u32::from(same);
    }

    fn percent(&self) -> f64 {
        f64::from(self.same) * 100.0 / f64::from(self.all)
    }

    fn text(&self) -> String {
        format!("{} of {} ({:.1} %)", self.same, self.all, self.percent())
    }
}

/// Runs the steps at the terminal, whose answers another test compares.
fn run_terminal_steps(scenario: &mut Scenario, node: &Node) {
    for step in scenario.steps() {
        let args: Vec<String> = step.args.iter().map(|arg| scenario.sent(arg)).collect();
        let answer = node.run_with(&args, step.stdin.as_bytes());
        scenario.printed(&step.name, &answer.out());
    }
}

#[test]
fn recorded_answers_of_kubo_over_http_are_ours() {
    let Some(data) = data("recorded answers of Kubo over HTTP") else { return };
    let dir = temporary("answers-rpc");
    let mut scenario = Scenario::lay(&data, dir.path());
    let ipfs = dir.path().join("ipfs");
    std::os::unix::fs::symlink(holdfast_tests::run::binary(), &ipfs).unwrap();
    let node = Node::init(&dir.path().join("repo")).called_as(&ipfs);
    run_terminal_steps(&mut scenario, &node);
    node.run(["config", "--json", "Bootstrap", "[]"]).ok();
    let daemon = Daemon::start(&node, &["--offline"]);

    let (mut data_count, mut word_count, mut field_count) =
        (Count::default(), Count::default(), Count::default());
    let (mut differences, mut met) = (Vec::new(), 0);
    for step in scenario.rpc_steps() {
        let name = step["name"].as_str().unwrap();
        let reply = ask(&scenario, &step, daemon.api());
        let fields = other_fields(&step, &reply);
        let status = step["status"].as_u64().unwrap();
        let same_status = u64::from(reply.status()) == status;
        let body = step.get("body").map(|body| recorded(&scenario, body));
        let any_order = step["lines_in_any_order"].as_bool().unwrap_or(false);
        let said = body.as_ref().filter(|_| status >= 400).and_then(words);
        let same = |body: &Value| match said {
            Some(_) => same_error(body, &reply),
            None => same_body(body, &reply, any_order),
        };
        let same_data = same_status && body.as_ref().is_none_or(same);
        if let Some(ours) = ON_PURPOSE.iter().find(|entry| entry.step == name) {
            ours.check(&reply, same_data, &fields);
            met += 1;
            continue;
        }
        data_count.add(same_data);
        if !same_data {
            differences.push(format!(
                "{name}: data\n  Kubo {status}: {body:?}\n  ours {}: {}",
                reply.status(),
                reply.text()
            ));
        }
        if let Some(said) = said {
            let ours = serde_json::from_slice(&reply.body).unwrap_or_else(|_| Value::String(reply.text()));
            let same_words = words(&ours).is_some_and(|ours| text_equal(&said, &ours));
            word_count.add(same_words);
            if !same_words {
                differences.push(format!("{name}: words\n  Kubo: {said:?}\n  ours: {}", reply.text()));
            }
        }
        field_count.add(fields.is_empty());
        differences.extend(fields.iter().map(|field| format!("{name}: header: {field}")));
    }
    for difference in &differences {
        say(&format!("kubo_answers_rpc: {}", difference.chars().take(1500).collect::<String>()));
    }
    say(&format!(
        "kubo_answers_rpc: {} differ on purpose; same status and data {}; same words {}; same headers {}",
        ON_PURPOSE.len(),
        data_count.text(),
        word_count.text(),
        field_count.text()
    ));
    daemon.stop();
    assert_eq!(met, ON_PURPOSE.len(), "each entry of the table names a recorded step, and one only");
    assert!(data_count.all > 80 && word_count.all > 20, "most of the recorded steps were compared");
    assert!(data_count.percent() >= 98.0, "same status and data: {}", data_count.text());
    assert!(word_count.percent() >= 95.0, "same words: {}", word_count.text());
    assert!(field_count.percent() >= 95.0, "same headers: {}", field_count.text());
}
