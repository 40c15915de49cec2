//! Behaviour tests of the engine, one binary; a module for each area.

mod backup;
mod batch_ingest;
mod crash_database;
mod damage;
mod expiry;
mod faults;
mod jobs;
mod model;
mod pressure;
mod races;
mod support;
mod upkeep;
mod week;
