//! Jobs of spaces, where some of these fail.

use std::sync::Arc;

use vermilion_engine::schedule::{Outcome, RunRequest};
use vermilion_engine::{Config, Database};

use super::*;
use crate::body::columns;
use crate::spaces::Place;
use crate::{Options, Refusal};

const JOB: &str = "curation_test";
/// What is noted on a desk that was reached: an epoch that none has.
const REACHED: u64 = 1 << 60;

fn place() -> Place {
    Place {
        tenant: "default_tenant".to_owned(),
        database: "default_database".to_owned(),
    }
}

/// Fails, panics or loses its space, as the name of the space says; else it notes on the desk that it was there.
fn as_named(
    curation: &Curation,
    space: &Space,
    desk: &Desk,
    _: &dyn Fn() -> bool,
) -> crate::Result<usize> {
    match &*space.collection.name {
        "fails" => Err(Refusal::new(500, "internal", "as it is called")),
        "panics" => panic!("as it is called"),
        "vanishes" => {
            curation.delete_space(&place(), "vanishes")?;
            Err(Refusal::new(404, "not_found", "it is gone"))
        }
        _ => {
            desk.state.lock().held_out.0 = REACHED;
            Ok(1)
        }
    }
}

/// Runs a job over these spaces; how it ended, which of them were reached, and the work itself.
fn run(names: &[&str]) -> (Outcome, Vec<bool>, Arc<Work>) {
    let database = Arc::new(Database::open(Config::in_memory()).unwrap());
    let curation = Curation::open(database, Options::default()).unwrap();
    let spaces: Vec<Space> = names
        .iter()
        .map(|name| {
            let body = json!({
                "space": name, "context": "production", "embeddings": [[1.0]], "input_uris": ["x"],
            });
            let told = columns(body.to_string().as_bytes()).unwrap();
            curation
                .log(&place(), told, crate::body::Head::default())
                .unwrap();
            curation.space(&place(), name).unwrap()
        })
        .collect();
    let work = Arc::new(Work::new(JOB, as_named, "done"));
    let of_run = work.clone();
    let task = move |curation: &Curation, run: &Run<'_>| curation.run_spaces(&of_run, run);
    let when = curation.when_woken().unwrap();
    Curation::bring(&curation, JOB, when, Policy::default(), task).unwrap();
    let record = curation
        .database
        .jobs()
        .run(JOB, RunRequest::default())
        .unwrap();
    let reached = |space: &Space| curation.desk(space).state.lock().held_out.0 == REACHED;
    let reached = spaces.iter().map(reached).collect();
    curation.close();
    (record.outcome, reached, work)
}

#[test]
fn a_space_that_fails_or_panics_keeps_no_other_waiting_and_is_tried_again() {
    let (outcome, reached, work) = run(&["one", "fails", "two", "panics", "three"]);
    assert_eq!(outcome, Outcome::Failed);
    assert_eq!(reached, [true, false, true, false, true]);
    assert!(!work.runs.load(Ordering::SeqCst));
    let (due, next) = work.retries.lock().take_due(f64::MAX);
    assert_eq!((due.len(), next), (2, None));
}

#[test]
fn a_space_that_is_deleted_while_a_job_works_on_it_is_no_failure() {
    let (outcome, reached, work) = run(&["one", "vanishes", "two"]);
    assert_eq!(outcome, Outcome::Succeeded);
    assert_eq!((reached[0], reached[2]), (true, true));
    assert!(!work.retries.lock().has_some());
}
