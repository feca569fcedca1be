//! How the command line behaves around its commands: pipes, signals, locks, repos that are not
//! there or not ours, files that cannot be read, the second name of the binary.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::time::{Duration, Instant};

use holdfast_tests::inputs::noise;
use holdfast_tests::need::temporary;
use holdfast_tests::run::{Node, binary, finish};
use holdfast_tests::terminal::on_terminal;
use holdfast_tests::tree;
use rustix::process::{Pid, Signal, kill_process};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_closed_pipe_ends_a_command_quietly() {
    let dir = temporary("pipe");
    let node = Node::init(&dir.path().join("repo"));
    let tree = dir.path().join("tree");
    fs::create_dir(&tree).unwrap();
    for number in 0..4000 {
        fs::write(tree.join(format!("file{number}")), format!("{number}")).unwrap();
    }
    let big = dir.path().join("big");
    fs::write(&big, noise(1, 30 << 20)).unwrap();
    let root = node.run(["add", "-r", "-Q", text(&tree)]).ok().cid();
    let file = node.run(["add", "-Q", text(&big)]).ok().cid();
    // Each of these prints far more than a pipe holds.
    for args in [
        vec!["refs", "local"],
        vec!["ls", &root],
        vec!["refs", &root],
        vec!["cat", &file],
        vec!["dag", "export", &file],
    ] {
        let mut child = node.command(&args).spawn().unwrap();
        let mut reader = child.stdout.take().unwrap();
        let mut first = vec![0; 10];
        reader.read_exact(&mut first).unwrap();
        drop(reader);
        let answer = finish(child, args.join(" "), &[], Duration::from_secs(60));
        assert_eq!(answer.err(), "", "`{}` into a closed pipe", answer.line);
        assert_ne!(answer.code, Some(101), "`{}` panicked", answer.line);
    }
    node.run(["repo", "stat"]).ok();
}

#[test]
fn progress_is_silent_in_a_pipe_and_shown_on_a_terminal() {
    let dir = temporary("progress");
    let node = Node::init(&dir.path().join("repo"));
    let big = dir.path().join("big");
    fs::write(&big, noise(2, 64 << 20)).unwrap();
    let answer = node.run(["add", "-Q", text(&big)]).ok();
    assert_eq!(answer.err(), "");
    let cid = answer.cid();
    let back = dir.path().join("back");
    let car = dir.path().join("car");
    let export = node.run(["dag", "export", &cid]).ok();
    assert_eq!(export.err(), "");
    fs::write(&car, export.stdout).unwrap();
    for args in [vec!["get", "-o", text(&back), &cid], vec!["cat", &cid], vec!["dag", "import", text(&car)]] {
        let answer = node.run(&args).ok();
        assert_eq!(answer.err(), "", "`{}`", answer.line);
    }
    let line = format!("add {} > {}", text(&big), text(&back));
    let Some((went_well, shown)) = on_terminal(&node, &dir.path().join("shown"), &line) else { return };
    assert!(went_well, "{shown}");
    assert!(!shown.trim().is_empty(), "no progress on a terminal");
    assert!(shown.contains('\r'), "progress on a terminal redraws its line: {shown:?}");
}

#[test]
fn control_characters_in_names_do_not_reach_the_terminal() {
    let dir = temporary("control");
    let node = Node::init(&dir.path().join("repo"));
    let tree = dir.path().join("tree");
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("\u{1b}[31mred\u{7}\u{9b}2J"), "x").unwrap();
    let root = node.run(["add", "-r", "-Q", text(&tree)]).ok().cid();
    // A pipe gets the name as it is: programs read it.
    assert!(node.run(["ls", &root]).ok().out().contains("\u{1b}[31mred\u{7}"));
    if let Some((_, shown)) = on_terminal(&node, &dir.path().join("shown"), &format!("ls {root}")) {
        assert!(shown.contains("red"), "{shown:?}");
        assert!(!shown.contains(['\u{1b}', '\u{7}', '\u{9b}']), "{shown:?}");
    }
}

#[test]
fn a_second_process_is_told_who_holds_the_repo() {
    let dir = temporary("lock");
    let node = Node::init(&dir.path().join("repo"));
    // An add that waits for its input holds the repo.
    let mut holder = node.command(["add", "-q"]).spawn().unwrap();
    let pid = holder.id();
    let input = holder.stdin.take();
    let deadline = Instant::now() + Duration::from_secs(30);
    // Asking before the holder has the lock would take it away from the holder.
    let lock = dir.path().join("repo/repo.lock");
    while fs::read_to_string(&lock).unwrap_or_default().trim() != pid.to_string() {
        assert!(Instant::now() < deadline, "the first process never took the lock");
        std::thread::sleep(Duration::from_millis(20));
    }
    let answer = node.run(["repo", "stat"]);
    assert_ne!(answer.code, Some(0), "two processes work on one repo");
    let refused = answer.failed();
    assert!(refused.error_line().contains(&pid.to_string()), "{:?} should name {pid}", refused.err());
    drop(input);
    finish(holder, "add -q".to_owned(), &[], Duration::from_secs(60)).ok();
    node.run(["repo", "stat"]).ok();
    // A lock whose holder was killed is no lock.
    let holder = node.command(["add", "-q"]).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    kill_process(Pid::from_child(&holder), Signal::KILL).unwrap();
    finish(holder, "add -q".to_owned(), &[], Duration::from_secs(60));
    node.run(["repo", "stat"]).ok();
}

#[test]
fn without_a_repo_it_says_what_to_do() {
    let dir = temporary("none");
    let node = Node::at(&dir.path().join("nothing"));
    for args in [
        vec!["cat", "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn"],
        vec!["add", "/etc/hostname"],
        vec!["repo", "stat"],
    ] {
        let answer = node.run(&args).failed();
        let words = format!("Error: no IPFS repo found in {}.\nplease run: 'ipfs init'\n", text(node.repo()));
        assert_eq!(answer.err(), words, "`{}`", answer.line);
    }
    for args in [
        vec!["version"],
        vec!["version", "--all"],
        vec!["cid", "base32", "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn"],
        vec!["multibase", "list"],
        vec!["commands"],
        vec!["commands", "completion", "bash"],
        vec!["add", "--help"],
        vec!["--help"],
    ] {
        let answer = node.run(&args).ok();
        assert!(!answer.stdout.is_empty(), "`{}` says nothing", answer.line);
    }
    assert!(!node.repo().exists(), "looking for a repo made one");
}

#[test]
fn the_binary_called_ipfs_is_the_same_with_kubos_folder() {
    let dir = temporary("name");
    let ipfs = dir.path().join("ipfs");
    symlink(binary(), &ipfs).unwrap();
    for (name, folder) in [(binary(), ".holdfast"), (ipfs, ".ipfs")] {
        let home = dir.path().join(format!("home{folder}"));
        fs::create_dir(&home).unwrap();
        let node = Node::at(&home.join("unused")).called_as(&name);
        for args in [["init", "--profile=test"], ["repo", "stat"]] {
            let mut command = node.command(args);
            let child = command.env_remove("IPFS_PATH").spawn().unwrap();
            finish(child, args.join(" "), &[], Duration::from_secs(60)).ok();
        }
        assert!(home.join(folder).join("config").is_file(), "{folder} is the default folder");
    }
}

#[test]
fn a_repo_of_kubo_is_refused_and_left_alone() {
    let dir = temporary("kubo");
    let repo = dir.path().join("repo");
    fs::create_dir_all(repo.join("blocks")).unwrap();
    fs::write(repo.join("version"), "18\n").unwrap();
    fs::write(
        repo.join("config"),
        "{\"Identity\":{\"PeerID\":\"12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5\"}}",
    )
    .unwrap();
    fs::write(repo.join("datastore_spec"), "{\"mounts\":[],\"type\":\"mount\"}").unwrap();
    fs::write(repo.join("blocks/SHARDING"), "/repo/flatfs/shard/v1/next-to-last/2\n").unwrap();
    let before = dir.path().join("before");
    std::process::Command::new("cp").args(["-a", text(&repo), text(&before)]).status().unwrap();
    let node = Node::at(&repo);
    for args in [vec!["repo", "stat"], vec!["add", "/etc/hostname"], vec!["init"]] {
        let answer = node.run(&args).failed();
        if args != ["init"] {
            assert!(
                answer.err().contains("migrate"),
                "`{}` names the way over: {}",
                answer.line,
                answer.err()
            );
        }
        tree::compare(&before, &repo, &|_| false).expect("the repo was changed");
    }
}

#[test]
fn files_that_cannot_be_read_are_named_and_counted() {
    // In the system's folder for temporary files, which other users can reach.
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let tree = dir.path().join("tree");
    fs::create_dir_all(tree.join("sub")).unwrap();
    fs::write(tree.join("readable"), "r").unwrap();
    for name in ["secret-one", "sub/secret-two"] {
        fs::write(tree.join(name), "s").unwrap();
        fs::set_permissions(tree.join(name), fs::Permissions::from_mode(0o000)).unwrap();
    }
    let copy = dir.path().join("holdfast");
    fs::copy(binary(), &copy).unwrap();
    let node = Node::at(&dir.path().join("repo")).called_as(&copy);
    // Root may read everything, so as root this is done as another user.
    let root = rustix::process::geteuid().is_root();
    let run = |args: &[&str]| {
        let mut command = node.command(args);
        if root {
            command.uid(65534).gid(65534);
        }
        finish(command.spawn().unwrap(), args.join(" "), &[], Duration::from_secs(60))
    };
    if root {
        for path in [dir.path(), &tree, &tree.join("sub")] {
            chown(path, Some(65534), Some(65534)).unwrap();
        }
    }
    run(&["init", "--profile=test"]).ok();
    let answer = run(&["add", "-r", text(&tree)]).failed();
    for name in ["secret-one", "secret-two"] {
        assert!(answer.err().contains(name), "{name} is not named: {}", answer.err());
    }
    assert!(answer.error_line().contains('2'), "they are not counted: {}", answer.err());
    assert!(answer.out().contains("tree/readable"), "what can be read is added: {}", answer.out());
    let missing = run(&["add", text(&tree.join("gone"))]).failed();
    assert_eq!(
        missing.error_line(),
        format!("Error: lstat {}: no such file or directory", text(&tree.join("gone")))
    );
}

#[test]
fn ctrl_c_leaves_nothing_half_pinned_and_a_second_run_writes_only_what_is_missing() {
    let dir = temporary("interrupt");
    let big = dir.path().join("big");
    fs::write(&big, noise(3, 384 << 20)).unwrap();
    let add = ["add", "-Q", text(&big)];
    let whole = Node::init(&dir.path().join("whole"));
    let cid = whole.run(add).ok().cid();
    let node = Node::init(&dir.path().join("repo"));
    let child = node.command(add).spawn().unwrap();
    let written = || {
        let files = fs::read_dir(node.repo().join("segments")).into_iter().flatten().flatten();
        files.filter_map(|file| Some(file.metadata().ok()?.len())).sum::<u64>()
    };
    while written() < 64 << 20 {
        std::thread::sleep(Duration::from_millis(1));
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let answer = finish(child, add.join(" "), &[], Duration::from_secs(60));
    assert_ne!(answer.code, Some(0), "the add ended before it was interrupted: {}", answer.out());
    assert_eq!(answer.out(), "", "an interrupted add acknowledges nothing");
    assert!(!answer.err().contains("panicked"), "{}", answer.err());
    assert_ne!(
        node.run(["cat", "--offline", &cid]).code,
        Some(0),
        "the root is there, and was never acknowledged"
    );
    assert_eq!(node.run(add).ok().cid(), cid);
    let whole = written();
    assert!(whole < 400 << 20, "what the first run had committed was written again: {whole} bytes");
    assert_eq!(node.run(add).ok().cid(), cid);
    assert_eq!(written(), whole, "a third run finds everything");
    assert_eq!(node.run(["cat", &cid]).ok().stdout.len(), 384 << 20);
    node.run(["repo", "verify"]).ok();
}

#[test]
fn a_lost_index_is_made_again_from_the_blocks() {
    let dir = temporary("rebuild");
    let repo = dir.path().join("repo");
    let node = Node::init(&repo);
    let file = dir.path().join("file");
    fs::write(&file, vec![7; 700_000]).unwrap();
    let cid = node.run(["add", "-Q", file.to_str().unwrap()]).ok().out().trim().to_owned();
    fs::remove_dir_all(repo.join("db")).unwrap();
    let refused = node.run(["cat", &cid]).failed();
    assert!(refused.err().contains("holdfast repo rebuild"), "{}", refused.err());
    let report = node.run(["repo", "rebuild"]).ok().out();
    assert!(report.starts_with("indexed "), "{report}");
    assert_eq!(node.run(["cat", &cid]).ok().stdout, vec![7; 700_000]);
}

#[test]
fn an_exported_key_is_written_to_what_is_there_and_stays_in_the_folder() {
    let dir = temporary("export");
    let node = Node::init(&dir.path().join("repo"));
    node.run(["key", "gen", "../out"]).ok();
    let pipe = node.run(["key", "export", "../out", "-o", "/dev/stdout"]).ok();
    assert!(!pipe.stdout.is_empty(), "a device is written to, not replaced");
    let folder = dir.path().join("a/b");
    fs::create_dir_all(&folder).unwrap();
    let mut command = node.command(["key", "export", "../out"]);
    finish(command.current_dir(&folder).spawn().unwrap(), "key export".into(), &[], Duration::from_secs(20))
        .ok();
    assert_eq!(fs::read(folder.join("out.key")).unwrap(), pipe.stdout);
    assert!(!dir.path().join("a/out.key").exists());
}

#[test]
fn a_config_edited_into_nonsense_is_not_taken_over() {
    let dir = temporary("edit");
    let repo = dir.path().join("repo");
    let node = Node::init(&repo);
    let before = fs::read(repo.join("config")).unwrap();
    let edit = |editor: &str| {
        let child = node.command(["config", "edit"]).env("EDITOR", editor).spawn().unwrap();
        finish(child, "config edit".into(), &[], Duration::from_secs(20))
    };
    let refused = edit("sh -c 'echo { > $0'");
    assert_eq!(refused.code, Some(1));
    assert!(refused.err().contains("was left as it was"), "{}", refused.err());
    assert_eq!(fs::read(repo.join("config")).unwrap(), before);
    let kept = fs::read_dir(&repo).unwrap().map(|entry| entry.unwrap().path());
    let mut kept = kept.filter(|path| path.to_string_lossy().contains("config-edit-"));
    assert_eq!(fs::read(kept.next().expect("what was written is kept")).unwrap(), b"{\n");
    edit("sed -i s/10GB/11GB/").ok();
    assert_eq!(node.run(["config", "Datastore.StorageMax"]).ok().out().trim(), "11GB");
}

#[test]
fn a_name_for_standard_input_does_not_climb() {
    let dir = temporary("name");
    let node = Node::init(&dir.path().join("repo"));
    for name in ["..", "../x", "a/../../x", "."] {
        let answer = node.run(["add", "-w", &format!("--stdin-name={name}")]);
        assert_eq!(answer.code, Some(1), "{name}");
        assert!(answer.err().contains("leads out of the folder"), "{}", answer.err());
    }
}
