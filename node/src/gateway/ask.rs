//! One request, read.

use std::sync::Arc;

use holdfast_dag::path::{ContentPath, PathRoot};
use http::header::{CACHE_CONTROL, HeaderMap, RANGE};

use super::Settings;
use super::conditional::{self, Validators};
use super::failure::Failure;
use super::format::{self, Format, Wanted};
use super::range::{self, Part};
use super::url::{self, Query};
use crate::fetch::Fetch;
use crate::node::Node;

/// A request for content, and what answers it.
#[derive(Clone)]
pub(super) struct Ask {
    pub(super) node: Node,
    /// Where every block comes from.
    pub(super) fetch: Fetch,
    pub(super) settings: Arc<Settings>,
    /// Bytes that one walk may read ahead.
    pub(super) window_bytes: u64,
    pub(super) is_head: bool,
    pub(super) headers: HeaderMap,
    pub(super) query: Query,
    /// The path as it was asked for, decoded: begins with `/ipfs/` or `/ipns/`.
    pub(super) url_path: String,
    /// The same, cleaned and understood.
    pub(super) path: ContentPath,
    pub(super) wanted: Wanted,
}

/// Whether what is not stored here is not wanted.
pub(super) fn only_if_cached(headers: &HeaderMap) -> bool {
    let mut directives = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    directives.any(|value| {
        value.split(',').any(|directive| directive.trim().eq_ignore_ascii_case("only-if-cached"))
    })
}

impl Ask {
    /// Whether the path can lead elsewhere tomorrow.
    pub(super) fn is_mutable(&self) -> bool {
        matches!(self.path.root(), PathRoot::Ipns(_))
    }

    pub(super) fn format(&self) -> Option<Format> {
        self.wanted.format
    }

    /// Whether the client reads web pages.
    pub(super) fn reads_html(&self) -> bool {
        format::reads_html(&self.headers)
    }

    /// A header as text.
    pub(super) fn header(&self, name: &http::HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Whether nothing may be fetched for this answer.
    pub(super) fn only_if_cached(&self) -> bool {
        only_if_cached(&self.headers)
    }

    /// Which bytes of `size` are wanted, as far as the client's copy is of the same content.
    pub(super) fn part(&self, size: u64, validators: &Validators) -> Result<Part, Failure> {
        match self.header(&RANGE) {
            Some(header) if !self.is_head && conditional::range_holds(&self.headers, validators) => {
                range::part(header, size)
            }
            _ => Ok(Part::All),
        }
    }

    /// `?download=true`: to be saved, not shown.
    pub(super) fn is_download(&self) -> bool {
        self.query.get("download") == Some("true")
    }

    /// What the last segment of the path calls the content; nothing for a root.
    pub(super) fn last_segment(&self) -> Option<&str> {
        self.path.segments().last().map(String::as_str)
    }

    /// The path as it was asked for, escaped anew, with a slash at its end and its query: where a directory is.
    pub(super) fn with_slash(&self) -> String {
        let mut location = url::path(&self.url_path);
        location.push('/');
        if !self.query.raw().is_empty() {
            location.push('?');
            location.push_str(self.query.raw());
        }
        location
    }
}
