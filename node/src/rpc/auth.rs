//! Who may do what: `API.Authorizations`.

use http::HeaderMap;
use http::header::AUTHORIZATION;
use subtle::{Choice, ConstantTimeEq as _};

use crate::config::ApiAuthorization;
use crate::http::authorization;

use super::path::{Segments, is_command};

/// What is said to whoever is not let in. Clients know the beginning.
pub(super) const DENIED: &str = "Kubo RPC Access Denied: Please provide a valid authorization token as defined in the \
                                 API.Authorizations configuration.";

/// The credentials that are let in, and where. Without any, everybody is.
#[derive(Clone, Default)]
pub(super) struct Authorizations {
    entries: Vec<Entry>,
    /// Whether there are entries in the config, usable or not.
    is_closed: bool,
}

#[derive(Clone)]
struct Entry {
    /// The value of the `Authorization` header.
    expected: Vec<u8>,
    allowed: Vec<Segments>,
}

/// Whom a request is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Caller {
    /// Anybody: there are no credentials.
    Anybody,
    /// Whoever knows the secret of this entry.
    Entry(usize),
}

impl Authorizations {
    pub(super) fn new(entries: &[ApiAuthorization]) -> Self {
        let usable = entries.iter().filter_map(|entry| {
            let allowed = entry.allowed_paths.iter().map(|path| Segments::of_text(path)).collect();
            Some(Entry { expected: authorization(&entry.secret)?.into_bytes(), allowed })
        });
        Self { entries: usable.collect(), is_closed: !entries.is_empty() }
    }

    /// Whether credentials are asked for.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Whom a request is from; nothing if it may not use this path.
    ///
    /// Every entry is compared, each in a time that depends on lengths alone. Of several with one secret, any that
    /// allows the path does.
    pub(super) fn check(&self, headers: &HeaderMap, path: &Segments) -> Option<Caller> {
        if !self.is_closed {
            return Some(Caller::Anybody);
        }
        let given = headers.get(AUTHORIZATION).map_or(&[][..], |value| value.as_bytes());
        let mut caller = None;
        for (index, entry) in self.entries.iter().enumerate() {
            let matches: Choice = entry.expected[..].ct_eq(given);
            let allows =
                is_command(path, &["version"]) || entry.allowed.iter().any(|prefix| path.starts_with(prefix));
            if bool::from(matches & Choice::from(u8::from(allows))) && caller.is_none() {
                caller = Some(Caller::Entry(index));
            }
        }
        caller
    }
}

// Secrets are not printed.
impl std::fmt::Debug for Authorizations {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authorizations").field("entries", &self.entries.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(secret: &str, allowed: &[&str]) -> ApiAuthorization {
        let allowed_paths = allowed.iter().map(|path| (*path).to_owned()).collect();
        ApiAuthorization { user: "u".to_owned(), secret: secret.to_owned(), allowed_paths }
    }

    fn check(entries: &[ApiAuthorization], header: Option<&str>, path: &str) -> Option<Caller> {
        let mut headers = HeaderMap::new();
        if let Some(header) = header {
            headers.insert(AUTHORIZATION, header.parse().unwrap());
        }
        Authorizations::new(entries).check(&headers, &Segments::of_text(path))
    }

    #[test]
    fn paths_are_compared_by_whole_segments() {
        let one = [entry("tok", &["/api/v0/pin", "/api/v0/add/", "/debug/metrics"])];
        let may = |path: &str| check(&one, Some("Bearer tok"), path).is_some();
        for path in
            ["/api/v0/pin", "/api/v0/pin/ls", "/api/v0/add", "/debug/metrics/prometheus", "/api/v0/version"]
        {
            assert!(may(path), "{path}");
        }
        for path in
            ["/api/v0/pinx", "/api/v0", "/api/v0/cat", "/", "/api/v0/versions", "/version", "/debug/metricsx"]
        {
            assert!(!may(path), "{path}");
        }
        assert!(check(&[entry("tok", &["/"])], Some("Bearer tok"), "/debug/vars").is_some());
        assert!(check(&[entry("tok", &[])], Some("Bearer tok"), "/api/v0/cat").is_none());
    }

    #[test]
    fn nobody_is_let_in_without_the_right_header() {
        let two = [entry("one", &["/api/v0"]), entry("basic:u:p", &["/api/v0/id"])];
        assert_eq!(check(&two, Some("Bearer one"), "/api/v0/cat"), Some(Caller::Entry(0)));
        assert_eq!(check(&two, Some("Basic dTpw"), "/api/v0/id"), Some(Caller::Entry(1)));
        for header in [
            None,
            Some(""),
            Some("one"),
            Some("bearer one"),
            Some("Bearer one "),
            Some("Bearer on"),
            Some("Bearer oneX"),
        ] {
            assert_eq!(check(&two, header, "/api/v0/version"), None, "{header:?}");
        }
        assert_eq!(check(&[], None, "/api/v0/cat"), Some(Caller::Anybody));
        let unusable = [entry("digest:x", &["/api/v0"]), entry("", &["/"])];
        assert_eq!(check(&unusable, None, "/api/v0/version"), None);
        assert_eq!(check(&unusable, Some(""), "/api/v0/version"), None);
        assert!(!format!("{:?}", Authorizations::new(&two)).contains("one"));
    }
}
