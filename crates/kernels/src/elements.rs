//! What kept vectors may be made of: `f32`, or narrower numbers that take half the room or a quarter.
//!
//! What must stay true: every element is a number that `f32` holds exactly, so that distances are
//! those between the kept numbers. Queries are always `f32`. Rounding to an element is to the
//! nearest, of two equally near ones to the even.

use crate::dispatch::{DistanceTable, DistanceTables};

/// A type of numbers that vectors can be kept in: `f32`, [`F16`], [`Bf16`] and `i8`.
pub trait Element: Copy + Send + Sync + 'static + sealed::Tabled {
    /// The number 0.
    const ZERO: Self;

    /// The nearest element; numbers beyond the largest become infinite, for `i8` the largest.
    fn nearest(number: f32) -> Self;

    /// The number, exactly.
    fn to_f32(self) -> f32;
}

pub(crate) mod sealed {
    /// What finds the kernels over an element, and keeps other crates from adding any.
    pub trait Tabled: Sized {
        #[expect(
            private_interfaces,
            reason = "the trait is sealed, nobody else can name the method"
        )]
        fn table(tables: &super::DistanceTables) -> &super::DistanceTable<Self>;
    }
}

/// A number of IEEE 754 in 16 bits: 11 digits of precision, up to 65,504.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct F16(u16);

/// The upper half of an `f32`: 8 digits of precision, and its range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Bf16(u16);

/// Digits of an `f32` beyond those of an [`F16`].
const F16_SHIFT: u32 = 13;

/// What the exponents of `f32` and [`F16`] are apart, as a factor.
pub(crate) const F16_SCALE: f32 = f32::from_bits((127 + 112) << 23);

/// The bits of the smallest power of two that an [`F16`] holds with all digits.
const F16_NORMAL: u32 = 113 << 23;

/// The bits of 65,536, which rounds to no finite [`F16`].
const F16_END: u32 = 143 << 23;

impl F16 {
    /// The number with these bits.
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }

    /// Its bits.
    pub const fn to_bits(self) -> u16 {
        self.0
    }
}

impl Bf16 {
    /// The number with these bits.
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }

    /// Its bits.
    pub const fn to_bits(self) -> u16 {
        self.0
    }
}

impl Element for f32 {
    const ZERO: Self = 0.0;

    fn nearest(number: f32) -> Self {
        number
    }

    #[inline]
    fn to_f32(self) -> f32 {
        self
    }
}

impl Element for F16 {
    const ZERO: Self = Self(0);

    fn nearest(number: f32) -> Self {
        let sign = (number.to_bits() >> 16) as u16 & 0x8000;
        let bits = number.to_bits() & !(1 << 31);
        let rounded = if number.is_nan() {
            0x7e00
        } else if bits >= F16_END {
            0x7c00
        } else if bits < F16_NORMAL {
            // Added to a number whose last digit is worth as much as that of the smallest elements,
            // the sum is rounded as they are.
            let least = f32::from_bits((127 - 24 + 23) << 23);
            (f32::from_bits(bits) + least).to_bits() - least.to_bits()
        } else {
            let even = bits >> F16_SHIFT & 1;
            (bits - (112 << 23) + (1 << (F16_SHIFT - 1)) - 1 + even) >> F16_SHIFT
        };
        Self(sign | rounded as u16)
    }

    #[inline]
    fn to_f32(self) -> f32 {
        let sign = u32::from(self.0 & 0x8000) << 16;
        let bits = u32::from(self.0 & 0x7fff) << F16_SHIFT;
        let size = if bits >> 23 == 31 {
            f32::from_bits(bits | 0xff << 23)
        } else {
            f32::from_bits(bits) * F16_SCALE
        };
        f32::from_bits(size.to_bits() | sign)
    }
}

impl Element for Bf16 {
    const ZERO: Self = Self(0);

    fn nearest(number: f32) -> Self {
        let bits = number.to_bits();
        if number.is_nan() {
            return Self((bits >> 16) as u16 | 0x40);
        }
        let even = bits >> 16 & 1;
        Self(((bits + 0x7fff + even) >> 16) as u16)
    }

    #[inline]
    fn to_f32(self) -> f32 {
        f32::from_bits(u32::from(self.0) << 16)
    }
}

impl Element for i8 {
    const ZERO: Self = 0;

    fn nearest(number: f32) -> Self {
        number.round_ties_even() as Self
    }

    #[inline]
    fn to_f32(self) -> f32 {
        f32::from(self)
    }
}

/// Names the table of an element.
macro_rules! tabled {
    ($($element:ty: $field:ident),+) => {$(
        impl sealed::Tabled for $element {
            #[expect(
                private_interfaces,
                reason = "the trait is sealed, nobody else can name the method"
            )]
            #[inline]
            fn table(tables: &DistanceTables) -> &DistanceTable<Self> {
                &tables.$field
            }
        }
    )+};
}

tabled!(f32: f32, F16: f16, Bf16: bf16, i8: i8);

#[cfg(test)]
mod tests;
