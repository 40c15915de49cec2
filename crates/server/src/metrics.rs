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
use vermilion_engine::{MappedMemory, Statistics};

mod engine;

pub(crate) use engine::{write_components, write_jobs, write_recalls, write_turns};

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
    pub(crate) fn page(
        &self,
        statistics: &Statistics,
        mapped: MappedMemory,
        memory_bytes: Option<u64>,
    ) -> String {
        let mut page = String::with_capacity(16 << 10);
        self.write_requests(&mut page);
        engine::write_numbers(&mut page, self, statistics, mapped);
        if let Some(bytes) = memory_bytes {
            let name = "process_resident_memory_bytes";
            line(
                &mut page,
                format_args!("# HELP {name} Memory of the process in use."),
            );
            line(&mut page, format_args!("# TYPE {name} gauge"));
            line(&mut page, format_args!("{name} {bytes}"));
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

fn line(page: &mut String, text: std::fmt::Arguments<'_>) {
    writeln!(page, "{text}").expect("a string takes every write");
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
            "vermilion_log_sync_seconds_total 0\n".to_owned(),
            "vermilion_log_queue_batches 0\n".to_owned(),
        ] {
            assert!(page.contains(&expected), "{expected} in {page}");
        }
    }
}
