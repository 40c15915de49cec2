//! Behaviour of the server as a client sees it, over real connections.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod access;
mod api;
mod backups;
mod broken_heads;
mod conditional;
mod control;
mod curation;
mod curation_drift;
mod curation_expiry;
mod curation_issues;
mod curation_large;
mod curation_map;
mod curation_report;
mod curation_scores;
mod curation_service;
mod forks;
mod harness;
mod hostile;
mod ingest;
mod limits;
mod local;
mod retraining;
mod triggers;
mod ways_to_stop;
