//! What is in a space: a desk tells what the collection tells.

use std::sync::Arc;

use vermilion_engine::model::{Deletion, RecordSelection, Value};
use vermilion_engine::{Config, Database};

use super::contents::Contents;
use super::*;
use crate::body::columns;
use crate::desk::Desk;
use crate::{Options, fields};

fn place() -> Place {
    Place {
        tenant: "default_tenant".to_owned(),
        database: "default_database".to_owned(),
    }
}

fn log(curation: &Curation, body: &Json) {
    let told = columns(body.to_string().as_bytes()).unwrap();
    curation.log(&place(), told, Head::default()).unwrap();
}

/// A batch of a context with these ids.
fn batch(context: &str, dataset: Option<&str>, ids: std::ops::Range<usize>) -> Json {
    let ids: Vec<usize> = ids.collect();
    let text = |of: &dyn Fn(usize) -> String| ids.iter().map(|id| of(*id)).collect::<Vec<_>>();
    json!({
        "space": "one", "context": context, "dataset": dataset,
        "ids": text(&|id| format!("r{id:05}")),
        "embeddings": ids.iter().map(|id| [1.0, *id as f32]).collect::<Vec<_>>(),
        "input_uris": text(&|id| format!("file:///{id}")),
        "label_classes": text(&|id| format!("c{}", id % 3)),
        "observed_at": ids.iter().map(|id| 1000.0 + *id as f64).collect::<Vec<_>>(),
    })
}

/// What the desk tells where it does, and what the collection tells.
fn told(curation: &Curation, space: &Space) -> (Option<Contents>, Contents) {
    let status = curation.database.indexing_status(space.scope()).unwrap();
    let desk = curation.desk(space);
    let counted = curation.glance(space, &desk, status.total_operations, Contents::counted);
    let surveyed = curation.surveyed(space.scope()).unwrap();
    let contents = curation.contents(space, status.total_operations).unwrap();
    assert_eq!(contents, surveyed);
    (counted.unwrap().flatten(), surveyed)
}

fn delete(curation: &Curation, space: &Space, ids: std::ops::Range<usize>) {
    let ids = ids.map(|id| format!("r{id:05}")).collect();
    let deletion = Deletion {
        selection: RecordSelection {
            ids: Some(ids),
            filter: None,
        },
        limit: None,
        tell_ids: false,
    };
    curation.database.delete(space.scope(), &deletion).unwrap();
}

#[test]
fn a_desk_tells_what_the_collection_tells_whoever_wrote_it() {
    let database = Arc::new(Database::open(Config::in_memory()).unwrap());
    let curation = Curation::open(database, Options::default()).unwrap();
    log(&curation, &batch("training", Some("v1"), 0..20));
    log(&curation, &batch("production", None, 20..50));
    log(&curation, &batch("test", Some("v1"), 50..60));
    let space = curation.space(&place(), "one").unwrap();
    let desk = curation.desk(&space);
    curation.follow(&space, &desk).unwrap();
    let (counted, surveyed) = told(&curation, &space);
    assert_eq!(counted.as_ref(), Some(&surveyed));
    assert_eq!(surveyed.observed, Some((1000.0, 1059.0)));
    let mixed = [("test".to_owned(), 10), ("training".to_owned(), 20)];
    assert_eq!(surveyed.by_context["v1"], BTreeMap::from(mixed));
    // What the main API does is counted too, also at the ends.
    delete(&curation, &space, 0..3);
    delete(&curation, &space, 55..60);
    let (counted, surveyed) = told(&curation, &space);
    assert_eq!(counted.as_ref(), Some(&surveyed));
    assert_eq!(surveyed.observed, Some((1003.0, 1054.0)));
    let ids = ["r00010".to_owned(), "r00030".to_owned()];
    let moved = vec![vec![(fields::DATASET, Value::Str("v2".into()))]; 2];
    curation.change(&space, &desk, &ids, moved).unwrap();
    let (counted, surveyed) = told(&curation, &space);
    assert_eq!(counted.as_ref(), Some(&surveyed));
    assert_eq!(surveyed.datasets["v2"], 2);
    // A record of several datasets is none that a desk knows.
    let several = Value::Strs(vec!["v1".to_owned(), "v2".to_owned()].into());
    let change = vec![vec![(fields::DATASET, several)]];
    curation.change(&space, &desk, &ids[..1], change).unwrap();
    assert_eq!(told(&curation, &space).0, None);
    delete(&curation, &space, 10..11);
    assert!(told(&curation, &space).0.is_some());
    curation.close();
}

#[test]
fn a_desk_that_is_far_behind_or_has_read_nothing_is_not_asked() {
    let database = Arc::new(Database::open(Config::in_memory()).unwrap());
    let curation = Curation::open(database, Options::default()).unwrap();
    log(&curation, &batch("training", None, 0..20));
    let space = curation.space(&place(), "one").unwrap();
    let desk = curation.desk(&space);
    let head = |more: u64| {
        let status = curation.database.indexing_status(space.scope()).unwrap();
        status.total_operations + more
    };
    let unread = Desk::default();
    let seen = curation.glance(&space, &unread, head(0), |state| state.rows.len());
    assert_eq!(seen.unwrap(), None);
    curation.follow(&space, &desk).unwrap();
    let seen = curation.glance(&space, &desk, head(0), |state| state.rows.len());
    assert_eq!(seen.unwrap(), Some(20));
    let seen = curation.glance(&space, &desk, head(5000), |state| state.rows.len());
    assert_eq!(seen.unwrap(), None);
    // Whoever follows for long keeps nobody waiting.
    desk.while_somebody_follows(|| {
        let seen = curation.glance(&space, &desk, head(0), |state| state.rows.len());
        assert_eq!(seen.unwrap(), None);
        let contents = curation.contents(&space, head(0)).unwrap();
        assert_eq!(contents.records, 20);
    });
    curation.close();
}
