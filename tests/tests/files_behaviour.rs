//! The mutable file system from outside, where the recorded answers of Kubo do not look: the words of
//! errors, text forms, what a process leaves behind, and what a killed one does.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;
use std::io::Write;
use std::process::Stdio;

use holdfast_tests::inputs::noise;
use holdfast_tests::need::temporary;
use holdfast_tests::run::Node;

/// Runs a line; its words, or what it fails with.
fn ask(node: &Node, line: &str) -> String {
    let answer = node.run(line.split(' ').map(|word| if word == "''" { "" } else { word }));
    if answer.code == Some(0) { answer.out() } else { format!("{}{}", answer.out(), answer.error_line()) }
}

fn write(node: &Node, line: &str, input: &[u8]) {
    let answer = node.run_with(line.split(' ').collect::<Vec<_>>().as_slice(), input);
    assert_eq!((answer.code, answer.err().as_str()), (Some(0), ""), "{line}");
}

#[test]
fn mistakes_are_told_in_kubos_words() {
    let dir = temporary("files-words");
    let node = Node::init(&dir.path().join("repo"));
    write(&node, "files write --create --parents /d/f", b"content");
    for (line, words) in [
        ("files read /d/f/x", "Error: /d/f/x: cannot access d/f/x: Not a directory"),
        ("files read --offset=-1 /d/f", "Error: cannot specify negative offset"),
        ("files read --count=-1 /d/f", "Error: cannot specify negative 'count'"),
        ("files read --offset=8 /d/f", "Error: offset was past end of file (8 > 7)"),
        ("files ls d", "Error: paths must start with a leading slash"),
        ("files ls ''", "Error: paths must not be empty"),
        (
            "files stat --hash --size /d",
            "Error: invalid parameters: format was set by multiple options. Only one format option is allowed",
        ),
        ("files mkdir /", "Error: cannot create directory '/': Already exists"),
        ("files mkdir /no/way", "Error: file does not exist"),
        ("files mkdir /d/f/x", "Error: d was not a directory"),
        ("files mkdir -p /d/f", "Error: file already exists"),
        ("files mkdir --hash=none /x", "Error: unrecognized hash function: \"none\""),
        ("files mkdir --cid-version=2 /x", "Error: unknown CID version: 2"),
        ("files cp /d /d", "Error: cp: cannot put node in path /d: directory already has entry by that name"),
        ("files cp --force /d/f /d", "Error: cp: cannot unlink existing file: not a file: /d"),
        ("files cp /d/f /no/f", "Error: cp: cannot put node in path /no/f: file does not exist"),
        ("files mv /d /d/e", "Error: cannot move /d to /d/e: a directory cannot be moved into itself"),
        ("files mv /d/f /no/f", "Error: file does not exist"),
        ("files mv /d/f /d/f/g", "Error: /d/f/ is not a directory"),
        (
            "files rm --flush=false /d/f",
            "Error: files rm always flushes for safety. The --flush flag cannot be set to false for this command",
        ),
        (
            "files rm d",
            "\"d is not a valid path: paths must start with a leading slash\"\nError: can't remove some files",
        ),
        (
            "files rm /d/f/x",
            "\"/d/f/x: expected *mfs.Directory, didn't get it. This is likely a race condition\"\nError: can't remove some files",
        ),
        (
            "files chcid --cid-version=1 /",
            "Error: cannot change CID format of the MFS root; use 'ipfs config Import.CidVersion' and 'ipfs config Import.HashFunction' instead",
        ),
        ("files chcid --cid-version=1 /d/f", "Error: can only update directories"),
        ("files chmod 9 /d/f", "Error: strconv.ParseInt: parsing \"9\": invalid syntax"),
        ("files touch /no", "Error: file does not exist"),
        ("files flush /no", "Error: file does not exist"),
        ("files chroot", "Error: this is a potentially destructive operation; pass --confirm to proceed"),
        ("files chroot --confirm nonsense", "Error: invalid CID \"nonsense\""),
    ] {
        assert!(ask(&node, line).starts_with(words), "{line}: {}", ask(&node, line));
    }
    let refused = |line: &str| {
        let answer = node.run_with(line.split(' ').collect::<Vec<_>>().as_slice(), b"x");
        (answer.code, answer.error_line())
    };
    for (line, words) in [
        ("files write /new", "Error: file does not exist"),
        ("files write --create /d", "Error: /d was not a file"),
        ("files write --create /d/f/x", "Error: cannot access d/f/x: Not a directory"),
        ("files write --create -p /d/f/x/y", "Error: d was not a directory"),
        ("files write --offset=-1 /d/f", "Error: cannot have negative write offset"),
        ("files write --count=-1 /d/f", "Error: cannot have negative byte count"),
    ] {
        assert_eq!(refused(line), (Some(1), words.to_owned()), "{line}");
    }
    // None of all this has changed anything.
    assert_eq!(ask(&node, "files ls /"), "d\n");
    assert_eq!(ask(&node, "files ls /d"), "f\n");
    assert_eq!(ask(&node, "files read /d/f"), "content");
}

#[test]
fn text_forms_follow_their_options() {
    let dir = temporary("files-text");
    let node = Node::init(&dir.path().join("repo"));
    write(&node, "files write --create --cid-version=1 --raw-leaves /raw", b"hello");
    assert_eq!(
        ask(&node, "files stat --format=<type>:<size>:<cumulsize>:<childs>:<mode>:<mtime-secs> /raw"),
        "file:5:5:0:not set:not set\n"
    );
    assert!(ask(&node, "files stat --hash /raw").starts_with("bafkrei"));
    ask(&node, "files chmod 0755 /");
    ask(&node, "files chmod 600 /raw");
    ask(&node, "files touch --mtime=1700000000 --mtime-nsecs=5 /raw");
    assert_eq!(
        ask(&node, "files stat --format=<mode>_<mode-octal>_<mtime-secs>_<mtime-nsecs> /raw"),
        "-rw-------_0600_1700000000_5\n"
    );
    assert_eq!(ask(&node, "files stat --format=<mode>_<mode-octal> /"), "drwxr-xr-x_0755\n");
    let json: serde_json::Value = serde_json::from_str(&ask(&node, "files stat --enc=json /")).unwrap();
    assert_eq!(json["Mode"], "20000000755");
    assert_eq!(
        ask(&node, "files ls --enc=json /"),
        "{\"Entries\":[{\"Name\":\"raw\",\"Type\":0,\"Size\":0,\"Hash\":\"\"}]}\n"
    );
    ask(&node, "files mkdir /empty");
    assert_eq!(ask(&node, "files ls --enc=json /empty"), "{\"Entries\":null}\n");
    assert_eq!(ask(&node, "files ls /empty"), "");
    // Nothing in the input, and an offset beyond the end: the gap is there.
    write(&node, "files write --offset=9 /raw", b"");
    assert!(ask(&node, "files stat --size /raw").trim().parse::<u64>().unwrap() > 9);
    assert_eq!(node.run(["files", "read", "/raw"]).ok().out(), "hello\0\0\0\0");
    let emptied = ask(&node, "files chroot --confirm");
    assert!(emptied.starts_with("MFS root changed from Qm"), "{emptied}");
    assert!(emptied.ends_with("will be garbage collected unless pinned.\n"), "{emptied}");
    assert_eq!(ask(&node, "files ls"), "");
}

#[test]
fn what_one_process_does_not_flush_it_leaves_behind_when_it_ends() {
    let dir = temporary("files-unflushed");
    let node = Node::init(&dir.path().join("repo"));
    ask(&node, "files mkdir --flush=false /a");
    assert_eq!(ask(&node, "files ls"), "a\n");
}

/// A write of a large file is killed at several moments: what is there is what was there before.
#[test]
fn a_killed_write_leaves_the_tree_as_it_was() {
    let dir = temporary("files-killed");
    let node = Node::init(&dir.path().join("repo"));
    write(&node, "files write --create /file", b"before");
    let root = ask(&node, "files stat --hash /");
    let data = noise(7, 24 << 20);
    for sent in [0, 1 << 20, 12 << 20, data.len()] {
        let mut child =
            node.command(["files", "write", "--truncate", "/file"]).stdin(Stdio::piped()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(&data[..sent]).unwrap();
        // The end of the input is never told, so the write cannot be complete.
        child.kill().unwrap();
        child.wait().unwrap();
        drop(input);
        assert_eq!(ask(&node, "files stat --hash /"), root, "after {sent} bytes");
    }
    assert_eq!(ask(&node, "files read /file"), "before");
    write(&node, "files write --truncate /file", &data);
    assert_eq!(node.run(["files", "read", "/file"]).ok().stdout, data);
    fs::write(dir.path().join("data"), &data).unwrap();
    // Written at once into an empty file it is the trickle DAG of the same bytes.
    write(&node, "files write --create /new", &data);
    let added = node.run(["add", "-Q", "--trickle", dir.path().join("data").to_str().unwrap()]).ok().cid();
    assert_eq!(ask(&node, "files stat --hash /new").trim(), added);
}
