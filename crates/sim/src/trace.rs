//! A fingerprint of a run: equal runs have equal ones.

/// FNV-1a over 64-bit words.
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
        for byte in what.into_iter().flat_map(u64::to_le_bytes) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// The fingerprint so far.
    pub const fn value(self) -> u64 {
        self.0
    }
}
