//! The table of requests: what runs now, and what ran a moment ago.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::Metrics;
use crate::commands::registry::Call;

/// Finished requests that are kept at most. With [`ARGS_MAX`] and [`ARG_CHARS_MAX`] this bounds the table to a few MiB.
const FINISHED_MAX: usize = 1000;
/// Arguments and options of a request that are kept.
const ARGS_MAX: usize = 16;
/// Characters of each that are kept.
const ARG_CHARS_MAX: usize = 128;
/// How long finished requests are kept, unless `diag cmds set-time` says otherwise.
const KEEP: Duration = Duration::from_secs(3600);
/// A request that takes longer than this is logged as slow.
const SLOW: Duration = Duration::from_secs(30);
/// Commands that last as long as whoever calls wants.
const LASTING: [&str; 6] =
    ["log/tail", "pubsub/sub", "p2p/forward", "p2p/listen", "diag/profile", "stats/bw"];
/// What stands in the place of a secret.
const REDACTED: &str = "(redacted)";

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Its answer went out whole.
    Success,
    /// It was answered with an error, before or after the first byte.
    Error,
    /// Whoever called went away, or the daemon stopped.
    Cancelled,
}

impl Outcome {
    /// The value of the label `status`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Error => "error",
            Self::Cancelled => "cancelled",
        }
    }
}

/// One request, as the table knows it.
#[derive(Debug, Clone)]
pub struct RequestRecord {
    /// Counts up from 0.
    pub id: u64,
    /// The words of the command, with slashes: `pin/ls`.
    pub command: String,
    /// Its text arguments, shortened, without secrets.
    pub args: Vec<String>,
    /// The options that were given, shortened, without secrets.
    pub options: BTreeMap<&'static str, String>,
    /// When it began.
    pub began: SystemTime,
    /// When it ended, and how; nothing while it runs.
    pub ended: Option<(SystemTime, Outcome)>,
}

/// The requests of one daemon. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Requests {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    metrics: Metrics,
    table: Mutex<Table>,
}

#[derive(Debug)]
struct Table {
    next_id: u64,
    keep: Duration,
    /// As many as the doors let in.
    active: BTreeMap<u64, RequestRecord>,
    /// The oldest first.
    finished: VecDeque<RequestRecord>,
}

impl Requests {
    pub(crate) fn new(metrics: Metrics) -> Self {
        let table = Table { next_id: 0, keep: KEEP, active: BTreeMap::new(), finished: VecDeque::new() };
        Self { shared: Arc::new(Shared { metrics, table: Mutex::new(table) }) }
    }

    /// Notes that a request begins. It ends when the guard is dropped: keep it until the last byte of the answer is out.
    pub fn begin(&self, call: &Call) -> RequestGuard {
        let command = call.path().join("/");
        tracing::debug!(target: "holdfast::rpc", command, "request");
        let record = RequestRecord {
            id: 0,
            args: args_of(&command, call),
            options: options_of(call),
            began: SystemTime::now(),
            ended: None,
            command: command.clone(),
        };
        let id = {
            let mut table = self.table();
            let id = table.next_id;
            table.next_id += 1;
            table.active.insert(id, RequestRecord { id, ..record });
            id
        };
        self.shared.metrics.request_began();
        RequestGuard {
            requests: self.clone(),
            id,
            command,
            began: Instant::now(),
            outcome: Outcome::Cancelled,
        }
    }

    /// All that is known, in the order in which it began.
    pub fn list(&self) -> Vec<RequestRecord> {
        let mut table = self.table();
        table.forget_old();
        let mut all: Vec<RequestRecord> =
            table.finished.iter().chain(table.active.values()).cloned().collect();
        drop(table);
        all.sort_unstable_by_key(|record| record.id);
        all
    }

    /// Requests that run now.
    pub fn active_count(&self) -> usize {
        self.table().active.len()
    }

    /// Forgets what is finished.
    pub fn clear_finished(&self) {
        self.table().finished.clear();
    }

    /// Sets how long finished requests are kept. Default: one hour; never more than 1,000 of them.
    pub fn set_keep_time(&self, keep: Duration) {
        let mut table = self.table();
        table.keep = keep;
        table.forget_old();
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.shared.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn finish(&mut self, id: u64, outcome: Outcome) {
        if let Some(mut record) = self.active.remove(&id) {
            record.ended = Some((SystemTime::now(), outcome));
            self.finished.push_back(record);
        }
        self.forget_old();
    }

    fn forget_old(&mut self) {
        let (now, keep) = (SystemTime::now(), self.keep);
        let is_old = |record: &RequestRecord| {
            record.ended.is_none_or(|(at, _)| now.duration_since(at).is_ok_and(|age| age >= keep))
        };
        while self.finished.len() > FINISHED_MAX || self.finished.front().is_some_and(is_old) {
            self.finished.pop_front();
        }
    }
}

/// A request that runs. Dropping it ends the request: as cancelled, unless [`RequestGuard::set_outcome`] was told better.
#[derive(Debug)]
#[must_use = "the request ends when this is dropped"]
pub struct RequestGuard {
    requests: Requests,
    id: u64,
    command: String,
    began: Instant,
    outcome: Outcome,
}

impl RequestGuard {
    /// Says how the request ends. The last word counts.
    pub fn set_outcome(&mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        let took = self.began.elapsed();
        self.requests.table().finish(self.id, self.outcome);
        self.requests.shared.metrics.request_ended(&self.command, self.outcome, took);
        let (command, outcome, took_ms) = (&self.command, self.outcome.label(), took.as_millis() as u64);
        if took >= SLOW && !LASTING.contains(&command.as_str()) {
            tracing::warn!(target: "holdfast::rpc", command, outcome, took_ms, "slow request");
        } else {
            tracing::debug!(target: "holdfast::rpc", command, outcome, took_ms, "request ended");
        }
    }
}

/// The arguments, without those that are secrets.
fn args_of(command: &str, call: &Call) -> Vec<String> {
    let secret_from = match command {
        // Values of the config may be secrets in any of several sections.
        "config" => 1,
        // Service and endpoint; then the key.
        "pin/remote/service/add" => 2,
        _ => usize::MAX,
    };
    let args = call.args().iter().take(ARGS_MAX).enumerate();
    args.map(|(index, arg)| if index < secret_from { short(arg) } else { REDACTED.to_owned() }).collect()
}

fn options_of(call: &Call) -> BTreeMap<&'static str, String> {
    let given = call.given().take(ARGS_MAX);
    given
        .map(|(name, value)| match name {
            "api-auth" => (name, REDACTED.to_owned()),
            _ => (name, short(&value.to_string())),
        })
        .collect()
}

fn short(text: &str) -> String {
    match text.char_indices().nth(ARG_CHARS_MAX) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::registry::{Door, RawOption, Registry};
    use crate::runtime::Runtime;

    fn call(words: &[&str], args: &[&str], options: &[(&str, &str)]) -> Call {
        let registry = crate::commands::registry();
        let path = registry.find(words).unwrap();
        let raw: Vec<RawOption> = options.iter().map(|(name, value)| RawOption::new(*name, *value)).collect();
        let args = args.iter().map(|&arg| arg.to_owned()).collect();
        Registry::call(&path, &raw, Door::Http).unwrap().with_args(path.command(), args).unwrap()
    }

    #[test]
    fn a_request_is_active_until_its_guard_goes_and_then_kept_for_a_while() {
        let runtime = Runtime::new();
        let requests = runtime.requests();
        let mut guard = requests.begin(&call(&["pin", "ls"], &[], &[("type", "all")]));
        let record = requests.list().remove(0);
        assert_eq!((record.command.as_str(), record.id, record.ended), ("pin/ls", 0, None));
        assert_eq!(record.options.get("type").map(String::as_str), Some("all"));
        assert_eq!(requests.active_count(), 1);
        guard.set_outcome(Outcome::Success);
        drop(guard);
        assert_eq!(requests.active_count(), 0);
        assert!(matches!(requests.list().remove(0).ended, Some((_, Outcome::Success))));
        drop(requests.begin(&call(&["version"], &[], &[])));
        assert!(matches!(requests.list().remove(1).ended, Some((_, Outcome::Cancelled))));
        requests.set_keep_time(Duration::ZERO);
        assert!(requests.list().is_empty());
    }

    #[test]
    fn the_table_does_not_grow_without_bound() {
        let runtime = Runtime::new();
        let version = call(&["version"], &[], &[]);
        for _ in 0..FINISHED_MAX + 50 {
            drop(runtime.requests().begin(&version));
        }
        let all = runtime.requests().list();
        assert_eq!((all.len(), all.first().map(|record| record.id)), (FINISHED_MAX, Some(50)));
    }

    #[test]
    fn secrets_are_not_kept() {
        let runtime = Runtime::new();
        let secret = "s3cr3t-value";
        let calls = [
            call(&["config"], &["API.Authorizations.me.AuthSecret", secret], &[("api-auth", secret)]),
            call(&["pin", "remote", "service", "add"], &["mine", "https://example.com", secret], &[]),
        ];
        let guards: Vec<RequestGuard> = calls.iter().map(|call| runtime.requests().begin(call)).collect();
        let shown = format!("{:?}", runtime.requests().list());
        assert!(shown.contains("AuthSecret") && shown.contains(REDACTED), "{shown}");
        assert!(!shown.contains(secret), "{shown}");
        drop(guards);
    }
}
