//! `order_by` and `aggregates` of a `get`, and what they answer.
//!
//! What must stay true: how much is asked and answered is bounded before the engine sees it; answers stand in the order
//! of what was asked, each beside its key.

use serde::Deserialize;
use serde_json::{Map, json};
use vermilion_engine::model::{Aggregate, Aggregated, Fetched, OrderBy, Survey, Value};

use crate::ApiError;
use crate::answers::{append_member, write_fetched};
use crate::reads::Column;

/// Values that are answered where nothing is said, and at most.
const LIMIT: u32 = 100;
const LIMIT_MAX: u32 = 10_000;
/// Parts of an order, and aggregates of one request.
const PARTS_MAX: usize = 16;

/// A part of an order as a body has it.
#[derive(Debug, Deserialize)]
pub(crate) struct RawOrder {
    key: String,
    #[serde(default)]
    direction: Option<Direction>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Direction {
    Asc,
    Desc,
}

/// An aggregate as a body has it.
#[derive(Debug, Deserialize)]
pub(crate) struct RawAggregate {
    #[serde(default)]
    count_by: Option<String>,
    #[serde(default)]
    distinct: Option<String>,
    #[serde(default)]
    min: Option<String>,
    #[serde(default)]
    max: Option<String>,
    #[serde(default)]
    limit: Option<u32>,
}

/// What a body asks of metadata values, if it keeps the rules.
pub(crate) fn check(
    order_by: Option<Vec<RawOrder>>,
    aggregates: Option<Vec<RawAggregate>>,
) -> Result<Survey, ApiError> {
    let (order_by, aggregates) = (order_by.unwrap_or_default(), aggregates.unwrap_or_default());
    for (member, parts) in [
        ("order_by", order_by.len()),
        ("aggregates", aggregates.len()),
    ] {
        if parts > PARTS_MAX {
            let problem = format!("there are {parts} entries; at most {PARTS_MAX} are allowed");
            return Err(ApiError::validation(member, problem));
        }
    }
    let mut survey = Survey::default();
    for (number, part) in order_by.into_iter().enumerate() {
        check_key(&format!("order_by[{number}]"), &part.key)?;
        survey.order_by.push(OrderBy {
            key: part.key,
            descending: part.direction == Some(Direction::Desc),
        });
    }
    for (number, raw) in aggregates.into_iter().enumerate() {
        let place = format!("aggregates[{number}]");
        let aggregate = raw.check(&place)?;
        check_key(&place, aggregate.key())?;
        survey.aggregates.push(aggregate);
    }
    Ok(survey)
}

fn check_key(place: &str, key: &str) -> Result<(), ApiError> {
    if key.is_empty() || key.starts_with(['#', '$']) {
        let problem = format!("{key:?} is no key of metadata; name one");
        return Err(ApiError::validation(place, problem));
    }
    Ok(())
}

impl RawAggregate {
    fn check(self, place: &str) -> Result<Aggregate, ApiError> {
        let limit = self.limit.unwrap_or(LIMIT);
        if limit == 0 || limit > LIMIT_MAX {
            let problem = format!("limit is {limit}; it must be from 1 to {LIMIT_MAX}");
            return Err(ApiError::validation(place, problem));
        }
        let takes_limit = self.count_by.is_some() || self.distinct.is_some();
        if self.limit.is_some() && !takes_limit {
            let problem = "limit goes with count_by and distinct only";
            return Err(ApiError::validation(place, problem));
        }
        let limit = limit as usize;
        match (self.count_by, self.distinct, self.min, self.max) {
            (Some(key), None, None, None) => Ok(Aggregate::CountBy { key, limit }),
            (None, Some(key), None, None) => Ok(Aggregate::Distinct { key, limit }),
            (None, None, Some(key), None) => Ok(Aggregate::Min { key }),
            (None, None, None, Some(key)) => Ok(Aggregate::Max { key }),
            _ => Err(ApiError::validation(
                place,
                "an aggregate has exactly one of count_by, distinct, min and max",
            )),
        }
    }
}

/// Writes the answer to a `get` with a survey.
pub fn write_surveyed(
    fetched: &Fetched,
    include: &[Column],
    survey: &Survey,
    aggregated: &[Aggregated],
) -> Vec<u8> {
    let mut written = write_fetched(fetched, include);
    if let Some(aggregates) = tell_all(survey, aggregated) {
        append_member(&mut written, "aggregates", &aggregates);
    }
    written
}

/// The aggregates of a `get` as a JSON list; `None` where none were asked for.
pub(crate) fn tell_all(survey: &Survey, aggregated: &[Aggregated]) -> Option<serde_json::Value> {
    let both = survey.aggregates.iter().zip(aggregated);
    let told = both.map(|(asked, found)| tell(asked, found)).collect();
    (!survey.aggregates.is_empty()).then_some(told)
}

fn tell(asked: &Aggregate, found: &Aggregated) -> serde_json::Value {
    let name = match asked {
        Aggregate::CountBy { .. } => "count_by",
        Aggregate::Distinct { .. } => "distinct",
        Aggregate::Min { .. } => "min",
        Aggregate::Max { .. } => "max",
    };
    let mut told = Map::new();
    told.insert(name.to_owned(), asked.key().into());
    match found {
        Aggregated::Counts {
            values,
            distinct,
            missing,
        } => {
            let counts = values
                .iter()
                .map(|(value, count)| json!({"value": value.to_json(), "count": count}));
            told.insert("values".to_owned(), counts.collect());
            told.insert("total".to_owned(), (*distinct).into());
            told.insert("missing".to_owned(), (*missing).into());
        }
        Aggregated::Values { values, distinct } => {
            told.insert(
                "values".to_owned(),
                values.iter().map(Value::to_json).collect(),
            );
            told.insert("total".to_owned(), (*distinct).into());
        }
        Aggregated::Value(value) => {
            let value = value.as_ref().map(Value::to_json);
            told.insert("value".to_owned(), value.unwrap_or_default());
        }
    }
    told.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reads::decode_get;

    #[test]
    fn surveys_are_decoded_with_their_defaults() {
        let body = br#"{"order_by":[{"key":"n"},{"key":"s","direction":"desc"}],
            "aggregates":[{"count_by":"s","limit":3},{"distinct":"s"},{"min":"n"},{"max":"n"}]}"#;
        let survey = decode_get(body).unwrap().survey;
        let order: Vec<_> = survey
            .order_by
            .iter()
            .map(|part| (part.key.as_str(), part.descending))
            .collect();
        assert_eq!(order, [("n", false), ("s", true)]);
        let key = |key: &str| key.to_owned();
        let expected = [
            Aggregate::CountBy {
                key: key("s"),
                limit: 3,
            },
            Aggregate::Distinct {
                key: key("s"),
                limit: 100,
            },
            Aggregate::Min { key: key("n") },
            Aggregate::Max { key: key("n") },
        ];
        assert_eq!(survey.aggregates, expected);
        assert!(
            decode_get(b"{\"order_by\":null}")
                .unwrap()
                .survey
                .is_empty()
        );
    }

    #[test]
    fn surveys_that_break_a_rule_are_refused() {
        for (body, status, message) in [
            (
                r##"{"order_by":[{"key":"#id"}]}"##,
                400,
                "order_by[0]: \"#id\" is no key",
            ),
            (
                r#"{"order_by":[{"key":"a","direction":"up"}]}"#,
                422,
                "unknown variant `up`",
            ),
            (r#"{"order_by":"a"}"#, 422, "order_by"),
            (
                r#"{"aggregates":[{}]}"#,
                400,
                "aggregates[0]: an aggregate has exactly one of",
            ),
            (
                r#"{"aggregates":[{"min":"a","max":"a"}]}"#,
                400,
                "exactly one of",
            ),
            (
                r#"{"aggregates":[{"min":"a","limit":2}]}"#,
                400,
                "limit goes with",
            ),
            (
                r#"{"aggregates":[{"distinct":"a","limit":0}]}"#,
                400,
                "limit is 0; it must be",
            ),
            (
                r#"{"aggregates":[{"min":""}]}"#,
                400,
                "is no key of metadata",
            ),
        ] {
            let error = decode_get(body.as_bytes()).unwrap_err();
            assert_eq!(error.status, status, "{body}: {error}");
            assert!(error.message.contains(message), "{body}: {error}");
        }
        let many = format!(r#"{{"order_by":[{}]}}"#, [r#"{"key":"a"}"#; 17].join(","));
        let error = decode_get(many.as_bytes()).unwrap_err();
        assert!(error.message.contains("17 entries; at most 16"), "{error}");
    }
}
