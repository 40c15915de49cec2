//! The parsers of `where` and `where_document`.
//!
//! What must stay true: an expression has exactly one key at every level; whatever else comes in
//! is refused as a whole with 400, in the words clients know and then what was wrong and what is allowed;
//! depth, size and regular expressions are bounded, yet `$in` of 100,000 values and `$or` of 10,000 members work.

use std::fmt::Display;

use regex::RegexBuilder;
use serde_json::{Map, Value};
use vermilion_engine::model::{Comparison, DocumentTest, Filter, Number, Scalar};

use crate::ApiError;
use crate::json::{EXACT_MAX, LEVELS_MAX};

/// `$and` and `$or` inside one another at most.
const DEPTH_MAX: usize = LEVELS_MAX;
/// Expressions in one filter at most.
const NODES_MAX: usize = 65_536;
/// Bytes of a compiled regular expression at most.
const REGEX_BYTES_MAX: usize = 2 << 20;
/// What this many bytes, divided by its place among the regular expressions of a filter, leave for each:
/// thousands of short ones work, and no number of long ones takes all memory.
const REGEX_BYTES_SHARED: usize = 32 << 20;
/// Bytes of the text of a regular expression at most: a list of words compiles to little by the
/// measure above, whatever memory its search takes.
const REGEX_TEXT_MAX: usize = 128 << 10;
/// Groups of a regular expression inside one another at most.
const REGEX_DEPTH_MAX: u32 = 100;

/// The operators of values of metadata, in the words of an error.
const OPERATORS: &str =
    "$eq, $ne, $gt, $gte, $lt, $lte, $in, $nin, $contains and $not_contains are";
/// Those of documents.
const DOCUMENT_OPERATORS: &str = "$contains, $not_contains, $regex and $not_regex are";
/// Those of ids.
const ID_OPERATORS: &str = "$eq, $ne, $in and $nin are";
/// Characters of a wrong value that an error shows.
const SHOWN_MAX: usize = 60;

/// Parses `where` and `where_document` to the filter that both make together.
pub fn parse(metadata: Option<Value>, document: Option<Value>) -> Result<Option<Filter>, ApiError> {
    let metadata = metadata
        .map(|value| Parser::metadata().parse(value))
        .transpose()?;
    let document = document
        .map(|value| Parser::document().parse(value))
        .transpose()?;
    Ok(match (metadata, document) {
        (Some(metadata), Some(document)) => Some(Filter::And(vec![metadata, document])),
        (metadata, document) => metadata.or(document),
    })
}

/// Parses one clause; `leaf` parses an expression that is not `$and` or `$or`.
struct Parser {
    clause: &'static str,
    leaf: fn(&mut Self, &str, Value) -> Result<Filter, ApiError>,
    nodes: usize,
    /// Regular expressions so far.
    regexes: usize,
}

impl Parser {
    fn metadata() -> Self {
        Self {
            clause: "Invalid where clause",
            leaf: Self::metadata_leaf,
            nodes: 0,
            regexes: 0,
        }
    }

    fn document() -> Self {
        Self {
            clause: "Invalid where document clause",
            leaf: Self::document_leaf,
            nodes: 0,
            regexes: 0,
        }
    }

    fn parse(mut self, value: Value) -> Result<Filter, ApiError> {
        self.expression(value, 0)
    }

    fn error(&self, problem: impl Display) -> ApiError {
        ApiError::invalid(format!("{}: {problem}", self.clause))
    }

    fn expression(&mut self, value: Value, depth: usize) -> Result<Filter, ApiError> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(self.error(format_args!("more than {NODES_MAX} expressions")));
        }
        let Value::Object(object) = value else {
            return Err(self.error(format_args!(
                "an expression is an object with one key, got {}",
                shown(&value)
            )));
        };
        let (key, operand) = self.only_member(object, "an expression")?;
        let make = match key.as_str() {
            "$and" => Filter::And,
            "$or" => Filter::Or,
            _ => return (self.leaf)(self, &key, operand),
        };
        if depth == DEPTH_MAX {
            return Err(self.error(format_args!("nested more than {DEPTH_MAX} levels deep")));
        }
        let Value::Array(members) = operand else {
            let got = shown(&operand);
            return Err(self.error(format_args!("{key} takes a list of expressions, got {got}")));
        };
        let members = members
            .into_iter()
            .map(|member| self.expression(member, depth + 1));
        Ok(make(members.collect::<Result<_, _>>()?))
    }

    /// The one member of `object`, which errors call `what`.
    fn only_member(
        &self,
        object: Map<String, Value>,
        what: &str,
    ) -> Result<(String, Value), ApiError> {
        let count = object.len();
        let mut members = object.into_iter();
        match (members.next(), members.next()) {
            (Some(member), None) => Ok(member),
            (Some((first, _)), Some((second, _))) => Err(self.error(format_args!(
                "{what} has one key, got {count}: {}, {}; join several by $and or $or",
                clipped(&first),
                clipped(&second)
            ))),
            _ => Err(self.error(format_args!("{what} has one key, got none"))),
        }
    }

    fn unknown(&self, operator: &str, allowed: &str) -> ApiError {
        let operator = clipped(operator);
        self.error(format_args!("{operator} is no operator here; {allowed}"))
    }

    /// `{operator: string}` over documents.
    fn document_leaf(&mut self, operator: &str, operand: Value) -> Result<Filter, ApiError> {
        if !matches!(
            operator,
            "$contains" | "$not_contains" | "$regex" | "$not_regex"
        ) {
            return Err(self.unknown(operator, DOCUMENT_OPERATORS));
        }
        let Value::String(text) = operand else {
            let got = shown(&operand);
            return Err(self.error(format_args!("{operator} takes a string, got {got}")));
        };
        let test = match operator {
            "$contains" => DocumentTest::Contains(text),
            "$not_contains" => DocumentTest::NotContains(text),
            "$regex" => DocumentTest::Regex(self.compile(&text)?),
            _ => DocumentTest::NotRegex(self.compile(&text)?),
        };
        Ok(Filter::Document(test))
    }

    fn compile(&mut self, pattern: &str) -> Result<Box<regex::Regex>, ApiError> {
        self.regexes += 1;
        let bytes_max = REGEX_BYTES_MAX.min(REGEX_BYTES_SHARED / self.regexes);
        compile(pattern, bytes_max)
    }

    /// `{key: scalar}` or `{key: {operator: operand}}`.
    fn metadata_leaf(&mut self, key: &str, value: Value) -> Result<Filter, ApiError> {
        if key.starts_with('$') {
            let allowed = "$and, $or and keys of metadata are";
            return Err(self.unknown(key, allowed));
        }
        let (operator, operand) = match value {
            Value::Object(object) => self.only_member(object, "a test of a value")?,
            scalar => ("$eq".to_owned(), scalar),
        };
        match key {
            "#document" => self.document_leaf(&operator, operand),
            "#id" => self.id_test(&operator, operand),
            _ => {
                let comparison = self.comparison(&operator, operand).map_err(|error| {
                    let message = format!("{} (key {})", error.message, clipped(key));
                    ApiError { message, ..error }
                })?;
                Ok(Filter::Metadata {
                    key: key.to_owned(),
                    comparison,
                })
            }
        }
    }

    fn id_test(&self, operator: &str, operand: Value) -> Result<Filter, ApiError> {
        let ids = match (operator, operand) {
            ("$eq" | "$ne", Value::String(id)) => vec![id],
            ("$in" | "$nin", Value::Array(list)) if !list.is_empty() => list
                .into_iter()
                .map(|id| match id {
                    Value::String(id) => Ok(id),
                    other => {
                        Err(self.error(format_args!("an id is a string, got {}", shown(&other))))
                    }
                })
                .collect::<Result<_, _>>()?,
            ("$eq" | "$ne", other) => {
                return Err(self.error(format_args!("an id is a string, got {}", shown(&other))));
            }
            ("$in" | "$nin", other) => return Err(self.no_list(operator, &other)),
            _ => return Err(self.unknown(operator, ID_OPERATORS)),
        };
        let negated = matches!(operator, "$ne" | "$nin");
        Ok(Filter::Id { ids, negated })
    }

    fn comparison(&self, operator: &str, operand: Value) -> Result<Comparison, ApiError> {
        Ok(match operator {
            "$eq" => Comparison::Equal(self.scalar(operator, operand)?),
            "$ne" => Comparison::NotEqual(self.scalar(operator, operand)?),
            "$gt" => Comparison::Greater(self.number(operator, &operand)?),
            "$gte" => Comparison::GreaterOrEqual(self.number(operator, &operand)?),
            "$lt" => Comparison::Less(self.number(operator, &operand)?),
            "$lte" => Comparison::LessOrEqual(self.number(operator, &operand)?),
            "$in" => Comparison::In(self.scalars(operator, operand)?),
            "$nin" => Comparison::NotIn(self.scalars(operator, operand)?),
            "$contains" => Comparison::Contains(self.scalar(operator, operand)?),
            "$not_contains" => Comparison::NotContains(self.scalar(operator, operand)?),
            _ => return Err(self.unknown(operator, OPERATORS)),
        })
    }

    fn scalar(&self, operator: &str, value: Value) -> Result<Scalar, ApiError> {
        match value {
            Value::Bool(value) => Ok(Scalar::Bool(value)),
            Value::String(value) => Ok(Scalar::Str(value)),
            Value::Number(_) => Ok(match self.number(operator, &value)? {
                Number::Int(value) => Scalar::Int(value),
                Number::Float(value) => Scalar::Float(value),
            }),
            other => Err(self.error(format_args!(
                "{operator} takes strings, numbers and booleans, got {}",
                shown(&other)
            ))),
        }
    }

    fn number(&self, operator: &str, value: &Value) -> Result<Number, ApiError> {
        let wrong = |allowed: &str| {
            let got = shown(value);
            Err(self.error(format_args!("{operator} takes {allowed}, got {got}")))
        };
        let Value::Number(number) = value else {
            return wrong("a number");
        };
        if let Some(int) = number.as_i64() {
            return Ok(Number::Int(int));
        }
        match number.as_f64() {
            Some(float) if number.is_f64() && float.is_finite() => Ok(Number::Float(float)),
            _ => wrong("whole numbers of 64 bits with a sign, and floats"),
        }
    }

    fn no_list(&self, operator: &str, got: &Value) -> ApiError {
        let got = shown(got);
        self.error(format_args!(
            "{operator} takes a list with at least one value, got {got}"
        ))
    }

    /// A list whose first member decides the type; floats may be written as integers, and integers as `1.0`.
    fn scalars(&self, operator: &str, value: Value) -> Result<Vec<Scalar>, ApiError> {
        let list = match value {
            Value::Array(list) if !list.is_empty() => list,
            other => return Err(self.no_list(operator, &other)),
        };
        let mut scalars = Vec::with_capacity(list.len());
        for value in list {
            let scalar = match (scalars.first(), self.scalar(operator, value)?) {
                (Some(Scalar::Float(_)), Scalar::Int(int)) => Scalar::Float(int as f64),
                (Some(Scalar::Int(_)), Scalar::Float(float))
                    if float.fract() == 0.0 && float.abs() <= EXACT_MAX =>
                {
                    Scalar::Int(float as i64)
                }
                (Some(first), scalar)
                    if std::mem::discriminant(first) != std::mem::discriminant(&scalar) =>
                {
                    let problem =
                        "takes values of one type: strings, whole numbers, floats or booleans";
                    return Err(self.error(format_args!("{operator} {problem}")));
                }
                (_, scalar) => scalar,
            };
            scalars.push(scalar);
        }
        Ok(scalars)
    }
}

/// A value as an error shows it: the beginning of its JSON.
fn shown(value: &Value) -> String {
    match value {
        // What is in them can be large, and is not looked through for an error.
        Value::Object(object) if object.len() > 1 => {
            format!("an object with {} keys", object.len())
        }
        Value::Array(list) if list.len() > 1 => format!("a list of {} values", list.len()),
        Value::Object(_) => "an object".to_owned(),
        Value::Array(list) if list.is_empty() => "an empty list".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::String(text) => format!("\"{}\"", clipped(text)),
        other => other.to_string(),
    }
}

/// The beginning of a text.
fn clipped(text: &str) -> String {
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

fn compile(pattern: &str, bytes_max: usize) -> Result<Box<regex::Regex>, ApiError> {
    if pattern.len() > REGEX_TEXT_MAX {
        return Err(ApiError::invalid(format!(
            "Regex is too large: it has {} bytes; at most {REGEX_TEXT_MAX} are allowed",
            pattern.len()
        )));
    }
    RegexBuilder::new(pattern)
        .size_limit(bytes_max)
        .dfa_size_limit(bytes_max)
        .nest_limit(REGEX_DEPTH_MAX)
        .build()
        .map(Box::new)
        .map_err(|error| match error {
            regex::Error::Syntax(text) => {
                // The misspelling is part of the wording that clients know.
                ApiError::invalid(format!("Regex syntax errror: {text}"))
            }
            _ if bytes_max == REGEX_BYTES_MAX => ApiError::invalid(format!(
                "Regex is too large: it compiles to more than {bytes_max} bytes"
            )),
            _ => ApiError::invalid(format!(
                "Regex is too large: it compiles to more than {bytes_max} bytes, what is left for it \
                 behind the others of this filter; ask for fewer at a time"
            )),
        })
}

#[cfg(test)]
mod tests;
