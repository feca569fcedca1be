//! The real commands on a real node.

use serde_json::json;

use super::*;

const HELLO: &str = "QmT78zSuBmuS4z925WZfrqQ1qHaJ56DQaTfyMUF7F8ff5o";

fn file(name: &str, data: &str) -> String {
    part(name, "application/octet-stream", data)
}

#[tokio::test]
async fn what_is_added_is_read_back() {
    let rig = Rig::new().await;
    let got =
        upload(&rig.door, "/api/v0/add?pin=True&raw-leaves=False&unknown=1", &[file("f", "hello world\n")])
            .await;
    assert_eq!(got.lines(), [json!({ "Name": "f", "Hash": HELLO, "Size": "20" })]);
    assert_eq!((got.status, got.header("x-chunked-output")), (200, "1"));
    let got = post(&rig.door, &format!("/api/v0/cat?arg={HELLO}&offset=6&length=5")).await;
    assert_eq!(
        (got.text(), got.header("content-type"), got.header("x-content-length")),
        ("world", "text/plain", "5")
    );
    let got = post(&rig.door, &format!("/api/v0/cat/{HELLO}")).await;
    assert_eq!(got.text(), "hello world\n");
    let got = post(&rig.door, "/api/v0/pin/ls?type=recursive").await;
    assert_eq!(got.json(), json!({ "Keys": { HELLO: { "Type": "recursive", "Name": "" } } }));
    assert_eq!((got.header("content-type"), got.header("x-stream-output")), ("application/json", ""));
    let got = post(&rig.door, "/api/v0/pin/ls?encoding=text").await;
    assert_eq!(got.text(), format!("{HELLO} recursive\n"));
    let got = post(&rig.door, &format!("/api/v0/get?arg={HELLO}")).await;
    assert_eq!((got.header("content-type"), got.header("x-stream-output")), ("application/x-tar", "1"));
}

#[tokio::test]
async fn a_tree_keeps_its_shape() {
    let rig = Rig::new().await;
    let parts = [
        part("d", "application/x-directory", ""),
        file("d%2Fx", "x"),
        part("d%2Fs", "application/symlink", "x"),
    ];
    let got = upload(&rig.door, "/api/v0/add?wrap-with-directory=true", &parts).await;
    let expected = [
        json!({ "Name": "d/x", "Hash": "QmULKig5Fxrs2sC4qt9nNduucXfb92AFYQ6Hi3YRqDmrYC", "Size": "9" }),
        json!({ "Name": "d/s", "Hash": "QmPzuFkEipnbUaKXi5W7iZrLKtYJkPVn6vjqvqSBhH3Qjb", "Size": "7" }),
        json!({ "Name": "d", "Hash": "QmRynvb1T383LFehujjQGL5GsyLCwmehhbGcJ5qUwgMgZ3", "Size": "106" }),
        json!({ "Name": "", "Hash": "QmePqs2sKpVxoJm63sJTR1mmPh1Uw7sPXU57pXX4W9YZ9H", "Size": "153" }),
    ];
    assert_eq!(got.lines(), expected);
    let root = |got: &Got| got.lines().last().unwrap()["Hash"].clone();
    let implied =
        upload(&rig.door, "/api/v0/add", &[file("a/b/1", "1"), file("a/c/2", "2"), file("a/b/3", "3")]).await;
    let announced = [
        part("a", "application/x-directory", ""),
        part("a/b", "application/x-directory", ""),
        file("a/b/1", "1"),
        file("a/b/3", "3"),
        part("a/b", "application/x-directory", ""),
        part("a", "application/x-directory", ""),
        file("a/c/2", "2"),
    ];
    let announced = upload(&rig.door, "/api/v0/add", &announced).await;
    assert_eq!(implied.lines().len(), 6);
    assert_eq!(root(&implied), root(&announced), "the order of parts does not matter");
}

#[tokio::test]
async fn the_deepest_tree_that_is_taken_is_built() {
    let rig = Rig::new().await;
    let deep = vec!["d"; 511].join("/");
    let got = upload(&rig.door, "/api/v0/add?quieter=true", &[file(&format!("{deep}/f"), "x")]).await;
    assert_eq!((got.status, got.lines().len()), (200, 512));
    let got = upload(&rig.door, "/api/v0/add", &[file(&format!("{deep}/d/f"), "x")]).await;
    assert_eq!(got.status, 500);
    assert!(got.json()["Message"].as_str().unwrap().contains("512 components"));
}

#[tokio::test]
async fn mode_and_time_come_with_the_field_name() {
    let rig = Rig::new().await;
    let body = "--b\r\nContent-Disposition: form-data; name=\"file?mode=0640&mtime=1604320482&mtime-nsecs=5\"; filename=\"f\"\
                \r\n\r\nx\r\n--b--\r\n";
    let add = async |query: &str| {
        let request = request("POST", &format!("/api/v0/add?{query}"))
            .header("content-type", "multipart/form-data; boundary=b");
        send(&rig.door, request, body).await.json()
    };
    let plain = add("").await;
    assert_eq!(
        (&plain["Mode"], &plain["Mtime"], &plain["MtimeNsecs"]),
        (&json!("0640"), &json!(1_604_320_482), &json!(5))
    );
    let kept = add("preserve-mode=true&preserve-mtime=true").await;
    assert_ne!(plain["Hash"], kept["Hash"]);
    let stat = post(&rig.door, &format!("/api/v0/files/stat?arg=/ipfs/{}", kept["Hash"].as_str().unwrap()))
        .await
        .json();
    assert_eq!((&stat["Mode"], &stat["Mtime"]), (&json!("0640"), &json!(1_604_320_482)));
}

#[tokio::test]
async fn an_upload_that_is_cut_anywhere_pins_nothing() {
    let rig = Rig::new().await;
    let whole = format!("{}{}--b--", file("d/f", "content"), file("d/g", "more"));
    for cut in 0..whole.len() {
        let request =
            request("POST", "/api/v0/add").header("content-type", "multipart/form-data; boundary=b");
        let got = send(&rig.door, request, whole[..cut].to_owned()).await;
        let said = if got.status == 200 {
            assert!(got.is_cut, "cut at {cut}: the answer must not look whole: {}", got.text());
            got.lines().pop().unwrap()
        } else {
            assert_eq!(got.status, 500, "cut at {cut}");
            got.json()
        };
        assert!(said["Message"].as_str().unwrap().contains("unexpected EOF"), "cut at {cut}: {said}");
    }
    assert_eq!(post(&rig.door, "/api/v0/pin/ls").await.json(), json!({}));
    for (command, files) in [("block/put", 0), ("files/write?arg=/x&create=true", 0), ("dag/import", 0)] {
        let request = request("POST", &format!("/api/v0/{command}"))
            .header("content-type", "multipart/form-data; boundary=b");
        let got = send(&rig.door, request, whole[..whole.len() / 3].to_owned()).await;
        assert_eq!(got.status, 500, "{command}: {}", got.text());
        assert_eq!(
            post(&rig.door, "/api/v0/files/ls").await.json()["Entries"].as_array().map_or(0, Vec::len),
            files
        );
    }
}

#[tokio::test]
async fn errors_have_kubos_words() {
    let rig = Rig::new().await;
    for (path, status, words) in [
        ("cat", 400, "argument \"ipfs-path\" is required\n"),
        ("add", 400, "file argument 'path' is required\n"),
        (
            "cat?arg=a&offset=x",
            400,
            "could not convert value \"x\" to type \"int64\" (for option \"-offset\")\n",
        ),
        ("add?pin=maybe", 400, "file argument 'path' is required\n"),
    ] {
        let got = post(&rig.door, &format!("/api/v0/{path}")).await;
        assert_eq!((got.status, got.text()), (status, words), "{path}");
        assert_eq!(got.header("content-type"), "text/plain; charset=utf-8");
    }
    let got = post(&rig.door, "/api/v0/cat?arg=zzz").await;
    let message = "invalid path \"zzz\": path does not have enough components";
    assert_eq!((got.status, got.json()), (500, json!({ "Message": message, "Code": 0, "Type": "error" })));
    let got = post(&rig.door, "/api/v0/object/diff?arg=a&arg=b").await;
    let message =
        "command \"object diff\" is not supported by this version of holdfast: use 'files' commands instead";
    assert_eq!((got.status, got.json()), (500, json!({ "Message": message, "Code": 0, "Type": "error" })));
    let local = ["update", "update/check", "diag/datastore/get?arg=a"];
    for path in ["init", "daemon", "config/edit", "key/export?arg=self"].iter().chain(&local) {
        assert_eq!(post(&rig.door, &format!("/api/v0/{path}")).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn a_command_that_changes_something_answers_with_an_empty_body() {
    let rig = Rig::new().await;
    let got = post(&rig.door, "/api/v0/files/mkdir?arg=/m&parents=true").await;
    assert_eq!((got.status, got.text(), got.header("x-chunked-output")), (200, "", "1"));
    let got = upload(&rig.door, "/api/v0/files/write?arg=/m/f&create=true", &[file("", "data")]).await;
    assert_eq!((got.status, got.text()), (200, ""));
    assert_eq!(post(&rig.door, "/api/v0/files/read?arg=/m/f").await.text(), "data");
    let got = post(&rig.door, "/api/v0/files/rm?arg=/nosuch&arg=/m").await;
    assert_eq!(
        (got.status, &got.trailers["x-stream-error"]),
        (200, &"can't remove some files".parse().unwrap())
    );
}

#[tokio::test]
async fn uploads_beyond_the_limit_are_refused_however_their_length_is_told() {
    let rig = Rig::with_api("{ \"MaxUploadSize\": 1000 }").await;
    let got = upload(&rig.door, "/api/v0/add", &[file("f", &"x".repeat(2000))]).await;
    assert_eq!(got.status, 413);
    assert!(got.text().contains("API.MaxUploadSize"));
    assert_eq!(upload(&rig.door, "/api/v0/add", &[file("f", &"x".repeat(200))]).await.status, 200);
    drop(rig.node);
}

#[tokio::test]
async fn lines_of_a_part_are_arguments() {
    let rig = Rig::new().await;
    upload(&rig.door, "/api/v0/add", &[file("f", "hello world\n")]).await;
    let got = upload(&rig.door, "/api/v0/cat", &[file("", &format!("{HELLO}\n\n{HELLO}\n"))]).await;
    assert_eq!(got.text(), "hello world\nhello world\n");
}

#[tokio::test]
async fn an_old_client_is_told_the_version_that_it_insists_on() {
    let api = "{ \"ReportedVersion\": \"0.7.0\" }";
    let rig = Rig::with_api(api).await;
    assert_eq!(post(&rig.door, "/api/v0/version").await.json()["Version"], "0.7.0");
    let id = post(&rig.door, "/api/v0/id").await.json();
    assert!(id["AgentVersion"].as_str().unwrap().contains("(API.ReportedVersion 0.7.0)"), "{id}");
    let plain = Rig::new().await;
    assert_eq!(post(&plain.door, "/api/v0/version").await.json()["Version"], crate::commands::KUBO_VERSION);
}

#[tokio::test]
async fn progress_comes_in_the_steps_of_kubo() {
    let rig = Rig::new().await;
    let got = upload(&rig.door, "/api/v0/add?progress=true", &[file("f", &"z".repeat(600_000))]).await;
    let steps: Vec<_> = got.lines().iter().filter_map(|line| line["Bytes"].as_u64()).collect();
    assert_eq!(steps, [262_144, 524_288, 600_000]);
}
