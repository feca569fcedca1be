//! How fast is the node, next to the limits of this machine and next to its peers?
//!
//! Every row runs its contestants in turn and prints medians and ratios from that one run: absolute times on a shared
//! machine are noise. Run: `make bench`, or `ROWS="only-hash add" make bench`.

mod abuse;
mod bed;
mod chain;
mod collection;
mod company;
mod embedded;
mod exchange;
mod growth;
mod party;
mod rows;
mod rpc;

use std::error::Error;
use std::path::Path;

/// What a row returns.
type Res<T> = Result<T, Box<dyn Error>>;

/// A row: its name on the command line, and what prints its table.
type Row = (&'static str, fn(&bed::Bed) -> Res<()>);

const ROWS: &[Row] = &[
    ("only-hash", rows::only_hash),
    ("add", rows::durable_add),
    ("small", rows::small_files),
    ("cat", rows::cat),
    ("embedded-cat", embedded::cat),
    ("hash-check", embedded::hash_check),
    ("re-add", embedded::re_add),
    ("clients", embedded::clients),
    ("rpc-adds", rpc::adds),
    ("rpc-connections", rpc::connections),
    ("after-kill", embedded::after_kill),
    ("growth", growth::growth),
    ("gc", collection::gc),
    ("dirs", rows::directories),
    ("memory", rows::memory),
    ("exchange", exchange::alike),
    ("exchange-small", exchange::small_files),
    ("exchange-four", exchange::four_providers),
    ("exchange-mixed", exchange::mixed),
    ("deep-chain", chain::deep),
    ("idle", company::idle),
    ("abuse", abuse::company),
];

fn main() -> Res<()> {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    if let [worker, repo, adds] = wanted.as_slice()
        && worker == "worker-adds"
    {
        return embedded::worker_adds(Path::new(repo), adds.parse()?);
    }
    if let [worker, repo, size] = wanted.as_slice()
        && worker == "worker-grow"
    {
        return growth::worker_grow(Path::new(repo), size.parse()?);
    }
    if let Some(unknown) = wanted.iter().find(|name| ROWS.iter().all(|(row, _)| row != name)) {
        let names: Vec<_> = ROWS.iter().map(|(name, _)| *name).collect();
        return Err(format!("no row {unknown:?}; there are {}", names.join(", ")).into());
    }
    let bed = bed::Bed::new()?;
    println!("{}", bed.describe());
    for (name, row) in ROWS {
        if wanted.is_empty() || wanted.iter().any(|other| other == name) {
            row(&bed)?;
        }
    }
    Ok(())
}
