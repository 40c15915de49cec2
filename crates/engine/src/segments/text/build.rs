//! Writes an index of documents, block of rows by block of rows.
//!
//! What must stay true: rows are pushed in order, and so ascend in each list; a block takes
//! [`build_bytes`] of memory, however large the segment is.

use super::layout::{Block, bitmap_bytes, directory, head};
use super::letters::{Distinct, TRIGRAMS};
use super::{TEXT_FILE, pays};
use crate::Result;
use crate::segments::sink::{FileEntry, FileSink};
use crate::storage::Storage;

/// Pairs of a row and a trigram at which a block is full.
const POSTINGS_MAX: usize = 4 << 20;

/// About the bytes of memory that indexing documents of `text_bytes` takes.
pub(in crate::segments) fn build_bytes(text_bytes: usize) -> usize {
    let postings = text_bytes.min(POSTINGS_MAX);
    TRIGRAMS * 9 + postings * 12
}

/// Writes an index of documents.
pub(in crate::segments) struct TextWriter<'a> {
    storage: &'a dyn Storage,
    folder: &'a str,
    postings_max: usize,
    file: Option<FileSink>,
    blocks: Vec<Block>,
    distinct: Distinct,
    /// The row that the next block begins with, and the row that is pushed next.
    first_row: u32,
    next_row: u32,
    /// The trigrams of the rows since, one row after the other.
    trigrams: Vec<u32>,
    /// The rows that have any, counted from the first of the block, and where those of each end.
    ends: Vec<(u32, usize)>,
}

impl<'a> TextWriter<'a> {
    /// A writer of the index of the segment in `folder`.
    pub(in crate::segments) fn new(storage: &'a dyn Storage, folder: &'a str) -> Self {
        Self::with_blocks_of(POSTINGS_MAX, storage, folder)
    }

    /// The same with blocks that are full at `postings_max`.
    pub(super) fn with_blocks_of(
        postings_max: usize,
        storage: &'a dyn Storage,
        folder: &'a str,
    ) -> Self {
        Self {
            storage,
            folder,
            postings_max,
            file: None,
            blocks: Vec::new(),
            distinct: Distinct::new(),
            first_row: 0,
            next_row: 0,
            trigrams: Vec::new(),
            ends: Vec::new(),
        }
    }

    /// Appends the document of the next row.
    pub(in crate::segments) fn push(&mut self, document: Option<&str>) -> Result<()> {
        let before = self.trigrams.len();
        let text = document.unwrap_or("").as_bytes();
        self.distinct.push(text, &mut self.trigrams);
        if self.trigrams.len() > before {
            let row = self.next_row - self.first_row;
            self.ends.push((row, self.trigrams.len()));
        }
        self.next_row += 1;
        // Sets of rows have 64 in a word, and blocks whole words.
        if self.trigrams.len() >= self.postings_max && self.next_row.is_multiple_of(64) {
            self.flush()?;
        }
        Ok(())
    }

    /// Writes the rest and makes the file durable; `None` where the documents have so few
    /// `batches` that an index does not pay.
    pub(in crate::segments) fn finish(mut self, batches: usize) -> Result<Option<FileEntry>> {
        if pays(batches) || self.file.is_some() {
            self.flush()?;
        }
        let Some(mut file) = self.file else {
            return Ok(None);
        };
        file.align(8)?;
        let at = file.position();
        file.put(&directory(&self.blocks, at))?;
        file.finish().map(Some)
    }

    fn flush(&mut self) -> Result<()> {
        let rows = self.next_row - self.first_row;
        if rows == 0 {
            return Ok(());
        }
        let (starts, postings) = by_trigram(&self.trigrams, &self.ends);
        self.trigrams.clear();
        self.ends.clear();
        let mut lists = Lists::new(rows);
        for (trigram, pair) in (0..).zip(starts.windows(2)) {
            lists.push(trigram, &postings[pair[0] as usize..pair[1] as usize]);
        }
        drop(postings);
        self.write(rows, &lists)?;
        self.first_row = self.next_row;
        Ok(())
    }

    fn write(&mut self, rows: u32, lists: &Lists) -> Result<()> {
        if self.file.is_none() {
            let mut file = FileSink::create(self.storage, self.folder, TEXT_FILE)?;
            file.put(&head())?;
            self.file = Some(file);
        }
        let file = self.file.as_mut().expect("it was just made");
        let mut put = |bytes: &[u8]| {
            file.align(8)?;
            let at = file.position();
            file.put(bytes)?;
            Ok::<u64, crate::Error>(at)
        };
        self.blocks.push(Block {
            first_row: self.first_row,
            rows,
            trigrams: lists.trigrams.len() as u32,
            trigrams_at: put(bytemuck::cast_slice(&lists.trigrams))?,
            starts_at: put(bytemuck::cast_slice(&lists.starts))?,
            lists_at: put(&lists.bytes)?,
        });
        Ok(())
    }
}

/// The rows of each trigram, one trigram after the other, and where those of each begin and the
/// last end. The rows of `ends` have the trigrams between their end and the one before.
fn by_trigram(trigrams: &[u32], ends: &[(u32, usize)]) -> (Vec<u32>, Vec<u32>) {
    let mut starts = vec![0u32; TRIGRAMS + 1];
    for &trigram in trigrams {
        starts[trigram as usize + 1] += 1;
    }
    for at in 0..TRIGRAMS {
        starts[at + 1] += starts[at];
    }
    let mut next = starts.clone();
    let mut rows = vec![0; trigrams.len()];
    let mut begin = 0;
    for &(row, end) in ends {
        for &trigram in &trigrams[begin..end] {
            let next = &mut next[trigram as usize];
            rows[*next as usize] = row;
            *next += 1;
        }
        begin = end;
    }
    (starts, rows)
}

/// The lists of a block as they stand in the file.
struct Lists {
    trigrams: Vec<u32>,
    starts: Vec<u32>,
    bytes: Vec<u8>,
    bitmap_bytes: usize,
}

impl Lists {
    fn new(rows: u32) -> Self {
        Self {
            trigrams: Vec::new(),
            starts: vec![0],
            bytes: Vec::new(),
            bitmap_bytes: bitmap_bytes(rows),
        }
    }

    /// Appends the list of the ascending `rows` of `trigram`, unless it is empty.
    fn push(&mut self, trigram: u32, rows: &[u32]) {
        if rows.is_empty() {
            return;
        }
        let begin = self.bytes.len();
        let mut next = 0;
        for &row in rows {
            put_number(&mut self.bytes, row - next);
            next = row + 1;
        }
        if self.bytes.len() - begin >= self.bitmap_bytes {
            self.bytes.truncate(begin);
            self.bytes.resize(begin + self.bitmap_bytes, 0);
            let bits = &mut self.bytes[begin..];
            rows.iter()
                .for_each(|&row| bits[row as usize / 8] |= 1 << (row % 8));
        }
        self.trigrams.push(trigram);
        self.starts.push(self.bytes.len() as u32);
    }
}

/// Appends `number` in groups of 7 bits, the lowest first; all bytes but the last have the high bit.
fn put_number(to: &mut Vec<u8>, mut number: u32) {
    while number >= 128 {
        to.push(number as u8 | 128);
        number >>= 7;
    }
    to.push(number as u8);
}
