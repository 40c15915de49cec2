//! Applies log batches to a collection's records. Front page of the module; see `database`.
