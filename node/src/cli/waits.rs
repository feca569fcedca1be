//! Saying on the terminal what a command waits for, where that takes long.

use std::convert::Infallible;
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::remote::Watcher;
use crate::commands::{Context, escape, wait_sentence};

/// Shorter waits are not told.
const WAIT_MIN: Duration = Duration::from_secs(2);
/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often the same wait is told.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Whom to ask what the command waits for.
pub(super) enum Source {
    /// It runs here.
    Here(Context),
    /// It runs in a daemon.
    Daemon(Watcher),
    /// Nobody reads it.
    Nobody,
}

impl Source {
    async fn wait(&self) -> Option<Value> {
        match self {
            Self::Here(context) => context.own_wait(),
            Self::Daemon(watcher) => watcher.wait().await,
            Self::Nobody => std::future::pending().await,
        }
    }
}

/// Tells, for as long as it is polled, a line on standard error for each long wait.
pub(super) async fn tell(source: Source) -> Infallible {
    let mut told: Option<(String, Instant)> = None;
    sleep(WAIT_MIN).await;
    loop {
        if let Some(wait) = source.wait().await
            && let Some(sentence) = sentence(&wait)
        {
            let cid = wait.get("Cid").and_then(Value::as_str).unwrap_or_default();
            let is_new = told.as_ref().is_none_or(|(last, at)| last != cid || at.elapsed() >= TELL_EVERY);
            if is_new {
                eprintln!("{sentence}");
                told = Some((cid.to_owned(), Instant::now()));
            }
        }
        sleep(LOOK_EVERY).await;
    }
}

/// What is told of a wait; nothing of a short one.
fn sentence(wait: &Value) -> Option<String> {
    let seconds = wait.get("Seconds").and_then(Value::as_u64).unwrap_or_default();
    let sentence = wait_sentence(wait).filter(|_| seconds >= WAIT_MIN.as_secs())?;
    Some(escape(&format!("waiting for {sentence}")).into_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_wait_is_told_from_two_seconds_on_and_drives_no_terminal() {
        let wait = |seconds| json!({ "Cid": "Qm\x1b[2J", "Seconds": seconds, "Wanted": 3, "Tried": "no peer to ask" });
        assert_eq!(sentence(&wait(1)), None);
        let words = "waiting for block Qm\\x1b[2J and 2 more for 2 s: no peer to ask";
        assert_eq!(sentence(&wait(2)).unwrap(), words);
        assert_eq!(sentence(&json!({ "Seconds": 9 })), None);
    }
}
