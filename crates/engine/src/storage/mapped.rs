//! Maps files into memory: the one file of the engine that may lift `unsafe_code`.
//!
//! What must stay true: only files that never change are mapped (see [`super::Storage::map`]).
#![expect(
    unsafe_code,
    reason = "a mapping is unsafe because another process could change the file"
)]

use std::fs::File;
use std::io;

use bytes::Bytes;
use memmap2::Mmap;

/// The whole of `file`, mapped for as long as any slice of the answer lives.
pub(super) fn map_file(file: &File) -> io::Result<Bytes> {
    // The system refuses to map nothing.
    if file.metadata()?.len() == 0 {
        return Ok(Bytes::new());
    }
    // SAFETY: the contract of `Storage::map` is that nobody changes the file while the bytes
    // live: sealed files are written once, and the folder's lock keeps other servers out. A
    // removed file stays readable through its mapping.
    let map = unsafe { Mmap::map(file)? };
    Ok(Bytes::from_owner(map))
}
