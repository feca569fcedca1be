//! A chain whose nodes can be known only one after the other, from a peer that is far away: how many round trips a node takes.

use std::time::{Duration, Instant};

use holdfast_bench::meter::median;
use holdfast_tests::distance::Distance;
use holdfast_tests::goods::{chain_car_of, deep_file_car};
use holdfast_tests::swarm::Peer;

use crate::Res;
use crate::bed::Bed;
use crate::party::{Party, Program};

const EACH_WAY: Duration = Duration::from_millis(20);

/// Nodes of a chain.
const HOPS: u16 = 100;

/// What walks along a chain.
const WALKS: [(&str, Walk); 3] = [
    ("refs -r", |peer, root| peer.run(["refs", "-r", root]).ok().out()),
    ("cat", |peer, root| peer.run(["cat", root]).ok().out()),
    ("pin add", |peer, root| peer.run(["pin", "add", "--progress=false", root]).ok().out()),
];

type Walk = fn(&Peer, &str) -> String;

/// 100 nodes, one after the other, with 20 ms each way.
pub(crate) fn deep(bed: &Bed) -> Res<()> {
    let Party::Ours(from) = Party::start_fresh(Program::Ours, bed.dir.path(), "far-from", "tcp")? else {
        return Err("ours is not ours".into());
    };
    let (_relay, through) = Distance::before(&from.address("tcp"), EACH_WAY);
    println!(
        "\na chain of {HOPS} nodes over tcp with {} ms each way ({} rounds, medians)",
        EACH_WAY.as_millis(),
        bed.rounds
    );
    println!("  {:<34} {:>9} {:>18} {:>18}", "", "seconds", "round trips a node", "messages a node");
    for (name, walk) in WALKS {
        let mut messages = Vec::new();
        let times = rounds(bed, Program::Ours, &from, &through, name, |to, root| {
            let Party::Ours(peer) = to else { return Err("ours is not ours".into()) };
            let asked = || peer.metric("exchange_bitswap_wantlists_total");
            let (before, start) = (asked(), Instant::now());
            walk(peer, root);
            let seconds = start.elapsed().as_secs_f64();
            messages.push((asked() - before) / f64::from(HOPS));
            Ok(seconds)
        })?;
        print(&format!("holdfast, {name}"), times, &format!("{:.2}", median(&mut messages)));
    }
    if Program::Kubo.present() {
        let times = rounds(bed, Program::Kubo, &from, &through, "kubo", |to, root| Ok(to.fetch(root)))?;
        print(&format!("{}, pin add", Program::Kubo.name()), times, "");
    }
    Ok(())
}

/// The seconds of each round, with a chain and a node of its own.
fn rounds(
    bed: &Bed,
    program: Program,
    from: &Peer,
    through: &str,
    name: &str,
    mut walk: impl FnMut(&Party, &str) -> Res<f64>,
) -> Res<Vec<f64>> {
    let (car, root) = match name {
        "cat" => {
            let (car, root, _) = deep_file_car(bed.dir.path(), "deep-file", HOPS);
            (car, root)
        }
        _ => chain_car_of(bed.dir.path(), "deep-chain", HOPS),
    };
    from.run(["dag", "import", "--pin-roots=false", &car.display().to_string()]).ok();
    let mut times = Vec::new();
    for _ in 0..bed.rounds {
        let to = Party::start_fresh(program, bed.dir.path(), "far-to", "tcp")?;
        to.connect(through);
        times.push(walk(&to, &root)?);
    }
    Ok(times)
}

fn print(name: &str, mut times: Vec<f64>, messages: &str) {
    let seconds = median(&mut times);
    let trips = seconds / (f64::from(HOPS) * 2.0 * EACH_WAY.as_secs_f64());
    println!("  {name:<34} {seconds:>9.3} {trips:>18.3} {messages:>18}");
}
