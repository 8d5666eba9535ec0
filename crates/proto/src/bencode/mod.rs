//! Bencoding (BEP 3): a borrowing reader that keeps raw spans, and a canonical writer.
//!
//! [`parse`] checks the whole input once, without recursion and without building a tree; a [`Value`] is then a view
//! into those very bytes. So an info-hash is always taken over what stood in the file ([`Value::raw`]), and a torrent
//! of a million files costs no memory here.
//!
//! Accepted although BEP 3 forbids it, because deployed writers do it: dictionary keys out of order. Refused: a key
//! twice in one dictionary, leading zeros, `-0`, integers beyond 64 bits, anything after the value (but see
//! [`parse_prefix`]), and whatever exceeds the given [`Limits`].
//!
//! Tested by unit tests for each refusal, by a round trip against a tree model, and by cutting and flipping bytes.

mod check;
mod error;
mod scan;
mod value;
mod write;

pub use check::Limits;
pub use error::{Error, ErrorKind};
pub(crate) use scan::{Scanner, Token};
pub use value::{Dict, Entries, Items, List, Value};
pub use write::{DictWriter, ListWriter, write_dict};

/// Reads `bytes` as exactly one value.
///
/// # Errors
/// Says what is malformed, or which limit is exceeded, and at which byte.
pub fn parse(bytes: &[u8], limits: Limits) -> Result<Value<'_>, Error> {
    match parse_prefix(bytes, limits)? {
        (value, []) => Ok(value),
        (value, _) => Err(Error { offset: value.raw().len(), kind: ErrorKind::TrailingData }),
    }
}

/// Reads one value from the start of `bytes` and returns it with what follows (BEP 9 puts metadata there).
///
/// # Errors
/// As [`parse`], except that data after the value is no error.
pub fn parse_prefix(bytes: &[u8], limits: Limits) -> Result<(Value<'_>, &[u8]), Error> {
    let end = check::check(bytes, limits)?;
    let (raw, rest) = bytes.split_at(end);
    Ok((Value::checked(raw), rest))
}

#[cfg(test)]
mod tests;
