//! The process is killed, or the power goes, while it changes files and collects garbage.
//!
//! Changes of the mutable file system come in order, and none is seen by halves: after every crash the root is that of
//! an undisturbed node after the last acknowledged change, or after one that was under way. Everything below it is there,
//! although unpinned blocks are collected all the time, and counters are those of a full walk.
//!
//! 100 kills and 10 cuts; with `SOAK=1` 1,000 and 200.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use holdfast_tests::disk::{Disk, unavailable};
use holdfast_tests::files_script::{Script, Step, read_all, root_of};
use holdfast_tests::inputs::Random;
use holdfast_tests::journal::judge_counts;
use holdfast_tests::need::{say, skip, switched_on, temporary};
use holdfast_tests::run::{COMMAND_TIME_MAX, Node, finish};
use rustix::process::{Pid, Signal, kill_process};

/// Runs a step and kills it after `delay`; whether it had ended by itself.
fn run_and_kill(node: &Node, step: &Step, delay: Duration) -> bool {
    let child = node.command(&step.args).stdout(std::process::Stdio::null()).spawn().unwrap();
    let pid = Pid::from_child(&child);
    std::thread::sleep(delay);
    // Not reaped yet, so the number is still the child's.
    let _ = kill_process(pid, Signal::KILL);
    let answer = finish(child, step.args.join(" "), &[], COMMAND_TIME_MAX);
    assert!(
        answer.code == Some(0) || answer.signal == Some(9),
        "`{}` failed by itself: {}",
        answer.line,
        answer.err()
    );
    answer.code == Some(0)
}

fn judge(node: &Node, allowed: &[String]) -> Result<String, String> {
    let root = root_of(node)?;
    if !allowed.contains(&root) {
        return Err(format!("the root of the files is {root}, it should be one of {allowed:?}"));
    }
    if let Some(why) = read_all(node, &root) {
        return Err(why);
    }
    match judge_counts(node).as_slice() {
        [] => Ok(root),
        wrong => Err(wrong.join("; ")),
    }
}

#[test]
fn changes_of_files_survive_sigkill_in_order_and_whole() {
    let kills_wanted = if switched_on("SOAK") { 1000 } else { 100 };
    let mut random = Random::for_test("crash_files");
    let dir = temporary("crash-files");
    let node = Node::init(&dir.path().join("repo"));
    let mut script = Script::new(dir.path(), Random::new(random.draw()));
    let mut root = root_of(&node).unwrap();
    let mut took: BTreeMap<&str, Duration> = BTreeMap::new();
    let (mut kills, mut cycles, mut halfway) = (0, 0, 0);
    let started = Instant::now();
    while kills < kills_wanted {
        cycles += 1;
        assert!(cycles < kills_wanted * 10, "{kills} kills in {cycles} cycles: the delays are too long");
        let (step, after) = script.next_step();
        let usual = took.get(step.kind).copied().filter(|_| !random.one_in(8));
        let Some(usual) = usual else {
            let begun = Instant::now();
            node.run(&step.args).ok();
            took.insert(step.kind, begun.elapsed());
            root = after;
            continue;
        };
        let micros = u64::try_from(usual.as_micros()).unwrap().max(1);
        let done = run_and_kill(&node, &step, Duration::from_micros(random.below(micros + micros / 5)));
        kills += u64::from(!done);
        let allowed = if done { vec![after.clone()] } else { vec![root.clone(), after.clone()] };
        let found = judge(&node, &allowed)
            .unwrap_or_else(|why| panic!("after kill {kills} in `{}`: {why}", step.args.join(" ")));
        if found != after {
            halfway += 1;
            node.run(&step.args).ok();
            assert_eq!(root_of(&node).as_ref(), Ok(&after), "`{}` once more", step.args.join(" "));
        }
        root = after;
    }
    node.run(["repo", "verify"]).ok();
    say(&format!(
        "crash_files: {kills} kills in {cycles} cycles, {halfway} changes undone by them, none by halves; {} s",
        started.elapsed().as_secs()
    ));
}

/// Roots in order; how many steps were acknowledged and how many were begun.
#[derive(Clone)]
struct Course {
    roots: Vec<String>,
    acknowledged: usize,
    begun: usize,
}

#[test]
fn changes_of_files_survive_a_power_cut_in_order_and_whole() {
    if let Some(why) = unavailable() {
        return skip("power cut of files", &why);
    }
    let cuts = if switched_on("SOAK") { 200 } else { 10 };
    let mut random = Random::for_test("crash_files (power)");
    let dir = temporary("power-files");
    let disk = Disk::make(dir.path(), 1500).unwrap();
    let node = Node::init(&disk.point().join("repo"));
    let course = Mutex::new(Course { roots: vec![root_of(&node).unwrap()], acknowledged: 0, begun: 0 });
    rustix::fs::sync();
    let mut script = Script::new(dir.path(), Random::new(random.draw()));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let (step, after) = script.next_step();
                {
                    let mut course = course.lock().unwrap();
                    course.roots.push(after);
                    course.begun += 1;
                }
                node.run(&step.args).ok();
                course.lock().unwrap().acknowledged += 1;
            }
        });
        let cutting = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for number in 0..cuts {
                std::thread::sleep(Duration::from_millis(20 + random.below(600)));
                let certain = course.lock().unwrap().acknowledged;
                let cut = disk.cut(&dir.path().join("after")).unwrap();
                let begun = course.lock().unwrap().clone();
                let allowed = &begun.roots[certain..=begun.begun];
                let judged = judge(&Node::at(&cut.point().join("repo")), allowed);
                assert!(judged.is_ok(), "cut {number}, after {certain} acknowledged steps: {judged:?}");
                assert!(!worker.is_finished(), "the worker ended before the cuts did");
            }
        }));
        stop.store(true, Ordering::Relaxed);
        worker.join().unwrap();
        cutting.unwrap();
    });
    let acknowledged = course.lock().unwrap().acknowledged;
    say(&format!(
        "crash_files: {cuts} power cuts beside {acknowledged} acknowledged steps, none lost or by halves"
    ));
    assert!(acknowledged > 0, "nothing was acknowledged: the cuts prove nothing");
}
