//! The catalogue (SysDB): tenants, databases, collections, segments, applied SeqIds, jobs and
//! documents, in embedded SQL.
//!
//! What must stay true: every change is one durable transaction; every row and every table
//! carries a checksum, so that damage is found when the catalogue is opened; a transaction that
//! was acknowledged is never dropped in silence, whatever happened to the write-ahead log.
//!
//! | file | what |
//! |---|---|
//! | `contents` | what goes in and comes out |
//! | `open` | [`Catalog`]: opening, verifying, closing, and the one way of a change |
//! | `names`, `collections`, `manifests`, `jobs`, `switches`, `documents` | the methods of [`Catalog`] by subject |
//! | `markers` | numbers that it notes for itself: is it open, how often did it change |
//! | `forks` | collections that begin as what another is, and whose files are whose |
//! | `copy` | all but jobs and runs as data, out of one and into another |
//! | `tables` | the tables, their migrations, and changing rows with their checksums |
//! | `checksums` | checksums of rows, digests of tables |
//! | `connection` | the settings of the SQL library, on a file and in memory |
//! | `wal` | the write-ahead log, read by ourselves: is it torn, or is it damaged? |
//! | `image` | a catalogue's bytes for a reader who may change nothing |
//! | `fault` | errors of the SQL library, told as errors of the engine |

mod checksums;
mod collections;
mod connection;
mod contents;
mod copy;
mod documents;
mod fault;
mod forks;
mod image;
mod jobs;
mod manifests;
mod markers;
mod names;
mod open;
mod switches;
mod tables;
#[cfg(test)]
mod tests;
mod wal;

pub use contents::{
    CatalogCopy, CatalogLocation, CatalogSize, CollectionRow, Document, JobRow, JobRunRow,
    Manifest, ManifestCommit, SegmentRow,
};
pub use open::Catalog;
