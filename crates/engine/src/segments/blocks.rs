//! A sealed file and the checksums of its blocks: each block is checked the first time it is read.
//!
//! What must stay true: no byte of a sealed file reaches a caller before the block that holds it
//! has been checked. Blocks are [`BLOCK_BYTES`] long, the last one shorter.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use crate::{Error, Result};

/// Bytes that one checksum covers.
pub const BLOCK_BYTES: usize = 64 << 10;

/// Blocks that are checked without asking whether to go on.
const BLOCKS_AT_ONCE: usize = 16;

/// The checksums of `bytes`, one for each block.
pub fn checksums(bytes: &[u8]) -> Vec<u64> {
    bytes.chunks(BLOCK_BYTES).map(xxh3_64).collect()
}

/// A sealed file.
#[derive(Debug)]
pub struct Blocks {
    path: String,
    bytes: Bytes,
    checksums: Vec<u64>,
    checked: Vec<AtomicU64>,
}

impl Blocks {
    /// Takes the file at `path` (for messages), its bytes and the checksums written with it.
    pub fn new(path: String, bytes: Bytes, checksums: Vec<u64>) -> Result<Self> {
        if bytes.len().div_ceil(BLOCK_BYTES) != checksums.len() {
            let expected = checksums.len();
            return Err(Error::corrupted(
                &path,
                bytes.len() as u64,
                format_args!("the file ends here; its table of contents has {expected} blocks"),
            ));
        }
        let checked = (0..checksums.len().div_ceil(64))
            .map(|_| AtomicU64::new(0))
            .collect();
        Ok(Self {
            path,
            bytes,
            checksums,
            checked,
        })
    }

    /// The file's path, for messages.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Bytes in the file.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The whole file, unchecked: for what asks where it lies, not what it holds.
    pub(super) fn unchecked(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether the file is empty.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The bytes of `range`, checked.
    pub fn get(&self, range: Range<usize>) -> Result<&[u8]> {
        let Some(bytes) = self.bytes.get(range.clone()) else {
            return Err(Error::corrupted(
                &self.path,
                self.bytes.len() as u64,
                format_args!(
                    "the file ends here; bytes up to {} were asked for",
                    range.end
                ),
            ));
        };
        if !bytes.is_empty() {
            for block in range.start / BLOCK_BYTES..=(range.end - 1) / BLOCK_BYTES {
                self.check(block)?;
            }
        }
        Ok(bytes)
    }

    /// Checks every block, whether or not it was checked before; the damaged ones as errors.
    pub fn damage(&self) -> Vec<Error> {
        self.damage_while(&|| true)
    }

    /// The same, as far as it gets while `go_on`, which is asked for each [`BLOCKS_AT_ONCE`], is
    /// true.
    pub fn damage_while(&self, go_on: &dyn Fn() -> bool) -> Vec<Error> {
        self.checked
            .iter()
            .for_each(|word| word.store(0, Ordering::Relaxed));
        (0..self.checksums.len())
            .take_while(|block| block % BLOCKS_AT_ONCE != 0 || go_on())
            .filter_map(|block| {
                crate::storage::traffic::add(BLOCK_BYTES as u64);
                self.check(block).err()
            })
            .collect()
    }

    fn check(&self, block: usize) -> Result<()> {
        let bit = 1u64 << (block % 64);
        if self.checked[block / 64].load(Ordering::Relaxed) & bit != 0 {
            return Ok(());
        }
        let from = block * BLOCK_BYTES;
        let found = xxh3_64(&self.bytes[from..self.bytes.len().min(from + BLOCK_BYTES)]);
        let expected = self.checksums[block];
        if found != expected {
            return Err(Error::corrupted(
                &self.path,
                from as u64,
                format_args!("the block's checksum is {found:016x}, {expected:016x} was written"),
            ));
        }
        self.checked[block / 64].fetch_or(bit, Ordering::Relaxed);
        Ok(())
    }
}
