//! Counts and times of requests, and the page that Prometheus reads.
//!
//! What must stay true: noting a request takes a few atomic additions; the set of routes is fixed
//! by the route table, and collections are told of up to a fixed number, so clients cannot make
//! time series without end.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;
use vermilion_engine::control::{ComponentState, ComponentStatus};
use vermilion_engine::{MappedMemory, MeasuredRecall, Statistics};

/// Upper bounds of the histogram's buckets, in microseconds, with the seconds they stand for.
const BUCKETS: [(u64, &str); 12] = [
    (100, "0.0001"),
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (500_000, "0.5"),
    (1_000_000, "1"),
    (5_000_000, "5"),
    (30_000_000, "30"),
];

/// Collections whose recall is told: the lowest.
pub(crate) const RECALLS_TOLD: usize = 100;

/// What is known of all requests since the start.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    routes: RwLock<HashMap<RouteKey, Arc<RouteMetrics>>>,
    /// Requests that are being answered.
    pub(crate) running: AtomicU64,
    /// Connections that are open.
    pub(crate) connections: AtomicU64,
}

/// A route as the router knows it: method, path with names for its parts, status.
type RouteKey = (String, String, u16);

#[derive(Debug, Default)]
struct RouteMetrics {
    count: AtomicU64,
    microseconds: AtomicU64,
    buckets: [AtomicU64; BUCKETS.len()],
}

impl Metrics {
    /// Notes a request that took `microseconds`.
    pub(crate) fn note(&self, method: &str, path: &str, status: u16, microseconds: u64) {
        let key = (method.to_owned(), path.to_owned(), status);
        let known = self.routes.read().get(&key).cloned();
        let route = known.unwrap_or_else(|| self.routes.write().entry(key).or_default().clone());
        route.count.fetch_add(1, Ordering::Relaxed);
        route
            .microseconds
            .fetch_add(microseconds, Ordering::Relaxed);
        let bucket = BUCKETS.iter().position(|(bound, _)| microseconds <= *bound);
        if let Some(bucket) = bucket {
            route.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The page that Prometheus reads.
    #[expect(clippy::too_many_lines, reason = "a table of what is measured")]
    pub(crate) fn page(
        &self,
        statistics: &Statistics,
        mapped: MappedMemory,
        memory_bytes: Option<u64>,
    ) -> String {
        let mut page = String::with_capacity(8192);
        self.write_requests(&mut page);
        let relaxed = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let table = [
            (
                "requests_running",
                "gauge",
                "Requests being answered.",
                relaxed(&self.running),
            ),
            (
                "connections",
                "gauge",
                "Open connections.",
                relaxed(&self.connections),
            ),
            (
                "collections",
                "gauge",
                "Collections.",
                statistics.collections,
            ),
            (
                "records",
                "gauge",
                "Live records of loaded collections.",
                statistics.records,
            ),
            (
                "segments",
                "gauge",
                "Segments of all collections.",
                statistics.segments,
            ),
            (
                "memtable_bytes",
                "gauge",
                "Bytes of records in memory.",
                statistics.memory_bytes,
            ),
            (
                "log_bytes",
                "gauge",
                "Bytes of log files.",
                statistics.log_bytes,
            ),
            (
                "log_appends_total",
                "counter",
                "Batches appended.",
                statistics.log_appends,
            ),
            (
                "log_syncs_total",
                "counter",
                "Syncs of the log.",
                statistics.log_syncs,
            ),
            (
                "indexing_waiting_collections",
                "gauge",
                "Collections that wait for an indexing worker.",
                statistics.waiting_collections,
            ),
            (
                "indexing_waiting_spans",
                "gauge",
                "Spans of SeqIds that are logged and not indexed.",
                statistics.waiting_spans,
            ),
            (
                "indexing_waiting_bytes",
                "gauge",
                "Bytes of batches that are logged and not indexed.",
                statistics.waiting_bytes,
            ),
            (
                "indexing_waiting_bytes_kept",
                "gauge",
                "Of these, bytes kept in memory after their writer was answered.",
                statistics.waiting_bytes_kept,
            ),
            (
                "indexing_waiting_operations",
                "gauge",
                "Operations that are logged and not indexed.",
                statistics.waiting_operations,
            ),
            (
                "indexing_lag_milliseconds",
                "gauge",
                "Age of the oldest batch that is logged and not indexed.",
                statistics.indexing_lag_milliseconds,
            ),
            (
                "indexing_read_again_total",
                "counter",
                "Batches read from the log again to be indexed.",
                statistics.batches_read_again,
            ),
            (
                "index_resident_bytes",
                "gauge",
                "Bytes of vector indexes in memory, of mapped files.",
                mapped.index_bytes,
            ),
            (
                "vectors_resident_bytes",
                "gauge",
                "Bytes of raw vectors in memory, of mapped files.",
                mapped.vector_bytes,
            ),
            (
                "searches_checked_total",
                "counter",
                "Searches made again exactly, to measure their recall.",
                statistics.searches_checked,
            ),
            (
                "recall_wanted_total",
                "counter",
                "Nearest records of these searches.",
                statistics.recall_wanted,
            ),
            (
                "recall_found_total",
                "counter",
                "Of these, records that were found.",
                statistics.recall_found,
            ),
            (
                "indexes_corrected",
                "gauge",
                "Vector indexes of which more is read than was calibrated, for their recall.",
                statistics.indexes_corrected,
            ),
            (
                "writes_slowed_total",
                "counter",
                "Writes held back since memory, log or disk were filling up.",
                statistics.writes_slowed,
            ),
            (
                "writes_refused_total",
                "counter",
                "Writes refused since memory or log were full.",
                statistics.writes_refused,
            ),
        ];
        for (name, kind, help, value) in table {
            write_value(&mut page, &format!("vermilion_{name}"), kind, help, value);
        }
        if let Some(bytes) = memory_bytes {
            let help = "Memory of the process in use.";
            write_value(
                &mut page,
                "process_resident_memory_bytes",
                "gauge",
                help,
                bytes,
            );
        }
        page
    }

    fn write_requests(&self, page: &mut String) {
        let mut routes: Vec<_> = {
            let routes = self.routes.read();
            routes
                .iter()
                .map(|(key, route)| (key.clone(), route.clone()))
                .collect()
        };
        routes.sort_by(|a, b| a.0.cmp(&b.0));
        let name = "vermilion_request_duration_seconds";
        page.push_str("# HELP vermilion_request_duration_seconds Time to answer a request.\n");
        page.push_str("# TYPE vermilion_request_duration_seconds histogram\n");
        for ((method, path, status), route) in routes {
            let labels = format!("method=\"{method}\",path=\"{path}\",status=\"{status}\"");
            let mut sum = 0;
            for (bucket, (_, bound)) in route.buckets.iter().zip(BUCKETS) {
                sum += bucket.load(Ordering::Relaxed);
                line(
                    page,
                    format_args!("{name}_bucket{{{labels},le=\"{bound}\"}} {sum}"),
                );
            }
            let count = route.count.load(Ordering::Relaxed).max(sum);
            let seconds = route.microseconds.load(Ordering::Relaxed) as f64 / 1e6;
            line(
                page,
                format_args!("{name}_bucket{{{labels},le=\"+Inf\"}} {count}"),
            );
            line(page, format_args!("{name}_sum{{{labels}}} {seconds}"));
            line(page, format_args!("{name}_count{{{labels}}} {count}"));
        }
    }
}

fn write_value(page: &mut String, name: &str, kind: &str, help: &str, value: u64) {
    line(page, format_args!("# HELP {name} {help}"));
    line(page, format_args!("# TYPE {name} {kind}"));
    line(page, format_args!("{name} {value}"));
}

fn line(page: &mut String, text: std::fmt::Arguments<'_>) {
    writeln!(page, "{text}").expect("a string takes every write");
}

/// Adds the recall of the collections that are given.
pub(crate) fn write_recalls(page: &mut String, measured: &[MeasuredRecall]) {
    type Value = fn(&MeasuredRecall) -> f64;
    let table: [(&str, &str, Value); 2] = [
        (
            "asked",
            "Share of the nearest records that searches of a collection asked for.",
            |one| one.asked,
        ),
        (
            "measured",
            "Share of the nearest records that they found, by those made again exactly.",
            |one| one.found,
        ),
    ];
    for (name, help, value) in table {
        let name = format!("vermilion_recall_{name}");
        line(page, format_args!("# HELP {name} {help}"));
        line(page, format_args!("# TYPE {name} gauge"));
        for one in measured {
            let labels = format!("collection=\"{}\"", one.collection);
            line(page, format_args!("{name}{{{labels}}} {:.4}", value(one)));
        }
    }
}

/// Adds what is told of each component.
pub(crate) fn write_components(page: &mut String, components: &[ComponentStatus]) {
    type Value = fn(&ComponentStatus) -> u64;
    let table: [(&str, &str, Value); 4] = [
        (
            "up",
            "1 where the component works, 0 where it is paused, drained or has failed.",
            |one| u64::from(one.state == ComponentState::Running),
        ),
        ("running", "What is being done in the component.", |one| {
            one.running
        }),
        ("queue", "What waits for the component.", |one| one.queue),
        (
            "lag",
            "How far the component is behind, in its unit.",
            |one| one.lag,
        ),
    ];
    for (name, help, value) in table {
        let name = format!("vermilion_component_{name}");
        line(page, format_args!("# HELP {name} {help}"));
        line(page, format_args!("# TYPE {name} gauge"));
        for one in components {
            let (component, unit) = (one.component, one.lag_unit);
            let labels = if name.ends_with("lag") {
                format!("component=\"{component}\",unit=\"{unit}\"")
            } else {
                format!("component=\"{component}\"")
            };
            line(page, format_args!("{name}{{{labels}}} {}", value(one)));
        }
    }
}

/// Memory of this process in use, where the system tells it.
pub(crate) fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_holds_every_request_in_rising_buckets() {
        let metrics = Metrics::default();
        metrics.note("GET", "/a", 200, 90);
        metrics.note("GET", "/a", 200, 3_000);
        metrics.note("GET", "/a", 404, 60_000_000);
        let page = metrics.page(&Statistics::default(), MappedMemory::default(), Some(5));
        let ok = "method=\"GET\",path=\"/a\",status=\"200\"";
        for expected in [
            format!("_bucket{{{ok},le=\"0.0001\"}} 1\n"),
            format!("_bucket{{{ok},le=\"0.005\"}} 2\n"),
            format!("_bucket{{{ok},le=\"+Inf\"}} 2\n"),
            format!("_sum{{{ok}}} 0.00309\n"),
            format!("_count{{{ok}}} 2\n"),
            "status=\"404\",le=\"30\"} 0\n".to_owned(),
            "status=\"404\",le=\"+Inf\"} 1\n".to_owned(),
            "process_resident_memory_bytes 5\n".to_owned(),
            "vermilion_log_syncs_total 0\n".to_owned(),
        ] {
            assert!(page.contains(&expected), "{expected} in {page}");
        }
    }
}
