//! Small decisions taken from the fuzzer's bytes. When they run out, everything is zero.

/// What is left of the input.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    /// Whether nothing is left.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        self.bytes(1).first().copied().unwrap_or(0)
    }

    /// The next byte's lowest bit.
    pub fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// The next two bytes.
    pub fn short(&mut self) -> u16 {
        u16::from(self.byte()) << 8 | u16::from(self.byte())
    }

    /// The next four bytes.
    pub fn word(&mut self) -> u32 {
        u32::from(self.short()) << 16 | u32::from(self.short())
    }

    /// The next eight bytes.
    pub fn long(&mut self) -> u64 {
        u64::from(self.word()) << 32 | u64::from(self.word())
    }

    /// A number in `0..n`, from two bytes; 0 if `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        usize::from(self.short()).checked_rem(n).unwrap_or(0)
    }

    /// At most `n` bytes.
    pub fn bytes(&mut self, n: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(n.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

/// Plays a script: what it begins with makes a world, which then takes one step after the other until nothing is left.
pub fn play<'a, W>(
    data: &'a [u8],
    new: impl FnOnce(&mut Input<'a>) -> W,
    step: impl Fn(&mut W, &mut Input<'a>),
) -> W {
    let mut input = Input(data);
    let mut world = new(&mut input);
    while !input.is_empty() {
        step(&mut world, &mut input);
    }
    world
}
