//! Whoever makes the DAG chooses its names; `get` must never write outside of what it was given.
//!
//! Hostile folders come in by CAR: names that climb, that are absolute, that hold separators or
//! nothing; a symlink that points outside with an entry of the same name behind it; a symlink that
//! already lies where a file goes. Whether `dag import` or `get` refuses them is free; what lies
//! outside stays as it was.
//!
//! Nor does it damage what it was given: what stands in the way of a directory, pipes and devices
//! stay, and a file is the old one or the new one, never a part.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;
use std::os::unix::fs::{FileTypeExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use holdfast_tests::car::{Block, car};
use holdfast_tests::inputs::noise;
use holdfast_tests::need::{data, say, temporary};
use holdfast_tests::run::{COMMAND_TIME_MAX, Node, finish};
use holdfast_tests::tree;

struct Place {
    dir: tempfile::TempDir,
    node: Node,
}

impl Place {
    /// `guarded` holds a secret, and `guarded/work` is where things are got to.
    fn new() -> Self {
        let dir = temporary("inside");
        let node = Node::init(&dir.path().join("repo"));
        let place = Self { dir, node };
        place.clean();
        place
    }

    fn guarded(&self) -> PathBuf {
        self.dir.path().join("guarded")
    }

    fn out(&self) -> PathBuf {
        self.guarded().join("work/out")
    }

    fn clean(&self) {
        drop(fs::remove_dir_all(self.guarded()));
        fs::create_dir_all(self.guarded().join("work")).unwrap();
        fs::create_dir(self.guarded().join("outside")).unwrap();
        fs::write(self.guarded().join("outside/secret"), "secret").unwrap();
        fs::write(self.guarded().join("secret"), "secret").unwrap();
    }

    /// Everything but what `get` was given is as `clean` left it.
    fn untouched(&self, what: &str) {
        let fresh = self.dir.path().join("fresh");
        drop(fs::remove_dir_all(&fresh));
        fs::create_dir_all(fresh.join("work")).unwrap();
        fs::create_dir(fresh.join("outside")).unwrap();
        fs::write(fresh.join("outside/secret"), "secret").unwrap();
        fs::write(fresh.join("secret"), "secret").unwrap();
        let guarded = self.guarded();
        drop(fs::remove_dir_all(self.out()).or_else(|_| fs::remove_file(self.out())));
        for archive in ["tar", "tar.gz", "gz"] {
            drop(fs::remove_file(self.out().with_extension(archive)));
        }
        tree::compare(&fresh, &guarded, &|_| false)
            .unwrap_or_else(|difference| panic!("{what}: {difference}"));
        assert!(!Path::new("/holdfast-escaped").exists(), "{what}: an absolute name was followed");
    }

    /// Imports a DAG; whether that was accepted.
    fn import(&self, root: &Block, blocks: &[&Block]) -> bool {
        let path = self.dir.path().join("dag.car");
        fs::write(&path, car(root, blocks)).unwrap();
        let answer = self.node.run(["dag", "import", path.to_str().unwrap()]);
        assert!(matches!(answer.code, Some(0 | 1)), "`{}`: {}", answer.line, answer.err());
        answer.code == Some(0)
    }

    /// Gets `root` in every form; none may panic. How many succeeded.
    fn get(&self, root: &str) -> u32 {
        let out = self.out();
        let mut good = 0;
        for more in [&[][..], &["-a"], &["-C"], &["-a", "-C"]] {
            drop(fs::remove_dir_all(&out).or_else(|_| fs::remove_file(&out)));
            let mut args = vec!["get", "-o", out.to_str().unwrap()];
            args.extend(more);
            args.push(root);
            let answer = self.node.run(&args);
            assert!(matches!(answer.code, Some(0 | 1)), "`{}`: {}", answer.line, answer.err());
            assert!(!answer.err().contains("panicked"), "`{}`: {}", answer.line, answer.err());
            good += u32::from(answer.code == Some(0));
        }
        good
    }
}

#[test]
fn hostile_names_write_nothing_outside() {
    let place = Place::new();
    let file = Block::raw(b"escaped".to_vec());
    let inner = Block::directory(&[(b"secret", &file)]);
    let long = vec![b'n'; 5000];
    let names: [&[u8]; 13] = [
        b"..",
        b".",
        b"",
        b"../secret",
        b"../../secret",
        b"a/../../../secret",
        b"/holdfast-escaped",
        b"a/b",
        b"sub/../..",
        b"nul\0name",
        b"back\\..\\slash",
        b"\xff\xfe",
        &long,
    ];
    let mut accepted = 0;
    for name in names {
        for child in [&file, &inner] {
            let root = Block::directory(&[(name, child)]);
            place.clean();
            if place.import(&root, &[&root, &inner, &file]) {
                accepted += place.get(&root.cid());
            }
            place.untouched(&format!("the name {:?}", String::from_utf8_lossy(name)));
        }
    }
    say(&format!("get_stays_inside: {} hostile names, {accepted} gets succeeded, all inside", names.len()));
}

#[test]
fn symlinks_are_never_written_through() {
    let place = Place::new();
    let file = Block::raw(b"escaped".to_vec());
    let folder = Block::directory(&[(b"secret", &file)]);
    for target in [&b"../../outside"[..], b"../outside", b"..", b"../../secret", b"/"] {
        let link = Block::symlink(target);
        // The link first, then a folder or file of the same name behind it.
        for child in [&folder, &file] {
            let root = Block::directory(&[(b"link", &link), (b"link", child)]);
            place.clean();
            if place.import(&root, &[&root, &link, &folder, &file]) {
                place.get(&root.cid());
            }
            place.untouched(&format!("a link to {:?}", String::from_utf8_lossy(target)));
        }
        let root = Block::directory(&[(b"link", &link), (b"link/secret", &file)]);
        place.clean();
        if place.import(&root, &[&root, &link, &file]) {
            place.get(&root.cid());
        }
        place.untouched("a name that goes through a link");
    }
}

#[test]
fn a_symlink_that_lies_there_is_replaced_or_refused_not_followed() {
    let place = Place::new();
    let file = Block::raw(b"new".to_vec());
    let sub = Block::directory(&[(b"secret", &file)]);
    let root = Block::directory(&[(b"file", &file), (b"sub", &sub)]);
    assert!(place.import(&root, &[&root, &sub, &file]), "an honest folder is imported");
    place.clean();
    fs::create_dir(place.out()).unwrap();
    symlink("../../secret", place.out().join("file")).unwrap();
    symlink("../../outside", place.out().join("sub")).unwrap();
    place.node.run(["get", "-o", place.out().to_str().unwrap(), &root.cid()]);
    place.untouched("links that lie where entries go");
    place.clean();
    symlink("../secret", place.out()).unwrap();
    place.node.run(["get", "-o", place.out().to_str().unwrap(), &file.cid()]);
    assert_eq!(fs::read(place.guarded().join("secret")).unwrap(), b"secret", "the output path was followed");
}

#[test]
fn the_published_inside_fixture_works() {
    let Some(data) = data("path fixtures") else { return };
    let place = Place::new();
    let car = data.join("gateway-fixtures/path_gateway_tar/inside-root.car");
    let root = place.node.run(["dag", "import", car.to_str().unwrap()]).ok().out();
    let root = root.split('\t').nth(1).unwrap().to_owned();
    place.node.run(["get", "-o", place.out().to_str().unwrap(), &root]).ok();
    assert!(place.out().exists());
    place.untouched("the inside fixture");
}

#[test]
fn what_stands_where_a_directory_goes_is_kept() {
    let place = Place::new();
    let file = Block::raw(b"new".to_vec());
    let sub = Block::directory(&[(b"secret", &file)]);
    let root = Block::directory(&[(b"sub", &sub)]);
    assert!(place.import(&root, &[&root, &sub, &file]));
    let (out, root) = (place.out(), root.cid());
    let get = || place.node.run(["get", "-o", out.to_str().unwrap(), &root]);
    fs::create_dir(&out).unwrap();
    fs::write(out.join("sub"), "mine").unwrap();
    assert!(get().failed().err().contains("mkdir"), "as Kubo, it says what it could not do");
    assert_eq!(fs::read(out.join("sub")).unwrap(), b"mine", "a file is not deleted for a directory");
    fs::remove_file(out.join("sub")).unwrap();
    symlink("../../outside", out.join("sub")).unwrap();
    assert!(get().failed().err().contains("cannot extract to symlink"));
    assert!(out.join("sub").is_symlink(), "nor is a symlink");
    fs::remove_file(out.join("sub")).unwrap();
    fs::create_dir(out.join("sub")).unwrap();
    fs::write(out.join("sub/other"), "mine").unwrap();
    get().ok();
    assert_eq!(fs::read(out.join("sub/secret")).unwrap(), b"new");
    assert_eq!(fs::read(out.join("sub/other")).unwrap(), b"mine", "directories merge");
}

#[test]
fn pipes_and_devices_are_written_into_or_refused_and_never_removed() {
    let place = Place::new();
    let file = Block::raw(b"new".to_vec());
    let root = Block::directory(&[(b"pipe", &file)]);
    assert!(place.import(&root, &[&root, &file]));
    let (out, pipe) = (place.out(), place.out().join("pipe"));
    let is_pipe = || fs::symlink_metadata(&pipe).unwrap().file_type().is_fifo();
    fs::create_dir(&out).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    place.node.run(["get", "-o", out.to_str().unwrap(), &root.cid()]).failed();
    assert!(is_pipe(), "an entry does not take the place of a pipe");
    let reader = std::thread::spawn({
        let pipe = pipe.clone();
        move || fs::read(pipe).unwrap()
    });
    place.node.run(["get", "-o", pipe.to_str().unwrap(), &file.cid()]).ok();
    assert_eq!(reader.join().unwrap(), b"new", "a pipe that the user names is written into");
    assert!(is_pipe());
    for cid in [file.cid(), root.cid()] {
        place.node.run(["get", "-o", "/dev/null", &cid]).ok();
        assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    }
}

/// A file of some blocks, and the CID of its last one.
fn large_file(place: &Place) -> (String, String) {
    let path = place.dir.path().join("large");
    fs::write(&path, noise(7, 3 << 20)).unwrap();
    let root = place.node.run(["add", "-Q", "--pin=false", path.to_str().unwrap()]).ok().cid();
    let leaves = place.node.run(["refs", &root]).ok().out();
    (root, leaves.lines().last().unwrap().to_owned())
}

#[test]
fn a_get_that_fails_leaves_the_old_file_and_no_part_of_the_new_one() {
    let place = Place::new();
    let (root, leaf) = large_file(&place);
    place.node.run(["block", "rm", &leaf]).ok();
    let out = place.out();
    for more in [&[][..], &["-a"], &["-C"]] {
        let name = if more.is_empty() {
            out.clone()
        } else {
            out.with_extension(if more == ["-a"] { "tar" } else { "gz" })
        };
        for old in [Some("old"), None] {
            place.clean();
            if let Some(old) = old {
                fs::write(&name, old).unwrap();
            }
            let mut args = vec!["get", "-o", out.to_str().unwrap(), &root];
            args.extend(more);
            place.node.run(&args).failed();
            assert_eq!(fs::read_to_string(&name).ok().as_deref(), old, "{more:?}");
            let left = fs::read_dir(name.parent().unwrap()).unwrap().count();
            assert_eq!(left, usize::from(old.is_some()), "{more:?}: a temporary file was left");
        }
    }
}

#[test]
fn a_get_that_is_interrupted_leaves_the_old_file_and_no_part_of_the_new_one() {
    let place = Place::new();
    let path = place.dir.path().join("large");
    fs::write(&path, noise(8, 192 << 20)).unwrap();
    let root = place.node.run(["add", "-Q", path.to_str().unwrap()]).ok().cid();
    let (out, folder) = (place.out(), place.guarded().join("work"));
    let mut interrupted = 0;
    for more in [&[][..], &["-C"]].repeat(5) {
        place.clean();
        let name = if more.is_empty() { out.clone() } else { out.with_extension("gz") };
        fs::write(&name, "old").unwrap();
        let mut args = vec!["get", "-o", out.to_str().unwrap(), &root];
        args.extend(more);
        let mut child = place.node.command(&args).spawn().unwrap();
        while child.try_wait().unwrap().is_none() && fs::read_dir(&folder).unwrap().count() < 2 {
            std::thread::sleep(Duration::from_millis(1));
        }
        let pid = rustix::process::Pid::from_child(&child);
        // It may have ended by itself.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
        let answer = finish(child, "get".to_owned(), b"", COMMAND_TIME_MAX);
        if answer.code == Some(130) {
            interrupted += 1;
            assert_eq!(fs::read(&name).unwrap(), b"old", "{more:?}");
        } else {
            assert_eq!(answer.code, Some(0), "{}", answer.err());
            assert!(fs::metadata(&name).unwrap().len() >= 192 << 20, "{more:?}: a part under the final name");
        }
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "{more:?}: a temporary file was left");
    }
    assert!(interrupted > 0, "no run was interrupted in time: nothing was tested");
}

#[test]
fn what_a_killed_get_left_goes_with_the_next_one() {
    let place = Place::new();
    let path = place.dir.path().join("large");
    fs::write(&path, noise(9, 192 << 20)).unwrap();
    let root = place.node.run(["add", "-Q", path.to_str().unwrap()]).ok().cid();
    let (out, folder) = (place.out(), place.guarded().join("work"));
    let left = || fs::read_dir(&folder).unwrap().count();
    let mut killed = 0;
    for more in [&[][..], &["-a"]].repeat(5) {
        place.clean();
        let mut args = vec!["get", "-o", out.to_str().unwrap(), &root];
        args.extend(more);
        // Twice: the second one finds what the first one left, and may be killed when it has just removed it.
        for turn in 0..2 {
            let mut child = place.node.command(&args).spawn().unwrap();
            while child.try_wait().unwrap().is_none() && left() < 1 {
                std::thread::sleep(Duration::from_millis(1));
            }
            child.kill().unwrap();
            child.wait().unwrap();
            assert!(left() == 1 || turn == 1 && left() == 0, "{more:?}: {}", left());
            killed += u32::from(!out.exists() && !out.with_extension("tar").exists());
        }
        place.node.run(&args).ok();
        assert_eq!(left(), 1, "{more:?}: what was left is gone");
        let name = if more.is_empty() { out.clone() } else { out.with_extension("tar") };
        assert!(fs::metadata(&name).unwrap().len() >= 192 << 20);
    }
    assert!(killed > 0, "no run was killed in time: nothing was tested");
}
