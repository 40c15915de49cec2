//! Documents of a chunk's rows that stay in the segments that have them.
//!
//! An update that says nothing of a document would otherwise read it, and hold it in memory until its row
//! is sealed: a small change of many large records would not fit.
//!
//! What must stay true: a row that is in here has no document in the chunk's own column; a document is lent
//! by a segment, never by another chunk, so that however often its record changes it is one step away.
//! Segments that were merged away since stay readable for as long as they lend.

use std::sync::Arc;

use super::{RowSet, Segment};
use crate::Result;
use crate::model::DocumentTest;

/// Where the document of a row is.
#[derive(Clone, Copy)]
pub enum RowDocument<'a> {
    /// Here, if there is one.
    Own(Option<&'a str>),
    /// That of this row of a segment, if it has one.
    Lent(&'a Arc<Segment>, u32),
}

impl RowDocument<'_> {
    /// Bytes of text that it takes in a chunk.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Own(text) => text.map_or(0, str::len),
            Self::Lent(..) => 0,
        }
    }
}

/// The rows of a chunk whose documents are lent.
#[derive(Default)]
pub(super) struct LentDocuments {
    lenders: Vec<Lender>,
}

/// A segment that lends documents.
struct Lender {
    segment: Arc<Segment>,
    /// Rows of the chunk, ascending, and for each the row of the segment.
    rows: Vec<(u32, u32)>,
}

impl LentDocuments {
    /// Notes that `row`, which comes after all others, has the document of row `there` of `segment`.
    pub(super) fn push(&mut self, row: u32, segment: &Arc<Segment>, there: u32) {
        let known = self.lenders.iter_mut();
        let mut known = known.filter(|lender| Arc::ptr_eq(&lender.segment, segment));
        match known.next() {
            Some(lender) => lender.rows.push((row, there)),
            None => self.lenders.push(Lender {
                segment: segment.clone(),
                rows: vec![(row, there)],
            }),
        }
    }

    /// The segment, and the row there, that has the document of `row`; `None` where it is not lent.
    pub(super) fn get(&self, row: u32) -> Option<(&Arc<Segment>, u32)> {
        self.lenders.iter().find_map(|lender| {
            let found = lender.rows.binary_search_by_key(&row, |(row, _)| *row);
            found.ok().map(|at| (&lender.segment, lender.rows[at].1))
        })
    }

    /// Takes from `among` the rows whose document is lent and does not pass `test`.
    pub(super) fn retain(&self, test: &DocumentTest, among: &mut RowSet) -> Result<()> {
        for Lender { segment, rows } in &self.lenders {
            let asked = rows.iter().filter(|(row, _)| among.contains(*row));
            let mut passing = RowSet::none(segment.rows());
            asked.for_each(|(_, there)| passing.insert(*there));
            if passing.is_empty() {
                continue;
            }
            segment.retain_documents(test, &mut passing)?;
            for (row, there) in rows {
                if !passing.contains(*there) {
                    among.remove(*row);
                }
            }
        }
        Ok(())
    }

    /// Bytes held, but for those of segments.
    pub(super) fn heap_bytes(&self) -> usize {
        let rows = self.lenders.iter().map(|lender| lender.rows.capacity());
        rows.sum::<usize>() * size_of::<(u32, u32)>()
            + self.lenders.capacity() * size_of::<Lender>()
    }
}
