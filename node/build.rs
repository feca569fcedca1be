//! Writes down what the program is built from: the packages of `Cargo.lock` that it reaches, and the compiler.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::{env, fs};

/// A package of the lock file.
#[derive(Debug, Default)]
struct Package {
    name: String,
    version: String,
    checksum: String,
    /// Names, with a version behind them where there are several of that name.
    dependencies: Vec<String>,
}

fn main() {
    let folder = env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let lock = Path::new(&folder).join("../Cargo.lock");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={}", lock.display());
    println!("cargo::rustc-env=HOLDFAST_RUSTC={}", compiler());
    // Without a lock file, as in a package of its own, nothing is known.
    let text = fs::read_to_string(&lock).unwrap_or_default();
    let mut out = String::from("[\n");
    for package in reached(&packages(&text), "holdfast") {
        let Package { name, version, checksum, .. } = package;
        writeln!(out, "({name:?}, {version:?}, {checksum:?}),").expect("a string takes any text");
    }
    out.push_str("]\n");
    let path = Path::new(&env::var("OUT_DIR").expect("cargo sets it")).join("dependencies.rs");
    fs::write(path, out).expect("the output folder can be written");
}

/// `rustc 1.90.0`.
fn compiler() -> String {
    let rustc = env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let output = Command::new(rustc).arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

/// The lock file is TOML as Cargo writes it: one key a line.
fn packages(lock: &str) -> Vec<Package> {
    let mut packages: Vec<Package> = Vec::new();
    let mut in_dependencies = false;
    for line in lock.lines() {
        if line == "[[package]]" {
            packages.push(Package::default());
            continue;
        }
        let Some(package) = packages.last_mut() else { continue };
        let quoted = |text: &str| text.trim().trim_end_matches(',').trim_matches('"').to_owned();
        match line.split_once(" = ") {
            Some(("name", value)) => package.name = quoted(value),
            Some(("version", value)) => package.version = quoted(value),
            Some(("checksum", value)) => package.checksum = quoted(value),
            Some(("dependencies", _)) => in_dependencies = true,
            _ if line == "]" => in_dependencies = false,
            None if in_dependencies => package.dependencies.push(quoted(line)),
            _ => {}
        }
    }
    packages
}

/// The package of this name first, then all that it reaches, by name and version.
fn reached<'p>(packages: &'p [Package], root: &str) -> Vec<&'p Package> {
    let mut by_name: BTreeMap<&str, Vec<&Package>> = BTreeMap::new();
    for package in packages {
        by_name.entry(&package.name).or_default().push(package);
    }
    let find = |wanted: &str| {
        let mut words = wanted.split(' ');
        let (name, version) = (words.next().unwrap_or_default(), words.next());
        let found = by_name.get(name).map(Vec::as_slice).unwrap_or_default();
        found.iter().copied().find(|package| version.is_none_or(|version| package.version == version))
    };
    let mut seen = BTreeSet::new();
    let mut open: Vec<&Package> = find(root).into_iter().collect();
    while let Some(package) = open.pop() {
        if seen.insert((package.name.as_str(), package.version.as_str())) {
            open.extend(package.dependencies.iter().filter_map(|wanted| find(wanted)));
        }
    }
    let mut all: Vec<&Package> =
        packages.iter().filter(|package| seen.contains(&(&*package.name, &*package.version))).collect();
    all.sort_by_key(|package| (package.name != root, &package.name, &package.version));
    all
}
