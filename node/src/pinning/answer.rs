//! What services answer: statuses of pins, pages of them, failures. Services differ in small things, which are taken as they
//! are meant.

use holdfast_dag::cid::{Cid, parse_cid};
use libp2p::Multiaddr;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

/// Pins of a page (the API's bound).
pub(super) const PINS_MAX: usize = 1000;
/// Delegates of a pin (the API's bound).
const DELEGATES_MAX: usize = 20;
/// Bytes of a request's ID. The API has no bound; services use UUIDs, CIDs and numbers.
const ID_BYTES_MAX: usize = 1024;

/// What may stand in a path as it is.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// How far a service is with a pin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PinState {
    /// It waits for its turn.
    Queued,
    /// It is being fetched.
    Pinning,
    /// It is kept.
    Pinned,
    /// The service gave up.
    Failed,
}

impl PinState {
    /// All of them, in the API's order.
    pub const ALL: [Self; 4] = [Self::Queued, Self::Pinning, Self::Pinned, Self::Failed];

    /// The API's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Pinning => "pinning",
            Self::Pinned => "pinned",
            Self::Failed => "failed",
        }
    }

    /// From the API's word.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.word() == word)
    }
}

/// What a service calls a request to pin. It means nothing to anybody else. Never empty, at most 1 KiB.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RequestId(String);

impl RequestId {
    fn of(text: String) -> Result<Self, String> {
        // What servers take for something else than a name cannot be asked for.
        if text.is_empty() || text.len() > ID_BYTES_MAX || matches!(text.as_str(), "." | "..") {
            return Err("the ID of a request is empty, or cannot be one".to_owned());
        }
        Ok(Self(text))
    }

    /// As the service has it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As a segment of a path.
    pub(super) fn segment(&self) -> String {
        utf8_percent_encode(&self.0, SEGMENT).to_string()
    }
}

/// A pin at a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemotePin {
    /// The request that made it.
    pub request: RequestId,
    /// How far it is.
    pub state: PinState,
    /// What is pinned, with all that it links to.
    pub cid: Cid,
    /// Its name, or nothing.
    pub name: String,
    /// When it was made, as the service writes it: what a list is paged by. Empty where the service does not say.
    pub created: String,
    /// Peers that the service would like to be connected to. At most 20; what is no multiaddr is left out.
    pub delegates: Vec<Multiaddr>,
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// How many pins match in all, as far as this page's question goes.
    pub count: u64,
    /// The newest of them.
    pub pins: Vec<RemotePin>,
}

#[derive(Deserialize)]
struct StatusWire {
    requestid: Option<String>,
    /// As some services write it.
    #[serde(rename = "requestId")]
    request_id: Option<String>,
    status: String,
    created: Option<String>,
    pin: PinWire,
    delegates: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct PinWire {
    cid: String,
    name: Option<String>,
}

#[derive(Deserialize)]
struct PageWire {
    count: u64,
    results: Option<Vec<StatusWire>>,
}

#[derive(Deserialize)]
struct FailureWire {
    error: FailureError,
}

#[derive(Deserialize)]
struct FailureError {
    reason: String,
    details: Option<String>,
}

/// Reads the status of a pin. The error says what is wrong.
pub(super) fn pin(body: &[u8]) -> Result<RemotePin, String> {
    remote_pin(serde_json::from_slice(body).map_err(|error| error.to_string())?)
}

/// Reads a page.
pub(super) fn page(body: &[u8]) -> Result<Page, String> {
    let page: PageWire = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let results = page.results.unwrap_or_default();
    if results.len() > PINS_MAX {
        return Err(format!("a page holds {} pins, and may hold {PINS_MAX}", results.len()));
    }
    let pins = results.into_iter().map(remote_pin).collect::<Result<Vec<_>, _>>()?;
    Ok(Page { count: page.count, pins })
}

/// Reads why a service refuses: reason and details.
pub(super) fn failure(body: &[u8]) -> Option<(String, String)> {
    let failure: FailureWire = serde_json::from_slice(body).ok()?;
    Some((failure.error.reason, failure.error.details.unwrap_or_default()))
}

fn remote_pin(wire: StatusWire) -> Result<RemotePin, String> {
    let request = RequestId::of(wire.requestid.or(wire.request_id).unwrap_or_default())?;
    let state = PinState::of_word(&wire.status.to_ascii_lowercase());
    let state = state.ok_or("the status of a pin is none of queued, pinning, pinned, failed")?;
    let cid =
        parse_cid(&wire.pin.cid).map_err(|error| format!("the CID of a pin cannot be read: {error}"))?;
    let delegates = wire.delegates.unwrap_or_default();
    let delegates = delegates.iter().take(DELEGATES_MAX).filter_map(|text| text.parse().ok()).collect();
    let (name, created) = (wire.pin.name.unwrap_or_default(), wire.created.unwrap_or_default());
    Ok(RemotePin { request, state, cid, name, created, delegates })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const CID: &str = "bafkreiafdxaehozptg73zud3kraoqdyc4vg2jzpwad26m4cnwj4gopmshm";

    fn read(value: &Value) -> Result<RemotePin, String> {
        pin(value.to_string().as_bytes())
    }

    #[test]
    fn what_services_write_differently_is_understood() {
        let plain = json!({
            "requestid": "a/b", "status": "queued", "created": "2026-01-02T03:04:05.6Z",
            "pin": { "cid": CID, "name": "n", "meta": { "x": "y" } },
            "delegates": ["/ip4/127.0.0.1/tcp/1", "rubbish"], "info": { "more": "here" },
        });
        let pin = read(&plain).unwrap();
        assert_eq!((pin.request.as_str(), pin.request.segment().as_str()), ("a/b", "a%2Fb"));
        assert_eq!((pin.state, pin.name.as_str(), pin.delegates.len()), (PinState::Queued, "n", 1));
        let bare = json!({ "requestId": "7", "status": "PINNED", "pin": { "cid": CID, "name": null } });
        let pin = read(&bare).unwrap();
        assert_eq!((pin.state, pin.name.as_str(), pin.created.as_str()), (PinState::Pinned, "", ""));
        assert_eq!(page(br#"{"count":0,"results":null}"#).unwrap().pins.len(), 0, "as Go writes no list");
    }

    #[test]
    fn what_is_not_the_api_is_refused() {
        let good = json!({ "requestid": "1", "status": "pinned", "pin": { "cid": CID } });
        assert!(read(&good).is_ok());
        for (pointer, value) in [
            ("/requestid", json!("")),
            ("/requestid", json!("..")),
            ("/requestid", json!("x".repeat(ID_BYTES_MAX + 1))),
            ("/requestid", json!(7)),
            ("/status", json!("lost")),
            ("/pin/cid", json!("zzz")),
            ("/pin", json!([])),
        ] {
            let mut bad = good.clone();
            *bad.pointer_mut(pointer).unwrap() = value;
            assert!(read(&bad).is_err(), "{bad}");
        }
        assert!(page(br#"{"count":-1,"results":[]}"#).is_err());
        assert!(page(b"<html>").is_err());
        let many = vec![good; PINS_MAX + 1];
        assert!(page(json!({ "count": 1, "results": many }).to_string().as_bytes()).is_err());
        assert!(page(&b"[".repeat(100_000)).is_err(), "depth is bounded");
    }
}
