//! What requests mean, record by record, as the API reference says it and nothing faster.

use std::cmp::Ordering;

use super::Record;
use crate::model::{Comparison, DocumentTest, Filter, Number, Scalar, Space, Value};

pub(super) fn passes(record: &Record, filter: &Filter) -> bool {
    match filter {
        Filter::And(members) => members.iter().all(|member| passes(record, member)),
        Filter::Or(members) => members.iter().any(|member| passes(record, member)),
        Filter::Metadata { key, comparison } => compare(record.metadata.get(key), comparison),
        Filter::Document(test) => {
            let document = record.document.as_deref();
            match test {
                DocumentTest::Contains(part) => document.is_some_and(|text| text.contains(part)),
                DocumentTest::NotContains(part) => {
                    !document.is_some_and(|text| text.contains(part))
                }
                DocumentTest::Regex(regex) => document.is_some_and(|text| regex.is_match(text)),
                DocumentTest::NotRegex(regex) => !document.is_some_and(|text| regex.is_match(text)),
            }
        }
        Filter::Id { ids, negated } => ids.contains(&record.id) != *negated,
    }
}

fn compare(value: Option<&Value>, comparison: &Comparison) -> bool {
    let ordered = |number: &Number| match (value, number) {
        (Some(Value::Int(a)), Number::Int(b)) => Some(a.cmp(b)),
        (Some(Value::Int(a)), Number::Float(b)) => Some(int_with_float(*a, *b)),
        (Some(Value::Float(a)), Number::Int(b)) => Some(int_with_float(*b, *a).reverse()),
        (Some(Value::Float(a)), Number::Float(b)) => a.partial_cmp(b),
        _ => None,
    };
    match comparison {
        Comparison::Equal(scalar) => equal(value, scalar),
        Comparison::NotEqual(scalar) => !equal(value, scalar),
        Comparison::Greater(number) => ordered(number) == Some(Ordering::Greater),
        Comparison::GreaterOrEqual(number) => {
            ordered(number).is_some_and(|ordering| ordering != Ordering::Less)
        }
        Comparison::Less(number) => ordered(number) == Some(Ordering::Less),
        Comparison::LessOrEqual(number) => {
            ordered(number).is_some_and(|ordering| ordering != Ordering::Greater)
        }
        Comparison::In(scalars) => scalars.iter().any(|scalar| equal(value, scalar)),
        Comparison::NotIn(scalars) => !scalars.iter().any(|scalar| equal(value, scalar)),
        Comparison::Contains(scalar) => holds(value, scalar),
        Comparison::NotContains(scalar) => !holds(value, scalar),
    }
}

fn equal(value: Option<&Value>, scalar: &Scalar) -> bool {
    match (value, scalar) {
        (Some(Value::Bool(a)), Scalar::Bool(b)) => a == b,
        (Some(Value::Str(a)), Scalar::Str(b)) => **a == **b,
        (Some(Value::Int(a)), Scalar::Int(b)) => a == b,
        (Some(Value::Float(a)), Scalar::Float(b)) => a.partial_cmp(b) == Some(Ordering::Equal),
        (Some(Value::Int(a)), Scalar::Float(b)) | (Some(Value::Float(b)), Scalar::Int(a)) => {
            int_with_float(*a, *b) == Ordering::Equal
        }
        _ => false,
    }
}

fn holds(value: Option<&Value>, scalar: &Scalar) -> bool {
    match (value, scalar) {
        (Some(Value::Bools(list)), Scalar::Bool(one)) => list.contains(one),
        (Some(Value::Ints(list)), Scalar::Int(one)) => list.contains(one),
        (Some(Value::Floats(list)), Scalar::Float(one)) => list.contains(one),
        (Some(Value::Strs(list)), Scalar::Str(one)) => list.contains(one),
        _ => false,
    }
}

pub(super) fn int_with_float(int: i64, float: f64) -> Ordering {
    let floor = float.floor();
    i128::from(int)
        .cmp(&(floor as i128))
        .then(if float > floor {
            Ordering::Less
        } else {
            Ordering::Equal
        })
}

pub(super) fn distance(space: Space, a: &[f32], b: &[f32]) -> f64 {
    let product = |a: &[f32], b: &[f32]| -> f64 {
        a.iter()
            .zip(b)
            .map(|(a, b)| f64::from(*a) * f64::from(*b))
            .sum()
    };
    match space {
        Space::L2 => a
            .iter()
            .zip(b)
            .map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2))
            .sum(),
        Space::Ip => 1.0 - product(a, b),
        Space::Cosine => {
            let norms = product(a, a).sqrt() * product(b, b).sqrt();
            if norms == 0.0 {
                1.0
            } else {
                (1.0 - product(a, b) / norms).max(0.0)
            }
        }
    }
}
