//! Documents of a segment: many small compressed batches, and the tests of `where_document`.
//!
//! What must stay true: reading one document decodes one batch; a scan decodes each batch that
//! holds a row of interest once.

mod batch;
mod expression;
mod matcher;
mod writer;

pub(super) use batch::{DocumentBatch, Documents};
pub(super) use matcher::DocumentMatcher;
pub(super) use writer::DocumentWriter;
