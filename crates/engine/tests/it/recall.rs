//! Searches that are made again exactly: what is measured, and what is made of it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;

use serde_json::{Value, json};
use vermilion_engine::model::{
    Embeddings, MetadataColumn, Operation, OptionalStrings, QueryRequest, Recall, RecordBatch,
    Strings,
};
use vermilion_engine::schedule::{Outcome, RunRequest};
use vermilion_engine::{Config, Database};

use crate::support::{Choices, create, on_disk, with_scope};

const DIMENSION: usize = 16;
const ROWS: usize = 40_000;
const CLUMPS: usize = 300;
const WANTED: u32 = 10;

fn config_of_checks(one_in: u32) -> Config {
    let mut config = Config::in_memory();
    config.upkeep.background = false;
    config.upkeep.recall_check_one_in = one_in;
    config
}

/// A number from -1 to 1.
fn number(choices: &mut Choices) -> f32 {
    choices.below(2_000_001) as f32 / 1e6 - 1.0
}

/// Rows in narrow clumps that are all about as far from the middle, in one segment.
fn filled(one_in: u32) -> Database {
    filled_with(one_in).0
}

/// The same, and some of the rows.
fn filled_with(one_in: u32) -> (Database, Embeddings) {
    filled_in(config_of_checks(one_in))
}

/// The same in the database of `config`.
fn filled_in(config: Config) -> (Database, Embeddings) {
    let database = Database::open(config).unwrap();
    create(&database, "things").unwrap();
    let mut choices = Choices(11);
    let mut centres: Vec<f32> = (0..CLUMPS * DIMENSION)
        .map(|_| number(&mut choices))
        .collect();
    for centre in centres.chunks_exact_mut(DIMENSION) {
        let length = centre
            .iter()
            .map(|number| number * number)
            .sum::<f32>()
            .sqrt();
        centre.iter_mut().for_each(|number| *number *= 3.0 / length);
    }
    let mut some = Vec::new();
    for first in (0..ROWS).step_by(10_000) {
        let rows = first..ROWS.min(first + 10_000);
        let mut vectors = Vec::with_capacity(rows.len() * DIMENSION);
        for row in rows.clone() {
            let centre = row % CLUMPS * DIMENSION;
            let centre = &centres[centre..centre + DIMENSION];
            vectors.extend(
                centre
                    .iter()
                    .map(|centre| centre + 0.1 * number(&mut choices)),
            );
        }
        some.extend_from_slice(&vectors[..DIMENSION * 10]);
        let ids: Vec<String> = rows.clone().map(|row| format!("id{row}")).collect();
        let batch = RecordBatch {
            operations: vec![Operation::Upsert; rows.len()],
            ids: ids.iter().map(String::as_str).collect::<Strings>(),
            embeddings: Embeddings::new(DIMENSION, vectors).unwrap(),
            documents: OptionalStrings::absent(rows.len()),
            uris: OptionalStrings::absent(rows.len()),
            metadata: MetadataColumn::absent(rows.len()),
        };
        with_scope(&database, "things", |scope| {
            database.write(scope, batch.clone())
        })
        .unwrap();
    }
    database.seal_all().unwrap();
    (database, Embeddings::new(DIMENSION, some).unwrap())
}

/// Queries from the middle of all clumps, as no record is and as none lies between two records.
fn strange(seed: u64, count: usize) -> Embeddings {
    let mut choices = Choices(seed);
    let values = (0..count * DIMENSION).map(|_| 0.05 * number(&mut choices));
    Embeddings::new(DIMENSION, values.collect()).unwrap()
}

/// The share of the nearest records that queries find.
fn recall(database: &Database, queries: &Embeddings) -> f64 {
    let ids = |recall| {
        let request = QueryRequest {
            embeddings: queries.clone(),
            n_results: WANTED,
            recall,
            ..QueryRequest::default()
        };
        with_scope(database, "things", |scope| database.query(scope, &request)).unwrap()
    };
    let (found, truth) = (ids(None), ids(Some(Recall::EXACT)));
    let mut hits = 0;
    for (found, truth) in found.iter().zip(&truth) {
        let truth: Vec<&str> = truth.records.ids.iter().collect();
        hits += found
            .records
            .ids
            .iter()
            .filter(|id| truth.contains(id))
            .count();
    }
    hits as f64 / (truth.len() * WANTED as usize) as f64
}

fn run(database: &Database, job: &str, dry_run: bool, arguments: Value) -> Value {
    let request = RunRequest { dry_run, arguments };
    let run = database.jobs().run(job, request).unwrap();
    assert_eq!(run.outcome, Outcome::Succeeded, "{run:?}");
    run.report.unwrap()
}

#[test]
fn searches_of_another_kind_than_the_records_are_found_out_and_corrected() {
    let database = filled(1);
    let before = recall(&database, &strange(1, 60));
    assert!(
        before < 0.93,
        "{before}: the test needs searches that find too little"
    );

    let dry = run(&database, "recall_check", true, Value::Null);
    assert_eq!(dry["waiting"], json!(60));
    let report = run(&database, "recall_check", false, Value::Null);
    let checked = &report["collections"][0];
    assert_eq!(checked["searches"], json!(60), "{report}");
    assert!(
        (checked["measured"].as_f64().unwrap() - before).abs() < 1e-9,
        "{report} {before}"
    );
    assert!(checked["corrected"].as_f64().unwrap() >= 0.95, "{report}");
    assert!(
        checked["segments"][0]["steps"].as_u64().unwrap() > 1,
        "{report}"
    );

    let after = recall(&database, &strange(2, 60));
    assert!(after >= 0.95, "{after}");
    let statistics = database.statistics();
    assert_eq!(statistics.searches_checked, 60);
    assert_eq!(statistics.recall_wanted, 600);
    assert_eq!(statistics.indexes_corrected, 1);
    let measured = database.measured_recalls(10);
    assert_eq!(measured.len(), 1);
    assert!((measured[0].found - before).abs() < 1e-9);
    assert!((measured[0].asked - 0.95).abs() < 1e-6);
}

#[test]
fn a_database_that_is_opened_again_finds_as_much_as_before() {
    let folder = tempfile::tempdir().unwrap();
    let config = || {
        let mut config = on_disk(folder.path());
        config.upkeep = config_of_checks(1).upkeep;
        config
    };
    let database = filled_in(config()).0;
    recall(&database, &strange(1, 60));
    run(&database, "recall_check", false, Value::Null);
    assert_eq!(database.statistics().indexes_corrected, 1);
    drop(database);
    let database = Database::open(config()).unwrap();
    let after = recall(&database, &strange(2, 60));
    assert!(after >= 0.95, "{after}");
    assert_eq!(database.statistics().indexes_corrected, 1);

    drop(database);

    let file = folder.path().join("recall/corrections");
    std::fs::write(file, "damaged").unwrap();
    // That costs recall until searches are checked again, and nothing else.
    let database = Database::open(config()).unwrap();
    recall(&database, &strange(4, 60));
    assert_eq!(database.statistics().indexes_corrected, 0);
}

#[test]
fn an_index_that_drifted_is_written_anew_for_what_is_asked() {
    let database = filled(1);
    recall(&database, &strange(1, 60));
    run(&database, "recall_check", false, Value::Null);
    let due = run(&database, "index_rebuild", true, Value::Null);
    assert_eq!(due["rebuilt"][0]["segments"], json!(1), "{due}");
    run(&database, "index_rebuild", false, Value::Null);

    assert_eq!(database.statistics().indexes_corrected, 0);
    let after = recall(&database, &strange(3, 60));
    assert!(after >= 0.95, "{after}");
    let due = run(&database, "index_rebuild", true, Value::Null);
    assert_eq!(due["rebuilt"], json!([]));
}

#[test]
fn correction_outlives_the_unloading_of_an_idle_collection() {
    let database = filled(1);
    recall(&database, &strange(1, 60));
    run(&database, "recall_check", false, Value::Null);
    run(&database, "idle_unload", false, Value::Null);
    let unloaded = run(&database, "idle_unload", false, Value::Null);
    assert_eq!(unloaded["unloaded"], json!(1));
    assert!(recall(&database, &strange(4, 60)) >= 0.95);
}

#[test]
fn searches_that_find_amply_are_read_less_again() {
    let (database, rows) = filled_with(1);
    recall(&database, &strange(1, 60));
    run(&database, "recall_check", false, Value::Null);
    let steps = |report: &Value| {
        let segments = report["collections"][0]["segments"]
            .as_array()
            .unwrap()
            .clone();
        segments
            .first()
            .map_or(0, |one| one["steps"].as_u64().unwrap())
    };
    let mut last = u64::MAX;
    for round in 0..40 {
        // What the index was calibrated for when it was built.
        let found = recall(&database, &rows);
        assert!(found >= 0.95, "{found}");
        let report = run(&database, "recall_check", false, Value::Null);
        let now = steps(&report);
        assert!(now <= last, "{report}");
        last = now;
        if now == 0 {
            assert!(round > 0);
            return;
        }
    }
    panic!("{last} steps are left");
}

#[test]
fn nothing_is_measured_where_that_is_switched_off_or_no_search_was_made() {
    let database = Arc::new(filled(0));
    recall(&database, &strange(1, 60));
    let report = run(&database, "recall_check", false, Value::Null);
    assert_eq!(report, json!({"waiting": 0, "collections": []}));
    assert_eq!(database.statistics().searches_checked, 0);
    assert!(database.measured_recalls(10).is_empty());
}
