//! What a comparison means for one cell: the definition that the index must agree with.
//!
//! What must stay true: a negative test passes exactly where its positive test does not.

use std::cmp::Ordering;

use super::number::compare;
use crate::model::{Comparison, Number, Scalar, Value};

/// Whether a record with `value` (or without the key) passes `comparison`.
pub(in crate::segments) fn passes(value: Option<&Value>, comparison: &Comparison) -> bool {
    value.is_some_and(|value| passes_positive(value, comparison)) != is_negative(comparison)
}

/// Whether the comparison is the opposite of a positive test.
pub(in crate::segments) fn is_negative(comparison: &Comparison) -> bool {
    matches!(
        comparison,
        Comparison::NotEqual(_) | Comparison::NotIn(_) | Comparison::NotContains(_)
    )
}

/// Whether `value` passes the test; for a negative test, the positive one that it is opposite to.
fn passes_positive(value: &Value, comparison: &Comparison) -> bool {
    let ordered = |number, wanted: fn(Ordering) -> bool| {
        number_of(value).is_some_and(|value| compare(value, number).is_some_and(wanted))
    };
    match comparison {
        Comparison::Equal(scalar) | Comparison::NotEqual(scalar) => equal(value, scalar),
        Comparison::In(scalars) | Comparison::NotIn(scalars) => {
            scalars.iter().any(|scalar| equal(value, scalar))
        }
        Comparison::Contains(scalar) | Comparison::NotContains(scalar) => contains(value, scalar),
        Comparison::Greater(number) => ordered(*number, Ordering::is_gt),
        Comparison::GreaterOrEqual(number) => ordered(*number, Ordering::is_ge),
        Comparison::Less(number) => ordered(*number, Ordering::is_lt),
        Comparison::LessOrEqual(number) => ordered(*number, Ordering::is_le),
    }
}

fn number_of(value: &Value) -> Option<Number> {
    match value {
        Value::Int(int) => Some(Number::Int(*int)),
        Value::Float(float) => Some(Number::Float(*float)),
        _ => None,
    }
}

fn equal(value: &Value, scalar: &Scalar) -> bool {
    let number = |number| {
        number_of(value).is_some_and(|value| compare(value, number) == Some(Ordering::Equal))
    };
    match scalar {
        Scalar::Bool(flag) => matches!(value, Value::Bool(value) if value == flag),
        Scalar::Str(text) => matches!(value, Value::Str(value) if **value == **text),
        Scalar::Int(int) => number(Number::Int(*int)),
        Scalar::Float(float) => number(Number::Float(*float)),
    }
}

/// Whether `value` is a list of the scalar's own type that holds it: as in Chroma, integers are
/// not looked for among floats here, nor floats among integers.
#[expect(
    clippy::float_cmp,
    reason = "elements are compared as the exact numbers they are"
)]
fn contains(value: &Value, scalar: &Scalar) -> bool {
    match (value, scalar) {
        (Value::Bools(list), Scalar::Bool(flag)) => list.contains(flag),
        (Value::Ints(list), Scalar::Int(int)) => list.contains(int),
        (Value::Floats(list), Scalar::Float(float)) => list.iter().any(|value| value == float),
        (Value::Strs(list), Scalar::Str(text)) => list.contains(text),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: impl Into<Option<Value>>, comparison: &Comparison, expected: bool) {
        let value = value.into();
        assert_eq!(
            passes(value.as_ref(), comparison),
            expected,
            "{value:?} {comparison:?}"
        );
    }

    #[test]
    fn a_missing_key_passes_negative_tests_only() {
        let one = || Scalar::Int(1);
        check(None, &Comparison::Equal(one()), false);
        check(None, &Comparison::In(vec![one()]), false);
        check(None, &Comparison::Contains(one()), false);
        check(None, &Comparison::LessOrEqual(Number::Int(1)), false);
        check(None, &Comparison::NotEqual(one()), true);
        check(None, &Comparison::NotIn(vec![one()]), true);
        check(None, &Comparison::NotContains(one()), true);
    }

    #[test]
    fn types_do_not_mix_but_for_numbers() {
        let equal_one = Comparison::Equal(Scalar::Int(1));
        check(Some(Value::Float(1.0)), &equal_one, true);
        check(Some(Value::Bool(true)), &equal_one, false);
        check(Some(Value::Str("1".into())), &equal_one, false);
        check(
            Some(Value::Bool(true)),
            &Comparison::GreaterOrEqual(Number::Int(0)),
            false,
        );
        check(
            Some(Value::Int(1)),
            &Comparison::Equal(Scalar::Float(1.5)),
            false,
        );
        check(
            Some(Value::Int(1)),
            &Comparison::Less(Number::Float(1.5)),
            true,
        );
        check(
            Some(Value::Int(1)),
            &Comparison::NotEqual(Scalar::Str("1".into())),
            true,
        );
    }

    #[test]
    fn scalar_tests_never_match_lists_and_contains_never_matches_scalars() {
        let list = || Some(Value::Strs(vec!["y".into()].into()));
        let y = || Scalar::Str("y".into());
        check(list(), &Comparison::Equal(y()), false);
        check(list(), &Comparison::In(vec![y()]), false);
        check(list(), &Comparison::NotEqual(y()), true);
        check(list(), &Comparison::Contains(y()), true);
        check(
            Some(Value::Str("y".into())),
            &Comparison::Contains(y()),
            false,
        );
        check(
            Some(Value::Floats(vec![1.0].into())),
            &Comparison::Contains(Scalar::Int(1)),
            false,
        );
        check(
            Some(Value::Floats(vec![-0.0].into())),
            &Comparison::Contains(Scalar::Float(0.0)),
            true,
        );
    }
}
