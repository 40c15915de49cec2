//! Memory that a client shares with the server, request after request: the one file of the server that may
//! lift `unsafe_code`.
//!
//! What must stay true: a client can write to the memory at any time, so nothing looks at it: its bytes are
//! copied, once for each request, and only the copy is checked and decoded. Memory is mapped only once its seals
//! say that nobody can shorten or empty it any more, and it is not much larger than a body may be.
#![cfg_attr(
    target_os = "linux",
    expect(
        unsafe_code,
        reason = "a mapping is unsafe because another process can change the memory"
    )
)]

use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use vermilion_protocol::ApiError;

/// How many times as large as a body memory may be: clients keep some room for the next one.
const ROOM_MAX: u64 = 2;

/// Whether memory can be handed over on this system.
pub(crate) const TAKES_MEMORY: bool = cfg!(target_os = "linux");

/// The error of a request whose memory is of no use.
pub(super) fn refused(why: &str) -> ApiError {
    ApiError::invalid(format!("The memory of this request cannot be read: {why}"))
}

/// The body of a request, in the memory of its client.
#[derive(Clone, Debug)]
pub(crate) struct Handed {
    segment: Arc<Segment>,
    bytes: usize,
}

impl Handed {
    /// The first `bytes` of `segment`.
    pub(super) fn new(segment: Arc<Segment>, bytes: usize) -> Result<Self, ApiError> {
        if bytes > segment.len() {
            let told = format!("it has {} bytes, not {bytes}", segment.len());
            return Err(refused(&told));
        }
        Ok(Self { segment, bytes })
    }

    /// How many bytes it has.
    pub(crate) fn len(&self) -> usize {
        self.bytes
    }

    /// A copy of it, which nobody changes. It takes a while: this is no work for threads that serve connections.
    pub(crate) fn copy(self) -> Bytes {
        let mut room = self.segment.spare.lock().take().unwrap_or_default();
        // The pages of room that was used before are there already.
        room.resize(self.bytes.max(room.len()), 0);
        self.segment.read(&mut room[..self.bytes]);
        Bytes::from_owner(Copied { room, of: self })
    }
}

/// A copy of a body, whose room is for the next one.
struct Copied {
    room: Vec<u8>,
    of: Handed,
}

impl AsRef<[u8]> for Copied {
    fn as_ref(&self) -> &[u8] {
        &self.room[..self.of.bytes]
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        *self.of.segment.spare.lock() = Some(std::mem::take(&mut self.room));
    }
}

/// Memory of a client.
#[derive(Debug)]
pub(super) struct Segment {
    mapped: Mapped,
    /// Room for a copy of it.
    spare: Mutex<Option<Vec<u8>>>,
}

impl Segment {
    /// Maps the memory behind `descriptor`.
    pub(super) fn map(descriptor: OwnedFd, bytes_max: usize) -> Result<Self, ApiError> {
        Ok(Self {
            mapped: Mapped::new(descriptor, bytes_max)?,
            spare: Mutex::default(),
        })
    }

    fn len(&self) -> usize {
        self.mapped.len()
    }

    fn read(&self, to: &mut [u8]) {
        self.mapped.read(to);
    }
}

#[cfg(target_os = "linux")]
#[derive(Debug)]
struct Mapped(memmap2::MmapRaw);

#[cfg(target_os = "linux")]
impl Mapped {
    fn new(descriptor: OwnedFd, bytes_max: usize) -> Result<Self, ApiError> {
        use std::os::unix::fs::MetadataExt;

        use rustix::fs::{SealFlags, fcntl_get_seals};

        /// Bytes of a block as the system counts them.
        const BLOCK_BYTES: u64 = 512;

        let failed = |error: std::io::Error| refused(&error.to_string());
        // Only memory has seals: of files, pipes and sockets this fails.
        let seals = fcntl_get_seals(&descriptor)
            .map_err(|_| refused("the descriptor is not of memory with seals (memfd_create)"))?;
        // Either of the last two keeps parts of the memory from being taken out of it.
        let is_whole = SealFlags::WRITE | SealFlags::FUTURE_WRITE;
        if !seals.contains(SealFlags::SHRINK) || !seals.intersects(is_whole) {
            let needed = "it must be sealed with F_SEAL_SHRINK and F_SEAL_FUTURE_WRITE";
            return Err(refused(needed));
        }
        let file = std::fs::File::from(descriptor);
        let metadata = file.metadata().map_err(failed)?;
        let bytes = metadata.len();
        let most = ROOM_MAX * bytes_max as u64;
        if bytes > most {
            let told = format!("Its memory has {bytes} bytes, more than the {most} that are taken");
            return Err(ApiError::new(413, told));
        }
        // Reading a hole would ask the system for memory, and end this process where there is none.
        if metadata.blocks() * BLOCK_BYTES < bytes {
            return Err(refused("parts of it were never written"));
        }
        if bytes == 0 {
            return Err(refused("it is empty"));
        }
        let map = memmap2::MmapOptions::new().map_raw_read_only(&file);
        map.map(Self).map_err(failed)
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    /// Reads what it begins with.
    fn read(&self, to: &mut [u8]) {
        assert!(to.len() <= self.len(), "a request is within its memory");
        // SAFETY: the mapping has that many bytes, and keeps them: the seals, which last as long as the
        // memory, let nobody cut it, and nobody take pages out of its middle. The client may write to it
        // meanwhile, but no reference of Rust is ever to it: whatever is read are bytes, and what they mean
        // is looked for in the copy alone, which is not in the mapping.
        unsafe {
            std::ptr::copy_nonoverlapping(self.0.as_ptr(), to.as_mut_ptr(), to.len());
        }
    }
}

/// Where memory has no seals it is not taken.
#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
enum Mapped {}

#[cfg(not(target_os = "linux"))]
impl Mapped {
    fn new(descriptor: OwnedFd, _bytes_max: usize) -> Result<Self, ApiError> {
        drop(descriptor);
        Err(refused("this system has no sealed memory"))
    }

    fn len(&self) -> usize {
        match *self {}
    }

    fn read(&self, _to: &mut [u8]) {
        match *self {}
    }
}
