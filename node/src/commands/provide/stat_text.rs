//! The text of `provide stat`: Kubo's sections and columns.

use std::time::SystemTime;

use holdfast_dht::ipns::Timestamp;
use serde_json::Value;

use super::super::layout::aligned;
use super::super::registry::{Call, CommandError};
use super::number;
use crate::config::GoDuration;

/// With no more workers than this free, the summary says so (Kubo's `lowWorkerThreshold`).
const FEW_WORKERS: f64 = 2.0;

/// Options that choose sections.
const SECTIONS: [&str; 7] =
    ["connectivity", "queues", "schedule", "timings", "network", "operations", "workers"];

/// How a figure is written.
#[derive(Clone, Copy)]
enum As {
    /// `12.3k`, with one digit behind the point.
    Si,
    /// `1,234`.
    Whole,
    /// `1k`, and the whole number behind it where that says more.
    Number,
    /// The same; 0 is not known.
    NumberOrNot,
    /// With one digit behind the point; 0 is not known.
    FloatOrNot,
    /// A duration in nanoseconds.
    Duration,
    /// The same; 0 is not known.
    DurationOrNot,
}

pub(super) fn text(call: &Call, value: &Value, out: &mut Vec<u8>) -> Result<(), CommandError> {
    let all = call.bool("all");
    let chosen = SECTIONS.iter().filter(|section| call.bool(section)).count() + usize::from(all);
    if let Some(figures) = value.get("Legacy").filter(|figures| figures.is_object()) {
        if chosen > 0 {
            return Err(CommandError::new("cannot use flags with legacy provide stats"));
        }
        out.extend_from_slice(legacy(figures).as_bytes());
        return Ok(());
    }
    let Some(sweep) = value.get("Sweep").filter(|sweep| sweep.is_object()) else {
        return Err(CommandError::new("no provide stats available"));
    };
    if call.bool("compact") && !all {
        return Err(CommandError::new("--compact requires --all flag"));
    }
    let mut sheet = Sheet {
        sweep,
        brief: chosen == 0,
        headings: chosen > 1 || all,
        compact: all && call.bool("compact"),
        columns: Default::default(),
    };
    let shows = |section: &str| all || call.bool(section);
    sheet.connectivity(shows("connectivity"));
    sheet.queues(shows("queues"));
    sheet.schedule(shows("schedule"));
    sheet.timings(shows("timings"));
    sheet.network(shows("network"));
    sheet.operations(shows("operations"));
    sheet.workers(shows("workers"));
    out.extend_from_slice(sheet.text().as_bytes());
    Ok(())
}

/// The figures of announcing without a sweep.
fn legacy(figures: &Value) -> String {
    let figure = |name: &str, form: As| written(number(figures, &format!("/{name}")), form);
    let mut lines = vec![
        ("TotalReprovides:", figure("TotalReprovides", As::Number)),
        ("AvgReprovideDuration:", figure("AvgReprovideDuration", As::Duration)),
        ("LastReprovideDuration:", figure("LastReprovideDuration", As::Duration)),
    ];
    let last = date_and_time(figures.get("LastRun").and_then(Value::as_str).unwrap_or_default());
    if last != "N/A" {
        lines.push(("LastReprovide:", last));
    }
    let lines: Vec<String> = lines.into_iter().map(|(name, figure)| format!("{name}\t{figure}")).collect();
    let cells: Vec<Vec<&str>> = lines.iter().map(|line| line.split('\t').collect()).collect();
    aligned(&cells, 1)
}

/// The lines, in one column or two.
struct Sheet<'a> {
    sweep: &'a Value,
    brief: bool,
    headings: bool,
    compact: bool,
    columns: [Vec<String>; 2],
}

impl Sheet<'_> {
    fn line(&mut self, column: usize, line: &str) {
        if self.compact {
            self.put(column, line.to_owned());
        } else {
            // Tabs are where columns end.
            self.put(0, line.replacen(": ", ":\t", 1).replacen(", ", ",\t", 1));
        }
    }

    fn put(&mut self, column: usize, line: String) {
        let [left, right] = &mut self.columns;
        if column == 0 || !self.compact { left.push(line) } else { right.push(line) }
    }

    fn indent(&self) -> &'static str {
        if self.brief || !self.headings { "" } else { "  " }
    }

    /// A line with the indent of its section.
    fn entry(&mut self, column: usize, line: &str) {
        let line = format!("{}{line}", self.indent());
        self.line(column, &line);
    }

    /// The same of a table with columns of its own.
    fn row(&mut self, name: &str, periodic: &str, burst: &str) {
        let line = format!("{}  {name:<14} {periodic:<9} {burst}", self.indent());
        self.put(0, line);
    }

    fn title(&mut self, column: usize, title: &str) {
        if !self.brief && self.headings {
            self.line(column, &format!("{title}:"));
        }
    }

    fn end(&mut self, column: usize) {
        if !self.brief {
            self.line(column, "");
        }
    }

    fn figure(&self, path: &str, form: As) -> String {
        written(number(self.sweep, path), form)
    }

    fn words(&self, path: &str) -> String {
        self.sweep.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    fn connectivity(&mut self, shown: bool) {
        let status = self.words("/connectivity/status");
        if !(shown || self.brief && status != "online") {
            return;
        }
        self.title(1, "Connectivity");
        let since = date_and_time(&self.words("/connectivity/since"));
        self.entry(1, &format!("Status: {status} ({since})"));
        self.end(1);
    }

    fn queues(&mut self, shown: bool) {
        if !(shown || self.brief) {
            return;
        }
        self.title(1, "Queues");
        let si = |path| self.figure(path, As::Si);
        let provides = format!(
            "Provide queue: {} CIDs, {} regions",
            si("/queues/pending_key_provides"),
            si("/queues/pending_region_provides")
        );
        let reprovides = format!("Reprovide queue: {} regions", si("/queues/pending_region_reprovides"));
        self.entry(1, &provides);
        self.entry(1, &reprovides);
        self.end(1);
    }

    fn schedule(&mut self, shown: bool) {
        if !(shown || self.brief) {
            return;
        }
        self.title(0, "Schedule");
        self.entry(0, &format!("CIDs scheduled: {}", self.figure("/schedule/keys", As::Number)));
        self.entry(0, &format!("Regions scheduled: {}", self.figure("/schedule/regions", As::NumberOrNot)));
        if !self.brief {
            let length = self.figure("/schedule/avg_prefix_length", As::FloatOrNot);
            self.entry(0, &format!("Avg prefix length: {length}"));
            let prefix = self.words("/schedule/next_reprovide_prefix");
            self.entry(0, &format!("Next region prefix: {}", or_not(&prefix)));
            let at = date_and_time(&self.words("/schedule/next_reprovide_at"));
            let time = at.split_once(' ').map_or("N/A", |(_, time)| time).to_owned();
            self.entry(0, &format!("Next region reprovide: {time}"));
        }
        self.end(0);
    }

    fn timings(&mut self, shown: bool) {
        if !shown {
            return;
        }
        self.title(1, "Timings");
        let uptime = self.figure("/timing/uptime", As::Duration);
        let since = started(number(self.sweep, "/timing/uptime"));
        self.entry(1, &format!("Uptime: {uptime} ({since})"));
        self.entry(
            1,
            &format!("Current time offset: {}", self.figure("/timing/current_time_offset", As::Duration)),
        );
        self.entry(1, &format!("Cycle started: {}", date_and_time(&self.words("/timing/cycle_start"))));
        self.entry(
            1,
            &format!("Reprovide interval: {}", self.figure("/timing/reprovides_interval", As::Duration)),
        );
        self.end(1);
    }

    fn network(&mut self, shown: bool) {
        if !(shown || self.brief) {
            return;
        }
        self.title(0, "Network");
        self.entry(
            0,
            &format!("Avg record holders: {}", self.figure("/network/avg_holders", As::FloatOrNot)),
        );
        if self.brief {
            return;
        }
        let covered = self.sweep.pointer("/network/complete_keyspace_coverage") == Some(&Value::Bool(true));
        let (peers, reachable) =
            (number(self.sweep, "/network/peers"), number(self.sweep, "/network/reachable"));
        self.entry(0, &format!("Peers swept: {}", written(peers, As::Whole)));
        self.entry(0, &format!("Full keyspace coverage: {covered}"));
        let share = if peers > 0.0 {
            format!(" ({}%)", written((100.0 * reachable / peers).trunc(), As::Number))
        } else {
            String::new()
        };
        self.entry(0, &format!("Reachable peers: {}{share}", written(reachable, As::Whole)));
        self.entry(
            0,
            &format!("Avg region size: {}", self.figure("/network/avg_region_size", As::FloatOrNot)),
        );
        self.entry(
            0,
            &format!("Replication factor: {}", self.figure("/network/replication_factor", As::Number)),
        );
        self.end(0);
    }

    fn operations(&mut self, shown: bool) {
        if !(shown || self.brief) {
            return;
        }
        self.title(1, "Operations");
        for (name, keys, regions) in [
            ("provides", "key_provides", "region_provides"),
            ("reprovides", "key_reprovides", "region_reprovides"),
        ] {
            let ongoing = |what: &str| self.figure(&format!("/operations/ongoing/{what}"), As::Si);
            let line = format!("Ongoing {name}: {} CIDs, {} regions", ongoing(keys), ongoing(regions));
            self.entry(1, &line);
        }
        let mut past = vec![("Total CIDs provided", "keys_provided", As::Number)];
        if !self.brief {
            past.extend([
                ("Total records provided", "records_provided", As::Number),
                ("Total provide errors", "keys_failed", As::Number),
                ("CIDs provided/min/worker", "keys_provided_per_minute", As::FloatOrNot),
                ("CIDs reprovided/min/worker", "keys_reprovided_per_minute", As::FloatOrNot),
                ("Region reprovide duration", "reprovide_duration", As::DurationOrNot),
                ("Avg CIDs/reprovide", "avg_keys_per_reprovide", As::FloatOrNot),
                ("Regions reprovided (last cycle)", "regions_reprovided_last_cycle", As::Number),
            ]);
        }
        for (name, key, form) in past {
            let figure = self.figure(&format!("/operations/past/{key}"), form);
            self.entry(1, &format!("{name}: {figure}"));
        }
        self.end(1);
    }

    fn workers(&mut self, shown: bool) {
        if !(shown || self.brief) {
            return;
        }
        let sweep = self.sweep;
        let of = |name: &str| number(sweep, &format!("/workers/{name}"));
        let kept = |name: &str| (of(&format!("dedicated_{name}")) - of(&format!("active_{name}"))).max(0.0);
        let busy = |name: &str| of(&format!("dedicated_{name}")).max(of(&format!("active_{name}")));
        let free = (of("max") - busy("burst") - busy("periodic")).max(0.0);
        let (burst, periodic) = (free + kept("burst"), free + kept("periodic"));
        if !shown && burst > FEW_WORKERS && periodic > FEW_WORKERS {
            return;
        }
        let whole = |name: &str| written(of(name), As::Whole);
        let (burst, periodic, free) =
            (written(burst, As::Whole), written(periodic, As::Whole), written(free, As::Whole));
        let workers = if self.compact { "" } else { " workers" };
        self.title(0, "Workers");
        self.entry(0, &format!("Active{workers}: {} / {} (max)", whole("active"), whole("max")));
        if self.brief {
            for (name, key, available) in [("Periodic", "periodic", &periodic), ("Burst", "burst", &burst)] {
                let (active, queued) = (whole(&format!("active_{key}")), whole(&format!("queued_{key}")));
                let line =
                    format!("{name}{workers}: {active} active, {available} available, {queued} queued");
                self.entry(0, &line);
            }
            return;
        }
        self.entry(0, &format!("Free{workers}: {free}"));
        self.row("Workers stats:", "Periodic", "Burst");
        for (name, key) in [("Active:", "active"), ("Dedicated:", "dedicated")] {
            self.row(name, &whole(&format!("{key}_periodic")), &whole(&format!("{key}_burst")));
        }
        self.row("Available:", &periodic, &burst);
        self.row("Queued:", &whole("queued_periodic"), &whole("queued_burst"));
        self.entry(0, &format!("Max connections/worker: {}", whole("max_provide_conns_per_worker")));
        self.end(0);
    }

    fn text(self) -> String {
        let [left, right] = self.columns;
        let lines: Vec<String> = if self.compact {
            let width = left.iter().map(|line| line.chars().count()).max().unwrap_or(0) + 2;
            let rows = left.len().max(right.len()).saturating_sub(1);
            let cell = |column: &[String], row: usize| column.get(row).cloned().unwrap_or_default();
            (0..rows).map(|row| format!("{:<width$} {}", cell(&left, row), cell(&right, row))).collect()
        } else {
            // The last line is an empty one.
            let kept = left.len().saturating_sub(usize::from(!self.brief));
            left.into_iter().take(kept).collect()
        };
        let cells: Vec<Vec<&str>> = lines.iter().map(|line| line.split('\t').collect()).collect();
        aligned(&cells, 1)
    }
}

fn or_not(text: &str) -> &str {
    if text.is_empty() { "N/A" } else { text }
}

/// A time of Go's JSON as `2026-01-02 03:04:05`; `N/A` for one that is not set.
fn date_and_time(text: &str) -> String {
    let Some((date, time)) = text.split_once('T') else { return "N/A".to_owned() };
    if date == "0001-01-01" {
        return "N/A".to_owned();
    }
    let seconds = time.find(['.', 'Z', '+']).and_then(|end| time.get(..end)).unwrap_or(time);
    format!("{date} {seconds}")
}

/// When something began that has run for so many nanoseconds.
fn started(uptime_nanos: f64) -> String {
    let uptime = std::time::Duration::try_from_secs_f64(uptime_nanos / 1e9).unwrap_or_default();
    let began = SystemTime::now().checked_sub(uptime).unwrap_or(SystemTime::UNIX_EPOCH);
    date_and_time(&Timestamp::from(began).to_string())
}

fn written(number: f64, form: As) -> String {
    match form {
        As::NumberOrNot | As::FloatOrNot | As::DurationOrNot if number <= 0.0 => "N/A".to_owned(),
        As::Si => si(number, 1),
        As::Whole => with_commas(number, 0),
        As::Number | As::NumberOrNot => {
            let (short, long) = (si(number, 0), with_commas(number, 0));
            if short == long { short } else { format!("{short}\t({long})") }
        }
        As::FloatOrNot => with_commas(number, 1),
        As::Duration | As::DurationOrNot => duration(number),
    }
}

/// Tenths of a second above one, microseconds below.
fn duration(nanos: f64) -> String {
    let step = if nanos > 1e9 { 1e8 } else { 1e3 };
    let nanos = (nanos / step).trunc() * step;
    GoDuration { nanos: nanos as i64 }.to_string()
}

/// With thousands set apart, and at most so many digits behind the point: more are cut off, not rounded.
fn with_commas(number: f64, digits: usize) -> String {
    let text = number.to_string();
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let mut out = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % 3 == 0 && !out.ends_with('-') {
            out.push(',');
        }
        out.push(digit);
    }
    let fraction = fraction.get(..digits.min(fraction.len())).unwrap_or_default();
    if fraction.is_empty() { out } else { format!("{out}.{fraction}") }
}

/// With the prefix of its thousands: `12.3k`.
fn si(number: f64, digits: usize) -> String {
    let (mut value, mut prefix) = (number, "");
    for next in ["k", "M", "G", "T", "P"] {
        if value.abs() < 1000.0 {
            break;
        }
        (value, prefix) = (value / 1000.0, next);
    }
    format!("{}{prefix}", with_commas(value, digits))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::commands::registry::{Door, RawOption, Registry};

    fn figures() -> Value {
        json!({ "Sweep": {
            "closed": false,
            "connectivity": { "status": "online", "since": "2026-01-02T03:04:05.678Z" },
            "queues": { "pending_key_provides": 12_345, "pending_region_provides": 3, "pending_region_reprovides": 0 },
            "schedule": { "keys": 1_234_567, "regions": 256, "avg_prefix_length": 8.0,
                "next_reprovide_at": "2026-01-02T04:05:06Z", "next_reprovide_prefix": "01010101" },
            "workers": { "max": 16, "active": 3, "active_periodic": 1, "active_burst": 2, "dedicated_periodic": 2,
                "dedicated_burst": 1, "queued_periodic": 0, "queued_burst": 3, "max_provide_conns_per_worker": 20 },
            "timing": { "uptime": 3_723_456_000_000_u64, "reprovides_interval": 79_200_000_000_000_u64,
                "cycle_start": "2026-01-02T00:00:00Z", "current_time_offset": 1_500_000, "max_reprovide_delay": 60 },
            "operations": {
                "ongoing": { "region_provides": 2, "key_provides": 40, "region_reprovides": 1, "key_reprovides": 900 },
                "past": { "records_provided": 24_000, "keys_provided": 1200, "keys_failed": 0,
                    "keys_provided_per_minute": 12.34, "keys_reprovided_per_minute": 0.0, "reprovide_duration": 0,
                    "avg_keys_per_reprovide": 4822.5, "regions_reprovided_last_cycle": 256 } },
            "network": { "peers": 9000, "reachable": 8100, "complete_keyspace_coverage": true,
                "avg_region_size": 55.5, "avg_holders": 19.96, "replication_factor": 20 },
        }, "Legacy": null, "FullRT": false })
    }

    fn shown(options: &[&str]) -> Result<String, String> {
        shown_of(&figures(), options)
    }

    fn shown_of(figures: &Value, options: &[&str]) -> Result<String, String> {
        let registry = crate::commands::registry();
        let path = registry.find(&["provide", "stat"]).unwrap();
        let options: Vec<_> = options.iter().map(|name| RawOption::new(*name, "")).collect();
        let call = Registry::call(&path, &options, Door::Http).unwrap();
        let mut out = Vec::new();
        text(&call, figures, &mut out).map_err(|error| error.to_string())?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn the_summary_is_short() {
        let expected = "\
Provide queue:      12.3k CIDs,   3 regions
Reprovide queue:    0 regions
CIDs scheduled:     1M            (1,234,567)
Regions scheduled:  256
Avg record holders: 19.9
Ongoing provides:   40 CIDs,      2 regions
Ongoing reprovides: 900 CIDs,     1 regions
Total CIDs provided: 1k           (1,200)
";
        let squeezed = |text: &str| {
            let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
            lines.collect::<Vec<_>>()
        };
        assert_eq!(squeezed(&shown(&[]).unwrap()), squeezed(expected));
    }

    #[test]
    fn without_a_sweep_there_are_few_figures_and_no_sections() {
        let figures = |last_run: &str| {
            json!({ "Sweep": null, "Legacy": {
                "TotalReprovides": 12_345, "LastReprovideBatchSize": 5, "ReprovideInterval": 79_200_000_000_000_u64,
                "AvgReprovideDuration": 1_234_567, "LastReprovideDuration": 3_723_456_000_000_u64, "LastRun": last_run,
            }, "FullRT": false })
        };
        let lines = "TotalReprovides:       12k (12,345)\n\
                     AvgReprovideDuration:  1.234ms\n\
                     LastReprovideDuration: 1h2m3.4s\n";
        assert_eq!(shown_of(&figures(super::super::stat::NO_TIME), &[]).unwrap(), lines);
        let text = shown_of(&figures("2026-01-02T03:04:05Z"), &[]).unwrap();
        assert!(text.ends_with("LastReprovide:         2026-01-02 03:04:05\n"), "{text}");
        let refused = shown_of(&figures("2026-01-02T03:04:05Z"), &["all"]).unwrap_err();
        assert_eq!(refused, "cannot use flags with legacy provide stats");
    }

    #[test]
    fn one_section_has_no_heading_and_all_have() {
        let network = shown(&["network"]).unwrap();
        assert!(network.starts_with("Avg record holders:"), "{network}");
        assert!(network.contains("Reachable peers:") && network.contains("8,100 (90%)"), "{network}");
        let all = shown(&["all"]).unwrap();
        for title in
            ["Connectivity:", "Queues:", "Schedule:", "Timings:", "Network:", "Operations:", "Workers:"]
        {
            assert!(all.lines().any(|line| line == title), "{title} in {all}");
        }
        assert!(all.contains("(2026-01-02 03:04:05)") && all.contains("1h2m3.4s"), "{all}");
        assert!(all.contains("Region reprovide duration: ") && all.contains("N/A"), "{all}");
    }

    #[test]
    fn two_columns_need_all_sections() {
        assert_eq!(shown(&["compact"]).unwrap_err(), "--compact requires --all flag");
        let compact = shown(&["all", "compact"]).unwrap();
        let first = compact.lines().next().unwrap_or_default();
        assert!(first.starts_with("Schedule:") && first.ends_with("Connectivity:"), "{compact}");
    }

    #[test]
    fn numbers_are_written_as_kubo_does() {
        assert_eq!(written(0.0, As::Number), "0");
        assert_eq!(written(999.0, As::Number), "999");
        assert_eq!(written(12_345.0, As::Number), "12k\t(12,345)");
        assert_eq!(written(12_345.0, As::Si), "12.3k");
        assert_eq!(written(1_234.56, As::FloatOrNot), "1,234.5");
        assert_eq!(written(0.0, As::FloatOrNot), "N/A");
        assert_eq!(written(1_234_567.0, As::Duration), "1.234ms");
        assert_eq!(written(79_200_000_000_000.0, As::Duration), "22h0m0s");
    }
}
