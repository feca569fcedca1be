//! Requests of web pages: which other origins may ask, and what their browsers are told.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, HeaderName,
    HeaderValue, ORIGIN, REFERER, USER_AGENT, VARY,
};
use http::{HeaderMap, Method, Request, Uri};

use crate::http::Peer;

/// Origins that are always allowed, beside those of this machine: ipfs-companion, and its beta.
const COMPANIONS: [&str; 2] = [
    "chrome-extension://nibjojkomfdiaoajekhjakgkdhaomnch",
    "chrome-extension://hjoieblefckbooibpepigmacodalfndh",
];
/// Hosts whose origins with our own port are always allowed.
const LOCAL_HOSTS: [&str; 3] = ["127.0.0.1", "[::1]", "localhost"];
/// Headers that pages may set. `Authorization` is ours: `API.Authorizations` could not be used by pages else.
const REQUEST_HEADERS: [&str; 6] =
    ["origin", "accept", "content-type", "x-requested-with", "authorization", "range"];

/// What is allowed to other origins.
#[derive(Debug, Clone)]
pub(super) struct Cors {
    origins: Vec<String>,
    methods: Vec<String>,
    headers: Vec<String>,
    with_credentials: bool,
}

impl Cors {
    /// From the values of the `Access-Control-Allow-*` headers in the config.
    pub(super) fn new(
        origins: &[String],
        methods: &[String],
        headers: &[String],
        credentials: &[String],
    ) -> Self {
        let list = |values: &[String]| -> Vec<String> {
            let words = values.iter().flat_map(|value| value.split(','));
            words.map(|word| word.trim().to_owned()).filter(|word| !word.is_empty()).collect()
        };
        let methods = list(methods).iter().map(|method| method.to_ascii_uppercase()).collect::<Vec<_>>();
        Self {
            origins: list(origins),
            methods: if methods.is_empty() { vec!["POST".to_owned()] } else { methods },
            headers: list(headers),
            with_credentials: credentials.iter().any(|value| value.eq_ignore_ascii_case("true")),
        }
    }

    fn allows(&self, origin: &str, port: Option<u16>) -> bool {
        let port_text = port.map(|port| port.to_string());
        let is_local = port_text.as_ref().is_some_and(|port| {
            let place = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
            let host = place.and_then(|place| place.strip_suffix(port.as_str())?.strip_suffix(':'));
            host.is_some_and(|host| LOCAL_HOSTS.contains(&host))
        });
        is_local
            || COMPANIONS.contains(&origin)
            || self.origins.iter().any(|allowed| {
                allowed == "*"
                    || allowed == origin
                    || port_text.as_ref().is_some_and(|port| allowed.replace("<port>", port) == origin)
            })
    }

    /// Whether a request may be answered at all, as far as it says where it comes from. Browsers say so, programs do not.
    pub(super) fn admits<B>(&self, request: &Request<B>) -> bool {
        let (headers, port) = (request.headers(), port_of(request));
        let (origin, referer) = (text(headers, &ORIGIN), text(headers, &REFERER));
        if !origin.is_empty() && !self.allows(&origin, port) {
            return false;
        }
        if !referer.is_empty() && !origin_of(&referer).is_some_and(|origin| self.allows(&origin, port)) {
            return false;
        }
        // A browser that does not say from where it comes.
        let agent = text(headers, &USER_AGENT);
        !(origin.is_empty()
            && referer.is_empty()
            && agent.starts_with("Mozilla")
            && !agent.contains("Electron"))
    }

    /// What a browser asks before it sends the request of a page.
    pub(super) fn preflight<B>(&self, request: &Request<B>) -> HeaderMap {
        let mut answer = HeaderMap::new();
        answer.insert(
            VARY,
            HeaderValue::from_static("Origin, Access-Control-Request-Method, Access-Control-Request-Headers"),
        );
        let headers = request.headers();
        let method = text(headers, &ACCESS_CONTROL_REQUEST_METHOD).to_ascii_uppercase();
        let asked = text(headers, &ACCESS_CONTROL_REQUEST_HEADERS);
        let known = |name: &str| {
            let is_it = |known: &str| known == "*" || known.eq_ignore_ascii_case(name);
            REQUEST_HEADERS.iter().any(|known| is_it(known)) || self.headers.iter().any(|known| is_it(known))
        };
        let all_known = asked.split(',').map(str::trim).filter(|name| !name.is_empty()).all(known);
        if self.answer_origin(request, &method, &mut answer) && all_known {
            put(&mut answer, ACCESS_CONTROL_ALLOW_METHODS, &method);
            if !asked.is_empty() {
                put(&mut answer, ACCESS_CONTROL_ALLOW_HEADERS, &asked);
            }
        } else {
            answer.remove(ACCESS_CONTROL_ALLOW_ORIGIN);
            answer.remove(ACCESS_CONTROL_ALLOW_CREDENTIALS);
        }
        answer
    }

    /// Adds to an answer what lets a page of an allowed origin read it.
    pub(super) fn decorate<B>(&self, request: &Request<B>, answer: &mut HeaderMap) {
        answer.insert(VARY, HeaderValue::from_static("Origin"));
        self.answer_origin(request, request.method().as_str(), answer);
    }

    fn answer_origin<B>(&self, request: &Request<B>, method: &str, answer: &mut HeaderMap) -> bool {
        let origin = text(request.headers(), &ORIGIN);
        if origin.is_empty() || !self.allows(&origin, port_of(request)) {
            return false;
        }
        if method != Method::OPTIONS.as_str() && !self.methods.iter().any(|allowed| allowed == method) {
            return false;
        }
        let is_open = self.origins.iter().any(|allowed| allowed == "*");
        put(answer, ACCESS_CONTROL_ALLOW_ORIGIN, if is_open { "*" } else { &origin });
        if self.with_credentials {
            put(answer, ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
        }
        true
    }
}

/// Whether a browser asks what it may send.
pub(super) fn is_preflight<B>(request: &Request<B>) -> bool {
    *request.method() == Method::OPTIONS
        && !text(request.headers(), &ACCESS_CONTROL_REQUEST_METHOD).is_empty()
}

/// The port that the request came to.
fn port_of<B>(request: &Request<B>) -> Option<u16> {
    match request.extensions().get::<Peer>() {
        Some(Peer::Tcp { local, .. }) => Some(local.port()),
        Some(Peer::Unix) | None => None,
    }
}

/// The origin that a URL belongs to.
fn origin_of(url: &str) -> Option<String> {
    let uri: Uri = url.split('#').next()?.parse().ok()?;
    Some(format!("{}://{}", uri.scheme_str()?, uri.authority()?))
}

fn text(headers: &HeaderMap, name: &HeaderName) -> String {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).unwrap_or_default()
}

fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, headers: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::builder().method(method).uri("/api/v0/id");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let local = "127.0.0.1:5001".parse().unwrap();
        request.extension(Peer::Tcp { remote: local, local }).body(()).unwrap()
    }

    fn cors(origins: &[&str]) -> Cors {
        Cors::new(&origins.iter().map(|origin| (*origin).to_owned()).collect::<Vec<_>>(), &[], &[], &[])
    }

    #[test]
    fn pages_of_this_machine_are_admitted_at_our_own_port_alone() {
        let admits = |headers: &[(&str, &str)]| cors(&[]).admits(&request("POST", headers));
        for origin in [
            "http://127.0.0.1:5001",
            "https://localhost:5001",
            "http://[::1]:5001",
            "chrome-extension://nibjojkomfdiaoajekhjakgkdhaomnch",
        ] {
            assert!(admits(&[("origin", origin)]), "{origin}");
        }
        for origin in [
            "http://evil.example",
            "http://localhost:3000",
            "http://localhost",
            "http://127.0.0.1:15001",
            "null",
            "http://localhost:5001.evil.example",
            "ftp://localhost:5001",
            "http://evil.example:5001",
        ] {
            assert!(!admits(&[("origin", origin)]), "{origin}");
        }
        assert!(admits(&[("referer", "http://localhost:5001/webui?x#y")]));
        assert!(!admits(&[("referer", "http://evil.example/page")]));
        assert!(!admits(&[("referer", "not a url")]));
        assert!(!admits(&[("origin", "http://localhost:5001"), ("referer", "http://evil.example/")]));
    }

    #[test]
    fn browsers_that_hide_where_they_come_from_are_not_admitted() {
        let admits = |headers: &[(&str, &str)]| cors(&[]).admits(&request("POST", headers));
        assert!(admits(&[]));
        assert!(admits(&[("user-agent", "curl/8")]));
        assert!(!admits(&[("user-agent", "Mozilla/5.0 (X11)")]));
        assert!(admits(&[("user-agent", "Mozilla/5.0 Electron/30")]));
        assert!(admits(&[("user-agent", "Mozilla/5.0"), ("origin", "http://localhost:5001")]));
        assert!(!cors(&[]).admits(&request("GET", &[("user-agent", "Mozilla/5.0")])));
    }

    #[test]
    fn the_config_opens_it_to_other_origins() {
        let origin = [("origin", "http://localhost:3000")];
        assert!(cors(&["http://localhost:3000"]).admits(&request("POST", &origin)));
        assert!(cors(&["*"]).admits(&request("POST", &origin)));
        assert!(
            cors(&["http://my.example:<port>"])
                .admits(&request("POST", &[("origin", "http://my.example:5001")]))
        );
        let mut answer = HeaderMap::new();
        cors(&["http://localhost:3000"]).decorate(&request("POST", &origin), &mut answer);
        assert_eq!(answer[ACCESS_CONTROL_ALLOW_ORIGIN], "http://localhost:3000");
        assert_eq!(answer[VARY], "Origin");
        let mut answer = HeaderMap::new();
        cors(&[]).decorate(&request("POST", &origin), &mut answer);
        assert_eq!(
            (answer.get(ACCESS_CONTROL_ALLOW_ORIGIN), &answer[VARY]),
            (None, &HeaderValue::from_static("Origin"))
        );
    }

    #[test]
    fn a_preflight_says_what_may_be_sent() {
        let origin = ("origin", "http://app.example");
        let ask = |cors: &Cors, method, headers| {
            let asked = [
                origin,
                ("access-control-request-method", method),
                ("access-control-request-headers", headers),
            ];
            let request = request("OPTIONS", &asked);
            assert!(is_preflight(&request));
            cors.preflight(&request)
        };
        let all = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>();
        let open = Cors::new(
            &all(&["http://app.example"]),
            &all(&["PUT, POST"]),
            &all(&["X-Mine"]),
            &all(&["true"]),
        );
        let answer = ask(&open, "POST", "authorization, x-mine");
        assert_eq!(answer[ACCESS_CONTROL_ALLOW_METHODS], "POST");
        assert_eq!(answer[ACCESS_CONTROL_ALLOW_HEADERS], "authorization, x-mine");
        assert_eq!(answer[ACCESS_CONTROL_ALLOW_CREDENTIALS], "true");
        for answer in [ask(&open, "DELETE", ""), ask(&open, "POST", "x-other"), ask(&cors(&[]), "POST", "")] {
            assert!(
                answer.get(ACCESS_CONTROL_ALLOW_ORIGIN).is_none()
                    && answer.get(ACCESS_CONTROL_ALLOW_METHODS).is_none()
            );
        }
        assert!(!is_preflight(&request("OPTIONS", &[])));
    }
}
