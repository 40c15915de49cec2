//! A small seeded generator, so that a failing state can be built again from its seed.

use vermilion_kernels::random::split_mix;

/// Pseudo-random numbers from a seed (the splitmix64 sequence).
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The sequence of `seed`.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        split_mix(&mut self.state)
    }

    /// A number below `bound`; 0 where `bound` is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        self.next_u64()
            .checked_rem(bound as u64)
            .unwrap_or_default() as usize
    }

    /// Heads or tails.
    pub fn flip(&mut self) -> bool {
        self.next_u64() >> 63 == 1
    }
}
