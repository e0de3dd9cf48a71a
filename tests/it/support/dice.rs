//! Pseudo-random numbers that can be repeated.

/// A generator that gives the same numbers for the same seed.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        // splitmix64, <https://prng.di.unimi.it/splitmix64.c>
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Less than `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Any bytes: 10 to 100 Ki of them, small ones as often as large ones.
    pub fn body(&mut self) -> Vec<u8> {
        let most = 10_u64 << self.below(14);
        let length = (10 + self.below(most)).min(100 << 10);
        let mut body: Vec<u8> = (0..length.div_ceil(8))
            .flat_map(|_| self.next().to_le_bytes())
            .collect();
        body.truncate(usize::try_from(length).unwrap());
        body
    }
}

/// Returns a new seed, or that of `HOOKGATE_SEED`, and prints it.
pub fn seed(what: &str) -> u64 {
    let any = || {
        u64::from(std::process::id()) ^ std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64
    };
    let seed = std::env::var("HOOKGATE_SEED").map_or_else(|_| any(), |seed| seed.parse().unwrap());
    eprintln!("{what}: HOOKGATE_SEED={seed}");
    seed
}
