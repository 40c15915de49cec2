//! The rows whose value is one of many: operands and distinct values are gone through side by side,
//! since both ascend.
//!
//! What must stay true: see [`super::search`].

use std::cmp::Ordering;

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
        let text = typed::<u8>(self.blocks, entry.text_at, end)?;
        let order = |at: usize, one: &&str| {
            let (from, end): (u64, u64) = (starts[at].into(), starts[at + 1].into());
            let found = text.get(from as usize..end as usize).ok_or_else(|| {
                let detail = "texts do not follow each other";
                Error::corrupted(self.blocks.path(), entry.values_at, detail)
            })?;
            Ok(found.cmp(one.as_bytes()))
        };
        self.unite_each(entry, &meet(starts.len() - 1, operands, order)?, to)
    }
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
    // Where both are spread alike the next place is about so far.
    let stride = (count / operands.len().max(1)).max(1);
    let mut at = 0;
    for operand in operands {
        let mut step = stride;
        while at + step < count && order(at + step, operand)?.is_lt() {
            at += step;
            step *= 2;
        }
        let mut end = count.min(at + step);
        while at < end {
            let middle = at.midpoint(end);
            if order(middle, operand)?.is_lt() {
                at = middle + 1;
            } else {
                end = middle;
            }
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
