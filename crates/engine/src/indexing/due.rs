//! Which segments of a collection are due to be merged.
//!
//! What must stay true: a merge leaves fewer segments, fewer dead rows, or an index that was
//! missing or damaged, so that merging comes to an end.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::LiveCollection;
use super::collection::read_dead;
use super::publish::{MergeChoice, is_bearable};
use crate::Error;
use crate::config::Upkeep;
use crate::model::SegmentId;
use crate::query::Part;
use crate::segments::Source;
use crate::segments::vector;

/// How long nobody writes to a collection before the segments that were written without an index
/// of their vectors get one.
const QUIET: Duration = Duration::from_secs(1);

/// Rows a second at which memory fills faster than vectors should be indexed.
const HURRIED_ROWS: u64 = 10_000;

impl LiveCollection {
    /// The segments that are due to be merged, if any: one that is more than a quarter dead or
    /// an index of which is damaged, those without an index once nobody writes or somebody
    /// searches, or as many as fan out of one size class.
    pub(crate) fn due_merge(&self, upkeep: &Upkeep, now: Duration) -> Option<MergeChoice> {
        if self.merge_setback(now).is_some() {
            return None;
        }
        let segments = self.loaded()?.working.lock().segments.clone();
        if let Some(id) = damaged(&segments).or_else(|| self.mostly_dead(&segments)) {
            return Some(MergeChoice { segments: vec![id] });
        }
        if self.is_quiet(now) || self.is_searched() {
            let unindexed = segments.iter();
            let unindexed = unindexed.filter(|(_, part)| self.is_unindexed(&part.source));
            let unindexed: Vec<_> = unindexed.map(Size::of).collect();
            if !unindexed.is_empty() {
                return Some(as_many_as_fit(&unindexed, upkeep));
            }
        }
        let fan_out = upkeep.merge_fan_out;
        let mut classes: BTreeMap<u32, Vec<Size>> = BTreeMap::new();
        for one in segments.iter().map(Size::of) {
            if is_bearable(upkeep, one.rows * 2, one.bytes * 2) {
                let class = one.rows.max(1).ilog2() / (fan_out as u32).ilog2().max(1);
                classes.entry(class).or_default().push(one);
            }
        }
        classes.values().find_map(|alike| {
            let choice = as_many_as_fit(alike, upkeep);
            (alike.len() >= fan_out && choice.segments.len() > 1).then_some(choice)
        })
    }

    /// Lets no merge be due before `until`, since one failed.
    pub(crate) fn put_merges_off(&self, until: Duration, error: Error) {
        *self.merge_setback.lock() = Some((until, error));
    }

    /// Why merges are put off, while they are.
    pub(crate) fn merge_setback(&self, now: Duration) -> Option<Error> {
        let setback = self.merge_setback.lock();
        let setback = setback.as_ref().filter(|(until, _)| *until > now);
        setback.map(|(_, error)| error.clone())
    }

    /// Whether a segment has no index though one would pay.
    fn is_unindexed(&self, source: &Source) -> bool {
        let vectors = !self.unindexable.load(Ordering::Relaxed) && lacks_vector_index(source);
        vectors || lacks_text_index(source) && self.info().schema.documents_filterable()
    }

    fn mostly_dead(&self, segments: &[(SegmentId, Part)]) -> Option<SegmentId> {
        let published = self.published.lock();
        let found = segments.iter().find(|(id, part)| {
            let rows = u64::from(part.source.rows());
            let row = published.segments.iter().find(|row| row.id == *id);
            row.is_some_and(|row| read_dead(&row.dead).is_ok_and(|dead| dead.len() * 4 > rows))
        });
        found.map(|(id, _)| *id)
    }

    /// Whether nobody has written for a while.
    fn is_quiet(&self, now: Duration) -> bool {
        !self.has_backlog() && now.saturating_sub(self.written_at()) >= QUIET
    }

    /// Whether rows come faster than their vectors should be indexed, and nobody searches them.
    pub(crate) fn is_hurried(&self, now: Duration) -> bool {
        let filling = now.saturating_sub(self.filling_since()).as_millis() as u64;
        !self.is_quiet(now)
            && !self.is_searched()
            && self.memory().1.saturating_mul(1000) >= filling.saturating_mul(HURRIED_ROWS)
    }
}

/// Whether a segment has no index of its documents though one would pay.
fn lacks_text_index(source: &Source) -> bool {
    matches!(source, Source::Segment(segment) if segment.lacks_text_index())
}

/// Whether a segment has no index of its vectors though one would pay.
pub(super) fn lacks_vector_index(source: &Source) -> bool {
    matches!(source, Source::Segment(_))
        && source.vector_index().is_none()
        && vector::pays(source.rows() as usize, source.dimension())
}

fn damaged(segments: &[(SegmentId, Part)]) -> Option<SegmentId> {
    let found = segments
        .iter()
        .find(|(_, part)| part.source.has_damaged_index());
    found.map(|(id, _)| *id)
}

/// A segment with what merging it takes.
struct Size {
    id: SegmentId,
    rows: u64,
    bytes: u64,
}

impl Size {
    fn of((id, part): &(SegmentId, Part)) -> Self {
        Self {
            id: *id,
            rows: u64::from(part.source.rows()),
            bytes: part.source.merge_bytes(),
        }
    }
}

/// The first of them, as many as one merge may take; at least one.
fn as_many_as_fit(segments: &[Size], upkeep: &Upkeep) -> MergeChoice {
    let (mut rows, mut bytes) = (0, 0);
    let fitting = segments.iter().enumerate().take_while(|(at, one)| {
        rows += one.rows;
        bytes += one.bytes;
        *at == 0 || is_bearable(upkeep, rows, bytes)
    });
    MergeChoice {
        segments: fitting.map(|(_, one)| one.id).collect(),
    }
}
