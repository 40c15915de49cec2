//! Rows of all parts in `get` order: by ascending birth, the SeqId of a record's first insertion.
//!
//! What must stay true: the order depends on births alone (then on part and row), never on how
//! rows are spread over parts; no more rows are looked at than the page asked for needs, where
//! the parts' own orders allow that.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::plan::Chosen;
use super::{Location, Part, Snapshot};
use crate::Result;
use crate::segments::RowSet;

/// The rows to pass over, and how many to take then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    /// How many to pass over.
    pub(super) offset: usize,
    /// How many to take at most.
    pub(super) limit: usize,
}

/// The rows of `chosen` in `get` order.
pub(super) fn ordered(
    snapshot: &Snapshot,
    chosen: &Chosen,
    window: Window,
) -> Result<Vec<Location>> {
    if window.limit == 0 {
        return Ok(Vec::new());
    }
    let mut parts = Vec::with_capacity(snapshot.parts.len());
    match chosen {
        Chosen::Listed(locations) => {
            return Ok(page(sorted(snapshot, locations.clone())?, window));
        }
        Chosen::Everything => {
            for (number, part) in snapshot.parts.iter().enumerate() {
                parts.push(Run::new(
                    number,
                    part.source.births()?,
                    live_in_order(part)?,
                ));
            }
        }
        Chosen::Sets(sets) => {
            for (number, (part, set)) in snapshot.parts.iter().zip(sets).enumerate() {
                parts.push(Run::new(
                    number,
                    part.source.births()?,
                    set_in_order(part, set)?,
                ));
            }
        }
    }
    Ok(merged(parts, window))
}

fn sorted(snapshot: &Snapshot, locations: Vec<Location>) -> Result<Vec<Location>> {
    let mut keyed = Vec::with_capacity(locations.len());
    for location in locations {
        let births = snapshot.parts[location.part].source.births()?;
        keyed.push((births[location.row as usize], location));
    }
    keyed.sort_unstable();
    Ok(keyed.into_iter().map(|(_, location)| location).collect())
}

fn page(mut locations: Vec<Location>, window: Window) -> Vec<Location> {
    let from = window.offset.min(locations.len());
    let to = window
        .offset
        .saturating_add(window.limit)
        .min(locations.len());
    locations.truncate(to);
    locations.drain(..from);
    locations
}

type Rows<'a> = Box<dyn Iterator<Item = u32> + 'a>;

/// The live rows of a part by ascending birth.
fn live_in_order(part: &Part) -> Result<Rows<'_>> {
    let rows = part.source.rows();
    let dead = &*part.dead;
    Ok(match (part.source.order()?, dead.is_empty()) {
        (None, true) => Box::new(0..rows),
        (None, false) => {
            let mut dead = dead.iter().peekable();
            Box::new((0..rows).filter(move |row| dead.next_if_eq(row).is_none()))
        }
        (Some(order), true) => Box::new(order.iter().copied()),
        (Some(order), false) => Box::new(order.iter().copied().filter(|row| !dead.contains(*row))),
    })
}

/// The rows of `set` by ascending birth: along the part's order, or, where they are few, sorted.
fn set_in_order<'a>(part: &'a Part, set: &'a RowSet) -> Result<Rows<'a>> {
    let Some(order) = part.source.order()? else {
        return Ok(Box::new(set.iter()));
    };
    let count = set.len();
    if u64::from(count) * u64::from(count.max(1).ilog2() + 1) >= u64::from(set.rows()) {
        return Ok(Box::new(
            order.iter().copied().filter(|row| set.contains(*row)),
        ));
    }
    let births = part.source.births()?;
    let mut rows: Vec<u32> = set.iter().collect();
    rows.sort_unstable_by_key(|row| (births[*row as usize], *row));
    Ok(Box::new(rows.into_iter()))
}

/// Rows of one part by ascending birth.
struct Run<'a> {
    part: usize,
    births: &'a [u64],
    rows: Rows<'a>,
}

impl<'a> Run<'a> {
    fn new(part: usize, births: &'a [u64], rows: Rows<'a>) -> Self {
        Self { part, births, rows }
    }

    fn next(&mut self) -> Option<(u64, Location)> {
        let row = self.rows.next()?;
        Some((
            self.births[row as usize],
            Location {
                part: self.part,
                row,
            },
        ))
    }
}

/// The rows of all `runs` by ascending birth, as far as `window` wants them.
fn merged(mut runs: Vec<Run<'_>>, window: Window) -> Vec<Location> {
    let mut heads: BinaryHeap<Reverse<(u64, Location, usize)>> = BinaryHeap::new();
    for (number, run) in runs.iter_mut().enumerate() {
        heads.extend(
            run.next()
                .map(|(birth, location)| Reverse((birth, location, number))),
        );
    }
    let (mut passed, mut taken) = (0, Vec::new());
    while taken.len() < window.limit {
        let Some(Reverse((_, mut location, number))) = heads.pop() else {
            break;
        };
        // Births of parts seldom interleave: this run goes on until another one is due.
        let due = heads.peek().map_or(u64::MAX, |Reverse((birth, ..))| *birth);
        let run = &mut runs[number];
        loop {
            if passed < window.offset {
                passed += 1;
            } else {
                taken.push(location);
                if taken.len() == window.limit {
                    break;
                }
            }
            let Some((birth, next)) = run.next() else {
                break;
            };
            if birth >= due {
                heads.push(Reverse((birth, next, number)));
                break;
            }
            location = next;
        }
    }
    taken
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn merge(births: &[Vec<u64>], window: Window) -> Vec<Location> {
        let runs = births.iter().enumerate().map(|(part, births)| {
            let mut rows: Vec<u32> = (0..births.len() as u32).collect();
            rows.sort_by_key(|row| births[*row as usize]);
            Run::new(part, births, Box::new(rows.into_iter()))
        });
        merged(runs.collect(), window)
    }

    #[test]
    fn runs_interleave_by_birth() {
        let births = [vec![5, 1, 9], vec![], vec![2, 3], vec![10]];
        let at = |part, row| Location { part, row };
        let all = [at(0, 1), at(2, 0), at(2, 1), at(0, 0), at(0, 2), at(3, 0)];
        assert_eq!(
            merge(
                &births,
                Window {
                    offset: 0,
                    limit: usize::MAX
                }
            ),
            all
        );
        assert_eq!(
            merge(
                &births,
                Window {
                    offset: 2,
                    limit: 3
                }
            ),
            all[2..5]
        );
        assert_eq!(
            merge(
                &births,
                Window {
                    offset: 6,
                    limit: 1
                }
            ),
            []
        );
        assert_eq!(
            merge(
                &births,
                Window {
                    offset: usize::MAX,
                    limit: usize::MAX
                }
            ),
            []
        );
    }

    proptest! {
        #[test]
        fn merged_page_is_a_page_of_everything_sorted(
            parts in prop::collection::vec(prop::collection::vec(0..40u64, 0..12), 0..6),
            offset in 0..30usize,
            limit in 0..30usize,
        ) {
            let mut all: Vec<(u64, Location)> = parts
                .iter()
                .enumerate()
                .flat_map(|(part, births)| {
                    births.iter().enumerate().map(move |(row, &birth)| {
                        (birth, Location { part, row: row as u32 })
                    })
                })
                .collect();
            all.sort_unstable();
            let all: Vec<Location> = all.into_iter().map(|(_, location)| location).collect();
            let expected: Vec<Location> = all.into_iter().skip(offset).take(limit).collect();
            prop_assert_eq!(merge(&parts, Window { offset, limit }), expected);
        }
    }
}
