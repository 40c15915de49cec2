//! Expiry: which records of a collection are past their time.
//!
//! A collection says by its metadata `vermilion:ttl_seconds` how long a record lives after it was
//! last written; a record says by its metadata `vermilion:expires_at` (seconds since 1970) when it
//! ends. Records past their time are left out of what readers see from that moment on, and deleted
//! by a job, through the log, like any others: so their order and backups stay true.
//!
//! What must stay true: a record past its time is in no answer; no record is left out or deleted
//! before its time by the clock, nor one that was written again since it was found to be past its
//! time. When a record was written is known from marks
//! (a time, and the last SeqId at that time), which the job makes as it comes by: a mark that is
//! lost or late makes records live longer, never shorter.

use std::collections::BTreeMap;
use std::sync::Arc;

use roaring::RoaringBitmap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::model::{
    CollectionId, Comparison, Consistency, Filter, GetRequest, Include, MetadataColumn, Number,
    RecordSelection, Schema, SeqId, Value as Cell, ValueKind,
};
use crate::query::{self, Part, Snapshot};
use crate::storage::{Storage, read_checked, write_checked};
use crate::{Error, Result};

/// The metadata key of a collection for the life of its records, in seconds.
pub const TTL_SECONDS: &str = "vermilion:ttl_seconds";
/// The metadata key of a record for its end, in seconds since 1970.
pub const EXPIRES_AT: &str = "vermilion:expires_at";

const FILE: &str = "expiry/marks";
const SECOND: u64 = 1_000_000_000;
/// How late a record may leave: readers within this time share what they found to be past its time.
const TENTH: u64 = SECOND / 10;
/// A mark is made at most so many times in the life of a record.
const MARKS_PER_LIFE: u64 = 32;

/// What a round of expiry did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ExpiryReport {
    /// Collections whose records can expire.
    pub collections: u64,
    /// Records deleted.
    pub expired: u64,
    /// Collections that were deleted, held back or not indexed then; left to the next round.
    pub busy: u64,
    /// The limit ended the round: more records are past their time.
    pub more: bool,
}

/// The life of a record in nanoseconds, where the collection's metadata says one. The error says
/// what may stand there.
pub fn life(metadata: Option<&Map<String, Value>>) -> Result<Option<u64>> {
    let Some(value) = metadata.and_then(|metadata| metadata.get(TTL_SECONDS)) else {
        return Ok(None);
    };
    // Some languages write an integer as `60.0`; one that is too large is refused below.
    let whole = value.as_f64().filter(|seconds| seconds.fract() == 0.0);
    let seconds = value.as_u64().or(whole.map(|seconds| seconds as u64));
    let seconds = seconds.filter(|seconds| *seconds > 0);
    let life = seconds.and_then(|seconds| seconds.checked_mul(SECOND));
    life.map(Some).ok_or_else(|| {
        Error::invalid(format!(
            "The metadata {TTL_SECONDS} is {value}; a whole number of seconds from 1 to {} is \
             allowed.",
            u64::MAX / SECOND
        ))
    })
}

/// Whether a record of the collection may say when it ends. What the schema does not index is not
/// looked at.
pub(crate) fn has_ends(schema: &Schema) -> bool {
    schema.is_filterable(EXPIRES_AT, ValueKind::Int)
        && [ValueKind::Int, ValueKind::Float]
            .into_iter()
            .any(|kind| schema.has_discovered(EXPIRES_AT, kind))
}

/// The earliest end that a record says, in seconds since 1970.
pub(crate) fn earliest_end(metadata: &MetadataColumn) -> Option<f64> {
    let key = metadata.key_number(EXPIRES_AT)?;
    let cells = (0..metadata.len()).flat_map(|row| metadata.cells(row));
    let ends = cells.filter_map(|(of, cell)| match cell {
        Cell::Int(seconds) if *of == key => Some(*seconds as f64),
        Cell::Float(seconds) if *of == key => Some(*seconds),
        _ => None,
    });
    ends.reduce(f64::min)
}

/// Which records of a collection are past their time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Past {
    /// Those that nobody wrote behind this SeqId.
    pub(crate) bound: Option<SeqId>,
    /// Those that say that they end at or before this time, in nanoseconds since the Unix epoch.
    pub(crate) ends: Option<u64>,
}

/// The snapshot without what is past its time; itself where nothing is.
pub(crate) fn lasting(snapshot: Arc<Snapshot>, past: Past) -> Result<Arc<Snapshot>> {
    let mut gone: BTreeMap<usize, RoaringBitmap> = BTreeMap::new();
    if let Some(bound) = past.bound {
        for (number, part) in snapshot.parts.iter().enumerate() {
            let rows = rows_unwritten(part, bound)?;
            if !rows.is_empty() {
                gone.insert(number, rows);
            }
        }
    }
    if let Some(now) = past.ends {
        for location in query::select(&snapshot, &ending_by(now), None)? {
            gone.entry(location.part).or_default().insert(location.row);
        }
    }
    if gone.is_empty() {
        return Ok(snapshot);
    }
    let mut lasting = Snapshot::clone(&snapshot);
    for (number, rows) in gone {
        lasting.count -= rows.len();
        let part = &mut lasting.parts[number];
        part.dead = Arc::new(&*part.dead | rows);
    }
    Ok(Arc::new(lasting))
}

/// Live rows of a part that nobody wrote behind `bound`.
fn rows_unwritten(part: &Part, bound: SeqId) -> Result<RoaringBitmap> {
    let seqs = part.source.seqs()?;
    let old = seqs.iter().enumerate().filter(|(_, seq)| **seq <= bound.0);
    let live = old
        .map(|(row, _)| row as u32)
        .filter(|row| !part.dead.contains(*row));
    Ok(live.collect())
}

/// The seconds since 1970 up to which records have ended at `now` (nanoseconds).
pub(crate) fn ended_up_to(now: u64) -> f64 {
    (now / TENTH) as f64 / 10.0
}

/// Records that say that they end at or before `now`.
fn ending_by(now: u64) -> RecordSelection {
    RecordSelection {
        ids: None,
        filter: Some(Filter::Metadata {
            key: EXPIRES_AT.to_owned(),
            comparison: Comparison::LessOrEqual(Number::Float(ended_up_to(now))),
        }),
    }
}

/// Ids of at most `limit` records that say that they end at or before `now`.
pub(crate) fn ended(snapshot: &Snapshot, now: u64, limit: usize) -> Result<Vec<String>> {
    let request = GetRequest {
        selection: ending_by(now),
        limit: Some(u32::try_from(limit).unwrap_or(u32::MAX)),
        offset: 0,
        include: Include::default(),
        consistency: Consistency::default(),
    };
    let found = query::get(snapshot, &request)?.ids;
    Ok(found.iter().map(str::to_owned).collect())
}

/// Ids of at most `limit` records that nobody wrote behind `bound`.
pub(crate) fn unwritten(snapshot: &Snapshot, bound: SeqId, limit: usize) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for part in &snapshot.parts {
        for row in rows_unwritten(part, bound)? {
            if found.len() == limit {
                return Ok(found);
            }
            found.push(part.source.id(row)?.to_owned());
        }
    }
    Ok(found)
}

/// When SeqIds were reached, for the collections whose records have a life.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Marks {
    collections: BTreeMap<CollectionId, Vec<(u64, SeqId)>>,
    /// Up to where nothing is left of what is past its time: such SeqIds need no look.
    #[serde(skip)]
    cleared: BTreeMap<CollectionId, SeqId>,
    #[serde(skip)]
    changed: bool,
}

impl Marks {
    /// The marks of a data folder. Damaged ones are dropped: records then live longer.
    pub(crate) fn read(storage: &dyn Storage) -> Result<Self> {
        Ok(read_checked(storage, FILE)?.or_default(FILE, "records with a life live longer"))
    }

    /// Makes the marks durable, where they changed.
    pub(crate) fn write(&mut self, storage: &dyn Storage) -> Result<()> {
        if !self.changed {
            return Ok(());
        }
        write_checked(storage, FILE, self)?;
        self.changed = false;
        Ok(())
    }

    /// Notes that at `now` a collection whose records live for `life` is at `visible`; answers the
    /// SeqId at and below which records are past their time.
    pub(crate) fn pass(
        &mut self,
        collection: CollectionId,
        life: u64,
        now: u64,
        visible: SeqId,
    ) -> Option<SeqId> {
        let marks = self.collections.entry(collection).or_default();
        let due = marks.last().is_none_or(|(time, seq)| {
            // A clock that was set back makes the marks of the future useless until it is there.
            let apart = now.abs_diff(*time) >= life / MARKS_PER_LIFE;
            apart && visible > *seq
        });
        if due && visible > SeqId(0) {
            marks.push((now, visible));
            self.changed = true;
        }
        let past = |(time, _): &(u64, SeqId)| time.checked_add(life).is_some_and(|end| end <= now);
        let last = marks.iter().rposition(past)?;
        if last > 0 {
            marks.drain(..last);
            self.changed = true;
        }
        Some(marks[0].1)
    }

    /// The SeqId at and below which records are past their time, as far as marks tell; `None` where
    /// there are none such left. Makes no mark.
    pub(crate) fn left(&self, collection: CollectionId, life: u64, now: u64) -> Option<SeqId> {
        let marks = self.collections.get(&collection)?;
        let past = |(time, _): &&(u64, SeqId)| time.checked_add(life).is_some_and(|end| end <= now);
        let (_, bound) = marks.iter().rfind(past)?;
        let cleared = self.cleared.get(&collection);
        cleared
            .is_none_or(|cleared| cleared < bound)
            .then_some(*bound)
    }

    /// Notes that `fork` is what `source` was up to `seq`: its records are as old.
    pub(crate) fn fork(&mut self, source: CollectionId, fork: CollectionId, seq: SeqId) {
        if let Some(marks) = self.collections.get(&source) {
            let marks = marks.iter().map(|(time, to)| (*time, seq.min(*to)));
            self.collections.insert(fork, marks.collect());
            self.changed = true;
        }
        if let Some(cleared) = self.cleared.get(&source) {
            self.cleared.insert(fork, seq.min(*cleared));
        }
    }

    /// Notes that no record is left that nobody wrote behind `bound`.
    pub(crate) fn clear(&mut self, collection: CollectionId, bound: SeqId) {
        self.cleared.insert(collection, bound);
    }

    /// Forgets every collection that is not among `known`.
    pub(crate) fn retain(&mut self, known: impl Fn(CollectionId) -> bool) {
        self.cleared.retain(|id, _| known(*id));
        let before = self.collections.len();
        self.collections.retain(|id, _| known(*id));
        self.changed |= self.collections.len() != before;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::MemoryStorage;

    const A: CollectionId = CollectionId(uuid::Uuid::from_u128(1));

    #[test]
    fn a_seq_id_is_past_its_time_once_its_mark_is_so_old_and_never_before() {
        let life = 320 * SECOND;
        let mut marks = Marks::default();
        assert_eq!(marks.pass(A, life, 1_000 * SECOND, SeqId(7)), None);
        // Less than a thirty-second of the life later no mark is made.
        assert_eq!(marks.pass(A, life, 1_005 * SECOND, SeqId(9)), None);
        assert_eq!(marks.pass(A, life, 1_010 * SECOND, SeqId(12)), None);
        assert_eq!(marks.pass(A, life, 1_320 * SECOND - 1, SeqId(20)), None);
        assert_eq!(
            marks.pass(A, life, 1_320 * SECOND, SeqId(20)),
            Some(SeqId(7))
        );
        assert_eq!(
            marks.pass(A, life, 1_329 * SECOND, SeqId(20)),
            Some(SeqId(7))
        );
        assert_eq!(
            marks.pass(A, life, 1_330 * SECOND, SeqId(20)),
            Some(SeqId(12))
        );
        assert_eq!(
            marks.pass(A, life, 9_999 * SECOND, SeqId(20)),
            Some(SeqId(20))
        );
        assert_eq!(
            marks.collections[&A].len(),
            1,
            "what is used up is forgotten"
        );
    }

    #[test]
    fn what_is_left_is_told_without_a_mark_until_it_is_cleared() {
        let life = 320 * SECOND;
        let mut marks = Marks::default();
        assert_eq!(
            marks.left(A, life, u64::MAX),
            None,
            "nothing is known of it"
        );
        marks.pass(A, life, 1_000 * SECOND, SeqId(7));
        marks.pass(A, life, 1_020 * SECOND, SeqId(9));
        assert_eq!(marks.left(A, life, 1_320 * SECOND - 1), None);
        assert_eq!(marks.left(A, life, 1_320 * SECOND), Some(SeqId(7)));
        marks.clear(A, SeqId(7));
        assert_eq!(marks.left(A, life, 1_339 * SECOND), None);
        assert_eq!(marks.left(A, life, 1_340 * SECOND), Some(SeqId(9)));
        assert_eq!(
            marks.left(A, life, 1_000 * SECOND),
            None,
            "a clock set back"
        );
    }

    #[test]
    fn a_fork_is_as_old_as_its_source_and_no_more_than_it_holds() {
        const FORK: CollectionId = CollectionId(uuid::Uuid::from_u128(2));
        let life = 320 * SECOND;
        let mut marks = Marks::default();
        marks.pass(A, life, 1_000 * SECOND, SeqId(7));
        marks.pass(A, life, 1_020 * SECOND, SeqId(12));
        marks.fork(A, FORK, SeqId(9));
        assert_eq!(marks.left(FORK, life, 1_320 * SECOND), Some(SeqId(7)));
        assert_eq!(marks.left(FORK, life, 1_340 * SECOND), Some(SeqId(9)));
        marks.clear(A, SeqId(7));
        marks.fork(A, FORK, SeqId(9));
        assert_eq!(marks.left(FORK, life, 1_320 * SECOND), None);
    }

    #[test]
    fn marks_survive_a_restart_and_damaged_ones_are_dropped() {
        let storage = MemoryStorage::default();
        let mut marks = Marks::read(&storage).expect("none are fine");
        marks.pass(A, SECOND, 5 * SECOND, SeqId(3));
        marks.write(&storage).expect("they can be written");
        assert_eq!(Marks::read(&storage).expect("they are sound"), marks);
        let mut bytes = storage.read(FILE).expect("the file is there");
        let last = bytes.len() - 5;
        bytes[last] ^= 1;
        storage.remove_file(FILE).expect("it can be removed");
        storage.insert(FILE, bytes).expect("the name is free");
        assert_eq!(Marks::read(&storage).expect("dropped"), Marks::default());
        marks.retain(|_| false);
        assert_eq!(
            marks.pass(A, SECOND, 9 * SECOND, SeqId(3)),
            None,
            "it was forgotten"
        );
    }

    #[test]
    fn a_life_is_a_whole_number_of_seconds() {
        let of = |value: Value| {
            let mut metadata = Map::new();
            metadata.insert(TTL_SECONDS.to_owned(), value);
            life(Some(&metadata))
        };
        for minute in [60.into(), 60.0.into()] {
            assert_eq!(of(minute).expect("allowed"), Some(60 * SECOND));
        }
        assert_eq!(life(None).expect("none"), None);
        for wrong in [
            0.into(),
            (-1).into(),
            1.5.into(),
            "60".into(),
            u64::MAX.into(),
            0.0.into(),
            1e15.into(),
            1e300.into(),
        ] {
            let error = of(wrong).expect_err("refused");
            assert!(
                error.message().contains("a whole number of seconds"),
                "{error}"
            );
        }
    }
}
