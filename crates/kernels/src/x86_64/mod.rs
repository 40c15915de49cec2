//! Kernels for 64-bit x86, one module an instruction set.

pub(crate) mod avx2;
pub(crate) mod avx2_codes;
pub(crate) mod avx2_rows;
pub(crate) mod avx512;
pub(crate) mod avx512_codes;
pub(crate) mod avx512_rows;
