//! The command line through a daemon: the same words, bytes and exit codes as without one.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use holdfast_tests::daemon::Daemon;
use holdfast_tests::inputs::noise;
use holdfast_tests::need::temporary;
use holdfast_tests::run::{Answer, Node, finish};
use holdfast_tests::tree;
use rustix::process::{Pid, Signal, kill_process};

/// A folder of inputs: files of many sizes, nested and empty folders, a link, names that need care.
fn inputs(folder: &Path) -> PathBuf {
    let input = folder.join("in");
    fs::create_dir_all(input.join("tree/sub/empty")).unwrap();
    for (name, data) in [
        ("hello.txt", b"hello world".to_vec()),
        ("empty", Vec::new()),
        ("big", noise(1, (5 << 20) + 17)),
        ("tree/a b+c%41", b"a name".to_vec()),
        ("tree/\u{fc}ml\u{e4}ut\n\"", b"another".to_vec()),
        ("tree/sub/two", noise(2, 300_000)),
        ("tree/.hidden", b"hidden".to_vec()),
        ("obj.json", b"{\"a\":[1,2,{\"b\":\"c\"}]}".to_vec()),
    ] {
        fs::write(input.join(name), data).unwrap();
    }
    std::os::unix::fs::symlink("sub/two", input.join("tree/link")).unwrap();
    fs::set_permissions(input.join("hello.txt"), fs::Permissions::from_mode(0o640)).unwrap();
    input
}

/// One line of the script: its words, split at spaces, and its standard input.
type Line = (&'static str, &'static [u8]);

/// `$IN` is the folder of inputs, `$OUT` an empty one of each node's own.
const LINES: &[Line] = &[
    // Adding.
    ("add $IN/hello.txt", b""),
    ("add -q $IN/hello.txt $IN/empty", b""),
    ("add -Q -r $IN/tree", b""),
    ("add -r -H $IN/tree", b""),
    ("add -r -w $IN/tree $IN/hello.txt", b""),
    ("add -Q --cid-version=1 --chunker=size-1000 $IN/big", b""),
    ("add --trickle --raw-leaves $IN/big", b""),
    ("add -n $IN/big", b""),
    ("add --preserve-mode --mtime=5 $IN/hello.txt", b""),
    ("add --inline --cid-version=1 $IN/hello.txt", b""),
    ("add", b"from a pipe"),
    ("add --stdin-name=named -w", b"from a pipe"),
    ("add --to-files=/added $IN/hello.txt", b""),
    ("add --pin-name=mine $IN/obj.json", b""),
    ("add --enc=json -r $IN/tree", b""),
    ("add --json --progress $IN/empty", b""),
    ("add --cid-base=base32 $IN/hello.txt", b""),
    ("add $IN/nosuch", b""),
    ("add $IN/tree", b""),
    ("add --hash=nosuch $IN/hello.txt", b""),
    ("add --pin=false --pin-name=x $IN/hello.txt", b""),
    ("add --nocopy $IN/hello.txt", b""),
    ("add --chunker=nosuch $IN/hello.txt", b""),
    // Reading.
    ("cat Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD", b""),
    ("cat --offset=6 --length=3 Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD", b""),
    ("cat --offset=-1 Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD", b""),
    ("cat", b"Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD\n"),
    ("cat Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfE", b""),
    ("cat QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn", b""),
    ("cat nonsense", b""),
    ("cat --offline QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1Awxx", b""),
    ("files ls -l /", b""),
    ("ls --size=false QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn", b""),
    ("ls -s --headers /ipfs/QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn", b""),
    ("get Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD -o $OUT/hello", b""),
    ("get -C Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD -o $OUT/packed", b""),
    ("get Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD -o $OUT/nosuch/hello", b""),
    ("get Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfE -o $OUT/missing", b""),
    ("get -C -l 11 Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD", b""),
    // Blocks and DAGs.
    ("block put", b"a block"),
    ("block put --cid-codec=dag-pb --mhtype=sha2-512 $IN/hello.txt", b""),
    ("block stat Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD", b""),
    ("block get Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD", b""),
    ("block stat", b"Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD\n"),
    ("block rm Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD", b""),
    ("block rm QmNoSuch", b""),
    ("dag put $IN/obj.json", b""),
    (
        "dag put --store-codec=dag-json --pin",
        b"{\"x\":{\"/\":\"Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD\"}}",
    ),
    ("dag put", b"{ not json"),
    ("dag get bafyreib3h3t5pn4h5dpufvhmhpd6mxiohg3fsxrp7gwoh7p6ntr4ubqbgi", b""),
    ("dag get Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD/Data", b""),
    ("dag resolve Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD", b""),
    ("dag stat --progress=false Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD", b""),
    ("dag export Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD", b""),
    ("dag import", b"not a car"),
    ("refs -r --format=<src>-<dst>-<linkname> QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn", b""),
    ("refs -r -u Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfE", b""),
    ("resolve /ipfs/Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD", b""),
    ("object stat Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD", b""),
    // Pins.
    ("pin ls --type=recursive --names", b""),
    ("pin ls --enc=json --type=recursive", b""),
    ("pin ls Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD", b""),
    ("pin ls Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfE", b""),
    ("pin ls --type=nosuch", b""),
    ("pin ls --quiet --type=direct", b""),
    ("pin add QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn", b""),
    ("pin add --progress QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn", b""),
    (
        "pin update QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD",
        b"",
    ),
    ("pin rm QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn", b""),
    ("pin verify --verbose", b""),
    // The mutable file system.
    ("files mkdir -p /a/b", b""),
    ("files mkdir /a/b", b""),
    ("files write --create /a/f", b"some text"),
    ("files write -e -p -t /deep/er/f $IN/hello.txt", b""),
    ("files read /a/f", b""),
    ("files read --offset=5 --count=2 /a/f", b""),
    ("files stat /a", b""),
    ("files stat --format=<hash>-<size> /a/f", b""),
    ("files stat /nosuch", b""),
    ("files cp /a/f /a/g", b""),
    ("files mv /a/g /a/h", b""),
    ("files ls -l /a", b""),
    ("files ls /nosuch", b""),
    ("files rm /a", b""),
    ("files rm /nosuch /nosuch2", b""),
    ("files rm -r /a", b""),
    ("files flush", b""),
    ("files read /", b""),
    // Config, keys, the repo.
    ("config Addresses.API", b""),
    ("config --json Import.CidVersion 1", b""),
    ("config Import.CidVersion", b""),
    ("config Nosuch.Key", b""),
    ("config Identity.PrivKey", b""),
    ("config profile apply --dry-run lowpower", b""),
    ("config show", b""),
    ("bootstrap list", b""),
    ("bootstrap add nonsense", b""),
    ("key list -l", b""),
    ("key rm nosuch", b""),
    ("key gen self", b""),
    ("id", b""),
    ("id --format=<id>_<aver>", b""),
    ("id -f <addrs> --peerid-base=base36", b""),
    ("repo version", b""),
    ("repo ls", b""),
    ("version", b""),
    ("version --all", b""),
    ("cid base32 Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD", b""),
    ("swarm peers --nosuch", b""),
    // Mistakes that are found before anything runs, and after.
    ("cat --offset=x Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD", b""),
    ("cat --nosuch x", b""),
    ("pin rm", b""),
    ("pin nosuch", b""),
    ("block stat a b", b""),
    ("nosuch", b""),
    ("--timeout=nosuch id", b""),
    ("--enc=xml id", b""),
    ("--enc=nosuch id", b""),
    ("--cid-base=nosuch refs local", b""),
];

fn run(node: &Node, line: &str, stdin: &[u8], input: &Path, out: &Path) -> Answer {
    let words = line
        .split(' ')
        .map(|word| word.replace("$IN", input.to_str().unwrap()).replace("$OUT", out.to_str().unwrap()));
    node.run_with(words, stdin)
}

/// What a command said, without what names its own folders.
fn said(answer: &Answer, node: &Node, out: &Path) -> (Option<i32>, String, String) {
    let plain = |bytes: &[u8]| {
        String::from_utf8_lossy(bytes)
            .replace(node.repo().to_str().unwrap(), "$REPO")
            .replace(out.to_str().unwrap(), "$OUT")
    };
    (answer.code, plain(&answer.stdout), plain(&answer.stderr))
}

/// The same repo twice.
fn twins(folder: &Path) -> (Node, Node) {
    let (alone, served) = (folder.join("alone/repo"), folder.join("served/repo"));
    fs::create_dir(folder.join("alone")).unwrap();
    fs::create_dir(folder.join("served")).unwrap();
    let alone = Node::init(&alone);
    let copied = std::process::Command::new("cp").arg("-a").args([alone.repo(), &served]).status().unwrap();
    assert!(copied.success());
    (alone, Node::at(&served))
}

#[test]
fn every_command_says_the_same_through_a_daemon_as_without_one() {
    let dir = temporary("daemon-cli");
    let input = inputs(dir.path());
    let (alone, served) = twins(dir.path());
    let (alone_out, served_out) = (dir.path().join("alone/out"), dir.path().join("served/out"));
    fs::create_dir(&alone_out).unwrap();
    fs::create_dir(&served_out).unwrap();
    let daemon = Daemon::alone(&served, &[]);
    let mut differences = Vec::new();
    for (line, stdin) in LINES {
        let without = said(&run(&alone, line, stdin, &input, &alone_out), &alone, &alone_out);
        let with = said(&run(&served, line, stdin, &input, &served_out), &served, &served_out);
        if without != with {
            differences.push(format!("`{line}`\n  without: {without:?}\n  with:    {with:?}"));
        }
    }
    assert!(differences.is_empty(), "{} of {}:\n{}", differences.len(), LINES.len(), differences.join("\n"));
    tree::compare(&alone_out, &served_out, &|_| false).unwrap();
    assert_eq!(daemon.stop().code, Some(0));
    let pins = |node: &Node| node.run(["pin", "ls"]).ok().out();
    assert_eq!(pins(&alone), pins(&served));
}

#[test]
fn trees_that_are_got_through_a_daemon_are_those_that_were_added() {
    let dir = temporary("daemon-get");
    let input = inputs(dir.path());
    let (alone, served) = twins(dir.path());
    let daemon = Daemon::alone(&served, &[]);
    let tree = input.join("tree");
    fs::set_permissions(tree.join("sub/two"), fs::Permissions::from_mode(0o600)).unwrap();
    let add = ["add", "-Q", "-r", "-H", "--preserve-mode", "--preserve-mtime", tree.to_str().unwrap()];
    let cid = served.run(add).ok().cid();
    assert_eq!(alone.run(add).ok().cid(), cid);
    let out = dir.path().join("out");
    for (node, name) in [(&alone, "without"), (&served, "with")] {
        let target = out.join(name);
        let said = node.run(["get", &cid, "-o", target.to_str().unwrap()]).ok().out();
        assert_eq!(said, format!("Saving file(s) to {}\n", target.display()));
        tree::compare(&tree, &target, &|_| false).unwrap();
        for path in ["sub/two", "sub", ".hidden"] {
            let (left, right) =
                (fs::metadata(tree.join(path)).unwrap(), fs::metadata(target.join(path)).unwrap());
            assert_eq!(left.permissions().mode(), right.permissions().mode(), "{path}");
            assert_eq!(left.modified().unwrap(), right.modified().unwrap(), "{path}");
        }
    }
    // Into a folder, and over what is there.
    let file = served.run(["add", "-Q", input.join("big").to_str().unwrap()]).ok().cid();
    served.run(["get", &file, "-o", out.to_str().unwrap()]).ok();
    assert_eq!(fs::read(out.join(&file)).unwrap(), fs::read(input.join("big")).unwrap());
    let refused = served.run(["get", &file, "-o", out.join("without/sub").to_str().unwrap()]);
    refused.ok();
    assert_eq!(daemon.stop().code, Some(0));
}

#[test]
fn a_secret_is_asked_for_and_shown() {
    let dir = temporary("daemon-auth");
    let node = Node::init(&dir.path().join("repo"));
    let users = "{\"a\":{\"AuthSecret\":\"bearer:token\",\"AllowedPaths\":[\"/api/v0\"]},\
                 \"b\":{\"AuthSecret\":\"basic:user:pass\",\"AllowedPaths\":[\"/api/v0/id\"]}}";
    node.run(["config", "--json", "API.Authorizations", users]).ok();
    let daemon = Daemon::alone(&node, &[]);
    let said = "RPC API access is limited by the rules defined in API.Authorizations";
    assert!(daemon.lines().iter().any(|line| line == said), "{:?}", daemon.lines());
    let denied = node.run(["id"]).failed();
    assert!(denied.error_line().contains("Access Denied"), "{}", denied.err());
    for secret in ["bearer:token", "token", "basic:user:pass", "basic:dXNlcjpwYXNz"] {
        node.run(["--api-auth", secret, "id"]).ok();
    }
    node.run(["--api-auth", "basic:user:pass", "repo", "stat"]).failed();
    node.run(["--api-auth", "bearer:wrong", "id"]).failed();
    let unknown = node.run(["--api-auth", "digest:x", "id"]).failed();
    assert!(unknown.error_line().contains("basic:USER:PASSWORD"), "{}", unknown.err());
    node.run(["--api-auth", "token", "shutdown"]).ok();
    assert_eq!(daemon.wait().code, Some(0));
}

#[test]
fn files_that_cannot_be_read_are_named_and_the_rest_is_added() {
    let dir = temporary("daemon-unreadable");
    let (alone, served) = twins(dir.path());
    let daemon = Daemon::alone(&served, &[]);
    let tree = dir.path().join("tree");
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("a"), "a").unwrap();
    fs::write(tree.join("z"), "z").unwrap();
    // Root may read what is not allowed: a loop cannot be read by anybody.
    std::os::unix::fs::symlink("loop", tree.join("loop")).unwrap();
    let args = ["add", "-r", "--dereference-symlinks", tree.to_str().unwrap()];
    let (without, with) = (alone.run(args), served.run(args));
    assert_eq!(without.code, Some(1), "{}", without.err());
    assert_eq!((with.code, with.out(), with.err()), (without.code, without.out(), without.err()));
    assert_eq!(daemon.stop().code, Some(0));
}

#[test]
fn more_arguments_than_a_request_line_holds_go_all_the_same() {
    let dir = temporary("daemon-many");
    let (alone, served) = twins(dir.path());
    let cid = alone.run_with(["add", "-Q"], b"x").ok().cid();
    assert_eq!(served.run_with(["add", "-Q"], b"x").ok().cid(), cid);
    let daemon = Daemon::alone(&served, &[]);
    let many = format!("{cid}\n").repeat(3000);
    let (without, with) =
        (alone.run_with(["refs", "-r"], many.as_bytes()), served.run_with(["refs", "-r"], many.as_bytes()));
    assert_eq!((with.code, &with.stdout, with.err()), (without.code, &without.stdout, without.err()));
    let (without, with) =
        (alone.run_with(["pin", "ls"], many.as_bytes()), served.run_with(["pin", "ls"], many.as_bytes()));
    assert_eq!((with.code, with.out(), with.err()), (without.code, without.out(), without.err()));
    assert_eq!(daemon.stop().code, Some(0));
}

#[test]
fn an_interrupt_ends_the_request_too_and_nothing_of_it_is_pinned() {
    let dir = temporary("daemon-interrupt");
    let node = Node::init(&dir.path().join("repo"));
    let daemon = Daemon::alone(&node, &[]);
    let mut child = node.command(["add", "-Q"]).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&noise(3, 1 << 20)).unwrap();
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let answer = finish(child, "add".to_owned(), &[], Duration::from_secs(60));
    assert_eq!(answer.code, Some(130), "{}", answer.err());
    drop(stdin);
    assert_eq!(node.run(["pin", "ls", "--type=recursive"]).ok().out(), "");
    assert_eq!(daemon.stop().code, Some(0));
}

#[test]
fn a_pipe_that_pauses_is_added_whole() {
    let dir = temporary("daemon-pause");
    let node = Node::init(&dir.path().join("repo"));
    let daemon = Daemon::alone(&node, &[]);
    // Longer than a server lets an upload stall, if nobody shows that he is there.
    let mut child = node.command(["add", "-Q"]).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"before ").unwrap();
    std::thread::sleep(Duration::from_secs(18));
    stdin.write_all(b"after").unwrap();
    drop(stdin);
    let cid = finish(child, "add".to_owned(), &[], Duration::from_secs(60)).ok().cid();
    assert_eq!(node.run(["cat", &cid]).ok().out(), "before after");
    assert_eq!(daemon.stop().code, Some(0));
}

/// A server that answers one request with these bytes, and the address of it.
fn canned(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut connection, _) = listener.accept().unwrap();
        let mut request = [0; 4096];
        drop(connection.read(&mut request));
        drop(connection.write_all(answer));
    });
    url
}

#[test]
fn failures_in_the_middle_of_an_answer_are_failures_of_the_command() {
    let dir = temporary("daemon-failures");
    let node = Node::init(&dir.path().join("repo"));
    let head = |kind: &str| {
        format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n{kind}: 1\r\nTrailer: X-Stream-Error\r\n\r\n"
        )
    };
    let (bytes, values) = (head("X-Stream-Output"), head("X-Chunked-Output"));
    let value = "{\"Ref\":\"a\",\"Err\":\"\"}\n";
    for (what, args, answer, out, words) in [
        (
            "a trailer",
            ["cat", "x"],
            format!("{bytes}2\r\nab\r\n0\r\nX-Stream-Error: it broke\r\n\r\n"),
            "ab",
            "Error: it broke",
        ),
        ("a cut", ["cat", "x"], format!("{bytes}2\r\nab\r\n"), "ab", "Error: unexpected EOF"),
        (
            "a last value and a cut",
            ["refs", "x"],
            format!(
                "{values}{:x}\r\n{value}\r\n{:x}\r\n{}\r\n",
                value.len(),
                61,
                "{\"Message\":\"the disk is full\",\"Code\":0,\"Type\":\"error\"}    \n"
            ),
            "a\n",
            "Error: the disk is full",
        ),
        (
            "a trailer behind values",
            ["refs", "x"],
            format!("{values}{:x}\r\n{value}\r\n0\r\nX-Stream-Error: later\r\n\r\n", value.len()),
            "a\n",
            "Error: later",
        ),
        (
            "nothing",
            ["refs", "x"],
            String::new(),
            "",
            "Error: the server closed the connection without an answer",
        ),
        (
            "an error in JSON",
            ["refs", "x"],
            "HTTP/1.1 500 x\r\nContent-Type: application/json\r\nContent-Length: 45\r\n\r\n\
             {\"Message\":\"no such\",\"Code\":0,\"Type\":\"error\"}"
                .to_owned(),
            "",
            "Error: no such",
        ),
        (
            "no such command",
            ["refs", "x"],
            "HTTP/1.1 404 x\r\nContent-Length: 0\r\n\r\n".to_owned(),
            "",
            "Error: command not found",
        ),
    ] {
        let url = canned(Box::leak(answer.into_boxed_str()).as_bytes());
        let failed = node.run(["--api", &url, args[0], args[1]]).failed();
        assert_eq!(failed.out(), out, "{what}");
        assert!(failed.error_line().starts_with(words), "{what}: {}", failed.err());
    }
}

#[test]
fn an_add_shows_its_progress_while_it_is_sent() {
    let dir = temporary("daemon-progress");
    let node = Node::init(&dir.path().join("repo"));
    let daemon = Daemon::alone(&node, &[]);
    let mut child = node.command(["add", "--progress", "--json"]).stderr(Stdio::null()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    // The first half is acknowledged while the second has not been sent.
    stdin.write_all(&noise(5, 2 << 20)).unwrap();
    let mut seen = String::new();
    while !seen.contains("\"Bytes\":") {
        let mut room = [0; 1024];
        let count = stdout.read(&mut room).unwrap();
        assert_ne!(count, 0, "it ended: {seen}");
        seen.push_str(&String::from_utf8_lossy(&room[..count]));
    }
    assert!(!seen.contains("\"Hash\""), "{seen}");
    drop(stdin);
    stdout.read_to_string(&mut seen).unwrap();
    assert!(seen.contains("\"Hash\""), "{seen}");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(daemon.stop().code, Some(0));
}
