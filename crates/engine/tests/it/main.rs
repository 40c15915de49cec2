//! Behaviour tests of the engine, one binary; a module for each area.

mod backup;
mod crash_database;
mod damage;
mod expiry;
mod faults;
mod model;
mod support;
