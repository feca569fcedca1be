//! Why a request is answered with an error, and what the client is told.

use std::time::Duration;

use holdfast_dag::cid::CidError;
use holdfast_dag::ipld::{DecodeError, EncodeError};
use holdfast_dag::path::PathError;
use holdfast_dag::read::ReadError;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use http::{Response, StatusCode};

use super::{Answer, page};
use crate::fetch::{FetchError, WalkError};
use crate::pool::PoolError;
use crate::services::names::NameResolveError;

/// An answer that is an error.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub(super) status: StatusCode,
    words: String,
    retry_after: Option<Duration>,
}

impl Failure {
    pub(super) fn new(status: StatusCode, words: impl Into<String>) -> Self {
        Self { status, words: words.into(), retry_after: None }
    }

    pub(super) fn bad_request(words: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, words)
    }

    pub(super) fn not_acceptable(words: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_ACCEPTABLE, words)
    }

    /// Says when to come again.
    pub(super) fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Says what was being done.
    pub(super) fn context(mut self, doing: impl std::fmt::Display) -> Self {
        self.words = format!("{doing}: {}", self.words);
        self
    }

    pub(super) fn words(&self) -> &str {
        &self.words
    }

    /// As an answer, in HTML for whoever reads that.
    pub(super) fn answer(&self, in_html: bool) -> Answer {
        let (kind, body) = if in_html {
            ("text/html", page::error(self.status, &self.words))
        } else {
            ("text/plain; charset=utf-8", format!("{}\n", self.words))
        };
        let mut answer = Response::new(body.into());
        *answer.status_mut() = self.status;
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if in_html {
            page::protect(headers);
        }
        if let Some(wait) = self.retry_after {
            headers.insert(RETRY_AFTER, wait.as_secs().into());
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        answer
    }
}

impl From<FetchError> for Failure {
    fn from(error: FetchError) -> Self {
        let status = match &error {
            FetchError::NotFound { .. } => StatusCode::NOT_FOUND,
            FetchError::Unavailable { .. } | FetchError::Late { .. } => StatusCode::GATEWAY_TIMEOUT,
            FetchError::Policy(_) => StatusCode::BAD_REQUEST,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, error.to_string())
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        let status = match &error {
            error if error.is_not_found() => StatusCode::NOT_FOUND,
            // Nothing is broken: it is only no file, and blocks and CARs of it can be had.
            ReadError::NotUnixFs { .. } => StatusCode::NOT_ACCEPTABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, error.to_string())
    }
}

impl From<WalkError<ReadError>> for Failure {
    fn from(error: WalkError<ReadError>) -> Self {
        match error {
            WalkError::Fetch(error) => error.into(),
            WalkError::Walker(error) => error.into(),
        }
    }
}

impl From<PathError> for Failure {
    fn from(error: PathError) -> Self {
        Self::bad_request(error.to_string())
    }
}

impl From<CidError> for Failure {
    fn from(error: CidError) -> Self {
        Self::bad_request(error.to_string())
    }
}

impl From<NameResolveError> for Failure {
    fn from(error: NameResolveError) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    }
}

impl From<DecodeError> for Failure {
    fn from(error: DecodeError) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    }
}

impl From<EncodeError> for Failure {
    fn from(error: EncodeError) -> Self {
        Self::not_acceptable(error.to_string())
    }
}

impl From<PoolError> for Failure {
    fn from(error: PoolError) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    }
}
