//! Vectors as they were told: arrays of numbers, or base64 of little-endian 32-bit floats.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, SeqAccess, Visitor};

/// Vectors one after the other; each may have a length of its own, which is judged later.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Vectors {
    values: Vec<f32>,
    ends: Vec<usize>,
}

impl Vectors {
    /// Vectors of one dimension in one block.
    pub(crate) fn of_block(dimension: usize, values: Vec<f32>) -> Self {
        let count = values.len().checked_div(dimension).unwrap_or(0);
        Self {
            values,
            ends: (1..=count).map(|row| row * dimension).collect(),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The vector of `row`.
    pub fn get(&self, row: usize) -> &[f32] {
        let from = row.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.values[from..self.ends[row]]
    }

    /// All numbers, one vector after the other.
    pub(crate) fn into_values(self) -> Vec<f32> {
        self.values
    }

    /// Appends all vectors of `other`.
    pub(crate) fn append(&mut self, other: &Self) {
        let shift = self.values.len();
        self.values.extend_from_slice(&other.values);
        self.ends.extend(other.ends.iter().map(|end| end + shift));
    }
}

/// A list of vectors.
impl<'de> Deserialize<'de> for Vectors {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ListVisitor)
    }
}

struct ListVisitor;

impl<'de> Visitor<'de> for ListVisitor {
    type Value = Vectors;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of arrays of numbers or of base64 texts")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vectors, A::Error> {
        let mut vectors = Vectors::default();
        while list.next_element_seed(One(&mut vectors))?.is_some() {}
        Ok(vectors)
    }
}

/// Reads one vector behind those that are there.
struct One<'a>(&'a mut Vectors);

impl<'de> DeserializeSeed<'de> for One<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for One<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of numbers or a base64 text")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(number) = list.next_element::<f32>()? {
            self.0.values.push(number);
        }
        self.0.ends.push(self.0.values.len());
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        let bytes = STANDARD
            .decode(text)
            .map_err(|error| E::custom(format!("invalid base64: {error}")))?;
        if !bytes.len().is_multiple_of(4) {
            return Err(E::custom(format!(
                "{} bytes of base64 are no whole number of 32-bit floats",
                bytes.len()
            )));
        }
        let numbers = bytes
            .chunks_exact(4)
            .map(|number| f32::from_le_bytes([number[0], number[1], number[2], number[3]]));
        self.0.values.extend(numbers);
        self.0.ends.push(self.0.values.len());
        Ok(())
    }
}

/// One vector as a member of an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Single(pub(super) Vectors);

impl<'de> Deserialize<'de> for Single {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut vectors = Vectors::default();
        One(&mut vectors).deserialize(deserializer)?;
        Ok(Self(vectors))
    }
}
