//! Real input: the machine's own files, and one large one.
//!
//! `/usr/share` and the documentation or sources that come with the Rust toolchain (tens of
//! thousands of files of every name and size), and a generated file that brings the whole over
//! 1 GiB, are added, come back equal byte for byte, go into CAR files, and out of them into a
//! fresh repo with the same roots.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use holdfast_tests::inputs::noise;
use holdfast_tests::need::{say, temporary};
use holdfast_tests::run::{Answer, COMMAND_TIME_MAX, Node};
use holdfast_tests::tree;

/// As much as one source may bring.
const SOURCE_BYTES_MAX: u64 = 1 << 30;
/// What all together must reach.
const TOTAL_BYTES_MIN: u64 = 1 << 30;
/// At least this much is one generated file.
const LARGE_FILE_BYTES_MIN: u64 = 256 << 20;

fn bytes_in(path: &Path) -> u64 {
    let Ok(meta) = fs::symlink_metadata(path) else { return 0 };
    if !meta.is_dir() {
        return if meta.is_file() { meta.len() } else { 0 };
    }
    let Ok(entries) = fs::read_dir(path) else { return 0 };
    entries.filter_map(Result::ok).map(|entry| bytes_in(&entry.path())).sum()
}

/// `dir` itself if it is small enough, else as many of its folders as fit.
fn bounded(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    if bytes_in(dir) <= SOURCE_BYTES_MAX {
        return vec![dir.to_path_buf()];
    }
    let mut folders: Vec<PathBuf> =
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    let mut left = SOURCE_BYTES_MAX;
    folders.retain(|path| {
        let bytes = bytes_in(path);
        let fits = bytes <= left;
        left -= if fits { bytes } else { 0 };
        fits
    });
    folders
}

/// The toolchain's documentation, else its sources, else the sources of the crates used here.
fn toolchain() -> Vec<PathBuf> {
    let output = Command::new("rustc").args(["--print", "sysroot"]).output();
    let sysroot = output.ok().map(|output| String::from_utf8(output.stdout).unwrap().trim().to_owned());
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    let places = [
        sysroot.as_ref().map(|root| Path::new(root).join("share/doc")),
        sysroot.as_ref().map(|root| Path::new(root).join("lib/rustlib/src")),
        home.map(|home| home.join("registry/src")),
    ];
    let mut found =
        places.into_iter().flatten().map(|place| bounded(&place)).filter(|folders| !folders.is_empty());
    found.next().unwrap_or_default()
}

/// A command whose output goes into a file.
fn into_file(node: &Node, args: &[&str], path: &Path) -> Answer {
    let mut command = node.command(args);
    command.stdout(Stdio::from(fs::File::create(path).unwrap()));
    let child = command.spawn().unwrap();
    holdfast_tests::run::finish(child, args.join(" "), &[], COMMAND_TIME_MAX)
}

#[test]
fn real_trees_come_back_equal_and_survive_car_files() {
    let dir = temporary("real");
    let mut sources = bounded(Path::new("/usr/share"));
    sources.extend(toolchain());
    let so_far: u64 = sources.iter().map(|path| bytes_in(path)).sum();
    let large = dir.path().join("large");
    let large_bytes = LARGE_FILE_BYTES_MIN.max(TOTAL_BYTES_MIN.saturating_sub(so_far) + 1);
    fs::write(&large, noise(42, large_bytes)).unwrap();
    sources.push(large);

    let node = Node::init(&dir.path().join("repo"));
    let other = Node::init(&dir.path().join("other"));
    let mut total = tree::Counted::default();
    let (mut adding, mut again, mut getting, mut moving) =
        (Duration::ZERO, Duration::ZERO, Duration::ZERO, Duration::ZERO);
    for source in &sources {
        let add = ["add", "-r", "-Q", "--hidden", source.to_str().unwrap()];
        let begun = Instant::now();
        let root = node.run(add).ok().cid();
        adding += begun.elapsed();

        let begun = Instant::now();
        assert_eq!(node.run(add).ok().cid(), root, "added again, {} has another CID", source.display());
        again += begun.elapsed();

        let back = dir.path().join("back");
        let begun = Instant::now();
        node.run(["get", "-o", back.to_str().unwrap(), &root]).ok();
        getting += begun.elapsed();
        let counted = tree::compare(source, &back, &|_| false).unwrap();
        total.files += counted.files;
        total.bytes += counted.bytes;
        total.others += counted.others;
        drop(fs::remove_dir_all(&back).or_else(|_| fs::remove_file(&back)));

        let car = dir.path().join("car");
        let begun = Instant::now();
        into_file(&node, &["dag", "export", &root], &car).ok();
        let imported = other.run(["dag", "import", car.to_str().unwrap()]).ok().out();
        moving += begun.elapsed();
        assert_eq!(imported, format!("Pinned root\t{root}\tsuccess\n"), "{}", source.display());
        fs::remove_file(&car).unwrap();
        let stat =
            |node: &Node| node.run(["dag", "stat", "--progress=false", "--enc=json", &root]).ok().out();
        assert_eq!(stat(&node), stat(&other), "{}: the DAGs differ in size", source.display());
    }
    node.run(["repo", "verify"]).ok();
    other.run(["repo", "verify"]).ok();
    assert!(total.bytes >= TOTAL_BYTES_MIN, "only {} bytes", total.bytes);
    let mib = |time: Duration| f64::from(u32::try_from(total.bytes >> 20).unwrap()) / time.as_secs_f64();
    say(&format!(
        "real_input: {} files, {} MiB from {} sources; add {:.0} MiB/s, again {:.0} MiB/s, get {:.0} MiB/s, export and import {:.0} MiB/s",
        total.files,
        total.bytes >> 20,
        sources.len(),
        mib(adding),
        mib(again),
        mib(getting),
        mib(moving)
    ));
}
