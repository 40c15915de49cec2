//! An opened index of documents.
//!
//! What must stay true: lengths and places are checked against the file and each other before
//! anything is read by them; what does not fit is `Corrupted`. An index is never read for longer
//! than the documents that it could spare take to read.

use std::sync::Arc;

use super::layout::{Block, ListsAt, bitmap_bytes, read};
use super::query::Query;
use super::words::Part;
use crate::segments::RowSet;
use crate::segments::blocks::Blocks;
use crate::segments::column::typed;
use crate::segments::index_file::Index;
use crate::{Error, Result};

/// What reading a batch of documents takes, in nanoseconds, roughly.
const BATCH_NS: u64 = 8_000;
/// What finding the list of a trigram takes.
const LOOKUP_NS: u64 = 300;
/// What adding a row of a list to a set takes.
const ROW_NS: u64 = 2;
/// Trigrams of a text that are looked up at most; a few rare ones tell nearly all.
const TRIGRAMS_MAX: usize = 64;
/// An index is read for no longer than this part of what reading the documents would take.
const BUDGET_PART: u64 = 16;
/// Words are looked through for what trigrams have left where that takes no longer than this part of it,
/// and the lists of those that are found are read for no longer than that part.
const WORDS_PART: u64 = 2;
const WORD_LISTS_PART: u64 = 4;
/// What finding a word takes, and its list.
const WORD_NS: u64 = 100;

/// An opened index of documents.
pub struct TextIndex {
    file: Arc<Blocks>,
    blocks: Vec<Block>,
}

impl Index for TextIndex {
    const SET_ASIDE: &'static str = "an index of documents is set aside; \
        filters read every document until it is rebuilt";

    fn open(file: Arc<Blocks>) -> Result<Self> {
        let blocks = read(&file)?;
        Ok(Self { file, blocks })
    }

    fn heap_bytes(&self) -> usize {
        self.blocks.capacity() * size_of::<Block>()
    }
}

impl TextIndex {
    /// Takes from `among` rows that do not pass `query`, as far as that is faster than reading
    /// their documents, of which `batches` hold all. Answers those of the rest whose documents are
    /// known to have the pattern.
    pub(in crate::segments) fn narrow(
        &self,
        query: &Query,
        batches: usize,
        among: &mut RowSet,
    ) -> Result<RowSet> {
        let rows: u64 = self.blocks.iter().map(|block| u64::from(block.rows)).sum();
        if rows != u64::from(among.rows()) {
            let detail = format_args!("it has {rows} rows, the segment {}", among.rows());
            return Err(Error::corrupted(self.file.path(), 0, detail));
        }
        // A failure must leave the set as it was.
        let mut narrowed = among.clone();
        let mut proved = RowSet::none(among.rows());
        for block in &self.blocks {
            let first = block.first_row as usize / 64;
            let length = block.rows.div_ceil(64) as usize;
            let words = &mut narrowed.words_mut()[first..][..length];
            let batches = batches as u64 * u64::from(block.rows) / rows.max(1);
            let mut reader = BlockReader {
                file: &self.file,
                block,
                batches: batches.max(1),
                budget: Budget(0),
                proved: &mut proved.words_mut()[first..][..length],
            };
            reader.budget = Budget(reader.documents_ns(words) / BUDGET_PART);
            reader.narrow(query, words)?;
        }
        *among = narrowed;
        proved.intersect(among);
        Ok(proved)
    }
}

/// The list of a trigram, as it stands in the file.
#[derive(Clone, Copy)]
struct List<'a>(&'a [u8]);

/// One block of an index.
struct BlockReader<'a> {
    file: &'a Blocks,
    block: &'a Block,
    /// About how many batches hold its documents.
    batches: u64,
    /// What may be spent on reading lists of trigrams.
    budget: Budget,
    /// The rows found to have the pattern, a bit for each.
    proved: &'a mut [u64],
}

/// Nanoseconds that may be spent.
struct Budget(u64);

impl Budget {
    /// Whether so much may be spent; it is then.
    fn spend(&mut self, ns: u64) -> bool {
        let left = self.0.checked_sub(ns);
        self.0 = left.unwrap_or(0);
        left.is_some()
    }
}

impl<'a> BlockReader<'a> {
    /// What reading the documents of the rows in `words` takes.
    fn documents_ns(&self, words: &[u64]) -> u64 {
        let rows: u32 = words.iter().map(|word| word.count_ones()).sum();
        u64::from(rows).min(self.batches) * BATCH_NS
    }

    /// Takes from `words`, a bit for each row of the block, those that do not pass `query`.
    fn narrow(&mut self, query: &Query, words: &mut [u64]) -> Result<()> {
        match query {
            Query::Has(trigrams) => self.narrow_to(trigrams, words),
            Query::Word { part, proves } => self.narrow_to_word(part, *proves, words),
            Query::All(members) => members
                .iter()
                .try_for_each(|member| self.narrow(member, words)),
            Query::Any(members) => {
                let mut passed = vec![0; words.len()];
                for member in members {
                    // What has passed already needs no second look.
                    let mut left: Vec<u64> = words
                        .iter()
                        .zip(&passed)
                        .map(|(all, no)| all & !no)
                        .collect();
                    self.narrow(member, &mut left)?;
                    passed
                        .iter_mut()
                        .zip(&left)
                        .for_each(|(to, more)| *to |= more);
                }
                words.copy_from_slice(&passed);
                Ok(())
            }
        }
    }

    /// Takes out the rows that have not all of `trigrams`, beginning with the rarest.
    fn narrow_to(&mut self, trigrams: &[u32], words: &mut [u64]) -> Result<()> {
        let part = trigrams.len().div_ceil(TRIGRAMS_MAX).max(1);
        let trigrams = trigrams.iter().step_by(part);
        let lookups_ns = trigrams.len() as u64 * LOOKUP_NS;
        if self.documents_ns(words) <= lookups_ns || !self.budget.spend(lookups_ns) {
            return Ok(());
        }
        let directory = typed::<u32>(
            self.file,
            self.block.trigrams_at,
            self.block.trigrams.into(),
        )?;
        let mut lists: Vec<List<'a>> = Vec::with_capacity(trigrams.len());
        for trigram in trigrams {
            let Ok(at) = directory.binary_search(trigram) else {
                words.fill(0);
                return Ok(());
            };
            lists.push(self.list(self.block.trigram_lists, at)?);
        }
        lists.sort_unstable_by_key(|list| list.0.len());
        for list in lists {
            let list_ns = self.list_ns(list);
            if self.documents_ns(words) <= list_ns || !self.budget.spend(list_ns) {
                break;
            }
            self.intersect(list, words)?;
        }
        Ok(())
    }

    /// Takes out the rows that have no word that looks like `part`, where that is told sooner than by
    /// their documents; the others are proved if such a word `proves` them.
    fn narrow_to_word(&mut self, part: &Part, proves: bool, words: &mut [u64]) -> Result<()> {
        let block = self.block;
        let ends = typed::<u32>(self.file, block.ends_at, block.words.into())?;
        let lines_bytes = ends.last().map_or(0, |&last| u64::from(last) + 1);
        let documents_ns = self.documents_ns(words);
        let is_dear = part.scan_ns(lines_bytes) > documents_ns / WORDS_PART;
        if ends.is_empty() || is_dear || !part.is_sound() {
            return Ok(());
        }
        let mut budget = Budget(documents_ns / WORD_LISTS_PART);
        let lines = typed::<u8>(self.file, block.lines_at, lines_bytes)?;
        let mut having = vec![0; words.len()];
        let mut at = 0;
        while let Some(found) = part.find(lines, at) {
            let number = ends.partition_point(|&end| (end as usize) < found);
            let Some(&end) = ends.get(number).filter(|&&end| end as usize >= at) else {
                return Err(self.misfit());
            };
            let list = self.list(block.word_lists, number)?;
            if !budget.spend(WORD_NS + self.list_ns(list)) {
                return Ok(());
            }
            self.unite(list, &mut having)?;
            at = end as usize;
        }
        if proves {
            self.proved.copy_from_slice(&having);
        }
        // Words that are too long may look like anything.
        self.unite(self.list(block.word_lists, 0)?, &mut having)?;
        words
            .iter_mut()
            .zip(having)
            .for_each(|(word, having)| *word &= having);
        Ok(())
    }

    fn list(&self, lists: ListsAt, at: usize) -> Result<List<'a>> {
        let place = lists.starts.saturating_add(at as u64 * 4);
        let pair = typed::<u32>(self.file, place, 2)?;
        let Some(bytes) = pair[1].checked_sub(pair[0]) else {
            let detail = "a list ends before it begins";
            return Err(Error::corrupted(self.file.path(), place, detail));
        };
        let place = lists.bytes.saturating_add(pair[0].into());
        typed(self.file, place, bytes.into()).map(List)
    }

    /// What reading `list` takes.
    fn list_ns(&self, list: List<'_>) -> u64 {
        if self.is_bitmap(list) {
            list.0.len() as u64 / 8
        } else {
            list.0.len() as u64 * ROW_NS
        }
    }

    fn is_bitmap(&self, list: List<'_>) -> bool {
        list.0.len() == bitmap_bytes(self.block.rows)
    }

    /// Takes out of `words` what is not in `list`.
    fn intersect(&self, list: List<'_>, words: &mut [u64]) -> Result<()> {
        let mut listed = vec![0u64; words.len()];
        self.unite(list, &mut listed)?;
        words
            .iter_mut()
            .zip(listed)
            .for_each(|(word, listed)| *word &= listed);
        Ok(())
    }

    /// Adds what is in `list` to `words`.
    fn unite(&self, list: List<'_>, words: &mut [u64]) -> Result<()> {
        if self.is_bitmap(list) {
            let bits = list.0.as_chunks::<8>().0.iter();
            let bits = bits.map(|&eight| u64::from_le_bytes(eight));
            words
                .iter_mut()
                .zip(bits)
                .for_each(|(word, bits)| *word |= bits);
            return Ok(());
        }
        let (mut next, mut at) = (0u64, 0);
        while at < list.0.len() {
            let (step, length) = number(&list.0[at..]).ok_or_else(|| self.misfit())?;
            let row = next + u64::from(step);
            let word = words
                .get_mut(row as usize / 64)
                .ok_or_else(|| self.misfit())?;
            *word |= 1 << (row % 64);
            next = row + 1;
            at += length;
        }
        Ok(())
    }

    fn misfit(&self) -> Error {
        let detail = "a list of rows has another form";
        Error::corrupted(self.file.path(), self.block.trigrams_at, detail)
    }
}

/// The number that `bytes` begin with, and its length; see `put_number` of the writer.
fn number(bytes: &[u8]) -> Option<(u32, usize)> {
    let mut number = 0;
    for (at, &byte) in bytes.iter().enumerate().take(5) {
        number |= u32::from(byte & 127) << (7 * at);
        if byte < 128 {
            return Some((number, at + 1));
        }
    }
    None
}
