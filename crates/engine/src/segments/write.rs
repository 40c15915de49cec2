//! Writes a segment: the live rows of some sources, in one folder of files.
//!
//! What must stay true: when [`write_segment`] returns, every file is durable under its name, and
//! so is the folder; only the catalogue's commit makes the segment part of its collection. When
//! it fails, nothing of the segment is left.

use std::sync::Arc;

use roaring::RoaringBitmap;

use super::arrow::{Records, write_records};
use super::chunk::{LiveRow, live_rows};
use super::documents::{DocumentBatch, DocumentWriter};
use super::id_table;
use super::metadata::gather::{Cell, Gathered, GatheredColumn, Text, Values};
use super::metadata::{Kind, postings};
use super::segment::map;
use super::sink::{FileEntry, FileSink};
use super::sparse::{self, SPARSE_FILE, Vectors};
use super::text::TextWriter;
use super::toc::{IndexLayout, Toc};
use super::vector::{self, BuildOptions, INDEX_FILE};
use super::{Chunk, Segment, Source};
use crate::model::{Schema, Space};
use crate::storage::{Storage, let_go};
use crate::{Error, ErrorKind, Result};

/// Rows between two questions whether to go on.
const ROWS_BETWEEN_QUESTIONS: u32 = 512;
/// Bytes of a mapped file that come into a process's memory when one of them is read, at most.
const PAGES_AROUND_BYTES: usize = 64 << 10;

/// What a written segment is.
#[derive(Clone, Debug)]
pub struct SegmentSummary {
    /// Rows in it.
    pub rows: u32,
    /// Checksum of its table of contents.
    pub toc_checksum: u64,
    /// Bytes of its files.
    pub bytes: u64,
    /// For each source, for each of its rows, the row of the new segment; `u32::MAX` where the
    /// row was dead.
    pub row_of: Vec<Vec<u32>>,
}

/// Which indexes a segment is to have.
#[derive(Clone, Debug)]
pub struct Indexes {
    /// How its vectors are compared; `None` where a merge indexes them later.
    space: Option<Space>,
    /// The metadata keys whose sparse vectors are indexed.
    sparse_keys: Vec<String>,
    /// Whether its documents are indexed.
    documents: bool,
    /// Vectors that were asked for lately, for which the vector index is calibrated.
    queries: Vec<f32>,
    /// See [`Self::within`].
    mapped_max: usize,
}

impl Indexes {
    /// The same, made with about `mapped_max` bytes of the vectors in memory at most, where that is
    /// not 0. Keeping to it takes time.
    #[must_use]
    pub fn within(self, mapped_max: u64) -> Self {
        Self {
            mapped_max: usize::try_from(mapped_max).unwrap_or(usize::MAX),
            ..self
        }
    }

    /// The same, calibrated for `queries`, vectors one after the other.
    #[must_use]
    pub fn asked_for(self, queries: Vec<f32>) -> Self {
        Self { queries, ..self }
    }
}

impl From<Space> for Indexes {
    fn from(space: Space) -> Self {
        Self {
            space: Some(space),
            sparse_keys: Vec::new(),
            documents: true,
            queries: Vec::new(),
            mapped_max: 0,
        }
    }
}

impl From<&Schema> for Indexes {
    fn from(schema: &Schema) -> Self {
        Self {
            space: Some(schema.space()),
            sparse_keys: schema.sparse_keys().map(str::to_owned).collect(),
            documents: schema.documents_filterable(),
            queries: Vec::new(),
            mapped_max: 0,
        }
    }
}

impl Indexes {
    /// The same without the indexes that take most of the time: those of the vectors and of the
    /// documents, which a merge makes later.
    #[must_use]
    pub fn in_a_hurry(self) -> Self {
        Self {
            space: None,
            documents: false,
            ..self
        }
    }
}

/// Writes the rows of `sources` that are not dead into the new folder `folder`, by ascending birth,
/// indexes of their vectors and documents where these pay, and the other `indexes`. `go_on` is asked
/// now and then; once it answers `false` the call cleans up and ends with `Busy`.
pub fn write_segment(
    storage: &dyn Storage,
    folder: &str,
    sources: &[(Source, Arc<RoaringBitmap>)],
    indexes: impl Into<Indexes>,
    go_on: &dyn Fn() -> bool,
) -> Result<SegmentSummary> {
    if storage.exists(folder)? {
        let message = format!("the folder {folder} exists; a segment is written to a new one");
        return Err(Error::already_exists(message));
    }
    let mut job = Job {
        storage,
        folder,
        sources,
        indexes: indexes.into(),
        live: Vec::new(),
        dimension: 0,
        go_on,
        asked_after: 0,
    };
    let written = job.run();
    if written.is_err() {
        // The first error tells more than one of the cleaning, which upkeep repeats anyway.
        let _ = storage.remove_dir(folder);
    }
    written
}

/// How often a build asks whether to go on while it reads about `bytes` of its vectors, some here
/// and some there, each with the pages around it.
fn questions_within(bytes: usize) -> usize {
    (bytes / (ROWS_BETWEEN_QUESTIONS as usize * PAGES_AROUND_BYTES)).max(1)
}

/// The file of documents, and where its batches are.
type WrittenDocuments = (FileEntry, Vec<DocumentBatch>);

/// One segment that is being written.
struct Job<'a> {
    storage: &'a dyn Storage,
    folder: &'a str,
    sources: &'a [(Source, Arc<RoaringBitmap>)],
    indexes: Indexes,
    live: Vec<LiveRow>,
    dimension: usize,
    go_on: &'a dyn Fn() -> bool,
    asked_after: u32,
}

impl Job<'_> {
    fn run(&mut self) -> Result<SegmentSummary> {
        self.live = live_rows(self.sources)?;
        let rows = u32::try_from(self.live.len())
            .ok()
            .filter(|&rows| rows < u32::MAX)
            .ok_or_else(|| Error::invalid("a segment holds under 4,294,967,295 rows"))?;
        self.dimension = self.common_dimension()?;
        self.storage.create_dir(self.folder)?;
        let vectors = self.write_vectors()?;
        let vector_index = self.write_vector_index()?;
        let (documents, text_index) = self.write_documents()?;
        let (records, hashes) = self.gather()?;
        let last_seq = records.seqs.iter().copied().max().unwrap_or(0);
        let (index_file, index) = self.write_index(&records.metadata, hashes, rows)?;
        let sparse_index = self.write_sparse_index(&records.metadata)?;
        self.ask()?;
        let sink = FileSink::create(self.storage, self.folder, "records.arrow")?;
        let (records_file, records) = write_records(sink, records)?;
        let mut files = vec![vectors, records_file, index_file];
        let (documents_file, documents) = documents.unzip();
        files.extend(documents_file);
        files.extend(vector_index);
        files.extend(sparse_index);
        files.extend(text_index);
        let toc = Toc {
            rows,
            dimension: self.dimension as u32,
            last_seq,
            files,
            records,
            documents: documents.unwrap_or_default(),
            index,
        };
        self.publish(&toc)
    }

    /// Writes the table of contents and makes the names of all files durable.
    fn publish(&mut self, toc: &Toc) -> Result<SegmentSummary> {
        self.ask()?;
        let (bytes, toc_checksum) = toc.encode();
        let mut sink = FileSink::create(self.storage, self.folder, "toc.bin")?;
        sink.put(&bytes)?;
        sink.finish()?;
        self.storage.sync_dir(self.folder)?;
        let mut folder = self.folder;
        while let Some((above, _)) = folder.rsplit_once('/') {
            self.storage.sync_dir(above)?;
            folder = above;
        }
        self.storage.sync_dir("")?;
        let files: u64 = toc.files.iter().map(|file| file.bytes).sum();
        Ok(SegmentSummary {
            rows: toc.rows,
            toc_checksum,
            bytes: files + bytes.len() as u64,
            row_of: self.row_of(),
        })
    }

    fn row_of(&self) -> Vec<Vec<u32>> {
        let mut row_of: Vec<Vec<u32>> = self
            .sources
            .iter()
            .map(|(source, _)| vec![u32::MAX; source.rows() as usize])
            .collect();
        for (to, from) in self.live.iter().enumerate() {
            row_of[from.source as usize][from.row as usize] = to as u32;
        }
        row_of
    }

    fn common_dimension(&self) -> Result<usize> {
        let with_rows = self.sources.iter().filter(|(source, _)| source.rows() > 0);
        let mut dimensions = with_rows.map(|(source, _)| source.dimension());
        let first = dimensions.next().unwrap_or(0);
        match dimensions.find(|&dimension| dimension != first) {
            Some(other) => Err(Error::internal(format!(
                "vectors of {first} and of {other} numbers do not go into one segment"
            ))),
            None => Ok(first),
        }
    }

    /// Asks whether to go on.
    fn ask(&mut self) -> Result<()> {
        self.asked_after = 0;
        if (self.go_on)() {
            Ok(())
        } else {
            let message = format!("writing {} was asked to stop", self.folder);
            Err(Error::new(ErrorKind::Busy, message))
        }
    }

    /// Notes that `rows` rows are done, and asks now and then.
    fn done(&mut self, rows: u32) -> Result<()> {
        self.asked_after = self.asked_after.saturating_add(rows);
        if self.asked_after >= ROWS_BETWEEN_QUESTIONS {
            self.ask()?;
        }
        Ok(())
    }

    fn source(&self, row: LiveRow) -> &Source {
        &self.sources[row.source as usize].0
    }

    fn write_vectors(&mut self) -> Result<FileEntry> {
        let mut sink = FileSink::create(self.storage, self.folder, "vectors.f32")?;
        let (mut at, mut read) = (0, 0);
        while at < self.live.len() {
            // Rows that follow each other in their source are written from where they are.
            let first = self.live[at];
            let run = self.live[at..]
                .iter()
                .take(ROWS_BETWEEN_QUESTIONS as usize)
                .zip(first.row..)
                .take_while(|(row, expected)| row.source == first.source && row.row == *expected)
                .count();
            let vectors = self.source(first).vectors(first.row, run as u32)?;
            sink.put(bytemuck::cast_slice(vectors))?;
            at += run;
            read += size_of_val(vectors);
            if read > self.indexes.mapped_max / 2 {
                read = 0;
                self.let_sources_go();
            }
            self.done(run as u32)?;
        }
        self.let_sources_go();
        sink.finish()
    }

    /// Gives back what was read of the vectors of the sources, where little may be mapped.
    fn let_sources_go(&self) {
        if self.indexes.mapped_max == 0 {
            return;
        }
        for (source, _) in self.sources {
            if let Source::Segment(segment) = source {
                let_go(segment.mapped().0);
            }
        }
    }

    /// The index of the vectors just written; none where an exact search does as well.
    fn write_vector_index(&mut self) -> Result<Option<FileEntry>> {
        let Some(space) = self.indexes.space else {
            return Ok(None);
        };
        if !vector::pays(self.live.len(), self.dimension) {
            return Ok(None);
        }
        let vectors = map(self.storage, &format!("{}/vectors.f32", self.folder))?;
        let asked = std::cell::Cell::new(0_usize);
        let go_on = || {
            asked.set(asked.get() + 1);
            let most = self.indexes.mapped_max;
            if most > 0
                && vectors.len() > most
                && asked.get().is_multiple_of(questions_within(most))
            {
                let_go(&vectors);
            }
            (self.go_on)()
        };
        let rows = bytemuck::cast_slice(&vectors);
        let options = BuildOptions {
            queries: &self.indexes.queries,
            ..BuildOptions::new(space)
        };
        let Some(bytes) = vector::build(rows, self.dimension, &options, &go_on)? else {
            return Ok(None);
        };
        let mut sink = FileSink::create(self.storage, self.folder, INDEX_FILE)?;
        sink.put(&bytes)?;
        sink.finish().map(Some)
    }

    /// The index of the sparse vectors in `metadata`; none where no key is to have one.
    fn write_sparse_index(&mut self, metadata: &Gathered) -> Result<Option<FileEntry>> {
        if self.indexes.sparse_keys.is_empty() {
            return Ok(None);
        }
        self.ask()?;
        // A key without vectors is in the file too: that says that nothing was left out.
        let keys = self.indexes.sparse_keys.iter().map(|key| {
            let of_key = |column: &&GatheredColumn| *column.key == **key;
            let mut columns = metadata.columns.iter().filter(of_key);
            let found = columns.find_map(|column| match &column.values {
                Values::Sparse(vectors) => Some((&column.rows[..], &vectors[..])),
                _ => None,
            });
            let (rows, vectors) = found.unwrap_or_default();
            Vectors { key, rows, vectors }
        });
        let keys: Vec<Vectors<'_>> = keys.collect();
        let mut sink = FileSink::create(self.storage, self.folder, SPARSE_FILE)?;
        sparse::write(&mut sink, &keys)?;
        sink.finish().map(Some)
    }

    /// The documents, and an index of them where that pays and they are to have one.
    fn write_documents(&mut self) -> Result<(Option<WrittenDocuments>, Option<FileEntry>)> {
        let mut writer = DocumentWriter::new(self.storage, self.folder);
        let index = self.indexes.documents;
        let mut index = index.then(|| TextWriter::new(self.storage, self.folder));
        for at in 0..self.live.len() {
            let row = self.live[at];
            let document = self.source(row).document(row.row)?;
            writer.push(document.as_deref())?;
            if let Some(index) = &mut index {
                index.push(document.as_deref())?;
            }
            self.done(1)?;
        }
        let written = writer.finish()?;
        let batches = written.as_ref().map_or(0, |(_, batches)| batches.len());
        let index = index.map(|index| index.finish(batches)).transpose()?;
        Ok((written, index.flatten()))
    }

    /// All other columns of the live rows, and the hashes of their ids.
    fn gather(&mut self) -> Result<(Records, Vec<u64>)> {
        let rows = self.live.len();
        let births = self.numbers(Source::births)?;
        let seqs = self.numbers(Source::seqs)?;
        let mut ids = Text::default();
        let mut hashes = Vec::with_capacity(rows);
        let mut uris = Text::default();
        let mut has_uri = vec![false; rows];
        let mut metadata = Gathered::default();
        let mut readers: Vec<CellReader<'_>> = self
            .sources
            .iter()
            .map(|(source, _)| CellReader::new(source))
            .collect();
        for (at, has_uri) in has_uri.iter_mut().enumerate() {
            let row = self.live[at];
            let source = &self.sources[row.source as usize].0;
            let id = source.id(row.row)?;
            ids.push(id);
            hashes.push(id_table::hash(id));
            let uri = source.uri(row.row)?;
            *has_uri = uri.is_some();
            uris.push(uri.unwrap_or(""));
            readers[row.source as usize].push(row.row, at as u32, &mut metadata)?;
            self.done(1)?;
        }
        metadata.sort();
        let records = Records {
            ids,
            births,
            seqs,
            uris: has_uri.contains(&true).then_some((uris, has_uri)),
            metadata,
        };
        Ok((records, hashes))
    }

    fn numbers(&self, of: impl Fn(&Source) -> Result<&[u64]>) -> Result<Vec<u64>> {
        let sources = self.sources.iter().map(|(source, _)| of(source));
        let columns: Vec<&[u64]> = sources.collect::<Result<_>>()?;
        let rows = self.live.iter();
        Ok(rows
            .map(|row| columns[row.source as usize][row.row as usize])
            .collect())
    }

    fn write_index(
        &mut self,
        metadata: &Gathered,
        hashes: Vec<u64>,
        rows: u32,
    ) -> Result<(FileEntry, IndexLayout)> {
        let mut sink = FileSink::create(self.storage, self.folder, "index.bin")?;
        let slots = id_table::file_slots(&hashes);
        drop(hashes);
        sink.put(bytemuck::cast_slice(&slots))?;
        let slots = slots.len() as u64;
        let (directory, entries) = postings::write(&mut sink, metadata, rows, &mut || self.ask())?;
        let layout = IndexLayout {
            slots_at: 0,
            slots,
            directory,
            entries,
            order: None,
        };
        Ok((sink.finish()?, layout))
    }
}

/// Reads the cells of a source's rows into gathered columns, whose numbers it remembers.
enum CellReader<'a> {
    Chunk {
        chunk: &'a Chunk,
        numbers: Vec<[Option<u32>; Kind::COUNT]>,
    },
    Segment {
        segment: &'a Segment,
        numbers: Vec<Option<u32>>,
    },
}

impl<'a> CellReader<'a> {
    fn new(source: &'a Source) -> Self {
        match source {
            Source::Chunk(chunk) => Self::Chunk {
                chunk,
                numbers: vec![[None; Kind::COUNT]; chunk.metadata().keys().len()],
            },
            Source::Segment(segment) => Self::Segment {
                segment,
                numbers: vec![None; segment.columns().len()],
            },
        }
    }

    /// Pushes the cells of `row` as those of row `as_row`.
    fn push(&mut self, row: u32, as_row: u32, to: &mut Gathered) -> Result<()> {
        match self {
            Self::Chunk { chunk, numbers } => {
                for (key, value) in chunk.metadata().cells(row as usize) {
                    let Some(kind) = Kind::of(value) else {
                        continue;
                    };
                    let name = &chunk.metadata().keys()[*key as usize];
                    let number = *numbers[*key as usize][kind as usize]
                        .get_or_insert_with(|| to.column(name, kind));
                    to.push(number, as_row, Cell::from(value));
                }
            }
            Self::Segment { segment, numbers } => {
                for (column, number) in numbers.iter_mut().enumerate() {
                    if let Some(cell) = segment.cell(column, row)? {
                        let stored = &segment.columns()[column];
                        let number =
                            *number.get_or_insert_with(|| to.column(&stored.key, stored.kind));
                        to.push(number, as_row, cell);
                    }
                }
                for (key, value) in segment.extra(row)? {
                    if let Some(kind) = Kind::of(&value) {
                        let number = to.column(&key, kind);
                        to.push(number, as_row, Cell::from(&value));
                    }
                }
            }
        }
        Ok(())
    }
}
