//! Spaces: collections whose metadata says which embedding set they hold.
//!
//! What must stay true: what makes a collection a space is in the metadata of the collection, so that
//! it goes where the collection goes and ends where it ends. A fork of a space is a space of its own
//! name; the embedding set leads to the one that is no fork, and to none where that does not tell.

mod contents;
mod datasets;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use serde_json::{Map, Value as Json, json};
use vermilion_engine::model::{
    Collection, CollectionId, CollectionScope, CollectionUpdate, NewCollection, Page, Schema,
    Space as Metric,
};
use vermilion_engine::{Database, ErrorKind, Result as EngineResult};
use vermilion_protocol::names::check_collection_name;

pub use self::datasets::DatasetSummary;
pub(crate) use self::datasets::{DATASETS, TRAINING_SINCE};

use crate::body::Head;
use crate::desk::EPOCHS;
use crate::expiry::RETENTION;
use crate::key::{canonical, embedding_set_key};
use crate::retrain::{Listed, PAGE_MAX, page};
use crate::roll_up::ROLLED;
use crate::{Curation, Refusal, Result};

/// The key of a collection's metadata that holds its embedding set as canonical JSON.
const SET: &str = "curation:embedding_set";
/// The key that holds the key of that.
const SET_KEY: &str = "curation:embedding_set_key";
/// Documents about batches.
pub(crate) const BATCHES: &str = "curation_batch";
/// Classes and datasets that a summary tells at most.
const VALUES_MAX: usize = 10_000;

/// Where spaces are looked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The tenant.
    pub tenant: String,
    /// The database.
    pub database: String,
}

/// Where the space of a key was found.
pub(crate) type Found = HashMap<(Place, String), CollectionId>;

/// A space.
#[derive(Clone, Debug, PartialEq)]
pub struct Space {
    /// Its collection.
    pub collection: Collection,
    /// What it holds.
    pub embedding_set: Json,
    /// The key of that.
    pub embedding_set_key: String,
}

/// What is told of a space.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SpaceSummary {
    /// Its name, that of its collection.
    pub space: String,
    /// The id of its collection.
    pub collection_id: String,
    /// What it holds.
    pub embedding_set: Json,
    /// The key of that.
    pub embedding_set_key: String,
    /// Numbers in its vectors.
    pub dim: Option<u32>,
    /// How it compares them.
    pub metric: Metric,
    /// Records in it.
    pub records: u64,
    /// Records of each context.
    pub contexts: BTreeMap<String, u64>,
    /// Its datasets, by name.
    pub datasets: Vec<DatasetSummary>,
    /// Classes that labels name, by name.
    pub classes: Vec<String>,
    /// Seconds since 1970 of the first and the last observation.
    pub first_observed_at: Option<f64>,
    /// See `first_observed_at`.
    pub last_observed_at: Option<f64>,
    /// The last position of its log.
    pub seq: u64,
    /// Operations that are logged and that readers do not see yet.
    pub index_lag: u64,
    /// Records whose scores are missing or of an earlier epoch; none until curation has read the space.
    pub stale_records: Option<usize>,
}

impl Space {
    /// The space that a collection is; `None` where it is none.
    pub(crate) fn of(collection: Collection) -> Option<Self> {
        let metadata = collection.metadata.as_ref()?;
        let set = serde_json::from_str(metadata.get(SET)?.as_str()?).ok()?;
        let key = metadata.get(SET_KEY)?.as_str()?.to_owned();
        Some(Self {
            collection,
            embedding_set: set,
            embedding_set_key: key,
        })
    }

    /// As the engine takes it.
    pub(crate) fn scope(&self) -> CollectionScope<'_> {
        CollectionScope {
            tenant: &self.collection.tenant,
            database: &self.collection.database,
            id: self.collection.id,
        }
    }

    /// What a document about `what` of this space is called.
    pub(crate) fn document_key(&self, what: &str) -> String {
        format!("{}/{what}", self.collection.id)
    }
}

/// The id that a text is.
pub(crate) fn collection_id(text: &str) -> Option<CollectionId> {
    uuid::Uuid::try_parse(text).ok().map(CollectionId)
}

/// The space that a document is about, by its key, and what of the space: see [`Space::document_key`].
pub(crate) fn place_of_document(key: &str) -> Option<(CollectionId, &str)> {
    let (space, rest) = key.split_once('/')?;
    Some((collection_id(space)?, rest))
}

impl Curation {
    /// The space that a collection is, wherever it is; `None` where it is none, or gone.
    pub(crate) fn space_anywhere(&self, id: CollectionId) -> EngineResult<Option<Space>> {
        match self.database.collection_anywhere(id) {
            Ok(collection) => Ok(Space::of(collection)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The space of that name or with that key.
    pub fn space(&self, place: &Place, name: &str) -> Result<Space> {
        let named = self
            .database
            .collection(&place.tenant, &place.database, name);
        if let Some(space) = named.ok().and_then(Space::of) {
            return Ok(space);
        }
        self.space_of_key(place, name)?.ok_or_else(|| {
            Refusal::new(
                404,
                "space_not_found",
                format!("There is no space `{name}`."),
            )
            .field("space")
            .hint("the name of a space or its embedding_set_key; GET /spaces lists them")
        })
    }

    /// Refuses a place that is not there.
    fn expect_place(&self, place: &Place) -> Result<()> {
        let found = self.database.database(&place.tenant, &place.database);
        match found {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let refusal = Refusal::new(404, "database_not_found", error.message());
                Err(refusal.field("database"))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Spaces of a database, by name, and how many there are.
    pub fn spaces(&self, place: &Place, asked: Listed) -> Result<(Vec<SpaceSummary>, usize)> {
        let page = page(asked.limit, asked.offset)?;
        self.expect_place(place)?;
        let all = self.all_spaces(place)?;
        // One that is deleted meanwhile is left out.
        let told = page.of(&all).map(|space| self.summary(space));
        let told: Result<Vec<_>> = told
            .filter(|told| !matches!(told, Err(refusal) if refusal.status == 404))
            .collect();
        Ok((told?, all.len()))
    }

    /// Embedding sets with their keys and spaces, by name; as many as a page may have unless fewer are asked for.
    pub fn embedding_sets(&self, place: &Place, asked: Listed) -> Result<Json> {
        let page = page(asked.limit.or(Some(PAGE_MAX)), asked.offset)?;
        self.expect_place(place)?;
        let sets = page.of(self.all_spaces(place)?).map(|space| {
            json!({
                "embedding_set": space.embedding_set,
                "embedding_set_key": space.embedding_set_key,
                "space": space.collection.name,
            })
        });
        Ok(sets.collect())
    }

    /// Deletes a space, its records and what is known of its datasets and batches.
    pub fn delete_space(&self, place: &Place, name: &str) -> Result<()> {
        let space = self.space(place, name)?;
        let name = &space.collection.name;
        self.database
            .delete_collection(&place.tenant, &place.database, name)?;
        self.clear_desk(space.collection.id);
        for kind in [DATASETS, BATCHES, RETENTION, EPOCHS, ROLLED] {
            for document in self.database.documents(kind, &space.document_key(""))? {
                self.database.delete_document(kind, &document.key)?;
            }
        }
        let mut book = self.book.lock();
        book.forget_space(&self.database, space.collection.id)
    }

    fn all_spaces(&self, place: &Place) -> Result<Vec<Space>> {
        let page = Page::default();
        let all = self
            .database
            .collections(&place.tenant, &place.database, page)?;
        let mut spaces: Vec<Space> = all.into_iter().filter_map(Space::of).collect();
        spaces.sort_by(|a, b| a.collection.name.cmp(&b.collection.name));
        Ok(spaces)
    }

    /// The space of a key: of several, which forks make, the one that is no fork. Refused where that does not tell.
    fn space_of_key(&self, place: &Place, key: &str) -> Result<Option<Space>> {
        let known = (place.clone(), key.to_owned());
        let id = self.found.lock().get(&known).copied();
        if let Some(id) = id {
            let scope = CollectionScope {
                tenant: &place.tenant,
                database: &place.database,
                id,
            };
            let found = self.database.collection_by_id(scope);
            let found = found.ok().and_then(Space::of);
            if let Some(space) = found.filter(|space| space.embedding_set_key == key) {
                return Ok(Some(space));
            }
        }
        // Where the place is not there, whoever makes a space says so.
        let all = self.all_spaces(place).unwrap_or_default().into_iter();
        let of_key: Vec<Space> = all.filter(|one| one.embedding_set_key == key).collect();
        let is_first = |space: &&Space| space.collection.origins.is_empty();
        let firsts: Vec<&Space> = of_key.iter().filter(is_first).collect();
        match (&firsts[..], &of_key[..]) {
            (_, []) => Ok(None),
            ([first], _) => {
                self.found.lock().insert(known, first.collection.id);
                Ok(Some((*first).clone()))
            }
            ([], [fork]) => Ok(Some(fork.clone())),
            _ => Err(ambiguous(key, &of_key)),
        }
    }

    /// The space that the head of a log means, where it is there already.
    pub(crate) fn known_space(&self, place: &Place, head: &Head) -> Result<Option<Space>> {
        let set = head.embedding_set.as_ref();
        if set.is_some_and(|set| !set.is_object()) {
            let message = "The embedding set is no JSON object.";
            return Err(Refusal::wrong("bad_embedding_set", message)
                .field("embedding_set")
                .hint(
                    "an object such as {\"model\": \"m\", \"version\": \"7\", \"layer\": \"fc2\"}",
                ));
        }
        let key = set.map(embedding_set_key);
        let Some(name) = &head.space else {
            let Some(key) = key else {
                let message = "The batch names no space.";
                return Err(Refusal::wrong("missing_field", message)
                    .field("embedding_set")
                    .hint("`embedding_set`, any JSON object, or `space`, a name"));
            };
            return self.space_of_key(place, &key);
        };
        let found = match self.space(place, name) {
            Ok(space) => Some(space),
            Err(refusal) if refusal.status == 404 => None,
            Err(refusal) => return Err(refusal),
        };
        let is_of = |space: &Space| Some(&space.embedding_set_key) == key.as_ref();
        let elsewhere = match &key {
            Some(key) if !found.as_ref().is_some_and(is_of) => self.space_of_key(place, key)?,
            _ => None,
        };
        let changed = match (&found, &key) {
            (Some(space), Some(key)) => space.embedding_set_key != *key,
            _ => false,
        };
        if changed || elsewhere.is_some() {
            let message = match elsewhere {
                Some(other) => format!(
                    "This embedding set is that of the space `{}`, not of `{name}`.",
                    other.collection.name
                ),
                None => format!("The space `{name}` has another embedding set."),
            };
            return Err(Refusal::new(409, "embedding_set_changed", message)
                .field("embedding_set")
                .hint("another model, version or layer is another space; leave out `space`"));
        }
        Ok(found)
    }

    /// Makes the space that the head of a log means.
    pub(crate) fn make_space(&self, place: &Place, head: &Head, metric: Metric) -> Result<Space> {
        let set = match &head.embedding_set {
            Some(set) => set.clone(),
            None => self.free_set(place, head),
        };
        let key = embedding_set_key(&set);
        let name = match &head.space {
            Some(name) => name.clone(),
            None => format!("space-{key}"),
        };
        check_collection_name("space", &name).map_err(|error| {
            Refusal::wrong("bad_space_name", error.message)
                .field("space")
                .hint("3 to 512 of a-z, A-Z, 0-9, `.`, `_` and `-`")
        })?;
        self.expect_place(place)?;
        let marks = marks(&set, &key);
        let mut schema = Schema::default();
        schema.change_vectors(|vectors| vectors.space = Some(metric));
        let made = self.database.create_collection(NewCollection {
            tenant: place.tenant.clone(),
            database: place.database.clone(),
            name: name.clone(),
            metadata: Some(marks.clone()),
            schema,
            get_or_create: true,
        })?;
        if let Some(space) = Space::of(made.clone()) {
            return Ok(space);
        }
        // A collection of that name was there: from now on it is a space.
        let mut metadata = made.metadata.unwrap_or_default();
        metadata.extend(marks);
        let scope = CollectionScope {
            tenant: &place.tenant,
            database: &place.database,
            id: made.id,
        };
        let update = CollectionUpdate {
            metadata: Some(metadata),
            ..CollectionUpdate::default()
        };
        self.database.update_collection(scope, update)?;
        self.space(place, &name)
    }

    /// An embedding set that says no more than the name of its space, and that no other space has: one that was
    /// renamed still has that of its first name.
    fn free_set(&self, place: &Place, head: &Head) -> Json {
        let mut set = json!({ "space": head.space });
        let all = self.all_spaces(place).unwrap_or_default();
        let mut number = 1;
        while all.iter().any(|other| other.embedding_set == set) {
            number += 1;
            set["number"] = number.into();
        }
        set
    }

    /// What is told of a space.
    pub fn summary(&self, space: &Space) -> Result<SpaceSummary> {
        let database: &Database = &self.database;
        let scope = space.scope();
        let status = database.indexing_status(scope)?;
        let contents = self.contents(space, status.total_operations)?;
        let observed = contents.observed;
        Ok(SpaceSummary {
            space: space.collection.name.clone(),
            collection_id: space.collection.id.to_string(),
            embedding_set: space.embedding_set.clone(),
            embedding_set_key: space.embedding_set_key.clone(),
            dim: database.collection_by_id(scope)?.dimension,
            metric: space.collection.schema.space(),
            records: contents.records,
            contexts: contents.contexts,
            datasets: self.dataset_summaries(space, contents.datasets, contents.by_context)?,
            classes: contents.classes,
            first_observed_at: observed.map(|(first, _)| first),
            last_observed_at: observed.map(|(_, last)| last),
            seq: status.total_operations,
            index_lag: status.total_operations - status.indexed_operations,
            stale_records: self.stale_records(space),
        })
    }

    /// See [`SpaceSummary::stale_records`].
    fn stale_records(&self, space: &Space) -> Option<usize> {
        let desk = self.desks.lock().get(&space.collection.id).cloned()?;
        let state = desk.state.lock();
        (state.as_of != 0).then(|| state.stale())
    }
}

/// The refusal of a key that several spaces have, none of which comes before the others.
fn ambiguous(key: &str, of_key: &[Space]) -> Refusal {
    let names = of_key
        .iter()
        .map(|one| format!("`{}`", one.collection.name));
    let names: Vec<String> = names.collect();
    let message = format!(
        "The embedding set `{key}` is that of several spaces: {}.",
        names.join(", ")
    );
    Refusal::new(409, "ambiguous_embedding_set", message)
        .field("embedding_set")
        .hint("name the one that is meant as `space`")
}

/// What the metadata of a collection says of a space.
fn marks(set: &Json, key: &str) -> Map<String, Json> {
    let mut marks = Map::new();
    marks.insert(SET.to_owned(), canonical(set).into());
    marks.insert(SET_KEY.to_owned(), key.into());
    marks
}

/// What a metric is called.
pub(crate) fn metric_name(metric: Metric) -> &'static str {
    match metric {
        Metric::Cosine => "cosine",
        Metric::L2 => "l2",
        Metric::Ip => "ip",
    }
}

/// The metric of that name.
pub(crate) fn metric_named(name: Option<&str>) -> Result<Option<Metric>> {
    match name {
        None => Ok(None),
        Some("cosine") => Ok(Some(Metric::Cosine)),
        Some("l2") => Ok(Some(Metric::L2)),
        Some("ip") => Ok(Some(Metric::Ip)),
        Some(other) => Err(
            Refusal::wrong("unknown_metric", format!("`{other}` is no metric."))
                .field("metric")
                .hint("cosine, l2, ip"),
        ),
    }
}
