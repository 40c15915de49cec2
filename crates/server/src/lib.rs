//! The HTTP server of Vermilion.

pub mod settings;
