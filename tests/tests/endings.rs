//! How a command that is cut short ends: what its exit code says, and that it ends by itself.
//!
//! An exit code of 0 is an acknowledgement. A command whose reader goes away, or that is interrupted,
//! leaves threads behind that still work in the store; the end of the process must not trip over them.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;
use std::io::Read;
use std::time::Duration;

use holdfast_tests::inputs::noise;
use holdfast_tests::need::temporary;
use holdfast_tests::run::{Answer, Node, finish};
use rustix::process::{Pid, Signal, kill_process};

/// How a shell shows SIGPIPE.
const CLOSED_PIPE: i32 = 141;
/// How a shell shows SIGINT.
const INTERRUPTED: i32 = 130;

/// Starts a command, reads a few bytes of its output, and leaves.
fn leave_early(node: &Node, args: &[&str]) -> Answer {
    let mut child = node.command(args).spawn().unwrap();
    let mut reader = child.stdout.take().unwrap();
    reader.read_exact(&mut [0; 10]).unwrap();
    drop(reader);
    finish(child, args.join(" "), &[], Duration::from_secs(60))
}

#[test]
fn an_add_that_is_cut_short_by_its_reader_does_not_report_success() {
    let dir = temporary("cut-add");
    let node = Node::init(&dir.path().join("repo"));
    let tree = dir.path().join("tree");
    fs::create_dir(&tree).unwrap();
    // Their lines are far more than a pipe and the program's buffer hold.
    for number in 0..9000 {
        fs::write(tree.join(format!("file{number}")), format!("{number}")).unwrap();
    }
    let answer = leave_early(&node, &["add", "-r", tree.to_str().unwrap()]);
    assert_eq!((answer.code, answer.err().as_str()), (Some(CLOSED_PIPE), ""));
    let pins = node.run(["pin", "ls", "--type=recursive"]).ok().out();
    assert_eq!(pins, "", "nothing is pinned, so nothing may be acknowledged");
}

#[test]
fn a_command_that_is_cut_short_ends_by_itself_however_often_it_happens() {
    let dir = temporary("cut-cat");
    let node = Node::init(&dir.path().join("repo"));
    let big = dir.path().join("big");
    fs::write(&big, noise(1, 96 << 20)).unwrap();
    let cid = node.run(["add", "-Q", big.to_str().unwrap()]).ok().cid();
    for round in 0..60 {
        let answer = leave_early(&node, &["cat", &cid]);
        assert_eq!(answer.signal, None, "round {round}: {}", answer.err());
        assert_eq!((answer.code, answer.err().as_str()), (Some(CLOSED_PIPE), ""), "round {round}");
    }
    for round in 0..20 {
        let mut child = node.command(["cat", &cid]).spawn().unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0; 10]).unwrap();
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        // The pipe stays full: nobody reads while the command stops.
        let reader = child.stdout.take();
        std::thread::sleep(Duration::from_millis(20));
        drop(reader);
        let answer = finish(child, "cat".to_owned(), &[], Duration::from_secs(60));
        assert_eq!(answer.signal, None, "round {round}: {}", answer.err());
        assert!([Some(INTERRUPTED), Some(CLOSED_PIPE)].contains(&answer.code), "round {round}: {answer:?}");
    }
    node.run(["repo", "verify"]).ok();
}
