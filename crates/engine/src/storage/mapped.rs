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

/// Asks the system to take the memory of the whole pages in `bytes`, which keep what they hold: it
/// is read again, from its file or from swap, when somebody asks for it.
#[cfg(target_os = "linux")]
pub(super) fn page_out(bytes: &[u8]) {
    use rustix::mm::{Advice, madvise};

    let page = rustix::param::page_size();
    let from = bytes.as_ptr().addr().next_multiple_of(page);
    let end = (bytes.as_ptr().addr() + bytes.len()) / page * page;
    if from >= end {
        return;
    }
    let first = bytes.as_ptr().with_addr(from).cast_mut();
    // SAFETY: the pages are part of a slice that lives. This advice changes no byte of them, only
    // where the system keeps them.
    let done = unsafe { madvise(first.cast(), end - from, Advice::LinuxPageOut) };
    if let Err(error) = done {
        tracing::debug!(%error, "memory of a mapped file cannot be given back");
    }
}

/// Systems that take no such advice keep the pages as long as they like.
#[cfg(not(target_os = "linux"))]
pub(super) fn page_out(_bytes: &[u8]) {}
