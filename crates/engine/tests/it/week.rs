//! A week of additions, updates and deletions at a steady size, with the jobs, seals, merges and
//! backups of a real folder, by a clock that the test moves: nothing may grow.
//!
//! What must stay true: the bounds hold for a database that forgets what it must, and are passed by
//! one that keeps a file, a descriptor or a mapping of each hour.

#![expect(clippy::unwrap_used, reason = "a test may end at the first surprise")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use vermilion_engine::backup::{BackupKind, Folder};
use vermilion_engine::catalog::CatalogLocation;
use vermilion_engine::clock::ManualClock;
use vermilion_engine::model::{BatchIngestChange, CollectionUpdate};
use vermilion_engine::schedule::{Outcome, RunRequest};
use vermilion_engine::storage::{DiskStorage, MemoryStorage};
use vermilion_engine::{Config, Database};

use crate::support::{Choices, ModelCollection, create, random_batch, read_all, small, with_scope};

const DAYS: usize = 7;
const STEPS_A_DAY: u32 = 6;
/// Ids that the operations are about: the size that stays.
const IDS: usize = 200;

/// What must not grow.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    /// Of all files but the catalogue's.
    bytes: u64,
    catalogue: u64,
    files: usize,
    /// Open descriptors of files in the folder.
    descriptors: usize,
    /// Mappings of files in the folder.
    mappings: usize,
    memory: u64,
}

struct Week {
    folder: tempfile::TempDir,
    clock: Arc<ManualClock>,
    database: Database,
    destination: Folder,
    choices: Choices,
    models: [(&'static str, ModelCollection); 2],
}

impl Week {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::default());
        clock.advance(Duration::from_secs(1_790_000_000));
        let storage = Arc::new(DiskStorage::open(folder.path()).unwrap());
        let mut config = small(Config::with_storage(storage));
        config.catalog = CatalogLocation::File(folder.path().join("catalog.sqlite"));
        config.clock = clock.clone();
        // Less than a day writes, so that some backups are full ones.
        config.limits.backup_log_bytes_max = 64 << 10;
        let database = Database::open(config).unwrap();
        for name in ["at once", "behind"] {
            create(&database, name).unwrap();
        }
        let update = CollectionUpdate {
            batch_ingest: BatchIngestChange::Set(true),
            ..CollectionUpdate::default()
        };
        with_scope(&database, "behind", |scope| {
            database.update_collection(scope, update)
        })
        .unwrap();
        Self {
            folder,
            clock,
            database,
            destination: Folder::on(Arc::new(MemoryStorage::default())),
            choices: Choices(11),
            models: ["at once", "behind"].map(|name| (name, ModelCollection::default())),
        }
    }

    fn step(&mut self) {
        self.clock.advance(Duration::from_hours(24) / STEPS_A_DAY);
        for (name, model) in &mut self.models {
            for _ in 0..4 {
                let batch = random_batch(&mut self.choices, IDS, 40);
                model.apply(&batch);
                with_scope(&self.database, name, |scope| {
                    self.database.write(scope, batch.clone())
                })
                .unwrap();
            }
        }
        // A collection of an hour, with records that are never indexed.
        create(&self.database, "passing").unwrap();
        let batch = random_batch(&mut self.choices, IDS, 40);
        with_scope(&self.database, "passing", |scope| {
            self.database.write(scope, batch)
        })
        .unwrap();
        let (tenant, place) = (crate::support::TENANT, crate::support::DATABASE);
        self.database
            .delete_collection(tenant, place, "passing")
            .unwrap();
        for run in self.database.jobs().run_due() {
            assert_eq!(run.outcome, Outcome::Succeeded, "{run:?}");
        }
        while self.database.upkeep().unwrap() {}
    }

    fn day(&mut self) -> Sizes {
        for step in 0..STEPS_A_DAY {
            self.step();
            if step == STEPS_A_DAY / 2 {
                let kind = BackupKind::Incremental;
                self.database
                    .backup(&self.destination, kind, &mut |_| {})
                    .unwrap();
            }
        }
        for (name, model) in &self.models {
            assert_eq!(&read_all(&self.database, name).unwrap(), model, "{name}");
        }
        // What the last steps left in memory, in the log and in tiers of segments is a matter of
        // chance; afterwards each collection is one segment.
        self.database.seal_all().unwrap();
        let request = RunRequest {
            dry_run: false,
            arguments: json!({"all": true}),
        };
        let run = self.database.jobs().run("index_rebuild", request).unwrap();
        assert_eq!(run.outcome, Outcome::Succeeded, "{run:?}");
        while self.database.upkeep().unwrap() {}
        self.sizes()
    }

    fn sizes(&self) -> Sizes {
        let mut files = Vec::new();
        walk(self.folder.path(), &mut files);
        let inside = self.folder.path().to_str().unwrap();
        let descriptors = std::fs::read_dir("/proc/self/fd").map_or(0, |open| {
            open.filter_map(|one| std::fs::read_link(one.ok()?.path()).ok())
                .filter(|file| file.starts_with(inside))
                .count()
        });
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
        let is_catalogue = |path: &Path| {
            let name = path.file_name().unwrap().to_string_lossy();
            name.starts_with("catalog.sqlite")
        };
        let bytes = |of_catalogue: bool| {
            let wanted = files
                .iter()
                .filter(|(path, _)| is_catalogue(path) == of_catalogue);
            wanted.map(|(_, bytes)| bytes).sum()
        };
        Sizes {
            bytes: bytes(false),
            catalogue: bytes(true),
            files: files.len(),
            descriptors,
            mappings: maps.lines().filter(|line| line.contains(inside)).count(),
            memory: self.database.statistics().memory_bytes,
        }
    }
}

fn walk(folder: &Path, found: &mut Vec<(PathBuf, u64)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, found);
        } else {
            let bytes = path.metadata().unwrap().len();
            found.push((path, bytes));
        }
    }
}

#[test]
fn a_week_at_a_steady_size_leaves_disk_files_descriptors_and_memory_flat() {
    let mut week = Week::new();
    let days: Vec<Sizes> = (0..DAYS).map(|_| week.day()).collect();
    // The first two days fill caches, tiers of segments and the history of the jobs.
    let (early, late) = (&days[1..3], &days[DAYS - 3..]);
    let most = |of: fn(&Sizes) -> u64, among: &[Sizes]| among.iter().map(of).max().unwrap();
    let flat = |what: &str, of: fn(&Sizes) -> u64, slack: u64| {
        let (before, after) = (most(of, early), most(of, late));
        assert!(after <= before + slack, "{what} grew: {days:#?}");
    };
    flat("the folder", |sizes| sizes.bytes, 32 << 10);
    // It keeps the last hundred runs of each job, which a week does not reach.
    flat("the catalogue", |sizes| sizes.catalogue, 256 << 10);
    flat("the number of files", |sizes| sizes.files as u64, 4);
    flat("open descriptors", |sizes| sizes.descriptors as u64, 2);
    flat("mappings", |sizes| sizes.mappings as u64, 4);
    flat("memory", |sizes| sizes.memory, 4 << 10);
    week.database.close().unwrap();
}
