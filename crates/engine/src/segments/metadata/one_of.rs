//! The rows whose value is one of many: operands and distinct values are gone through side by side,
//! since both ascend.
//!
//! What must stay true: see [`super::search`].

use std::cmp::Ordering;
use std::ops::Range;

use bytemuck::Pod;

use super::Kind;
use super::number::compare;
use super::operands::Operands;
use super::postings::{Entry, WIDE_TEXT};
use super::search::Postings;
use crate::model::Number;
use crate::segments::RowSet;
use crate::segments::column::typed;
use crate::{Error, Result};

/// Strings from which on all offsets and texts are looked at as a whole; for fewer that would read
/// much of the file to find little.
const MANY_TEXTS: usize = 64;

/// Values of the first steps from one operand to the next at most.
const STEP_MIN: usize = 8;
/// Steps before they become longer.
const STEPS_EVEN: usize = 16;

impl Postings<'_> {
    /// Adds the rows with a value that is one of `operands`.
    pub(super) fn one_of(self, key: &str, operands: &Operands<'_>, to: &mut RowSet) -> Result<()> {
        for flag in [false, true] {
            if operands.flags[usize::from(flag)] {
                self.word(key, Kind::Bool, u64::from(flag), to)?;
            }
        }
        if !operands.numbers.is_empty() {
            self.one_of_numbers(key, &operands.numbers, to)?;
        }
        if operands.texts.len() < MANY_TEXTS {
            let mut texts = operands.texts.iter();
            return texts.try_for_each(|text| self.text(key, Kind::Str, text, to));
        }
        let Some(entry) = self.entry(key, Kind::Str)? else {
            return Ok(());
        };
        let count = u64::from(entry.distinct) + 1;
        if entry.flags & WIDE_TEXT != 0 {
            let ends = typed::<u64>(self.blocks, entry.values_at, count)?;
            self.one_of_texts(&entry, ends, &operands.texts, to)
        } else {
            let ends = typed::<u32>(self.blocks, entry.values_at, count)?;
            self.one_of_texts(&entry, ends, &operands.texts, to)
        }
    }

    fn one_of_numbers(self, key: &str, operands: &[Number], to: &mut RowSet) -> Result<()> {
        if let Some(entry) = self.entry(key, Kind::Int)? {
            let values = typed::<i64>(self.blocks, entry.values_at, entry.distinct.into())?;
            let operands: Vec<i64> = operands.iter().filter_map(|&one| whole(one)).collect();
            let order = |at: usize, one: &i64| Ok(values[at].cmp(one));
            self.unite_each(&entry, &meet(values.len(), &operands, order)?, to)?;
        }
        if let Some(entry) = self.entry(key, Kind::Float)? {
            let values = typed::<f64>(self.blocks, entry.values_at, entry.distinct.into())?;
            let operands: Vec<f64> = operands.iter().filter_map(|&one| float(one)).collect();
            let order = |at: usize, one: &f64| {
                let order = values[at].partial_cmp(one);
                Ok(order.unwrap_or(Ordering::Greater))
            };
            self.unite_each(&entry, &meet(values.len(), &operands, order)?, to)?;
        }
        Ok(())
    }

    /// `starts` tells where each distinct text begins, and the last ends.
    fn one_of_texts<T: Pod + Into<u64>>(
        self,
        entry: &Entry,
        starts: &[T],
        operands: &[&str],
        to: &mut RowSet,
    ) -> Result<()> {
        let end = starts.last().map_or(0, |&end| end.into());
        let texts = Texts {
            starts,
            bytes: typed::<u8>(self.blocks, entry.text_at, end)?,
            misfit: &|| {
                let detail = "texts do not follow each other";
                Error::corrupted(self.blocks.path(), entry.values_at, detail)
            },
        };
        self.unite_each(entry, &texts.meet(operands)?, to)
    }
}

/// The distinct texts of a column, ascending.
struct Texts<'a, T> {
    /// Where each begins in `bytes`, and the last ends.
    starts: &'a [T],
    bytes: &'a [u8],
    /// What is wrong where they do not.
    misfit: &'a dyn Fn() -> Error,
}

impl<T: Copy + Into<u64>> Texts<'_, T> {
    /// The places of those that one of the ascending `operands` equals.
    ///
    /// All texts begin with what the first and the last have in common. What follows is compared as
    /// a number as far as 8 bytes go, which tells most of them apart.
    fn meet(&self, operands: &[&str]) -> Result<Vec<u32>> {
        let count = self.starts.len() - 1;
        if count == 0 {
            return Ok(Vec::new());
        }
        let (first, last) = (self.tail(0, 0)?, self.tail(count - 1, 0)?);
        let common = first.iter().zip(last).take_while(|(a, b)| a == b).count();
        let tails = operands.iter().filter_map(|one| {
            let tail = one.as_bytes().strip_prefix(&first[..common])?;
            Some((key(tail), tail))
        });
        let tails: Vec<(u64, &[u8])> = tails.collect();
        meet(count, &tails, |at, (wanted, tail)| {
            Ok(match self.tail_key(at, common)?.cmp(wanted) {
                Ordering::Equal => self.tail(at, common)?.cmp(tail),
                order => order,
            })
        })
    }

    /// Where the text at a place lies, from its byte `from` on.
    fn place(&self, at: usize, from: usize) -> Result<Range<usize>> {
        let (start, end): (u64, u64) = (self.starts[at].into(), self.starts[at + 1].into());
        let place = start as usize + from..end as usize;
        let lies_within = place.start <= place.end && place.end <= self.bytes.len();
        lies_within.then_some(place).ok_or_else(self.misfit)
    }

    fn tail(&self, at: usize, from: usize) -> Result<&[u8]> {
        Ok(&self.bytes[self.place(at, from)?])
    }

    fn tail_key(&self, at: usize, from: usize) -> Result<u64> {
        let place = self.place(at, from)?;
        Ok(match self.bytes[place.start..].first_chunk() {
            // The bytes of other texts behind a short one are none of its own.
            Some(&eight) => {
                let others = 64 - 8 * place.len().min(8) as u32;
                u64::from_be_bytes(eight) & u64::MAX.checked_shl(others).unwrap_or(0)
            }
            None => key(&self.bytes[place]),
        })
    }
}

/// A number that ascends with `text`: its first 8 bytes.
fn key(text: &[u8]) -> u64 {
    let mut eight = [0; 8];
    let length = text.len().min(8);
    eight[..length].copy_from_slice(&text[..length]);
    u64::from_be_bytes(eight)
}

/// The integer that equals `number`, if one does.
fn whole(number: Number) -> Option<i64> {
    match number {
        Number::Int(int) => Some(int),
        // Where the conversion is not exact, the integer is another number.
        Number::Float(float) => Some(float as i64).filter(|&int| equal(Number::Int(int), number)),
    }
}

/// The float that equals `number`, if one does.
fn float(number: Number) -> Option<f64> {
    match number {
        Number::Float(float) => Some(float),
        Number::Int(int) => Some(int as f64).filter(|&float| equal(Number::Float(float), number)),
    }
}

fn equal(left: Number, right: Number) -> bool {
    compare(left, right) == Some(Ordering::Equal)
}

/// The places, ascending, of those of `count` ascending values that one of the ascending `operands`
/// equals; `order` tells how the value at a place stands to an operand.
fn meet<T>(
    count: usize,
    operands: &[T],
    order: impl Fn(usize, &T) -> Result<Ordering>,
) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    // Where both are spread alike, the next place is about so many steps ahead. Short steps forward
    // are foreseen by the processor, which waits for memory at each turn of a binary search.
    let step_min = (count / operands.len().max(1)).isqrt().clamp(1, STEP_MIN);
    let mut at = 0;
    for operand in operands {
        let (mut step, mut steps) = (step_min, 0);
        while at + step < count && order(at + step, operand)?.is_lt() {
            at += step;
            steps += 1;
            step *= if steps > STEPS_EVEN { 2 } else { 1 };
        }
        let mut end = count.min(at + step);
        while end - at > STEP_MIN {
            let middle = at.midpoint(end);
            if order(middle, operand)?.is_lt() {
                at = middle + 1;
            } else {
                end = middle;
            }
        }
        while at < end && order(at, operand)?.is_lt() {
            at += 1;
        }
        if at == count {
            break;
        }
        if order(at, operand)?.is_eq() {
            found.push(at as u32);
        }
    }
    Ok(found)
}
