//! What is pinned, by the book: every operation on pins in order, and whether it was acknowledged.
//!
//! After a crash the pins must be those after some operation between the last one that was acknowledged and the last one
//! that was begun. Several worlds are possible while an operation is in flight, one once its answer is there.

use std::collections::{BTreeMap, BTreeSet};

use crate::run::Node;

/// The pins: CID as text and kind (`recursive`, `direct`) to name.
pub type Pins = BTreeMap<(String, &'static str), String>;

/// What an operation does to pins if it succeeds. Kinds and names are as Kubo has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PinChange {
    /// Pins a CID recursively under a name, in the place of any other pin on it.
    Recursive(String, String),
    /// Pins what the operation is going to print recursively, without a name.
    Printed,
    /// Pins a CID directly under a name.
    Direct(String, String),
    /// Removes the pins on a CID.
    Remove(String),
    /// Moves a recursive pin with its name to another CID.
    Update(String, String),
}

/// One operation in the book.
#[derive(Debug, Clone)]
struct Line {
    change: PinChange,
    acknowledged: bool,
}

/// The book.
#[derive(Debug, Clone, Default)]
pub struct PinBook {
    lines: Vec<Line>,
    /// What is certain: the pins after the operations that are not in `lines` any more.
    settled: Pins,
}

impl PinBook {
    /// Notes that an operation begins. One that changes no pin has no line.
    pub fn begin(&mut self, change: Option<&PinChange>) {
        if let Some(change) = change {
            self.lines.push(Line { change: change.clone(), acknowledged: false });
        }
    }

    /// Notes that the operation that began last has succeeded, and what it printed.
    pub fn acknowledge(&mut self, change: Option<&PinChange>, printed: &str) {
        let Some(line) = change.and_then(|_| self.lines.last_mut()) else { return };
        if line.change == PinChange::Printed {
            line.change = PinChange::Recursive(printed.to_owned(), String::new());
        }
        line.acknowledged = true;
    }

    /// What is pinned after everything that was acknowledged.
    pub fn pins(&self) -> Pins {
        let mut pins = self.settled.clone();
        self.lines.iter().filter(|line| line.acknowledged).for_each(|line| apply(&mut pins, &line.change));
        pins
    }

    /// How many operations were acknowledged, one after the other, since the book was settled.
    pub fn acknowledged(&self) -> usize {
        self.lines.iter().take_while(|line| line.acknowledged).count()
    }

    /// Compares pins with those that the book allows, where the first `certain` operations were acknowledged before the
    /// crash and those after them were begun before it. What is wrong, if anything is.
    ///
    /// An operation that was killed before it printed its CID may have pinned one that nobody knows.
    pub fn judge(&self, found: &Pins, certain: usize) -> Result<(), String> {
        let mut pins = self.settled.clone();
        let mut strangers = 0;
        let mut wrong = String::new();
        for end in 0..=self.lines.len() {
            if end >= certain {
                match compare(&pins, found, strangers) {
                    Ok(()) => return Ok(()),
                    Err(why) => wrong = why,
                }
            }
            if let Some(line) = self.lines.get(end) {
                strangers += usize::from(line.change == PinChange::Printed);
                apply(&mut pins, &line.change);
            }
        }
        Err(wrong)
    }

    /// Takes the pins that were found after a crash for what is certain from now on: what was killed has either happened
    /// or it has not, and that cannot change any more.
    pub fn settle(&mut self, found: Pins) {
        self.settled = found;
        self.lines.clear();
    }
}

fn apply(pins: &mut Pins, change: &PinChange) {
    let mut remove = |cid: &String, kind| pins.remove(&(cid.clone(), kind));
    match change {
        PinChange::Recursive(cid, name) => {
            remove(cid, "direct");
            pins.insert((cid.clone(), "recursive"), name.clone());
        }
        PinChange::Direct(cid, name) => {
            pins.insert((cid.clone(), "direct"), name.clone());
        }
        PinChange::Remove(cid) => {
            remove(cid, "recursive");
            remove(cid, "direct");
        }
        PinChange::Update(from, to) => {
            if let Some(name) = remove(from, "recursive") {
                pins.insert((to.clone(), "recursive"), name);
            }
        }
        PinChange::Printed => {}
    }
}

/// Whether what was found is what was expected, but for as many CIDs as strangers may have pinned.
fn compare(expected: &Pins, found: &Pins, strangers: usize) -> Result<(), String> {
    let differs = |(pin, name): &(&(String, &'static str), &String)| {
        expected.get(*pin).is_none_or(|other| other != *name) || !found.contains_key(*pin)
    };
    let gone = expected.iter().filter(|(pin, _)| !found.contains_key(*pin));
    let cids: BTreeSet<&str> =
        found.iter().filter(differs).chain(gone).map(|(pin, _)| pin.0.as_str()).collect();
    let of = |pins: &Pins, cid: &str, kind| pins.get(&(cid.to_owned(), kind)).cloned();
    for cid in &cids {
        let by_a_stranger = of(found, cid, "recursive").is_some_and(|name| name.is_empty())
            && of(found, cid, "direct").is_none();
        if !by_a_stranger || cids.len() > strangers {
            let told = |pins| format!("{:?}/{:?}", of(pins, cid, "recursive"), of(pins, cid, "direct"));
            return Err(format!(
                "{cid} should be pinned (recursively/directly) as {}, and is as {}",
                told(expected),
                told(found)
            ));
        }
    }
    Ok(())
}

/// The pins of a node, asked for in fresh processes.
///
/// # Panics
/// When the node does not answer, or answers what is no list of pins.
pub fn pins_of(node: &Node) -> Pins {
    let mut pins = Pins::new();
    for kind in ["recursive", "direct"] {
        let listed = node.run(["pin", "ls", "--names", "--type", kind]).ok().out();
        for line in listed.lines() {
            let mut words = line.splitn(3, ' ');
            let cid = words.next().unwrap().to_owned();
            assert_eq!(words.next(), Some(kind), "`pin ls`: {line:?}");
            pins.insert((cid, kind), words.next().unwrap_or_default().to_owned());
        }
    }
    pins
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> String {
        text.to_owned()
    }

    fn pins(list: &[(&str, &'static str, &str)]) -> Pins {
        list.iter().map(|(cid, kind, name)| ((text(cid), *kind), text(name))).collect()
    }

    #[test]
    fn what_was_acknowledged_has_to_be_there_and_what_was_begun_may() {
        let mut book = PinBook::default();
        let add = PinChange::Recursive(text("a"), text("n"));
        book.begin(Some(&add));
        assert!(book.judge(&pins(&[]), 0).is_ok());
        assert!(book.judge(&pins(&[("a", "recursive", "n")]), 0).is_ok());
        book.acknowledge(Some(&add), "");
        assert!(book.judge(&pins(&[]), 1).is_err(), "an acknowledged pin is gone");
        assert!(book.judge(&pins(&[("a", "recursive", "x")]), 1).is_err(), "it has another name");
        let remove = PinChange::Remove(text("a"));
        book.begin(Some(&remove));
        assert!(book.judge(&pins(&[("a", "recursive", "n")]), 1).is_ok());
        assert!(book.judge(&pins(&[]), 1).is_ok());
        book.acknowledge(Some(&remove), "");
        assert!(book.judge(&pins(&[("a", "recursive", "n")]), 2).is_err(), "a removed pin is back");
    }

    #[test]
    fn an_update_is_never_seen_by_halves() {
        let mut book = PinBook::default();
        book.settle(pins(&[("a", "recursive", "n")]));
        let update = PinChange::Update(text("a"), text("b"));
        book.begin(Some(&update));
        assert!(book.judge(&pins(&[("a", "recursive", "n")]), 0).is_ok());
        assert!(book.judge(&pins(&[("b", "recursive", "n")]), 0).is_ok());
        assert!(book.judge(&pins(&[]), 0).is_err());
        assert!(book.judge(&pins(&[("a", "recursive", "n"), ("b", "recursive", "n")]), 0).is_err());
        assert!(book.judge(&pins(&[("b", "recursive", "")]), 0).is_err());
    }

    #[test]
    fn a_killed_add_may_leave_one_pin_that_nobody_knows() {
        let mut book = PinBook::default();
        book.begin(Some(&PinChange::Printed));
        assert!(book.judge(&pins(&[("x", "recursive", "")]), 0).is_ok());
        assert!(book.judge(&pins(&[("x", "recursive", ""), ("y", "recursive", "")]), 0).is_err());
        assert!(book.judge(&pins(&[("x", "direct", "n")]), 0).is_err());
        book.settle(pins(&[("x", "recursive", "")]));
        assert!(book.judge(&pins(&[]), 0).is_err(), "once seen, it has to stay");
    }
}
