//! Records in the order of metadata values, and what the values of many records come to.
//!
//! What must stay true: the answer depends on values and on the `get` order alone, never on how
//! rows are spread over parts; an order keeps no more records in memory than twice the page that is
//! asked for and those before it; different values are bounded, and more of them are an error.

use std::cmp::Ordering;

use hashbrown::HashMap;

use super::fetch::fetch;
use super::order::{Window, ordered};
use super::plan::{Missing, choose};
use super::values::{compare_values, each_metadata, write_value};
use super::{Location, Snapshot};
use crate::model::{Aggregate, Aggregated, Fetched, GetRequest, OrderBy, Survey, Value};
use crate::segments::Keys;
use crate::{Error, Result};

/// Records beyond twice those that an order keeps that it holds before it drops some.
const SPARE_MEMBERS: usize = 1024;
/// Different values of a key that are held at most.
pub(super) const DISTINCT_MAX: usize = 1_000_000;

/// Records as `request` asks, in the order of `survey`, and what it asks of all that are meant.
pub fn survey(
    snapshot: &Snapshot,
    request: &GetRequest,
    survey: &Survey,
) -> Result<(Fetched, Vec<Aggregated>)> {
    let all = Window {
        offset: 0,
        limit: usize::MAX,
    };
    let chosen = choose(snapshot, &request.selection, Missing::Skipped)?;
    let locations = ordered(snapshot, &chosen, all)?;
    let from = request.offset as usize;
    let limit = request.limit.map_or(usize::MAX, |limit| limit as usize);
    let mut best = Best {
        order_by: &survey.order_by,
        keep: from.saturating_add(limit),
        members: Vec::new(),
    };
    let mut totals: Vec<Total<'_>> = survey.aggregates.iter().map(Total::of).collect();
    let keys: Vec<&str> = keys_of(survey).collect();
    let keys = Keys::These(&keys);
    each_metadata(
        snapshot,
        locations.iter().copied(),
        keys,
        |place, values| {
            for total in &mut totals {
                total.note(values.of(total.aggregate.key()))?;
            }
            if !survey.order_by.is_empty() {
                let values = survey.order_by.iter().map(|by| values.of(&by.key).cloned());
                best.push(values.collect(), place);
            }
            Ok(())
        },
    )?;
    let in_order = if survey.order_by.is_empty() {
        locations
    } else {
        best.finish().map(|place| locations[place]).collect()
    };
    let page: Vec<Location> = in_order.into_iter().skip(from).take(limit).collect();
    let aggregated = totals.into_iter().map(Total::finish);
    Ok((
        fetch(snapshot, &page, request.include)?,
        aggregated.collect(),
    ))
}

/// The keys whose values decide about an answer.
fn keys_of(survey: &Survey) -> impl Iterator<Item = &str> {
    let of_aggregates = survey.aggregates.iter().map(Aggregate::key);
    of_aggregates.chain(survey.order_by.iter().map(|by| &*by.key))
}

/// A record by its values and its place in the `get` order.
type Member = (Vec<Option<Value>>, usize);

/// The first records of an order.
struct Best<'a> {
    order_by: &'a [OrderBy],
    keep: usize,
    members: Vec<Member>,
}

impl Best<'_> {
    fn push(&mut self, values: Vec<Option<Value>>, place: usize) {
        self.members.push((values, place));
        let room = self.keep.saturating_mul(2).saturating_add(SPARE_MEMBERS);
        if self.members.len() >= room {
            self.sort();
            self.members.truncate(self.keep);
        }
    }

    fn sort(&mut self) {
        let order_by = self.order_by;
        self.members.sort_by(|a, b| compare(order_by, a, b));
    }

    /// The places of the records in their order.
    fn finish(mut self) -> impl Iterator<Item = usize> {
        self.sort();
        self.members.into_iter().map(|(_, place)| place)
    }
}

fn compare(order_by: &[OrderBy], a: &Member, b: &Member) -> Ordering {
    for (by, (left, right)) in order_by.iter().zip(a.0.iter().zip(&b.0)) {
        let ordering = match (left, right) {
            (Some(left), Some(right)) if by.descending => compare_values(right, left),
            (Some(left), Some(right)) => compare_values(left, right),
            (left, right) => left.is_none().cmp(&right.is_none()),
        };
        if ordering.is_ne() {
            return ordering;
        }
    }
    a.1.cmp(&b.1)
}

/// An aggregate that is being worked out.
struct Total<'a> {
    aggregate: &'a Aggregate,
    /// Values by the bytes that are equal where they are.
    counts: HashMap<Vec<u8>, (Value, u64)>,
    missing: u64,
    extreme: Option<Value>,
    /// Room for the bytes of a value.
    name: Vec<u8>,
}

impl<'a> Total<'a> {
    fn of(aggregate: &'a Aggregate) -> Self {
        Self {
            aggregate,
            counts: HashMap::new(),
            missing: 0,
            extreme: None,
            name: Vec::new(),
        }
    }

    /// Takes in the value of one record.
    fn note(&mut self, value: Option<&Value>) -> Result<()> {
        let Some(value) = value else {
            self.missing += 1;
            return Ok(());
        };
        match self.aggregate {
            Aggregate::Min { .. } => self.note_extreme(value, Ordering::Less),
            Aggregate::Max { .. } => self.note_extreme(value, Ordering::Greater),
            Aggregate::CountBy { .. } | Aggregate::Distinct { .. } => self.note_counts(value)?,
        }
        Ok(())
    }

    fn note_extreme(&mut self, value: &Value, wanted: Ordering) {
        let Some(elements) = elements(value) else {
            self.note_if_extreme(value, wanted);
            return;
        };
        for element in &elements {
            self.note_if_extreme(element, wanted);
        }
    }

    fn note_if_extreme(&mut self, value: &Value, wanted: Ordering) {
        let better = |held: &Value| compare_values(value, held) == wanted;
        if self.extreme.as_ref().is_none_or(better) {
            self.extreme = Some(value.clone());
        }
    }

    fn note_counts(&mut self, value: &Value) -> Result<()> {
        let Some(elements) = elements(value) else {
            return self.count(value);
        };
        let mut names: Vec<(Vec<u8>, Value)> = Vec::new();
        for element in elements {
            let mut name = Vec::new();
            write_value(Some(&element), &mut name);
            names.push((name, element));
        }
        names.sort_by(|a, b| a.0.cmp(&b.0));
        names.dedup_by(|a, b| a.0 == b.0);
        names
            .iter()
            .try_for_each(|(_, element)| self.count(element))
    }

    fn count(&mut self, value: &Value) -> Result<()> {
        self.name.clear();
        write_value(Some(value), &mut self.name);
        if let Some((_, records)) = self.counts.get_mut(&self.name) {
            *records += 1;
            return Ok(());
        }
        self.counts.insert(self.name.clone(), (value.clone(), 1));
        if self.counts.len() > DISTINCT_MAX {
            return Err(Error::invalid(format!(
                "The key [{}] has more than {DISTINCT_MAX} different values among these records; \
                 choose fewer records by a filter.",
                self.aggregate.key()
            )));
        }
        Ok(())
    }

    fn finish(self) -> Aggregated {
        let distinct = self.counts.len() as u64;
        let mut values: Vec<(Value, u64)> = self.counts.into_values().collect();
        match self.aggregate {
            Aggregate::Min { .. } | Aggregate::Max { .. } => Aggregated::Value(self.extreme),
            Aggregate::CountBy { limit, .. } => {
                values.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| by_value(&a.0, &b.0)));
                values.truncate(*limit);
                Aggregated::Counts {
                    values,
                    distinct,
                    missing: self.missing,
                }
            }
            Aggregate::Distinct { limit, .. } => {
                values.sort_by(|a, b| by_value(&a.0, &b.0));
                values.truncate(*limit);
                Aggregated::Values {
                    values: values.into_iter().map(|(value, _)| value).collect(),
                    distinct,
                }
            }
        }
    }
}

/// The order of values, in which an integer comes before the float that equals it.
fn by_value(a: &Value, b: &Value) -> Ordering {
    compare_values(a, b)
        .then_with(|| matches!(a, Value::Float(_)).cmp(&matches!(b, Value::Float(_))))
}

/// The elements of a list; `None` of what is none.
fn elements(value: &Value) -> Option<Vec<Value>> {
    Some(match value {
        Value::Bools(list) => list.iter().copied().map(Value::Bool).collect(),
        Value::Ints(list) => list.iter().copied().map(Value::Int).collect(),
        Value::Floats(list) => list.iter().copied().map(Value::Float).collect(),
        Value::Strs(list) => {
            let texts = list.iter().map(|text| Value::Str(text.as_str().into()));
            texts.collect()
        }
        // A sparse vector is no value to be ordered or counted.
        Value::Sparse(_) | Value::Null => Vec::new(),
        Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Str(_) => return None,
    })
}
