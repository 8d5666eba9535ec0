//! What can be wrong with bencoded bytes.

/// Malformed bencoding: what, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed bencoding at byte {offset}: {kind}")]
pub struct Error {
    /// 0-based position of the offending token or byte.
    pub offset: usize,
    /// What is wrong there.
    pub kind: ErrorKind,
}

/// What is wrong with a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The input stops within a value.
    #[error("the data ends too early")]
    UnexpectedEnd,
    /// No token starts, or goes on, with this byte.
    #[error("unexpected byte 0x{0:02x}")]
    UnexpectedByte(u8),
    /// A number such as `i03e` or `04:spam`.
    #[error("a number has a leading zero")]
    LeadingZero,
    /// `i-0e`.
    #[error("negative zero")]
    NegativeZero,
    /// Beyond a signed 64-bit integer.
    #[error("an integer does not fit 64 bits")]
    IntegerRange,
    /// A string that claims more bytes than there are.
    #[error("a string is longer than the data that is left")]
    StringTooLong,
    /// A dictionary key that is no string.
    #[error("a dictionary key is not a string")]
    KeyNotString,
    /// A dictionary that ends after a key.
    #[error("a dictionary key has no value")]
    KeyWithoutValue,
    /// The same key twice in one dictionary; the position is that of the dictionary.
    #[error("a dictionary has the same key twice")]
    DuplicateKey,
    /// More bytes after the value.
    #[error("data after the end")]
    TrailingData,
    /// Longer than [`Limits::len`](super::Limits::len).
    #[error("longer than the {0} bytes allowed")]
    TooLong(usize),
    /// Deeper than [`Limits::depth`](super::Limits::depth).
    #[error("nested deeper than the {0} levels allowed")]
    TooDeep(usize),
    /// More tokens than [`Limits::items`](super::Limits::items).
    #[error("more than the {0} items allowed")]
    TooManyItems(usize),
}
