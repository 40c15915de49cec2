//! Numbers that stand in a file which somebody else keeps: the vectors of a batch in the log.
//!
//! What must stay true: the numbers are those that were written, as far as the disk keeps them; whoever makes a lasting
//! copy asks [`LentNumbers::check`] first.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::{Error, Result};

/// Tells whether anybody looks at a file: whoever does has a clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct FileHold(Arc<()>);

impl FileHold {
    /// Whether this one is the last: whatever the others read, they have read.
    pub(crate) fn is_alone(&mut self) -> bool {
        Arc::get_mut(&mut self.0).is_some()
    }
}

/// Bytes of vectors from which a mapping costs less than memory of their own: so many are looked at in the log.
pub const LENT_BYTES_MIN: usize = 256 << 10;

/// Numbers in a part of a file that is mapped.
#[derive(Clone)]
pub(crate) struct LentNumbers {
    // Given up before the hold: fields are dropped in their order.
    bytes: Bytes,
    path: Arc<str>,
    offset: u64,
    checksum: u32,
    _hold: FileHold,
}

impl LentNumbers {
    /// The numbers in `bytes`, which stand at `offset` of the file `path` and had this CRC-32C when they were written;
    /// `None` where memory does not hold them as numbers can be read.
    pub(crate) fn new(
        bytes: Bytes,
        path: &str,
        offset: u64,
        checksum: u32,
        hold: FileHold,
    ) -> Option<Self> {
        bytemuck::try_cast_slice::<u8, f32>(&bytes).ok()?;
        Some(Self {
            bytes,
            path: path.into(),
            offset,
            checksum,
            _hold: hold,
        })
    }

    /// The numbers.
    pub(crate) fn get(&self) -> &[f32] {
        bytemuck::cast_slice(&self.bytes)
    }

    /// Whether they are still what was written: `Corrupted` otherwise. Reads all of them.
    pub(crate) fn check(&self) -> Result<()> {
        let found = crc32c::crc32c(&self.bytes);
        if found == self.checksum {
            return Ok(());
        }
        Err(Error::corrupted(
            &self.path,
            self.offset,
            format_args!(
                "the vectors of a batch have the checksum {found:08x}, {:08x} was written",
                self.checksum
            ),
        ))
    }
}

impl fmt::Debug for LentNumbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} numbers of {}", self.get().len(), self.path)
    }
}
