//! Metadata between JSON and the cells of the engine.
//!
//! What must stay true: the rules are those of the server: scalars, lists of one type, sparse
//! vectors; an integer beyond 64 bits is a float; an empty list is nothing.

use serde_json::{Map, Number, Value as Json};
use vermilion_engine::model::{SparseVector, Value};

/// Refuses a key that no collection takes.
pub(crate) fn validate_key(key: &str) -> Result<(), String> {
    if key.is_empty() || key.starts_with(['#', '$']) {
        return Err("a key has at least one character and does not begin with # or $".to_owned());
    }
    Ok(())
}

/// The cell of a JSON value; `None` for an empty list.
pub(crate) fn to_value(json: &Json) -> Result<Option<Value>, String> {
    let value = match json {
        Json::Null => return Ok(None),
        Json::Bool(flag) => Value::Bool(*flag),
        Json::Number(number) => scalar_number(number)?,
        Json::String(text) => Value::Str(text.as_str().into()),
        Json::Array(items) => return list(items),
        Json::Object(object) => sparse(object)?.into(),
    };
    Ok(Some(value))
}

/// The cells of one record as a JSON object.
pub(crate) fn to_json<'a>(cells: impl Iterator<Item = (&'a str, &'a Value)>) -> Map<String, Json> {
    cells
        .map(|(key, value)| (key.to_owned(), value.to_json()))
        .collect()
}

fn scalar_number(number: &Number) -> Result<Value, String> {
    if let Some(number) = number.as_i64() {
        return Ok(Value::Int(number));
    }
    float(number).map(Value::Float)
}

fn float(number: &Number) -> Result<f64, String> {
    number
        .as_f64()
        .filter(|number| number.is_finite())
        .ok_or_else(|| format!("{number} is beyond what a 64-bit float can be"))
}

fn list(items: &[Json]) -> Result<Option<Value>, String> {
    let mixed = || "a list holds items of one type: strings, numbers or booleans".to_owned();
    let value = match items.first() {
        None => return Ok(None),
        Some(Json::String(_)) => Value::Strs(
            items
                .iter()
                .map(|item| item.as_str().map(str::to_owned).ok_or_else(mixed))
                .collect::<Result<_, _>>()?,
        ),
        Some(Json::Bool(_)) => Value::Bools(
            items
                .iter()
                .map(|item| item.as_bool().ok_or_else(mixed))
                .collect::<Result<_, _>>()?,
        ),
        Some(Json::Number(_)) => {
            if let Some(list) = items.iter().map(Json::as_i64).collect() {
                Value::Ints(list)
            } else {
                let number = |item: &Json| match item {
                    Json::Number(number) => float(number),
                    _ => Err(mixed()),
                };
                Value::Floats(items.iter().map(number).collect::<Result<_, _>>()?)
            }
        }
        Some(Json::Null | Json::Array(_) | Json::Object(_)) => return Err(mixed()),
    };
    Ok(Some(value))
}

fn sparse(object: &Map<String, Json>) -> Result<SparseVector, String> {
    if object.get("#type").and_then(Json::as_str) != Some("sparse_vector") {
        return Err(
            "a value is a string, a number, a boolean, a list of one of these, or a sparse vector"
                .to_owned(),
        );
    }
    let member = |name: &str| object.get(name).cloned().unwrap_or(Json::Null);
    let wrong = |error: serde_json::Error| format!("the sparse vector is wrong: {error}");
    let indices: Vec<u32> = serde_json::from_value(member("indices")).map_err(wrong)?;
    let values: Vec<f32> = serde_json::from_value(member("values")).map_err(wrong)?;
    let tokens: Option<Vec<String>> = serde_json::from_value(member("tokens")).map_err(wrong)?;
    let same = indices.len() == values.len()
        && tokens
            .as_ref()
            .is_none_or(|tokens| tokens.len() == indices.len());
    if !same || !indices.is_sorted_by(|a, b| a < b) || values.iter().any(|one| !one.is_finite()) {
        return Err(
            "a sparse vector has as many values as indices, the indices rise, the values are finite"
                .to_owned(),
        );
    }
    Ok(SparseVector {
        indices,
        values,
        tokens,
    })
}
