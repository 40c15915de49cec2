//! The rows that filters pass, kept for filters that come again.
//!
//! What must stay true: rows of a segment never change, so which of them pass a filter never does; whether a
//! row is alive is not asked here. A filter is noted when it comes, and its rows are kept from the second
//! time on, so that one that never comes again costs no memory. Of so many filters only, and of none that is
//! long itself.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use super::RowSet;
use super::vector::{Mask, VectorIndex};
use crate::Result;
use crate::model::{Comparison, Filter};

/// Filters that are noted: with the rows of each in their own order and in that of the index about four
/// bytes a row of the segment.
const FILTERS: usize = 16;
/// Values and ids in a filter from which on it is not noted.
const VALUES_MAX: usize = 256;

/// What the last filters passed.
#[derive(Default)]
pub struct FilterCache {
    /// The one that came last first.
    noted: Mutex<VecDeque<Noted>>,
}

struct Noted {
    filter: Filter,
    passed: Option<Arc<Filtered>>,
}

/// The rows that pass a filter, dead or alive.
pub struct Filtered {
    rows: RowSet,
    count: u32,
    /// The same in the order of the index.
    mask: Mutex<Option<Arc<Mask>>>,
}

impl Filtered {
    fn new(rows: RowSet) -> Self {
        Self {
            count: rows.len(),
            rows,
            mask: Mutex::default(),
        }
    }

    /// The rows.
    pub fn rows(&self) -> &RowSet {
        &self.rows
    }

    /// How many they are.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The mask that admits them; `index` is that of the segment.
    pub fn mask(&self, index: &VectorIndex) -> Result<Arc<Mask>> {
        let mut mask = self.mask.lock();
        if let Some(mask) = &*mask {
            return Ok(mask.clone());
        }
        let made = Arc::new(index.mask(&self.rows)?);
        *mask = Some(made.clone());
        Ok(made)
    }

    fn heap_bytes(&self) -> usize {
        let mask = self.mask.lock();
        let mask = mask.as_ref().map_or(0, |mask| mask.heap_bytes());
        size_of::<Self>() + size_of_val(self.rows.words()) + mask
    }
}

impl FilterCache {
    /// The rows that pass `filter`, which is in normal form, where it came before; `find` finds them if they
    /// are not known yet. `None` where it comes for the first time.
    pub fn passed(
        &self,
        filter: &Filter,
        find: impl FnOnce() -> Result<RowSet>,
    ) -> Result<Option<Arc<Filtered>>> {
        if values(filter) >= VALUES_MAX {
            return Ok(None);
        }
        let (is_new, known) = self.note(filter);
        if is_new || known.is_some() {
            return Ok(known);
        }
        let passed = Arc::new(Filtered::new(find()?));
        let mut noted = self.noted.lock();
        if let Some(one) = noted.iter_mut().find(|one| one.filter == *filter) {
            one.passed = Some(passed.clone());
        }
        Ok(Some(passed))
    }

    /// Notes that a filter came: whether for the first time, and its rows where they are known.
    fn note(&self, filter: &Filter) -> (bool, Option<Arc<Filtered>>) {
        let mut noted = self.noted.lock();
        let at = noted.iter().position(|one| one.filter == *filter);
        let before = at.and_then(|at| noted.remove(at));
        let is_new = before.is_none();
        let one = before.unwrap_or_else(|| Noted {
            filter: filter.clone(),
            passed: None,
        });
        let known = one.passed.clone();
        noted.push_front(one);
        noted.truncate(FILTERS);
        (is_new, known)
    }

    /// Bytes held in memory.
    pub(super) fn heap_bytes(&self) -> usize {
        let noted = self.noted.lock();
        let kept = noted.iter().filter_map(|one| one.passed.as_ref());
        kept.map(|passed| passed.heap_bytes()).sum()
    }
}

/// Values and ids that a filter names.
fn values(filter: &Filter) -> usize {
    match filter {
        Filter::And(members) | Filter::Or(members) => members.iter().map(values).sum(),
        Filter::Metadata { comparison, .. } => match comparison {
            Comparison::In(values) | Comparison::NotIn(values) => values.len(),
            _ => 1,
        },
        Filter::Document(_) => 1,
        Filter::Id { ids, .. } => ids.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Scalar;

    fn equal(value: i64) -> Filter {
        Filter::Metadata {
            key: "n".to_owned(),
            comparison: Comparison::Equal(Scalar::Int(value)),
        }
    }

    fn known(cache: &FilterCache, filter: &Filter, row: u32) -> Option<Vec<u32>> {
        let find = || {
            let mut rows = RowSet::none(100);
            rows.insert(row);
            Ok(rows)
        };
        let passed = cache.passed(filter, find).expect("nothing fails");
        passed.map(|passed| passed.rows().iter().collect())
    }

    #[test]
    fn rows_are_kept_from_the_second_time_on_of_the_last_filters() {
        let cache = FilterCache::default();
        assert_eq!(known(&cache, &equal(7), 1), None);
        assert_eq!(known(&cache, &equal(7), 2), Some(vec![2]));
        assert_eq!(known(&cache, &equal(7), 3), Some(vec![2]));
        assert!(cache.heap_bytes() >= 16);
        for other in 100..100 + FILTERS as i64 - 1 {
            assert_eq!(known(&cache, &equal(other), 4), None);
        }
        assert_eq!(known(&cache, &equal(7), 5), Some(vec![2]));
        for other in 200..200 + FILTERS as i64 {
            assert_eq!(known(&cache, &equal(other), 6), None);
        }
        assert_eq!(known(&cache, &equal(7), 8), None);
        assert_eq!(cache.heap_bytes(), 0);
    }

    #[test]
    fn what_fails_is_asked_again_and_long_filters_are_not_noted() {
        let cache = FilterCache::default();
        assert_eq!(known(&cache, &equal(7), 1), None);
        let failed = cache.passed(&equal(7), || Err(crate::Error::internal("no")));
        assert!(failed.is_err());
        assert_eq!(known(&cache, &equal(7), 2), Some(vec![2]));
        let ids = (0..VALUES_MAX).map(|id| id.to_string()).collect();
        let long = Filter::Id {
            ids,
            negated: false,
        };
        assert_eq!(known(&cache, &long, 1), None);
        assert_eq!(known(&cache, &long, 1), None);
    }
}
