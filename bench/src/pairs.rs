//! Paired runs: every contestant in turn, several rounds, medians and ratios from that one run.

use std::error::Error;

use crate::meter::{Meter, median};

/// What a run reports of itself instead of the wall clock around it.
pub type Outcome = Result<Option<f64>, Box<dyn Error>>;

/// One way to do the work.
pub struct Contestant<'a> {
    name: String,
    prepare: Box<dyn FnMut() -> Result<(), Box<dyn Error>> + 'a>,
    run: Box<dyn FnMut() -> Outcome + 'a>,
}

impl<'a> Contestant<'a> {
    /// `prepare` is not timed. `run` is, unless it returns its own seconds.
    pub fn new(
        name: impl Into<String>,
        prepare: impl FnMut() -> Result<(), Box<dyn Error>> + 'a,
        run: impl FnMut() -> Outcome + 'a,
    ) -> Self {
        Self { name: name.into(), prepare: Box::new(prepare), run: Box::new(run) }
    }
}

/// A finished contestant: median seconds over the rounds.
#[derive(Debug, Clone)]
pub struct Finished {
    /// Name.
    pub name: String,
    /// Median seconds.
    pub seconds: f64,
}

/// Runs all contestants `rounds` times in turn and prints their medians, amounts per second and ratios.
///
/// The first contestant is ours: the ratio of each other one is its time divided by ours, so more than 1 means that
/// ours is faster. `amount` is what one run does, in units of `unit`.
pub fn compare(
    title: &str,
    rounds: usize,
    amount: f64,
    unit: &str,
    contestants: &mut [Contestant<'_>],
) -> Result<Vec<Finished>, Box<dyn Error>> {
    let mut samples = vec![Vec::new(); contestants.len()];
    for _ in 0..rounds {
        for (contestant, seconds) in contestants.iter_mut().zip(&mut samples) {
            (contestant.prepare)()?;
            rustix::fs::sync();
            let meter = Meter::start();
            let own = (contestant.run)()?;
            seconds.push(own.unwrap_or_else(|| meter.seconds()));
        }
    }
    let finished: Vec<_> = contestants
        .iter()
        .zip(&mut samples)
        .map(|(contestant, seconds)| Finished { name: contestant.name.clone(), seconds: median(seconds) })
        .collect();
    let ours = finished.first().map_or(0.0, |first| first.seconds);
    println!("\n{title} ({rounds} rounds in turn, medians)");
    println!("  {:<34} {:>9} {:>14} {:>7}", "", "seconds", format!("{unit}/s"), "ratio");
    for entry in &finished {
        let (rate, ratio) = (amount / entry.seconds, entry.seconds / ours);
        println!("  {:<34} {:>9.3} {rate:>14.1} {ratio:>7.2}", entry.name, entry.seconds);
    }
    Ok(finished)
}
