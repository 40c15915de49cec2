//! The embedded database behind Vermilion: model, storage, log, catalogue, segments, query.
//!
//! What must stay true here: the engine is synchronous, owns its threads, and knows nothing of
//! HTTP or wire bodies. Every byte goes through [`storage`]; every change goes through [`log`]
//! before it reaches a segment. Start reading at [`Database`].

pub mod asker;
pub mod backup;
mod blobs;
pub mod catalog;
pub mod clock;
pub mod config;
pub mod control;
mod database;
pub mod error;
pub mod expiry;
mod helper_threads;
pub mod indexing;
pub mod inspect;
pub mod log;
pub mod maintenance;
pub mod model;
pub mod query;
mod remnants;
pub mod schedule;
pub mod segments;
pub mod storage;
pub mod threads;

pub use blobs::Blob;
pub use config::Config;
pub use database::{
    BlobWriter, CollectionRestore, CollectionRestored, Database, Health, IndexingStatus,
    MappedMemory, MeasuredRecall, Statistics,
};
pub use error::{Error, ErrorKind, Result};
pub use indexing::Sight;
