//! Maps files into memory.
//!
//! What must stay true: only bytes that never change are mapped (see [`super::Storage::map`]).
#![expect(
    unsafe_code,
    reason = "a mapping is unsafe because another process could change the file"
)]

use std::collections::BTreeMap;
use std::fs::File;
use std::io;

use bytes::Bytes;
use memmap2::{Mmap, MmapOptions};
use parking_lot::Mutex;

/// Where each mapped file begins, and its length.
static MAPPED: Mutex<BTreeMap<usize, usize>> = Mutex::new(BTreeMap::new());

/// Mappings beyond which parts of files are mapped no more: systems allow a process some ten thousands of them, its
/// memory and its threads included.
const PARTS_MAX: usize = 8192;

/// A mapped file, or a part of one, known as one for as long as it is mapped.
struct Mapped(Mmap);

impl Mapped {
    fn new(map: Mmap) -> Self {
        MAPPED.lock().insert(map.as_ptr().addr(), map.len());
        Self(map)
    }
}

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        MAPPED.lock().remove(&self.0.as_ptr().addr());
    }
}

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
    Ok(Bytes::from_owner(Mapped::new(map)))
}

/// `length` bytes of `file` from `offset`, mapped for as long as any slice of the answer lives; `None` where there are no
/// such bytes, or enough is mapped.
pub(super) fn map_part(file: &File, offset: u64, length: usize) -> io::Result<Option<Bytes>> {
    let end = offset.checked_add(length as u64);
    let is_there = end.is_some_and(|end| end <= file.metadata().map_or(0, |known| known.len()));
    if length == 0 || !is_there || MAPPED.lock().len() >= PARTS_MAX {
        return Ok(None);
    }
    let mut part = MmapOptions::new();
    part.offset(offset).len(length);
    // SAFETY: the contract of `Storage::map_part` is that nobody changes these bytes while they live: the log appends
    // behind what is durable and cuts nothing before it, and the folder's lock keeps other servers out.
    let map = unsafe { part.map(file)? };
    Ok(Some(Bytes::from_owner(Mapped::new(map))))
}

/// The whole pages in `bytes`: where they begin, and their bytes; `None` where there is none.
#[cfg(target_os = "linux")]
fn pages_of(bytes: &[u8]) -> Option<(*mut std::ffi::c_void, usize)> {
    let page = rustix::param::page_size();
    let from = bytes.as_ptr().addr().next_multiple_of(page);
    let end = (bytes.as_ptr().addr() + bytes.len()) / page * page;
    let first = bytes.as_ptr().with_addr(from).cast_mut();
    (from < end).then(|| (first.cast(), end - from))
}

/// Asks the system to take the memory of the whole pages in `bytes`, which keep what they hold: it
/// is read again, from its file or from swap, when somebody asks for it.
#[cfg(target_os = "linux")]
pub(super) fn page_out(bytes: &[u8]) {
    use rustix::mm::{Advice, madvise};

    let Some((first, length)) = pages_of(bytes) else {
        return;
    };
    // SAFETY: the pages are part of a slice that lives. This advice changes no byte of them, only
    // where the system keeps them.
    let done = unsafe { madvise(first, length, Advice::LinuxPageOut) };
    if let Err(error) = done {
        tracing::debug!(%error, "memory of a mapped file cannot be given back");
    }
}

/// Takes the whole pages in `bytes` out of this process, if they are of a mapped file; the system
/// may keep what they hold, and gives them back at once when somebody asks for them.
#[cfg(target_os = "linux")]
pub(super) fn let_go(bytes: &[u8]) {
    use rustix::mm::{Advice, madvise};

    let Some((first, length)) = pages_of(bytes) else {
        return;
    };
    let mapped = MAPPED.lock();
    let from = bytes.as_ptr().addr();
    let file = mapped.range(..=from).next_back();
    if file.is_none_or(|(begin, whole)| begin + whole < from + bytes.len()) {
        return;
    }
    // SAFETY: the pages are part of a slice that lives, and of a mapping of `map_file`: they are
    // shared with the file, which nobody changes, so that reading them again gives the same bytes.
    let done = unsafe { madvise(first, length, Advice::LinuxDontNeed) };
    if let Err(error) = done {
        tracing::debug!(%error, "pages of a mapped file cannot be let go");
    }
}

/// Systems that take no such advice keep the pages as long as they like.
#[cfg(not(target_os = "linux"))]
pub(super) fn page_out(_bytes: &[u8]) {}

/// The same.
#[cfg(not(target_os = "linux"))]
pub(super) fn let_go(_bytes: &[u8]) {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_part_of_a_file_is_mapped_while_more_is_appended_and_nothing_beyond_its_end() {
        let bytes: Vec<u8> = (0..100_000_u32).map(|at| (at % 251) as u8).collect();
        let mut file = tempfile::tempfile().expect("a file for a while");
        file.write_all(&bytes).expect("there is room");
        let map =
            |offset: u64, length| map_part(&file, offset, length).expect("files can be mapped");
        let part = map(4_097, 50_003).expect("the bytes are there");
        assert_eq!(part, bytes[4_097..54_100]);
        let last = map(99_999, 1).expect("the byte is there");
        for (offset, length) in [(0, 100_001), (100_000, 1), (u64::MAX, 2), (5, 0)] {
            assert_eq!(map(offset, length), None, "{length} bytes from {offset} on");
        }
        (&file).write_all(&bytes).expect("there is room");
        assert_eq!(
            (&part[..], &last[..]),
            (&bytes[4_097..54_100], &bytes[99_999..])
        );
    }

    #[test]
    fn pages_of_a_file_are_let_go_and_read_again_and_other_memory_stays_as_it_is() {
        let bytes: Vec<u8> = (0..1_000_000_u32).map(|at| (at % 251) as u8).collect();
        let mut file = tempfile::tempfile().expect("a file for a while");
        file.write_all(&bytes).expect("there is room");
        let mapped = map_file(&file).expect("files can be mapped");
        assert_eq!(mapped, bytes);
        let resident = || crate::storage::Resident::look().of(&mapped);
        assert!(resident() >= 990_000, "{}", resident());
        let_go(&mapped);
        assert!(resident() < 100_000, "{}", resident());
        assert_eq!(mapped, bytes);
        let own = bytes.clone();
        let_go(&own);
        assert_eq!(own, bytes, "what is no file would be lost");
        let begin = mapped.as_ptr().addr();
        assert!(MAPPED.lock().contains_key(&begin));
        drop(mapped);
        assert!(!MAPPED.lock().contains_key(&begin));
    }
}
