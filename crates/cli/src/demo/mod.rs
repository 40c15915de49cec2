//! `vermilion demo`: real records loaded, searched and served, with what happened on the way.
//!
//! What must stay true: every number shown was measured or counted in this run.

mod sample;
mod show;

use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use vermilion_engine::model::{
    Collection, CollectionScope, DEFAULT_DATABASE, DEFAULT_TENANT, NewCollection, Operation,
    SeqRange, Space,
};
use vermilion_engine::{Config, Database, Statistics};
use vermilion_server::ServerConfig;

use crate::arguments::Demo;
use crate::console::{grouped, say, size};
use crate::failure::Failure;
use crate::serve::listen;
use crate::transfer::{Progress, Record, schema_of, to_batch};

use sample::Sample;

/// The name of the collection.
const COLLECTION: &str = "packages";
/// Records in one batch.
const BATCH: usize = 250;
/// Clients that write at once, so that group commit is seen at work.
const WRITERS: usize = 4;
/// How many ports are tried.
const PORTS: u16 = 20;

/// What the loading measured.
struct Loaded {
    batches: Vec<SeqRange>,
    took: Duration,
    slowest: Duration,
}

/// Runs the command.
pub(crate) fn demo(arguments: &Demo) -> Result<(), Failure> {
    let sample = Sample::read()?;
    let config = Config::at(&arguments.path)
        .map_err(|error| Failure::from(error).context("cannot open the demo's folder"))?;
    let database = Arc::new(Database::open(config)?);
    let collection = database.create_collection(NewCollection {
        tenant: DEFAULT_TENANT.to_owned(),
        database: DEFAULT_DATABASE.to_owned(),
        name: COLLECTION.to_owned(),
        metadata: None,
        schema: schema_of(Space::Cosine),
        get_or_create: true,
    })?;
    let scope = scope_of(&collection);
    say(&format!(
        "Vermilion demo: {} descriptions of Debian packages, with metadata and {}-d embeddings.\n",
        grouped(sample.records.len() as u64),
        sample
            .records
            .first()
            .map_or(0, |record| record.embedding.len())
    ))?;
    let before = database.statistics();
    let loaded = load(&database, scope, &sample.records)?;
    show::searches(&database, scope, &sample)?;
    write_path(&database, scope, &arguments.path, &loaded, &before)?;
    if arguments.no_serve {
        return Ok(database.close()?);
    }
    let config = ServerConfig {
        port: free_port(arguments.port)?,
        ..ServerConfig::default()
    };
    listen(config, database, |address| {
        show::how_to_connect(address, COLLECTION)
    })
}

fn scope_of(collection: &Collection) -> CollectionScope<'_> {
    CollectionScope {
        tenant: &collection.tenant,
        database: &collection.database,
        id: collection.id,
    }
}

/// Writes the records with several writers at once.
fn load(
    database: &Database,
    scope: CollectionScope<'_>,
    records: &[Record],
) -> Result<Loaded, Failure> {
    let batches: Vec<&[Record]> = records.chunks(BATCH).collect();
    let next = AtomicUsize::new(0);
    let progress = std::sync::Mutex::new((Progress::start("loading", records.len() as u64), 0));
    let started = Instant::now();
    let write = || -> Result<Vec<(SeqRange, Duration)>, Failure> {
        let mut written = Vec::new();
        while let Some(batch) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
            let columns = to_batch(batch, Operation::Upsert)?;
            let begun = Instant::now();
            written.push((database.write(scope, columns)?, begun.elapsed()));
            let mut shown = progress
                .lock()
                .expect("no writer panics while it shows progress");
            shown.1 += batch.len() as u64;
            let done = shown.1;
            shown.0.at(done, done);
        }
        Ok(written)
    };
    let written: Result<Vec<_>, Failure> = std::thread::scope(|threads| {
        let writers: Vec<_> = (0..WRITERS).map(|_| threads.spawn(write)).collect();
        let joined = writers
            .into_iter()
            .map(|writer| writer.join().expect("a writer does not panic"));
        joined.collect()
    });
    let took = started.elapsed();
    progress
        .into_inner()
        .expect("no writer panicked")
        .0
        .finish();
    let mut written: Vec<(SeqRange, Duration)> = written?.into_iter().flatten().collect();
    written.sort_by_key(|(range, _)| range.first);
    Ok(Loaded {
        slowest: written
            .iter()
            .map(|(_, took)| *took)
            .max()
            .unwrap_or_default(),
        batches: written.into_iter().map(|(range, _)| range).collect(),
        took,
    })
}

/// Shows the way of these writes with the numbers that were counted.
fn write_path(
    database: &Database,
    scope: CollectionScope<'_>,
    folder: &Path,
    loaded: &Loaded,
    before: &Statistics,
) -> Result<(), Failure> {
    let logged = database.statistics();
    database.seal_all()?;
    let sealed = database.statistics();
    let records: u64 = loaded.batches.iter().map(|range| range.count()).sum();
    let first = loaded.batches.first().map_or(0, |range| range.first.0);
    let last = loaded.batches.last().map_or(0, |range| range.last.0);
    say(&format!(
        "The way of these writes\n  \
         1. {} records came in {} batches from {WRITERS} writers at once, and got the SeqIds {} to {}.\n  \
         2. The log took each batch as one checksummed frame: {} appends, {} fsyncs ({}), {} of log.\n  \
         3. Each batch was answered after the fsync that covers it: all in {:.0} ms, the slowest in {:.1} ms.\n  \
         4. Searches saw each batch at once, from {} in memory.\n  \
         5. Sealing wrote them to {} segment{} on disk; {} stay in memory. Live records: {}.\n  \
         Look for yourself: vermilion inspect --path {}\n",
        grouped(records),
        loaded.batches.len(),
        grouped(first),
        grouped(last),
        grouped(logged.log_appends - before.log_appends),
        grouped(logged.log_syncs - before.log_syncs),
        "writers that wait at the same moment share one",
        size(logged.log_bytes),
        loaded.took.as_secs_f64() * 1e3,
        loaded.slowest.as_secs_f64() * 1e3,
        size(logged.memory_bytes),
        sealed.segments,
        if sealed.segments == 1 { "" } else { "s" },
        size(sealed.memory_bytes),
        grouped(database.count(scope)?),
        folder.display(),
    ))
}

/// The first free port from `first` on.
fn free_port(first: u16) -> Result<u16, Failure> {
    let last = first.saturating_add(PORTS - 1);
    (first..=last)
        .find(|&port| TcpListener::bind(("127.0.0.1", port)).is_ok())
        .ok_or_else(|| {
            Failure::new(format!("the ports {first} to {last} are all taken"))
                .hint("name another with --port")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_leads_to_the_next_free_one() {
        let taken = TcpListener::bind(("127.0.0.1", 0)).expect("some port is free");
        let port = taken.local_addr().expect("it is bound").port();
        assert_ne!(free_port(port).expect("one of twenty is free"), port);
    }
}
