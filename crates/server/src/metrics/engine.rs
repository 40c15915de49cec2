//! What the metrics page tells of the engine: sizes, queues, lags, work done, jobs.
//!
//! What must stay true: times are in seconds and sizes in bytes, as Prometheus wants them; but for
//! the names of jobs, labels come from lists that the program has.

use std::sync::atomic::{AtomicU64, Ordering};

use vermilion_engine::control::{ComponentState, ComponentStatus};
use vermilion_engine::schedule::JobCounts;
use vermilion_engine::{MappedMemory, MeasuredRecall, Statistics};

use super::{Metrics, line};

/// Name, kind, help and value.
type Line = (&'static str, &'static str, &'static str, f64);

/// Writes every number of the engine and of the server around it.
pub(super) fn write_numbers(
    page: &mut String,
    metrics: &Metrics,
    statistics: &Statistics,
    mapped: MappedMemory,
) {
    let relaxed = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
    let server: [Line; 2] = [
        (
            "requests_running",
            "gauge",
            "Requests being answered.",
            relaxed(&metrics.running),
        ),
        (
            "connections",
            "gauge",
            "Open connections.",
            relaxed(&metrics.connections),
        ),
    ];
    let free = statistics.disk_free_bytes.map(|free| {
        let help = "Bytes that are free on the disk of the data folder.";
        ("disk_free_bytes", "gauge", help, free as f64)
    });
    let all = server
        .into_iter()
        .chain(sizes(statistics))
        .chain(recall(statistics, mapped))
        .chain(queues(statistics));
    for (name, kind, help, value) in all.chain(work(statistics)).chain(free) {
        line(page, format_args!("# HELP vermilion_{name} {help}"));
        line(page, format_args!("# TYPE vermilion_{name} {kind}"));
        line(page, format_args!("vermilion_{name} {value}"));
    }
}

fn seconds(microseconds: u64) -> f64 {
    microseconds as f64 / 1e6
}

fn recall(of: &Statistics, mapped: MappedMemory) -> [Line; 6] {
    [
        (
            "index_resident_bytes",
            "gauge",
            "Bytes of vector indexes in memory, of mapped files.",
            mapped.index_bytes as f64,
        ),
        (
            "vectors_resident_bytes",
            "gauge",
            "Bytes of raw vectors in memory, of mapped files.",
            mapped.vector_bytes as f64,
        ),
        (
            "searches_checked_total",
            "counter",
            "Searches made again exactly, to measure their recall.",
            of.searches_checked as f64,
        ),
        (
            "recall_wanted_total",
            "counter",
            "Nearest records of these searches.",
            of.recall_wanted as f64,
        ),
        (
            "recall_found_total",
            "counter",
            "Of these, records that were found.",
            of.recall_found as f64,
        ),
        (
            "indexes_corrected",
            "gauge",
            "Vector indexes of which more is read than was calibrated, for their recall.",
            of.indexes_corrected as f64,
        ),
    ]
}

fn sizes(of: &Statistics) -> [Line; 6] {
    [
        (
            "collections",
            "gauge",
            "Collections.",
            of.collections as f64,
        ),
        (
            "collections_loaded",
            "gauge",
            "Collections whose records are at hand.",
            of.loaded_collections as f64,
        ),
        (
            "records",
            "gauge",
            "Live records of loaded collections.",
            of.records as f64,
        ),
        (
            "segments",
            "gauge",
            "Segments of all collections.",
            of.segments as f64,
        ),
        (
            "memtable_bytes",
            "gauge",
            "Bytes of records in memory.",
            of.memory_bytes as f64,
        ),
        (
            "log_bytes",
            "gauge",
            "Bytes of log files.",
            of.log_bytes as f64,
        ),
    ]
}

fn queues(of: &Statistics) -> [Line; 8] {
    [
        (
            "log_queue_batches",
            "gauge",
            "Batches that wait for the log.",
            of.log_queue_batches as f64,
        ),
        (
            "log_queue_bytes",
            "gauge",
            "Their bytes.",
            of.log_queue_bytes as f64,
        ),
        (
            "indexing_waiting_collections",
            "gauge",
            "Collections that wait for an indexing worker.",
            of.waiting_collections as f64,
        ),
        (
            "indexing_waiting_spans",
            "gauge",
            "Spans of SeqIds that are logged and not indexed.",
            of.waiting_spans as f64,
        ),
        (
            "indexing_waiting_bytes",
            "gauge",
            "Bytes of batches that are logged and not indexed.",
            of.waiting_bytes as f64,
        ),
        (
            "indexing_waiting_bytes_kept",
            "gauge",
            "Of these, bytes kept in memory after their writer was answered.",
            of.waiting_bytes_kept as f64,
        ),
        (
            "indexing_waiting_operations",
            "gauge",
            "Operations that are logged and not indexed.",
            of.waiting_operations as f64,
        ),
        (
            "indexing_lag_milliseconds",
            "gauge",
            "Age of the oldest batch that is logged and not indexed.",
            of.indexing_lag_milliseconds as f64,
        ),
    ]
}

fn work(of: &Statistics) -> [Line; 14] {
    let counter = |name, help, value| (name, "counter", help, value);
    [
        counter(
            "log_appends_total",
            "Batches appended.",
            of.log_appends as f64,
        ),
        counter("log_syncs_total", "Fsyncs of the log.", of.log_syncs as f64),
        counter(
            "log_sync_seconds_total",
            "Time that fsyncs of batches took.",
            seconds(of.log_sync_microseconds),
        ),
        counter(
            "indexing_read_again_total",
            "Batches read from the log again to be indexed.",
            of.batches_read_again as f64,
        ),
        counter(
            "writes_slowed_total",
            "Writes held back since memory, log or disk were filling up.",
            of.writes_slowed as f64,
        ),
        counter(
            "writes_refused_total",
            "Writes refused since memory or log were full.",
            of.writes_refused as f64,
        ),
        counter(
            "seals_total",
            "Segments written from memory.",
            of.seals as f64,
        ),
        counter(
            "sealed_rows_total",
            "Rows that they got.",
            of.sealed_rows as f64,
        ),
        counter(
            "seal_seconds_total",
            "Time of the sealing thread.",
            seconds(of.seal_microseconds),
        ),
        counter(
            "merges_total",
            "Merges and rebuilds of segments.",
            of.merges as f64,
        ),
        counter(
            "merged_rows_total",
            "Rows that they wrote.",
            of.merged_rows as f64,
        ),
        counter(
            "merge_seconds_total",
            "Time of the merging thread.",
            seconds(of.merge_microseconds),
        ),
        counter(
            "collections_unloaded_total",
            "Idle collections whose memory was given back.",
            of.unloaded as f64,
        ),
        counter(
            "expired_records_total",
            "Records deleted since they were past their time.",
            of.expired_records as f64,
        ),
    ]
}

/// Adds what is told of each component.
pub(crate) fn write_components(page: &mut String, components: &[ComponentStatus]) {
    type Value = fn(&ComponentStatus) -> u64;
    let table: [(&str, &str, Value); 5] = [
        (
            "up",
            "1 where the component works, 0 where it is paused, drained or has failed.",
            |one| u64::from(one.state == ComponentState::Running),
        ),
        (
            "switched_off",
            "1 where an operator has paused or drained the component.",
            |one| u64::from(one.switched_off.is_some()),
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

/// Adds how the runs of each job ended.
pub(crate) fn write_jobs(page: &mut String, jobs: &[JobCounts]) {
    line(
        page,
        format_args!("# HELP vermilion_job_runs_total Runs of jobs since the start."),
    );
    line(
        page,
        format_args!("# TYPE vermilion_job_runs_total counter"),
    );
    for one in jobs {
        let outcomes = [
            ("succeeded", one.succeeded),
            ("failed", one.failed),
            ("cancelled", one.cancelled),
            ("missed", one.missed),
        ];
        for (outcome, count) in outcomes {
            let labels = format!("job=\"{}\",outcome=\"{outcome}\"", one.job);
            line(
                page,
                format_args!("vermilion_job_runs_total{{{labels}}} {count}"),
            );
        }
    }
    let name = "vermilion_job_last_success_timestamp_seconds";
    line(
        page,
        format_args!("# HELP {name} When a run of the job last ended well; 0 where none ever did."),
    );
    line(page, format_args!("# TYPE {name} gauge"));
    for one in jobs {
        // Never is told too: an alarm about what is not there would never go off.
        let seconds = one.last_success.map_or(0.0, |at| at.0 as f64 / 1e3);
        line(
            page,
            format_args!("{name}{{job=\"{}\"}} {seconds}", one.job),
        );
    }
}

/// Adds requests that wait for their turn.
pub(crate) fn write_turns(page: &mut String, reads: u64, writes: u64) {
    let name = "vermilion_requests_waiting";
    line(
        page,
        format_args!("# HELP {name} Requests that wait for their turn."),
    );
    line(page, format_args!("# TYPE {name} gauge"));
    line(page, format_args!("{name}{{kind=\"read\"}} {reads}"));
    line(page, format_args!("{name}{{kind=\"write\"}} {writes}"));
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
