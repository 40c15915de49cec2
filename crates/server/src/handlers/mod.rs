//! What each route does: decode, call the engine, answer.

pub(crate) mod backups;
pub(crate) mod collections;
pub(crate) mod conditional;
pub(crate) mod control;
pub(crate) mod curation;
pub(crate) mod export;
pub(crate) mod findings;
pub(crate) mod namespaces;
pub(crate) mod pages;
pub(crate) mod records;
pub(crate) mod retention;
pub(crate) mod retraining;
pub(crate) mod roll_up;
pub(crate) mod service;
pub(crate) mod system;
pub(crate) mod unrouted;
