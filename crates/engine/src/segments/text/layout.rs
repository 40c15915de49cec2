//! The bytes of the file: a head, the blocks, their directory, and at the very end where that is.
//!
//! What must stay true: every part but lists begins at a multiple of 8 bytes; a change is a new
//! version.

use crate::segments::blocks::Blocks;
use crate::segments::column::typed;
use crate::{Error, ErrorKind, Result};

/// What the file begins with.
const MAGIC: [u8; 8] = *b"VMLNTEXT";
/// The version of the form.
const VERSION: u32 = 2;
/// Bytes before the first block.
const HEAD_BYTES: u64 = 16;
/// Bytes after the directory.
const TAIL_BYTES: u64 = 16;

/// Rows that follow each other, and where the parts of their index are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Block {
    /// The first row, a multiple of 64.
    pub(super) first_row: u32,
    /// How many rows there are.
    pub(super) rows: u32,
    /// How many trigrams they have.
    pub(super) trigrams: u32,
    /// How many words they have; 0 where an index of those does not pay.
    pub(super) words: u32,
    /// Where the trigrams are, ascending, 4 bytes each.
    pub(super) trigrams_at: u64,
    /// The lists of the trigrams.
    pub(super) trigram_lists: ListsAt,
    /// Where the words are, with a line break before, between and after them.
    pub(super) lines_at: u64,
    /// Where the line break after each word is, 4 bytes each, counted from the first.
    pub(super) ends_at: u64,
    /// The lists of the words.
    pub(super) word_lists: ListsAt,
}

/// Where lists of rows are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ListsAt {
    /// Where each begins and the last ends, 4 bytes each, counted from the first.
    pub(super) starts: u64,
    /// Where the first is.
    pub(super) bytes: u64,
}

/// A block as it stands in the directory.
type Entry = [u64; 9];

impl Block {
    fn to_entry(self) -> Entry {
        [
            u64::from(self.first_row) | u64::from(self.rows) << 32,
            u64::from(self.trigrams) | u64::from(self.words) << 32,
            self.trigrams_at,
            self.trigram_lists.starts,
            self.trigram_lists.bytes,
            self.lines_at,
            self.ends_at,
            self.word_lists.starts,
            self.word_lists.bytes,
        ]
    }

    fn from_entry(entry: &Entry) -> Self {
        let lists = |starts: u64, bytes: u64| ListsAt { starts, bytes };
        Self {
            first_row: entry[0] as u32,
            rows: (entry[0] >> 32) as u32,
            trigrams: entry[1] as u32,
            words: (entry[1] >> 32) as u32,
            trigrams_at: entry[2],
            trigram_lists: lists(entry[3], entry[4]),
            lines_at: entry[5],
            ends_at: entry[6],
            word_lists: lists(entry[7], entry[8]),
        }
    }
}

/// Bytes of a bitmap of `rows` rows; a list that is as long is one.
pub(super) fn bitmap_bytes(rows: u32) -> usize {
    rows.div_ceil(64) as usize * 8
}

/// The head of a file.
pub(super) fn head() -> [u8; HEAD_BYTES as usize] {
    let mut bytes = [0; HEAD_BYTES as usize];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes
}

/// The directory of a file, which is at `at`, and the tail.
pub(super) fn directory(blocks: &[Block], at: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    for block in blocks {
        bytes.extend_from_slice(bytemuck::cast_slice(&block.to_entry()));
    }
    bytes.extend_from_slice(&at.to_le_bytes());
    bytes.extend_from_slice(&(blocks.len() as u64).to_le_bytes());
    bytes
}

/// The blocks of a file, which follow each other from row 0.
pub(super) fn read(file: &Blocks) -> Result<Vec<Block>> {
    let corrupted = |at: u64, detail: &str| Err(Error::corrupted(file.path(), at, detail));
    let head = typed::<u8>(file, 0, HEAD_BYTES)?;
    if head[..8] != MAGIC {
        return corrupted(0, "it does not begin as an index of documents does");
    }
    let version = u32::from_le_bytes(head[8..12].try_into().expect("four bytes are four bytes"));
    if version != VERSION {
        let path = file.path();
        let detail = format!("{path} has form {version}; this version reads form {VERSION}");
        return Err(Error::new(ErrorKind::Corrupted, detail));
    }
    let tail = (file.len() as u64).saturating_sub(TAIL_BYTES);
    let &[at, count] = typed::<u64>(file, tail, 2)? else {
        return corrupted(tail, "the file ends too early");
    };
    let entries = typed::<Entry>(file, at, count)?;
    let mut next = 0u64;
    for entry in entries {
        let block = Block::from_entry(entry);
        if u64::from(block.first_row) != next || !next.is_multiple_of(64) || block.rows == 0 {
            return corrupted(at, "rows of blocks do not follow each other");
        }
        next += u64::from(block.rows);
    }
    Ok(entries.iter().map(Block::from_entry).collect())
}
