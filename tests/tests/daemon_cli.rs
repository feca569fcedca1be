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
    ("dag put --store-codec=dag-json --pin", b"{\"x\":{\"/\":\"Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD\"}}"),
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
    ("pin add --timeout=50ms Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfE", b""),
    ("pin update QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD", b""),
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
    ("repo stat --size-only", b""),
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
    let words = line.split(' ').map(|word| {
        word.replace("$IN", input.to_str().unwrap()).replace("$OUT", out.to_str().unwrap())
    });
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
    tree::copy(alone.repo(), &served);
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
    let daemon = Daemon::start(&served, &[]);
    let mut differences = Vec::new();
    for (line, stdin) in LINES {
        let without = said(&run(&alone, line, stdin, &input, &alone_out), &alone, &alone_out);
        let with = said(&run(&served, line, stdin, &input, &served_out), &served, &served_out);
        if without != with {
            differences.push(format!("`{line}`\n  without: {without:?}\n  with:    {with:?}"));
        }
    }
    assert!(differences.is_empty(), "{} of {}:\n{}", differences.len(), LINES.len(), differences.join("\n"));
    assert_eq!(tree::differences(&alone_out, &served_out), Vec::<String>::new());
    assert_eq!(daemon.stop().code, Some(0));
    let pins = |node: &Node| node.run(["pin", "ls"]).ok().out();
    assert_eq!(pins(&alone), pins(&served));
}
