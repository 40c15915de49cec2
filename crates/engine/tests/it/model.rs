//! Random operations, seals, merges and restarts against the naive model.

use std::collections::BTreeMap;

use vermilion_engine::{Database, ErrorKind};

use crate::support::{
    Choices, DATABASE, ModelCollection, TENANT, create, fork, on_disk, random_batch, read_all,
    with_scope,
};

struct Run {
    database: Option<Database>,
    folder: tempfile::TempDir,
    model: BTreeMap<String, ModelCollection>,
}

impl Run {
    fn open(folder: tempfile::TempDir) -> Self {
        let database = Some(open(&folder));
        Self {
            database,
            folder,
            model: BTreeMap::new(),
        }
    }

    fn database(&self) -> &Database {
        self.database.as_ref().expect("the database is open")
    }

    fn step(&mut self, choices: &mut Choices) {
        let name = format!("col{}", choices.below(4));
        match choices.below(40) {
            0 if self.model.contains_key(&name) => {
                self.database()
                    .delete_collection(TENANT, DATABASE, &name)
                    .expect("it exists");
                self.model.remove(&name);
            }
            1 => self.database().seal_all().expect("sealing works"),
            2..=4 => {
                self.database().upkeep().expect("upkeep works");
            }
            5 => {
                self.database().close().expect("closing works");
                self.database = None;
                self.database = Some(open(&self.folder));
            }
            6 => {
                // A process that dies: nothing is closed, another one opens the folder.
                let dying = self.database.take().expect("the database is open");
                dying.close().expect("closing works");
                drop(dying);
                self.database = Some(open(&self.folder));
            }
            7 | 8 if self.model.contains_key(&name) => {
                let new_name = format!("col{}", choices.below(4));
                let forked = fork(self.database(), &name, &new_name);
                if self.model.contains_key(&new_name) {
                    assert_eq!(
                        forked.expect_err("the name is taken").kind(),
                        ErrorKind::AlreadyExists
                    );
                } else {
                    forked.expect("the name is free");
                    let records = self.model[&name].clone();
                    self.model.insert(new_name, records);
                }
            }
            _ => {
                if !self.model.contains_key(&name) {
                    create(self.database(), &name).expect("the name is free");
                    self.model.insert(name.clone(), ModelCollection::default());
                }
                let batch = random_batch(choices, 60, 20);
                self.model
                    .get_mut(&name)
                    .expect("it was made")
                    .apply(&batch);
                with_scope(self.database(), &name, |scope| {
                    self.database().write(scope, batch)
                })
                .expect("the batch is valid");
            }
        }
    }

    fn check(&self, seed: u64, step: usize) {
        for (name, expected) in &self.model {
            let found = read_all(self.database(), name).expect("reading works");
            assert_eq!(
                &found, expected,
                "seed {seed}, step {step}, collection {name}"
            );
        }
    }
}

fn open(folder: &tempfile::TempDir) -> Database {
    Database::open(on_disk(folder.path())).expect("the folder opens")
}

#[test]
fn random_operations_equal_the_model_across_seals_merges_and_restarts() {
    for seed in 0..12 {
        let mut choices = Choices(seed);
        let mut run = Run::open(tempfile::tempdir().expect("a temporary folder"));
        for step in 0..150 {
            run.step(&mut choices);
            if step % 10 == 9 {
                run.check(seed, step);
            }
        }
        run.check(seed, 150);
    }
}
