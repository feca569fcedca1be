//! The client against services that are slow, or particular.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use super::*;
use crate::config::RemoteAccess;

const CID: &str = "bafkreiafdxaehozptg73zud3kraoqdyc4vg2jzpwad26m4cnwj4gopmshm";

/// A server that answers connections with these, one each, and tells what it was sent.
fn canned(answers: Vec<String>) -> (RemoteAccess, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}/psa", listener.local_addr().unwrap());
    let (tell, told) = channel();
    thread::spawn(move || {
        for answer in answers {
            let (mut connection, _) = listener.accept().unwrap();
            tell.send(request(&mut connection)).unwrap();
            connection.write_all(answer.as_bytes()).unwrap();
        }
    });
    (RemoteAccess { endpoint, key: "key".to_owned() }, told)
}

/// A request, its body included, which is JSON here.
fn request(connection: &mut TcpStream) -> String {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let count = connection.read(&mut buffer).unwrap();
        bytes.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&bytes);
        if text.ends_with('}') || (!text.starts_with("POST") && text.ends_with("\r\n\r\n")) {
            return text.into_owned();
        }
    }
}

fn answer(status: u16, body: &str) -> String {
    format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn pinned() -> String {
    format!(r#"{{"requestid":"1","status":"pinned","pin":{{"cid":"{CID}"}}}}"#)
}

fn new_pin(origins: &[&str]) -> NewPin {
    let origins = origins.iter().map(|origin| origin.parse().unwrap()).collect();
    NewPin { cid: CID.parse().unwrap(), name: "n".to_owned(), origins }
}

#[tokio::test]
async fn a_service_that_does_not_answer_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let access = RemoteAccess { endpoint, key: String::new() };
    let client = Client::with_time_max(&access, Duration::from_millis(50)).unwrap();
    let slow = client.page(&Filter::default(), None, 1).await;
    assert!(matches!(slow, Err(PinningError::Slow(_))), "{slow:?}");
}

#[tokio::test]
async fn requests_are_those_of_the_api() {
    let (access, told) = canned(vec![answer(202, &pinned()), answer(200, r#"{"count":0,"results":[]}"#)]);
    let client = Client::new(&access).unwrap();
    client.add(&new_pin(&["/ip4/127.0.0.1/tcp/1"])).await.unwrap();
    let sent = told.recv().unwrap();
    let (head, body) = sent.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /psa/pins HTTP/1.1\r\n"), "{head}");
    for header in ["authorization: Bearer key", "content-type: application/json", "Connection: close"] {
        assert!(head.lines().any(|line| line == header), "{header}: {head}");
    }
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(body, serde_json::json!({ "cid": CID, "name": "n", "origins": ["/ip4/127.0.0.1/tcp/1"] }));
    let filter = Filter {
        cids: vec![CID.parse().unwrap(); 2],
        name: Some("a&b".to_owned()),
        states: vec![PinState::Queued, PinState::Failed],
    };
    client.page(&filter, Some("2026-01-02T03:04:05+01:00"), 5).await.unwrap();
    let sent = told.recv().unwrap();
    let line = sent.lines().next().unwrap().to_owned();
    let query = format!(
        "limit=5&cid={CID}%2C{CID}&name=a%26b&status=queued%2Cfailed&before=2026-01-02T03%3A04%3A05%2B01%3A00"
    );
    assert_eq!(line, format!("GET /psa/pins?{query} HTTP/1.1"));
}

#[tokio::test]
async fn a_service_that_wants_no_origins_is_asked_without_them() {
    let (access, told) = canned(vec![answer(400, ""), answer(202, &pinned())]);
    let pin = Client::new(&access).unwrap().add(&new_pin(&["/ip4/127.0.0.1/tcp/1"])).await.unwrap();
    assert_eq!(pin.state, PinState::Pinned);
    assert!(told.recv().unwrap().contains("origins"));
    assert!(!told.recv().unwrap().contains("origins"));
    let (access, _told) = canned(vec![answer(400, "")]);
    let refused = Client::new(&access).unwrap().add(&new_pin(&[])).await.unwrap_err();
    assert_eq!(refused.status(), Some(http::StatusCode::BAD_REQUEST));
}

#[test]
fn keys_that_no_header_may_hold_are_refused_without_being_said() {
    let access =
        |endpoint: &str, key: &str| RemoteAccess { endpoint: endpoint.to_owned(), key: key.to_owned() };
    let refused = Client::new(&access("http://127.0.0.1", "a\nsecret")).unwrap_err();
    assert!(matches!(refused, PinningError::Key) && !refused.to_string().contains("secret"));
    assert!(Client::new(&access("http://user@127.0.0.1", "key")).is_err());
    let client = Client::new(&access("https://127.0.0.1", "secret")).unwrap();
    assert!(!format!("{client:?}").contains("secret"));
}
