//! The operands of a test for one of many values, in order, so that none is compared with all.
//!
//! What must stay true: a value equals one of the operands exactly where [`super::comparison`] says
//! that it equals one of them.

use std::cmp::Ordering;

use super::number::compare;
use crate::model::{Comparison, Number, Scalar, Value};

/// Operands by type, ascending, each once.
pub(in crate::segments) struct Operands<'a> {
    /// Integers and floats, by the exact numbers they are.
    pub(super) numbers: Vec<Number>,
    /// Strings, byte by byte.
    pub(super) texts: Vec<&'a str>,
    /// Whether `false` and `true` are among them.
    pub(super) flags: [bool; 2],
}

impl<'a> Operands<'a> {
    /// The operands of `comparison`, if it tests for one of many.
    pub(in crate::segments) fn of(comparison: &'a Comparison) -> Option<Self> {
        match comparison {
            Comparison::In(scalars) | Comparison::NotIn(scalars) => Some(Self::new(scalars)),
            _ => None,
        }
    }

    pub(super) fn new(scalars: &'a [Scalar]) -> Self {
        let mut operands = Self {
            numbers: Vec::new(),
            texts: Vec::new(),
            flags: [false; 2],
        };
        for scalar in scalars {
            match scalar {
                Scalar::Bool(flag) => operands.flags[usize::from(*flag)] = true,
                Scalar::Str(text) => operands.texts.push(text),
                Scalar::Int(int) => operands.numbers.push(Number::Int(*int)),
                // What is no number equals nothing.
                Scalar::Float(float) if float.is_nan() => {}
                Scalar::Float(float) => operands.numbers.push(Number::Float(*float)),
            }
        }
        operands.texts.sort_unstable();
        operands.texts.dedup();
        operands.numbers.sort_unstable_by(|a, b| order(*a, *b));
        operands.numbers.dedup_by(|a, b| order(*a, *b).is_eq());
        operands
    }

    /// Whether one of them equals `value`.
    pub(in crate::segments) fn hold(&self, value: &Value) -> bool {
        let number = |number: Number| {
            let found = self.numbers.binary_search_by(|one| order(*one, number));
            found.is_ok()
        };
        match value {
            Value::Bool(flag) => self.flags[usize::from(*flag)],
            Value::Str(text) => self.texts.binary_search(&&**text).is_ok(),
            Value::Int(int) => number(Number::Int(*int)),
            Value::Float(float) => !float.is_nan() && number(Number::Float(*float)),
            _ => false,
        }
    }
}

/// How numbers stand to each other; those that are none come last.
fn order(left: Number, right: Number) -> Ordering {
    compare(left, right).unwrap_or(Ordering::Greater)
}
