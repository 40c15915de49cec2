//! What a request may say of a collection's index, and how it becomes a schema.
//!
//! A request speaks in one of three ways: a `schema`, a `configuration`, or `hnsw:` keys in the
//! metadata. What must stay true: what the user says wins field by field over the defaults; two
//! ways that both say something of their own contradict each other and are refused; blocks of the
//! distributed server's index are read and checked, and only their space is kept.

use serde::Deserialize;
use serde_json::{Map, Value};
use vermilion_engine::model::{HnswSettings, Schema, Space, VectorSettings};

use crate::ApiError;
use crate::json::WholeNumbers;

mod check;
mod merge;

use check::{check_hnsw, check_schema};
use merge::{is_standard, over_defaults};

type Metadata = Map<String, Value>;

/// The member `configuration` of a request for a new collection.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename = "CollectionConfiguration")]
pub(crate) struct Configuration {
    hnsw: Option<HnswBlock>,
    spann: Option<SpannBlock>,
    embedding_function: Option<EmbeddingFunction>,
    /// Whether writers are answered before readers see what they wrote.
    pub(crate) batch_ingest: Option<bool>,
}

/// An index as a configuration describes it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct HnswBlock {
    space: Option<Space>,
    ef_construction: Option<u64>,
    ef_search: Option<u64>,
    max_neighbors: Option<u64>,
    num_threads: Option<u64>,
    resize_factor: Option<f64>,
    sync_threshold: Option<u64>,
    batch_size: Option<u64>,
}

/// An index of the distributed server as a configuration describes it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct SpannBlock {
    search_nprobe: Option<u32>,
    write_nprobe: Option<u32>,
    space: Option<Space>,
    ef_construction: Option<u64>,
    ef_search: Option<u64>,
    max_neighbors: Option<u64>,
    reassign_neighbor_count: Option<u32>,
    split_threshold: Option<u32>,
    merge_threshold: Option<u32>,
}

/// A description of what the client computes vectors with, word for word.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "Value")]
struct EmbeddingFunction(Value);

impl TryFrom<Value> for EmbeddingFunction {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        let kind = value.get("type").and_then(Value::as_str);
        match kind {
            Some("legacy" | "unknown") => Ok(Self(value)),
            Some("known") if value.get("name").is_some_and(Value::is_string) => Ok(Self(value)),
            Some("known") => Err("missing field `name`".to_owned()),
            Some(other) => Err(format!(
                "unknown variant `{other}`, expected one of `legacy`, `known`, `unknown`"
            )),
            None => Err("missing field `type`".to_owned()),
        }
    }
}

/// Whether a description is what a client says of itself when its user said nothing.
fn is_standard_function(function: Option<&Value>) -> bool {
    let Some(function) = function else {
        return true;
    };
    let kind = function.get("type").and_then(Value::as_str);
    let name = function.get("name").and_then(Value::as_str);
    matches!(kind, Some("legacy" | "unknown")) || name == Some("default")
}

impl From<HnswBlock> for (Option<Space>, HnswSettings) {
    fn from(block: HnswBlock) -> Self {
        let settings = HnswSettings {
            ef_construction: block.ef_construction,
            max_neighbors: block.max_neighbors,
            ef_search: block.ef_search,
            num_threads: block.num_threads,
            batch_size: block.batch_size,
            sync_threshold: block.sync_threshold,
            resize_factor: block.resize_factor,
        };
        (block.space, settings)
    }
}

/// Makes the schema of a new collection of what the request says.
pub(crate) fn reconcile(
    schema: Option<Schema>,
    configuration: Option<Configuration>,
    metadata: Option<&Metadata>,
) -> Result<Schema, ApiError> {
    if let Some(schema) = &schema {
        check_schema(schema).map_err(|problem| ApiError::validation("schema", problem))?;
    }
    let standard = Schema::default();
    let asked = asked_vectors(configuration.unwrap_or_default(), metadata, &standard)?;
    let plain = is_plain(&asked, &standard);
    if schema
        .as_ref()
        .is_some_and(|schema| !is_standard(schema, &standard))
        && !plain
    {
        return Err(ApiError::invalid(
            "Failed to reconcile schema: Cannot set both collection config and schema \
             simultaneously",
        ));
    }
    let Some(schema) = schema else {
        return Ok(with_vectors(standard, &asked));
    };
    let own = !is_standard(&schema, &standard);
    let merged = over_defaults(schema, standard);
    if let Some(hnsw) = merged.vectors().and_then(|vectors| vectors.hnsw.as_ref()) {
        check_hnsw(hnsw).map_err(|problem| {
            ApiError::invalid(format!(
                "Failed to reconcile schema: Invalid HNSW configuration: {problem}"
            ))
        })?;
    }
    // A schema of the user's own says everything; else the configuration may add to it.
    Ok(if own {
        merged
    } else {
        with_vectors(merged, &asked)
    })
}

/// The vector settings that a configuration and the metadata ask for, complete.
fn asked_vectors(
    configuration: Configuration,
    metadata: Option<&Metadata>,
    standard: &Schema,
) -> Result<VectorSettings, ApiError> {
    if configuration.hnsw.is_some() && configuration.spann.is_some() {
        return Err(ApiError::invalid(
            "Multiple vector index configurations provided",
        ));
    }
    let base = standard.vectors().cloned().unwrap_or_default();
    let of_spann = configuration.spann.is_some();
    let (space, hnsw) = match (configuration.hnsw, configuration.spann) {
        (_, Some(spann)) => (spann.space, HnswSettings::default()),
        (hnsw, None) => hnsw.unwrap_or_default().into(),
    };
    let mut asked = VectorSettings {
        space: space.or(base.space),
        hnsw: Some(merge::hnsw(&hnsw, &base.hnsw.clone().unwrap_or_default())),
        embedding_function: configuration.embedding_function.map(|function| function.0),
        ..VectorSettings::default()
    };
    // A block of the distributed server's index counts even where it says the defaults.
    let said_nothing = !of_spann && asked.space == base.space && asked.hnsw == base.hnsw;
    if said_nothing && let Some((space, hnsw)) = legacy(metadata)? {
        asked.space = space.or(base.space);
        asked.hnsw = Some(merge::hnsw(&hnsw, &base.hnsw.unwrap_or_default()));
    }
    Ok(asked)
}

/// Whether `asked` asks for nothing but the defaults.
fn is_plain(asked: &VectorSettings, standard: &Schema) -> bool {
    let base = standard.vectors();
    base.is_some_and(|base| asked.space == base.space && asked.hnsw == base.hnsw)
        && is_standard_function(asked.embedding_function.as_ref())
}

fn with_vectors(mut schema: Schema, asked: &VectorSettings) -> Schema {
    schema.change_vectors(|vectors| {
        vectors.space = asked.space;
        vectors.hnsw.clone_from(&asked.hnsw);
        if asked.embedding_function.is_some() {
            vectors
                .embedding_function
                .clone_from(&asked.embedding_function);
        }
    });
    schema
}

/// The index settings that `hnsw:` keys of the metadata ask for.
fn legacy(metadata: Option<&Metadata>) -> Result<Option<(Option<Space>, HnswSettings)>, ApiError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields, default)]
    #[derive(Default)]
    struct Legacy {
        #[serde(rename = "hnsw:space")]
        space: Option<Space>,
        #[serde(rename = "hnsw:construction_ef")]
        ef_construction: Option<u64>,
        #[serde(rename = "hnsw:search_ef")]
        ef_search: Option<u64>,
        #[serde(rename = "hnsw:M")]
        max_neighbors: Option<u64>,
        #[serde(rename = "hnsw:num_threads")]
        num_threads: Option<u64>,
        #[serde(rename = "hnsw:resize_factor")]
        resize_factor: Option<f64>,
        #[serde(rename = "hnsw:sync_threshold")]
        sync_threshold: Option<u64>,
        #[serde(rename = "hnsw:batch_size")]
        batch_size: Option<u64>,
    }

    let keys = metadata.into_iter().flatten();
    let keys: Metadata = keys
        .filter(|(key, _)| key.starts_with("hnsw:"))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    if keys.is_empty() {
        return Ok(None);
    }
    let wrong = || ApiError::invalid("Failed to parse hnsw parameters from segment metadata");
    let legacy = Legacy::deserialize(WholeNumbers(Value::Object(keys))).map_err(|_| wrong())?;
    let hnsw = HnswSettings {
        ef_construction: legacy.ef_construction,
        max_neighbors: legacy.max_neighbors,
        ef_search: legacy.ef_search,
        num_threads: legacy.num_threads,
        batch_size: legacy.batch_size,
        sync_threshold: legacy.sync_threshold,
        resize_factor: legacy.resize_factor,
    };
    check_hnsw(&hnsw).map_err(|_| wrong())?;
    Ok(Some((legacy.space, hnsw)))
}

/// The member `new_configuration` of a request to change a collection.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ConfigurationChange {
    hnsw: Option<HnswChange>,
    spann: Option<SpannChange>,
    embedding_function: Option<EmbeddingFunction>,
    /// The same as in a new collection's configuration.
    pub(crate) batch_ingest: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct HnswChange {
    ef_search: Option<u64>,
    max_neighbors: Option<u64>,
    num_threads: Option<u64>,
    resize_factor: Option<f64>,
    sync_threshold: Option<u64>,
    batch_size: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct SpannChange {
    search_nprobe: Option<u32>,
    ef_search: Option<u64>,
}

impl ConfigurationChange {
    /// Refuses a change that contradicts itself.
    pub(crate) fn check(&self) -> Result<(), ApiError> {
        if self.hnsw.is_some() && self.spann.is_some() {
            return Err(ApiError::invalid(
                "Multiple vector index configurations provided",
            ));
        }
        Ok(())
    }

    /// Whether the change changes nothing here.
    pub fn is_empty(&self) -> bool {
        self.hnsw.is_none() && self.embedding_function.is_none()
    }

    /// Changes `schema`, in its defaults and for the vectors of records. Settings of the
    /// distributed server's index are passed over.
    pub fn apply(&self, schema: &mut Schema) {
        schema.change_vectors(|vectors| {
            if let Some(EmbeddingFunction(function)) = &self.embedding_function {
                vectors.embedding_function = Some(function.clone());
            }
            let Some(change) = &self.hnsw else {
                return;
            };
            let wanted = HnswSettings {
                ef_construction: None,
                max_neighbors: change.max_neighbors,
                ef_search: change.ef_search,
                num_threads: change.num_threads,
                batch_size: change.batch_size,
                sync_threshold: change.sync_threshold,
                resize_factor: change.resize_factor,
            };
            let current = vectors.hnsw.take().unwrap_or_default();
            vectors.hnsw = Some(merge::hnsw(&wanted, &current));
        });
    }
}

/// The member `configuration_json` of a collection with `schema`.
pub(crate) fn configuration_json(schema: &Schema) -> Value {
    let vectors = schema.vectors().cloned().unwrap_or_default();
    let hnsw = merge::hnsw(
        &vectors.hnsw.unwrap_or_default(),
        &HnswSettings::standard(1),
    );
    serde_json::json!({
        "hnsw": {
            "space": schema.space(),
            "ef_construction": hnsw.ef_construction,
            "ef_search": hnsw.ef_search,
            "max_neighbors": hnsw.max_neighbors,
            "resize_factor": hnsw.resize_factor,
            "sync_threshold": hnsw.sync_threshold,
        },
        "spann": null,
        "embedding_function": vectors.embedding_function,
    })
}

#[cfg(test)]
mod tests;
