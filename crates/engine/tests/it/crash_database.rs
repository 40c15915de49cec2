//! Power cuts at any moment of random work on a whole database: what was acknowledged is there
//! whole, what was not is absent whole, and every state opens by itself.
//!
//! The work runs once on a recording storage; the trace has a mark after each step and the
//! catalogue's image after each of its transactions. Then the folder is rebuilt as it may look
//! after a cut at some point of the trace, with what was not synced kept, dropped, reordered or
//! torn, and a database is opened on it. The embedded SQL library promises that a committed
//! transaction is durable and whole; so the catalogue restarts from its last image.

use std::collections::BTreeMap;
use std::sync::Arc;

use vermilion_engine::catalog::CatalogLocation;
use vermilion_engine::storage::Storage;
use vermilion_engine::storage::sim::{RecordingStorage, Survival, Trace};
use vermilion_engine::{Config, Database};

use crate::support::{
    Choices, DATABASE, ModelCollection, TENANT, create, fork, random_batch, read_all, small,
    with_scope,
};

type Model = BTreeMap<String, ModelCollection>;

/// What a run of random work left behind.
struct Run {
    trace: Trace,
    /// The model after each step.
    states: Vec<Model>,
    batch_ingest: bool,
}

/// Answers writers when their batch is visible, or when it is durable: then indexing is a step of
/// its own, batches are read from the log again, and an opening leaves most of them for later.
fn way(config: &mut Config, batch_ingest: bool) {
    if batch_ingest {
        config.ingest.batch_ingest = true;
        config.ingest.kept_bytes = 2 << 10;
        config.upkeep.memory_bytes = 8 << 10;
    }
}

fn record(seed: u64, steps: usize, batch_ingest: bool) -> Run {
    let mut choices = Choices(seed);
    let storage = RecordingStorage::default();
    let on_storage = storage.clone();
    let on_commit = move |image: Vec<u8>| on_storage.mark_with("catalog", image);
    let mut config = small(Config::with_storage(Arc::new(storage.clone())));
    way(&mut config, batch_ingest);
    config.catalog = CatalogLocation::Memory {
        image: None,
        on_commit: Some(Arc::new(on_commit)),
    };
    let database = Database::open(config).expect("an empty folder opens");
    let mut states = vec![Model::new()];
    storage.mark("step");
    for _ in 0..steps {
        let mut model = states.last().expect("there is a first state").clone();
        work(&database, &mut choices, &mut model);
        states.push(model);
        storage.mark("step");
    }
    Run {
        trace: storage.trace(),
        states,
        batch_ingest,
    }
}

fn work(database: &Database, choices: &mut Choices, model: &mut Model) {
    let name = format!("col{}", choices.below(4));
    match choices.below(24) {
        0 if model.contains_key(&name) => {
            database
                .delete_collection(TENANT, DATABASE, &name)
                .expect("it exists");
            model.remove(&name);
        }
        1..=2 => database.seal_all().expect("sealing works"),
        3..=5 => {
            database.upkeep().expect("upkeep works");
        }
        6..=7 if model.contains_key(&name) => {
            let new_name = format!("col{}", choices.below(4));
            if let Some(records) = model.get(&name).cloned()
                && !model.contains_key(&new_name)
            {
                fork(database, &name, &new_name).expect("the name is free");
                model.insert(new_name, records);
            }
        }
        _ if !model.contains_key(&name) => {
            create(database, &name).expect("the name is free");
            model.insert(name, ModelCollection::default());
        }
        _ => {
            let batch = random_batch(choices, 40, 12);
            model.get_mut(&name).expect("it was made").apply(&batch);
            with_scope(database, &name, |scope| database.write(scope, batch))
                .expect("the batch is valid");
        }
    }
}

fn check_cut(run: &Run, at: usize, survival: Survival, seed: u64, label: &str) {
    let rebuilt = run
        .trace
        .rebuild(at, survival, seed)
        .expect("the trace can be rebuilt");
    let image = rebuilt
        .marks
        .iter()
        .rev()
        .find(|mark| mark.label == "catalog");
    let image = image.map(|mark| Arc::new(mark.bytes.to_vec()));
    let steps = rebuilt
        .marks
        .iter()
        .filter(|mark| mark.label == "step")
        .count();
    let storage: Arc<dyn Storage> = Arc::new(rebuilt.storage);
    let mut config = small(Config::with_storage(storage.clone()));
    way(&mut config, run.batch_ingest);
    config.catalog = CatalogLocation::Memory {
        image,
        on_commit: None,
    };
    let database = Database::open(config)
        .unwrap_or_else(|error| panic!("{label}: the folder does not open: {error}"));
    // The first mark stands for the empty database.
    let done = steps.saturating_sub(1);
    let found = read_database(&database, label);
    let allowed = &run.states[done..run.states.len().min(done + 2)];
    assert!(
        allowed.contains(&found),
        "{label}: after step {done} found {found:#?}\nexpected {:#?}",
        allowed[0]
    );
    // What was opened goes on working.
    database
        .upkeep()
        .unwrap_or_else(|error| panic!("{label}: upkeep failed: {error}"));
    assert_eq!(
        read_database(&database, label),
        found,
        "{label}: upkeep changed the records"
    );
    // Forks share files: in whatever order they go, the last one leaves none.
    for name in found.keys() {
        database
            .delete_collection(TENANT, DATABASE, name)
            .unwrap_or_else(|error| panic!("{label}: {name} cannot be deleted: {error}"));
    }
    if storage.exists("segments").expect("it is in memory") {
        let left = storage.list("segments").expect("it is in memory");
        assert!(left.is_empty(), "{label}: {left:?} stays");
    }
}

fn read_database(database: &Database, label: &str) -> Model {
    database
        .collections(TENANT, DATABASE, vermilion_engine::model::Page::default())
        .expect("listing works")
        .into_iter()
        .map(|collection| {
            let records = read_all(database, &collection.name)
                .unwrap_or_else(|error| panic!("{label}: reading failed: {error}"));
            (collection.name, records)
        })
        .collect()
}

fn cut_everywhere(batch_ingest: bool) {
    let survivals = [
        Survival::All,
        Survival::Nothing,
        Survival::Prefix,
        Survival::Scattered,
        Survival::Mixed,
    ];
    let mut states = 0;
    for seed in 0..8 {
        let run = record(seed, 60, batch_ingest);
        let end = run.trace.len();
        let mut choices = Choices(seed ^ 0xdead);
        for round in 0..260 {
            let at = choices.below(end + 1);
            let (survival, chance) = (survivals[round % survivals.len()], choices.next());
            let label = format!("seed {seed}, cut at {at} of {end}, {survival:?} {chance}");
            check_cut(&run, at, survival, chance, &label);
            states += 1;
        }
    }
    assert!(states >= 2_000, "{states} states were rebuilt");
}

#[test]
fn power_cuts_lose_nothing_acknowledged_and_leave_no_part_of_a_batch() {
    cut_everywhere(false);
}

#[test]
fn power_cuts_lose_nothing_that_was_acknowledged_before_it_was_indexed() {
    cut_everywhere(true);
}
