//! Files of a data folder that are open: for writing, and for reading past a mapping.
//!
//! What must stay true: no call to the system writes more than [`PIECE_BYTES`], but for many short parts; every error
//! names the file it is about.

use std::fs::File;
use std::io::{self, IoSlice, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use super::explain;
use crate::Result;
use crate::storage::{StorageFile, StorageReader, traffic};

/// Parts that one vectored write may have; the limit of Linux and macOS.
const PARTS_MAX: usize = 1024;

/// Bytes that one call to the system writes. Many systems take a processor from a thread only once
/// its call has ended, so that a request would wait for the copy of a longer piece.
const PIECE_BYTES: usize = 64 << 10;

/// Bytes after which the system is asked to begin to bring what was written to the disk, so that a sync of much finds most
/// of it there, and the disk is at work while the rest is copied.
const BEGIN_BYTES: u64 = 2 << 20;

/// A file open for reading.
#[derive(Debug)]
pub(super) struct OpenFile {
    pub(super) file: File,
    pub(super) place: PathBuf,
}

impl StorageReader for OpenFile {
    fn fill(&self, offset: u64, to: &mut [u8]) -> Result<()> {
        let read = self.file.read_exact_at(to, offset);
        read.map_err(|cause| explain("read", &self.place, &cause))
    }
}

/// A file open for writing.
pub(super) struct DiskFile {
    file: File,
    place: PathBuf,
    /// Where the next write goes.
    bytes: u64,
    /// Up to where the system was asked to bring it to the disk.
    begun: u64,
    /// Whether the length was cut since the last sync, which then syncs all there is to know.
    cut: bool,
}

impl DiskFile {
    /// A file that the system appends to.
    pub(super) fn new(file: File, place: PathBuf) -> Result<Self> {
        let bytes = file
            .metadata()
            .map_err(|cause| explain("measure", &place, &cause))?
            .len();
        Ok(Self {
            bytes,
            begun: bytes,
            ..Self::at_its_beginning(file, place)
        })
    }

    /// A file that was just opened, to be written over.
    pub(super) fn at_its_beginning(file: File, place: PathBuf) -> Self {
        Self {
            file,
            place,
            bytes: 0,
            begun: 0,
            cut: false,
        }
    }

    fn write_slices(&mut self, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        while !slices.is_empty() {
            match self.file.write_vectored(&slices[..piece_of(slices)]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    self.bytes += count as u64;
                    traffic::add(count as u64);
                    if self.bytes - self.begun >= BEGIN_BYTES {
                        begin_to_sync(&self.file, self.begun, self.bytes - self.begun);
                        self.begun = self.bytes;
                    }
                    IoSlice::advance_slices(&mut slices, count);
                }
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => return Err(cause),
            }
        }
        Ok(())
    }
}

/// Asks the system to begin to bring bytes of a file to the disk. It promises nothing, and leaves errors of the disk to the
/// sync that makes them durable.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "rustix has no such call")]
fn begin_to_sync(file: &File, from: u64, bytes: u64) {
    use std::os::fd::AsRawFd;

    let (Ok(from), Ok(bytes)) = (i64::try_from(from), i64::try_from(bytes)) else {
        return;
    };
    // SAFETY: the call is given numbers alone, and the descriptor is that of a file that is open.
    // With this flag and no other it waits for nothing, so that it takes no error from a later sync.
    unsafe { libc::sync_file_range(file.as_raw_fd(), from, bytes, libc::SYNC_FILE_RANGE_WRITE) };
}

/// Systems that cannot be asked begin when they like.
#[cfg(not(target_os = "linux"))]
fn begin_to_sync(_file: &File, _from: u64, _bytes: u64) {}

/// How many of `slices` one call to the system writes: one, and more while all of them are short.
fn piece_of(slices: &[IoSlice<'_>]) -> usize {
    let mut bytes = 0;
    let fitting = slices.iter().take(PARTS_MAX).take_while(|slice| {
        bytes += slice.len();
        bytes <= PIECE_BYTES
    });
    fitting.count().max(1)
}

impl StorageFile for DiskFile {
    fn write(&mut self, parts: &[&[u8]]) -> Result<()> {
        let mut slices: Vec<IoSlice<'_>> = parts
            .iter()
            .flat_map(|part| part.chunks(PIECE_BYTES))
            .map(IoSlice::new)
            .collect();
        self.write_slices(&mut slices)
            .map_err(|cause| explain("write to", &self.place, &cause))
    }

    fn sync(&mut self) -> Result<()> {
        let synced = if self.cut {
            self.file.sync_all()
        } else {
            self.file.sync_data()
        };
        synced.map_err(|cause| explain("sync", &self.place, &cause))?;
        self.cut = false;
        self.begun = self.bytes;
        Ok(())
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn truncate(&mut self, bytes: u64) -> Result<()> {
        self.file
            .set_len(bytes)
            .and_then(|()| self.file.seek(SeekFrom::Start(bytes)))
            .map_err(|cause| explain("cut", &self.place, &cause))?;
        self.bytes = bytes;
        self.begun = self.begun.min(bytes);
        self.cut = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{DiskStorage, Storage};

    #[test]
    fn parts_of_any_length_are_written_in_their_order() {
        let folder = tempfile::tempdir().unwrap();
        let storage = DiskStorage::open(folder.path()).unwrap();
        let bytes: Vec<u8> = (0..4 * PIECE_BYTES).map(|at| (at % 251) as u8).collect();
        let (short, long) = bytes.split_at(5);
        let (long, many) = long.split_at(PIECE_BYTES + 3);
        let mut parts = vec![short, &[], long];
        parts.extend(many.chunks(100));
        storage.create("a").unwrap().write(&parts).unwrap();
        assert_eq!(storage.read("a").unwrap(), bytes);
    }

    #[test]
    fn what_is_on_its_way_to_the_disk_can_be_synced_cut_and_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let storage = DiskStorage::open(folder.path()).unwrap();
        let bytes: Vec<u8> = (0..3 * BEGIN_BYTES).map(|at| (at % 251) as u8).collect();
        let mut file = storage.create("a").unwrap();
        file.write(&[&bytes]).unwrap();
        file.truncate(BEGIN_BYTES / 2).unwrap();
        file.write(&[&bytes[BEGIN_BYTES as usize / 2..], &bytes])
            .unwrap();
        file.sync().unwrap();
        file.write(&[&bytes]).unwrap();
        file.sync().unwrap();
        assert_eq!(file.bytes(), 9 * BEGIN_BYTES);
        assert!(storage.read("a").unwrap() == bytes.repeat(3), "other bytes");
    }

    #[test]
    fn one_call_writes_a_piece_or_one_part() {
        let of = |lengths: &[usize]| {
            let parts: Vec<Vec<u8>> = lengths.iter().map(|length| vec![0; *length]).collect();
            piece_of(
                &parts
                    .iter()
                    .map(|part| IoSlice::new(part))
                    .collect::<Vec<_>>(),
            )
        };
        assert_eq!(of(&[PIECE_BYTES]), 1);
        assert_eq!(of(&[PIECE_BYTES - 1, 1, 1]), 2);
        assert_eq!(of(&[PIECE_BYTES + 1, 1]), 1);
        assert_eq!(of(&[1; PARTS_MAX + 1]), PARTS_MAX);
    }
}
