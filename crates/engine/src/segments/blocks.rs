//! A sealed file and the checksums of its blocks: each block is checked the first time it is read.
//!
//! What must stay true: no byte of a sealed file reaches a caller before the block that holds it
//! has been checked, whether through the mapping or past it. Blocks are [`BLOCK_BYTES`] long, the last one shorter.

use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use crate::storage::{Storage, StorageReader};
use crate::{Error, Result};

/// Bytes that one checksum covers.
pub const BLOCK_BYTES: usize = 64 << 10;

/// Bytes of a file from which on it can be read past its mapping, which takes an open file.
const PAST_BYTES_MIN: usize = 16 << 20;

/// Words that are read past a mapping without asking for memory.
const NEAR_WORDS: usize = 256;

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
    /// See [`Self::read_past_mapping`].
    past: AtomicBool,
    reader: OnceLock<Box<dyn StorageReader>>,
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
            past: AtomicBool::new(false),
            reader: OnceLock::new(),
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
        let range = self.within(range)?;
        blocks_of(&range).try_for_each(|block| self.check(block))?;
        Ok(&self.bytes[range])
    }

    /// The same range, which is within the file.
    fn within(&self, range: Range<usize>) -> Result<Range<usize>> {
        if range.start <= range.end && range.end <= self.bytes.len() {
            return Ok(range);
        }
        Err(Error::corrupted(
            &self.path,
            self.bytes.len() as u64,
            format_args!(
                "the file ends here; bytes up to {} were asked for",
                range.end
            ),
        ))
    }

    /// What `look` makes of the bytes of `range`, checked: where they lie, or copied past the mapping, to an
    /// address that numbers of 8 bytes can be read from.
    pub fn with<T>(&self, range: Range<usize>, look: impl FnOnce(&[u8]) -> T) -> Result<T> {
        let Some(reader) = self.reader() else {
            return self.get(range).map(look);
        };
        let range = self.within(range)?;
        for block in blocks_of(&range) {
            if !self.is_checked(block) {
                let place = self.place(block);
                let mut bytes = vec![0; place.len()];
                reader.fill(place.start as u64, &mut bytes)?;
                self.compare(block, &bytes)?;
            }
        }
        let (mut near, mut far);
        let room: &mut [u64] = if range.len() <= 8 * NEAR_WORDS {
            near = [0; NEAR_WORDS];
            &mut near
        } else {
            far = vec![0; range.len().div_ceil(8)];
            &mut far
        };
        let room = &mut bytemuck::cast_slice_mut(room)[..range.len()];
        reader.fill(range.start as u64, room)?;
        Ok(look(room))
    }

    /// Asks for the bytes of `range` ahead of [`Self::with`].
    pub fn prefetch(&self, range: Range<usize>) -> Result<()> {
        if self.reader().is_none() {
            vermilion_kernels::prefetch(self.get(range)?);
        }
        Ok(())
    }

    /// From now on [`Self::with`] reads past the mapping, so that none of its pages comes into memory, or through
    /// it again; small files stay mapped.
    pub(super) fn read_past_mapping(&self, storage: &dyn Storage, past: bool) {
        if past && self.reader.get().is_none() && self.len() >= PAST_BYTES_MIN {
            match storage.open(&self.path) {
                Ok(reader) => drop(self.reader.set(reader)),
                Err(error) => tracing::debug!(%error, "the file is read through its mapping"),
            }
        }
        self.past.store(past, Ordering::Relaxed);
    }

    /// What reads past the mapping, where that is asked for.
    fn reader(&self) -> Option<&dyn StorageReader> {
        let past = self.past.load(Ordering::Relaxed);
        self.reader.get().filter(|_| past).map(|reader| &**reader)
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
        if self.is_checked(block) {
            return Ok(());
        }
        self.compare(block, &self.bytes[self.place(block)])
    }

    fn is_checked(&self, block: usize) -> bool {
        self.checked[block / 64].load(Ordering::Relaxed) & bit(block) != 0
    }

    /// Where a block is.
    fn place(&self, block: usize) -> Range<usize> {
        let from = block * BLOCK_BYTES;
        from..self.bytes.len().min(from + BLOCK_BYTES)
    }

    /// Notes that a block is as it was written, if `bytes`, which are what it holds, are.
    fn compare(&self, block: usize, bytes: &[u8]) -> Result<()> {
        let found = xxh3_64(bytes);
        let expected = self.checksums[block];
        if found != expected {
            return Err(Error::corrupted(
                &self.path,
                self.place(block).start as u64,
                format_args!("the block's checksum is {found:016x}, {expected:016x} was written"),
            ));
        }
        self.checked[block / 64].fetch_or(bit(block), Ordering::Relaxed);
        Ok(())
    }
}

/// The bit of a block in its word of [`Blocks::checked`].
fn bit(block: usize) -> u64 {
    1 << (block % 64)
}

/// The blocks that bytes are in.
fn blocks_of(range: &Range<usize>) -> Range<usize> {
    if range.is_empty() {
        return 0..0;
    }
    range.start / BLOCK_BYTES..range.end.div_ceil(BLOCK_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;
    use crate::storage::MemoryStorage;

    #[test]
    fn what_is_read_past_the_mapping_is_the_same_and_checked() {
        let bytes: Vec<u8> = (0..PAST_BYTES_MIN + 5).map(|at| (at % 251) as u8).collect();
        let (last, damaged_at) = (bytes.len(), 3 * BLOCK_BYTES + 7);
        let sums = checksums(&bytes);
        let mut stored = bytes.clone();
        stored[damaged_at] ^= 1;
        let storage = MemoryStorage::default();
        storage
            .insert("file", stored)
            .expect("there is no such file");
        let file = Blocks::new("file".to_owned(), bytes.clone().into(), sums)
            .expect("as many sums as blocks");
        file.read_past_mapping(&storage, true);
        for range in [
            0..0,
            5..9,
            BLOCK_BYTES - 3..BLOCK_BYTES + 4,
            9..9 + 8 * NEAR_WORDS + 1,
            last - 5..last,
            last..last,
        ] {
            let read = file.with(range.clone(), <[u8]>::to_vec);
            assert_eq!(read.expect("the bytes are sound"), bytes[range]);
        }
        let over = damaged_at - 1..damaged_at + 1;
        for beyond in [over.clone(), last..last + 1] {
            let error = file
                .with(beyond, <[u8]>::to_vec)
                .expect_err("no such bytes");
            assert_eq!(error.kind(), ErrorKind::Corrupted, "{error}");
        }
        // The mapping of this test is sound.
        file.read_past_mapping(&storage, false);
        let read = file.with(over.clone(), <[u8]>::to_vec);
        assert_eq!(read.expect("it is mapped"), bytes[over]);
    }
}
