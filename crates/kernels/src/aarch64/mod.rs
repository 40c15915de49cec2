//! Kernels for 64-bit ARM.

pub(crate) mod neon;
pub(crate) mod neon_codes;
pub(crate) mod neon_rows;
