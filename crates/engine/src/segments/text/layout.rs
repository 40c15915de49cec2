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
const VERSION: u32 = 1;
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
    /// Where the trigrams are, ascending, 4 bytes each.
    pub(super) trigrams_at: u64,
    /// Where the list of each begins and the last ends, 4 bytes each, counted from the first.
    pub(super) starts_at: u64,
    /// Where the lists are.
    pub(super) lists_at: u64,
}

impl Block {
    fn words(self) -> [u64; 5] {
        [
            u64::from(self.first_row) | u64::from(self.rows) << 32,
            u64::from(self.trigrams),
            self.trigrams_at,
            self.starts_at,
            self.lists_at,
        ]
    }

    fn from_words(words: &[u64; 5]) -> Self {
        Self {
            first_row: words[0] as u32,
            rows: (words[0] >> 32) as u32,
            trigrams: words[1] as u32,
            trigrams_at: words[2],
            starts_at: words[3],
            lists_at: words[4],
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
        bytes.extend_from_slice(bytemuck::cast_slice(&block.words()));
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
    let words = typed::<[u64; 5]>(file, at, count)?;
    let mut next = 0u64;
    for words in words {
        let block = Block::from_words(words);
        if u64::from(block.first_row) != next || !next.is_multiple_of(64) || block.rows == 0 {
            return corrupted(at, "rows of blocks do not follow each other");
        }
        next += u64::from(block.rows);
    }
    Ok(words.iter().map(Block::from_words).collect())
}
