//! Filters over records: the parsed form of `where` and `where_document`.
//!
//! Semantics (see the API reference, 6.1 and 6.2): a missing key never matches a positive test
//! and always matches a negative one; types do not mix, except that integers and floats compare
//! as the exact numbers they are; scalar tests never match a list.

use regex::Regex;

/// A scalar operand.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    /// true or false.
    Bool(bool),
    /// A 64-bit integer.
    Int(i64),
    /// A finite 64-bit float.
    Float(f64),
    /// A string.
    Str(String),
}

/// A numeric operand.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// A 64-bit integer.
    Int(i64),
    /// A finite 64-bit float.
    Float(f64),
}

/// A test of one metadata key.
#[derive(Clone, Debug, PartialEq)]
pub enum Comparison {
    /// Equal to.
    Equal(Scalar),
    /// Not equal to, of another type, or missing.
    NotEqual(Scalar),
    /// Greater than.
    Greater(Number),
    /// Greater than or equal to.
    GreaterOrEqual(Number),
    /// Less than.
    Less(Number),
    /// Less than or equal to.
    LessOrEqual(Number),
    /// Equal to one of these.
    In(Vec<Scalar>),
    /// Equal to none of these, of another type, or missing.
    NotIn(Vec<Scalar>),
    /// A list that holds this element.
    Contains(Scalar),
    /// No list that holds this element, or missing.
    NotContains(Scalar),
}

/// A test of the document. Negative tests match records without a document.
#[derive(Clone, Debug)]
pub enum DocumentTest {
    /// Holds this substring, case-sensitive; the empty string is in every document.
    Contains(String),
    /// Does not hold this substring.
    NotContains(String),
    /// The regular expression matches somewhere.
    Regex(Box<Regex>),
    /// The regular expression matches nowhere.
    NotRegex(Box<Regex>),
}

/// Regular expressions are equal where their texts are.
impl PartialEq for DocumentTest {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Contains(a), Self::Contains(b))
            | (Self::NotContains(a), Self::NotContains(b)) => a == b,
            (Self::Regex(a), Self::Regex(b)) | (Self::NotRegex(a), Self::NotRegex(b)) => {
                a.as_str() == b.as_str()
            }
            _ => false,
        }
    }
}

/// A filter.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// All of these; with no member, every record.
    And(Vec<Filter>),
    /// One of these at least; with no member, no record.
    Or(Vec<Filter>),
    /// A test of a metadata key.
    Metadata {
        /// The key.
        key: String,
        /// The test.
        comparison: Comparison,
    },
    /// A test of the document.
    Document(DocumentTest),
    /// The record's id is one of these (or, negated, none of these).
    Id {
        /// The ids.
        ids: Vec<String>,
        /// Whether the test is turned round.
        negated: bool,
    },
}
