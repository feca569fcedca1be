//! Small things that scripts stumble over: exit codes that JSON must not hide, words that are Kubo's, and answers that
//! must not depend on a stray line end or a missing `HOME`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;

use holdfast_tests::need::temporary;
use holdfast_tests::run::{Answer, COMMAND_TIME_MAX, Node, finish};

/// A peer that is not this node; its ID holds its key.
const PEER: &str = "12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5";

fn node() -> (tempfile::TempDir, Node) {
    let dir = temporary("words");
    let node = Node::init(&dir.path().join("repo"));
    (dir, node)
}

#[test]
fn json_does_not_hide_a_failure() {
    let (_dir, node) = node();
    let pinned = node.run_with(["add", "-Q"], b"pinned").ok().cid();
    let missing = "QmPZ9gcCEpqKTo6aq61g2nXGUhM4iCL3ewB6LDXZCtioEB";
    let lines: [(&[&str], &str); 5] = [
        (&["block", "rm", &pinned], "Error"),
        (&["cid", "format", "zzz"], "ErrorMsg"),
        (&["cid", "base32", "zzz"], "ErrorMsg"),
        (&["cid", "inspect", "zzz"], "errorMsg"),
        (&["refs", "-r", missing], ""),
    ];
    for (line, field) in lines {
        for more in [&[][..], &["--json"], &["--enc=json"]] {
            let answer = node.run(line.iter().chain(more)).failed();
            let told = more != ["--json"] || answer.out().contains(field);
            assert!(told, "`{}` gives the value that says why: {}", answer.line, answer.out());
        }
    }
    node.run(["cid", "format", "--json", &pinned]).ok();
    node.run(["cid", "inspect", "--json", &pinned]).ok();
    node.run(["refs", "--json", &pinned]).ok();
}

#[test]
fn the_id_of_another_peer_is_converted_offline() {
    let (_dir, node) = node();
    let answer = node.run(["id", "--offline", PEER]).ok().out();
    let info: serde_json::Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(info["ID"], PEER);
    assert_eq!(info["AgentVersion"], "", "nothing is made up about it");
    assert!(info["PublicKey"].as_str().unwrap().starts_with("CAES"), "the ID holds the key");
    let base36 = node.run(["id", "--offline", "--peerid-base=base36", "-f=<id>", PEER]).ok().out();
    assert!(base36.starts_with("k51"), "{base36}");
    assert!(node.run(["id", PEER]).failed().err().contains("pass --offline option"));
}

#[test]
fn a_line_end_behind_a_multibase_text_is_no_part_of_it() {
    let (_dir, node) = node();
    assert_eq!(node.run_with(["multibase", "decode"], b"ubmhlbGxv\n").ok().stdout, b"nhello");
    assert_eq!(
        node.run_with(["multibase", "transcode", "-b", "base16"], b"ubmhlbGxv\n").ok().out(),
        "f6e68656c6c6f"
    );
}

#[test]
fn importing_and_adding_fail_in_kubos_words() {
    let (dir, node) = node();
    let error = |answer: Answer| answer.failed().error_line();
    let car = dir.path().join("any.car");
    fs::write(&car, "").unwrap();
    let options = ["dag", "import", "--local-only", "--pin-roots", car.to_str().unwrap()];
    assert!(error(node.run(options)).ends_with(
        "--local-only implies --pin-roots=false and cannot be combined with --pin-roots=true; please drop one of them"
    ));
    assert!(!error(node.run(["dag", "import", "/dev/null"])).contains("import failed: "));
    let tree = dir.path().join("tree");
    fs::create_dir(&tree).unwrap();
    let mode = 0o644.into();
    rustix::fs::mknodat(rustix::fs::CWD, tree.join("p"), rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let answer = node.run(["add", "-r", tree.to_str().unwrap()]).failed();
    assert!(answer.err().contains("unrecognized file type for"), "{}", answer.err());
    assert!(answer.err().contains(": prw-r--r--"), "{}", answer.err());
}

#[test]
fn without_home_and_ipfs_path_no_repo_is_made_in_the_working_directory() {
    let (dir, node) = node();
    let work = dir.path().join("work");
    fs::create_dir(&work).unwrap();
    let run = |args: &[&str]| {
        let mut command = node.command(args);
        command.env_remove("HOME").env_remove("IPFS_PATH").current_dir(&work);
        finish(command.spawn().unwrap(), args.join(" "), b"", COMMAND_TIME_MAX)
    };
    for args in [&["init"][..], &["add", "-Q"], &["config", "show"]] {
        let error = run(args).failed().err();
        assert!(error.contains("IPFS_PATH") && error.contains("HOME"), "`{args:?}`: {error}");
    }
    run(&["cid", "base32", "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn"]).ok();
    assert_eq!(fs::read_dir(&work).unwrap().count(), 0, "nothing was made");
    let repo = dir.path().join("named");
    run(&["init", "--profile=test", "--repo-dir", repo.to_str().unwrap()]).ok();
    assert!(repo.join("config").is_file());
}
