//! Functions attached to collections: attached, found, detached, and their outputs kept true.
//!
//! What must stay true: an input has one function at most; what says so is in the schema of the
//! output, so that whoever deletes that has detached the function, and both change in one
//! transaction. A read of an output first brings it up to date, so nothing is worked out that
//! nobody reads, and nobody else writes to an output; it takes a bounded share of the time of those who read, and where it cannot be done
//! they are answered what is there. A read that must not wait changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::{Database, Inner};
use crate::backup::Change;
use crate::catalog::{CollectionRow, Manifest};
use crate::control::Component;
use crate::indexing::LiveCollection;
use crate::model::{
    AttachedFunction, CollectionId, CollectionScope, CollectionUpdate, Consistency, Embeddings,
    Function, FunctionDetails, FunctionSource, GetRequest, Include, MetadataColumn, NewCollection,
    Operation, OptionalStrings, ReadLevel, RecordBatch, Schema, SeqId, Strings, Value,
};
use crate::query::{Counted, Snapshot, census, get};
use crate::{Error, Result};

/// The record of a [`Function::RecordCounter`].
const COUNTER_ID: &str = "function_output";
/// Filling that takes longer is made once in [`REST_FACTOR`] times what it takes.
const QUICK: Duration = Duration::from_millis(20);
/// See [`QUICK`].
const REST_FACTOR: u32 = 10;
/// An output that is older is made again even where nothing was written: records also expire.
const AGE_MAX: Duration = Duration::from_secs(30);

/// The metadata of one record of an output, by the record's id.
type Rows = BTreeMap<String, Vec<(&'static str, Value)>>;

impl Database {
    /// Attaches `function` to a collection under `name`: a new collection called `output_name`, in
    /// the same database, from now on holds what it comes to. Answers whether it is new: the very
    /// same function may be attached again. `AlreadyExists` where the collection has another
    /// function, or where there is a collection called `output_name`.
    pub fn attach_function(
        &self,
        scope: CollectionScope<'_>,
        name: &str,
        function: Function,
        output_name: &str,
    ) -> Result<(AttachedFunction, bool)> {
        let inner = &self.inner;
        let input = inner.scoped(scope)?;
        inner.check_open()?;
        let _changes = inner.changes.lock();
        inner.scoped(scope)?;
        if let Some(output) = inner.output_of(input.id) {
            let found = told(&output)?;
            let details = &found.source.details;
            let same = (details.name.as_str(), details.function, &*found.output_name);
            return if same == (name, function, output_name) {
                Ok((found, false))
            } else {
                Err(Error::already_exists(format!(
                    "collection already has an attached function: name={}, function={}, \
                     output_collection={}",
                    details.name,
                    details.function.name(),
                    found.output_name
                )))
            };
        }
        if inner.input_of(&input).is_some() {
            return Err(Error::invalid(
                "cannot attach function to an output collection",
            ));
        }
        let output = inner.make_output(scope, name, function, output_name)?;
        Ok((told(&output)?, true))
    }

    /// The function that is attached to a collection under `name`; `NotFound`.
    pub fn attached_function(
        &self,
        scope: CollectionScope<'_>,
        name: &str,
    ) -> Result<AttachedFunction> {
        let output = self.inner.output_named(scope, name)?;
        told(&output)
    }

    /// Detaches a function: its output, which stays where `delete_output` does not say otherwise, is
    /// an ordinary collection from now on.
    pub fn detach_function(
        &self,
        scope: CollectionScope<'_>,
        name: &str,
        delete_output: bool,
    ) -> Result<()> {
        let output = self.inner.output_named(scope, name)?;
        let place = output.info();
        if delete_output {
            return self.delete_collection(&place.tenant, &place.database, &place.name);
        }
        let output = CollectionScope {
            id: output.id,
            ..scope
        };
        self.change_collection(output, |schema| CollectionUpdate {
            schema: Some(Schema {
                source: None,
                ..schema.clone()
            }),
            ..CollectionUpdate::default()
        })
    }
}

impl Inner {
    /// Makes the output of a function; the caller holds `changes`.
    fn make_output(
        &self,
        scope: CollectionScope<'_>,
        name: &str,
        function: Function,
        output_name: &str,
    ) -> Result<Arc<LiveCollection>> {
        let collections = self.collections.read();
        if collections
            .named(scope.tenant, scope.database, output_name)
            .is_some()
        {
            return Err(Error::already_exists(format!(
                "Output collection [{output_name}] already exists"
            )));
        }
        drop(collections);
        let output = CollectionId::random();
        let source = FunctionSource {
            id: Uuid::new_v4(),
            details: FunctionDetails {
                name: name.to_owned(),
                function,
                input: scope.id,
                output,
            },
        };
        let new = NewCollection {
            tenant: scope.tenant.to_owned(),
            database: scope.database.to_owned(),
            name: output_name.to_owned(),
            metadata: None,
            schema: Schema {
                source: Some(source),
                ..Schema::default()
            },
            get_or_create: false,
        };
        self.expect_room_for_collection(scope.tenant, &new.schema)?;
        let collection = self.catalog.create_collection(output, &new)?;
        self.note(|| Change::Collection(Box::new(collection.clone())));
        Ok(self.take_in(CollectionRow {
            collection,
            manifest: Manifest::default(),
        }))
    }

    /// The output of the function that is attached to `input`.
    fn output_of(&self, input: CollectionId) -> Option<Arc<LiveCollection>> {
        let collections = self.collections.read();
        let mut all = collections.by_id.values();
        all.find(|one| source_of(one).is_some_and(|source| source.details.input == input))
            .cloned()
    }

    /// The collection that `output` is filled from, where it is one that a function fills.
    fn input_of(&self, output: &LiveCollection) -> Option<Arc<LiveCollection>> {
        let source = source_of(output)?;
        self.live(source.details.input)
    }

    /// Fails where a function fills `collection`, which would undo what others write to it.
    pub(super) fn expect_no_output(&self, collection: &LiveCollection) -> Result<()> {
        let Some(source) = source_of(collection) else {
            return Ok(());
        };
        let FunctionDetails { name, input, .. } = source.details;
        if self.live(input).is_none() {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "The collection is the output of the function `{name}`, which is attached to the collection {input} and \
             alone writes to it; detach the function, which can leave the output as it is, to write to it"
        )))
    }

    fn output_named(&self, scope: CollectionScope<'_>, name: &str) -> Result<Arc<LiveCollection>> {
        let input = self.scoped(scope)?;
        let found = self
            .output_of(input.id)
            .filter(|output| source_of(output).is_some_and(|source| source.details.name == name));
        found.ok_or_else(|| {
            Error::not_found(format!(
                "Attached function not found: `{name}` does not exist on collection {}",
                scope.id
            ))
        })
    }

    /// Brings `collection` up to date where a function fills it and a read with this consistency may
    /// wait for that.
    pub(super) fn fill(&self, collection: &Arc<LiveCollection>, consistency: Consistency) {
        if consistency.read_level == Some(ReadLevel::IndexOnly) {
            return;
        }
        let Some(source) = source_of(collection) else {
            return;
        };
        let Some(input) = self.live(source.details.input) else {
            return;
        };
        let mut filled = collection.filled.lock();
        let begun = self.config.clock.monotonic();
        if begun < filled.not_before {
            return;
        }
        let aged = begun.saturating_sub(filled.at) >= AGE_MAX;
        let before = filled.seen.filter(|_| !aged);
        let outcome = self.fill_from(source.details.function, &input, collection, before);
        let ended = self.config.clock.monotonic();
        let took = ended.saturating_sub(begun);
        if took > QUICK {
            filled.not_before = ended + took * REST_FACTOR;
        }
        match outcome {
            Ok(seen) => {
                if Some(seen) != before {
                    filled.at = ended;
                }
                filled.seen = Some(seen);
                filled.last_error = None;
            }
            Err(error) => filled.last_error = Some(error.to_string()),
        }
    }

    /// Makes `output` hold what `function` comes to, unless `input` has nothing behind `before`.
    /// Answers the SeqId of `input` up to which it does.
    fn fill_from(
        &self,
        function: Function,
        input: &Arc<LiveCollection>,
        output: &Arc<LiveCollection>,
        before: Option<SeqId>,
    ) -> Result<SeqId> {
        // What is not visible yet is not waited for: readers of the input do not see it either.
        if before == Some(input.visible()) {
            return Ok(input.visible());
        }
        let snapshot = self.seen(input)?;
        let wanted = match function {
            Function::RecordCounter => counter(&snapshot),
            Function::Statistics => statistics(&snapshot, self.config.limits.id_bytes_max)?,
        };
        self.await_sight(output, Consistency::everything())?;
        let there = get(
            &*self.seen(output)?,
            &GetRequest {
                include: Include {
                    metadatas: true,
                    ..Include::default()
                },
                ..GetRequest::default()
            },
        )?;
        let metadata = there.metadatas.unwrap_or_default();
        self.make_equal(output, wanted, &there.ids, &metadata)?;
        Ok(snapshot.visible)
    }

    /// Writes what `wanted` has and the records `ids` have not, and deletes what it has not.
    fn make_equal(
        &self,
        output: &Arc<LiveCollection>,
        mut wanted: Rows,
        ids: &Strings,
        metadata: &MetadataColumn,
    ) -> Result<()> {
        let mut gone = Strings::default();
        for (row, id) in ids.iter().enumerate() {
            match wanted.get(id) {
                None => gone.push(id),
                Some(cells) if is_row(cells, metadata, row) => {
                    wanted.remove(id);
                }
                Some(_) => {}
            }
        }
        let gone = (!gone.is_empty()).then(|| RecordBatch::deletion(gone));
        let written = (!wanted.is_empty()).then(|| upserts(&wanted)).transpose()?;
        let most = self.config.limits.batch_records_max.max(1);
        for batch in [gone, written].into_iter().flatten() {
            for from in (0..batch.len()).step_by(most) {
                let part = batch.rows(from..batch.len().min(from + most));
                let _writing = self.controls.enter(Component::Producer)?;
                self.check_open()?;
                self.expect_room_for(output, &part)?;
                self.append(output, part)?;
            }
        }
        self.await_sight(output, Consistency::everything())
    }
}

/// What fills `collection`.
fn source_of(collection: &LiveCollection) -> Option<FunctionSource> {
    let info = collection.info();
    let source = info.schema.source.as_ref()?;
    (source.details.output == collection.id).then(|| source.clone())
}

/// What users are told of the function that fills `output`.
fn told(output: &LiveCollection) -> Result<AttachedFunction> {
    let source = source_of(output).ok_or_else(|| Error::missing_collection(output.id))?;
    let filled = output.filled.lock();
    Ok(AttachedFunction {
        source,
        output_name: output.info().name.clone(),
        seen: filled.seen.map_or(0, |seen| seen.0),
        last_error: filled.last_error.clone(),
    })
}

fn counter(snapshot: &Snapshot) -> Rows {
    let count = Value::Int(snapshot.count as i64);
    Rows::from([(COUNTER_ID.to_owned(), vec![("total_count", count)])])
}

/// The records of [`Function::Statistics`], with ids of at most `id_bytes_max` bytes.
fn statistics(snapshot: &Snapshot, id_bytes_max: usize) -> Result<Rows> {
    let text = |text: &str| Value::Str(text.into());
    let mut rows = Rows::new();
    for Counted {
        key,
        value,
        records,
    } in census(snapshot)?
    {
        let (kind, written, label) = written(&value);
        let mut id = format!("{key}::{kind}::{written}");
        if id.len() > id_bytes_max {
            let hash = xxhash_rust::xxh3::xxh3_128(id.as_bytes());
            id = format!("{kind}::{hash:032x}");
        }
        let mut cells = vec![
            ("key", text(&key)),
            ("value", text(&written)),
            ("type", text(kind)),
            ("count", Value::Int(records as i64)),
        ];
        if let Some(label) = label {
            cells.push(("value_label", text(label)));
        }
        rows.insert(id, cells);
    }
    let total = vec![
        ("key", text("summary")),
        ("value", text("total_count")),
        ("type", text("str")),
        ("count", Value::Int(snapshot.count as i64)),
    ];
    rows.insert("summary::total_count".to_owned(), total);
    Ok(rows)
}

/// The type of a single value, the value as text, and its label.
fn written(value: &Value) -> (&'static str, String, Option<&str>) {
    match value {
        Value::Bool(value) => ("bool", value.to_string(), None),
        Value::Int(value) => ("int", value.to_string(), None),
        // With a point or an exponent, so that no float reads as an integer does.
        Value::Float(value) => ("float", format!("{value:?}"), None),
        Value::Str(value) => ("str", value.to_string(), None),
        Value::Sparse(sparse) => {
            let dimension = sparse.indices.first().copied().unwrap_or_default();
            let label = sparse.tokens.as_ref().and_then(|tokens| tokens.first());
            ("sparse", dimension.to_string(), label.map(String::as_str))
        }
        // A census knows single values only.
        list => ("list", format!("{list:?}"), None),
    }
}

/// Whether the record in `row` has just these cells.
fn is_row(cells: &[(&'static str, Value)], metadata: &MetadataColumn, row: usize) -> bool {
    let has =
        |(key, value): (&str, &Value)| cells.iter().any(|one| one.0 == key && one.1 == *value);
    metadata.row(row).count() == cells.len() && metadata.row(row).all(has)
}

/// Writes `rows` anew. A record needs a vector; that of an output is one number, which says nothing.
fn upserts(rows: &Rows) -> Result<RecordBatch> {
    let mut metadata = MetadataColumn::default();
    for cells in rows.values() {
        metadata.push_row(cells.iter().map(|(key, value)| (*key, value.clone())));
    }
    let embeddings = Embeddings::new(1, vec![0.0; rows.len()]);
    Ok(RecordBatch {
        operations: vec![Operation::Upsert; rows.len()],
        ids: rows.keys().map(String::as_str).collect(),
        embeddings: embeddings
            .ok_or_else(|| Error::internal("a row of one number each is a whole column"))?,
        documents: OptionalStrings::absent(rows.len()),
        uris: OptionalStrings::absent(rows.len()),
        metadata,
    })
}
