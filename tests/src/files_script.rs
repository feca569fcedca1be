//! A script of changes to the mutable file system, with collections between them, and what the root is after each.
//!
//! The same script runs on a second node that nobody disturbs; its roots are what the first one must have. A change
//! that was cut short has happened or has not: any other root is half a change.

use std::fs;
use std::path::{Path, PathBuf};

use crate::inputs::{Random, noise};
use crate::run::{Answer, Node};

/// One line of the script.
#[derive(Debug, Clone)]
pub struct Step {
    /// The arguments of the command.
    pub args: Vec<String>,
    /// What kind it is, for the summary.
    pub kind: &'static str,
}

/// The script and its undisturbed node.
#[derive(Debug)]
pub struct Script {
    shadow: Node,
    inputs: PathBuf,
    random: Random,
    number: u64,
    /// Files that are there, by path.
    files: Vec<String>,
}

impl Script {
    /// A script that lays its inputs and its own node under `dir`.
    pub fn new(dir: &Path, random: Random) -> Self {
        let inputs = dir.join("script");
        fs::create_dir_all(&inputs).unwrap();
        let shadow = Node::init(&dir.join("shadow"));
        Self { shadow, inputs, random, number: 0, files: Vec::new() }
    }

    /// The next line, and the root once it is done.
    ///
    /// # Panics
    /// When the undisturbed node fails.
    pub fn next_step(&mut self) -> (Step, String) {
        self.number += 1;
        let step = self.draw();
        self.shadow.run(&step.args).ok();
        (step, root_of(&self.shadow).expect("the undisturbed node answers"))
    }

    fn draw(&mut self) -> Step {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let number = self.number;
        let folder = format!("/d{}", self.random.below(5));
        let input = self.inputs.join(format!("input{}", number % 50));
        let some = usize::try_from(self.random.below(self.files.len().max(1) as u64)).unwrap();
        let text = input.to_str().expect("paths here are ASCII").to_owned();
        match (self.random.below(8), self.files.get(some).cloned()) {
            (0 | 1, Some(path)) => {
                let offset = self.random.below(600_000).to_string();
                fs::write(&input, noise(number, 1 + number % 300_000)).unwrap();
                Step {
                    args: words(&["files", "write", "-o", &offset, &path, &text]),
                    kind: "files write into",
                }
            }
            (2, Some(path)) => {
                self.files.swap_remove(some);
                Step { args: words(&["files", "rm", &path]), kind: "files rm" }
            }
            (3, Some(path)) => {
                let to = format!("/moved{number}");
                self.files[some].clone_from(&to);
                Step { args: words(&["files", "mv", &path, &to]), kind: "files mv" }
            }
            (4, Some(path)) => {
                let to = format!("/copy{number}");
                self.files.push(to.clone());
                Step { args: words(&["files", "cp", &path, &to]), kind: "files cp" }
            }
            (5, _) => Step { args: words(&["repo", "gc", "-q"]), kind: "repo gc" },
            (6, _) => {
                fs::write(&input, noise(number, 400_000)).unwrap();
                Step { args: words(&["add", "-Q", "--pin=false", &text]), kind: "add unpinned" }
            }
            _ => {
                let path = format!("{folder}/f{number}");
                self.files.push(path.clone());
                fs::write(&input, noise(number, self.random.length(700_000))).unwrap();
                Step { args: words(&["files", "write", "-e", "-p", &path, &text]), kind: "files write" }
            }
        }
    }
}

/// The root of a node's files, or why there is none.
///
/// # Errors
/// With what the command said.
pub fn root_of(node: &Node) -> Result<String, String> {
    let answer = node.run(["files", "stat", "--hash", "/"]);
    if answer.code == Some(0) { Ok(answer.out().trim().to_owned()) } else { Err(answer.err()) }
}

/// Reads everything below a root. What is wrong, if anything is.
pub fn read_all(node: &Node, root: &str) -> Option<String> {
    let answer: Answer = node.run(["dag", "export", "--offline", root]);
    (answer.code != Some(0)).then(|| format!("{root} is not whole: {}", answer.err().trim()))
}
