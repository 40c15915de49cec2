//! The write-ahead log of the SQL library, read by ourselves before the library reads it.
//!
//! The library takes the log up to the first frame that is not right, and drops the rest without
//! a word. That suits a torn tail, whose transaction nobody was told of. It does not suit damage
//! in the middle, behind which acknowledged transactions lie. What must stay true: [`scan`] tells
//! the two apart wherever that can be known.
//!
//! A commit returns only after an fsync of the log, and the next transaction is appended only
//! then. So a frame that is followed by the end of its own transaction (or is that end) and by the
//! end of another one was on the disk, whole, when the second was begun. A frame of an earlier
//! round of the log has other salts (numbers that the library changes each time it starts the log
//! again): it ends the log, and proves nothing. Ends of transactions that failed cannot be left in
//! the current round: after a failed sync nothing is written, and each opening begins a new round.
//!
//! What cannot be known: whether the very last transaction is damaged or was never finished.
//!
//! The format, all numbers big-endian: a header of 32 bytes (magic, version, page size, round,
//! two salts, two checksum words over the first 24 bytes), then frames of 24 bytes and one page
//! (page number, pages of the database if this ends a transaction or 0, the two salts, two
//! checksum words over the first 8 bytes, the page, and all that went before).

use super::connection::PAGE_BYTES;
use super::fault::{self, Result};

/// Bytes of the log's header.
pub(super) const HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;
const FRAME_BYTES: usize = FRAME_HEADER_BYTES + PAGE_BYTES;
const MAGIC: u32 = 0x377F_0682;
const VERSION: u32 = 3_007_000;

/// The committed content of a log.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Scan {
    /// Pages by number (from 1), each with the place of its bytes, in the order of the log.
    pub(super) pages: Vec<(u32, usize)>,
    /// Pages that the database has after the last transaction; `None` where there is none.
    pub(super) database_pages: Option<u32>,
}

/// The two running words of the checksum.
type Words = (u32, u32);

/// Reads the log `bytes`; fails where a damaged frame hides transactions that were acknowledged.
/// `name` is for the message.
pub(super) fn scan(name: &str, bytes: &[u8]) -> Result<Scan> {
    let Some(header) = Header::read(bytes) else {
        return headless(name, bytes);
    };
    let mut scan = Scan::default();
    let (mut words, mut uncommitted) = (header.words, Vec::new());
    for (number, frame) in frames(bytes).enumerate() {
        let (found, sealed) = (frame.words_after(words, header.big_endian), frame.words());
        let in_chain = found == sealed;
        if !in_chain || frame.salts() != header.salts || frame.page() == 0 {
            let ends_one = frame.database_pages() > 0 && in_chain
                || frame.ends(header.salts)
                || frame.ended(words, header.big_endian);
            let later = frames(bytes).skip(number + 1);
            let ends = later.filter(|later| later.ends(header.salts)).count();
            if ends + usize::from(ends_one) >= 2 {
                return Err(fault::damaged(
                    name,
                    format_args!(
                        "the frame at byte {} is not what was written, and later transactions follow it",
                        frame.at
                    ),
                )
                .into());
            }
            break;
        }
        words = sealed;
        uncommitted.push((frame.page(), frame.at + FRAME_HEADER_BYTES));
        if frame.database_pages() > 0 {
            scan.pages.append(&mut uncommitted);
            scan.database_pages = Some(frame.database_pages());
        }
    }
    Ok(scan)
}

/// A log whose header is not right. The header is synced before the first frame is written, and
/// lies in one sector: frames that belong together behind it prove that it was right once.
fn headless(name: &str, bytes: &[u8]) -> Result<Scan> {
    let all: Vec<Frame<'_>> = frames(bytes).collect();
    let chained = all.windows(2).any(|pair| {
        pair[1].ends(pair[0].salts())
            && [false, true].into_iter().any(|big_endian| {
                pair[1].words_after(pair[0].words(), big_endian) == pair[1].words()
            })
    });
    if chained || all.first().is_some_and(|frame| starts_log(bytes, *frame)) {
        return Err(fault::damaged(
            name,
            "its header at byte 0 is not what was written, and transactions follow it",
        )
        .into());
    }
    Ok(Scan::default())
}

/// Whether `frame` ends a transaction and its checksum goes on from the header's, be it from the
/// words that stand there or from those that its bytes come to.
fn starts_log(bytes: &[u8], frame: Frame<'_>) -> bool {
    let stored = (word(bytes, 24), word(bytes, 28));
    frame.database_pages() > 0
        && [false, true].into_iter().any(|big_endian| {
            let computed = sum((0, 0), &bytes[..24], big_endian);
            [stored, computed]
                .into_iter()
                .any(|words| frame.words_after(words, big_endian) == frame.words())
        })
}

struct Header {
    big_endian: bool,
    salts: Words,
    words: Words,
}

impl Header {
    fn read(bytes: &[u8]) -> Option<Self> {
        let header = bytes.get(..HEADER_BYTES)?;
        let big_endian = word(header, 0) & 1 == 1;
        let words = (word(header, 24), word(header, 28));
        let right = word(header, 0) & !1 == MAGIC
            && word(header, 4) == VERSION
            && word(header, 8) as usize == PAGE_BYTES
            && sum((0, 0), &header[..24], big_endian) == words;
        right.then_some(Self {
            big_endian,
            salts: (word(header, 16), word(header, 20)),
            words,
        })
    }
}

#[derive(Clone, Copy)]
struct Frame<'a> {
    at: usize,
    bytes: &'a [u8],
}

impl Frame<'_> {
    fn page(&self) -> u32 {
        word(self.bytes, 0)
    }

    /// Pages of the database where the frame ends a transaction, otherwise 0.
    fn database_pages(&self) -> u32 {
        word(self.bytes, 4)
    }

    fn salts(&self) -> Words {
        (word(self.bytes, 8), word(self.bytes, 12))
    }

    fn words(&self) -> Words {
        (word(self.bytes, 16), word(self.bytes, 20))
    }

    /// Whether the frame says that it ends a transaction of the round with these salts.
    fn ends(&self, salts: Words) -> bool {
        self.database_pages() > 0 && self.salts() == salts
    }

    /// Whether the frame ended a transaction before one bit of its page count turned, which may have
    /// been the only one that was set: its checksum is right once that is turned back.
    fn ended(&self, words: Words, big_endian: bool) -> bool {
        let rest = &self.bytes[FRAME_HEADER_BYTES..];
        (0..32).any(|bit| {
            let pages = self.database_pages() ^ (1 << bit);
            let mut head = [0; 8];
            head[..4].copy_from_slice(&self.bytes[..4]);
            head[4..].copy_from_slice(&pages.to_be_bytes());
            let head = sum(words, &head, big_endian);
            pages > 0 && sum(head, rest, big_endian) == self.words()
        })
    }

    /// The checksum words after this frame, those before it being `words`.
    fn words_after(&self, words: Words, big_endian: bool) -> Words {
        let words = sum(words, &self.bytes[..8], big_endian);
        sum(words, &self.bytes[FRAME_HEADER_BYTES..], big_endian)
    }
}

/// The whole frames of the log.
fn frames(bytes: &[u8]) -> impl Iterator<Item = Frame<'_>> {
    let body = bytes.get(HEADER_BYTES..).unwrap_or(&[]);
    body.chunks_exact(FRAME_BYTES)
        .enumerate()
        .map(|(number, bytes)| Frame {
            at: HEADER_BYTES + number * FRAME_BYTES,
            bytes,
        })
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Goes on with the checksum over `bytes`, eight at a time. The header's magic says in which
/// order the bytes of a number were read by the writer.
fn sum(words: Words, bytes: &[u8], big_endian: bool) -> Words {
    let read = |four: &[u8]| {
        let four = [four[0], four[1], four[2], four[3]];
        if big_endian {
            u32::from_be_bytes(four)
        } else {
            u32::from_le_bytes(four)
        }
    };
    bytes.chunks_exact(8).fold(words, |(first, second), eight| {
        let first = first.wrapping_add(read(&eight[..4])).wrapping_add(second);
        let second = second.wrapping_add(read(&eight[4..])).wrapping_add(first);
        (first, second)
    })
}
