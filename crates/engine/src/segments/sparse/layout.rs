//! The bytes of the file: a head, an entry for each key, and the parts that entries name.
//!
//! What must stay true: every part begins at a multiple of 8 bytes; a change is a new version.

use crate::segments::blocks::Blocks;
use crate::segments::column::typed;
use crate::{Error, ErrorKind, Result};

/// What the file begins with.
const MAGIC: [u8; 8] = *b"VMLNSPRS";
/// The version of the form.
const VERSION: u32 = 2;
/// Bytes before the first entry.
pub(super) const HEAD_BYTES: u64 = 16;
/// Words of an entry, 8 bytes each.
const WORDS: usize = 13;
/// Bytes of an entry.
pub(super) const ENTRY_BYTES: u64 = 8 * WORDS as u64;

/// Where the parts of one key's index are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    /// Where the key is, and its bytes.
    pub(super) key_at: u64,
    pub(super) key_bytes: u32,
    /// How many dimensions there are.
    pub(super) terms: u32,
    /// How many postings all of them have.
    pub(super) postings: u64,
    /// Dimensions, ascending.
    pub(super) dimensions_at: u64,
    /// Where the postings of each begin, one more than there are dimensions.
    pub(super) starts_at: u64,
    /// How many dimensions have bounds, and of how many blocks of rows each.
    pub(super) commons: u32,
    pub(super) blocks: u32,
    /// The places of these dimensions among all, ascending.
    pub(super) commons_at: u64,
    /// The lowest value of each, and what a code is worth.
    pub(super) ranges_at: u64,
    /// For each block of each its lowest code, its highest code and its number of postings.
    pub(super) lowest_at: u64,
    pub(super) highest_at: u64,
    pub(super) counts_at: u64,
    /// For each posting its row and its value.
    pub(super) rows_at: u64,
    pub(super) values_at: u64,
}

impl Entry {
    fn words(&self) -> [u64; WORDS] {
        [
            self.key_at,
            u64::from(self.key_bytes) | u64::from(self.terms) << 32,
            self.postings,
            self.dimensions_at,
            self.starts_at,
            u64::from(self.commons) | u64::from(self.blocks) << 32,
            self.commons_at,
            self.ranges_at,
            self.lowest_at,
            self.highest_at,
            self.counts_at,
            self.rows_at,
            self.values_at,
        ]
    }

    fn from_words(words: &[u64; WORDS]) -> Self {
        Self {
            key_at: words[0],
            key_bytes: words[1] as u32,
            terms: (words[1] >> 32) as u32,
            postings: words[2],
            dimensions_at: words[3],
            starts_at: words[4],
            commons: words[5] as u32,
            blocks: (words[5] >> 32) as u32,
            commons_at: words[6],
            ranges_at: words[7],
            lowest_at: words[8],
            highest_at: words[9],
            counts_at: words[10],
            rows_at: words[11],
            values_at: words[12],
        }
    }
}

/// The head of a file with these entries, and they.
pub(super) fn head(entries: &[Entry]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&(entries.len() as u32).to_le_bytes());
    for entry in entries {
        bytes.extend_from_slice(bytemuck::cast_slice(&entry.words()));
    }
    bytes
}

/// The entries of a file, and their keys.
pub(super) fn entries(blocks: &Blocks) -> Result<Vec<(String, Entry)>> {
    let head = typed::<u8>(blocks, 0, HEAD_BYTES)?;
    if head[..8] != MAGIC {
        let detail = "it does not begin as an index of sparse vectors does";
        return Err(Error::corrupted(blocks.path(), 0, detail));
    }
    let number = |at: usize| {
        let bytes = head[at..at + 4].try_into();
        u32::from_le_bytes(bytes.expect("four bytes are four bytes"))
    };
    if number(8) != VERSION {
        let (path, found) = (blocks.path(), number(8));
        return Err(Error::new(
            ErrorKind::Corrupted,
            format!("{path} has form {found}; this version reads form {VERSION}"),
        ));
    }
    let words = typed::<[u64; WORDS]>(blocks, HEAD_BYTES, number(12).into())?;
    let read = |words: &[u64; WORDS]| {
        let entry = Entry::from_words(words);
        let key = typed::<u8>(blocks, entry.key_at, entry.key_bytes.into())?;
        let key = std::str::from_utf8(key).map_err(|error| {
            Error::corrupted(
                blocks.path(),
                entry.key_at,
                format_args!("no UTF-8: {error}"),
            )
        })?;
        Ok((key.to_owned(), entry))
    };
    words.iter().map(read).collect()
}
