//! The head of a request: the line and the headers.

use bytes::BytesMut;
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http::{HeaderMap, Method, Request, StatusCode, Uri, Version};
use memchr::memmem;

use super::Limits;
use super::framing::Framing;

/// The head of a request, and what it says about the connection.
#[derive(Debug)]
pub(super) struct Head {
    /// Without a body.
    pub(super) request: Request<()>,
    pub(super) framing: Framing,
    /// Whether the client is ready for another request on this connection.
    pub(super) keep_alive: bool,
    /// Whether the client waits for "100 Continue" before it sends its body.
    pub(super) expects_continue: bool,
}

/// Why there is no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadHead(pub(super) StatusCode, pub(super) &'static str);

const MALFORMED: BadHead = BadHead(StatusCode::BAD_REQUEST, "malformed request");
const FRAMING: BadHead = BadHead(StatusCode::BAD_REQUEST, "the length of the body is not clear");
const TOO_LARGE: BadHead =
    BadHead(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "the head of the request is too large");
const VERSION: BadHead =
    BadHead(StatusCode::HTTP_VERSION_NOT_SUPPORTED, "only HTTP/1.0 and HTTP/1.1 are spoken");

/// Takes a head out of the buffer; `None` if it is not there as a whole.
///
/// A head that comes byte by byte is not parsed at every byte: only the first time, which tells what is no HTTP at all, and
/// when its end may be there.
pub(super) fn take(buffer: &mut BytesMut, first: bool, limits: &Limits) -> Result<Option<Head>, BadHead> {
    if !first && buffer.len() < limits.head_bytes_max && memmem::find(buffer, b"\r\n\r\n").is_none() {
        return Ok(None);
    }
    let mut headers = vec![httparse::EMPTY_HEADER; limits.headers_max];
    let mut parsed = httparse::Request::new(&mut headers);
    let len = match parsed.parse(buffer) {
        Ok(httparse::Status::Complete(len)) if len <= limits.head_bytes_max => len,
        Ok(httparse::Status::Partial) if buffer.len() < limits.head_bytes_max => return Ok(None),
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(TOO_LARGE),
        Err(httparse::Error::Version) => return Err(VERSION),
        Err(_) => return Err(MALFORMED),
    };
    let mut request = Request::new(());
    *request.method_mut() =
        parsed.method.and_then(|method| Method::from_bytes(method.as_bytes()).ok()).ok_or(MALFORMED)?;
    *request.uri_mut() = uri(parsed.path.unwrap_or_default()).ok_or(MALFORMED)?;
    *request.version_mut() = if parsed.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
    for header in parsed.headers.iter() {
        let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|_| MALFORMED)?;
        let value = HeaderValue::from_bytes(header.value).map_err(|_| MALFORMED)?;
        request.headers_mut().append(name, value);
    }
    let head = buffer.split_to(len);
    // The parser takes a lone LF for the end of a line; others do not.
    if memchr::memchr_iter(b'\n', &head)
        .any(|at| at.checked_sub(1).and_then(|at| head.get(at)) != Some(&b'\r'))
    {
        return Err(MALFORMED);
    }
    let (is_new, headers) = (request.version() == Version::HTTP_11, request.headers());
    // Whom a request is for must be clear: rules about hosts rest on it.
    let hosts = headers.get_all(HOST).iter().count();
    if hosts > 1 || (hosts == 0 && is_new) {
        return Err(BadHead(StatusCode::BAD_REQUEST, "one Host header is required"));
    }
    let framing = framing(headers, is_new)?;
    let keep_alive = if is_new { !has(headers, "close") } else { has(headers, "keep-alive") };
    let is_continue = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    if headers.get_all(EXPECT).iter().any(|value| !is_continue(value)) {
        return Err(BadHead(StatusCode::EXPECTATION_FAILED, "only 100-continue can be expected"));
    }
    let expects_continue = is_new && headers.contains_key(EXPECT);
    Ok(Some(Head { request, framing, keep_alive, expects_continue }))
}

/// A path with its query, or a whole URI, of which the path counts.
fn uri(text: &str) -> Option<Uri> {
    text.parse().ok()
}

/// How the end of the body is known. Where two ways contradict each other, somebody is being fooled.
fn framing(headers: &HeaderMap, is_new: bool) -> Result<Framing, BadHead> {
    let mut encodings = headers.get_all(TRANSFER_ENCODING).iter();
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    if let Some(encoding) = encodings.next() {
        let only = encodings.next().is_none() && lengths.next().is_none();
        return if only && is_new && encoding.as_bytes().eq_ignore_ascii_case(b"chunked") {
            Ok(Framing::CHUNKED)
        } else {
            Err(FRAMING)
        };
    }
    let Some(length) = lengths.next() else { return Ok(Framing::Done) };
    let digits = length.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let length = digits.and_then(|text| text.parse().ok()).ok_or(FRAMING)?;
    match (lengths.next(), length) {
        (Some(_), _) => Err(FRAMING),
        (None, 0) => Ok(Framing::Done),
        (None, length) => Ok(Framing::Length(length)),
    }
}

/// Whether `Connection` lists a word.
fn has(headers: &HeaderMap, word: &str) -> bool {
    let values = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|token| token.trim().eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Option<Head>, BadHead> {
        take(&mut BytesMut::from(text), true, &Limits::default())
    }

    fn head(text: &str) -> Head {
        parse(text).unwrap().unwrap()
    }

    #[test]
    fn a_head_is_read_and_the_rest_is_left() {
        let mut buffer =
            BytesMut::from("POST /api/v0/id?arg=a%20b HTTP/1.1\r\nHost: x\r\nA: 1\r\na: 2\r\n\r\nbody");
        let head = take(&mut buffer, true, &Limits::default()).unwrap().unwrap();
        assert_eq!(buffer, "body");
        assert_eq!(head.request.method(), Method::POST);
        assert_eq!(head.request.uri().path(), "/api/v0/id");
        assert_eq!(head.request.uri().query(), Some("arg=a%20b"));
        assert_eq!(head.request.headers().get_all("a").iter().count(), 2);
        assert_eq!((head.framing, head.keep_alive, head.expects_continue), (Framing::Done, true, false));
        assert!(parse("POST / HTTP/1.1\r\nHost: x\r\n").unwrap().is_none());
    }

    #[test]
    fn what_a_connection_does_next_is_asked_of_it() {
        assert!(!head("GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, Close\r\n\r\n").keep_alive);
        assert!(!head("GET / HTTP/1.0\r\n\r\n").keep_alive);
        assert!(head("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").keep_alive);
        assert!(head("GET / HTTP/1.1\r\nHost: x\r\nExpect: 100-Continue\r\n\r\n").expects_continue);
    }

    #[test]
    fn a_body_has_one_clear_end() {
        let framing = |lines: &str| {
            parse(&format!("POST / HTTP/1.1\r\nHost: x\r\n{lines}\r\n")).map(|head| head.unwrap().framing)
        };
        assert_eq!(framing("Content-Length: 5\r\n"), Ok(Framing::Length(5)));
        assert_eq!(framing("Content-Length: 0\r\n"), Ok(Framing::Done));
        assert_eq!(framing("Transfer-Encoding: Chunked\r\n"), Ok(Framing::CHUNKED));
        for lines in [
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: identity\r\n",
            "Content-Length: +5\r\n",
            "Content-Length: 5, 5\r\n",
            "Content-Length: 99999999999999999999\r\n",
            "Content-Length:\r\n",
        ] {
            assert_eq!(framing(lines), Err(FRAMING), "{lines:?}");
        }
    }

    #[test]
    fn heads_that_are_none_are_refused() {
        let status = |text: &str| parse(text).unwrap_err().0.as_u16();
        assert_eq!(status("POST / HTTP/1.1\r\n\r\n"), 400, "no Host");
        assert_eq!(status("POST / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"), 400);
        assert_eq!(status("POST / HTTP/2.0\r\nHost: a\r\n\r\n"), 505);
        assert_eq!(status("\x16\x03\x01\x02"), 400, "TLS");
        assert_eq!(status("POST  HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
        assert_eq!(status("POST / HTTP/1.1\nHost: a\n\n"), 400, "lone line feeds");
        assert_eq!(status("POST / HTTP/1.1\r\nHost: a\nB: c\r\n\r\n"), 400);
        assert_eq!(status("POST / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\n\r\n"), 417);
        let many = "A: b\r\n".repeat(Limits::default().headers_max + 1);
        assert_eq!(status(&format!("POST / HTTP/1.1\r\n{many}\r\n")), 431);
        let long = "x".repeat(Limits::default().head_bytes_max);
        assert_eq!(status(&format!("POST /{long}")), 431);
    }
}
