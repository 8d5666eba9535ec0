//! BEP 41: options behind an announce request.

/// Ends the options.
const END: u8 = 0;
/// Stands for nothing.
const NOP: u8 = 1;
/// Path and query of the tracker's URL, or part of them.
const URL_DATA: u8 = 2;

/// The options of one announce request, as a view into it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options<'a>(pub(super) &'a [u8]);

impl<'a> Options<'a> {
    /// From what follows byte 98 of an announce request. An option that is cut off ends the options.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Path and query of the URL that the client was given, in pieces of at most 255 bytes to be taken together; none
    /// if it did not say. It is what an attacker wrote, in any bytes; at most the size of a datagram.
    pub const fn url_data(self) -> UrlData<'a> {
        UrlData(self.0)
    }
}

/// The pieces of the URL data.
#[derive(Clone, Copy, Debug)]
pub struct UrlData<'a>(&'a [u8]);

impl<'a> Iterator for UrlData<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let (&kind, rest) = self.0.split_first()?;
            self.0 = match kind {
                END => &[],
                NOP => rest,
                _ => {
                    let (data, rest) = with_length(rest).unwrap_or((&[], &[]));
                    self.0 = rest;
                    if kind == URL_DATA && !data.is_empty() {
                        return Some(data);
                    }
                    rest
                }
            };
        }
    }
}

fn with_length(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&len, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(len))
}

/// Appends the options that tell a tracker `url_data`, the path and query of its URL; nothing if there are none.
/// Trackers that do not know options pass over them (uTorrent has sent them to all since 2012, BEP 41).
pub fn write_url_data(url_data: &str, out: &mut Vec<u8>) {
    for piece in url_data.as_bytes().chunks(usize::from(u8::MAX)) {
        out.extend([URL_DATA, piece.len() as u8]);
        out.extend(piece);
    }
}
