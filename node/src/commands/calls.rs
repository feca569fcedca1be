//! The calls that run now, and what they wait for.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::registry::Call;
use crate::fetch::Wait;
use crate::node::Node;

/// The header by which a client marks a call, to ask later what that one waits for.
pub const CALL_HEADER: &str = "x-holdfast-call";

/// Characters of a mark that are looked at.
const MARK_CHARS_MAX: usize = 64;

/// What belongs to one call.
#[derive(Debug)]
pub(super) struct OfCall {
    pub(super) offline: bool,
    /// The node as this call sees it.
    pub(super) node: OnceCell<Node>,
}

impl OfCall {
    pub(super) fn wait(&self) -> Option<Wait> {
        self.node.get()?.fetch().wait()
    }
}

/// The calls of a process. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Calls {
    running: Arc<Mutex<Vec<Running>>>,
}

#[derive(Debug)]
struct Running {
    command: String,
    mark: Option<String>,
    call: Weak<OfCall>,
}

impl Calls {
    /// Begins a call: it runs until what this returns is dropped.
    pub(super) fn begin(&self, call: &Call, mark: Option<&str>) -> Arc<OfCall> {
        let of_call =
            Arc::new(OfCall { offline: call.offline() || call.bool("local"), node: OnceCell::new() });
        let mut running = self.running();
        // As many stay as the doors let in.
        running.retain(|other| other.call.strong_count() > 0);
        running.push(Running {
            command: call.path().join(" "),
            mark: mark.map(|mark| mark.chars().take(MARK_CHARS_MAX).collect()),
            call: Arc::downgrade(&of_call),
        });
        of_call
    }

    /// What calls wait for that others have: all, or the one with this mark.
    pub(super) fn waits(&self, mark: Option<&str>) -> Vec<Value> {
        let running = self.running();
        let asked = running.iter().filter(|one| mark.is_none() || one.mark.as_deref() == mark);
        let waits = asked.filter_map(|one| Some((one.command.as_str(), one.call.upgrade()?.wait()?)));
        let told = waits.map(|(command, wait)| {
            let mut value = wait_value(&wait);
            if let Some(fields) = value.as_object_mut() {
                fields.insert("Command".to_owned(), command.into());
            }
            value
        });
        told.collect()
    }

    fn running(&self) -> MutexGuard<'_, Vec<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A wait as a value.
pub(super) fn wait_value(wait: &Wait) -> Value {
    json!({
        "Cid": wait.cid.to_string(),
        "Seconds": wait.waited.as_secs(),
        "Wanted": wait.wanted,
        "Peers": wait.tried.peers,
        "Tried": wait.tried.to_string(),
    })
}

/// A wait, as `wait_value` gives it, in a sentence; without `Cid` there is none.
pub fn wait_sentence(value: &Value) -> Option<String> {
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    let number = |name: &str| value.get(name).and_then(Value::as_u64).unwrap_or_default();
    let mut line = format!("block {}", text("Cid")?);
    if number("Wanted") > 1 {
        let _ = write!(line, " and {} more", number("Wanted") - 1);
    }
    let _ = write!(line, " for {} s: {}", number("Seconds"), text("Tried").unwrap_or_default());
    Some(line)
}
