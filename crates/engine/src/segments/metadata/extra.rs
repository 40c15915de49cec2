//! Rare metadata of one row as a JSON object that loses nothing.
//!
//! What must stay true: what [`write`] wrote, [`read`] gives back bit by bit. Integers are
//! written without a point or exponent, floats with one; a list is an array of one type, never
//! empty; a sparse vector is an object with `"#type": "sparse_vector"`, as clients send it.

use serde_json::Value as Json;

use super::Kind;
use crate::model::{SparseVector, Value};

/// Appends `"key":value` to the open object in `to`.
pub(in crate::segments) fn write(key: &str, value: &Value, to: &mut String) {
    if !to.ends_with('{') {
        to.push(',');
    }
    to.push_str(&Json::from(key).to_string());
    to.push(':');
    to.push_str(&value.to_json().to_string());
}

/// The cells of the object `text`, or `None` where it is none that [`write`] made.
pub(in crate::segments) fn read(text: &str) -> Option<Vec<(String, Value)>> {
    let Ok(Json::Object(cells)) = serde_json::from_str(text) else {
        return None;
    };
    cells
        .into_iter()
        .map(|(key, value)| Some((key, from_json(value)?)))
        .collect()
}

fn from_json(value: Json) -> Option<Value> {
    Some(match value {
        Json::Null => return None,
        Json::Bool(flag) => Value::Bool(flag),
        Json::Number(number) => match number.as_i64() {
            Some(int) => Value::Int(int),
            None => Value::Float(number.as_f64()?),
        },
        Json::String(text) => Value::Str(text.into()),
        Json::Array(list) => list_from_json(list)?,
        Json::Object(mut object) => Value::from(SparseVector {
            indices: serde_json::from_value(object.remove("indices")?).ok()?,
            values: serde_json::from_value::<Vec<f64>>(object.remove("values")?)
                .ok()?
                .into_iter()
                .map(|value| value as f32)
                .collect(),
            tokens: match object.remove("tokens") {
                Some(tokens) => Some(serde_json::from_value(tokens).ok()?),
                None => None,
            },
        }),
    })
}

fn list_from_json(list: Vec<Json>) -> Option<Value> {
    let values: Vec<Value> = list.into_iter().map(from_json).collect::<Option<_>>()?;
    Some(match Kind::of(values.first()?)? {
        Kind::Bool => Value::Bools(all(values, |value| match value {
            Value::Bool(flag) => Some(flag),
            _ => None,
        })?),
        Kind::Int => Value::Ints(all(values, |value| match value {
            Value::Int(int) => Some(int),
            _ => None,
        })?),
        Kind::Float => Value::Floats(all(values, |value| match value {
            Value::Float(float) => Some(float),
            _ => None,
        })?),
        Kind::Str => Value::Strs(all(values, |value| match value {
            Value::Str(text) => Some(text.into()),
            _ => None,
        })?),
        _ => return None,
    })
}

fn all<T>(values: Vec<Value>, of: impl Fn(Value) -> Option<T>) -> Option<Box<[T]>> {
    values.into_iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_value_comes_back_bit_by_bit() {
        let sparse = |tokens| SparseVector {
            indices: vec![0, 7, u32::MAX],
            values: vec![0.1, -3.4e38, 1e-45],
            tokens,
        };
        let values = [
            Value::Bool(true),
            Value::Int(i64::MIN),
            Value::Int(i64::MAX),
            Value::Float(1.0),
            Value::Float(-0.0),
            Value::Float(1e20),
            Value::Float(0.1 + 0.2),
            Value::Float(5e-324),
            Value::Float(f64::MAX),
            Value::Str("a \"quoted\" \u{0} \u{1F600} line\n".into()),
            Value::Bools(vec![true, false].into()),
            Value::Ints(vec![1, -1].into()),
            Value::Floats(vec![1.0, 2.5].into()),
            Value::Strs(vec![String::new(), "x".into()].into()),
            sparse(None).into(),
            sparse(Some(vec!["a".into(), "b".into(), "c".into()])).into(),
        ];
        let mut text = String::from("{");
        for (number, value) in values.iter().enumerate() {
            write(&format!("key \"{number}\""), value, &mut text);
        }
        text.push('}');
        let cells = read(&text).unwrap();
        assert_eq!(cells.len(), values.len());
        for (key, value) in cells {
            let number: usize = key
                .trim_matches(|c: char| !c.is_ascii_digit())
                .parse()
                .unwrap();
            assert_eq!(value, values[number], "{text}");
            if let (Value::Float(found), Value::Float(written)) = (&value, &values[number]) {
                assert_eq!(found.to_bits(), written.to_bits());
            }
        }
    }

    #[test]
    fn text_that_nobody_wrote_here_is_refused() {
        for text in [
            "",
            "[]",
            "{\"a\":null}",
            "{\"a\":[]}",
            "{\"a\":[1,\"b\"]}",
            "{\"a\":{}}",
        ] {
            assert!(read(text).is_none(), "{text}");
        }
    }
}
