//! A fingerprint of a run: equal runs have equal ones.

/// Mixes 64-bit words as FNV-1a mixes bytes, with a shift so that high bits count too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace(u64);

impl Default for Trace {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Trace {
    /// Adds numbers that say what happened.
    pub fn note(&mut self, what: impl IntoIterator<Item = u64>) {
        for word in what {
            let mixed = (self.0 ^ word).wrapping_mul(0x0100_0000_01b3);
            self.0 = mixed ^ mixed >> 29;
        }
    }

    /// The fingerprint so far.
    pub const fn value(self) -> u64 {
        self.0
    }
}
