//! The process is killed at a random moment, again and again, on one repo.
//!
//! A journal outside the process holds what was acknowledged: the command printed the CID and
//! ended with exit code 0. After every kill the repo opens without a hand, and everything
//! acknowledged so far reads back byte for byte. Inputs whose add was killed are added again, so
//! that an add meets blocks that are present and were never acknowledged. Pins are those of the
//! journal's book: acknowledged ones with their names, none that was removed, an update whole or
//! not at all; and every pin has all its blocks.
//!
//! 100 kills; with `SOAK=1` 1,000.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use holdfast_tests::inputs::Random;
use holdfast_tests::journal::{
    Journal, Operation, acknowledged, judge, judge_counts, judge_structure, prepare,
};
use holdfast_tests::need::{say, switched_on, temporary};
use holdfast_tests::pin_book::pins_of;
use holdfast_tests::run::{Answer, COMMAND_TIME_MAX, Node, finish};
use rustix::process::{Pid, Signal, kill_process};

/// Starts the operation and kills it after `delay`, unless it has ended by then.
fn run_and_kill(node: &Node, operation: &Operation, delay: Duration) -> Answer {
    let child = node.command(&operation.args).spawn().unwrap();
    let pid = Pid::from_child(&child);
    let line = operation.args.join(" ");
    std::thread::scope(|scope| {
        // The child is reaped by `finish` alone, and only after this thread has had its say or the
        // process has ended by itself: until it is reaped, the number cannot belong to another.
        let killer = scope.spawn(move || {
            std::thread::sleep(delay);
            let _ = kill_process(pid, Signal::KILL);
        });
        let mut child = child;
        let stdout = child.stdout.take();
        let stderr = child.stderr.take();
        let out = scope.spawn(move || read(stdout));
        let err = scope.spawn(move || read(stderr));
        drop(child.stdin.take());
        let (out, err) = (out.join().unwrap(), err.join().unwrap());
        killer.join().unwrap();
        let mut answer = finish(child, line, &[], COMMAND_TIME_MAX);
        answer.stdout = out;
        answer.stderr = err;
        answer
    })
}

fn read(pipe: Option<impl std::io::Read>) -> Vec<u8> {
    let mut bytes = Vec::new();
    drop(pipe.map(|mut pipe| pipe.read_to_end(&mut bytes)));
    bytes
}

#[test]
fn what_was_acknowledged_survives_sigkill() {
    let soak = switched_on("SOAK");
    let kills_wanted = if soak { 1000 } else { 100 };
    let mut random = Random::for_test("crash");
    let dir = temporary("crash");
    let inputs = dir.path().join("inputs");
    std::fs::create_dir(&inputs).unwrap();
    let node = Node::init(&dir.path().join("repo"));
    let mut journal = Journal::new(dir.path().join("journal"));
    let mut again: Vec<Operation> = Vec::new();
    // How long each kind takes when nobody kills it: delays are drawn over a little more.
    let mut took: BTreeMap<&str, Duration> = BTreeMap::new();
    let mut kinds: BTreeMap<&str, u32> = BTreeMap::new();
    let (mut kills, mut cycle) = (0_u32, 0_u64);
    let mut slowest_start = Duration::ZERO;
    let started = Instant::now();
    while kills < kills_wanted {
        cycle += 1;
        assert!(
            cycle < u64::from(kills_wanted) * 10,
            "{kills} kills in {cycle} cycles: the delays are too long"
        );
        let operation = if !again.is_empty() && random.one_in(4) {
            again.swap_remove(usize::try_from(random.below(again.len() as u64)).unwrap())
        } else {
            prepare(&mut random, &inputs, cycle, &journal)
        };
        // Every eighth is left to end, to learn how long it takes and to have much to lose.
        let usual = took.get(operation.kind).copied();
        let delay = match usual {
            Some(usual) if !random.one_in(8) => {
                let micros = u64::try_from(usual.as_micros()).unwrap().max(1);
                Duration::from_micros(random.below(micros + micros / 5))
            }
            _ => Duration::MAX,
        };
        journal.begin(&operation);
        let begun = Instant::now();
        let answer = if delay == Duration::MAX {
            node.run(&operation.args).ok()
        } else {
            run_and_kill(&node, &operation, delay)
        };
        if delay == Duration::MAX {
            took.insert(operation.kind, begun.elapsed());
        }
        let line = answer.line.clone();
        if let Some(root) = acknowledged(&operation, &answer) {
            *kinds.entry(operation.kind).or_default() += 1;
            journal.note(root, operation);
        } else {
            assert_eq!(answer.signal, Some(9), "`{}` failed by itself: {}", answer.line, answer.err());
            kills += 1;
            if operation.can_be_repeated() {
                again.push(operation);
            }
        }
        let certain = journal.book().acknowledged();
        let pins = pins_of(&node);
        if let Err(why) = journal.book().judge(&pins, certain) {
            panic!("after kill {kills} and `{line}`: {why}\nthe repo stays in {}", dir.keep().display());
        }
        journal.settle(pins);
        if cycle % 8 == 0 {
            let wrong = judge_counts(&node);
            assert!(wrong.is_empty(), "after kill {kills} and `{line}`: {wrong:?}");
        }
        // Everything, while that is little; in a soak the newest and a random part, and all at times.
        let entries = journal.entries();
        let from = if entries.len() <= 150 || cycle % 50 == 0 {
            0
        } else if random.one_in(2) {
            entries.len() - 40
        } else {
            usize::try_from(random.below(entries.len() as u64 - 40)).unwrap()
        };
        let to = if from == 0 { entries.len() } else { from + 40 };
        let opened = Instant::now();
        let losses = judge(&node, &entries[from..to]);
        slowest_start = slowest_start.max(opened.elapsed());
        assert!(
            losses.is_empty(),
            "after kill {kills}, of {} acknowledged, {} are not what they were; first: entry {}: {}\n\
             the journal and the repo stay in {}",
            entries.len(),
            losses.len(),
            from + losses[0].entry,
            losses[0].why,
            dir.keep().display()
        );
    }
    let nth = if soak { 10 } else { 3 };
    let losses = judge_structure(&node, journal.entries(), nth, &pins_of(&node));
    assert!(losses.is_empty(), "{} structures are not whole; first: {}", losses.len(), losses[0].why);
    node.run(["repo", "verify"]).ok();
    let wrong = judge_counts(&node);
    assert!(wrong.is_empty(), "at the end: {wrong:?}");
    say(&format!(
        "crash: {kills} kills in {cycle} cycles, {} acknowledged ({kinds:?}), none lost; slowest check {} ms; {} s",
        kinds.values().sum::<u32>(),
        slowest_start.as_millis(),
        started.elapsed().as_secs()
    ));
}
