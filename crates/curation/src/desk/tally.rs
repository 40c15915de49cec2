//! How many rows there are of each dataset, context and label, and between which times.
//!
//! What must stay true: it is what counting all rows anew tells, whatever was put and taken away; where rows say
//! something that it does not count, such as a list of datasets, it says so and tells nothing.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::Row;
use crate::fields::Context;

/// Rows of a dataset by context; the last number is of those that have none.
pub(crate) type ByContext = [u64; Context::ALL.len() + 1];

/// See the head of this file.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Tally {
    /// By dataset; those that have none are of the one without a name.
    datasets: BTreeMap<String, ByContext>,
    /// Rows that have each label, by the number of its name.
    labels: Vec<u64>,
    /// The first and the last time, with how many rows are of each.
    first: End,
    last: End,
    /// Rows that say when they were observed.
    dated: u64,
    /// Rows that say something which is not counted.
    odd: u64,
}

/// The first or the last time, and how many rows are of it; of none while it has to be looked for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct End {
    at: f64,
    rows: u64,
}

impl End {
    /// Takes in a time; `beyond` is how one that lies beyond the end compares with it. `known` are the times before.
    fn add(&mut self, at: f64, known: u64, beyond: Ordering) {
        let order = at.total_cmp(&self.at);
        if known == 0 || (self.rows > 0 && order == beyond) {
            *self = Self { at, rows: 1 };
        } else if self.rows > 0 && order.is_eq() {
            self.rows += 1;
        }
    }

    fn remove(&mut self, at: f64) {
        if at.total_cmp(&self.at).is_eq() {
            self.rows = self.rows.saturating_sub(1);
        }
    }
}

impl Tally {
    /// Takes in that a row stands where another one stood.
    pub(super) fn change(&mut self, old: Option<&Row>, new: Option<&Row>) {
        // The new one first, so that a time which both have is never without a row.
        if let Some(new) = new {
            self.add(new);
        }
        if let Some(old) = old {
            self.remove(old);
        }
    }

    fn add(&mut self, row: &Row) {
        if let Some(of_it) = self.datasets.get_mut(&row.dataset) {
            of_it[place(row)] += 1;
        } else {
            let of_it = self.datasets.entry(row.dataset.clone()).or_default();
            of_it[place(row)] += 1;
        }
        if let Some(label) = row.label {
            let label = label as usize;
            if label >= self.labels.len() {
                self.labels.resize(label + 1, 0);
            }
            self.labels[label] += 1;
        }
        if row.is_dated {
            self.first.add(row.observed_at, self.dated, Ordering::Less);
            self.last
                .add(row.observed_at, self.dated, Ordering::Greater);
            self.dated += 1;
        }
        self.odd += u64::from(row.is_odd);
    }

    fn remove(&mut self, row: &Row) {
        if let Some(of_it) = self.datasets.get_mut(&row.dataset) {
            of_it[place(row)] -= 1;
            if of_it.iter().all(|rows| *rows == 0) {
                self.datasets.remove(&row.dataset);
            }
        }
        if let Some(label) = row.label {
            self.labels[label as usize] -= 1;
        }
        if row.is_dated {
            self.first.remove(row.observed_at);
            self.last.remove(row.observed_at);
            self.dated -= 1;
        }
        self.odd -= u64::from(row.is_odd);
    }

    /// Whether the first or the last time has to be looked for.
    fn lacks_an_end(&self) -> bool {
        self.dated > 0 && (self.first.rows == 0 || self.last.rows == 0)
    }

    /// The first and the last time; `rows` are all rows, which are looked at where the one at an end is gone.
    pub(super) fn observed<'a>(
        &mut self,
        rows: impl Iterator<Item = &'a Row>,
    ) -> Option<(f64, f64)> {
        if self.lacks_an_end() {
            let dated = rows.filter(|row| row.is_dated);
            for (known, row) in (0..).zip(dated) {
                self.first.add(row.observed_at, known, Ordering::Less);
                self.last.add(row.observed_at, known, Ordering::Greater);
            }
        }
        (self.dated > 0).then_some((self.first.at, self.last.at))
    }

    /// Rows by dataset and context; `None` where that is not all that rows say of it.
    pub(crate) fn datasets(&self) -> Option<&BTreeMap<String, ByContext>> {
        (self.odd == 0).then_some(&self.datasets)
    }

    /// The numbers of the labels that rows have, with how many have each.
    pub(crate) fn labels(&self) -> impl Iterator<Item = (u32, u64)> {
        let counted = (0..).zip(self.labels.iter().copied());
        counted.filter(|(_, rows)| *rows > 0)
    }

    /// Whether a row is of this dataset.
    pub(super) fn has_dataset(&self, name: &str) -> bool {
        self.datasets.contains_key(name)
    }
}

/// Where a row counts within its dataset.
fn place(row: &Row) -> usize {
    row.context
        .map_or(Context::ALL.len(), |context| context as usize)
}
