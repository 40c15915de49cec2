//! The parsers of `where` and `where_document`.
//!
//! What must stay true: an expression has exactly one key at every level; whatever else comes in
//! is refused as a whole with 400 in the words clients know; depth, size and regular expressions
//! are bounded, yet `$in` of 100,000 values and `$or` of 10,000 members work.

use regex::RegexBuilder;
use serde_json::{Map, Value};
use vermilion_engine::model::{Comparison, DocumentTest, Filter, Number, Scalar};

use crate::ApiError;

/// `$and` and `$or` inside one another at most.
const DEPTH_MAX: usize = 64;
/// Expressions in one filter at most.
const NODES_MAX: usize = 65_536;
/// Bytes of a compiled regular expression at most.
const REGEX_BYTES_MAX: usize = 2 << 20;
/// Bytes of the text of a regular expression at most: a list of words compiles to little by the
/// measure above, whatever memory its search takes.
const REGEX_TEXT_MAX: usize = 128 << 10;
/// Groups of a regular expression inside one another at most.
const REGEX_DEPTH_MAX: u32 = 100;

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
    leaf: fn(&Self, &str, Value) -> Result<Filter, ApiError>,
    nodes: usize,
}

impl Parser {
    fn metadata() -> Self {
        Self {
            clause: "Invalid where clause",
            leaf: Self::metadata_leaf,
            nodes: 0,
        }
    }

    fn document() -> Self {
        Self {
            clause: "Invalid where document clause",
            leaf: Self::document_leaf,
            nodes: 0,
        }
    }

    fn parse(mut self, value: Value) -> Result<Filter, ApiError> {
        self.expression(value, 0)
    }

    fn error(&self) -> ApiError {
        ApiError::invalid(self.clause)
    }

    fn limit(&self, limit: &str) -> ApiError {
        ApiError::invalid(format!("{}: {limit}", self.clause))
    }

    fn expression(&mut self, value: Value, depth: usize) -> Result<Filter, ApiError> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(self.limit(&format!("more than {NODES_MAX} expressions")));
        }
        let Value::Object(object) = value else {
            return Err(self.error());
        };
        let (key, operand) = self.only_member(object)?;
        let make = match key.as_str() {
            "$and" => Filter::And,
            "$or" => Filter::Or,
            _ => return (self.leaf)(self, &key, operand),
        };
        if depth == DEPTH_MAX {
            return Err(self.limit(&format!("nested more than {DEPTH_MAX} levels deep")));
        }
        let Value::Array(members) = operand else {
            return Err(self.error());
        };
        let members = members
            .into_iter()
            .map(|member| self.expression(member, depth + 1));
        Ok(make(members.collect::<Result<_, _>>()?))
    }

    fn only_member(&self, object: Map<String, Value>) -> Result<(String, Value), ApiError> {
        let mut members = object.into_iter();
        match (members.next(), members.next()) {
            (Some(member), None) => Ok(member),
            _ => Err(self.error()),
        }
    }

    /// `{operator: string}` over documents.
    fn document_leaf(&self, operator: &str, operand: Value) -> Result<Filter, ApiError> {
        let Value::String(text) = operand else {
            return Err(self.error());
        };
        let test = match operator {
            "$contains" => DocumentTest::Contains(text),
            "$not_contains" => DocumentTest::NotContains(text),
            "$regex" => DocumentTest::Regex(compile(&text)?),
            "$not_regex" => DocumentTest::NotRegex(compile(&text)?),
            _ => return Err(self.error()),
        };
        Ok(Filter::Document(test))
    }

    /// `{key: scalar}` or `{key: {operator: operand}}`.
    fn metadata_leaf(&self, key: &str, value: Value) -> Result<Filter, ApiError> {
        if key.starts_with('$') {
            return Err(self.error());
        }
        let (operator, operand) = match value {
            Value::Object(object) => self.only_member(object)?,
            scalar => ("$eq".to_owned(), scalar),
        };
        match key {
            "#document" => self.document_leaf(&operator, operand),
            "#id" => self.id_test(&operator, operand),
            _ => {
                let comparison = self.comparison(&operator, operand)?;
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
                    _ => Err(self.error()),
                })
                .collect::<Result<_, _>>()?,
            _ => return Err(self.error()),
        };
        let negated = matches!(operator, "$ne" | "$nin");
        Ok(Filter::Id { ids, negated })
    }

    fn comparison(&self, operator: &str, operand: Value) -> Result<Comparison, ApiError> {
        Ok(match operator {
            "$eq" => Comparison::Equal(self.scalar(operand)?),
            "$ne" => Comparison::NotEqual(self.scalar(operand)?),
            "$gt" => Comparison::Greater(self.number(operand)?),
            "$gte" => Comparison::GreaterOrEqual(self.number(operand)?),
            "$lt" => Comparison::Less(self.number(operand)?),
            "$lte" => Comparison::LessOrEqual(self.number(operand)?),
            "$in" => Comparison::In(self.scalars(operand)?),
            "$nin" => Comparison::NotIn(self.scalars(operand)?),
            "$contains" => Comparison::Contains(self.scalar(operand)?),
            "$not_contains" => Comparison::NotContains(self.scalar(operand)?),
            _ => return Err(self.error()),
        })
    }

    fn scalar(&self, value: Value) -> Result<Scalar, ApiError> {
        match value {
            Value::Bool(value) => Ok(Scalar::Bool(value)),
            Value::String(value) => Ok(Scalar::Str(value)),
            number => Ok(match self.number(number)? {
                Number::Int(value) => Scalar::Int(value),
                Number::Float(value) => Scalar::Float(value),
            }),
        }
    }

    fn number(&self, value: Value) -> Result<Number, ApiError> {
        let Value::Number(number) = value else {
            return Err(self.error());
        };
        if let Some(int) = number.as_i64() {
            return Ok(Number::Int(int));
        }
        match number.as_f64() {
            Some(float) if number.is_f64() && float.is_finite() => Ok(Number::Float(float)),
            _ => Err(self.error()),
        }
    }

    /// A list whose first member decides the type; floats may be written as integers.
    fn scalars(&self, value: Value) -> Result<Vec<Scalar>, ApiError> {
        let Value::Array(list) = value else {
            return Err(self.error());
        };
        let mut scalars = Vec::with_capacity(list.len());
        for value in list {
            let scalar = match (scalars.first(), self.scalar(value)?) {
                (Some(Scalar::Float(_)), Scalar::Int(int)) => Scalar::Float(int as f64),
                (Some(first), scalar)
                    if std::mem::discriminant(first) != std::mem::discriminant(&scalar) =>
                {
                    return Err(self.error());
                }
                (_, scalar) => scalar,
            };
            scalars.push(scalar);
        }
        if scalars.is_empty() {
            return Err(self.error());
        }
        Ok(scalars)
    }
}

fn compile(pattern: &str) -> Result<Box<regex::Regex>, ApiError> {
    if pattern.len() > REGEX_TEXT_MAX {
        return Err(ApiError::invalid(format!(
            "Regex is too large: it has {} bytes; at most {REGEX_TEXT_MAX} are allowed",
            pattern.len()
        )));
    }
    RegexBuilder::new(pattern)
        .size_limit(REGEX_BYTES_MAX)
        .dfa_size_limit(REGEX_BYTES_MAX)
        .nest_limit(REGEX_DEPTH_MAX)
        .build()
        .map(Box::new)
        .map_err(|error| match error {
            regex::Error::Syntax(text) => {
                // The misspelling is part of the wording that clients know.
                ApiError::invalid(format!("Regex syntax errror: {text}"))
            }
            _ => ApiError::invalid(format!(
                "Regex is too large: it compiles to more than {REGEX_BYTES_MAX} bytes"
            )),
        })
}

#[cfg(test)]
mod tests;
