//! Writes an index of documents, block of rows by block of rows.
//!
//! What must stay true: rows are pushed in order, and so ascend in each list; a block takes
//! [`build_bytes`] of memory, however large the segment is.

use std::mem::take;

use super::dictionary::Dictionary;
use super::layout::{Block, ListsAt, bitmap_bytes, directory, head};
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
    // Of words there are far fewer, yet each may be one that no other document has.
    TRIGRAMS * 9 + postings * 16
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
    /// The trigrams of the rows since.
    trigrams: Pairs,
    /// The words of the rows since, as numbers of the dictionary.
    words: Pairs,
    dictionary: Dictionary,
}

/// Pairs of a row, counted from the first of the block, and a number of what it has.
#[derive(Default)]
struct Pairs {
    /// What the rows have, one row after the other.
    numbers: Vec<u32>,
    /// The rows that have anything, and where what each has ends.
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
            trigrams: Pairs::default(),
            words: Pairs::default(),
            dictionary: Dictionary::default(),
        }
    }

    /// Appends the document of the next row.
    pub(in crate::segments) fn push(&mut self, document: Option<&str>) -> Result<()> {
        let text = document.unwrap_or("").as_bytes();
        let row = self.next_row - self.first_row;
        self.trigrams
            .push(row, |numbers| self.distinct.push(text, numbers));
        self.words
            .push(row, |numbers| self.dictionary.push(row, text, numbers));
        self.next_row += 1;
        // Sets of rows have 64 in a word, and blocks whole words.
        if self.trigrams.numbers.len() >= self.postings_max && self.next_row.is_multiple_of(64) {
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
        let trigrams = take(&mut self.trigrams).lists(TRIGRAMS, rows, |has| !has.is_empty());
        let (words, pairs) = (take(&mut self.dictionary), take(&mut self.words));
        if self.file.is_none() {
            let mut file = FileSink::create(self.storage, self.folder, TEXT_FILE)?;
            file.put(&head())?;
            self.file = Some(file);
        }
        let file = self.file.as_mut().expect("it was just made");
        let mut block = Block {
            first_row: self.first_row,
            rows,
            ..Block::default()
        };
        block.trigrams = trigrams.numbers.len() as u32;
        block.trigrams_at = put(file, bytemuck::cast_slice(&trigrams.numbers))?;
        block.trigram_lists = trigrams.write(file)?;
        if words.pays() {
            block.words = words.len() as u32;
            block.lines_at = put(file, words.lines())?;
            block.ends_at = put(file, bytemuck::cast_slice(words.ends()))?;
            block.word_lists = pairs.lists(words.len(), rows, |_| true).write(file)?;
        }
        self.blocks.push(block);
        self.first_row = self.next_row;
        Ok(())
    }
}

/// Writes `bytes` at a multiple of 8, and tells where.
fn put(file: &mut FileSink, bytes: &[u8]) -> Result<u64> {
    file.align(8)?;
    let at = file.position();
    file.put(bytes)?;
    Ok(at)
}

impl Pairs {
    /// Appends what `row` has, which `append` does.
    fn push(&mut self, row: u32, append: impl FnOnce(&mut Vec<u32>)) {
        let before = self.numbers.len();
        append(&mut self.numbers);
        if self.numbers.len() > before {
            self.ends.push((row, self.numbers.len()));
        }
    }

    /// The rows of those of `count` numbers whose rows are `kept`, of `rows` rows.
    fn lists(self, count: usize, rows: u32, kept: impl Fn(&[u32]) -> bool) -> Lists {
        let (starts, postings) = self.by_number(count);
        let mut lists = Lists::new(rows);
        for (number, pair) in (0..).zip(starts.windows(2)) {
            let having = &postings[pair[0] as usize..pair[1] as usize];
            if kept(having) {
                lists.push(number, having);
            }
        }
        lists
    }

    /// The rows of each of `count` numbers, one number after the other, and where those of each
    /// begin and the last end.
    fn by_number(self, count: usize) -> (Vec<u32>, Vec<u32>) {
        let mut starts = vec![0u32; count + 1];
        for &number in &self.numbers {
            starts[number as usize + 1] += 1;
        }
        for at in 0..count {
            starts[at + 1] += starts[at];
        }
        let mut next = starts.clone();
        let mut rows = vec![0; self.numbers.len()];
        let mut begin = 0;
        for (row, end) in self.ends {
            for &number in &self.numbers[begin..end] {
                let next = &mut next[number as usize];
                rows[*next as usize] = row;
                *next += 1;
            }
            begin = end;
        }
        (starts, rows)
    }
}

/// The lists of a block as they stand in the file.
struct Lists {
    numbers: Vec<u32>,
    starts: Vec<u32>,
    bytes: Vec<u8>,
    bitmap_bytes: usize,
}

impl Lists {
    fn new(rows: u32) -> Self {
        Self {
            numbers: Vec::new(),
            starts: vec![0],
            bytes: Vec::new(),
            bitmap_bytes: bitmap_bytes(rows),
        }
    }

    /// Appends the list of the ascending `rows` of `number`.
    fn push(&mut self, number: u32, rows: &[u32]) {
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
        self.numbers.push(number);
        self.starts.push(self.bytes.len() as u32);
    }

    fn write(&self, file: &mut FileSink) -> Result<ListsAt> {
        Ok(ListsAt {
            starts: put(file, bytemuck::cast_slice(&self.starts))?,
            bytes: put(file, &self.bytes)?,
        })
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
