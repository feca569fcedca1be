//! What was acknowledged, kept outside the process that is killed.
//!
//! Acknowledged means: the command printed the CID and ended with exit code 0. The contents are
//! not kept, they follow from a seed. A judge reads everything back through the binary.
//!
//! What is pinned is kept in a book of its own, see [`crate::pin_book`]. A new kind of operation
//! joins the mix by its line in `KINDS`, what it stores and what it does to pins.

use std::fs;
use std::path::{Path, PathBuf};

use crate::car::{Block, car};
use crate::inputs::{Random, noise};
use crate::pin_book::{PinBook, PinChange, Pins};
use crate::run::{Answer, Node};

/// One piece of content: where it can be read once `root` is known, and the seed of its bytes.
#[derive(Debug, Clone)]
pub struct Piece {
    /// The path below the root: empty for a file, `/name` in a folder.
    pub below: String,
    /// The seed of its bytes.
    pub seed: u64,
    /// How many they are.
    pub len: u64,
}

impl Piece {
    /// The bytes it must have.
    pub fn bytes(&self) -> Vec<u8> {
        noise(self.seed, self.len)
    }
}

/// One command that stores something, or changes what is pinned.
#[derive(Debug, Clone)]
pub struct Operation {
    /// The arguments of the command.
    pub args: Vec<String>,
    /// What it stores.
    pub pieces: Vec<Piece>,
    /// What kind it is, for the summary.
    pub kind: &'static str,
    /// What it does to pins.
    pub pin: Option<PinChange>,
}

impl Operation {
    /// Whether it can be run once more after it was killed: what it does does not hang on what
    /// was there before.
    pub fn can_be_repeated(&self) -> bool {
        self.pin.as_ref().is_none_or(|change| *change == PinChange::Printed)
    }
}

/// The kinds of operation, each as likely as another.
const KINDS: [&str; 9] = [
    "add file",
    "add tree",
    "add unpinned",
    "dag import",
    "block put",
    "pin add",
    "pin add direct",
    "pin rm",
    "pin update",
];

/// Prepares an operation: lays its input under `dir` and says how to run it.
pub fn prepare(random: &mut Random, dir: &Path, number: u64, journal: &Journal) -> Operation {
    let kind = KINDS[usize::try_from(random.below(KINDS.len() as u64)).unwrap()];
    if kind.starts_with("pin ") {
        return prepare_pin(kind, random, number, journal)
            .unwrap_or_else(|| store("add file", random, dir, number));
    }
    store(kind, random, dir, number)
}

/// Prepares an operation on pins, if there is something to do it with.
fn prepare_pin(kind: &'static str, random: &mut Random, number: u64, journal: &Journal) -> Option<Operation> {
    let pins = journal.book().pins();
    let is = |cid: &String, kind| pins.contains_key(&(cid.clone(), kind));
    let roots = journal.entries().iter().map(|entry| &entry.root);
    let mut pick = |among: Vec<String>| {
        let some = u64::try_from(among.len()).ok().filter(|count| *count > 0)?;
        among.get(usize::try_from(random.below(some)).ok()?).cloned()
    };
    let free = || roots.clone().filter(|root| !is(root, "recursive")).cloned().collect::<Vec<_>>();
    let kept = || roots.clone().filter(|root| is(root, "recursive")).cloned().collect::<Vec<_>>();
    let name = if number.is_multiple_of(3) { String::new() } else { format!("name {number} \u{e4}") };
    let (words, change) = match kind {
        // One in some is pinned already, and only gets another name.
        "pin add" => {
            let cid = pick(if number.is_multiple_of(4) { kept() } else { free() })?;
            (
                vec!["add".to_owned(), "--name".to_owned(), name.clone(), cid.clone()],
                PinChange::Recursive(cid, name),
            )
        }
        "pin add direct" => {
            let cid = pick(free())?;
            let flags = ["add", "-r=false", "--name"].map(str::to_owned);
            ([flags.as_slice(), &[name.clone(), cid.clone()]].concat(), PinChange::Direct(cid, name))
        }
        "pin rm" => {
            let cid = pick(
                roots.clone().filter(|root| is(root, "recursive") || is(root, "direct")).cloned().collect(),
            )?;
            (vec!["rm".to_owned(), cid.clone()], PinChange::Remove(cid))
        }
        _ => {
            let (from, to) = (pick(kept())?, pick(free())?);
            (vec!["update".to_owned(), from.clone(), to.clone()], PinChange::Update(from, to))
        }
    };
    let args = [vec!["pin".to_owned()], words].concat();
    Some(Operation { args, pieces: Vec::new(), kind, pin: Some(change) })
}

fn store(kind: &'static str, random: &mut Random, dir: &Path, number: u64) -> Operation {
    let path = dir.join(format!("input{number}"));
    let text = |path: &Path| path.to_str().expect("paths here are ASCII").to_owned();
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    match kind {
        "add file" | "add unpinned" => {
            let piece = piece(random, 5 << 20, "");
            fs::write(&path, piece.bytes()).unwrap();
            let chunker = ["size-262144", "size-1048576", "rabin", "buzhash"];
            let chunker = chunker[usize::try_from(random.below(4)).unwrap()];
            let pinned = kind == "add file";
            let mut args = words(&["add", "-Q", "--chunker", chunker]);
            args.extend([format!("--pin={pinned}"), text(&path)]);
            Operation { args, pieces: vec![piece], kind, pin: pinned.then_some(PinChange::Printed) }
        }
        "add tree" => {
            let count = 1 + random.below(60);
            let pieces: Vec<Piece> =
                (0..count).map(|file| piece(random, 64 << 10, &format!("/f{}/n{file}", file % 7))).collect();
            for piece in &pieces {
                let file = dir.join(format!("input{number}{}", piece.below));
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, piece.bytes()).unwrap();
            }
            let mut args = words(&["add", "-r", "-Q"]);
            args.push(text(&path));
            Operation { args, pieces, kind, pin: Some(PinChange::Printed) }
        }
        "dag import" => {
            let pieces: Vec<Piece> = (0..=random.below(12))
                .map(|file| piece(random, 200 << 10, &format!("/c{file:02}")))
                .collect();
            let leaves: Vec<Block> = pieces.iter().map(|piece| Block::raw(piece.bytes())).collect();
            let names: Vec<&[u8]> = pieces.iter().map(|piece| &piece.below.as_bytes()[1..]).collect();
            let entries: Vec<(&[u8], &Block)> = names.into_iter().zip(&leaves).collect();
            let root = Block::directory(&entries);
            let mut blocks = vec![&root];
            blocks.extend(&leaves);
            fs::write(&path, car(&root, &blocks)).unwrap();
            let mut args = words(&["dag", "import"]);
            args.push(text(&path));
            Operation { args, pieces, kind, pin: Some(PinChange::Printed) }
        }
        _ => {
            let piece = piece(random, 1 << 20, "");
            fs::write(&path, piece.bytes()).unwrap();
            let mut args = words(&["block", "put"]);
            args.push(text(&path));
            Operation { args, pieces: vec![piece], kind, pin: None }
        }
    }
}

fn piece(random: &mut Random, max: u64, below: &str) -> Piece {
    let len = random.length(max);
    Piece { below: below.to_owned(), seed: random.draw(), len }
}

/// The root that a command's answer acknowledges, if it does: exit code 0 and a CID.
///
/// `dag import` prints `Pinned root TAB cid TAB success`.
pub fn acknowledged(operation: &Operation, answer: &Answer) -> Option<String> {
    if answer.code != Some(0) {
        return None;
    }
    let out = answer.out();
    let root = if operation.kind == "dag import" {
        out.lines().last()?.split('\t').nth(1)?.trim().to_owned()
    } else if operation.kind.starts_with("pin ") {
        // `pinned CID recursively`, `unpinned CID`, `updated CID to CID`.
        out.split_whitespace().nth(1)?.to_owned()
    } else {
        out.trim().to_owned()
    };
    assert!(
        root.len() >= 46 && root.chars().all(|letter| letter.is_ascii_alphanumeric()),
        "`{}` succeeded without printing a CID: {out:?}",
        answer.line
    );
    Some(root)
}

/// An acknowledged operation.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The CID it acknowledged.
    pub root: String,
    /// What it stored.
    pub operation: Operation,
}

/// The acknowledged operations, in order; every line also goes to a file, for a look afterwards.
#[derive(Debug)]
pub struct Journal {
    entries: Vec<Entry>,
    book: PinBook,
    file: PathBuf,
}

/// What a judge found missing.
#[derive(Debug)]
pub struct Loss {
    /// Which entry, counted from 0.
    pub entry: usize,
    /// What is wrong with it.
    pub why: String,
}

impl Journal {
    /// An empty journal that also writes to `file`.
    pub fn new(file: PathBuf) -> Self {
        Self { entries: Vec::new(), book: PinBook::default(), file }
    }

    /// Notes that an operation begins.
    pub fn begin(&mut self, operation: &Operation) {
        self.book.begin(operation.pin.as_ref());
    }

    /// What is pinned, by the book.
    pub fn book(&self) -> &PinBook {
        &self.book
    }

    /// Takes what is found to be pinned for certain: see [`PinBook::settle`].
    pub fn settle(&mut self, found: Pins) {
        self.book.settle(found);
    }

    /// Notes that the operation that began last is acknowledged.
    pub fn note(&mut self, root: String, operation: Operation) {
        use std::io::Write;
        let mut file = fs::OpenOptions::new().create(true).append(true).open(&self.file).unwrap();
        writeln!(file, "{root}\t{}\t{}", operation.kind, operation.pieces.len()).unwrap();
        self.book.acknowledge(operation.pin.as_ref(), &root);
        if !operation.pieces.is_empty() {
            self.entries.push(Entry { root, operation });
        }
    }

    /// The entries so far.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

/// Reads `entries` back through the binary, byte for byte. The first answer of a fresh process
/// also shows that the repo opens without a hand.
///
/// Everything is asked in one process while it is well; what is missing is then found one by one.
pub fn judge(node: &Node, entries: &[Entry]) -> Vec<Loss> {
    let mut losses = Vec::new();
    // Some hundred paths a process keep the command line short.
    for (group, part) in entries.chunks(40).enumerate() {
        let mut paths = Vec::new();
        let mut wanted = Vec::new();
        for entry in part {
            for piece in &entry.operation.pieces {
                paths.push(format!("/ipfs/{}{}", entry.root, piece.below));
                wanted.extend(piece.bytes());
            }
        }
        let answer = cat(node, &paths);
        if answer.code == Some(0) && answer.stdout == wanted {
            continue;
        }
        for (at, entry) in part.iter().enumerate() {
            if let Some(why) = judge_one(node, entry) {
                losses.push(Loss { entry: group * 40 + at, why });
            }
        }
        assert!(!losses.is_empty(), "together they do not read back, one by one they do: {}", answer.err());
    }
    losses
}

fn judge_one(node: &Node, entry: &Entry) -> Option<String> {
    for piece in &entry.operation.pieces {
        let path = format!("/ipfs/{}{}", entry.root, piece.below);
        let answer = cat(node, std::slice::from_ref(&path));
        if answer.code != Some(0) {
            return Some(format!("{}: {path}: {}", entry.operation.kind, answer.err().trim()));
        }
        if answer.stdout != piece.bytes() {
            return Some(format!("{}: {path}: other bytes came back", entry.operation.kind));
        }
    }
    None
}

fn cat(node: &Node, paths: &[String]) -> Answer {
    let args = ["cat".to_owned(), "--offline".to_owned()];
    node.run(args.iter().chain(paths))
}

/// Checks what reading cannot show: whole DAGs by `refs -r`, blocks by `block get`, and that what
/// is pinned (see [`crate::pin_book::pins_of`]) cannot be removed. Takes every `nth` entry.
pub fn judge_structure(node: &Node, entries: &[Entry], nth: usize, pins: &Pins) -> Vec<Loss> {
    let mut losses = Vec::new();
    for (number, entry) in entries.iter().enumerate().step_by(nth) {
        let mut lost = |why: String| losses.push(Loss { entry: number, why });
        if entry.operation.kind == "block put" {
            let answer = node.run(["block", "get", "--offline", &entry.root]);
            if answer.code != Some(0) || answer.stdout != entry.operation.pieces[0].bytes() {
                lost(format!("block get {}: {}", entry.root, answer.err().trim()));
            }
            continue;
        }
        let answer = node.run(["refs", "-r", "-u", "--offline", &entry.root]);
        if answer.code != Some(0) {
            lost(format!("refs -r {}: {}", entry.root, answer.err().trim()));
        }
        if !pins.contains_key(&(entry.root.clone(), "recursive")) {
            continue;
        }
        let out = answer.out();
        let below = [Some(entry.root.as_str()), out.lines().last()];
        for cid in below.into_iter().flatten() {
            let answer = node.run(["block", "rm", cid]);
            if answer.code == Some(0) {
                lost(format!("{}: {cid} was not kept and could be removed", entry.operation.kind));
            }
            let answer = node.run(["pin", "ls", cid]);
            if answer.code != Some(0) {
                lost(format!("{}: {}", entry.operation.kind, answer.err().trim()));
            }
        }
    }
    losses
}

/// Checks what the node says of itself: every pin is whole, and the number of blocks is that of a
/// full walk. What is wrong.
pub fn judge_counts(node: &Node) -> Vec<String> {
    let mut wrong = Vec::new();
    let verified = node.run(["pin", "verify"]);
    if verified.code != Some(0) || !verified.stdout.is_empty() {
        wrong.push(format!("pin verify: {}{}", verified.out(), verified.err()));
    }
    let stat = node.run(["repo", "stat", "--enc=json"]).ok().out();
    let counted = serde_json::from_str::<serde_json::Value>(&stat).unwrap()["NumObjects"].as_u64();
    let walked = node.run(["repo", "ls"]).ok().out().lines().count() as u64;
    if counted != Some(walked) {
        wrong.push(format!("repo stat counts {counted:?} blocks, there are {walked}"));
    }
    wrong
}
