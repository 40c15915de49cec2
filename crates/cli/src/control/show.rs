//! Answers of the control routes as tables for a person.

use std::fmt::Write as _;

use serde_json::Value;

use crate::console::grouped;
use crate::inspect::tree;

/// Components, one a line.
pub(super) fn components(components: &Value) -> String {
    let rows = components.as_array().into_iter().flatten().map(|one| {
        let number = |name: &str| grouped(one[name].as_u64().unwrap_or(0));
        let lag = match one["lag"].as_u64().unwrap_or(0) {
            0 => "none".to_owned(),
            lag => format!("{} {}", grouped(lag), text(&one["lag_unit"])),
        };
        vec![
            text(&one["component"]),
            text(&one["state"]),
            number("running"),
            number("queue"),
            lag,
            remarks(one),
        ]
    });
    let head = ["COMPONENT", "STATE", "RUNNING", "QUEUE", "LAG", "REMARKS"];
    table(&head, rows.collect())
}

/// What else there is to say of a component.
fn remarks(one: &Value) -> String {
    let since = match &one["switched_off"] {
        Value::Null => String::new(),
        since => format!("since {}", moment(since)),
    };
    let all = [since, text(&one["last_error"]), text(&one["note"])];
    let said: Vec<String> = all.into_iter().filter(|one| !one.is_empty()).collect();
    said.join("; ")
}

/// Jobs, one a line.
pub(super) fn jobs(jobs: &Value) -> String {
    let rows = jobs.as_array().into_iter().flatten().map(|job| {
        let state = match (job["running"] == true, job["paused"] == true) {
            (true, _) => "running",
            (false, true) => "paused",
            (false, false) => "waiting",
        };
        let last = &job["last_run"];
        vec![
            text(&job["name"]),
            state.to_owned(),
            trigger(&job["trigger"]),
            moment(&job["next"]),
            text(&last["outcome"]),
            moment(&last["finished"]),
        ]
    });
    let head = ["JOB", "STATE", "WHEN", "NEXT", "LAST RUN", "AT"];
    table(&head, rows.collect())
}

/// Runs, one a line.
pub(super) fn runs(runs: &Value) -> String {
    let rows = runs.as_array().into_iter().flatten().map(|run| {
        let what = match (&run["message"], &run["report"]) {
            (Value::String(message), _) => message.clone(),
            (_, Value::Null) => String::new(),
            (_, report) => report.to_string(),
        };
        let reason = text(&run["reason"]);
        let dry = if run["dry_run"] == true { ", dry" } else { "" };
        vec![
            text(&run["id"]),
            text(&run["job"]),
            moment(&run["started"]),
            format!("{reason}{dry}"),
            text(&run["outcome"]),
            what,
        ]
    });
    table(
        &["RUN", "JOB", "STARTED", "WHY", "OUTCOME", "REPORT"],
        rows.collect(),
    )
}

/// One run with its report.
pub(super) fn run(run: &Value) -> String {
    let dry = if run["dry_run"] == true {
        " (dry run)"
    } else {
        ""
    };
    let mut shown = format!("{}{dry}: {}\n", text(&run["job"]), text(&run["outcome"]));
    if !run["report"].is_null() {
        tree(&run["report"], 1, &mut shown);
    }
    shown
}

/// A line for people of a text, number or nothing.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A moment to the second.
fn moment(value: &Value) -> String {
    let whole = text(value);
    let second = whole.split('.').next().unwrap_or_default();
    let second = second.trim_end_matches('Z').replace('T', " ");
    if second.is_empty() {
        "never".to_owned()
    } else {
        second
    }
}

fn trigger(value: &Value) -> String {
    match value["type"].as_str() {
        Some("interval") => {
            let seconds = value["every_ms"].as_u64().unwrap_or(0) / 1000;
            let (count, unit) = match seconds {
                _ if seconds.is_multiple_of(3600) => (seconds / 3600, "h"),
                _ if seconds.is_multiple_of(60) => (seconds / 60, "min"),
                _ => (seconds, "s"),
            };
            format!("every {count} {unit}")
        }
        Some("cron") => format!(
            "{} {}",
            text(&value["expression"]),
            text(&value["time_zone"])
        ),
        _ => "once".to_owned(),
    }
}

/// Columns as wide as their widest cell; the last one as it comes.
pub(crate) fn table(head: &[&str], rows: Vec<Vec<String>>) -> String {
    let head = head.iter().map(|name| (*name).to_owned()).collect();
    let lines: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..lines[0].len()).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let mut row = String::new();
        for (cell, width) in line.iter().zip(&widths) {
            write!(row, "{cell:width$}  ").expect("a text takes every write");
        }
        text.push_str(row.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn components_and_jobs_are_tables() {
        let shown = components(&json!([
            {"component": "query", "state": "running", "running": 2, "queue": 0, "lag": 0, "lag_unit": "ms"},
            {"component": "indexing", "state": "failed", "running": 0, "queue": 1, "lag": 12000,
             "lag_unit": "operations", "last_error": "no disk"},
            {"component": "api", "state": "paused", "running": 0, "queue": 0, "lag": 0,
             "lag_unit": "ms", "switched_off": "2026-11-22T04:00:00.25Z", "note": "by hand"},
        ]));
        let expected = "COMPONENT  STATE    RUNNING  QUEUE  LAG                REMARKS\n\
                        query      running  2        0      none\n\
                        indexing   failed   0        1      12 000 operations  no disk\n\
                        api        paused   0        0      none               since 2026-11-22 04:00:00; by hand\n";
        assert_eq!(shown, expected);
        let shown = jobs(&json!([{
            "name": "scrub", "running": false, "paused": true,
            "trigger": {"type": "cron", "expression": "0 4 * * SUN", "time_zone": "UTC"},
            "next": "2026-11-22T04:00:00.25Z", "last_run": null,
        }]));
        let line = "scrub  paused  0 4 * * SUN UTC  2026-11-22 04:00:00            never\n";
        assert!(shown.ends_with(line), "{shown}");
    }

    #[test]
    fn a_run_is_shown_with_its_report() {
        let shown = run(&json!({
            "job": "log_prune", "dry_run": true, "outcome": "succeeded",
            "report": {"files_before": 3},
        }));
        assert_eq!(shown, "log_prune (dry run): succeeded\n  files before: 3\n");
    }
}
