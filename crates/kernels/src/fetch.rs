//! Asks the processor for memory that will be read soon.
//!
//! What must stay true: this is a hint alone, which changes no answer. Every 64-bit x86 has the
//! instruction, so that nothing is chosen at run time; elsewhere nothing is done.

/// Bytes that come from memory together.
#[cfg(target_arch = "x86_64")]
const LINE_BYTES: usize = 64;

/// Begins to bring `bytes` into the nearest cache, one request for each line of it. Ask shortly
/// before reading, and for a few kilobytes at most, or the lines are gone again by then.
#[inline]
pub fn prefetch(bytes: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let skipped = bytes.as_ptr().addr() % LINE_BYTES;
        for at in (0..bytes.len() + skipped).step_by(LINE_BYTES) {
            let within = at.saturating_sub(skipped).min(bytes.len());
            // SAFETY: `within` is at most the length of `bytes`; a prefetch reads nothing that
            // the program could see and never faults.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(bytes.as_ptr().add(within).cast()) }
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = bytes;
}

#[cfg(test)]
mod tests {
    use super::prefetch;

    #[test]
    fn a_prefetch_takes_any_length_and_alignment_and_changes_nothing() {
        let bytes: Vec<u8> = (0..1000).map(|at| at as u8).collect();
        for from in 0..130 {
            for to in [from, from + 1, from + 63, from + 64, from + 65, 1000] {
                prefetch(&bytes[from..to]);
            }
        }
        assert!(bytes.iter().enumerate().all(|(at, &byte)| byte == at as u8));
    }
}
