//! Rows on disk: an opened segment.
//!
//! What must stay true: files of a segment never change; each is checked block by block the
//! first time it is read (see [`super::blocks`]).

use std::ops::Range;

use bytes::Bytes;

use super::blocks::Blocks;
use super::column::typed;
use super::documents::{DocumentMatcher, Documents};
use super::id_table::{self, HashedId};
use super::metadata::extra;
use super::metadata::gather::Cell;
use super::metadata::search::Postings;
use super::sparse::{SPARSE_FILE, SparseIndex};
use super::text::{self, Query, TEXT_FILE, TextIndex};
use super::toc::Toc;
use super::vector::{INDEX_FILE, VectorFile, index_bytes};
use super::{AnyIndexFile, FilterCache, IndexFile, Keys, RowSet};
use crate::model::{
    CollectionId, Comparison, DocumentTest, MetadataColumn, SegmentId, SeqId, SparseVector, Value,
};
use crate::storage::{Storage, give_back};
use crate::{Error, ErrorKind, Result};

/// Bytes of the lists that a merge keeps for each row: where it comes from, where it goes, and its
/// partition.
const MERGE_BYTES_PER_ROW: usize = 28;

/// Rows on disk.
pub struct Segment {
    toc: Toc,
    toc_path: String,
    toc_bytes: Bytes,
    toc_checksum: u64,
    vectors: Blocks,
    records: Blocks,
    index: Blocks,
    documents: Option<Documents>,
    vector_index: Option<VectorFile>,
    sparse_index: Option<IndexFile<SparseIndex>>,
    text_index: Option<IndexFile<TextIndex>>,
    filters: FilterCache,
}

/// A part of what searches read of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MappedPart {
    /// The raw vectors.
    Vectors,
    /// The levels of the index.
    Levels,
    /// All that is before the levels.
    Signs,
}

impl Segment {
    /// The folder of a segment's files.
    pub fn folder(collection: CollectionId, id: SegmentId) -> String {
        format!("segments/{collection}/{id}")
    }

    /// Opens the segment in `folder`, whose table of contents must have `toc_checksum`.
    /// Reads little more than the table of contents.
    pub fn open(storage: &dyn Storage, folder: &str, toc_checksum: u64) -> Result<Self> {
        let toc_path = format!("{folder}/toc.bin");
        let toc_bytes = map(storage, &toc_path)?;
        let mut toc = Toc::decode(&toc_path, &toc_bytes, toc_checksum)?;
        let open = |name: &str| {
            let file = toc.file(name).ok_or_else(|| {
                let detail = format_args!("the table of contents lists no {name}");
                Error::corrupted(&toc_path, 0, detail)
            })?;
            let path = format!("{folder}/{name}");
            let bytes = if file.bytes == 0 {
                Bytes::new()
            } else {
                map(storage, &path)?
            };
            if bytes.len() as u64 != file.bytes {
                let detail = format_args!(
                    "the file has {} bytes, {} were written",
                    bytes.len(),
                    file.bytes
                );
                return Err(Error::corrupted(
                    &path,
                    file.bytes.min(bytes.len() as u64),
                    detail,
                ));
            }
            Blocks::new(path, bytes, file.checksums.clone())
        };
        let (vectors, records) = (open("vectors.f32")?, open("records.arrow")?);
        let (index, documents) = (open("index.bin")?, toc.file("documents.arrow"));
        let documents = match documents {
            Some(_) => Some(open("documents.arrow")?),
            None => None,
        };
        let vector_index = toc.file(INDEX_FILE);
        let vector_index = vector_index.map(|_| VectorFile::new(open(INDEX_FILE)));
        let sparse_index = toc.file(SPARSE_FILE);
        let sparse_index = sparse_index.map(|_| IndexFile::new(open(SPARSE_FILE)));
        let text_index = toc.file(TEXT_FILE);
        let text_index = text_index.map(|_| IndexFile::new(open(TEXT_FILE)));
        if vectors.len() as u64 != u64::from(toc.rows) * u64::from(toc.dimension) * 4 {
            let detail = format_args!(
                "{} vectors of {} numbers do not fill it",
                toc.rows, toc.dimension
            );
            return Err(Error::corrupted(
                vectors.path(),
                vectors.len() as u64,
                detail,
            ));
        }
        // The open files hold the checksums now, and the documents their batches.
        toc.files
            .iter_mut()
            .for_each(|file| file.checksums = Vec::new());
        let batches = std::mem::take(&mut toc.documents);
        Ok(Self {
            toc,
            toc_path,
            toc_bytes,
            toc_checksum,
            vectors,
            records,
            index,
            documents: documents.map(|blocks| Documents::new(blocks, batches)),
            vector_index,
            sparse_index,
            text_index,
            filters: FilterCache::default(),
        })
    }

    /// The folder of its files, and the checksum of its table of contents.
    pub fn place(&self) -> (String, u64) {
        let folder = self.toc_path.trim_end_matches("/toc.bin");
        (folder.to_owned(), self.toc_checksum)
    }

    /// Checks every block of every file; the damaged ones as errors.
    pub fn verify(&self) -> Vec<Error> {
        self.verify_while(&|| true)
    }

    /// The same, as far as it gets while `go_on`, which is asked now and then, is true.
    pub fn verify_while(&self, go_on: &dyn Fn() -> bool) -> Vec<Error> {
        let toc = Toc::decode(&self.toc_path, &self.toc_bytes, self.toc_checksum);
        let mut damage: Vec<Error> = toc.err().into_iter().collect();
        self.files()
            .for_each(|file| damage.extend(file.damage_while(go_on)));
        damage.extend(self.indexes().flat_map(AnyIndexFile::damage));
        damage
    }

    /// The indexes that can be made again from the other files.
    pub(super) fn indexes(&self) -> impl Iterator<Item = &dyn AnyIndexFile> {
        let vectors = self.vector_index.as_deref().map(|file| file as _);
        let sparse = self.sparse_index.as_ref().map(|file| file as _);
        let text = self.text_index.as_ref().map(|file| file as _);
        [vectors, sparse, text].into_iter().flatten()
    }

    /// Bytes of its files on disk.
    pub fn disk_bytes(&self) -> u64 {
        let files: usize = self.files().map(Blocks::len).sum();
        let indexes: usize = self.indexes().map(AnyIndexFile::bytes).sum();
        (files + indexes + self.toc_bytes.len()) as u64
    }

    /// The bytes of its vectors and of their index, where they lie.
    pub(crate) fn mapped(&self) -> (&[u8], Option<&[u8]>) {
        let index = self.vector_index.as_ref().map(|file| file.mapped());
        (self.vectors.unchecked(), index)
    }

    /// Bytes of the files that searches read.
    pub(crate) fn searched_bytes(&self) -> u64 {
        let (vectors, index) = self.mapped();
        (vectors.len() + index.map_or(0, <[u8]>::len)) as u64
    }

    /// Bytes of the index that every search reads some of.
    pub(crate) fn sign_bytes(&self) -> u64 {
        self.vector_index.as_ref().map_or(0, VectorFile::levels_at) as u64
    }

    /// Notes that one more round of upkeep has passed.
    pub(crate) fn note_round(&self) {
        self.vector_index.iter().for_each(VectorFile::note_round);
    }

    /// Rounds since its index was searched; many where it has none.
    pub(crate) fn idle_rounds(&self) -> u64 {
        let index = self.vector_index.as_ref();
        index.map_or(u64::MAX, VectorFile::idle_rounds)
    }

    /// Reads single vectors and levels past their mappings from now on, or through these again. A page of a
    /// mapping comes with those around it, so that comparing some rows would bring hundreds into memory.
    pub(crate) fn read_past_mapping(&self, storage: &dyn Storage, past: bool) {
        let index = self.vector_index.as_ref().and_then(|file| file.blocks());
        for file in [Some(&self.vectors), index].into_iter().flatten() {
            file.read_past_mapping(storage, past);
        }
    }

    /// Gives the memory of a part of it back to the system.
    pub(crate) fn give_back(&self, part: MappedPart) {
        let (vectors, index) = self.mapped();
        let index = index.unwrap_or_default();
        let (signs, levels) = index.split_at((self.sign_bytes() as usize).min(index.len()));
        give_back(match part {
            MappedPart::Vectors => vectors,
            MappedPart::Levels => levels,
            MappedPart::Signs => signs,
        });
    }

    /// About the bytes of memory that merging it with others takes: its vector index, that of its
    /// documents and the other columns are made in memory, one after the other, beside a list of
    /// its rows.
    pub(super) fn merge_bytes(&self) -> u64 {
        let index = index_bytes(self.toc.rows as usize, self.dimension());
        let columns = self.records.len() + self.index.len();
        let lists = MERGE_BYTES_PER_ROW * self.toc.rows as usize;
        let documents = self.documents.as_ref().map_or(0, |one| one.blocks().len());
        // Text is compressed to about half its bytes.
        let text = text::build_bytes(documents * 2);
        (index.max(columns).max(text) + lists) as u64
    }

    /// Goes on with what `other`, the same segment opened before, knows of its searches.
    pub fn go_on_with(&mut self, other: &Self) {
        if let (Some(own), Some(before)) = (&mut self.vector_index, &other.vector_index) {
            own.go_on_with(before);
        }
    }

    /// The index of its vectors, where it has one.
    pub fn vector_index(&self) -> Option<&VectorFile> {
        self.vector_index.as_ref()
    }

    /// The index of its sparse vectors, where it has one.
    pub fn sparse_index(&self) -> Option<&IndexFile<SparseIndex>> {
        self.sparse_index.as_ref()
    }

    /// The index of its documents, where it has one.
    pub fn text_index(&self) -> Option<&IndexFile<TextIndex>> {
        self.text_index.as_ref()
    }

    /// Whether it has no index of its documents though one would pay.
    pub(crate) fn lacks_text_index(&self) -> bool {
        let batches = self.documents.as_ref().map_or(0, Documents::batches);
        self.text_index.is_none() && text::pays(batches)
    }

    fn files(&self) -> impl Iterator<Item = &Blocks> {
        let documents = self.documents.as_ref().map(Documents::blocks);
        [&self.vectors, &self.records, &self.index]
            .into_iter()
            .chain(documents)
    }

    pub(super) fn rows(&self) -> u32 {
        self.toc.rows
    }

    pub(super) fn dimension(&self) -> usize {
        self.toc.dimension as usize
    }

    pub(super) fn find(&self, wanted: HashedId<'_>) -> Result<Option<u32>> {
        let HashedId { id, hash } = wanted;
        let index = &self.toc.index;
        let mut at = hash;
        for _ in 0..index.slots {
            let slot = typed::<u64>(&self.index, self.place_of_slot(at), 1)?[0];
            if slot == 0 {
                return Ok(None);
            }
            if let Some(row) = id_table::slot_row(slot, hash)
                && self.id(row)? == id
            {
                return Ok(Some(row));
            }
            at = at.wrapping_add(1);
        }
        let detail = "the table of ids has no empty slot";
        Err(Error::corrupted(self.index.path(), index.slots_at, detail))
    }

    /// Asks for where [`Self::find`] begins to look.
    pub(super) fn prefetch_id(&self, wanted: HashedId<'_>) -> Result<()> {
        let place = self.place_of_slot(wanted.hash) as usize;
        self.index.prefetch(place..place.saturating_add(8))
    }

    /// Where the slot is that the low bits of `at` name.
    fn place_of_slot(&self, at: u64) -> u64 {
        let index = &self.toc.index;
        index.slots_at.saturating_add((at & (index.slots - 1)) * 8)
    }

    pub(super) fn id(&self, row: u32) -> Result<&str> {
        self.has(row)?;
        let id = self.toc.records.ids.get(&self.records, row)?;
        id.ok_or_else(|| {
            let detail = format_args!("row {row} has no id");
            Error::corrupted(self.records.path(), self.toc.records.ids.text_at, detail)
        })
    }

    pub(super) fn births(&self) -> Result<&[u64]> {
        typed(&self.records, self.toc.records.births, self.toc.rows.into())
    }

    pub(super) fn seqs(&self) -> Result<&[u64]> {
        typed(&self.records, self.toc.records.seqs, self.toc.rows.into())
    }

    pub(super) fn order(&self) -> Result<Option<&[u32]>> {
        let order = |at| typed(&self.index, at, self.toc.rows.into());
        self.toc.index.order.map(order).transpose()
    }

    pub(super) fn vectors(&self, first: u32, count: u32) -> Result<&[f32]> {
        let dimension = u64::from(self.toc.dimension);
        let at = u64::from(first) * dimension * 4;
        typed(&self.vectors, at, u64::from(count) * dimension)
    }

    pub(super) fn with_vector<T>(&self, row: u32, look: impl FnOnce(&[f32]) -> T) -> Result<T> {
        let place = self.place_of_vector(row);
        self.vectors
            .with(place, |bytes| look(bytemuck::cast_slice(bytes)))
    }

    pub(super) fn prefetch_vector(&self, row: u32) -> Result<()> {
        self.vectors.prefetch(self.place_of_vector(row))
    }

    fn place_of_vector(&self, row: u32) -> Range<usize> {
        let bytes = self.dimension() * size_of::<f32>();
        row as usize * bytes..(row as usize + 1) * bytes
    }

    /// Whether any row has a document.
    pub(super) fn has_documents(&self) -> bool {
        self.documents.is_some()
    }

    pub(super) fn document(&self, row: u32) -> Result<Option<String>> {
        self.has(row)?;
        match &self.documents {
            Some(documents) => documents.get(row),
            None => Ok(None),
        }
    }

    pub(super) fn uri(&self, row: u32) -> Result<Option<&str>> {
        self.has(row)?;
        match &self.toc.records.uris {
            Some(uris) => uris.get(&self.records, row),
            None => Ok(None),
        }
    }

    pub(super) fn push_metadata(
        &self,
        row: u32,
        keys: Keys<'_>,
        to: &mut MetadataColumn,
    ) -> Result<()> {
        let pushed = self.push_cells(row, keys, to);
        if pushed.is_err() {
            to.discard_row();
        } else {
            to.finish_row();
        }
        pushed
    }

    fn push_cells(&self, row: u32, keys: Keys<'_>, to: &mut MetadataColumn) -> Result<()> {
        for number in 0..self.columns().len() {
            if keys.has(&self.columns()[number].key)
                && let Some(cell) = self.cell(number, row)?
            {
                let key = to.intern(&self.columns()[number].key);
                to.push_cell(key, cell.into_value());
            }
        }
        for (key, value) in self.extra(row)? {
            if keys.has(&key) {
                let key = to.intern(&key);
                to.push_cell(key, value);
            }
        }
        Ok(())
    }

    /// The metadata columns of their own.
    pub(super) fn columns(&self) -> &[super::column::StoredColumn] {
        &self.toc.records.columns
    }

    /// The cell of `row` in the column with this number.
    pub(super) fn cell(&self, column: usize, row: u32) -> Result<Option<Cell<'_>>> {
        self.has(row)?;
        self.columns()[column].cell(&self.records, row)
    }

    /// The cells of `row` that are in no column of their own.
    pub(super) fn extra(&self, row: u32) -> Result<Vec<(String, Value)>> {
        self.has(row)?;
        let Some(column) = &self.toc.records.extra else {
            return Ok(Vec::new());
        };
        let Some(text) = column.get(&self.records, row)? else {
            return Ok(Vec::new());
        };
        extra::read(text).ok_or_else(|| {
            let detail = format_args!("the rare metadata of row {row} is {text:?}");
            Error::corrupted(self.records.path(), column.text_at, detail)
        })
    }

    pub(super) fn sparse(&self, row: u32, key: &str) -> Result<Option<SparseVector>> {
        let cells = self.extra(row)?.into_iter();
        Ok(cells
            .filter(|cell| cell.0 == key)
            .find_map(|(_, value)| match value {
                Value::Sparse(sparse) => Some(*sparse),
                _ => None,
            }))
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let checksums: usize = self.files().map(|file| file.len().div_ceil(8192)).sum();
        let columns = self.columns().iter();
        let columns: usize = columns
            .map(|column| size_of_val(column) + column.key.len())
            .sum();
        let documents = self.documents.as_ref().map_or(0, Documents::heap_bytes);
        let indexes: usize = self.indexes().map(AnyIndexFile::heap_bytes).sum();
        let living = self
            .vector_index
            .as_ref()
            .map_or(0, VectorFile::living_bytes);
        let masks = living + self.filters.heap_bytes();
        size_of::<Self>() + checksums + columns + documents + indexes + masks
    }

    /// What the last filters passed.
    pub(super) fn filters(&self) -> &FilterCache {
        &self.filters
    }

    pub(super) fn last_seq(&self) -> SeqId {
        SeqId(self.toc.last_seq)
    }

    pub(super) fn matching(
        &self,
        key: &str,
        comparison: &Comparison,
        to: &mut RowSet,
    ) -> Result<()> {
        let postings = Postings {
            blocks: &self.index,
            directory: self.toc.index.directory,
            entries: self.toc.index.entries,
            rows: self.toc.rows,
        };
        postings.matching(key, comparison, to)
    }

    pub(super) fn retain_documents(&self, test: &DocumentTest, among: &mut RowSet) -> Result<()> {
        let matcher = DocumentMatcher::new(test);
        let mut found = among.clone();
        match &self.documents {
            Some(documents) => {
                let proved = self.narrow(test, documents.batches(), &mut found)?;
                found.subtract(&proved);
                documents.search(&matcher, &mut found)?;
                found.unite(&proved);
            }
            None => found = RowSet::none(among.rows()),
        }
        if matcher.is_negated() {
            among.subtract(&found);
        } else {
            *among = found;
        }
        Ok(())
    }

    /// Takes from `among` rows whose documents need not be read, where an index tells of any, to
    /// see that the pattern of `test` is not in them; answers those of the rest that need not be
    /// read to see that it is.
    fn narrow(&self, test: &DocumentTest, batches: usize, among: &mut RowSet) -> Result<RowSet> {
        let index = self
            .text_index
            .as_ref()
            .and_then(|file| Some((file, file.index()?)));
        let (Some((file, index)), Some(query)) = (index, Query::of(test)) else {
            return Ok(RowSet::none(among.rows()));
        };
        let proved = file.unless_damaged(index.narrow(&query, batches, among))?;
        Ok(proved.unwrap_or_else(|| RowSet::none(among.rows())))
    }

    /// Fails where there is no such row, which only a damaged index can ask for.
    fn has(&self, row: u32) -> Result<()> {
        if row < self.toc.rows {
            return Ok(());
        }
        let detail = format_args!("row {row} was asked for where there are {}", self.toc.rows);
        Err(Error::corrupted(self.index.path(), 0, detail))
    }
}

/// The file at `path`, at an address that numbers of 8 bytes can be read from in place.
pub(super) fn map(storage: &dyn Storage, path: &str) -> Result<Bytes> {
    let bytes = storage.map(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Error::corrupted(path, 0, "the file is missing"),
        _ => error,
    })?;
    if bytes.as_ptr().addr().is_multiple_of(8) {
        return Ok(bytes);
    }
    // Only a storage that keeps files in memory hands out such bytes.
    let mut words = vec![0u64; bytes.len().div_ceil(8)];
    bytemuck::cast_slice_mut(&mut words)[..bytes.len()].copy_from_slice(&bytes);
    Ok(Bytes::from_owner(Words(words)).slice(..bytes.len()))
}

struct Words(Vec<u64>);

impl AsRef<[u8]> for Words {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}
