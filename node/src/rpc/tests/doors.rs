//! Who is let in, and where to.

use http::StatusCode;

use super::*;
use crate::commands::registry::{Command, CommandError, Needs, Response as Answer};
use crate::rpc::Access;

fn registry() -> Registry {
    let nothing = |_, _| std::future::ready(Ok::<_, CommandError>(Answer::Empty));
    let command = |name| Command::new(name, "").needs(Needs::Nothing).run(nothing);
    let pin = Command::new("pin", "").subcommand(command("ls")).subcommand(command("add"));
    Registry::new(
        Command::new("", "").subcommand(pin).subcommand(command("version")).subcommand(command("id")),
    )
}

fn door(api: &str) -> Door {
    door_to(registry(), api)
}

async fn status(door: &Door, method: &str, path: &str, headers: &[(&str, &str)]) -> u16 {
    let mut request = request(method, path);
    for (name, value) in headers {
        request
            .headers_mut()
            .unwrap()
            .insert(http::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
    }
    send(door, request, "").await.status
}

#[tokio::test]
async fn only_posts_are_taken() {
    let door = door("{}");
    for method in ["GET", "PUT", "HEAD", "DELETE", "PATCH"] {
        let got = send(&door, request(method, "/api/v0/version"), "").await;
        assert_eq!((got.status, got.text()), (405, "405 - Method Not Allowed\n"), "{method}");
        assert_eq!(
            (got.header("allow"), got.header("content-type")),
            ("OPTIONS, POST", "text/plain; charset=utf-8")
        );
    }
    let got = send(&door, request("OPTIONS", "/api/v0/version"), "").await;
    assert_eq!((got.status, got.header("allow"), got.text()), (204, "OPTIONS, POST", ""));
    let preflight = request("OPTIONS", "/api/v0/version")
        .header("origin", "http://example.com")
        .header("access-control-request-method", "POST");
    let got = send(&door, preflight, "").await;
    assert_eq!((got.status, got.header("access-control-allow-origin")), (204, ""));
}

#[tokio::test]
async fn gets_are_taken_where_the_config_says_so_and_not_from_browsers() {
    let door = door("{ \"AllowGet\": true }");
    assert_eq!(status(&door, "GET", "/api/v0/version", &[]).await, 200);
    assert_eq!(status(&door, "HEAD", "/api/v0/version", &[]).await, 200);
    assert_eq!(status(&door, "PUT", "/api/v0/version", &[]).await, 405);
    assert_eq!(status(&door, "GET", "/api/v0/version", &[("user-agent", "Mozilla/5.0")]).await, 403);
    assert_eq!(status(&door, "GET", "/api/v0/version", &[("referer", "http://evil.example/")]).await, 403);
    assert_eq!(status(&door, "GET", "/api/v0/version", &[("host", "evil.example")]).await, 403);
}

#[tokio::test]
async fn what_is_no_command_is_not_found() {
    let door = door("{}");
    for path in [
        "/api/v0/nosuch",
        "/api/v0/pin/nosuch",
        "/api/v0/",
        "/api/v0",
        "/api/v1/version",
        "/",
        "/nosuch",
        "/api/v0/pin/ls/a/b",
    ] {
        let got = post(&door, path).await;
        assert_eq!((got.status, got.text()), (404, "404 page not found\n"), "{path}");
    }
    for path in ["/api/v0/version/", "/api/v0//version", "/api/v0/pin/ls", "/%61pi/v0/pin/%6cs"] {
        assert_eq!(post(&door, path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn pages_of_others_are_refused_before_the_command_is_looked_for() {
    let door = door("{}");
    for headers in [
        &[("origin", "http://evil.example")][..],
        &[("origin", "http://localhost:3000")],
        &[("referer", "http://evil.example/")],
        &[("user-agent", "Mozilla/5.0")],
        &[("host", "evil.example")],
    ] {
        assert_eq!(status(&door, "POST", "/api/v0/id", headers).await, 403, "{headers:?}");
        assert_eq!(status(&door, "POST", "/api/v0/nosuch", headers).await, 403, "{headers:?}");
    }
    let own = request("POST", "/api/v0/id").header("origin", "http://localhost:5001");
    let got = send(&door, own, "").await;
    assert_eq!((got.status, got.header("access-control-allow-origin")), (200, "http://localhost:5001"));
    let host = send(&door, request("POST", "/api/v0/id").header("host", "x"), "").await;
    assert_eq!(host.status, 200, "the first Host header is the one of the request");
}

#[tokio::test]
async fn a_go_client_of_another_version_is_told_so() {
    let door = door("{}");
    let agent = |agent| [("user-agent", agent)];
    assert_eq!(status(&door, "POST", "/api/v0/id", &agent("/kubo/0.44.0/")).await, 200);
    assert_eq!(status(&door, "POST", "/api/v0/id", &agent("/kubo/0.30.0/")).await, 400);
    assert_eq!(status(&door, "POST", "/api/v0/id", &agent("/go-ipfs/0.7.0/")).await, 400);
    assert_eq!(status(&door, "POST", "/api/v0/version", &agent("/kubo/0.30.0/")).await, 200);
    assert_eq!(status(&door, "POST", "/api/v0/id", &agent("go-ipfs-api/1")).await, 200);
    let got = send(&door, request("POST", "/api/v0/id").header("user-agent", "/kubo/1/"), "").await;
    assert_eq!(got.text(), "api version mismatch (/kubo/0.44.0/ != /kubo/1/)\n");
}

fn routes() -> Routes {
    let mut routes = Routes::new();
    for (path, access) in [("/healthz", Access::Open), ("/debug/vars", Access::Guarded)] {
        routes.add_fn(path, access, |_| async { Response::new(ResponseBody::from("here")) });
    }
    routes
}

const AUTHORIZATIONS: &str = r#"{ "Authorizations": {
    "all": { "AuthSecret": "bearer:all", "AllowedPaths": ["/api/v0", "/debug"] },
    "pins": { "AuthSecret": "basic:u:p", "AllowedPaths": ["/api/v0/pin/ls"] } } }"#;

fn guarded() -> Door {
    let params =
        ContextParams { repo_dir: PathBuf::default(), config_file: None, program: "ipfs".to_owned() };
    let watch = Arc::new(super::super::watch::Unwatched);
    Door::with_routes(Context::new(params), Arc::new(registry()), settings(AUTHORIZATIONS), routes(), watch)
}

#[tokio::test]
async fn every_route_but_health_asks_for_credentials() {
    let door = guarded();
    let cells: [(&str, &str, [u16; 4]); 9] = [
        // without, a wrong one, "all", "pins"
        ("POST", "/api/v0/version", [403, 403, 200, 200]),
        ("POST", "/api/v0/id", [403, 403, 200, 403]),
        ("POST", "/api/v0/pin/ls", [403, 403, 200, 200]),
        ("POST", "/api/v0/pin/add", [403, 403, 200, 403]),
        ("POST", "/api/v0/nosuch", [403, 403, 404, 403]),
        ("GET", "/api/v0/pin/ls", [403, 403, 405, 405]),
        ("GET", "/debug/vars", [403, 403, 200, 403]),
        ("GET", "/version", [403, 403, 403, 403]),
        ("GET", "/healthz", [200, 200, 200, 200]),
    ];
    for (method, path, expected) in cells {
        for (header, expected) in ["", "Bearer wrong", "Bearer all", "Basic dTpw"].iter().zip(expected) {
            let headers = [("authorization", *header)];
            let headers = if header.is_empty() { &[][..] } else { &headers };
            assert_eq!(
                status(&door, method, path, headers).await,
                expected,
                "{method} {path} with {header:?}"
            );
        }
    }
    let got = post(&door, "/api/v0/id").await;
    assert!(got.text().starts_with("Kubo RPC Access Denied: "), "{}", got.text());
    let odd = [("authorization", "Basic dTpw")];
    for path in
        ["/api/v0/pin%2Fls/../add", "/api/v0/pin/ls%2F..%2Fadd", "/api/v0/pin/lsx", "//api/v0/pin/add"]
    {
        assert_ne!(status(&door, "POST", path, &odd).await, 200, "{path}");
    }
}

#[tokio::test]
async fn a_preflight_needs_no_credentials_and_any_other_request_does() {
    let door = guarded();
    let headers = [("origin", "http://localhost:5001"), ("access-control-request-method", "POST")];
    assert_eq!(status(&door, "OPTIONS", "/api/v0/id", &headers).await, 204);
    assert_eq!(status(&door, "OPTIONS", "/api/v0/id", &[]).await, 403);
    assert_eq!(status(&door, "OPTIONS", "/debug/vars", &headers).await, 403);
}

#[tokio::test]
async fn routes_are_guarded_against_pages_of_others() {
    let params =
        ContextParams { repo_dir: PathBuf::default(), config_file: None, program: "ipfs".to_owned() };
    let watch = Arc::new(super::super::watch::Unwatched);
    let door = Door::with_routes(Context::new(params), Arc::new(registry()), settings("{}"), routes(), watch);
    let evil = [("origin", "http://evil.example")];
    assert_eq!(status(&door, "GET", "/debug/vars", &[]).await, 200);
    assert_eq!(status(&door, "POST", "/debug/vars", &evil).await, 403);
    assert_eq!(status(&door, "GET", "/debug/vars", &[("host", "evil.example")]).await, 403);
    assert_eq!(status(&door, "GET", "/healthz", &[("host", "lb.internal")]).await, 200);
}

#[tokio::test]
async fn requests_beyond_the_rate_are_told_when_to_come_again() {
    let limited = door("{ \"RateLimitPerAddress\": 1 }");
    let mut statuses = Vec::new();
    for _ in 0..50 {
        statuses.push(post(&limited, "/api/v0/id").await.status);
    }
    assert_eq!(statuses[..2], [200, 200], "a short burst is taken");
    assert!(statuses.contains(&429));
    // Tokens come back with time: the next refusal has what it needs.
    let refused = loop {
        let got = post(&limited, "/api/v0/id").await;
        if got.status == 429 {
            break got;
        }
    };
    assert_eq!(refused.header("retry-after"), "1");
    let other =
        Peer::Tcp { remote: "192.0.2.9:1".parse().unwrap(), local: "127.0.0.1:5001".parse().unwrap() };
    assert_eq!(send(&limited, request("POST", "/api/v0/id").extension(other), "").await.status, 200);

    let api = AUTHORIZATIONS.replacen('{', "{ \"RateLimitPerCredential\": 1,", 1);
    let limited = door(&api);
    let headers = [("authorization", "Bearer all")];
    let mut statuses = Vec::new();
    for _ in 0..50 {
        statuses.push(status(&limited, "POST", "/api/v0/id", &headers).await);
    }
    assert!(statuses[0] == 200 && statuses.contains(&429));
    assert_eq!(status(&limited, "POST", "/api/v0/pin/ls", &[("authorization", "Basic dTpw")]).await, 200);
}

#[tokio::test]
async fn headers_of_the_config_are_on_every_answer_of_a_command() {
    let door = door(
        r#"{ "HTTPHeaders": { "X-Mine": ["a", "b"], "Content-Type": ["text/html"], "Access-Control-Allow-Origin": ["http://app.example"] } }"#,
    );
    let got = send(&door, request("POST", "/api/v0/id").header("origin", "http://app.example"), "").await;
    assert_eq!(got.headers.get_all("x-mine").iter().count(), 2);
    assert_eq!(got.headers.get_all("content-type").iter().count(), 1);
    assert_eq!(got.header("access-control-allow-origin"), "http://app.example");
}

#[tokio::test]
async fn pages_beside_the_commands() {
    let door = door("{}");
    let got = send(&door, request("GET", "/webui"), "").await;
    assert_eq!((got.status, got.header("location")), (StatusCode::TEMPORARY_REDIRECT.as_u16(), "/webui/"));
    assert_eq!(got.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(status(&door, "GET", "/webui/", &[]).await, 503);
    let got = send(&door, request("GET", "/version"), "").await;
    assert!(got.text().starts_with("Commit: holdfast-") && got.text().contains("Client Version: holdfast/"));
    assert_eq!(status(&door, "GET", "/logs", &[]).await, 404, "this registry has no log");
}
