//! Compares integers and floats as the exact numbers they are.
//!
//! What must stay true: no integer is rounded to a float, and no float to an integer, on the way.

use std::cmp::Ordering;

use crate::model::Number;

/// 2^63: the first float above every `i64`.
const ABOVE_INTEGERS: f64 = 9_223_372_036_854_775_808.0;

/// How `left` stands to `right`; `None` where one of them is not a number.
pub(crate) fn compare(left: Number, right: Number) -> Option<Ordering> {
    match (left, right) {
        (Number::Int(left), Number::Int(right)) => Some(left.cmp(&right)),
        (Number::Float(left), Number::Float(right)) => left.partial_cmp(&right),
        (Number::Int(left), Number::Float(right)) => compare_int_float(left, right),
        (Number::Float(left), Number::Int(right)) => {
            compare_int_float(right, left).map(Ordering::reverse)
        }
    }
}

fn compare_int_float(int: i64, float: f64) -> Option<Ordering> {
    if float.is_nan() {
        return None;
    }
    if float >= ABOVE_INTEGERS {
        return Some(Ordering::Less);
    }
    if float < -ABOVE_INTEGERS {
        return Some(Ordering::Greater);
    }
    // In this range a float's whole part is an i64 exactly, and so is the rest a float.
    let whole = float.trunc();
    let rest = float - whole;
    Some(int.cmp(&(whole as i64)).then_with(|| {
        0f64.partial_cmp(&rest)
            .expect("the rest of a number is a number")
    }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(int: i64, float: f64, expected: Ordering) {
        let (int, float) = (Number::Int(int), Number::Float(float));
        assert_eq!(compare(int, float), Some(expected), "{int:?} {float:?}");
        assert_eq!(
            compare(float, int),
            Some(expected.reverse()),
            "{float:?} {int:?}"
        );
    }

    #[test]
    fn integers_beyond_the_precision_of_floats_are_not_rounded() {
        let big = 1i64 << 53;
        check(big, big as f64, Ordering::Equal);
        check(big + 1, big as f64, Ordering::Greater);
        check(big - 1, big as f64, Ordering::Less);
        check(-big - 1, -(big as f64), Ordering::Less);
        check(i64::MAX, ABOVE_INTEGERS, Ordering::Less);
        check(i64::MIN, -ABOVE_INTEGERS, Ordering::Equal);
        check(i64::MIN + 1, -ABOVE_INTEGERS, Ordering::Greater);
    }

    #[test]
    fn fractions_lie_between_their_neighbours() {
        check(1, 1.5, Ordering::Less);
        check(2, 1.5, Ordering::Greater);
        check(-1, -1.5, Ordering::Greater);
        check(-2, -1.5, Ordering::Less);
        check(0, -0.0, Ordering::Equal);
        check(0, f64::MIN_POSITIVE, Ordering::Less);
        check(0, -5e-324, Ordering::Greater);
    }

    #[test]
    fn infinities_lie_outside_and_what_is_no_number_compares_with_nothing() {
        check(i64::MAX, f64::INFINITY, Ordering::Less);
        check(i64::MIN, f64::NEG_INFINITY, Ordering::Greater);
        assert_eq!(compare(Number::Int(0), Number::Float(f64::NAN)), None);
    }

    proptest! {
        #[test]
        fn agrees_with_wide_integers(int: i64, shift in 0u32..12, other: i64) {
            // A multiple of 2^11 or more below 2^63 with at most 53 bits is a float exactly.
            let whole = (other >> 11) << shift.min(10);
            let expected = i128::from(int).cmp(&i128::from(whole));
            prop_assert_eq!(compare(Number::Int(int), Number::Float(whole as f64)), Some(expected));
        }
    }
}
