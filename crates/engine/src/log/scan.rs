//! Reads log files: at the start, to replay; for `inspect` and `verify`, without changing them.
//!
//! What must stay true: a bad frame ends the last file (the tail of a write that was cut off)
//! unless a later frame, or the note of a clean close, proves that it was durable; anywhere else
//! it is damage, named by file and offset.

use std::sync::Arc;

use hashbrown::HashMap;

use super::frame::{
    FILE_HEADER_BYTES, FRAME_HEADER_BYTES, FrameHeader, file_header, later_frame_proves_damage,
};
use super::payload;
use crate::model::{CollectionId, RecordBatch, SeqId};
use crate::storage::Storage;
use crate::{Error, ErrorKind, Result};

/// The folder of log files.
pub(super) const FOLDER: &str = "log";
/// Written by a clean close: where the log ended.
pub(super) const CLEAN_END: &str = "log/clean-end";

/// The path of the file with this number.
pub(super) fn path_of(number: u64) -> String {
    format!("{FOLDER}/{number:020}.log")
}

/// What is known of one log file.
#[derive(Clone, Debug)]
pub struct LogFile {
    /// Its number; files are read by ascending number.
    pub number: u64,
    /// Its path in the data folder.
    pub path: String,
    /// Bytes of it that hold whole frames.
    pub bytes: u64,
    /// Batches in it.
    pub batches: u64,
    /// Records in it.
    pub records: u64,
    /// The highest SeqId in it of each collection.
    pub highest: HashMap<CollectionId, SeqId>,
}

/// What a read-only look at a log found.
#[derive(Debug, Default)]
pub struct Scan {
    /// Its files, oldest first.
    pub files: Vec<LogFile>,
    /// What is damaged.
    pub damaged: Vec<Error>,
}

/// A whole frame.
pub(super) struct Frame {
    pub(super) header: FrameHeader,
    pub(super) batch: Arc<RecordBatch>,
}

/// How the reading of one file ended.
pub(super) enum End {
    /// With the file.
    Whole,
    /// In a write that was cut off: whole frames end here, and the file goes on.
    Torn,
    /// In damage.
    Damaged(Error),
}

/// The numbers of the log files there are, ascending.
pub(super) fn numbers(storage: &dyn Storage) -> Result<Vec<u64>> {
    if !storage.exists(FOLDER)? {
        return Ok(Vec::new());
    }
    let mut numbers: Vec<u64> = storage
        .list(FOLDER)?
        .iter()
        .filter_map(|entry| entry.name.strip_suffix(".log")?.parse().ok())
        .collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Reads the file `number`, giving each whole frame to `each`.
pub(super) fn read_file(
    storage: &dyn Storage,
    number: u64,
    is_last: bool,
    each: &mut dyn FnMut(Frame) -> Result<()>,
) -> Result<(LogFile, End)> {
    let path = path_of(number);
    let bytes = storage.map(&path)?;
    let mut file = LogFile {
        number,
        path,
        bytes: 0,
        batches: 0,
        records: 0,
        highest: HashMap::new(),
    };
    if bytes.get(..FILE_HEADER_BYTES) != Some(&file_header(number)[..]) {
        let end = judge(
            &file,
            &bytes,
            0,
            is_last,
            "the file's header is not what was written",
        );
        return Ok((file, end));
    }
    let mut at = FILE_HEADER_BYTES;
    while at < bytes.len() {
        file.bytes = at as u64;
        let Some((frame, next)) = read_frame(&bytes, number, at, at as u64) else {
            let end = judge(
                &file,
                &bytes,
                at,
                is_last,
                "the frame is not what was written",
            );
            return Ok((file, end));
        };
        file.batches += 1;
        file.records += frame.header.seqs.count();
        file.highest
            .insert(frame.header.collection, frame.header.seqs.last);
        each(frame)?;
        at = next;
    }
    file.bytes = at as u64;
    Ok((file, End::Whole))
}

/// The frame at `at` of `bytes`, which is `offset` in the file, and where the next one begins;
/// `None` where there is no sound frame.
pub(super) fn read_frame(
    bytes: &[u8],
    number: u64,
    at: usize,
    offset: u64,
) -> Option<(Frame, usize)> {
    let header = FrameHeader::decode(&bytes[at..], number, offset)?;
    let from = at + FRAME_HEADER_BYTES;
    let end = from.checked_add(usize::try_from(header.payload_bytes).ok()?)?;
    let payload = bytes.get(from..end)?;
    if crc32c::crc32c(payload) != header.payload_checksum {
        return None;
    }
    let batch = payload::decode(payload).ok()?;
    (batch.len() as u64 == header.seqs.count()).then(|| {
        (
            Frame {
                header,
                batch: Arc::new(batch),
            },
            end,
        )
    })
}

fn judge(file: &LogFile, bytes: &[u8], at: usize, is_last: bool, what: &str) -> End {
    if is_last && !later_frame_proves_damage(bytes, file.number, at) {
        End::Torn
    } else {
        End::Damaged(Error::corrupted(&file.path, at as u64, what))
    }
}

/// Looks at every frame without changing anything.
pub fn scan(storage: &dyn Storage) -> Result<Scan> {
    let mut scan = Scan::default();
    let numbers = numbers(storage)?;
    let clean = read_clean_end(storage)?;
    for (position, &number) in numbers.iter().enumerate() {
        let is_last = position + 1 == numbers.len();
        let (file, end) = read_file(storage, number, is_last, &mut |_| Ok(()))?;
        if let End::Damaged(error) = end {
            scan.damaged.push(error);
        }
        scan.files.push(file);
    }
    if let Some(clean) = clean {
        let last = scan.files.last().map(|file| (file.number, file.bytes));
        scan.damaged.extend(clean.check(last).err());
    }
    Ok(scan)
}

/// Where the log ended when it was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CleanEnd {
    /// The number of the last file, and the next number to be used where there was none.
    pub(super) number: u64,
    /// Bytes of it; 0 where there was no file.
    pub(super) bytes: u64,
}

impl CleanEnd {
    /// The note's bytes.
    pub(super) fn encode(self) -> [u8; 20] {
        let mut bytes = [0; 20];
        bytes[..8].copy_from_slice(&self.number.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.bytes.to_le_bytes());
        let checksum = crc32c::crc32c(&bytes[..16]);
        bytes[16..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Compares the note with the last file found, its number and whole bytes.
    pub(super) fn check(self, last: Option<(u64, u64)>) -> Result<()> {
        let expected = (self.bytes > 0).then_some((self.number, self.bytes));
        if last == expected {
            return Ok(());
        }
        let path = path_of(self.number);
        let found = match last {
            Some((number, bytes)) => format!("{} ends at byte {bytes}", path_of(number)),
            None => "there is no log file".to_owned(),
        };
        Err(Error::corrupted(
            &path,
            self.bytes,
            format_args!("the log was closed with its end here, but {found}"),
        ))
    }
}

/// The note of a clean close, where there is one.
pub(super) fn read_clean_end(storage: &dyn Storage) -> Result<Option<CleanEnd>> {
    let bytes = match storage.read(CLEAN_END) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let note = bytes
        .first_chunk::<20>()
        .filter(|_| bytes.len() == 20)
        .map(|bytes| {
            let eight = |at: usize| {
                u64::from_le_bytes([0, 1, 2, 3, 4, 5, 6, 7].map(|byte| bytes[at + byte]))
            };
            (
                CleanEnd {
                    number: eight(0),
                    bytes: eight(8),
                },
                bytes,
            )
        });
    match note {
        Some((note, bytes)) if note.encode() == *bytes => Ok(Some(note)),
        _ => Err(Error::corrupted(
            CLEAN_END,
            0,
            "the note of the log's end cannot be read",
        )),
    }
}
