//! A browser, a script and a photo viewer open what the node holds by its path: files with their types, folders with their
//! page or a listing, names, links inside documents; and what is not there says so.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;
use std::path::Path;

use holdfast_tests::ask::Ask;
use holdfast_tests::daemon::Daemon;
use holdfast_tests::need::{data, temporary};
use holdfast_tests::reply::Reply;
use holdfast_tests::run::Node;

/// A daemon, with these settings made before.
fn gateway(dir: &Path, config: &[(&str, &str)]) -> (Node, Daemon) {
    let node = Node::init(&dir.join("repo"));
    for (key, value) in config {
        node.run(["config", "--json", key, value]).ok();
    }
    let daemon = Daemon::alone(&node, &[]);
    (node, daemon)
}

#[track_caller]
fn get(daemon: &Daemon, path: &str) -> Reply {
    Ask::new("GET", path).send(daemon.gateway())
}

#[track_caller]
fn header<'r>(reply: &'r Reply, name: &str) -> &'r str {
    reply.head.get(name).unwrap_or_else(|| panic!("no {name}: {:?}", reply.head.fields))
}

/// A folder with a page in it, some files, and a folder below.
fn site(dir: &Path) -> std::path::PathBuf {
    let site = dir.join("site");
    fs::create_dir_all(site.join("sub/deep")).unwrap();
    fs::write(site.join("index.html"), "<!doctype html><p>welcome").unwrap();
    fs::write(site.join("style.css"), "p { color: red }").unwrap();
    fs::write(site.join("photo"), b"\xff\xd8\xff\xe0 and so on").unwrap();
    fs::write(site.join("sub/a file.txt"), "text").unwrap();
    fs::write(site.join("sub/ą.txt"), "ogonek").unwrap();
    fs::write(site.join("sub/deep/data.bin"), vec![7; 1 << 20]).unwrap();
    site
}

#[test]
fn files_come_with_their_types_and_folders_with_their_page_or_a_listing() {
    let dir = temporary("gateway-paths");
    let (node, daemon) = gateway(dir.path(), &[]);
    let root = node.run(["add", "-rQ", "--cid-version=1", site(dir.path()).to_str().unwrap()]).ok().cid();
    let cid_of =
        |path: &str| node.run(["resolve", &format!("/ipfs/{root}/{path}")]).ok().out().trim()[6..].to_owned();

    let css = get(&daemon, &format!("/ipfs/{root}/style.css")).ok();
    assert_eq!(
        (css.text().as_str(), header(&css, "Content-Type")),
        ("p { color: red }", "text/css; charset=utf-8")
    );
    assert_eq!(header(&css, "Etag"), format!("\"{}\"", cid_of("style.css")));
    assert_eq!(header(&css, "Cache-Control"), "public, max-age=29030400, immutable");
    assert_eq!(header(&css, "X-Ipfs-Path"), format!("/ipfs/{root}/style.css"));
    assert_eq!(header(&css, "X-Ipfs-Roots"), format!("{root},{}", cid_of("style.css")));
    assert_eq!((header(&css, "Content-Length"), header(&css, "Accept-Ranges")), ("16", "bytes"));
    assert_eq!(header(&css, "Access-Control-Allow-Origin"), "*");
    // What has no ending is known by its beginning, under its CID alone too.
    for path in [format!("/ipfs/{root}/photo"), format!("/ipfs/{}", cid_of("photo"))] {
        assert_eq!(header(&get(&daemon, &path).ok(), "Content-Type"), "image/jpeg");
        let head = Ask::new("HEAD", &path).send(daemon.gateway());
        assert_eq!((header(&head, "Content-Type"), header(&head, "Content-Length")), ("image/jpeg", "14"));
        assert!(head.body.is_empty());
    }
    let named = get(&daemon, &format!("/ipfs/{}?filename=x.png&download=true", cid_of("photo"))).ok();
    assert_eq!(header(&named, "Content-Type"), "image/png");
    assert!(header(&named, "Content-Disposition").starts_with("attachment; filename=\"x.png\""));

    let page = get(&daemon, &format!("/ipfs/{root}"));
    assert_eq!((page.status(), header(&page, "Location")), (301, &format!("/ipfs/{root}/")[..]));
    let page = get(&daemon, &format!("/ipfs/{root}/")).ok();
    assert_eq!(
        (page.text().as_str(), header(&page, "Content-Type")),
        ("<!doctype html><p>welcome", "text/html")
    );
    assert_eq!(header(&page, "Etag"), format!("\"{root}\""), "a folder's page is known by the folder");

    let moved = get(&daemon, &format!("/ipfs/{root}/sub?x=%c4%85&y"));
    assert_eq!(
        (moved.status(), header(&moved, "Location")),
        (301, &format!("/ipfs/{root}/sub/?x=%c4%85&y")[..])
    );
    assert_eq!(get(&daemon, &format!("/ipfs/{root}/sub?go-get=1")).status(), 200);
    let listing = get(&daemon, &format!("/ipfs/{root}/sub/")).ok();
    let text = String::from_utf8(listing.body.clone()).unwrap();
    assert_eq!(header(&listing, "Content-Type"), "text/html");
    assert_eq!(header(&listing, "Cache-Control"), "public, max-age=604800, stale-while-revalidate=2678400");
    assert!(header(&listing, "Etag").starts_with("\"DirIndex-"), "{:?}", listing.head);
    for part in [
        "Index of".to_owned(),
        format!("/ipfs/<a href=\"/ipfs/{root}\">{root}</a>/<a href=\"/ipfs/{root}/sub\">sub</a>"),
        format!("<a href=\"/ipfs/{root}/sub/a%20file.txt\">a file.txt</a>"),
        format!("<a href=\"/ipfs/{root}/sub/%C4%85.txt\">ą.txt</a>"),
        format!("<a href=\"/ipfs/{root}/sub/..\">..</a>"),
        format!(
            "<a class=\"ipfs-hash\" translate=\"no\" href=\"/ipfs/{}?filename=deep\">",
            cid_of("sub/deep")
        ),
    ] {
        assert!(text.contains(&part), "{part}\n{text}");
    }
    assert!(
        !text.contains("src=") && !text.contains("http://") && !text.contains("https://"),
        "nothing from elsewhere"
    );
    assert_eq!(get(&daemon, &format!("/ipfs/{root}/sub/%c4%85.txt")).ok().text(), "ogonek");
    let large = get(&daemon, &format!("/ipfs/{root}/sub/deep/data.bin")).ok();
    assert_eq!((large.body.len(), header(&large, "Content-Length")), (1 << 20, "1048576"));
}

#[test]
fn a_sharded_folder_is_a_folder_whose_entries_are_found_without_listing_it() {
    let dir = temporary("gateway-sharded");
    let (node, daemon) = gateway(dir.path(), &[("Import.UnixFSHAMTDirectorySizeThreshold", "\"1B\"")]);
    let many = dir.path().join("many");
    fs::create_dir(&many).unwrap();
    for index in 0..1500 {
        fs::write(many.join(format!("file-{index}.txt")), format!("number {index}")).unwrap();
    }
    let root = node.run(["add", "-rQ", many.to_str().unwrap()]).ok().cid();
    assert_eq!(get(&daemon, &format!("/ipfs/{root}/file-1234.txt")).ok().text(), "number 1234");
    let listing = get(&daemon, &format!("/ipfs/{root}/")).ok();
    let text = listing.text();
    assert_eq!(text.matches("<tr>").count(), 1500);
    assert!((0..1500).all(|index| text.contains(&format!(">file-{index}.txt</a>"))));
    assert!(text.ends_with("</html>\n"));
    // A listing touches no entry: it is the same without them.
    let file = node.run(["resolve", &format!("/ipfs/{root}/file-7.txt")]).ok().out();
    node.run(["pin", "rm", &root]).ok();
    node.run(["block", "rm", file.trim().trim_start_matches("/ipfs/")]).ok();
    assert_eq!(get(&daemon, &format!("/ipfs/{root}/")).ok().text(), text);
    let gone = get(&daemon, &format!("/ipfs/{root}/file-7.txt"));
    assert_eq!(gone.status(), 404, "{}", gone.text());
    assert!(gone.text().contains("could not find"), "{}", gone.text());
}

#[test]
fn what_is_not_there_or_is_no_path_is_told_apart() {
    let dir = temporary("gateway-errors");
    let (node, daemon) = gateway(dir.path(), &[]);
    let root = node.run(["add", "-rQ", site(dir.path()).to_str().unwrap()]).ok().cid();
    let missing = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e";
    for (path, status, words) in [
        (format!("/ipfs/{root}/nothing"), 404, "no link named \\\"nothing\\\""),
        (format!("/ipfs/{root}/style.css/below"), 404, "no link named"),
        (format!("/ipfs/{missing}"), 404, "could not find"),
        ("/ipfs/QmInvalidCID".to_owned(), 400, "invalid path \\\"/ipfs/QmInvalidCID\\\""),
        ("/ipfs/".to_owned(), 400, "not have enough components"),
        ("/ipfs".to_owned(), 400, "not have enough components"),
        (format!("/ipfs/{root}/%ff"), 400, "UTF-8"),
        (format!("/ipfs/{root}{}", "/a".repeat(300)), 400, "segments"),
        ("/ipns/no-such-name.example".to_owned(), 500, "DNS"),
        ("/nothing".to_owned(), 404, "404"),
        ("/".to_owned(), 404, "404"),
        ("/api/v0/version".to_owned(), 404, "404"),
        ("/routing/v1/providers/bafkqaaa".to_owned(), 404, "404"),
    ] {
        let reply = get(&daemon, &path);
        let words = words.replace('\\', "");
        assert_eq!(reply.status(), status, "{path}: {}", reply.text());
        assert!(reply.text().contains(&words), "{path}: {}", reply.text());
        assert!(header(&reply, "Content-Type").starts_with("text/plain"), "{path}");
        assert_eq!(reply.head.get("Cache-Control"), None, "{path}: an error is not kept");
        assert_eq!(header(&reply, "Access-Control-Allow-Origin"), "*", "{path}");
    }
    // Whoever reads pages is told in one.
    let page =
        Ask::new("GET", &format!("/ipfs/{root}/%3Cb%3E")).field("Accept", "text/html").send(daemon.gateway());
    assert_eq!((page.status(), header(&page, "Content-Type")), (404, "text/html"));
    assert!(page.text().contains("404 Not Found") && !page.text().contains("<b>"), "{}", page.text());
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        let reply = Ask::new(method, &format!("/ipfs/{root}/style.css")).body(b"x").send(daemon.gateway());
        assert_eq!((reply.status(), header(&reply, "Allow")), (405, "GET, HEAD, OPTIONS"), "{method}");
    }
    let options = Ask::new("OPTIONS", &format!("/ipfs/{root}/style.css")).send(daemon.gateway());
    assert_eq!(options.status(), 200);
    assert!(header(&options, "Access-Control-Allow-Headers").contains("Range"));
    assert!(get(&daemon, "/version").ok().text().starts_with("Commit: holdfast-"));
}

#[test]
fn a_name_leads_where_its_record_says_and_is_kept_as_long() {
    let dir = temporary("gateway-names");
    let (node, daemon) = gateway(dir.path(), &[]);
    let root = node.run(["add", "-rQ", site(dir.path()).to_str().unwrap()]).ok().cid();
    let publish = ["name", "publish", "-Q", "--allow-offline", "--ttl=30m", &format!("/ipfs/{root}/sub")];
    let name = node.run(publish).ok().out().trim().to_owned();
    let file = get(&daemon, &format!("/ipns/{name}/ą.txt")).ok();
    assert_eq!((file.text().as_str(), header(&file, "Cache-Control")), ("ogonek", "public, max-age=1800"));
    assert_eq!(header(&file, "X-Ipfs-Path"), format!("/ipns/{name}/%C4%85.txt"));
    assert!(header(&file, "X-Ipfs-Roots").starts_with(&format!("{root},")), "{:?}", file.head);
    let listing = get(&daemon, &format!("/ipns/{name}/")).ok();
    assert!(
        listing.text().contains(&format!("/ipns/<a href=\"/ipns/{name}\">{name}</a>")),
        "{}",
        listing.text()
    );
    assert!(listing.text().contains(&format!("href=\"/ipns/{name}/deep\"")), "{}", listing.text());
    // The same key, written as a peer ID, is one name: the canonical one.
    let id = node.run(["config", "Identity.PeerID"]).ok().out().trim().to_owned();
    let moved = get(&daemon, &format!("/ipns/{id}/ą.txt?x=1").replace('ą', "%C4%85"));
    assert_eq!(
        (moved.status(), header(&moved, "Location")),
        (302, &format!("/ipns/{name}/%C4%85.txt?x=1")[..])
    );
    let record = get(&daemon, &format!("/ipns/{name}?format=ipns-record")).ok();
    assert_eq!(header(&record, "Content-Type"), "application/vnd.ipfs.ipns-record");
    assert_eq!(header(&record, "Cache-Control"), "public, max-age=1800");
    assert!(header(&record, "Content-Disposition").contains(&format!("{name}.ipns-record")));
    assert_eq!(record.body, node.run(["name", "get", &name]).ok().stdout, "as it is kept");
    let tag = header(&record, "Etag").to_owned();
    let again = Ask::new("GET", &format!("/ipns/{name}?format=ipns-record")).field("If-None-Match", &tag);
    assert_eq!(again.send(daemon.gateway()).status(), 304);
    assert_eq!(get(&daemon, &format!("/ipns/{name}/sub?format=ipns-record")).status(), 400);
    assert_eq!(get(&daemon, &format!("/ipfs/{root}?format=ipns-record")).status(), 400);
    let other = "k51qzi5uqu5dlkw8pxuw9qmqayfdeh4kfebhmreauqdc6a7c3y7d5i9fi8mk9w";
    assert_eq!(get(&daemon, &format!("/ipns/{other}?format=ipns-record")).status(), 404);
    assert_eq!(get(&daemon, &format!("/ipns/{other}")).status(), 500);
}

#[test]
fn paths_go_through_the_links_of_documents() {
    let dir = temporary("gateway-documents");
    let Some(fixtures) = data("documents of the gateway fixtures") else { return };
    let fixtures = fixtures.join("gateway-fixtures/path_gateway_dag");
    let (node, daemon) = gateway(dir.path(), &[]);
    for car in [
        "dag-cbor-traversal.car",
        "dag-json-traversal.car",
        "plain-json.car",
        "plain-cbor.car",
        "gateway-json-cbor.car",
    ] {
        node.run(["dag", "import", "--pin-roots=false", fixtures.join(car).to_str().unwrap()]).ok();
    }
    let cbor = "bafyreibs4utpgbn7uqegmd2goqz4bkyflre2ek2iwv743fhvylwi4zeeim";
    let json = "baguqeeram5ujjqrwheyaty3w5gdsmoz6vittchvhk723jjqxk7hakxkd47xq";
    let plain = "bagaaierajjsnhsxqlgfrvknlt7z2heoljcgfv37cn45tu7mhmr23x3ekiboq";
    for root in [cbor, json] {
        let linked = get(&daemon, &format!("/ipfs/{root}/foo/link/bar")).ok();
        assert_eq!(
            linked.body,
            node.run(["block", "get", &format!("/ipfs/{root}/foo/link/bar")]).ok().stdout
        );
        assert_eq!(header(&linked, "X-Ipfs-Roots").split(',').count(), 3, "{:?}", linked.head);
        let inside = get(&daemon, &format!("/ipfs/{root}/foo"));
        assert_eq!(inside.status(), 501, "{}", inside.text());
        assert_eq!(get(&daemon, &format!("/ipfs/{root}/nothing")).status(), 404);
    }
    let stored = get(&daemon, &format!("/ipfs/{cbor}")).ok();
    assert_eq!(header(&stored, "Content-Type"), "application/vnd.ipld.dag-cbor");
    assert_eq!(header(&stored, "Etag"), format!("\"{cbor}.dag-cbor\""));
    assert!(
        header(&stored, "Content-Disposition").starts_with(&format!("attachment; filename=\"{cbor}.cbor\""))
    );
    assert_eq!((header(&stored, "X-Content-Type-Options"), header(&stored, "Vary")), ("nosniff", "Accept"));
    let part = Ask::new("GET", &format!("/ipfs/{json}?format=dag-json"))
        .field("Range", "bytes=1-4")
        .send(daemon.gateway());
    assert_eq!(
        (part.status(), part.text().as_str(), header(&part, "Content-Range")),
        (206, "\"foo", "bytes 1-4/124")
    );
    let as_json = get(&daemon, &format!("/ipfs/{json}?format=json")).ok();
    assert_eq!(
        (header(&as_json, "Content-Type"), header(&as_json, "Etag")),
        ("application/json", &format!("\"{json}.json\"")[..])
    );
    let plain = get(&daemon, &format!("/ipfs/{plain}")).ok();
    assert_eq!(plain.text(), "{\n\t\"test\": \"plain json\"\n}\n");
    assert!(header(&plain, "Content-Disposition").starts_with("inline; "));
    // Nothing is converted behind anybody's back.
    for (path, format) in [(cbor, "dag-json"), (cbor, "json"), (json, "dag-cbor"), (json, "cbor")] {
        let refused = get(&daemon, &format!("/ipfs/{path}?format={format}"));
        assert_eq!(refused.status(), 406, "{format}: {}", refused.text());
    }
    let unixfs = "bafybeiafyvqlazbbbtjnn6how5d6h6l6rxbqc4qgpbmteaiskjrffmyy4a";
    assert_eq!(get(&daemon, &format!("/ipfs/{unixfs}/api/file.txt?format=dag-json")).status(), 406);
    let file =
        Ask::new("GET", &format!("/ipfs/{unixfs}/%C4%85/%C4%99/t.json")).field("Accept", "application/json");
    assert_ne!(file.send(daemon.gateway()).status(), 406, "a file that holds JSON is given as it is");
    // People are shown a page, below a slash.
    let ask = |path: String| Ask::new("GET", &path).field("Accept", "text/html").send(daemon.gateway());
    assert_eq!(ask(format!("/ipfs/{cbor}")).status(), 301);
    let page = ask(format!("/ipfs/{cbor}/")).ok();
    assert!(page.text().contains("banana") && page.text().contains("dag-cbor"), "{}", page.text());
    assert!(
        header(&page, "Etag").starts_with("\"DagIndex-") && page.head.get("Content-Disposition").is_none()
    );
}

#[test]
fn documents_are_converted_where_the_operator_allows_it_and_hosts_have_rules_of_their_own() {
    let dir = temporary("gateway-config");
    let config = [
        ("Gateway.AllowCodecConversion", "true"),
        ("Gateway.RootRedirect", "\"/ipfs/bafkqaaa\""),
        (
            "Gateway.HTTPHeaders",
            r#"{"X-Operator":["me"],"Access-Control-Allow-Origin":["https://a.example"]}"#,
        ),
        (
            "Gateway.PublicGateways",
            r#"{"trustless.example":{"Paths":["/ipfs"],"DeserializedResponses":false}}"#,
        ),
        ("Gateway.DisableHTMLErrors", "true"),
    ];
    let (node, daemon) = gateway(dir.path(), &config);
    let document = node.run_with(["dag", "put"], br#"{"a":[1,true]}"#).ok().cid();
    let json = get(&daemon, &format!("/ipfs/{document}?format=dag-json")).ok();
    assert_eq!(json.text(), r#"{"a":[1,true]}"#);
    assert_eq!(header(&json, "X-Operator"), "me");
    assert_eq!(header(&json, "Access-Control-Allow-Origin"), "https://a.example");
    let root = get(&daemon, "/");
    assert_eq!((root.status(), header(&root, "Location")), (302, "/ipfs/bafkqaaa"));
    let ask =
        |path: &str| Ask::new("GET", path).field("Host", "trustless.example:8080").send(daemon.gateway());
    assert_eq!(ask(&format!("/ipfs/{document}")).status(), 406);
    assert_eq!(ask(&format!("/ipfs/{document}?format=raw")).status(), 200);
    assert_eq!(ask(&format!("/ipfs/{document}?format=car")).status(), 200);
    assert_eq!(ask("/ipns/example.com").status(), 404, "not a path of this host");
    let plain = Ask::new("GET", "/ipfs/x").field("Accept", "text/html").send(daemon.gateway());
    assert!(header(&plain, "Content-Type").starts_with("text/plain"));
    let subdomain =
        Ask::new("GET", "/").field("Host", &format!("{document}.ipfs.localhost")).send(daemon.gateway());
    // Where the config leads is not what a subdomain holds.
    assert!(matches!(subdomain.status(), 302 | 404), "{}", subdomain.status());
}

#[test]
fn the_api_port_shows_the_web_ui_alone_unless_it_is_told_otherwise() {
    let dir = temporary("gateway-api");
    let (node, daemon) = gateway(dir.path(), &[]);
    let root = node.run(["add", "-rQ", site(dir.path()).to_str().unwrap()]).ok().cid();
    let file = format!("/ipfs/{root}/style.css");
    let ask = |path: &str| Ask::new("GET", path).send(daemon.api());
    assert_eq!(ask(&file).status(), 404);
    let web_ui = "/ipfs/bafybeiciqeyipumpmhxzlxnbqdbbv6u5uij4hy4wax64dmj7kvrhusiq6y";
    let missing = ask(web_ui);
    assert_eq!(missing.status(), 404);
    assert!(missing.text().contains("could not find"), "it is looked for: {}", missing.text());
    assert_eq!(ask(&format!("{web_ui}/../{root}/style.css")).status(), 404);
    assert_eq!(ask(&format!("{web_ui}/%2e%2e/{root}/style.css")).status(), 404);
    assert_eq!(ask("/webui/").status(), 503);
    daemon.stop().ok();
    let daemon = Daemon::alone(&node, &["--unrestricted-api"]);
    assert_eq!(Ask::new("GET", &file).send(daemon.api()).ok().text(), "p { color: red }");
    let strange = Ask::new("GET", &file).field("Host", "evil.example").send(daemon.api());
    assert_eq!(strange.status(), 403, "the rules of the API's port hold there");
}
