//! From what was told of a batch to the records that go into the space, or to a refusal.
//!
//! What must stay true: the whole batch is judged before anything is written; a refusal names the field
//! and the row. Probabilities are kept as a sparse vector whose tokens are the classes: so a record says
//! by itself what it means, and is in backups, forks and exports whole.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use serde_json::Value as Json;
use vermilion_engine::config::Limits;
use vermilion_engine::model::{
    Embeddings, MetadataColumn, Operation, OptionalStrings, RecordBatch, Space, SparseVector,
    Strings, Value,
};

use vermilion_scores::uncertainty;

use crate::body::{Head, Row, Scores, TIMES, Told, Vectors};
use crate::fields::{self, Context};
use crate::key::record_id;
use crate::{Refusal, Result, Thumbnail};

/// The years 0 to 9999, in seconds since 1970.
const OBSERVED: Range<f64> = -62_167_219_200.0..253_402_300_800.0;
/// How far probabilities may be from a sum of 1.
const SUM_TOLERANCE: f64 = 1e-2;
/// Classes that are kept of a record: those that it most likely is.
const CLASSES_KEPT: usize = 32;

/// A batch that its space can take.
#[derive(Debug)]
pub(crate) struct Checked {
    /// The records.
    pub(crate) batch: RecordBatch,
    /// Of each record whether it was told when it was observed.
    pub(crate) timed: Vec<bool>,
    /// The datasets that they are in, each with every context that records of it have.
    pub(crate) datasets: Vec<(String, Context)>,
}

/// What is known of a space before a batch is judged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    /// Numbers in its vectors, once it has some.
    pub(crate) dimension: Option<u32>,
    /// How it compares them.
    pub(crate) metric: Space,
}

/// Judges `told`, which arrives at `now` (seconds since 1970).
pub(crate) fn check(
    told: Told,
    head: &Head,
    expected: Expected,
    limits: &Limits,
    now: f64,
) -> Result<Checked> {
    let rows = told.rows.len();
    if rows == 0 {
        let message = "The batch has no record.";
        return Err(Refusal::wrong("empty_batch", message).field("embeddings"));
    }
    let most = limits.batch_records_max;
    if rows > most {
        let message = format!("The batch has {rows} records.");
        return Err(Refusal::new(413, "too_many_records", message)
            .field("embeddings")
            .hint(format!("a batch has {most} records at most")));
    }
    let dimension = check_vectors(&told.vectors, expected, limits)?;
    let mut classes = HashSet::new();
    let names = head.class_names.iter().flatten();
    if let Some(twice) = names.into_iter().find(|name| !classes.insert(*name)) {
        let message = format!("`class_names` has `{twice}` more than once.");
        return Err(Refusal::wrong("duplicate_class", message)
            .field("class_names")
            .hint("each class once, in the order of the probabilities"));
    }
    let mut checker = Checker {
        head,
        now,
        ids: Strings::default(),
        seen: HashMap::new(),
        uris: OptionalStrings::default(),
        documents: OptionalStrings::default(),
        metadata: MetadataColumn::default(),
        datasets: Vec::new(),
        id_bytes_max: limits.id_bytes_max,
    };
    for (at, row) in told.rows.iter().enumerate() {
        checker.push(row, at)?;
    }
    let embeddings = Embeddings::new(dimension, told.vectors.into_values());
    let batch = RecordBatch {
        operations: vec![Operation::Upsert; rows],
        ids: checker.ids,
        embeddings: embeddings.expect("every vector has the dimension"),
        documents: checker.documents,
        uris: checker.uris,
        metadata: checker.metadata,
    };
    Ok(Checked {
        batch,
        timed: told
            .rows
            .iter()
            .map(|row| row.observed_at.is_some())
            .collect(),
        datasets: checker.datasets,
    })
}

/// Judges vectors; answers the dimension that all of them have.
pub(crate) fn check_vectors(
    vectors: &Vectors,
    expected: Expected,
    limits: &Limits,
) -> Result<usize> {
    let first = if vectors.is_empty() {
        0
    } else {
        vectors.get(0).len()
    };
    let known = expected.dimension.map(|dimension| dimension as usize);
    let dimension = known.unwrap_or(first);
    if known.is_none() && !(1..=limits.dimension_max).contains(&first) {
        let message = format!("The vector of record 0 has {first} numbers.");
        return Err(Refusal::wrong("dimension_mismatch", message)
            .field("embeddings")
            .row(0)
            .hint(format!("1 to {} numbers", limits.dimension_max)));
    }
    for row in 0..vectors.len() {
        let vector = vectors.get(row);
        let wrong =
            |code, message: String| Refusal::wrong(code, message).field("embeddings").row(row);
        if vector.len() != dimension {
            let of = if known.is_some() {
                "the space"
            } else {
                "record 0"
            };
            let message = format!(
                "The vector of record {row} has {} numbers, that of {of} {dimension}.",
                vector.len()
            );
            return Err(wrong("dimension_mismatch", message)
                .hint("a model, version or layer of other vectors is another embedding set"));
        }
        if let Some(at) = vector.iter().position(|number| !number.is_finite()) {
            let message = format!("Number {at} of the vector of record {row} is not finite.");
            return Err(wrong("not_finite", message).hint("finite numbers of 32 bits"));
        }
        if expected.metric == Space::Cosine && vector.iter().all(|number| *number == 0.0) {
            let message = format!("The vector of record {row} is zero, which has no direction.");
            return Err(wrong("zero_vector", message)
                .hint("a space with the metric `l2` takes zero vectors"));
        }
    }
    Ok(dimension)
}

/// Columns of records as far as they were judged.
struct Checker<'a> {
    head: &'a Head,
    now: f64,
    ids: Strings,
    seen: HashMap<String, usize>,
    uris: OptionalStrings,
    documents: OptionalStrings,
    metadata: MetadataColumn,
    datasets: Vec<(String, Context)>,
    id_bytes_max: usize,
}

impl Checker<'_> {
    fn push(&mut self, row: &Row, at: usize) -> Result<()> {
        let uri = row.input_uri.as_deref().unwrap_or_default();
        if uri.is_empty() {
            let message = format!("Record {at} has no input_uri.");
            return Err(Refusal::wrong("missing_field", message)
                .field("input_uri")
                .row(at)
                .hint("a text that names the input; the server does not look it up"));
        }
        let context = self.context(row, at)?;
        let dataset = row.dataset.as_deref().or(self.head.dataset.as_deref());
        let dataset = non_empty(dataset, fields::DATASET, at)?.unwrap_or(context.name());
        let has = |known: &(String, Context)| known.1 == context && known.0 == dataset;
        if !self.datasets.iter().any(has) {
            self.datasets.push((dataset.to_owned(), context));
        }
        let id = match non_empty(row.id.as_deref(), "id", at)? {
            Some(id) => id.to_owned(),
            None => record_id(uri, row.target.as_deref(), context.name()),
        };
        if id.len() > self.id_bytes_max {
            let message = format!("The id of record {at} has {} bytes.", id.len());
            return Err(Refusal::wrong("out_of_range", message)
                .field("id")
                .row(at)
                .hint(format!("{} bytes at most", self.id_bytes_max)));
        }
        self.ids.push(&id);
        if let Some(before) = self.seen.insert(id, at) {
            let message = format!("Records {before} and {at} have the same id.");
            return Err(Refusal::wrong("duplicate_id", message)
                .field("id")
                .row(at)
                .hint("records without an id are told apart by input_uri, target and context"));
        }
        self.uris.push(Some(uri));
        if let Some(thumbnail) = &row.thumbnail {
            thumbnail.check(at)?;
        }
        let document = row.thumbnail.as_ref().map(Thumbnail::document);
        self.documents.push(document.as_deref());
        let scores = scores(row, self.head, at)?;
        let mut cells = Vec::with_capacity(8);
        let text = |text: &str| Value::Str(text.into());
        cells.push((fields::CONTEXT, text(context.name())));
        cells.push((fields::DATASET, text(dataset)));
        let said = non_empty(row.inference_class.as_deref(), fields::INFERENCE_CLASS, at)?;
        let likeliest = scores.as_ref().map(|scores| likeliest(scores).to_owned());
        for (key, value) in [
            (fields::TARGET, row.target.as_deref()),
            (fields::INFERENCE_CLASS, said.or(likeliest.as_deref())),
            (
                fields::LABEL_CLASS,
                non_empty(row.label_class.as_deref(), fields::LABEL_CLASS, at)?,
            ),
            (fields::GROUP, row.group.as_deref()),
        ] {
            cells.extend(value.map(|value| (key, text(value))));
        }
        if let Some(score) = row.quality_score {
            expect_finite(score, fields::QUALITY_SCORE, at)?;
            cells.push((fields::QUALITY_SCORE, Value::Float(score)));
        }
        let observed = self.observed_at(row, at)?;
        cells.push((fields::OBSERVED_AT, Value::Float(observed)));
        cells.extend(scores.map(|scores| (fields::PROBABILITIES, scores.into())));
        for (key, value) in &row.metadata {
            cells.push((key, users_cell(key, value, at)?));
        }
        self.metadata.push_row(cells);
        Ok(())
    }

    fn context(&self, row: &Row, at: usize) -> Result<Context> {
        let names = Context::ALL.map(Context::name).join(", ");
        let said = row.context.as_deref().or(self.head.context.as_deref());
        let Some(said) = said else {
            let message = format!("Record {at} has no context.");
            return Err(Refusal::wrong("unknown_context", message)
                .field(fields::CONTEXT)
                .row(at)
                .hint(names));
        };
        Context::named(said).ok_or_else(|| {
            let message = format!("`{said}` of record {at} is no context.");
            Refusal::wrong("unknown_context", message)
                .field(fields::CONTEXT)
                .row(at)
                .hint(names)
        })
    }

    fn observed_at(&self, row: &Row, at: usize) -> Result<f64> {
        let Some(told) = &row.observed_at else {
            return Ok(self.now);
        };
        let seconds = told.seconds().ok_or_else(|| {
            let message = format!("`observed_at` of record {at} is no moment.");
            Refusal::wrong("bad_time", message)
                .field(fields::OBSERVED_AT)
                .row(at)
                .hint(TIMES)
        })?;
        expect_finite(seconds, fields::OBSERVED_AT, at)?;
        if !OBSERVED.contains(&seconds) {
            let message = format!(
                "`observed_at` of record {at} is {seconds}, which is in no year of four digits."
            );
            return Err(Refusal::wrong("bad_time", message)
                .field(fields::OBSERVED_AT)
                .row(at)
                .hint(format!("{TIMES}; milliseconds are divided by 1000")));
        }
        Ok(seconds)
    }
}

/// The probabilities of a record, from what was told of them or of its logits.
fn scores(row: &Row, head: &Head, at: usize) -> Result<Option<SparseVector>> {
    let (field, told) = match (&row.probabilities, &row.logits) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => {
            let message = format!("Record {at} has both probabilities and logits.");
            return Err(Refusal::wrong("ambiguous_scores", message)
                .field(fields::LOGITS)
                .row(at)
                .hint("one of the two"));
        }
        (Some(told), None) => (fields::PROBABILITIES, told),
        (None, Some(told)) => (fields::LOGITS, told),
    };
    let mut scores: Vec<(u32, String, f64)> = match told {
        Scores::Dense(numbers) => named(numbers, head, field, at)?,
        Scores::Sparse(classes) => (0..)
            .zip(classes)
            .map(|(number, (class, score))| (number, class.clone(), *score))
            .collect(),
    };
    if scores.is_empty() {
        let message = format!("`{field}` of record {at} names no class.");
        return Err(Refusal::wrong("length_mismatch", message)
            .field(field)
            .row(at));
    }
    for (_, _, score) in &scores {
        expect_finite(*score, field, at)?;
    }
    if field == fields::LOGITS {
        let most = scores
            .iter()
            .fold(f64::MIN, |most, score| most.max(score.2));
        scores
            .iter_mut()
            .for_each(|score| score.2 = (score.2 - most).exp());
        let sum: f64 = scores.iter().map(|score| score.2).sum();
        scores.iter_mut().for_each(|score| score.2 /= sum);
    } else {
        expect_distribution(&scores, matches!(told, Scores::Dense(_)), at)?;
    }
    scores.sort_by(|a, b| b.2.total_cmp(&a.2).then(a.0.cmp(&b.0)));
    scores.truncate(CLASSES_KEPT);
    scores.sort_by_key(|score| score.0);
    Ok(Some(SparseVector {
        indices: scores.iter().map(|score| score.0).collect(),
        values: scores.iter().map(|score| score.2 as f32).collect(),
        tokens: Some(scores.into_iter().map(|score| score.1).collect()),
    }))
}

/// Dense scores with the names of their classes: numbers where the batch names none.
fn named(numbers: &[f64], head: &Head, field: &str, at: usize) -> Result<Vec<(u32, String, f64)>> {
    let Some(names) = &head.class_names else {
        let named = (0..).zip(numbers);
        return Ok(named
            .map(|(number, score): (u32, &f64)| (number, number.to_string(), *score))
            .collect());
    };
    if names.len() != numbers.len() {
        let (found, expected) = (numbers.len(), names.len());
        let message =
            format!("`{field}` of record {at} has {found} numbers, `class_names` {expected}.");
        return Err(Refusal::wrong("length_mismatch", message)
            .field(field)
            .row(at));
    }
    let named = (0..).zip(names).zip(numbers);
    Ok(named
        .map(|((number, name), score)| (number, name.clone(), *score))
        .collect())
}

/// What a model said of a record: the class, and how uncertain its probabilities are.
pub(crate) type Said = (Option<String>, Option<f32>);

/// What the model said of a record that is not logged.
pub(crate) fn said_of(row: &Row, head: &Head, at: usize) -> Result<Said> {
    let scores = scores(row, head, at)?;
    let said = non_empty(row.inference_class.as_deref(), fields::INFERENCE_CLASS, at)?;
    let class = said.or(scores.as_ref().map(likeliest));
    Ok((
        class.map(str::to_owned),
        scores.as_ref().and_then(|scores| unsure(&scores.values)),
    ))
}

/// How uncertain some probabilities are; `None` of none.
pub(crate) fn unsure(values: &[f32]) -> Option<f32> {
    let values: Vec<f64> = values.iter().map(|&value| f64::from(value)).collect();
    (!values.is_empty()).then(|| uncertainty(&values))
}

/// The class that scores make likeliest; the first of equals.
fn likeliest(scores: &SparseVector) -> &str {
    let mut best = 0;
    for at in 1..scores.values.len() {
        if scores.values[at] > scores.values[best] {
            best = at;
        }
    }
    scores.tokens.as_ref().map_or("", |tokens| &tokens[best])
}

/// Refuses probabilities that are none. Of some classes by name the sum may be less than 1.
fn expect_distribution(scores: &[(u32, String, f64)], whole: bool, at: usize) -> Result<()> {
    let sum: f64 = scores.iter().map(|score| score.2).sum();
    let negative = scores.iter().find(|score| score.2 < -SUM_TOLERANCE);
    let sound = if whole {
        (sum - 1.0).abs() <= SUM_TOLERANCE
    } else {
        sum <= 1.0 + SUM_TOLERANCE && sum > 0.0
    };
    if sound && negative.is_none() {
        return Ok(());
    }
    let message = match negative {
        Some(score) => format!("A probability of record {at} is {}.", score.2),
        None => format!("The probabilities of record {at} sum to {sum}."),
    };
    Err(Refusal::wrong("probabilities_do_not_sum", message)
        .field(fields::PROBABILITIES)
        .row(at)
        .hint(format!(
            "numbers from 0 to 1 with the sum 1, give or take {SUM_TOLERANCE}; `logits` are taken too"
        )))
}

fn expect_finite(number: f64, field: &str, at: usize) -> Result<()> {
    if number.is_finite() {
        return Ok(());
    }
    let message = format!("`{field}` of record {at} is not finite.");
    Err(Refusal::wrong("not_finite", message)
        .field(field)
        .row(at)
        .hint("finite numbers"))
}

fn non_empty<'a>(text: Option<&'a str>, field: &str, at: usize) -> Result<Option<&'a str>> {
    if text == Some("") {
        let message = format!("`{field}` of record {at} is empty.");
        return Err(Refusal::wrong("empty_field", message)
            .field(field)
            .row(at)
            .hint("a text, or null where there is none"));
    }
    Ok(text)
}

/// A cell of the user's own metadata.
fn users_cell(key: &str, value: &Json, at: usize) -> Result<Value> {
    let wrong = |code, message: String| {
        Refusal::wrong(code, message)
            .field(format!("metadata.{key}"))
            .row(at)
    };
    if key.starts_with("chroma:") {
        let message = format!(
            "The metadata of record {at} has the key `{key}`, which clients keep for themselves."
        );
        return Err(wrong("reserved_metadata_key", message).hint("rename the key"));
    }
    if fields::is_reserved(key) {
        let message = format!("The metadata of record {at} has the key `{key}`, which is a field.");
        return Err(wrong("reserved_metadata_key", message)
            .hint(format!("send the field `{key}`, or rename the key")));
    }
    let cell = match value {
        Json::Null => Some(Value::Null),
        Json::Bool(value) => Some(Value::Bool(*value)),
        Json::String(value) => Some(Value::Str(value.as_str().into())),
        Json::Number(value) => match value.as_i64() {
            Some(whole) => Some(Value::Int(whole)),
            None => value
                .as_f64()
                .filter(|float| float.is_finite())
                .map(Value::Float),
        },
        Json::Array(_) | Json::Object(_) => None,
    };
    cell.ok_or_else(|| {
        let message = format!("The metadata `{key}` of record {at} is no plain value.");
        wrong("metadata_not_flat", message).hint("texts, numbers, booleans and null")
    })
}

#[cfg(test)]
mod tests;
