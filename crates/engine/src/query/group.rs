//! Groups of ranked records, and who is kept of each.
//!
//! What must stay true: which group a record is in and who is kept depends on values and scores
//! alone, ties going to the record that is ranked first; types do not mix, except that integers and
//! floats compare as the exact numbers they are.

use std::cmp::Ordering;

use hashbrown::HashMap;

use super::Snapshot;
use super::search::Ranked;
use super::values::{compare_values, each_metadata, write_value};
use crate::Result;
use crate::model::{GroupBy, GroupKey, Value};
use crate::segments::Keys;

/// A record with the values that decide whether it is kept.
struct Member {
    /// Its place among the ranked.
    place: usize,
    /// A value for each part of the order; the score's is not here.
    values: Vec<Option<Value>>,
}

/// Those of `ranked` that are kept of their groups, in the same order.
pub(super) fn keep(
    snapshot: &Snapshot,
    ranked: Vec<Ranked>,
    group_by: &GroupBy,
) -> Result<Vec<Ranked>> {
    let mut groups: HashMap<Vec<u8>, Vec<Member>> = HashMap::new();
    let locations = ranked.iter().map(|record| record.location);
    let of_order = group_by.order.iter().filter_map(|key| match key {
        GroupKey::Score => None,
        GroupKey::Metadata(key) => Some(key),
    });
    let keys: Vec<&str> = group_by
        .keys
        .iter()
        .chain(of_order)
        .map(|key| &**key)
        .collect();
    each_metadata(snapshot, locations, Keys::These(&keys), |place, values| {
        let mut name = Vec::new();
        for key in &group_by.keys {
            write_value(values.of(key), &mut name);
        }
        let values = group_by.order.iter().map(|key| match key {
            GroupKey::Score => None,
            GroupKey::Metadata(key) => values.of(key).cloned(),
        });
        let values = values.collect();
        groups
            .entry(name)
            .or_default()
            .push(Member { place, values });
        Ok(())
    })?;
    let mut kept = vec![false; ranked.len()];
    for (_, mut members) in groups {
        members.sort_by(|a, b| order(a, b, &ranked, group_by));
        let first = members.iter().take(group_by.count as usize);
        first.for_each(|member| kept[member.place] = true);
    }
    let both = ranked.into_iter().zip(kept);
    Ok(both
        .filter_map(|(record, kept)| kept.then_some(record))
        .collect())
}

fn order(a: &Member, b: &Member, ranked: &[Ranked], group_by: &GroupBy) -> Ordering {
    let turned = |ordering: Ordering| {
        if group_by.largest {
            ordering.reverse()
        } else {
            ordering
        }
    };
    for (at, key) in group_by.order.iter().enumerate() {
        let ordering = match key {
            GroupKey::Score => {
                let (a, b) = (&ranked[a.place], &ranked[b.place]);
                // What is no finite number comes last, whichever end is kept.
                if a.score.is_finite() && b.score.is_finite() {
                    turned(a.by_score(b))
                } else {
                    a.by_score(b)
                }
            }
            GroupKey::Metadata(_) => match (&a.values[at], &b.values[at]) {
                (Some(a), Some(b)) => turned(compare_values(a, b)),
                // Records without a value come last, whichever end is kept.
                (a, b) => a.is_none().cmp(&b.is_none()),
            },
        };
        if ordering.is_ne() {
            return ordering;
        }
    }
    a.place.cmp(&b.place)
}
