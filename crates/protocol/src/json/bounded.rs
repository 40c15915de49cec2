//! JSON that is kept as it is until it is understood, of a size that a request may have.
//!
//! What must stay true: a part too many ends the decoding, so that a body of some megabytes never takes
//! gigabytes; lists of a hundred thousand values go through; of two members with one key none is passed over.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Number, Value};

/// Scalars that a filter has at most, where an object counts for [`OBJECT`] of them.
const PARTS_MAX: usize = 4 << 20;
/// What an object takes in memory besides its members, in scalars.
const OBJECT: usize = 16;

/// Decodes a filter, which may be null or absent.
pub(crate) fn filter<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
    let mut left = PARTS_MAX;
    let value = Part(&mut left).deserialize(from)?;
    Ok(Some(value).filter(|value| !value.is_null()))
}

/// One part, and how many more there may be.
struct Part<'a>(&'a mut usize);

impl Part<'_> {
    fn take<E: Error>(&mut self, parts: usize) -> Result<(), E> {
        let left = self.0.checked_sub(parts).ok_or_else(|| {
            E::custom(format_args!(
                "more than {PARTS_MAX} values, of which an object counts for {OBJECT}"
            ))
        })?;
        *self.0 = left;
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Part<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(mut self, from: D) -> Result<Value, D::Error> {
        self.take(1)?;
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Part<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(Part(self.0))? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<Value, A::Error> {
        self.take(OBJECT)?;
        let mut object = Map::new();
        while let Some(key) = members.next_key::<String>()? {
            let value = members.next_value_seed(Part(self.0))?;
            match object.entry(key) {
                Entry::Vacant(place) => place.insert(value),
                Entry::Occupied(taken) => {
                    return Err(A::Error::custom(format_args!(
                        "the key `{}` comes twice in an object, and may come once",
                        taken.key()
                    )));
                }
            };
        }
        Ok(object.into())
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Deserialize)]
    struct Body {
        #[serde(default, deserialize_with = "filter")]
        filter: Option<Value>,
    }

    fn decode(body: &str) -> Result<Option<Value>, serde_json::Error> {
        serde_json::from_str::<Body>(body).map(|body| body.filter)
    }

    #[test]
    fn a_filter_is_what_it_was_written_as() {
        let all =
            json!({"a": [1, -2, 1.5, 18_446_744_073_709_551_615_u64, "t", true, null, {"b": []}]});
        let body = json!({ "filter": all }).to_string();
        assert_eq!(decode(&body).unwrap(), Some(all));
        assert_eq!(decode(r#"{"filter": null}"#).unwrap(), None);
        assert_eq!(decode("{}").unwrap(), None);
    }

    #[test]
    fn a_filter_has_no_more_parts_than_memory_is_there_for() {
        let of =
            |one: &str, count: usize| format!("{{\"filter\":[{}]}}", vec![one; count].join(","));
        assert!(decode(&of("1", 1_000_000)).is_ok());
        assert!(decode(&of("{\"a\":1}", 200_000)).is_ok());
        for (one, count) in [
            ("1", PARTS_MAX),
            ("{\"a\":1}", PARTS_MAX / OBJECT),
            ("[]", PARTS_MAX),
        ] {
            let error = decode(&of(one, count)).unwrap_err();
            assert!(
                error.to_string().contains("more than 4194304 values"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_filter_with_a_key_twice_in_an_object_is_refused() {
        for (body, key) in [
            (r#"{"filter":{"k":1,"k":2}}"#, "`k`"),
            (r#"{"filter":{"k":{"$eq":1,"$eq":2}}}"#, "`$eq`"),
            (r#"{"filter":{"$and":[{"k":1},{"k":1,"k":1}]}}"#, "`k`"),
        ] {
            let error = decode(body).unwrap_err().to_string();
            assert!(error.contains(key) && error.contains("twice"), "{error}");
        }
        assert!(decode(r#"{"filter":{"$and":[{"k":1},{"k":1}]}}"#).is_ok());
    }
}
