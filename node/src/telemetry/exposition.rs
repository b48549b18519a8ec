//! Writes series in the Prometheus text format, version 0.0.4.
//!
//! Series are collected in any order and answered grouped by metric, each group with its help and type, in the order of
//! [`names::ALL`].

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::telemetry::names::{self, Metric};
use crate::telemetry::rates::approximate;

/// The content type of the format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Series that wait to be written.
#[derive(Debug, Default)]
pub struct Page {
    series: BTreeMap<&'static str, String>,
}

impl Page {
    /// Adds a series. An unknown value adds nothing: a missing series says so, a zero would not.
    pub fn add(&mut self, metric: &Metric, labels: &[(&str, &str)], value: Option<f64>) {
        if let Some(value) = value {
            self.line(metric, "", labels, value);
        }
    }

    /// Adds a count.
    pub fn count(&mut self, metric: &Metric, labels: &[(&str, &str)], value: u64) {
        self.line(metric, "", labels, approximate(value));
    }

    /// Adds a distribution: how many observations fell into each bucket alone, by upper bound in the metric's unit, the
    /// last without one; and the sum of all of them.
    pub fn histogram(&mut self, metric: &Metric, labels: &[(&str, &str)], buckets: &[(Option<f64>, u64)], sum: f64) {
        let mut total = 0_u64;
        for (bound, count) in buckets {
            total = total.saturating_add(*count);
            let bound = bound.map_or_else(|| "+Inf".to_owned(), |bound| bound.to_string());
            let labels: Vec<(&str, &str)> = labels.iter().copied().chain([("le", bound.as_str())]).collect();
            self.line(metric, "_bucket", &labels, approximate(total));
        }
        self.line(metric, "_sum", labels, sum);
        self.line(metric, "_count", labels, approximate(total));
    }

    fn line(&mut self, metric: &Metric, suffix: &str, labels: &[(&str, &str)], value: f64) {
        let out = self.series.entry(metric.name).or_default();
        out.push_str(metric.name);
        out.push_str(suffix);
        for (position, (label, text)) in labels.iter().enumerate() {
            out.push(if position == 0 { '{' } else { ',' });
            out.push_str(label);
            out.push_str("=\"");
            escape(out, text);
            out.push('"');
        }
        if !labels.is_empty() {
            out.push('}');
        }
        // Writing to a String cannot fail.
        let _ = writeln!(out, " {value}");
    }

    /// Everything, grouped.
    #[must_use]
    pub fn render(&self) -> String {
        let mut out = String::new();
        for metric in names::ALL {
            if let Some(series) = self.series.get(metric.name) {
                let _ = writeln!(out, "# HELP {} {}", metric.name, metric.help);
                let _ = writeln!(out, "# TYPE {} {}", metric.name, metric.kind.word());
                out.push_str(series);
            }
        }
        out
    }
}

fn escape(out: &mut String, text: &str) {
    for letter in text.chars() {
        match letter {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_in_the_order_of_the_table_and_unknown_is_absent() {
        let mut page = Page::default();
        page.count(&names::RAFT_TERM, &[("node", "a\"b\\c\nd")], 7);
        page.add(&names::STREAM_LAG_SECONDS, &[], None);
        page.add(&names::STREAM_LAG_MESSAGES, &[("node", "n"), ("stream", "s")], Some(1.5));
        assert_eq!(
            page.render(),
            "# HELP causeway_stream_lag_messages Messages that the source holds and the target does not.\n\
             # TYPE causeway_stream_lag_messages gauge\n\
             causeway_stream_lag_messages{node=\"n\",stream=\"s\"} 1.5\n\
             # HELP causeway_raft_term The current term of the Raft group.\n\
             # TYPE causeway_raft_term gauge\n\
             causeway_raft_term{node=\"a\\\"b\\\\c\\nd\"} 7\n"
        );
    }
    #[test]
    fn buckets_of_a_histogram_add_up() {
        let mut page = Page::default();
        page.histogram(&names::BARRIER, &[("node", "n")], &[(Some(0.001), 2), (Some(0.25), 3), (None, 1)], 1.5);
        let lines = page.render();
        let lines: Vec<&str> = lines.lines().skip(2).collect();
        assert_eq!(
            lines,
            [
                "causeway_barrier_seconds_bucket{node=\"n\",le=\"0.001\"} 2",
                "causeway_barrier_seconds_bucket{node=\"n\",le=\"0.25\"} 5",
                "causeway_barrier_seconds_bucket{node=\"n\",le=\"+Inf\"} 6",
                "causeway_barrier_seconds_sum{node=\"n\"} 1.5",
                "causeway_barrier_seconds_count{node=\"n\"} 6",
            ]
        );
    }
}
