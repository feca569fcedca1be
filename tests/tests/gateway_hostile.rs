//! Names and requests that somebody made to harm: a folder full of them is listed, saved and redirected to, and nothing of it
//! becomes markup, a header or the way to another host.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;

use holdfast_tests::ask::Ask;
use holdfast_tests::car::{Block, car};
use holdfast_tests::daemon::Daemon;
use holdfast_tests::need::temporary;
use holdfast_tests::run::Node;
use holdfast_tests::wire::Wire;

/// Names that break out of markup, headers, paths and the eye, if they can.
fn hostile_names() -> Vec<Vec<u8>> {
    let texts = [
        "\"><img src=x onerror=alert(1)>",
        "'><script>alert(1)</script>",
        "</title><script>alert(1)</script>",
        "--><script>alert(1)</script>",
        "<svg/onload=alert(1)>",
        "&lt;script&gt;",
        "&#60;script&#62;",
        "javascript:alert(1)",
        "data:text/html,<script>alert(1)</script>",
        "\" onmouseover=\"alert(1)",
        "' onmouseover='alert(1)",
        "` onmouseover=`alert(1)",
        "a\r\nX-Injected: yes",
        "a\nSet-Cookie: a=b",
        "\r\n\r\n<html>",
        "..",
        ".",
        "",
        "../../etc/passwd",
        "/etc/passwd",
        "//evil.example",
        "\\\\evil.example\\share",
        "%2e%2e",
        "%2e%2e%2f",
        "%00",
        "\0",
        "a\0b",
        "?query",
        "#fragment",
        "a?b#c",
        "a;b",
        "a&b=c",
        " leading and trailing ",
        "\u{202e}gpj.exe",
        "\u{2066}x\u{2069}",
        "\u{200b}zero",
        "\u{feff}bom",
        "\u{7f}",
        "\u{1b}[31mred",
        "ą/ę",
        "C:\\windows",
        "con",
        "index.html/",
        "{{template}}",
        "${jndi:ldap://evil.example}",
        "<!--#exec cmd=\"id\"-->",
        "a\u{2028}b",
    ];
    let mut names: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    names.push(b"\xff\xfe<b>".to_vec());
    names.push(vec![b'x'; 4096]);
    names.push("é".repeat(500).into_bytes());
    names
}

#[test]
fn fifty_hostile_names_stay_names() {
    let dir = temporary("gateway-hostile");
    let node = Node::init(&dir.path().join("repo"));
    let daemon = Daemon::alone(&node, &[]);
    let file = Block::raw(b"harmless".to_vec());
    let names = hostile_names();
    assert!(names.len() >= 50);
    let entries: Vec<(&[u8], &Block)> = names.iter().map(|name| (&name[..], &file)).collect();
    let folder = Block::directory(&entries);
    let archive = dir.path().join("hostile.car");
    fs::write(&archive, car(&folder, &[&folder, &file])).unwrap();
    node.run(["dag", "import", "--pin-roots=false", archive.to_str().unwrap()]).ok();
    let root = folder.cid();
    let listing = Ask::new("GET", &format!("/ipfs/{root}/")).send(daemon.gateway()).ok();
    let page = String::from_utf8(listing.body).unwrap();
    assert_eq!(page.matches("<tr>").count(), names.len());
    // The only tags are the listing's own, and the only addresses lead into this folder or to a CID.
    let mut tags: Vec<&str> =
        page.split('<').skip(1).map(|tag| tag.split(['>', ' ']).next().unwrap()).collect();
    tags.sort_unstable();
    tags.dedup();
    let own = [
        "!DOCTYPE", "/a", "/body", "/h1", "/head", "/html", "/p", "/strong", "/style", "/table", "/tbody",
        "/td", "/title", "/tr", "a", "body", "h1", "head", "html", "meta", "p", "strong", "style", "table",
        "tbody", "td", "title", "tr",
    ];
    assert!(tags.iter().all(|tag| own.contains(tag)), "{tags:?}");
    for link in page.split("href=\"").skip(1).map(|link| link.split('"').next().unwrap()) {
        assert!(link.starts_with("/ipfs/"), "{link}");
        assert!(
            !link.contains("/../") && !link.ends_with("/..") && !link.contains(['\r', '\n', '\'', '\\']),
            "{link}"
        );
    }
    assert!(!page.contains(['\0', '\u{202e}', '\u{2066}', '\u{1b}']));
    for name in names.iter().filter_map(|name| std::str::from_utf8(name).ok()) {
        // As a path, as the name to save it as, and as a folder without its slash.
        let escaped = name.bytes().fold(String::new(), |text, byte| text + &format!("%{byte:02x}"));
        for path in [
            format!("/ipfs/{root}/{escaped}"),
            format!("/ipfs/{}?filename={escaped}&download=true", file.cid()),
            format!("/ipfs/{}?format=raw&filename={escaped}", file.cid()),
            format!("/ipfs/{root}/x/..?{escaped}"),
            format!("/ipfs/ipfs/{root}/{escaped}"),
            format!("/ipfs/?uri={escaped}"),
            format!("/ipfs/?uri=ipfs%3A%2F%2F{escaped}"),
            format!("/ipns/{escaped}"),
        ] {
            let ask = Ask::new("GET", &path).field("Accept", "text/html");
            // A bare CR or LF in the head fails in here.
            let reply = ask.send(daemon.gateway());
            assert!(
                reply.head.get("X-Injected").is_none() && reply.head.get("Set-Cookie").is_none(),
                "{path}"
            );
            if let Some(location) = reply.head.get("Location") {
                let inside = location.starts_with("/ipfs/") || location.starts_with("/ipns/");
                assert!(inside, "{path} leads to {location}");
            }
            assert!(
                reply.status() < 500 || path.starts_with("/ipns/"),
                "{path}: {} {}",
                reply.status(),
                reply.text()
            );
            if reply.status() >= 400 {
                let page = reply.text();
                assert!(
                    !page.contains("<script") && !page.contains("<img") && !page.contains("<svg"),
                    "{path}: {page}"
                );
            }
        }
    }
}

#[test]
fn requests_that_are_none_end_where_they_began() {
    let dir = temporary("gateway-hostile-requests");
    let node = Node::init(&dir.path().join("repo"));
    let daemon = Daemon::alone(&node, &[]);
    let ask = |path: &str, fields: &[(&str, &str)]| {
        let ask = fields.iter().fold(Ask::new("GET", path), |ask, (name, value)| ask.field(name, value));
        ask.send(daemon.gateway())
    };
    for path in [
        "//evil.example/ipfs/x",
        "/ipfs//evil.example",
        "/ipfs/%2F%2Fevil.example/",
        "/ipfs/../../etc/passwd",
        "/ipfs/..%2f..%2fetc",
    ] {
        let reply = ask(path, &[("X-Forwarded-Host", "evil.example"), ("X-Forwarded-Proto", "https")]);
        assert!((400..500).contains(&reply.status()), "{path}: {}", reply.status());
        assert!(reply.head.get("Location").is_none());
    }
    assert_eq!(ask("/ipfs/bafkqaaa", &[("Service-Worker", "script")]).status(), 400);
    let many = format!("bytes={}0-1", "1-2,".repeat(10_000));
    assert_eq!(ask("/ipfs/bafkqaaa?format=raw", &[("Range", &many)]).status(), 400);
    // An absolute target and a request without a host are requests like others.
    let mut wire = Wire::tcp(daemon.gateway());
    wire.send(b"GET http://example.com/ipfs/bafkqaaa?format=raw HTTP/1.1\r\nHost: example.com\r\n\r\n");
    assert_eq!(wire.reply().unwrap().status(), 200);
    let mut wire = Wire::tcp(daemon.gateway());
    wire.send(b"GET /ipfs/bafkqaaa?format=raw HTTP/1.0\r\n\r\n");
    assert_eq!(wire.reply().unwrap().status(), 200);
}
