//! Whoever makes the DAG chooses its names; `get` must never write outside of what it was given.
//!
//! Hostile folders come in by CAR: names that climb, that are absolute, that hold separators or
//! nothing; a symlink that points outside with an entry of the same name behind it; a symlink that
//! already lies where a file goes. Whether `dag import` or `get` refuses them is free; what lies
//! outside stays as it was.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use holdfast_tests::car::{Block, car};
use holdfast_tests::need::{data, say, temporary};
use holdfast_tests::run::Node;
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
