//! Why a service did not do what it was asked.

use std::fmt;
use std::time::Duration;

use http::StatusCode;

use crate::config::RemoteServiceError;
use crate::go_text::go_quote;
use crate::http::client::ClientError;

/// Characters that are repeated of what a service says.
const WORDS_MAX: usize = 400;

/// Why a service did not do what it was asked. No text holds the key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PinningError {
    /// What the config says of the service cannot be used.
    #[error(transparent)]
    Config(#[from] RemoteServiceError),
    /// The key cannot be in a header.
    #[error(
        "the key of the service cannot be sent, as it holds characters that no HTTP header may: remove the service with \
         'pin remote service rm', and add it again with its key"
    )]
    Key,
    /// It was not reached, or went away. The words before the colon are Kubo's.
    #[error("empty response from remote pinning service: {0}")]
    Connection(#[from] ClientError),
    /// It did not answer in time.
    #[error("empty response from remote pinning service: it did not answer within {} s", .0.as_secs_f64())]
    Slow(Duration),
    /// It refused.
    #[error("{0}")]
    Refused(Refusal),
    /// It sends elsewhere, where the key must not go.
    #[error(
        "the pinning service sends requests on to {location}, and they are not followed, as the key would go with them: if \
         that is right, add the service with that endpoint"
    )]
    Redirect {
        /// Where, quoted.
        location: String,
    },
    /// It says more than any answer of the API holds.
    #[error("the answer of the pinning service is longer than {0} bytes, and was not read")]
    TooLong(usize),
    /// Its answer is not one of the API.
    #[error(
        "the answer of the pinning service is not one of the Pinning Service API: {0}. Is its endpoint right?"
    )]
    NotTheApi(String),
    /// It has matching pins and does not tell them. The words are Kubo's.
    #[error("invalid pinning service response: PinResults.count={0} but no PinResults.results")]
    NoResults(u64),
    /// Asking for the next page gives no other.
    #[error(
        "the pinning service has {0} matching pins and does not give them page by page: its list was read in part. Ask for \
         less by --cid, --name or --status"
    )]
    NoProgress(u64),
    /// The list is longer than what is read of any.
    #[error(
        "the pinning service has more matching pins than are listed at a time: ask for less by --cid, --name or --status"
    )]
    TooMany,
}

impl PinningError {
    /// Its status, if it refused.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Refused(refusal) => Some(refusal.status),
            _ => None,
        }
    }

    /// Whether the same question may well be answered a little later.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Connection(_) | Self::Slow(_) => true,
            Self::Refused(Refusal { status, .. }) => {
                status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS
            }
            _ => false,
        }
    }
}

/// A refusal. Its text is Kubo's, and what helps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The status.
    pub status: StatusCode,
    /// Reason and details, quoted, where the service gave them.
    pub failure: Option<(String, String)>,
    /// When it wants to be asked again.
    pub retry_after: Option<Duration>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = self.status;
        match &self.failure {
            Some((reason, details)) => write!(f, "reason: {reason}, details: {details}: {status}")?,
            None => write!(f, "remote pinning service returned http error {}: {status}", status.as_u16())?,
        }
        match (status, self.retry_after) {
            (StatusCode::TOO_MANY_REQUESTS, Some(wait)) => {
                write!(f, " (it takes no more requests for now: try again in {} s)", wait.as_secs())
            }
            _ => advice(status).map_or(Ok(()), |advice| write!(f, " ({advice})")),
        }
    }
}

/// What helps.
fn advice(status: StatusCode) -> Option<&'static str> {
    Some(match status {
        StatusCode::UNAUTHORIZED => {
            "it does not accept the key: remove the service with 'pin remote service rm', and add it again with a key \
             that is valid"
        }
        StatusCode::FORBIDDEN => "it knows the key, and does not allow this with it",
        StatusCode::NOT_FOUND => {
            "it has no such request, or its endpoint is wrong: see 'pin remote service ls'"
        }
        StatusCode::CONFLICT => "that is at odds with what it has: see 'pin remote ls'",
        StatusCode::TOO_MANY_REQUESTS => "it takes no more requests for now: try again later",
        status if status.is_server_error() => "the service itself is at fault: try again later",
        _ => return None,
    })
}

/// What a service said, as it may be repeated: quoted, so that nothing in it acts on a terminal, cut, and without the key.
pub(super) fn words(text: &str, key: &str) -> String {
    // Also where it is cut: the key must not be left in half.
    let text = if key.is_empty() { text.to_owned() } else { text.replace(key, "(redacted)") };
    let mut short: String = text.chars().take(WORDS_MAX).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    go_quote(&short)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_service_says_is_quoted_cut_and_without_the_key() {
        assert_eq!(words("bad key s3cret\u{1b}[2J", "s3cret"), "\"bad key (redacted)\\x1b[2J\"");
        assert_eq!(words("as it is", ""), "\"as it is\"");
        assert_eq!(words(&"x".repeat(10_000), "k").chars().count(), WORDS_MAX + 3);
    }

    #[test]
    fn refusals_say_what_helps() {
        let refused = |status: u16, retry_after| {
            let status = StatusCode::from_u16(status).unwrap();
            PinningError::Refused(Refusal { status, failure: None, retry_after })
        };
        for (status, words) in [
            (401, "does not accept the key"),
            (403, "does not allow this"),
            (404, "no such request"),
            (409, "at odds"),
            (429, "try again later"),
            (503, "at fault"),
        ] {
            let text = refused(status, None).to_string();
            assert!(text.contains(words) && text.contains(&status.to_string()), "{text}");
        }
        let text = refused(429, Some(Duration::from_secs(90))).to_string();
        assert!(text.contains("in 90 s"), "{text}");
        assert!(refused(500, None).is_passing() && !refused(401, None).is_passing());
    }
}
