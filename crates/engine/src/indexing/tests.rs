//! Tests of applying and publishing.
