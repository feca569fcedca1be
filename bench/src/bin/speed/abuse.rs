//! A node that fetches from one to which peers without manners come meanwhile. They compute on the same cores, and take their part of
//! them.

use std::cell::RefCell;
use std::path::Path;
use std::time::Duration;

use holdfast_bench::meter::median;
use holdfast_bench::pairs::{Contestant, Outcome, compare};
use holdfast_tests::hostile::attack::{Attack, Part, Target};

use crate::Res;
use crate::bed::Bed;
use crate::party::{Party, Program};

const MEBIBYTES: u64 = 256;

/// How long an attack goes on before the fetch begins.
const LEAD: Duration = Duration::from_secs(2);

/// Who comes, and what they do.
const COMPANIES: [(&str, &[Part]); 7] = [
    ("nobody else", &[]),
    ("a flood of wants", &[Part::Flood]),
    ("blocks that nobody asked for", &[Part::Blocks]),
    ("messages beyond the limits", &[Part::Oversize]),
    ("streams that never end", &[Part::Held]),
    ("malformed frames", &[Part::Malformed]),
    ("one who takes all it is served", &[Part::Greed]),
];

/// 256 MiB over TCP from a node that is attacked, by each part of the attack and by all at once.
pub(crate) fn company(bed: &Bed) -> Res<()> {
    let file = bed.file(MEBIBYTES)?;
    let all = ("all of them", &Part::ALL[..]);
    let scenes: Vec<Scene<'_>> =
        COMPANIES.into_iter().chain([all]).map(|(_, parts)| Scene::new(bed, &file, parts)).collect();
    let names = COMPANIES.into_iter().chain([all]).map(|(name, _)| name);
    let mut contestants: Vec<_> = names
        .zip(&scenes)
        .map(|(name, scene)| Contestant::new(name, || scene.prepare(), || scene.run()))
        .collect();
    let title = format!("{MEBIBYTES} MiB over tcp from a node beside");
    compare(&title, bed.rounds, MEBIBYTES as f64 * 1.048_576, "MB", &mut contestants)?;
    println!("  wants a second that a flood came to (medians):");
    for (contestant, scene) in COMPANIES.into_iter().chain([all]).zip(&scenes) {
        let mut floods = scene.floods.borrow_mut();
        if !floods.is_empty() {
            println!("  {:<34} {:>9.0}", contestant.0, median(&mut floods));
        }
    }
    Ok(())
}

/// What runs from `prepare` to the end of `run`: who fetches, what, and from whom, and who comes there, too.
struct Running {
    to: Party,
    cid: String,
    attack: Option<Attack>,
    from: Party,
}

struct Scene<'a> {
    bed: &'a Bed,
    file: &'a Path,
    parts: &'static [Part],
    running: RefCell<Option<Running>>,
    /// Wants a second of each round.
    floods: RefCell<Vec<f64>>,
}

impl<'a> Scene<'a> {
    fn new(bed: &'a Bed, file: &'a Path, parts: &'static [Part]) -> Self {
        Self { bed, file, parts, running: RefCell::new(None), floods: RefCell::default() }
    }

    fn prepare(&self) -> Res<()> {
        let dir = self.bed.dir.path();
        let from = Party::start(Program::Ours, dir, "attacked", "tcp");
        let cid = from.add(self.file);
        let to = Party::start_fresh(Program::Ours, dir, "beside", "tcp")?;
        to.connect(&from.address("tcp"));
        let Party::Ours(peer) = &from else { return Err("ours is not ours".into()) };
        let attack =
            (!self.parts.is_empty()).then(|| Attack::begin(Target::of(peer, &cid, &["tcp"]), self.parts));
        if attack.is_some() {
            std::thread::sleep(LEAD);
        }
        *self.running.borrow_mut() = Some(Running { to, cid, attack, from });
        Ok(())
    }

    fn run(&self) -> Outcome {
        let Running { to, cid, attack, from } =
            self.running.borrow_mut().take().ok_or("nothing was prepared")?;
        let seconds = to.fetch(&cid);
        if let Some(attack) = attack.as_ref().filter(|_| self.parts.contains(&Part::Flood)) {
            self.floods.borrow_mut().push(attack.plan().flooded().1);
        }
        drop(to);
        // It ends where the node is gone.
        drop(from);
        if let Some(attack) = attack {
            attack.end();
        }
        Ok(Some(seconds))
    }
}
