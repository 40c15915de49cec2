//! Tests of records on their way: what is read, what is refused, and that nothing is lost.
