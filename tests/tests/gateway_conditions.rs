//! Caches and players ask for as little as they can: what they have is not sent again, and of a film only the part that is
//! watched.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;
use std::path::Path;

use holdfast_tests::ask::Ask;
use holdfast_tests::daemon::Daemon;
use holdfast_tests::inputs::noise;
use holdfast_tests::need::{data, temporary};
use holdfast_tests::reply::{End, Reply};
use holdfast_tests::run::Node;
use holdfast_tests::wire::Wire;

fn daemon(dir: &Path) -> (Node, Daemon) {
    let node = Node::init(&dir.join("repo"));
    let daemon = Daemon::alone(&node, &[]);
    (node, daemon)
}

#[track_caller]
fn ask(daemon: &Daemon, method: &str, path: &str, fields: &[(&str, &str)]) -> Reply {
    let ask = fields.iter().fold(Ask::new(method, path), |ask, (name, value)| ask.field(name, value));
    ask.send(daemon.gateway())
}

#[track_caller]
fn header<'r>(reply: &'r Reply, name: &str) -> &'r str {
    reply.head.get(name).unwrap_or_else(|| panic!("no {name}: {:?}", reply.head.fields))
}

#[test]
fn any_part_of_a_file_is_the_slice_of_the_whole() {
    let dir = temporary("gateway-ranges");
    let (node, daemon) = daemon(dir.path());
    let film = noise(5, 900_001);
    let file = dir.path().join("film");
    fs::write(&file, &film).unwrap();
    let cid = node
        .run(["add", "-Q", "--chunker=size-65536", "--raw-leaves=false", file.to_str().unwrap()])
        .ok()
        .cid();
    let path = format!("/ipfs/{cid}");
    let size = film.len();
    let mut wire = Wire::tcp(daemon.gateway());
    let host = daemon.gateway().to_string();
    for (range, first, last) in [
        ("bytes=0-0", 0, 0),
        ("bytes=65530-65545", 65530, 65545),
        ("bytes=100000-", 100_000, size - 1),
        ("bytes=-1", size - 1, size - 1),
        ("bytes=-2000000", 0, size - 1),
        ("bytes=899999-2000000", 899_999, size - 1),
        ("bytes=3-5,10-20", 3, 5),
        ("bytes=2000000-, 7-8", 7, 8),
    ] {
        // All on one connection: each answer ends where it says.
        let reply = Ask::new("GET", &path).field("Range", range).send_over(&mut wire, &host);
        assert_eq!((reply.status(), &reply.end), (206, &End::Whole), "{range}");
        assert_eq!(header(&reply, "Content-Range"), format!("bytes {first}-{last}/{size}"), "{range}");
        assert_eq!(reply.body, film[first..=last], "{range}");
        assert_eq!(header(&reply, "Etag"), format!("\"{cid}\""));
    }
    let outside = ask(&daemon, "GET", &path, &[("Range", "bytes=900001-")]);
    assert_eq!((outside.status(), header(&outside, "Content-Range")), (416, "bytes */900001"));
    assert_eq!(outside.head.get("Cache-Control"), None);
    for wrong in ["bytes=x-1", "bytes=5-4", "bytes=-"] {
        assert_eq!(ask(&daemon, "GET", &path, &[("Range", wrong)]).status(), 400, "{wrong}");
    }
    assert_eq!(ask(&daemon, "GET", &path, &[("Range", "items=1-2")]).ok().body.len(), size);
    let head = ask(&daemon, "HEAD", &path, &[("Range", "bytes=0-1")]);
    assert_eq!((head.status(), header(&head, "Content-Length")), (200, "900001"));
    // A part of another version is of no use.
    let same = [("Range", "bytes=1-2"), ("If-Range", &format!("\"{cid}\"")[..])];
    assert_eq!(ask(&daemon, "GET", &path, &same).status(), 206);
    let other = [("Range", "bytes=1-2"), ("If-Range", "\"other\"")];
    assert_eq!(ask(&daemon, "GET", &path, &other).ok().body.len(), size);
    let raw = ask(&daemon, "GET", &format!("{path}?format=raw"), &[("Range", "bytes=1-3")]);
    assert_eq!((raw.status(), raw.body.len()), (206, 3));
    let empty = node.run_with(["add", "-Q"], b"").ok().cid();
    assert_eq!(ask(&daemon, "GET", &format!("/ipfs/{empty}"), &[("Range", "bytes=0-")]).ok().body, b"");
}

#[test]
fn a_range_beside_a_hole_is_served_and_one_over_it_is_not_taken_for_whole() {
    let dir = temporary("gateway-hole");
    let Some(fixtures) = data("the file with a hole of the gateway fixtures") else { return };
    let (node, daemon) = daemon(dir.path());
    let car = fixtures.join("gateway-fixtures/trustless_gateway_car/file-3k-and-3-blocks-missing-block.car");
    node.run(["dag", "import", "--pin-roots=false", car.to_str().unwrap()]).ok();
    let path = "/ipfs/QmYhmPjhFjYFyaoiuNzYv8WGavpSRDwdHWe5B4M5du5Rtk";
    for (range, length) in [("bytes=0-1000", 1001), ("bytes=2200-", 872), ("bytes=-100", 100)] {
        let reply = ask(&daemon, "GET", path, &[("Range", range)]);
        assert_eq!((reply.status(), reply.body.len()), (206, length), "{range}: {}", reply.text());
    }
    let over = ask(&daemon, "GET", path, &[("Range", "bytes=1030-1040")]);
    assert!(over.status() == 404 || over.end == End::Cut, "{} {:?}", over.status(), over.end);
    let whole = ask(&daemon, "GET", path, &[]);
    assert!(whole.status() == 404 || whole.end == End::Cut, "{} {:?}", whole.status(), whole.end);
    assert!(whole.body.len() < 3072 || whole.status() == 404);
}

#[test]
fn who_has_it_is_told_so_without_a_body() {
    let dir = temporary("gateway-conditions");
    let (node, daemon) = daemon(dir.path());
    let site = dir.path().join("site");
    fs::create_dir_all(site.join("page")).unwrap();
    fs::write(site.join("file.txt"), "content").unwrap();
    fs::write(site.join("page/index.html"), "<p>page").unwrap();
    let root = node.run(["add", "-rQ", site.to_str().unwrap()]).ok().cid();
    for (path, tag_begins) in [
        (format!("/ipfs/{root}/file.txt"), "\""),
        (format!("/ipfs/{root}/page/"), "\""),
        (format!("/ipfs/{root}/"), "\"DirIndex-"),
        (format!("/ipfs/{root}/file.txt?format=raw"), "\""),
        (format!("/ipfs/{root}?format=car"), "W/\""),
        (format!("/ipfs/{root}?format=tar"), "W/\""),
    ] {
        let first = ask(&daemon, "GET", &path, &[]).ok();
        let tag = header(&first, "Etag").to_owned();
        assert!(tag.starts_with(tag_begins), "{path}: {tag}");
        let weak = format!("W/{}", tag.trim_start_matches("W/"));
        for held in [&tag, &weak, &format!("\"x\", {tag}"), "*"] {
            for method in ["GET", "HEAD"] {
                let reply = ask(&daemon, method, &path, &[("If-None-Match", held)]);
                assert_eq!((reply.status(), reply.body.len()), (304, 0), "{path} {held}");
                assert_eq!(header(&reply, "Cache-Control"), header(&first, "Cache-Control"), "{path} {held}");
                if held != "*" {
                    assert_eq!(header(&reply, "Etag"), tag, "{path} {held}");
                }
            }
        }
        assert_eq!(ask(&daemon, "GET", &path, &[("If-None-Match", "\"x\"")]).ok().body, first.body, "{path}");
    }
    let file = format!("/ipfs/{root}/file.txt");
    assert_eq!(ask(&daemon, "GET", &file, &[("If-Match", "\"x\"")]).status(), 412);
    let missing = "/ipfs/bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e";
    for method in ["GET", "HEAD"] {
        let only = [("Cache-Control", "max-age=5, only-if-cached")];
        assert_eq!(ask(&daemon, method, &file, &only).status(), 200, "{method}");
        assert_eq!(ask(&daemon, method, missing, &only).status(), 412, "{method}");
    }
    // Recorded times are told, and asked for.
    fs::write(site.join("dated"), "dated").unwrap();
    let dated = node.run_with(["add", "-Q", "--mtime=784111777"], b"dated").ok().cid();
    let reply = ask(&daemon, "GET", &format!("/ipfs/{dated}"), &[]).ok();
    assert_eq!(header(&reply, "Last-Modified"), "Sun, 06 Nov 1994 08:49:37 GMT");
    let since = [("If-Modified-Since", "Sun, 06 Nov 1994 08:49:37 GMT")];
    assert_eq!(ask(&daemon, "GET", &format!("/ipfs/{dated}"), &since).status(), 304);
}
