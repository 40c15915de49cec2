//! `vermilion import`: a file into a collection, batch by batch.
//!
//! What must stay true: a file whose first batch cannot be read, or is refused, leaves no collection behind that
//! was not there before.

use std::collections::VecDeque;
use std::path::Path;

use crate::arguments::Import;
use crate::console::{grouped, note, say};
use crate::embed::Embedder;
use crate::failure::Failure;

use super::csv::CsvReader;
use super::jsonl::JsonlReader;
#[cfg(feature = "parquet")]
use super::parquet::ParquetReader;
use super::place::Collection;
use super::record::check_dimensions;
use super::state::State;
use super::{Format, Progress, Record, format_of};

/// Bytes of records at which a batch ends even if it is not full, so that a request stays small.
const BATCH_BYTES: usize = 16 << 20;

/// The embedding function by whose name collections keep that their vectors are the model's, so that clients
/// make those of queries by it.
const FUNCTION: &str = "default";
/// The names of functions with this model.
const SAME_MODEL: [&str; 2] = [FUNCTION, "onnx_mini_lm_l6_v2"];

/// A file that records are read from, in one of the formats.
enum Source {
    Jsonl(JsonlReader),
    Csv(CsvReader),
    #[cfg(feature = "parquet")]
    Parquet(ParquetReader),
}

impl Source {
    /// Opens a file; with `to_embed` records may have no vector.
    fn open(file: &Path, to_embed: bool) -> Result<Self, Failure> {
        let jsonl = |compressed| JsonlReader::open(file, compressed, to_embed).map(Self::Jsonl);
        match format_of(file)? {
            Format::Jsonl => jsonl(false),
            Format::CompressedJsonl => jsonl(true),
            Format::Csv => Ok(Self::Csv(CsvReader::open(file, to_embed)?)),
            #[cfg(feature = "parquet")]
            Format::Parquet => Ok(Self::Parquet(ParquetReader::open(file, to_embed)?)),
            #[cfg(not(feature = "parquet"))]
            Format::Parquet => unreachable!("the format is refused without the feature"),
        }
    }

    fn next(&mut self) -> Result<Option<Record>, Failure> {
        match self {
            Self::Jsonl(reader) => reader.next(),
            Self::Csv(reader) => reader.next(),
            #[cfg(feature = "parquet")]
            Self::Parquet(reader) => reader.next(),
        }
    }

    fn skip(&mut self, records: u64) -> Result<(), Failure> {
        match self {
            Self::Jsonl(reader) => reader.skip(records),
            Self::Csv(reader) => reader.skip(records),
            #[cfg(feature = "parquet")]
            Self::Parquet(reader) => reader.skip(records),
        }
    }

    /// How far along the file this is, and how long the file is, in one unit.
    fn position(&self, file_bytes: u64) -> (u64, u64) {
        match self {
            Self::Jsonl(reader) => (reader.consumed(), file_bytes),
            Self::Csv(reader) => (reader.consumed(), file_bytes),
            #[cfg(feature = "parquet")]
            Self::Parquet(reader) => reader.position(),
        }
    }
}

/// The records of a file.
struct Reader {
    source: Source,
    /// Those that were read before they were asked for.
    ahead: VecDeque<Record>,
}

impl Reader {
    /// Opens a file and reads its first batch, at most `count` records: what is wrong there is told before
    /// anything is made for them.
    fn open(file: &Path, to_embed: bool, count: usize) -> Result<Self, Failure> {
        let mut reader = Self {
            source: Source::open(file, to_embed)?,
            ahead: VecDeque::new(),
        };
        let first = reader.batch(count)?;
        check_dimensions(first.iter().filter(|one| !one.embedding.is_empty()))?;
        reader.ahead = first.into();
        Ok(reader)
    }

    fn next(&mut self) -> Result<Option<Record>, Failure> {
        match self.ahead.pop_front() {
            Some(record) => Ok(Some(record)),
            None => self.source.next(),
        }
    }

    fn skip(&mut self, records: u64) -> Result<(), Failure> {
        let kept = usize::try_from(records)
            .map_or(self.ahead.len(), |records| records.min(self.ahead.len()));
        self.ahead.drain(..kept);
        self.source.skip(records - kept as u64)
    }

    /// The next records, at most `count` and about [`BATCH_BYTES`].
    fn batch(&mut self, count: usize) -> Result<Vec<Record>, Failure> {
        let (mut records, mut bytes) = (Vec::new(), 0);
        while records.len() < count && bytes < BATCH_BYTES {
            let Some(record) = self.next()? else { break };
            bytes += record.bytes();
            records.push(record);
        }
        Ok(records)
    }
}

/// Runs the command.
pub(crate) fn import(arguments: &Import) -> Result<(), Failure> {
    let count = arguments.batch as usize;
    let mut reader = Reader::open(&arguments.file, arguments.embed, count)?;
    let embedder = if arguments.embed {
        Some(Embedder::open(&arguments.model)?)
    } else {
        None
    };
    let function = arguments.embed.then_some(FUNCTION);
    let place = &arguments.place;
    let (collection, is_new) = Collection::open_or_create(place, arguments.space, function)?;
    let mut stored = 0;
    let imported = import_into(
        arguments,
        &mut reader,
        embedder.as_ref(),
        &collection,
        &mut stored,
    );
    let removed = if imported.is_err() && is_new && stored == 0 {
        collection.remove_unused(place)
    } else {
        Ok(())
    };
    let closed = collection.close();
    imported.and(removed).and(closed)
}

/// Imports what `reader` reads; `records` says how many of the file are stored, whatever comes.
fn import_into(
    arguments: &Import,
    reader: &mut Reader,
    embedder: Option<&Embedder>,
    collection: &Collection,
    records: &mut u64,
) -> Result<(), Failure> {
    if embedder.is_some() {
        check_function(arguments, collection)?;
    }
    let (place, id) = collection.identity();
    let state = State::of(&arguments.file, place, id)?;
    let behind = if arguments.restart {
        0
    } else {
        state.records()
    };
    if behind > 0 {
        note(&format!(
            "going on after {} records of an earlier run",
            grouped(behind)
        ));
        reader.skip(behind)?;
    }
    let count = (arguments.batch as usize).min(collection.batch_records_max());
    let mut progress = Progress::start("importing", reader.source.position(state.file_bytes()).1);
    *records = behind;
    let went = loop {
        let mut batch = match reader.batch(count) {
            Ok(batch) if batch.is_empty() => break Ok(()),
            Ok(batch) => batch,
            Err(failure) => break Err(failure),
        };
        if let Some(embedder) = embedder {
            embedder.fill(&mut batch);
        }
        let kept = collection.upsert(&batch).and_then(|()| {
            *records += batch.len() as u64;
            state.keep(*records)
        });
        if let Err(failure) = kept {
            break Err(failure);
        }
        progress.at(reader.source.position(state.file_bytes()).0, *records);
    };
    let took = progress.finish();
    if let Err(failure) = went {
        if *records > 0 {
            note(&format!(
                "{} records are stored; the same command goes on after them ({})",
                grouped(*records),
                state.path().display()
            ));
        }
        return Err(failure);
    }
    state.forget();
    let settled = std::time::Instant::now();
    collection.settle()?;
    let took = took + settled.elapsed();
    say(&format!(
        "imported {} records into collection {} in {:.1} s",
        grouped(*records - behind),
        arguments.place.collection,
        took.as_secs_f64()
    ))
}

/// Refuses a collection whose vectors are made by another model.
fn check_function(arguments: &Import, collection: &Collection) -> Result<(), Failure> {
    match collection.function() {
        Some(name) if !SAME_MODEL.contains(&name) => Err(Failure::new(format!(
            "the vectors of collection {} are made by the embedding function `{name}`, and --embed makes them by \
             all-MiniLM-L6-v2",
            arguments.place.collection
        ))
        .hint("name another collection with --collection, or give the vectors in the file")),
        _ => Ok(()),
    }
}
