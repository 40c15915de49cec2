//! The table of contents of a segment, `toc.bin`: written last, read first.
//!
//! What must stay true: it ends with the checksum of all its other bytes, which the catalogue
//! knows too; every number is little-endian; a change of the form is a new version.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use super::arrow::RecordsLayout;
use super::column::{Offsets, StoredColumn, StoredValues, TextColumn};
use super::documents::DocumentBatch;
use super::metadata::Kind;
use super::sink::FileEntry;
use crate::{Error, Result};

/// What a table of contents begins with.
const MAGIC: [u8; 8] = *b"VMLNSEGM";
/// The version of the form.
const VERSION: u32 = 1;
/// A place that there is not.
const NOWHERE: u64 = u64::MAX;

/// Where things are in `index.bin`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IndexLayout {
    /// Where the slots of the id table are.
    pub(super) slots_at: u64,
    /// How many slots it has, a power of two.
    pub(super) slots: u64,
    /// Where the directory of postings is.
    pub(super) directory: u64,
    /// How many entries it has.
    pub(super) entries: u32,
    /// Where the rows by ascending birth are; `None` where that is the row order.
    pub(super) order: Option<u64>,
}

/// A table of contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Toc {
    /// How many rows there are.
    pub(super) rows: u32,
    /// Numbers in a vector.
    pub(super) dimension: u32,
    /// The highest SeqId.
    pub(super) last_seq: u64,
    /// The other files.
    pub(super) files: Vec<FileEntry>,
    /// Where columns are in `records.arrow`.
    pub(super) records: RecordsLayout,
    /// The batches of `documents.arrow`.
    pub(super) documents: Vec<DocumentBatch>,
    /// Where things are in `index.bin`.
    pub(super) index: IndexLayout,
}

impl Toc {
    /// The bytes of the file, and the checksum they end with.
    pub(super) fn encode(&self) -> (Vec<u8>, u64) {
        let mut to = Encoder(MAGIC.to_vec());
        to.u32(VERSION);
        to.u32(self.rows);
        to.u32(self.dimension);
        to.u64(self.last_seq);
        to.u32(self.files.len() as u32);
        for file in &self.files {
            to.string(&file.name);
            to.u64(file.bytes);
            to.u64(file.checksums.len() as u64);
            file.checksums.iter().for_each(|&checksum| to.u64(checksum));
        }
        to.records(&self.records);
        to.u64(self.documents.len() as u64);
        for batch in &self.documents {
            to.u32(batch.first_row);
            to.u64(batch.at);
            for (offset, bytes) in batch.buffers {
                to.u64(offset);
                to.u64(bytes);
            }
        }
        to.u64(self.index.slots_at);
        to.u64(self.index.slots);
        to.u64(self.index.directory);
        to.u32(self.index.entries);
        to.place(self.index.order);
        let checksum = xxh3_64(&to.0);
        to.u64(checksum);
        (to.0, checksum)
    }

    /// Reads the file at `path`, whose checksum must be `expected`.
    pub(super) fn decode(path: &str, bytes: &[u8], expected: u64) -> Result<Self> {
        let corrupted =
            |at: usize, detail: &dyn std::fmt::Display| Error::corrupted(path, at as u64, detail);
        let Some((content, stored)) = bytes.split_last_chunk::<8>() else {
            return Err(corrupted(bytes.len(), &"the table of contents ends here"));
        };
        let found = xxh3_64(content);
        let stored = u64::from_le_bytes(*stored);
        if found != stored {
            let detail = format!("its checksum is {found:016x}, {stored:016x} was written");
            return Err(corrupted(0, &detail));
        }
        if stored != expected {
            let detail = format!(
                "its checksum is {stored:016x}, the catalogue expects {expected:016x}: \
                 the file belongs to another segment"
            );
            return Err(corrupted(0, &detail));
        }
        if content.get(..8) != Some(&MAGIC[..]) {
            return Err(corrupted(
                0,
                &"it does not begin as a table of contents does",
            ));
        }
        let mut from = Decoder {
            bytes: content,
            at: 8,
        };
        let version = from.u32();
        if version != Some(VERSION) {
            let version = version.unwrap_or(0);
            let detail = format!(
                "{path} has form {version} of a segment; this version reads form {VERSION}"
            );
            return Err(Error::new(crate::ErrorKind::Unsupported, detail));
        }
        let toc = from.toc().filter(|_| from.at == content.len());
        toc.ok_or_else(|| corrupted(from.at, &"the table of contents has another form"))
    }

    /// The entry of the file `name`.
    pub(super) fn file(&self, name: &str) -> Option<&FileEntry> {
        self.files.iter().find(|file| file.name == name)
    }
}

struct Encoder(Vec<u8>);

impl Encoder {
    fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn string(&mut self, value: &str) {
        self.u32(value.len() as u32);
        self.0.extend_from_slice(value.as_bytes());
    }

    fn place(&mut self, place: Option<u64>) {
        self.u64(place.unwrap_or(NOWHERE));
    }

    fn offsets(&mut self, offsets: Offsets) {
        self.u64(offsets.at);
        self.u8(offsets.wide.into());
    }

    fn text(&mut self, column: &TextColumn) {
        self.place(column.validity);
        self.offsets(column.offsets);
        self.u64(column.text_at);
    }

    fn optional_text(&mut self, column: Option<&TextColumn>) {
        self.u8(column.is_some().into());
        if let Some(column) = column {
            self.text(column);
        }
    }

    fn records(&mut self, records: &RecordsLayout) {
        self.text(&records.ids);
        self.u64(records.births);
        self.u64(records.seqs);
        self.optional_text(records.uris.as_ref());
        self.optional_text(records.extra.as_ref());
        self.u32(records.columns.len() as u32);
        for column in &records.columns {
            self.string(&column.key);
            self.u8(column.kind as u8);
            self.place(column.validity);
            if let Some(lists) = column.lists {
                self.offsets(lists);
            }
            match column.values {
                StoredValues::Bits(at) | StoredValues::Words(at) => self.u64(at),
                StoredValues::Text(offsets, at) => {
                    self.offsets(offsets);
                    self.u64(at);
                }
            }
        }
    }
}

/// The place that `place` stands for.
fn somewhere(place: u64) -> Option<u64> {
    (place != NOWHERE).then_some(place)
}

/// Reads what [`Encoder`] wrote; `None` where the bytes end or do not fit.
struct Decoder<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Decoder<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn flag(&mut self) -> Option<bool> {
        match self.u8()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_le_bytes)
    }

    /// A count of things that take at least `bytes_each` bytes each.
    fn count(&mut self, bytes_each: usize) -> Option<usize> {
        let count = usize::try_from(self.u64()?).ok()?;
        (count <= (self.bytes.len() - self.at) / bytes_each).then_some(count)
    }

    fn string(&mut self) -> Option<&'a str> {
        let bytes = self.u32()? as usize;
        std::str::from_utf8(self.take(bytes)?).ok()
    }

    fn offsets(&mut self) -> Option<Offsets> {
        Some(Offsets {
            at: self.u64()?,
            wide: self.flag()?,
        })
    }

    fn text(&mut self) -> Option<TextColumn> {
        Some(TextColumn {
            validity: somewhere(self.u64()?),
            offsets: self.offsets()?,
            text_at: self.u64()?,
        })
    }

    fn toc(&mut self) -> Option<Toc> {
        Some(Toc {
            rows: self.u32()?,
            dimension: self.u32()?,
            last_seq: self.u64()?,
            files: (0..self.u32()?)
                .map(|_| self.file())
                .collect::<Option<_>>()?,
            records: self.records()?,
            documents: (0..self.count(60)?)
                .map(|_| self.document_batch())
                .collect::<Option<_>>()?,
            index: IndexLayout {
                slots_at: self.u64()?,
                slots: self.u64().filter(|slots| slots.is_power_of_two())?,
                directory: self.u64()?,
                entries: self.u32()?,
                order: somewhere(self.u64()?),
            },
        })
    }

    fn file(&mut self) -> Option<FileEntry> {
        Some(FileEntry {
            name: self.string()?.to_owned(),
            bytes: self.u64()?,
            checksums: (0..self.count(8)?)
                .map(|_| self.u64())
                .collect::<Option<_>>()?,
        })
    }

    fn document_batch(&mut self) -> Option<DocumentBatch> {
        let (first_row, at) = (self.u32()?, self.u64()?);
        let mut buffers = [(0, 0); 3];
        for buffer in &mut buffers {
            *buffer = (self.u64()?, self.u64()?);
        }
        Some(DocumentBatch {
            first_row,
            at,
            buffers,
        })
    }

    fn records(&mut self) -> Option<RecordsLayout> {
        let (ids, births, seqs) = (self.text()?, self.u64()?, self.u64()?);
        let uris = if self.flag()? {
            Some(self.text()?)
        } else {
            None
        };
        let extra = if self.flag()? {
            Some(self.text()?)
        } else {
            None
        };
        Some(RecordsLayout {
            ids,
            births,
            seqs,
            uris,
            extra,
            columns: (0..self.u32()?)
                .map(|_| self.column())
                .collect::<Option<_>>()?,
        })
    }

    fn column(&mut self) -> Option<StoredColumn> {
        let key: Arc<str> = self.string()?.into();
        let kind = Kind::from_number(self.u8()?)?;
        let validity = somewhere(self.u64()?);
        let lists = if kind.is_list() {
            Some(self.offsets()?)
        } else {
            None
        };
        let values = match kind {
            Kind::Bool | Kind::Bools => StoredValues::Bits(self.u64()?),
            Kind::Int | Kind::Ints | Kind::Float | Kind::Floats => StoredValues::Words(self.u64()?),
            Kind::Str | Kind::Strs => StoredValues::Text(self.offsets()?, self.u64()?),
            Kind::Sparse => return None,
        };
        Some(StoredColumn {
            key,
            kind,
            validity,
            lists,
            values,
        })
    }
}
