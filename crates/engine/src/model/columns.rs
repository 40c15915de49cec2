//! Columns of strings and vectors, each in one buffer.
//!
//! What must stay true: offsets begin at 0, never fall, end with the text and lie between characters; a block of vectors
//! is a whole number of rows; an absent row has its place all the same.

use bytes::Bytes;

use super::lent::LentNumbers;
use crate::Result;

/// A column of strings: row `i` is `text[offsets[i]..offsets[i + 1]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strings {
    offsets: Vec<u32>,
    text: String,
}

impl Default for Strings {
    fn default() -> Self {
        Self {
            offsets: vec![0],
            text: String::new(),
        }
    }
}

impl Strings {
    /// A column with room for `rows` strings of `bytes` bytes together.
    pub fn with_capacity(rows: usize, bytes: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Self {
            offsets,
            text: String::with_capacity(bytes),
        }
    }

    /// Takes a column from its parts: `offsets` has one entry more than there are rows, starts
    /// at 0, never falls, ends at `text.len()`, and each lies on a character boundary.
    /// Returns `None` where that is not so.
    pub fn from_parts(offsets: Vec<u32>, text: String) -> Option<Self> {
        let ordered = offsets.first() == Some(&0)
            && offsets
                .last()
                .is_some_and(|&last| last as usize == text.len())
            && offsets.windows(2).all(|pair| pair[0] <= pair[1])
            && offsets.iter().all(|&at| text.is_char_boundary(at as usize));
        ordered.then_some(Self { offsets, text })
    }

    /// Appends one string. A column holds at most 4 GiB of text.
    pub fn push(&mut self, value: &str) {
        self.text.push_str(value);
        self.offsets
            .push(u32::try_from(self.text.len()).expect("a column holds under 4 GiB"));
    }

    /// The string of `row`.
    pub fn get(&self, row: usize) -> &str {
        &self.text[self.offsets[row] as usize..self.offsets[row + 1] as usize]
    }

    /// How many bytes the string of `row` has; the text itself is not read.
    pub fn bytes_of(&self, row: usize) -> usize {
        (self.offsets[row + 1] - self.offsets[row]) as usize
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The strings in row order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        (0..self.len()).map(|row| self.get(row))
    }

    /// The offsets, one more than there are rows.
    pub fn offsets(&self) -> &[u32] {
        &self.offsets
    }

    /// All strings one after the other.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Bytes held.
    pub fn heap_bytes(&self) -> usize {
        self.text.capacity() + self.offsets.capacity() * 4
    }

    /// Gives back room that was made ahead.
    pub fn shrink_to_fit(&mut self) {
        self.text.shrink_to_fit();
        self.offsets.shrink_to_fit();
    }
}

impl<'a> FromIterator<&'a str> for Strings {
    fn from_iter<I: IntoIterator<Item = &'a str>>(values: I) -> Self {
        let mut column = Self::default();
        values.into_iter().for_each(|value| column.push(value));
        column
    }
}

/// A column of strings in which a row may be absent (null).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OptionalStrings {
    values: Strings,
    present: Vec<bool>,
}

impl OptionalStrings {
    /// A column of `rows` absent strings.
    pub fn absent(rows: usize) -> Self {
        Self {
            values: Strings {
                offsets: vec![0; rows + 1],
                text: String::new(),
            },
            present: vec![false; rows],
        }
    }

    /// A column with room for `rows` strings of `bytes` bytes together.
    pub fn with_capacity(rows: usize, bytes: usize) -> Self {
        Self {
            values: Strings::with_capacity(rows, bytes),
            present: Vec::with_capacity(rows),
        }
    }

    /// Takes a column from its parts; `None` where the lengths differ.
    pub fn from_parts(values: Strings, present: Vec<bool>) -> Option<Self> {
        (values.len() == present.len()).then_some(Self { values, present })
    }

    /// Appends one row.
    pub fn push(&mut self, value: Option<&str>) {
        self.values.push(value.unwrap_or(""));
        self.present.push(value.is_some());
    }

    /// The string of `row`, or `None` where it is absent.
    pub fn get(&self, row: usize) -> Option<&str> {
        self.present[row].then(|| self.values.get(row))
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.present.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.present.is_empty()
    }

    /// Whether no row has a string.
    pub fn all_absent(&self) -> bool {
        !self.present.contains(&true)
    }

    /// The strings in row order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Option<&str>> {
        (0..self.len()).map(|row| self.get(row))
    }

    /// The strings as a column in which an absent row is empty.
    pub fn values(&self) -> &Strings {
        &self.values
    }

    /// Which rows are present.
    pub fn present(&self) -> &[bool] {
        &self.present
    }

    /// Bytes held.
    pub fn heap_bytes(&self) -> usize {
        self.values.heap_bytes() + self.present.capacity()
    }

    /// Gives back room that was made ahead.
    pub fn shrink_to_fit(&mut self) {
        self.values.shrink_to_fit();
        self.present.shrink_to_fit();
    }
}

impl<'a> FromIterator<Option<&'a str>> for OptionalStrings {
    fn from_iter<I: IntoIterator<Item = Option<&'a str>>>(values: I) -> Self {
        let mut column = Self::default();
        values.into_iter().for_each(|value| column.push(value));
        column
    }
}

/// Vectors of one dimension in one contiguous block, row after row.
///
/// A column of rows that have no vectors at all (deletions, updates without embeddings) has
/// dimension 0 and an empty block.
#[derive(Clone, Debug, Default)]
pub struct Embeddings {
    dimension: usize,
    values: Numbers,
    present: Option<Vec<bool>>,
}

/// A block of numbers.
#[derive(Clone, Debug)]
pub(crate) enum Numbers {
    /// In memory of their own.
    Own(Vec<f32>),
    /// In what somebody received, aligned, and so many bytes, which stay in memory as long as they do.
    Received(Bytes, usize),
    /// Elsewhere.
    Lent(LentNumbers),
}

impl Default for Numbers {
    fn default() -> Self {
        Self::Own(Vec::new())
    }
}

impl std::ops::Deref for Numbers {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match self {
            Self::Own(values) => values,
            Self::Received(bytes, _) => bytemuck::cast_slice(bytes),
            Self::Lent(values) => values.get(),
        }
    }
}

impl From<Numbers> for Vec<f32> {
    fn from(numbers: Numbers) -> Self {
        match numbers {
            Numbers::Own(values) => values,
            elsewhere => elsewhere.to_vec(),
        }
    }
}

impl PartialEq for Embeddings {
    fn eq(&self, other: &Self) -> bool {
        (self.dimension, self.values(), &self.present)
            == (other.dimension, other.values(), &other.present)
    }
}

impl Embeddings {
    /// Takes `values`, whole rows of `dimension` numbers each, all present.
    /// Returns `None` where the block is no whole number of rows.
    pub fn new(dimension: usize, values: Vec<f32>) -> Option<Self> {
        Self::of_numbers(dimension, Numbers::Own(values), None)
    }

    /// The same, with absent rows: they take their place in the block, filled with zeros.
    pub fn with_absent(dimension: usize, values: Vec<f32>, present: Vec<bool>) -> Option<Self> {
        Self::of_numbers(dimension, Numbers::Own(values), Some(present))
    }

    /// Takes `bytes` of numbers as they lie in memory, whole rows of `dimension` numbers each, all present, where they
    /// are: the `held` bytes that they are a part of stay in memory with them, until the rows are looked at in the log.
    /// Returns `None` where the block is no whole number of rows, or not aligned.
    pub fn received(dimension: usize, bytes: Bytes, held: usize) -> Option<Self> {
        bytemuck::try_cast_slice::<u8, f32>(&bytes).ok()?;
        Self::of_numbers(dimension, Numbers::Received(bytes, held), None)
    }

    /// The same, wherever the numbers are.
    pub(crate) fn of_numbers(
        dimension: usize,
        values: Numbers,
        present: Option<Vec<bool>>,
    ) -> Option<Self> {
        let whole = match &present {
            Some(present) => dimension.checked_mul(present.len()) == Some(values.len()),
            None if dimension == 0 => values.is_empty(),
            None => values.len().is_multiple_of(dimension),
        };
        whole.then_some(Self {
            dimension,
            values,
            present: present.filter(|present| present.contains(&false)),
        })
    }

    /// Numbers in a vector; 0 where no row has one.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// Rows in the block; 0 where the dimension is 0.
    pub fn len(&self) -> usize {
        self.values.len().checked_div(self.dimension).unwrap_or(0)
    }

    /// Whether the block is empty.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The vector of `row`, or `None` where it is absent.
    pub fn get(&self, row: usize) -> Option<&[f32]> {
        let present =
            self.dimension > 0 && self.present.as_ref().is_none_or(|present| present[row]);
        present.then(|| &self.values[row * self.dimension..(row + 1) * self.dimension])
    }

    /// Whether every row of the block is present.
    pub fn all_present(&self) -> bool {
        self.present.is_none()
    }

    /// The whole block; an absent row is zeros.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The whole block, taken.
    pub fn into_values(self) -> Vec<f32> {
        self.values.into()
    }

    /// Which rows are present; `None` means all.
    pub fn present(&self) -> Option<&[bool]> {
        self.present.as_deref()
    }

    /// The dimension, the whole block, and which rows are present; `None` means all.
    pub fn into_parts(self) -> (usize, Vec<f32>, Option<Vec<bool>>) {
        (self.dimension, self.values.into(), self.present)
    }

    /// Gives up its own numbers for the same ones elsewhere.
    pub(crate) fn lend(&mut self, values: LentNumbers) {
        debug_assert_eq!(
            bytemuck::cast_slice::<f32, u32>(&self.values),
            bytemuck::cast_slice::<f32, u32>(values.get()),
            "what is lent is what was written"
        );
        self.values = Numbers::Lent(values);
    }

    /// Lets go of what the numbers were received in.
    pub(crate) fn own(&mut self) {
        if let Numbers::Received(bytes, _) = &self.values {
            self.values = Numbers::Own(bytemuck::cast_slice(bytes).to_vec());
        }
    }

    /// Whether numbers that are lent are still what was written: `Corrupted` otherwise.
    pub(crate) fn check(&self) -> Result<()> {
        match &self.values {
            Numbers::Own(_) | Numbers::Received(..) => Ok(()),
            Numbers::Lent(values) => values.check(),
        }
    }

    /// Bytes held. Of those that are lent a part counts: they are in memory while they are looked at, but the system
    /// takes that back where it is short of it, and reads them again.
    pub fn heap_bytes(&self) -> usize {
        let values = match &self.values {
            Numbers::Own(values) => 4 * values.capacity(),
            Numbers::Received(_, held) => *held,
            Numbers::Lent(values) => 4 * (values.get().len() / LENT_PARTS),
        };
        values + self.present.as_ref().map_or(0, Vec::capacity)
    }

    /// Bytes of numbers that are lent which [`Self::heap_bytes`] leaves out, and which a copy would hold.
    pub(crate) fn uncounted_bytes(&self) -> usize {
        match &self.values {
            Numbers::Own(_) | Numbers::Received(..) => 0,
            Numbers::Lent(values) => 4 * (values.get().len() - values.get().len() / LENT_PARTS),
        }
    }
}

/// How many bytes that are lent count as one that is held.
const LENT_PARTS: usize = 4;

/// Whether every number is finite; without a branch for each, so that it runs in wide steps.
pub fn all_finite(numbers: &[f32]) -> bool {
    numbers
        .iter()
        .fold(true, |finite, number| finite & number.is_finite())
}
