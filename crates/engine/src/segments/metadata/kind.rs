//! The kinds of metadata values as segments tell them apart.
//!
//! What must stay true: the numbers are on disk; a number is never used for another kind.

use crate::model::Value;

/// The kind of a metadata value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub(in crate::segments) enum Kind {
    /// true or false.
    Bool = 1,
    /// An integer.
    Int = 2,
    /// A float.
    Float = 3,
    /// A string.
    Str = 4,
    /// A list of booleans.
    Bools = 5,
    /// A list of integers.
    Ints = 6,
    /// A list of floats.
    Floats = 7,
    /// A list of strings.
    Strs = 8,
    /// A sparse vector.
    Sparse = 9,
}

impl Kind {
    /// How many numbers there are, 0 among them.
    pub(in crate::segments) const COUNT: usize = 10;

    /// The kind of `value`; `None` for a null, which is never stored.
    pub(in crate::segments) fn of(value: &Value) -> Option<Self> {
        Some(match value {
            Value::Null => return None,
            Value::Bool(_) => Self::Bool,
            Value::Int(_) => Self::Int,
            Value::Float(_) => Self::Float,
            Value::Str(_) => Self::Str,
            Value::Bools(_) => Self::Bools,
            Value::Ints(_) => Self::Ints,
            Value::Floats(_) => Self::Floats,
            Value::Strs(_) => Self::Strs,
            Value::Sparse(_) => Self::Sparse,
        })
    }

    /// The kind with this number.
    pub(in crate::segments) fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Bool,
            2 => Self::Int,
            3 => Self::Float,
            4 => Self::Str,
            5 => Self::Bools,
            6 => Self::Ints,
            7 => Self::Floats,
            8 => Self::Strs,
            9 => Self::Sparse,
            _ => return None,
        })
    }

    /// Whether values are lists.
    pub(in crate::segments) fn is_list(self) -> bool {
        matches!(self, Self::Bools | Self::Ints | Self::Floats | Self::Strs)
    }

    /// Its name, as columns of `records.arrow` carry it.
    pub(in crate::segments) fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Float => "float",
            Self::Str => "string",
            Self::Bools => "bool list",
            Self::Ints => "int list",
            Self::Floats => "float list",
            Self::Strs => "string list",
            Self::Sparse => "sparse vector",
        }
    }
}
