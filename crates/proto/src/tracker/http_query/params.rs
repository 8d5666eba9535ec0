//! Parameters of a query, and percent-decoding, without an allocation.

/// The parameters of a query, in order, still encoded: key and value. One without `=` has an empty value.
#[derive(Clone, Debug)]
pub struct Params<'a>(&'a [u8]);

impl<'a> Params<'a> {
    /// From what follows the `?`.
    pub const fn new(query: &'a [u8]) -> Self {
        Self(query)
    }
}

impl<'a> Iterator for Params<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let end = self.0.iter().position(|b| *b == b'&').unwrap_or(self.0.len());
            let (param, rest) = self.0.split_at(end);
            self.0 = rest.get(1..).unwrap_or(&[]);
            if !param.is_empty() {
                let equals = param.iter().position(|b| *b == b'=').unwrap_or(param.len());
                return Some((&param[..equals], param.get(equals + 1..).unwrap_or(&[])));
            }
            if rest.is_empty() {
                return None;
            }
        }
    }
}

/// The bytes that an encoded value stands for. A `%` that no two hex digits follow stands for itself.
pub const fn decode(encoded: &[u8]) -> Decoded<'_> {
    Decoded(encoded)
}

/// See [`decode`].
#[derive(Clone, Debug)]
pub struct Decoded<'a>(&'a [u8]);

impl Decoded<'_> {
    /// All of it, if it is exactly `N` bytes.
    pub fn exactly<const N: usize>(mut self) -> Option<[u8; N]> {
        let mut out = [0; N];
        for byte in &mut out {
            *byte = self.next()?;
        }
        self.next().is_none().then_some(out)
    }

    /// All of it into `out`; `None` if it is longer.
    pub fn fill(self, out: &mut [u8]) -> Option<&mut [u8]> {
        let mut len = 0;
        for byte in self {
            *out.get_mut(len)? = byte;
            len += 1;
        }
        Some(&mut out[..len])
    }
}

impl Iterator for Decoded<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(match first {
            b'+' => b' ',
            b'%' => match rest.split_first_chunk().and_then(|(pair, rest)| Some((hex(pair)?, rest))) {
                Some((byte, rest)) => {
                    self.0 = rest;
                    byte
                }
                None => b'%',
            },
            other => *other,
        })
    }
}

fn hex(pair: &[u8; 2]) -> Option<u8> {
    let digit = |b: u8| (b as char).to_digit(16);
    Some((digit(pair[0])? << 4 | digit(pair[1])?) as u8)
}
