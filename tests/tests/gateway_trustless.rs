//! Clients that trust nobody take blocks, archives and signed records, and check them: what they get is what they asked for,
//! block by block, in order.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;
use std::path::Path;

use holdfast_tests::ask::Ask;
use holdfast_tests::car::read_car;
use holdfast_tests::daemon::Daemon;
use holdfast_tests::need::{data, temporary};
use holdfast_tests::reply::{End, Reply};
use holdfast_tests::run::Node;

const MIXED: &str = "bafybeidh6k2vzukelqtrjsmd4p52cpmltd2ufqrdtdg6yigi73in672fwu";
const SUBDIR: &str = "bafybeicnmple4ehlz3ostv2sbojz3zhh5q7tz5r2qkfdpqfilgggeen7xm";
const MULTIBLOCK: &str = "bafybeigcisqd7m5nf3qmuvjdbakl5bdnh4ocrmacaqkpuh77qjvggmt2sa";
const PARTS: [&str; 5] = [
    "bafkreie5noke3mb7hqxukzcy73nl23k6lxszxi5w3dtmuwz62wnvkpsscm",
    "bafkreih4ephajybraj6wnxsbwjwa77fukurtpl7oj7t7pfq545duhot7cq",
    "bafkreigu7buvm3cfunb35766dn7tmqyh2um62zcio63en2btvxuybgcpue",
    "bafkreicll3huefkc3qnrzeony7zcfo7cr3nbx64hnxrqzsixpceg332fhe",
    "bafkreifst3pqztuvj57lycamoi7z34b4emf7gawxs74nwrc2c7jncmpaqm",
];
const ASCII: &str = "bafkreifkam6ns4aoolg3wedr4uzrs3kvq66p4pecirz6y2vlrngla62mxm";
const HELLO: &str = "bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4";

fn daemon(dir: &Path, cars: &[&str]) -> Option<(Node, Daemon)> {
    let fixtures = data("archives of the gateway fixtures")?.join("gateway-fixtures");
    let node = Node::init(&dir.join("repo"));
    let daemon = Daemon::alone(&node, &[]);
    for car in cars {
        node.run(["dag", "import", "--pin-roots=false", fixtures.join(car).to_str().unwrap()]).ok();
    }
    Some((node, daemon))
}

#[track_caller]
fn get(daemon: &Daemon, path: &str) -> Reply {
    Ask::new("GET", path).send(daemon.gateway())
}

#[track_caller]
fn header<'r>(reply: &'r Reply, name: &str) -> &'r str {
    reply.head.get(name).unwrap_or_else(|| panic!("no {name}: {:?}", reply.head.fields))
}

/// The CIDs of an archive in order; the same whether the query or `Accept` asks for it.
#[track_caller]
fn blocks(daemon: &Daemon, path: &str, query: &str) -> Vec<String> {
    let by_query = get(daemon, &format!("{path}?format=car&{query}")).ok();
    let accept = Ask::new("GET", &format!("{path}?{query}")).field("Accept", "application/vnd.ipld.car");
    let by_accept = accept.send(daemon.gateway()).ok();
    assert_eq!(by_query.body, by_accept.body, "{path} {query}");
    assert_eq!(header(&by_query, "Etag"), header(&by_accept, "Etag"));
    assert!(header(&by_accept, "Content-Location").contains("format=car"), "{:?}", by_accept.head);
    assert_eq!(by_query.head.get("Content-Location"), None);
    assert_eq!(header(&by_query, "Content-Type"), "application/vnd.ipld.car; version=1; order=dfs; dups=n");
    assert_eq!(
        (header(&by_query, "Accept-Ranges"), header(&by_query, "X-Content-Type-Options")),
        ("none", "nosniff")
    );
    assert!(header(&by_query, "Content-Disposition").starts_with("attachment; filename=\""));
    read_car(&by_query.body).1.into_iter().map(|(cid, _)| cid).collect()
}

#[test]
fn an_archive_holds_the_way_and_what_was_asked_for_at_its_end() {
    let dir = temporary("gateway-car");
    let Some((node, daemon)) =
        daemon(dir.path(), &["trustless_gateway_car/subdir-with-mixed-block-files.car"])
    else {
        return;
    };
    let all =
        |ends: &[&[&str]]| -> Vec<String> { ends.concat().iter().map(|cid| (*cid).to_owned()).collect() };
    let (subdir, file) = (format!("/ipfs/{MIXED}/subdir"), format!("/ipfs/{MIXED}/subdir/multiblock.txt"));
    let way = [MIXED, SUBDIR];
    assert_eq!(blocks(&daemon, &subdir, "dag-scope=block"), all(&[&way]));
    assert_eq!(blocks(&daemon, &subdir, "dag-scope=entity"), all(&[&way]));
    assert_eq!(blocks(&daemon, &subdir, "dag-scope=all"), all(&[&way, &[ASCII, HELLO, MULTIBLOCK], &PARTS]));
    assert_eq!(blocks(&daemon, &subdir, ""), all(&[&way, &[ASCII, HELLO, MULTIBLOCK], &PARTS]));
    assert_eq!(blocks(&daemon, &file, "dag-scope=block"), all(&[&way, &[MULTIBLOCK]]));
    assert_eq!(blocks(&daemon, &file, "dag-scope=entity"), all(&[&way, &[MULTIBLOCK], &PARTS]));
    for (range, parts) in [
        ("0:*", &PARTS[..]),
        ("512:*", &PARTS[2..]),
        ("512:1023", &PARTS[2..4]),
        ("512:-256", &PARTS[2..4]),
        ("-5:*", &PARTS[3..]),
        ("-9999:*", &PARTS[..]),
        ("0:0", &PARTS[..1]),
        ("5000:*", &[]),
    ] {
        let query = format!("entity-bytes={range}");
        assert_eq!(blocks(&daemon, &file, &query), all(&[&way, &[MULTIBLOCK], parts]), "{range}");
        assert_eq!(
            blocks(&daemon, &file, &format!("dag-scope=entity&{query}")),
            all(&[&way, &[MULTIBLOCK], parts])
        );
    }
    assert_eq!(blocks(&daemon, &subdir, "entity-bytes=0:10"), all(&[&way]), "a folder has no bytes");
    // What is served is what `dag export` writes.
    let exported = node.run(["dag", "export", "--progress=false", MIXED]).ok().stdout;
    let served = get(&daemon, &format!("/ipfs/{MIXED}?format=car")).ok();
    assert_eq!(served.body, exported);
    assert_eq!(header(&served, "X-Ipfs-Roots"), MIXED);
    let named = get(&daemon, &format!("{file}?format=car")).ok();
    assert!(header(&named, "Content-Disposition").contains(&format!("\"{MIXED}_multiblock.txt.car\"")));
    assert_eq!(header(&named, "X-Ipfs-Roots"), format!("{MIXED},{SUBDIR},{MULTIBLOCK}"));
    assert_eq!(get(&daemon, &format!("{subdir}/nothing?format=car")).status(), 404);
    // Another archive has another tag.
    let tag =
        |query: &str| header(&get(&daemon, &format!("{file}?format=car&{query}")).ok(), "Etag").to_owned();
    let tags = ["", "dag-scope=block", "entity-bytes=0:5", "entity-bytes=0:6", "car-dups=y"].map(tag);
    let different: std::collections::HashSet<&String> = tags.iter().collect();
    assert_eq!(different.len(), tags.len(), "{tags:?}");
    for wrong in ["dag-scope=x", "entity-bytes=5", "car-version=2", "car-order=x", "car-dups=x"] {
        assert_eq!(get(&daemon, &format!("{file}?format=car&{wrong}")).status(), 400, "{wrong}");
    }
}

#[test]
fn blocks_come_once_or_as_often_as_they_occur() {
    let dir = temporary("gateway-car-dups");
    let cars = [
        "trustless_gateway_car/dir-with-duplicate-files.car",
        "extra/directory-with-multilayer-hamt-and-multiblock-files.car",
    ];
    let Some((node, daemon)) = daemon(dir.path(), &cars) else { return };
    let root = "bafybeihchr7vmgjaasntayyatmp5sv6xza57iy2h4xj7g46bpjij6yhrmy";
    let car = |accept: &str| {
        let reply =
            Ask::new("GET", &format!("/ipfs/{root}")).field("Accept", accept).send(daemon.gateway()).ok();
        let cids: Vec<String> = read_car(&reply.body).1.into_iter().map(|(cid, _)| cid).collect();
        (header(&reply, "Content-Type").to_owned(), cids.iter().filter(|cid| *cid == ASCII).count())
    };
    assert_eq!(
        car("application/vnd.ipld.car; version=1; order=dfs; dups=n"),
        ("application/vnd.ipld.car; version=1; order=dfs; dups=n".to_owned(), 1)
    );
    assert_eq!(
        car("application/vnd.ipld.car; order=unk; dups=y"),
        ("application/vnd.ipld.car; version=1; order=unk; dups=y".to_owned(), 2)
    );
    let by_url = Ask::new("GET", &format!("/ipfs/{root}?car-dups=n"))
        .field("Accept", "application/vnd.ipld.car; dups=y");
    let by_url = by_url.send(daemon.gateway()).ok();
    assert!(header(&by_url, "Content-Type").ends_with("dups=n"), "the URL counts more");
    // What a CID carries itself is in no archive.
    let probe = get(&daemon, "/ipfs/bafkqaaa?format=car").ok();
    assert_eq!(read_car(&probe.body), (vec!["bafkqaaa".to_owned()], Vec::new()));
    assert_eq!(get(&daemon, "/ipfs/bafkqaaa?format=raw").ok().body, b"");
    let head = Ask::new("HEAD", "/ipfs/bafkqaaa?format=raw").send(daemon.gateway());
    assert_eq!(head.status(), 200);
    // A sharded folder by itself is all of its shards and none of its files.
    let folder = dir.path().join("many");
    fs::create_dir(&folder).unwrap();
    for index in 0..600 {
        fs::write(folder.join(format!("{index}")), format!("{index}")).unwrap();
    }
    node.run(["config", "--json", "Import.UnixFSHAMTDirectorySizeThreshold", "\"1B\""]).ok();
    let sharded = node.run(["--offline", "add", "-rQ", "--raw-leaves", folder.to_str().unwrap()]).ok().cid();
    let entity = read_car(&get(&daemon, &format!("/ipfs/{sharded}?format=car&dag-scope=entity")).ok().body).1;
    let stored = node.run(["refs", "-r", "-u", &sharded]).ok().out();
    let shards = stored.lines().filter(|cid| !cid.starts_with("bafkrei")).count();
    assert_eq!(entity.len(), 1 + shards, "the root and the shards below it");
    let one = blocks(&daemon, &format!("/ipfs/{sharded}/77"), "");
    assert!((2..5).contains(&one.len()), "only the shards that the name leads through: {one:?}");
}

#[test]
fn a_block_comes_as_it_is() {
    let dir = temporary("gateway-raw");
    let Some((node, daemon)) =
        daemon(dir.path(), &["gateway-raw-block.car", "path_gateway_unixfs/symlink.car"])
    else {
        return;
    };
    let root = node.run_with(["add", "-Q", "-w", "--stdin-name=a.txt"], b"hello").ok().cid();
    let path = format!("/ipfs/{root}/a.txt");
    let stored = node.run(["block", "get", &path]).ok().stdout;
    let cid = node.run(["resolve", &path]).ok().out().trim()[6..].to_owned();
    for reply in [
        get(&daemon, &format!("{path}?format=raw")),
        Ask::new("GET", &path).field("Accept", "application/vnd.ipld.raw").send(daemon.gateway()),
        Ask::new("GET", &format!("{path}?format=raw"))
            .field("Accept", "application/vnd.ipld.car")
            .send(daemon.gateway()),
    ] {
        let reply = reply.ok();
        assert_eq!((&reply.body, header(&reply, "Content-Type")), (&stored, "application/vnd.ipld.raw"));
        assert_eq!(header(&reply, "Content-Length"), stored.len().to_string());
        assert_eq!(header(&reply, "Etag"), format!("\"{cid}.raw\""));
        assert!(
            header(&reply, "Content-Disposition").starts_with(&format!("attachment; filename=\"{cid}.bin\""))
        );
        assert_eq!(header(&reply, "X-Content-Type-Options"), "nosniff");
    }
    assert_eq!(
        Ask::new("GET", &path)
            .field("Accept", "application/vnd.ipld.nonsense")
            .send(daemon.gateway())
            .status(),
        400
    );
    let link = get(&daemon, "/ipfs/QmWvY6FaqFMS89YAQ9NAPjVP4WZKA1qbHbicc9HeSKQTgt/foo").ok();
    assert!(!link.text().is_empty());
    let links = "QmTB8BaCJdCH5H3k7GrxJsxgDNmNYGGR71C58ERkivXoj5";
    let target = get(&daemon, &format!("/ipfs/{links}")).ok();
    assert_eq!((target.text().as_str(), header(&target, "Content-Type")), ("foo", "inode/symlink"));
}

#[test]
fn a_tree_is_a_tar_and_never_one_that_climbs_out() {
    let dir = temporary("gateway-tar");
    let Some((_node, daemon)) =
        daemon(dir.path(), &["dir_listing/fixtures.car", "path_gateway_tar/inside-root.car"])
    else {
        return;
    };
    let root = "bafybeig6ka5mlwkl4subqhaiatalkcleo4jgnr3hqwvpmsqfca27cijp3i";
    let reply = get(&daemon, &format!("/ipfs/{root}/%C4%85?format=tar")).ok();
    let below = "bafybeidx5mxi45eqpzxsxdbz4v7gnza6f6arwhnrj5aqak2yqxhlspphta";
    assert_eq!(header(&reply, "Content-Type"), "application/x-tar");
    assert_eq!(header(&reply, "Etag"), format!("W/\"{below}.x-tar\""));
    assert!(
        header(&reply, "Content-Disposition").starts_with(&format!("attachment; filename=\"{below}.tar\""))
    );
    assert!(
        reply.body.starts_with(format!("{below}/").as_bytes()) || reply.body.starts_with(below.as_bytes())
    );
    assert!(reply.text().contains("I am a txt file on path with utf8"));
    let again = get(&daemon, &format!("/ipfs/{root}/%C4%85?format=tar")).ok();
    assert_eq!(reply.body, again.body, "the same archive every time");
    assert_eq!(
        get(&daemon, "/ipfs/bafybeibfevfxlvxp5vxobr5oapczpf7resxnleb7tkqmdorc4gl5cdva3y?format=tar").status(),
        200
    );
}

#[test]
fn a_gateway_for_the_careful_serves_nothing_that_cannot_be_checked() {
    let dir = temporary("gateway-trustless-only");
    let node = Node::init(&dir.path().join("repo"));
    node.run(["config", "--json", "Gateway.DeserializedResponses", "false"]).ok();
    let daemon = Daemon::alone(&node, &[]);
    let root = node.run_with(["add", "-Q", "-w", "--stdin-name=a.txt"], b"hello").ok().cid();
    for (path, status) in [
        (format!("/ipfs/{root}"), 406),
        (format!("/ipfs/{root}/a.txt"), 406),
        (format!("/ipfs/{root}?format=tar"), 406),
        (format!("/ipfs/{root}?format=dag-json"), 406),
        (format!("/ipfs/{root}/a.txt?format=raw"), 406),
        (format!("/ipfs/{root}?format=raw"), 200),
        (format!("/ipfs/{root}?format=car"), 200),
        (format!("/ipfs/{root}/a.txt?format=car"), 200),
        ("/ipns/example.com?format=ipns-record".to_owned(), 406),
    ] {
        let reply = get(&daemon, &path);
        assert_eq!(reply.status(), status, "{path}: {}", reply.text());
    }
}

#[test]
fn an_archive_that_breaks_off_is_never_taken_for_whole() {
    let dir = temporary("gateway-car-cut");
    let node = Node::init(&dir.path().join("repo"));
    let daemon = Daemon::alone(&node, &[]);
    let file = dir.path().join("file");
    fs::write(&file, holdfast_tests::inputs::noise(9, 8 << 20)).unwrap();
    let root = node.run(["add", "-Q", "--pin=false", file.to_str().unwrap()]).ok().cid();
    let parts = node.run(["refs", &root]).ok().out();
    let gone = parts.lines().nth(20).unwrap().to_owned();
    node.run(["block", "rm", &gone]).ok();
    for path in
        [format!("/ipfs/{root}?format=car"), format!("/ipfs/{root}"), format!("/ipfs/{root}?format=tar")]
    {
        let reply = get(&daemon, &path);
        assert_eq!((reply.status(), &reply.end), (200, &End::Cut), "{path}: {} bytes", reply.body.len());
        assert!(!reply.body.is_empty() && reply.body.len() < 8 << 20, "{path}");
    }
    // The root itself is known to be missing before anything is sent.
    let missing = get(&daemon, &format!("/ipfs/{gone}?format=car"));
    assert_eq!(missing.status(), 404, "{}", missing.text());
}
