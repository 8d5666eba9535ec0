//! Views into checked bencoding.

use super::{Scanner, Token};

/// One value, as a view into bytes that were checked. Copying it copies a pointer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Value<'a> {
    raw: &'a [u8],
}

impl<'a> Value<'a> {
    /// `raw` must be exactly one well-formed value.
    pub(crate) const fn checked(raw: &'a [u8]) -> Self {
        Self { raw }
    }

    /// The bytes it stands as in the input.
    pub const fn raw(self) -> &'a [u8] {
        self.raw
    }

    /// The number, if it is an integer.
    pub fn as_int(self) -> Option<i64> {
        match self.first() {
            Some(Token::Int(n)) => Some(n),
            _ => None,
        }
    }

    /// The content, if it is a string.
    pub fn as_bytes(self) -> Option<&'a [u8]> {
        match self.first() {
            Some(Token::Bytes(bytes)) => Some(bytes),
            _ => None,
        }
    }

    /// The content, if it is a string of valid UTF-8.
    pub fn as_str(self) -> Option<&'a str> {
        self.as_bytes().and_then(|bytes| std::str::from_utf8(bytes).ok())
    }

    /// The list, if it is one.
    pub fn as_list(self) -> Option<List<'a>> {
        matches!(self.first(), Some(Token::List)).then_some(List { raw: self.raw })
    }

    /// The dictionary, if it is one.
    pub fn as_dict(self) -> Option<Dict<'a>> {
        matches!(self.first(), Some(Token::Dict)).then_some(Dict { raw: self.raw })
    }

    /// Whether every dictionary in it has its keys in order (BEP 3), at any depth.
    pub fn is_canonical(self) -> bool {
        let mut scan = Scanner::new(self.raw);
        let mut stack: Vec<Open<'_>> = Vec::new();
        while let Ok(token) = scan.token() {
            if let Some(Some((last, value_due))) = stack.last_mut() {
                match token {
                    Token::Bytes(key) if !*value_due => {
                        if last.is_some_and(|last| last >= key) {
                            return false;
                        }
                        (*last, *value_due) = (Some(key), true);
                        continue;
                    }
                    _ => *value_due = false,
                }
            }
            match token {
                Token::List => stack.push(None),
                Token::Dict => stack.push(Some((None, false))),
                Token::End => drop(stack.pop()),
                Token::Int(_) | Token::Bytes(_) => {}
            }
            if stack.is_empty() {
                return true;
            }
        }
        false
    }

    fn first(self) -> Option<Token<'a>> {
        Scanner::new(self.raw).token().ok()
    }
}

/// Nothing for a list; for a dictionary the last key and whether its value is due.
type Open<'a> = Option<(Option<&'a [u8]>, bool)>;

impl std::fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.raw.escape_ascii())
    }
}

/// A list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct List<'a> {
    raw: &'a [u8],
}

impl<'a> List<'a> {
    /// The bytes it stands as in the input.
    pub const fn raw(self) -> &'a [u8] {
        self.raw
    }

    /// Its values, in order.
    pub fn iter(self) -> Items<'a> {
        Items::inside(self.raw)
    }
}

impl<'a> IntoIterator for List<'a> {
    type Item = Value<'a>;
    type IntoIter = Items<'a>;

    fn into_iter(self) -> Items<'a> {
        self.iter()
    }
}

/// A dictionary. No key occurs twice; the order is that of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dict<'a> {
    raw: &'a [u8],
}

impl<'a> Dict<'a> {
    /// The bytes it stands as in the input.
    pub const fn raw(self) -> &'a [u8] {
        self.raw
    }

    /// Its entries, in the order of the input.
    pub fn iter(self) -> Entries<'a> {
        Entries(Items::inside(self.raw))
    }

    /// The value under `key`, in time linear in the dictionary: to read many keys, iterate once.
    pub fn get(self, key: impl AsRef<[u8]>) -> Option<Value<'a>> {
        self.iter().find(|(k, _)| *k == key.as_ref()).map(|(_, value)| value)
    }
}

impl<'a> IntoIterator for Dict<'a> {
    type Item = (&'a [u8], Value<'a>);
    type IntoIter = Entries<'a>;

    fn into_iter(self) -> Entries<'a> {
        self.iter()
    }
}

/// The values of a [`List`].
#[derive(Clone, Debug)]
pub struct Items<'a>(Scanner<'a>);

impl<'a> Items<'a> {
    /// Over what a list or dictionary contains: its raw bytes without the opening one.
    fn inside(raw: &'a [u8]) -> Self {
        Self(Scanner::new(raw.get(1..).unwrap_or_default()))
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        if self.0.at_end() {
            return None;
        }
        let start = self.0.pos();
        self.0.skip().ok()?;
        Some(Value::checked(self.0.since(start)))
    }
}

/// The entries of a [`Dict`].
#[derive(Clone, Debug)]
pub struct Entries<'a>(Items<'a>);

impl<'a> Iterator for Entries<'a> {
    type Item = (&'a [u8], Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let key = self.0.next()?.as_bytes()?;
        Some((key, self.0.next()?))
    }
}
