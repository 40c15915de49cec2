//! A small seeded generator, so that a failing state can be built again from its seed.

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
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
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
