//! Somebody reads in the README which of Kubo's commands are not there, before they move.
//!
//! The table is what the binary lacks of Kubo's list: no command more, none less.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::path::Path;

use holdfast_tests::need::{data, json, temporary};
use holdfast_tests::run::Node;

/// The cells in the first column of the table of what is not there.
fn cells(readme: &str) -> Vec<String> {
    let table = readme.lines().skip_while(|line| !line.starts_with("A command that is not there"));
    let rows = table.skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    rows.skip(2).map(|row| row.split('|').nth(1).unwrap().trim().to_owned()).collect()
}

/// The commands that a cell names. In backquotes stand words of a command, the last of them perhaps several with commas between; a group
/// stands for everything in it; behind "but", for nothing of the group before it; options are not commands.
fn named(cell: &str, all: &BTreeSet<String>) -> BTreeSet<String> {
    let below = |group: &str| -> BTreeSet<String> {
        all.iter().filter(|path| *path == group || path.starts_with(&format!("{group} "))).cloned().collect()
    };
    let (mut found, mut last) = (BTreeSet::new(), String::new());
    let parts: Vec<&str> = cell.split('`').collect();
    assert!(parts.len() >= 3 && parts.len() % 2 == 1, "{cell}");
    for pair in parts.chunks(2).filter(|pair| pair.len() == 2) {
        let (between, quoted) = (pair[0].trim(), pair[1]);
        if quoted.contains("--") {
            continue;
        }
        let (first, more) = quoted.split_once(',').unwrap_or((quoted, ""));
        let group = first.rsplit_once(' ').map_or("", |(group, _)| group);
        let siblings = more.split(',').map(str::trim).filter(|word| !word.is_empty());
        let paths = std::iter::once(first.to_owned()).chain(siblings.map(|word| format!("{group} {word}")));
        for path in paths {
            if between.ends_with("but") {
                // The group itself is there then.
                let path = format!("{last} {path}");
                assert!(found.remove(&path), "{path} is not in the group");
                found.remove(&last);
                continue;
            }
            let covered = below(&path);
            assert!(!covered.is_empty(), "Kubo has no {path:?}, which {cell:?} names");
            found.extend(covered);
            last = path;
        }
    }
    found
}

#[test]
fn the_table_of_absent_commands_is_what_the_binary_lacks() {
    let Some(data) = data("the README's table of commands") else { return };
    let kubo = json(&data.join("kubo-commands.json"));
    let kubo: BTreeSet<String> =
        kubo["commands"].as_object().unwrap().keys().filter(|path| !path.is_empty()).cloned().collect();
    let dir = temporary("readme");
    let listed = Node::init(&dir.path().join("repo")).run(["commands"]).ok().out();
    let ours: BTreeSet<&str> = listed.lines().filter_map(|line| Some(line.split_once(' ')?.1)).collect();
    let lacking: BTreeSet<String> =
        kubo.iter().filter(|path| !ours.contains(path.as_str())).cloned().collect();

    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let told: BTreeSet<String> = cells(&readme).iter().flat_map(|cell| named(cell, &kubo)).collect();
    let hidden: Vec<_> = lacking.difference(&told).collect();
    let wrong: Vec<_> = told.difference(&lacking).collect();
    assert!(hidden.is_empty(), "not there, and not in the table: {hidden:?}");
    assert!(wrong.is_empty(), "in the table, and there: {wrong:?}");
}

#[test]
fn cells_are_read_as_they_are_meant() {
    let all: BTreeSet<String> =
        ["a", "a x", "a y", "b", "b x", "b y", "c x"].into_iter().map(str::to_owned).collect();
    let read = |cell: &str| named(cell, &all).into_iter().collect::<Vec<_>>();
    assert_eq!(read("`a`, `c x`, `b --flag`"), ["a", "a x", "a y", "c x"]);
    assert_eq!(read("`b x, y`"), ["b x", "b y"]);
    assert_eq!(read("`a` but `y`"), ["a x"]);
}
