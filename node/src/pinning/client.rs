//! The requests of the API, one connection each.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use holdfast_dag::cid::Cid;
use http::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER, USER_AGENT,
};
use http::{Method, Request, StatusCode, Uri};
use libp2p::Multiaddr;
use serde_json::{Map, Value};
use tokio::time::{sleep, timeout};

use super::answer::{self, PINS_MAX, Page, PinState, RemotePin, RequestId};
use super::error::{PinningError, Refusal, words};
use crate::config::{RemoteAccess, RemoteServiceError};
use crate::http::client::Connection;
use crate::http::{Incoming, Remote};
use crate::identify::AGENT_VERSION;

/// How long one request may take, its answer included.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(30);
/// Bytes of an answer: a page of 1,000 pins with all that they may say of themselves.
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// Bytes of a refusal.
const REFUSAL_BYTES_MAX: usize = 64 << 10;
/// The longest wait that a service is granted before it is asked again.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often one request is made while the service asks for patience.
const ATTEMPTS_MAX: u32 = 5;

/// Which pins.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Of these CIDs. None: of any. The API allows 10.
    pub cids: Vec<Cid>,
    /// Of exactly this name.
    pub name: Option<String>,
    /// In these states. None: as the service has it, which is those that are pinned.
    pub states: Vec<PinState>,
}

/// A pin that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPin {
    /// What is to be pinned, with all that it links to.
    pub cid: Cid,
    /// Its name, of at most 255 bytes, or nothing.
    pub name: String,
    /// Addresses, with peers at their ends, where it can be had. The API allows 20.
    pub origins: Vec<Multiaddr>,
}

/// A service. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    remote: Remote,
    /// Path of the service, without a slash at its end.
    base: String,
    key: String,
    authorization: HeaderValue,
    time_max: Duration,
}

/// Without the key.
impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("remote", &self.inner.remote).finish_non_exhaustive()
    }
}

/// An answer that was read.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Client {
    /// A client of a service. It connects to nothing yet.
    pub fn new(access: &RemoteAccess) -> Result<Self, PinningError> {
        Self::with_time_max(access, REQUEST_TIME_MAX)
    }

    pub(super) fn with_time_max(access: &RemoteAccess, time_max: Duration) -> Result<Self, PinningError> {
        let uri: Uri = access.endpoint.parse().map_err(|_| RemoteServiceError::NoUrl)?;
        let (scheme, authority) = uri.scheme_str().zip(uri.authority()).ok_or(RemoteServiceError::NoUrl)?;
        let remote = Remote::parse(&format!("{scheme}://{authority}"));
        let remote = remote.map_err(|_| RemoteServiceError::NoUrl)?;
        let authorization = HeaderValue::from_str(&format!("Bearer {}", access.key));
        let mut authorization = authorization.map_err(|_| PinningError::Key)?;
        authorization.set_sensitive(true);
        let (base, key) = (uri.path().trim_end_matches('/').to_owned(), access.key.clone());
        Ok(Self { inner: Arc::new(Inner { remote, base, key, authorization, time_max }) })
    }

    /// The newest pins that match; those made before a time, if one is given as a pin told it. `limit`: 1 to 1,000.
    pub async fn page(
        &self,
        filter: &Filter,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Page, PinningError> {
        let target = format!("{}/pins?{}", self.inner.base, query(filter, before, limit));
        let body = self.ask(Method::GET, &target, Bytes::new()).await?;
        answer::page(&body).map_err(PinningError::NotTheApi)
    }

    /// Asks for a pin.
    pub async fn add(&self, pin: &NewPin) -> Result<RemotePin, PinningError> {
        self.pin(&format!("{}/pins", self.inner.base), pin).await
    }

    /// Asks for a pin in the place of another, which is gone afterwards. The new one has an ID of its own.
    pub async fn replace(&self, old: &RequestId, pin: &NewPin) -> Result<RemotePin, PinningError> {
        self.pin(&self.target(old), pin).await
    }

    /// How far a pin is.
    pub async fn status(&self, request: &RequestId) -> Result<RemotePin, PinningError> {
        let body = self.ask(Method::GET, &self.target(request), Bytes::new()).await?;
        answer::pin(&body).map_err(PinningError::NotTheApi)
    }

    /// Removes a pin.
    pub async fn remove(&self, request: &RequestId) -> Result<(), PinningError> {
        self.ask(Method::DELETE, &self.target(request), Bytes::new()).await.map(drop)
    }

    fn target(&self, request: &RequestId) -> String {
        format!("{}/pins/{}", self.inner.base, request.segment())
    }

    async fn pin(&self, target: &str, pin: &NewPin) -> Result<RemotePin, PinningError> {
        let body = match self.ask(Method::POST, target, json_of(pin)).await {
            // Some services refuse every pin that says where it is to be had.
            Err(error) if error.status() == Some(StatusCode::BAD_REQUEST) && !pin.origins.is_empty() => {
                tracing::debug!("a pin is asked for once more, without origins: {error}");
                let plain = NewPin { origins: Vec::new(), ..pin.clone() };
                self.ask(Method::POST, target, json_of(&plain)).await
            }
            answered => answered,
        }?;
        answer::pin(&body).map_err(PinningError::NotTheApi)
    }

    /// Asks until there is an answer that is not a plea for patience. What may have been done is not asked for twice.
    async fn ask(&self, method: Method, target: &str, body: Bytes) -> Result<Vec<u8>, PinningError> {
        let mut attempt = 1;
        loop {
            let asking = timeout(self.inner.time_max, self.once(&method, target, body.clone()));
            let answer = asking.await.map_err(|_| PinningError::Slow(self.inner.time_max))??;
            if answer.status.is_success() {
                return Ok(answer.body);
            }
            let told = answer.headers.get(RETRY_AFTER).and_then(retry_after);
            let may_wait = match answer.status {
                StatusCode::TOO_MANY_REQUESTS => true,
                StatusCode::SERVICE_UNAVAILABLE => told.is_some() && method != Method::POST,
                _ => false,
            };
            let wait = told.unwrap_or(Duration::from_secs(1 << attempt.min(4)));
            if !may_wait || wait > PATIENCE || attempt == ATTEMPTS_MAX {
                return Err(self.refusal(&answer, told));
            }
            tracing::debug!("a pinning service takes no more requests for now; asking again in {wait:?}");
            sleep(wait).await;
            attempt += 1;
        }
    }

    async fn once(&self, method: &Method, target: &str, body: Bytes) -> Result<Answer, PinningError> {
        let mut request = Request::builder()
            .method(method.clone())
            .uri(target)
            .header(AUTHORIZATION, self.inner.authorization.clone())
            .header(USER_AGENT, AGENT_VERSION)
            .header(ACCEPT, "application/json");
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let request = request.body(body).map_err(|_| RemoteServiceError::NoUrl)?;
        let connection = Connection::open(&self.inner.remote).await?;
        let (parts, mut incoming) = connection.send(request).await?.into_parts();
        let (status, headers) = (parts.status, parts.headers);
        let body = match (status.is_success(), method) {
            // Nothing is to be learned from it.
            (true, &Method::DELETE) => Vec::new(),
            (true, _) => read(&mut incoming, ANSWER_BYTES_MAX).await?,
            // The status says enough where the reason cannot be read.
            (false, _) => read(&mut incoming, REFUSAL_BYTES_MAX).await.unwrap_or_default(),
        };
        Ok(Answer { status, headers, body })
    }

    fn refusal(&self, answer: &Answer, retry_after: Option<Duration>) -> PinningError {
        let status = answer.status;
        let quoted = |text: &str| words(text, &self.inner.key);
        if status.is_redirection() {
            let location = answer.headers.get(LOCATION).and_then(|value| value.to_str().ok());
            return PinningError::Redirect { location: quoted(location.unwrap_or_default()) };
        }
        let failure = answer::failure(&answer.body);
        let failure = failure.map(|(reason, details)| (quoted(&reason), quoted(&details)));
        PinningError::Refused(Refusal { status, failure, retry_after })
    }
}

/// What is asked for, as a query. Lists have commas between, as Kubo sends them.
fn query(filter: &Filter, before: Option<&str>, limit: usize) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("limit", &limit.clamp(1, PINS_MAX).to_string());
    let list = |words: Vec<String>| Some(words.join(",")).filter(|list| !list.is_empty());
    let cids = list(filter.cids.iter().map(Cid::to_string).collect());
    let states = list(filter.states.iter().map(|state| state.word().to_owned()).collect());
    let values = [
        ("cid", cids.as_deref()),
        ("name", filter.name.as_deref().filter(|name| !name.is_empty())),
        ("status", states.as_deref()),
        ("before", before),
    ];
    for (name, value) in values.iter().filter_map(|(name, value)| Some((*name, (*value)?))) {
        query.append_pair(name, value);
    }
    query.finish()
}

/// Reads a body that must not be longer than this.
async fn read(incoming: &mut Incoming, bytes_max: usize) -> Result<Vec<u8>, PinningError> {
    let mut body = Vec::new();
    while let Some(piece) = incoming.next().await {
        let piece = piece?;
        if body.len() + piece.len() > bytes_max {
            return Err(PinningError::TooLong(bytes_max));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

/// Seconds, or a date.
fn retry_after(value: &HeaderValue) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}

fn json_of(pin: &NewPin) -> Bytes {
    let mut object = Map::new();
    object.insert("cid".to_owned(), pin.cid.to_string().into());
    if !pin.name.is_empty() {
        object.insert("name".to_owned(), pin.name.clone().into());
    }
    if !pin.origins.is_empty() {
        let origins: Vec<Value> = pin.origins.iter().map(|origin| origin.to_string().into()).collect();
        object.insert("origins".to_owned(), origins.into());
    }
    Value::Object(object).to_string().into()
}
