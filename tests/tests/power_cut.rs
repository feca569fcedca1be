//! The power goes while the node writes: what was not synced really is gone.
//!
//! The repo lies on an ext4 whose disk is an image file on an XFS with reflinks. At random moments
//! the image is copied in no time: the copy is the disk as the power cut left it, without what was
//! still in the machine's memory. The copy is mounted as after a reboot, the binary starts on it,
//! and the journal that was kept outside judges: what was acknowledged before the cut is there, pins
//! with their names and all their blocks.
//! With `Datastore.Durability = process` the same judge must find losses, else it proves nothing.
//!
//! 10 cuts; with `SOAK=1` 200, on 8 disks in turn. Needs root, loop devices and xfsprogs.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use holdfast_tests::disk::{Disk, unavailable};
use holdfast_tests::inputs::Random;
use holdfast_tests::journal::{Entry, Journal, acknowledged, judge, judge_counts, judge_structure, prepare};
use holdfast_tests::need::{say, skip, switched_on, temporary};
use holdfast_tests::pin_book::pins_of;
use holdfast_tests::run::Node;

/// Loop devices are few, and the cuts want the disk for themselves: one stage at a time.
static STAGE: Mutex<()> = Mutex::new(());

fn stage(check: &str) -> Option<std::sync::MutexGuard<'static, ()>> {
    if let Some(why) = unavailable() {
        skip(check, &why);
        return None;
    }
    // A poisoned lock only says that another test failed.
    Some(STAGE.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
}

/// What the worker is told.
#[derive(Default)]
struct Orders {
    stop: AtomicBool,
    /// A cut is being judged: what is done meanwhile would fill the disk and lengthen the next judgement, and prove nothing.
    rest: AtomicBool,
}

/// Runs operations on `node` until told to stop, noting what is acknowledged.
fn work(node: &Node, inputs: &Path, seed: u64, journal: &Mutex<Journal>, orders: &Orders) {
    let mut random = Random::new(seed);
    let mut number = 0;
    while !orders.stop.load(Ordering::Relaxed) {
        if orders.rest.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(5));
            continue;
        }
        number += 1;
        let operation = {
            let mut journal = journal.lock().unwrap();
            let operation = prepare(&mut random, inputs, number, &journal);
            journal.begin(&operation);
            operation
        };
        let answer = node.run(&operation.args).ok();
        let input = inputs.join(format!("input{number}"));
        if let Some(root) = acknowledged(&operation, &answer) {
            journal.lock().unwrap().note(root, operation);
        }
        drop(fs::remove_file(&input).or_else(|_| fs::remove_dir_all(&input)));
        // Rests, so that cuts also fall when nothing runs: an acknowledgement must not lean on
        // the next process to make it durable.
        std::thread::sleep(Duration::from_millis(random.below(60)));
    }
}

/// What the judge said after one cut.
struct Verdict {
    acknowledged: usize,
    losses: Vec<String>,
}

/// Cuts the power `cuts` times while the node works on the disk; `until_loss` stops at the first loss.
fn cut_while_working(durability: &str, cuts: u32, until_loss: bool, random: &mut Random) -> Vec<Verdict> {
    let dir = temporary("power");
    let disk = Disk::make(dir.path(), 1500).unwrap();
    let inputs = dir.path().join("inputs");
    fs::create_dir(&inputs).unwrap();
    let node = Node::init(&disk.point().join("repo"));
    node.run(["config", "Datastore.Durability", durability]).ok();
    // The stage is set: what `init` and `config` wrote is not what is on trial.
    rustix::fs::sync();
    let journal = Mutex::new(Journal::new(dir.path().join("journal")));
    let orders = Orders::default();
    let seed = random.draw();
    let mut verdicts = Vec::new();
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| work(&node, &inputs, seed, &journal, &orders));
        let cutting = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..cuts {
                std::thread::sleep(Duration::from_millis(20 + random.below(600)));
                // First the journal, then the disk: only what was acknowledged before is judged.
                let (before, certain): (Vec<Entry>, usize) = {
                    let journal = journal.lock().unwrap();
                    (journal.entries().to_vec(), journal.book().acknowledged())
                };
                let cut = disk.cut(&dir.path().join("after")).unwrap();
                // What was begun by now may be on the disk that was cut off, or may not.
                let book = journal.lock().unwrap().book().clone();
                orders.rest.store(true, Ordering::Relaxed);
                let after = Node::at(&cut.point().join("repo"));
                let mut losses = Vec::new();
                let opened = after.run(["repo", "stat"]);
                if opened.code == Some(0) {
                    losses.extend(judge(&after, &before).into_iter().map(|loss| loss.why));
                    let pins = pins_of(&after);
                    losses.extend(book.judge(&pins, certain).err());
                    losses.extend(judge_counts(&after));
                    losses
                        .extend(judge_structure(&after, &before, 7, &pins).into_iter().map(|loss| loss.why));
                    let verified = after.run(["repo", "verify"]);
                    if verified.code != Some(0) {
                        losses.push(format!("repo verify: {}", verified.err().trim()));
                    }
                } else {
                    losses.push(format!("the repo does not open: {}", opened.err().trim()));
                }
                let lost = !losses.is_empty();
                verdicts.push(Verdict { acknowledged: before.len(), losses });
                if lost && until_loss {
                    break;
                }
                assert!(!worker.is_finished(), "the worker ended before the cuts did");
                orders.rest.store(false, Ordering::Relaxed);
            }
        }));
        orders.stop.store(true, Ordering::Relaxed);
        worker.join().unwrap();
        cutting.unwrap();
    });
    verdicts
}

#[test]
fn what_was_acknowledged_survives_a_power_cut() {
    let Some(_stage) = stage("power cut") else { return };
    let started = Instant::now();
    let mut random = Random::for_test("power_cut");
    // After each cut all that was acknowledged is judged: a fresh disk now and then keeps that short.
    let (disks, cuts) = if switched_on("SOAK") { (8, 25) } else { (1, 10) };
    let verdicts: Vec<Verdict> =
        (0..disks).flat_map(|_| cut_while_working("power", cuts, false, &mut random)).collect();
    let acknowledged = verdicts.iter().map(|verdict| verdict.acknowledged).max().unwrap();
    say(&format!(
        "power_cut: {} cuts, {acknowledged} acknowledged at most before one, {} cuts with losses; {} s",
        verdicts.len(),
        verdicts.iter().filter(|verdict| !verdict.losses.is_empty()).count(),
        started.elapsed().as_secs()
    ));
    assert!(acknowledged > 0, "nothing was acknowledged: the cuts prove nothing");
    for (number, verdict) in verdicts.iter().enumerate() {
        assert!(
            verdict.losses.is_empty(),
            "cut {number}, {} acknowledged before it: {} losses, first: {}",
            verdict.acknowledged,
            verdict.losses.len(),
            verdict.losses[0]
        );
    }
}

#[test]
fn without_the_barrier_the_judge_sees_losses() {
    let Some(_stage) = stage("power cut without the barrier") else { return };
    let mut random = Random::for_test("power_cut (barrier off)");
    let verdicts = cut_while_working("process", 60, true, &mut random);
    let lost: usize = verdicts.iter().map(|verdict| verdict.losses.len()).sum();
    say(&format!("power_cut: with the barrier off, {lost} losses after {} cuts", verdicts.len()));
    assert!(
        lost > 0,
        "{} cuts without a barrier lost nothing: this test cannot see what it is for",
        verdicts.len()
    );
}

#[test]
fn the_cut_loses_what_was_not_synced_and_nothing_else() {
    let Some(_stage) = stage("power cut method") else { return };
    let dir = temporary("power");
    let disk = Disk::make(dir.path(), 400).unwrap();
    let names = ["synced", "lazy"];
    let bytes = vec![7; 20_000];
    for number in 0..60 {
        for name in names {
            let path = disk.point().join(format!("{name}{number}"));
            let mut file = fs::File::create(&path).unwrap();
            file.write_all(&bytes).unwrap();
            if name == "synced" {
                file.sync_all().unwrap();
                fs::File::open(disk.point()).unwrap().sync_all().unwrap();
            }
        }
    }
    let cut = disk.cut(&dir.path().join("after")).unwrap();
    let whole = |name: &str| {
        let has = |number: &u32| {
            fs::read(cut.point().join(format!("{name}{number}"))).is_ok_and(|found| found == bytes)
        };
        (0..60).filter(has).count()
    };
    assert_eq!(whole("synced"), 60, "a cut must not lose what was synced");
    assert_eq!(whole("lazy"), 0, "a cut must lose what was not");
}

#[test]
fn files_left_by_a_cut_need_no_hand() {
    let dir = temporary("left");
    let repo = dir.path().join("repo");
    let node = Node::init(&repo);
    let file = dir.path().join("file");
    fs::write(&file, "kept over the cut").unwrap();
    let cid = node.run(["add", "-Q", file.to_str().unwrap()]).ok().cid();
    let config = fs::read(repo.join("config")).unwrap();
    // Empty where the file was made and its bytes never reached the disk; a lock and addresses of
    // a process that is no more; half a config beside the whole one, under any of the usual names.
    for name in ["api", "gateway"] {
        fs::write(repo.join(name), "").unwrap();
    }
    fs::write(repo.join("repo.lock"), "4194303").unwrap();
    for name in ["config.tmp", ".config.tmp", "config.new", "config~", "version.tmp"] {
        fs::write(repo.join(name), &config[..config.len() / 2]).unwrap();
    }
    assert_eq!(node.run(["cat", &cid]).ok().stdout, b"kept over the cut");
    node.run(["config", "Datastore.StorageMax", "7GB"]).ok();
    assert_eq!(node.run(["config", "Datastore.StorageMax"]).ok().out(), "7GB\n");
    node.run(["add", "-Q", file.to_str().unwrap()]).ok();
    // An address that nobody answers at is as stale as an empty one.
    fs::write(repo.join("api"), "/ip4/127.0.0.1/tcp/9").unwrap();
    assert_eq!(node.run(["cat", &cid]).ok().stdout, b"kept over the cut");
    node.run(["repo", "verify"]).ok();
}
