//! In which form content is wanted: `?format=`, else `Accept`.

use http::header::{ACCEPT, HeaderMap};

use super::failure::Failure;
use super::url::Query;

/// A form that is asked for by its name. Without one, files, listings and documents come as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Raw,
    Car,
    Tar,
    Json,
    Cbor,
    DagJson,
    DagCbor,
    IpnsRecord,
}

impl Format {
    const ALL: [Self; 8] = [
        Self::Raw,
        Self::Car,
        Self::Tar,
        Self::Json,
        Self::Cbor,
        Self::DagJson,
        Self::DagCbor,
        Self::IpnsRecord,
    ];

    /// What `?format=` says.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Car => "car",
            Self::Tar => "tar",
            Self::Json => "json",
            Self::Cbor => "cbor",
            Self::DagJson => "dag-json",
            Self::DagCbor => "dag-cbor",
            Self::IpnsRecord => "ipns-record",
        }
    }

    /// What `Accept` and `Content-Type` say.
    pub(super) fn media_type(self) -> &'static str {
        match self {
            Self::Raw => "application/vnd.ipld.raw",
            Self::Car => "application/vnd.ipld.car",
            Self::Tar => "application/x-tar",
            Self::Json => "application/json",
            Self::Cbor => "application/cbor",
            Self::DagJson => "application/vnd.ipld.dag-json",
            Self::DagCbor => "application/vnd.ipld.dag-cbor",
            Self::IpnsRecord => "application/vnd.ipfs.ipns-record",
        }
    }

    /// Whether what comes can be checked without trust in who sends it.
    pub(super) fn is_trustless(self) -> bool {
        matches!(self, Self::Raw | Self::Car | Self::IpnsRecord)
    }
}

/// What was asked for, and where.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Nothing in particular if there is none.
    pub(super) format: Option<Format>,
    /// Parameters of the media type, such as `order=dfs`.
    pub(super) params: Vec<(String, String)>,
    /// Whether `Accept` alone says so, so that the URL does not name what comes.
    pub(super) by_accept: bool,
}

impl Wanted {
    /// Reads a request. `?format=` counts more than `Accept`, whose parameters still hold for the same format.
    pub(super) fn read(query: &Query, headers: &HeaderMap) -> Result<Self, Failure> {
        let named =
            query.get("format").and_then(|name| Format::ALL.into_iter().find(|format| format.name() == name));
        let accepted = accepted(headers);
        match (named, accepted) {
            (Some(format), Some((Some(other), params))) if format == other => {
                Ok(Self { format: Some(format), params, by_accept: false })
            }
            (Some(format), _) => Ok(Self { format: Some(format), params: Vec::new(), by_accept: false }),
            (None, Some((Some(format), params))) => {
                Ok(Self { format: Some(format), params, by_accept: true })
            }
            (None, Some((None, _))) => Err(Failure::bad_request(
                "the Accept header asks for a format that is not supported: ask for raw, car, tar, dag-json, dag-cbor, \
                 json, cbor or ipns-record",
            )),
            (None, None) => Ok(Self::default()),
        }
    }

    /// A parameter of the media type.
    pub(super) fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }
}

/// Parameters of a media type, by name.
type Params = Vec<(String, String)>;

/// A range of media types that a client takes.
#[derive(Debug)]
struct Accepted {
    media_type: String,
    params: Params,
    /// In thousandths.
    weight: u16,
}

/// The format that `Accept` names with the greatest weight, the first of equals; a name of ours that nobody knows is `None`.
/// Web pages are what a browser asks for before all else, and no format.
fn accepted(headers: &HeaderMap) -> Option<(Option<Format>, Params)> {
    let mut best: Option<(Accepted, Option<Format>)> = None;
    let mut page_weight = 0;
    for header in headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()) {
        for accepted in header.split(',').map(Accepted::parse).filter(|accepted| accepted.weight > 0) {
            let name = accepted.media_type.as_str();
            if name == "text/html" {
                page_weight = page_weight.max(accepted.weight);
            }
            let format = Format::ALL.into_iter().find(|format| format.media_type() == name);
            let is_ours =
                name.starts_with("application/vnd.ipld.") || name.starts_with("application/vnd.ipfs.");
            let is_better = best.as_ref().is_none_or(|(best, _)| best.weight < accepted.weight);
            if (format.is_some() || is_ours) && is_better {
                best = Some((accepted, format));
            }
        }
    }
    best.filter(|(best, _)| best.weight >= page_weight).map(|(best, format)| (format, best.params))
}

/// A weight from 0 to 1, of which three decimals count (RFC 9110, section 12.4.2), in thousandths.
fn thousandths(weight: &str) -> Option<u16> {
    let (whole, decimals) = weight.split_once('.').unwrap_or((weight, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(decimals) {
        return None;
    }
    let decimals: String = decimals.chars().chain("000".chars()).take(3).collect();
    let sum = 1000 * whole.parse::<u16>().ok().filter(|whole| *whole <= 1)? + decimals.parse::<u16>().ok()?;
    (sum <= 1000).then_some(sum)
}

impl Accepted {
    fn parse(text: &str) -> Self {
        let mut parts = text.split(';');
        let media_type = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
        let (mut params, mut weight) = (Vec::new(), 1000);
        for part in parts {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let (name, value) = (name.trim().to_ascii_lowercase(), value.trim().trim_matches('"'));
            if name == "q" {
                weight = thousandths(value).unwrap_or(1000);
            } else if !name.is_empty() {
                params.push((name, value.to_owned()));
            }
        }
        Self { media_type, params, weight }
    }
}

/// Whether a client reads web pages.
pub(super) fn reads_html(headers: &HeaderMap) -> bool {
    let mut accept = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accept.any(|value| value.to_ascii_lowercase().contains("text/html"))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(query: &str, accept: &'static str) -> Result<Wanted, Failure> {
        let mut headers = HeaderMap::new();
        if !accept.is_empty() {
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
        }
        Wanted::read(&Query::new(query), &headers)
    }

    fn format(query: &str, accept: &'static str) -> Option<Format> {
        read(query, accept).unwrap().format
    }

    #[test]
    fn the_query_counts_more_than_the_header() {
        assert_eq!(format("format=raw", "application/vnd.ipld.car"), Some(Format::Raw));
        assert_eq!(format("", "application/vnd.ipld.car; order=dfs"), Some(Format::Car));
        assert_eq!(format("format=nonsense", "application/vnd.ipld.raw"), Some(Format::Raw));
        assert_eq!(format("", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"), None);
        assert_eq!(format("", ""), None);
        assert!(read("", "application/vnd.ipld.nonsense").is_err());
        let wanted = read("format=car", "application/vnd.ipld.car;version=1; dups=\"y\"").unwrap();
        assert_eq!(
            (wanted.param("version"), wanted.param("dups"), wanted.by_accept),
            (Some("1"), Some("y"), false)
        );
        assert_eq!(read("format=raw", "application/vnd.ipld.car;version=1").unwrap().params, []);
    }

    #[test]
    fn weights_are_kept() {
        let weighted = "application/vnd.ipld.dag-json;q=0.1, application/vnd.ipld.car;q=0.2";
        assert_eq!(format("", weighted), Some(Format::Car));
        assert_eq!(format("", "application/vnd.ipld.raw, application/vnd.ipld.car"), Some(Format::Raw));
        assert_eq!(format("", "application/vnd.ipld.raw;q=0"), None);
        assert_eq!(format("", "text/html, application/json;q=0.5"), None);
        assert_eq!(format("", "application/json, text/html"), Some(Format::Json));
    }
}
