//! Prometheus's text format 0.0.4, from what the registry writes.
//!
//! The registry's crate writes OpenMetrics: there, the name of a counter's family lacks `_total`, families may have units,
//! and the text ends in a mark. Here each family is rewritten: counters and infos are declared under the names of their
//! samples, units are left out, and a histogram without buckets is the summary that it was registered for. Format:
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>, "Text-based format".

use std::fmt::Write as _;

use prometheus_client::encoding::text::encode_registry;
use prometheus_client::registry::Registry;

/// The media type of the text, word for word what Kubo sends.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";

/// Everything in the registry.
pub(super) fn write(registry: &Registry) -> String {
    let mut open_metrics = String::new();
    // Writing to a string fails only where a metric does, and what it wrote before is whole lines.
    if let Err(error) = encode_registry(&mut open_metrics, registry) {
        tracing::error!("a metric could not be written: {error}");
    }
    rewrite(&open_metrics)
}

#[derive(Debug, Default)]
struct FamilyText<'t> {
    name: &'t str,
    help: &'t str,
    kind: &'t str,
    samples: Vec<&'t str>,
}

fn rewrite(open_metrics: &str) -> String {
    let mut out = String::with_capacity(open_metrics.len());
    let mut family = FamilyText::default();
    for line in open_metrics.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            family.write(&mut out);
            let (name, help) = rest.split_once(' ').unwrap_or((rest, ""));
            family = FamilyText { name, help, ..FamilyText::default() };
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            family.kind = rest.split_once(' ').map_or("", |(_, kind)| kind);
        } else if !line.starts_with('#') {
            family.samples.push(line);
        }
    }
    family.write(&mut out);
    out
}

impl FamilyText<'_> {
    fn write(&self, out: &mut String) {
        if self.samples.is_empty() {
            return;
        }
        let has_buckets = || {
            self.samples
                .iter()
                .any(|line| line.strip_prefix(self.name).is_some_and(|rest| rest.starts_with("_bucket")))
        };
        let (suffix, kind) = match self.kind {
            "counter" => ("_total", "counter"),
            "info" => ("_info", "gauge"),
            "histogram" if !has_buckets() => ("", "summary"),
            "unknown" => ("", "untyped"),
            kind => ("", kind),
        };
        let name = self.name;
        let help = self.help.strip_suffix('.').unwrap_or(self.help);
        // Writing to a string does not fail.
        let _ = write!(out, "# HELP {name}{suffix} {help}.\n# TYPE {name}{suffix} {kind}\n");
        for sample in &self.samples {
            out.push_str(sample);
            out.push('\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::family::Family;
    use prometheus_client::metrics::gauge::Gauge;
    use prometheus_client::metrics::histogram::Histogram;
    use prometheus_client::metrics::info::Info;
    use prometheus_client::registry::Unit;

    use super::super::summary::Summary;
    use super::*;

    #[test]
    fn every_type_is_written_as_the_old_format_wants_it() {
        let mut registry = Registry::default();
        let counters = Family::<Vec<(&str, String)>, Counter>::default();
        counters.get_or_create(&vec![("path", "a\"b\\c\nd".to_owned())]).inc_by(3);
        registry.register("reads", "What was read", counters);
        let gauge: Gauge = Gauge::default();
        gauge.set(-4);
        registry.register_with_unit("depth", "How deep", Unit::Bytes, gauge);
        let histogram = Histogram::new([0.5, 1.0]);
        histogram.observe(0.75);
        registry.register("took_seconds", "How long", histogram);
        let summary = Summary::default();
        summary.observe(1.5);
        summary.observe(2.0);
        registry.register("size_bytes", "How much", summary);
        registry.register("build", "What it is", Info::new(vec![("version", "1")]));
        registry.register("never", "Without samples", Family::<Vec<(&str, String)>, Counter>::default());
        let expected = r#"# HELP reads_total What was read.
# TYPE reads_total counter
reads_total{path="a\"b\\c\nd"} 3
# HELP depth_bytes How deep.
# TYPE depth_bytes gauge
depth_bytes -4
# HELP took_seconds How long.
# TYPE took_seconds histogram
took_seconds_sum 0.75
took_seconds_count 1
took_seconds_bucket{le="0.5"} 0
took_seconds_bucket{le="1.0"} 1
took_seconds_bucket{le="+Inf"} 1
# HELP size_bytes How much.
# TYPE size_bytes summary
size_bytes_sum 3.5
size_bytes_count 2
# HELP build_info What it is.
# TYPE build_info gauge
build_info{version="1"} 1
"#;
        assert_eq!(write(&registry), expected);
    }
}
