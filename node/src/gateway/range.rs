//! The `Range` header: which bytes are wanted.

use http::StatusCode;
use http::header::{ACCEPT_RANGES, CONTENT_RANGE, HeaderMap, HeaderValue};

use super::failure::Failure;
use super::headers::put;

/// Ranges of one header that are looked at.
const RANGES_MAX: usize = 64;

/// Bytes of some content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    All,
    Some {
        first: u64,
        length: u64,
    },
    /// None of the ranges lies in it.
    Outside,
}

/// The first range of the header that lies in content of `size` bytes. Other units than bytes are as if nothing was asked.
pub(super) fn part(header: &str, size: u64) -> Result<Part, Failure> {
    let Some(ranges) = header.trim().strip_prefix("bytes=") else { return Ok(Part::All) };
    let mut found = None;
    for (index, range) in ranges.split(',').map(str::trim).filter(|range| !range.is_empty()).enumerate() {
        if index == RANGES_MAX {
            return Err(Failure::bad_request(format!("more than {RANGES_MAX} ranges are asked for at once")));
        }
        let one =
            one(range, size).ok_or_else(|| Failure::bad_request("invalid range request: invalid range"))?;
        found = found.or(one);
    }
    Ok(match found {
        Some((first, length)) => Part::Some { first, length },
        // Nothing of nothing is all of it.
        None if size == 0 => Part::All,
        None => Part::Outside,
    })
}

/// One range: `None` if it is none, inside `None` if it lies outside.
#[expect(clippy::option_option, reason = "a range that lies outside is still a range")]
fn one(range: &str, size: u64) -> Option<Option<(u64, u64)>> {
    let (first, last) = range.split_once('-')?;
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // What is too large for a number is larger than any content.
        digits.then(|| text.parse().unwrap_or(u64::MAX))
    };
    let (first, last) = (first.trim(), last.trim());
    if first.is_empty() {
        let length = number(last)?.min(size);
        return Some((length > 0).then_some((size - length, length)));
    }
    let first = number(first)?;
    let last = if last.is_empty() { u64::MAX } else { number(last)? };
    if last < first {
        return None;
    }
    Some((first < size).then(|| (first, last.min(size - 1) - first + 1)))
}

impl Part {
    /// The bytes of content of `size`: the first, and how many.
    pub(super) fn bytes(self, size: u64) -> (u64, u64) {
        match self {
            Self::All => (0, size),
            Self::Some { first, length } => (first, length),
            Self::Outside => (0, 0),
        }
    }

    /// Says what comes; the status that goes with it.
    pub(super) fn describe(self, size: u64, headers: &mut HeaderMap) -> StatusCode {
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        match self {
            Self::All => StatusCode::OK,
            Self::Some { first, length } => {
                put(headers, CONTENT_RANGE, format!("bytes {first}-{}/{size}", first + length.max(1) - 1));
                StatusCode::PARTIAL_CONTENT
            }
            Self::Outside => {
                put(headers, CONTENT_RANGE, format!("bytes */{size}"));
                StatusCode::RANGE_NOT_SATISFIABLE
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_to_what_there_is() {
        let some = |first, length| Part::Some { first, length };
        for (header, expected) in [
            ("bytes=0-0", some(0, 1)),
            ("bytes=6-16", some(6, 4)),
            ("bytes=3-", some(3, 7)),
            ("bytes=-3", some(7, 3)),
            ("bytes=-99", some(0, 10)),
            ("bytes=10-", Part::Outside),
            ("bytes=-0", Part::Outside),
            ("bytes=20-30, 2-3, 4-5", some(2, 2)),
            ("bytes=9-99999999999999999999999", some(9, 1)),
            ("items=1-2", Part::All),
        ] {
            assert_eq!(part(header, 10).ok(), Some(expected), "{header}");
        }
        assert_eq!(part("bytes=0-", 0).ok(), Some(Part::All));
        for header in
            ["bytes=x-", "bytes=3-2", "bytes=-", "bytes=5", "bytes=--5", "bytes=+1-2", "bytes=1-2-3"]
        {
            assert!(part(header, 10).is_err(), "{header}");
        }
        let many = format!("bytes={}", "1-2,".repeat(RANGES_MAX + 1));
        assert!(part(&many, 10).is_err());
    }
}
