//! How many records have each value of each metadata key.
//!
//! What must stay true: a record counts once for a value, however often a list of it holds that;
//! types do not mix; different values are bounded, and more of them are an error.

use hashbrown::HashMap;

use super::Snapshot;
use super::order::{Window, ordered};
use super::plan::{Missing, choose};
use super::survey::DISTINCT_MAX;
use super::values::{each_metadata, write_value};
use crate::model::{RecordSelection, SparseVector, Value};
use crate::segments::Keys;
use crate::{Error, Result};

/// A value of a metadata key, with how many records have it.
#[derive(Clone, Debug, PartialEq)]
pub struct Counted {
    /// The metadata key.
    pub key: String,
    /// The value, or an element of a list; of a sparse vector, one of its dimensions as a sparse
    /// vector of it alone, with the label that was met first.
    pub value: Value,
    /// Records that have it.
    pub records: u64,
}

/// How many records of `snapshot` have each value of each metadata key, in no order. Fails where
/// there are more than a million different values.
pub fn census(snapshot: &Snapshot) -> Result<Vec<Counted>> {
    let everything = RecordSelection::default();
    let chosen = choose(snapshot, &everything, Missing::Skipped)?;
    let all = Window {
        offset: 0,
        limit: usize::MAX,
    };
    let locations = ordered(snapshot, &chosen, all)?;
    let mut census = Census::default();
    each_metadata(snapshot, locations.into_iter(), Keys::All, |_, values| {
        values
            .all()
            .try_for_each(|(key, value)| census.note(key, value))
    })?;
    Ok(census.finish())
}

#[derive(Default)]
struct Census {
    /// For each key, values by the bytes that are equal where they are.
    counts: HashMap<String, HashMap<Vec<u8>, (Value, u64)>>,
    distinct: usize,
    bytes: Vec<u8>,
}

impl Census {
    fn note(&mut self, key: &str, value: &Value) -> Result<()> {
        match value {
            Value::Bools(list) => self.note_elements(key, list, |&one| Value::Bool(one)),
            Value::Ints(list) => self.note_elements(key, list, |&one| Value::Int(one)),
            Value::Floats(list) => self.note_elements(key, list, |&one| Value::Float(one)),
            Value::Strs(list) => {
                self.note_elements(key, list, |one| Value::Str(one.as_str().into()))
            }
            Value::Sparse(sparse) => {
                (0..sparse.indices.len()).try_for_each(|at| self.count(key, &dimension(sparse, at)))
            }
            single => self.count(key, single),
        }
    }

    fn note_elements<T>(
        &mut self,
        key: &str,
        list: &[T],
        single: impl Fn(&T) -> Value,
    ) -> Result<()> {
        let mut met: Vec<Value> = Vec::with_capacity(list.len());
        for element in list {
            let value = single(element);
            if !met.contains(&value) {
                self.count(key, &value)?;
                met.push(value);
            }
        }
        Ok(())
    }

    fn count(&mut self, key: &str, value: &Value) -> Result<()> {
        self.bytes.clear();
        match value {
            // Labels and weights do not tell dimensions apart.
            Value::Sparse(sparse) => {
                self.bytes.push(b's');
                self.bytes
                    .extend_from_slice(bytemuck::cast_slice(&sparse.indices));
            }
            value => write_value(Some(value), &mut self.bytes),
        }
        let values = self.counts.entry_ref(key).or_default();
        if let Some((_, records)) = values.get_mut(&self.bytes) {
            *records += 1;
            return Ok(());
        }
        self.distinct += 1;
        if self.distinct > DISTINCT_MAX {
            return Err(Error::invalid(format!(
                "The metadata of the records has more than {DISTINCT_MAX} different values, which \
                 is what is counted at most."
            )));
        }
        values.insert(self.bytes.clone(), (value.clone(), 1));
        Ok(())
    }

    fn finish(self) -> Vec<Counted> {
        let by_key = self.counts.into_iter().flat_map(|(key, values)| {
            values.into_values().map(move |(value, records)| Counted {
                key: key.clone(),
                value,
                records,
            })
        });
        by_key.collect()
    }
}

/// The dimension at place `at` of `sparse`, alone.
fn dimension(sparse: &SparseVector, at: usize) -> Value {
    let label = sparse.tokens.as_ref().and_then(|tokens| tokens.get(at));
    Value::from(SparseVector {
        indices: vec![sparse.indices[at]],
        values: vec![1.0],
        tokens: label.map(|label| vec![label.clone()]),
    })
}
