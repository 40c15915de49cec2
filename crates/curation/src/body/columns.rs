//! A batch as JSON columns: lists of the same length, one for each field.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Head, Row, Scores, Time, Told, Vectors, json};
use crate::{Refusal, Thumbnail};

/// One value for all records, or one for each.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum OneOrEach {
    One(String),
    Each(Vec<Option<String>>),
}

type Texts = Option<Vec<Option<String>>>;

/// Columns have the plural of a field's name; the singular does as well.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    space: Option<String>,
    embedding_set: Option<Value>,
    #[serde(alias = "contexts")]
    context: Option<OneOrEach>,
    #[serde(alias = "datasets")]
    dataset: Option<OneOrEach>,
    dataset_metadata: Option<Map<String, Value>>,
    metric: Option<String>,
    class_names: Option<Vec<String>>,
    idempotency_key: Option<String>,
    assess: Option<bool>,
    #[serde(alias = "id")]
    ids: Texts,
    #[serde(alias = "embedding")]
    embeddings: Option<Vectors>,
    #[serde(alias = "input_uri")]
    input_uris: Texts,
    #[serde(alias = "target")]
    targets: Texts,
    #[serde(alias = "inference_class")]
    inference_classes: Texts,
    #[serde(alias = "label_class")]
    label_classes: Texts,
    #[serde(alias = "group")]
    groups: Texts,
    #[serde(alias = "quality_score")]
    quality_scores: Option<Vec<Option<f64>>>,
    #[serde(alias = "observed_ats")]
    observed_at: Option<Vec<Option<Time>>>,
    probabilities: Option<Vec<Option<Scores>>>,
    logits: Option<Vec<Option<Scores>>>,
    #[serde(alias = "thumbnail")]
    thumbnails: Option<Vec<Option<Thumbnail>>>,
    #[serde(alias = "metadata")]
    metadatas: Option<Vec<Option<Map<String, Value>>>>,
}

/// Decodes JSON columns.
pub fn columns(body: &[u8]) -> Result<Told, Refusal> {
    let body: Body = json::decode(body).map_err(of_record)?;
    let vectors = body.embeddings.unwrap_or_default();
    let mut rows = vec![Row::default(); vectors.len()];
    put(&mut rows, "ids", body.ids, |row| &mut row.id)?;
    put(&mut rows, "input_uris", body.input_uris, |row| {
        &mut row.input_uri
    })?;
    put(&mut rows, "targets", body.targets, |row| &mut row.target)?;
    let (context, contexts) = split(body.context);
    put(&mut rows, "contexts", contexts, |row| &mut row.context)?;
    let (dataset, datasets) = split(body.dataset);
    put(&mut rows, "datasets", datasets, |row| &mut row.dataset)?;
    put(
        &mut rows,
        "inference_classes",
        body.inference_classes,
        |row| &mut row.inference_class,
    )?;
    put(&mut rows, "label_classes", body.label_classes, |row| {
        &mut row.label_class
    })?;
    put(&mut rows, "groups", body.groups, |row| &mut row.group)?;
    put(&mut rows, "quality_scores", body.quality_scores, |row| {
        &mut row.quality_score
    })?;
    put(&mut rows, "observed_at", body.observed_at, |row| {
        &mut row.observed_at
    })?;
    put(&mut rows, "probabilities", body.probabilities, |row| {
        &mut row.probabilities
    })?;
    put(&mut rows, "logits", body.logits, |row| &mut row.logits)?;
    put(&mut rows, "thumbnails", body.thumbnails, |row| {
        &mut row.thumbnail
    })?;
    if let Some(metadatas) = body.metadatas {
        expect_length("metadatas", metadatas.len(), rows.len())?;
        for (row, metadata) in rows.iter_mut().zip(metadatas) {
            row.metadata = metadata.unwrap_or_default();
        }
    }
    let head = Head {
        space: body.space,
        embedding_set: body.embedding_set,
        context,
        dataset,
        dataset_metadata: body.dataset_metadata,
        metric: body.metric,
        class_names: body.class_names,
        idempotency_key: body.idempotency_key,
        assess: body.assess,
    };
    Ok(Told {
        head,
        rows,
        vectors,
    })
}

/// A refusal of one record's value names the field as it is named where the value is missing.
fn of_record(refusal: Refusal) -> Refusal {
    let field = refusal.field.as_deref().filter(|_| refusal.row.is_some());
    match field.map(|name| json::field_of(name).to_owned()) {
        Some(field) => refusal.field(field),
        None => refusal,
    }
}

fn split(said: Option<OneOrEach>) -> (Option<String>, Texts) {
    match said {
        None => (None, None),
        Some(OneOrEach::One(one)) => (Some(one), None),
        Some(OneOrEach::Each(each)) => (None, Some(each)),
    }
}

fn put<T>(
    rows: &mut [Row],
    name: &str,
    column: Option<Vec<Option<T>>>,
    place: impl Fn(&mut Row) -> &mut Option<T>,
) -> Result<(), Refusal> {
    let Some(column) = column else {
        return Ok(());
    };
    expect_length(name, column.len(), rows.len())?;
    for (row, value) in rows.iter_mut().zip(column) {
        *place(row) = value;
    }
    Ok(())
}

fn expect_length(name: &str, found: usize, rows: usize) -> Result<(), Refusal> {
    if found == rows {
        return Ok(());
    }
    let message = format!("`{name}` has {found} values, `embeddings` has {rows}.");
    Err(Refusal::wrong("length_mismatch", message)
        .field(name)
        .hint("every column has one value for each record; null where there is none"))
}
