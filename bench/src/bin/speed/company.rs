//! What a node costs that does nothing, alone and with 100 peers.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::Res;
use crate::bed::Bed;
use crate::party::{Party, Program, memory_mib};

const PEERS: usize = 100;

/// How long the processor's time is counted.
const IDLE: Duration = Duration::from_secs(30);

/// How long 100 peers may take to arrive.
const ARRIVAL_MAX: Duration = Duration::from_secs(60);

/// Clock ticks a second in `/proc`, on every Linux of these days.
const TICKS_PER_SECOND: f64 = 100.0;

/// Resident memory and processor time of an idle node with 0 and with 100 peers.
pub(crate) fn idle(bed: &Bed) -> Res<()> {
    let host = Party::start_fresh(Program::Ours, bed.dir.path(), "host", "tcp")?;
    println!("\nan idle node, over {} s", IDLE.as_secs());
    report(&host, 0)?;
    let Some(guests) = &bed.guests else {
        println!("SKIPPED: {PEERS} peers, the program that makes them could not be built");
        return Ok(());
    };
    let Party::Ours(peer) = &host else { return Err("ours is not ours".into()) };
    let stay = (ARRIVAL_MAX + IDLE * 2).as_secs().to_string();
    let mut guests = Command::new(guests).args([&host.address("tcp"), &PEERS.to_string(), &stay]).spawn()?;
    let deadline = Instant::now() + ARRIVAL_MAX;
    while peer.peers().len() < PEERS && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(100));
    }
    let reported = report(&host, peer.peers().len());
    guests.kill()?;
    guests.wait()?;
    reported
}

fn report(host: &Party, peers: usize) -> Res<()> {
    let before = processor_seconds(host.pid())?;
    std::thread::sleep(IDLE);
    let spent = processor_seconds(host.pid())? - before;
    println!(
        "  {peers:>3} peers: {} MiB resident, {:.2} % of one core",
        memory_mib(host.pid(), "VmRSS:"),
        100.0 * spent / IDLE.as_secs_f64()
    );
    Ok(())
}

/// User and system time of a process.
fn processor_seconds(pid: u32) -> Res<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name before may hold spaces; it ends at the last bracket.
    let fields = stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace()).ok_or("no process")?;
    let ticks: f64 = fields.skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
    Ok(ticks / TICKS_PER_SECOND)
}
