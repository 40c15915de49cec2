//! Metadata keys that logged batches bring to a collection's schema, counted before they are applied.
//!
//! What must stay true: a key counts from the moment its batch is logged, so that writers together
//! cannot take the schema past its limit; keys that the schema has are always taken, however many it
//! has; applying a batch asks nobody.

use std::sync::Arc;

use hashbrown::HashSet;

use crate::model::{MetadataColumn, Schema, Value};
use crate::{Error, Result};

/// The keys of admitted batches that the schema did not have when they were admitted.
#[derive(Default)]
pub(super) struct NewKeys(HashSet<Arc<str>>);

impl NewKeys {
    /// The keys that a batch with `metadata` brings. Fails where `schema` would have more than `most`
    /// with them and with those that are on their way to it.
    pub(super) fn brought(
        &mut self,
        metadata: &MetadataColumn,
        schema: &Schema,
        most: usize,
    ) -> Result<Vec<Arc<str>>> {
        let brought = self.unknown(metadata, schema);
        let beyond = |on_their_way: usize| {
            !brought.is_empty() && schema.metadata_keys() + on_their_way + brought.len() > most
        };
        if beyond(self.0.len()) {
            // Some may have arrived meanwhile.
            self.0.retain(|key| !schema.keys.contains_key(&**key));
        }
        if beyond(self.0.len()) {
            return Err(Error::invalid(format!(
                "The schema of the collection has {} metadata keys, and the batch brings {} more; at \
                 most {most} are allowed (schema_keys_max). Say in values what differs from record to \
                 record, or write to another collection.",
                schema.metadata_keys() + self.0.len(),
                brought.len()
            )));
        }
        Ok(brought)
    }

    /// Notes keys of a batch that is logged now.
    pub(super) fn note(&mut self, keys: impl IntoIterator<Item = Arc<str>>) {
        self.0.extend(keys);
    }

    /// Forgets all: every logged batch is applied.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The keys of cells with a value that neither the schema nor an earlier batch has.
    fn unknown(&self, metadata: &MetadataColumn, schema: &Schema) -> Vec<Arc<str>> {
        let is_known = |key: &Arc<str>| schema.keys.contains_key(&**key) || self.0.contains(key);
        let keys = metadata.keys();
        if keys.iter().all(is_known) {
            return Vec::new();
        }
        let mut has_value = vec![false; keys.len()];
        for (key, value) in (0..metadata.len()).flat_map(|row| metadata.cells(row)) {
            has_value[*key as usize] |= *value != Value::Null;
        }
        let pairs = keys.iter().zip(has_value);
        let unknown = pairs.filter(|(key, has_value)| *has_value && !is_known(key));
        unknown.map(|(key, _)| key.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ValueKind;

    fn row(cells: &[(&str, Value)]) -> MetadataColumn {
        let mut metadata = MetadataColumn::default();
        metadata.push_row(cells.iter().cloned());
        metadata
    }

    fn one(key: &str) -> MetadataColumn {
        row(&[(key, Value::Int(1))])
    }

    #[test]
    fn keys_on_their_way_count_until_they_are_applied_or_given_up() {
        let (mut schema, mut keys) = (Schema::default(), NewKeys::default());
        assert_eq!(schema.metadata_keys(), 0);
        for key in ["a", "b"] {
            let brought = keys.brought(&one(key), &schema, 2).expect("there is room");
            assert_eq!(brought.len(), 1);
            keys.note(brought);
        }
        let full = keys.brought(&one("c"), &schema, 2).expect_err("it is full");
        let message = "has 2 metadata keys, and the batch brings 1 more; at most 2 are allowed";
        assert!(full.message().contains(message), "{full}");
        let known = keys.brought(&one("a"), &schema, 2);
        assert!(known.expect("it is known").is_empty());
        // One that is applied counts once, though it is noted still.
        schema.discover("a", ValueKind::Int);
        let brought = keys.brought(&one("c"), &schema, 3);
        assert_eq!(brought.expect("there is room").len(), 1);
        keys.clear();
        assert_eq!(keys.brought(&one("c"), &schema, 2).expect("room").len(), 1);
    }

    #[test]
    fn a_schema_past_the_limit_takes_keys_that_it_has_and_deletions_of_any() {
        let (mut schema, mut keys) = (Schema::default(), NewKeys::default());
        schema.discover("a", ValueKind::Int);
        schema.discover("b", ValueKind::Int);
        let known = row(&[("a", Value::Bool(true)), ("unknown", Value::Null)]);
        let brought = keys.brought(&known, &schema, 1);
        assert!(brought.expect("nothing is new").is_empty());
        assert!(keys.brought(&one("c"), &schema, 1).is_err());
    }
}
