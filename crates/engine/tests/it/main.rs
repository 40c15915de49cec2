//! Behaviour tests of the engine, one binary; a module for each area.

mod backup;
mod batch_ingest;
mod blobs;
mod crash_database;
mod damage;
mod documents;
mod edges;
mod expiry;
mod faults;
mod forks;
mod functions;
mod jobs;
mod lent_documents;
mod lent_vectors;
mod lost_files;
mod memory;
mod model;
mod pressure;
mod quotas;
mod races;
mod recall;
mod restores;
mod schema_keys;
mod support;
mod upkeep;
mod week;
