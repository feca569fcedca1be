//! Asking a daemon what a call waits for that was sent to it.

use std::time::Duration;

use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use serde_json::Value;
use tokio::time::timeout;

use super::{AGENT, answer};
use crate::commands::CALL_HEADER;
use crate::commands::registry::Response;
use crate::http::Remote;
use crate::http::client::Connection;

/// How long an answer is waited for.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);

/// Asks about one call, on connections of its own.
#[derive(Clone)]
pub(in crate::cli) struct Watcher {
    endpoint: Remote,
    pub(super) authorization: Option<HeaderValue>,
    /// What the call is known by there.
    mark: String,
}

impl Watcher {
    pub(super) fn new(endpoint: Remote, authorization: Option<HeaderValue>) -> Self {
        Self { endpoint, authorization, mark: format!("{:032x}", rand::random::<u128>()) }
    }

    /// Marks the call.
    pub(super) fn mark(&self, headers: &mut HeaderMap) {
        if let Ok(mark) = HeaderValue::from_str(&self.mark) {
            headers.insert(HeaderName::from_static(CALL_HEADER), mark);
        }
    }

    /// What the call waits for, as `diag waits` tells it. A daemon that does not know the question has no answer.
    pub(in crate::cli) async fn wait(&self) -> Option<Value> {
        timeout(ANSWER_TIME_MAX, self.ask()).await.ok()?
    }

    async fn ask(&self) -> Option<Value> {
        let connection = Connection::open(&self.endpoint).await.ok()?;
        let uri = format!("/api/v0/diag/waits?call={}&encoding=json", self.mark);
        let mut request = http::Request::builder().uri(uri).header(USER_AGENT, AGENT).body(()).ok()?;
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        let answered = connection.post(request, None).await.ok()?;
        match answer::response(answered).await.ok()? {
            Response::One(Value::Array(waits)) => waits.into_iter().next(),
            _ => None,
        }
    }
}
