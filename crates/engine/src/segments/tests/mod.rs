//! Tests of chunks and segments: both must give the same answers, whatever happens to the disk.

mod damage;
mod durability;
mod filters;
mod lent;
mod rows;
mod sample;
mod shelf;
mod text;
