//! Elements against their definitions, and how every level widens them.

use proptest::prelude::*;

use super::{Bf16, Element, F16};
use crate::dispatch::available;

/// What IEEE 754 says these bits of 16 are.
fn half(bits: u16) -> f64 {
    let digits = f64::from(bits & 0x3ff);
    let sign = if bits >> 15 == 0 { 1.0 } else { -1.0 };
    sign * match i32::from(bits >> 10 & 31) {
        0 => digits * 2f64.powi(-24),
        31 if digits == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        exponent => (1.0 + digits / 1024.0) * 2f64.powi(exponent - 15),
    }
}

#[test]
fn every_half_is_what_the_standard_says_and_rounds_to_itself() {
    for bits in 0..=u16::MAX {
        let (found, expected) = (F16::from_bits(bits).to_f32(), half(bits));
        if expected.is_nan() {
            assert!(found.is_nan(), "{bits:x}");
            assert!(F16::nearest(found).to_f32().is_nan(), "{bits:x}");
        } else {
            assert_eq!(f64::from(found).to_bits(), expected.to_bits(), "{bits:x}");
            assert_eq!(F16::nearest(found).to_bits(), bits);
        }
    }
}

#[test]
fn numbers_in_the_middle_of_two_halves_round_to_the_even_and_others_to_the_nearer() {
    for bits in 0..0x7bff_u16 {
        let (low, high) = (half(bits), half(bits + 1));
        let middle = f64::midpoint(low, high) as f32;
        let even = bits + (bits & 1);
        assert_eq!(F16::nearest(middle).to_bits(), even, "{bits:x}");
        assert_eq!(F16::nearest(-middle).to_bits(), even | 0x8000, "{bits:x}");
        assert_eq!(F16::nearest(middle.next_down()).to_bits(), bits);
        assert_eq!(F16::nearest(middle.next_up()).to_bits(), bits + 1);
    }
    assert_eq!(F16::nearest(65_519.996).to_bits(), 0x7bff);
    for endless in [65_520.0, 65_536.0, 1e30, f32::INFINITY] {
        assert_eq!(F16::nearest(endless).to_bits(), 0x7c00);
        assert_eq!(F16::nearest(-endless).to_bits(), 0xfc00);
    }
}

proptest! {
    #[test]
    fn the_upper_half_of_a_float_is_the_nearest_of_its_kind(bits in any::<u32>()) {
        let number = f32::from_bits(bits);
        let found = Bf16::nearest(number);
        if number.is_nan() {
            prop_assert!(found.to_f32().is_nan());
            return Ok(());
        }
        let low = Bf16::from_bits((bits >> 16) as u16);
        let high = Bf16::from_bits((bits >> 16) as u16 + u16::from(bits & 0xffff != 0));
        let middle = f32::from_bits(bits >> 16 << 16 | 0x8000);
        let expected = match number.abs().total_cmp(&middle.abs()) {
            std::cmp::Ordering::Less => low,
            std::cmp::Ordering::Equal if low.to_bits() & 1 == 0 => low,
            std::cmp::Ordering::Greater | std::cmp::Ordering::Equal => high,
        };
        prop_assert_eq!(found, expected);
        prop_assert_eq!(Bf16::nearest(found.to_f32()), found);
    }
}

#[test]
fn bytes_hold_whole_numbers_and_stop_at_their_ends() {
    for byte in i8::MIN..=i8::MAX {
        assert_eq!(i8::nearest(byte.to_f32()), byte);
    }
    let rounded = [0.5, 1.5, -0.5, -2.4, 200.0, -1e9].map(i8::nearest);
    assert_eq!(rounded, [0, 2, 0, -2, 127, -128]);
}

/// A distance to one element shows what a kernel takes it for.
fn widened<E: Element>(elements: &[E]) {
    for kernels in available() {
        for &element in elements {
            let expected = element.to_f32();
            for length in [1, 16, 35] {
                let (mut query, mut row) = (vec![0.0; length], vec![E::ZERO; length]);
                let last = length - 1;
                (query[last], row[last]) = (1.0, element);
                // Adding to 0 brings -0 to 0 where there are other elements, and an infinity
                // times 0 is no number.
                let found = kernels.inner_product(&query, &row);
                let same = (found - expected).abs() <= 0.0;
                assert!(
                    same || found.is_nan() && !expected.is_finite()
                        || found.to_bits() == expected.to_bits(),
                    "{}: {found} instead of {expected}",
                    kernels.level
                );
            }
        }
    }
}

#[test]
fn every_level_widens_every_element_exactly() {
    let all: Vec<u16> = (0..=u16::MAX).collect();
    widened(
        &all.iter()
            .map(|&bits| F16::from_bits(bits))
            .collect::<Vec<_>>(),
    );
    widened(
        &all.iter()
            .map(|&bits| Bf16::from_bits(bits))
            .collect::<Vec<_>>(),
    );
    widened(&(i8::MIN..=i8::MAX).collect::<Vec<_>>());
}
