//! Wire bodies of the Chroma v2 API, their conversions to the engine's columns and back, and the
//! table from error kinds to statuses.
//!
//! What must stay true: nothing here does I/O or knows of HTTP beyond a status number; record
//! bodies are decoded straight into columns and answers are written straight from them, without
//! a tree of values in between; whatever bytes come in, decoding answers an [`ApiError`] and
//! never panics.

pub mod answers;
pub mod arrow;
pub mod ascii;
pub mod backups;
pub mod collections;
pub mod conditional;
pub mod configuration;
pub mod control;
pub mod error;
pub mod filters;
pub mod functions;
mod json;
pub mod names;
pub mod reads;
pub mod records;
pub mod search;
pub mod survey;

pub use error::ApiError;
pub use json::WholeNumbers;
