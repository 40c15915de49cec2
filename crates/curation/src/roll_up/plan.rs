//! Which files are made next, and in place of which.
//!
//! What must stay true: a file tells the records that were last written within its positions of the log; the files of a
//! plan that is carried out tell every record once. Small files are merged as they come, each record a few times however
//! long that goes on; a file is made again when much of it is no more, or some of it for long.

use uuid::Uuid;

/// A file is made again when a part of so many of its records is no more as it tells them.
const DEAD_PART: u64 = 8;
/// How old a file grows of which any record is no more as it tells it, in seconds.
pub(super) const STALE_SECONDS: f64 = 3600.0;

/// Positions of the log behind `from` up to `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from: u64,
    pub(super) to: u64,
}

impl Span {
    pub(super) fn holds(self, seq: u64) -> bool {
        self.from < seq && seq <= self.to
    }

    fn meets(self, other: Self) -> bool {
        self.from < other.to && other.from < self.to
    }
}

/// A file that there is.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) id: Uuid,
    pub(super) span: Span,
    /// Of two that meet, the later one stands in place of the other.
    pub(super) number: u64,
    pub(super) records: u64,
    /// Seconds since 1970.
    pub(super) made_at: f64,
}

/// What is to be done, in this order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Files to be made.
    pub(super) make: Vec<Span>,
    /// Files to be removed once all of them are made.
    pub(super) remove: Vec<Uuid>,
}

/// A piece of the log between two positions.
struct Piece<'a> {
    span: Span,
    /// Records that were last written within it.
    live: usize,
    file: Option<&'a Known>,
    is_due: bool,
}

/// What the files are to tell.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told<'a> {
    /// The positions at which all records were last written, which ascend.
    pub(super) seqs: &'a [u64],
    /// The position up to which that is known.
    pub(super) head: u64,
    /// Records of a file at most.
    pub(super) file_records: usize,
}

/// Plans for the files that there are at `now`. `must` says which are made again if a single record of them is no more.
pub(super) fn plan(
    files: &[Known],
    told: Told<'_>,
    now: f64,
    must: &dyn Fn(&Known) -> bool,
) -> Plan {
    let Told { seqs, head, .. } = told;
    let stands: Vec<&Known> = files
        .iter()
        .filter(|file| {
            let replaces = |other: &&Known| other.number > file.number;
            let mut later = files.iter().filter(replaces);
            file.span.to <= head && !later.any(|other| other.span.meets(file.span))
        })
        .collect();
    let pieces = pieces(&stands, seqs, head, |file, live| {
        let Some(dead) = file.records.checked_sub(live as u64) else {
            // It tells too few, whyever.
            return true;
        };
        let is_old = now - file.made_at >= STALE_SECONDS;
        dead > 0 && (dead >= file.records.div_ceil(DEAD_PART) || is_old || must(file))
    });
    let mut kept: Vec<Uuid> = Vec::new();
    let mut make = Vec::new();
    let mut rest = pieces.as_slice();
    while let Some((last, before)) = rest.split_last() {
        rest = before;
        if last.live == 0 {
            continue;
        }
        // Newest first: what is due takes along what is older and not much larger.
        let (mut span, mut live, mut is_due) = (last.span, last.live, last.is_due);
        while let Some((older, others)) = rest.split_last() {
            let fits = live + older.live <= told.file_records;
            if !(is_due && fits && (older.is_due || older.live <= 2 * live)) {
                break;
            }
            (span.from, live, is_due) = (older.span.from, live + older.live, true);
            rest = others;
        }
        if is_due {
            make.extend(cut(span, told));
        } else {
            kept.extend(last.file.map(|file| file.id));
        }
    }
    make.sort_by_key(|span| span.from);
    let goes = |file: &&Known| !kept.contains(&file.id);
    let remove = files.iter().filter(goes).map(|file| file.id).collect();
    Plan { make, remove }
}

/// The whole log in pieces: the files that stand, and what is between and behind them.
fn pieces<'a>(
    stands: &[&'a Known],
    seqs: &[u64],
    head: u64,
    is_due: impl Fn(&Known, usize) -> bool,
) -> Vec<Piece<'a>> {
    let mut stands = stands.to_vec();
    stands.sort_by_key(|file| file.span.from);
    let mut pieces = Vec::new();
    let gap = |from: u64, to: u64| {
        let span = Span { from, to };
        Piece {
            span,
            live: count(span, seqs),
            file: None,
            is_due: true,
        }
    };
    let mut from = 0;
    for file in stands {
        pieces.push(gap(from, file.span.from));
        let live = count(file.span, seqs);
        pieces.push(Piece {
            span: file.span,
            live,
            file: Some(file),
            is_due: is_due(file, live),
        });
        from = file.span.to;
    }
    pieces.push(gap(from, head));
    pieces.retain(|piece| piece.live > 0);
    pieces
}

fn place(seq: u64, seqs: &[u64]) -> usize {
    seqs.partition_point(|one| *one <= seq)
}

fn count(span: Span, seqs: &[u64]) -> usize {
    place(span.to, seqs).saturating_sub(place(span.from, seqs))
}

/// A span in parts of the records of a file at most.
fn cut(span: Span, told: Told<'_>) -> Vec<Span> {
    let seqs = told.seqs;
    let inside = &seqs[place(span.from, seqs)..place(span.to, seqs)];
    let parts = inside.len().div_ceil(told.file_records);
    let mut from = span.from;
    let mut spans = Vec::with_capacity(parts);
    for (at, part) in inside.chunks(told.file_records).enumerate() {
        let last = part.last().copied().unwrap_or(span.to);
        let to = if at + 1 == parts { span.to } else { last };
        spans.push(Span { from, to });
        from = to;
    }
    spans
}

#[cfg(test)]
mod tests;
