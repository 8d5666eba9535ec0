//! Twenty bytes as a string of twenty characters, each the code point of one byte (latin-1), as signalling writes hashes
//! and ids into JSON.

use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes of a hash or id.
pub(super) const LEN: usize = 20;

/// An info-hash, peer id or offer id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Binary(pub(super) [u8; LEN]);

impl Binary {
    /// `None` unless there are exactly twenty characters, none beyond U+00FF.
    fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; LEN];
        let mut chars = text.chars();
        for byte in &mut bytes {
            *byte = u8::try_from(chars.next()?).ok()?;
        }
        chars.next().is_none().then_some(Self(bytes))
    }
}

impl Serialize for Binary {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        // A byte above 0x7f takes two in UTF-8.
        let mut room = [0; 2 * LEN];
        let mut len = 0;
        for byte in self.0 {
            len += char::from(byte).encode_utf8(&mut room[len..]).len();
        }
        let text = str::from_utf8(&room[..len]).map_err(serde::ser::Error::custom)?;
        to.serialize_str(text)
    }
}

impl<'de> Deserialize<'de> for Binary {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Binary;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string of 20 characters up to U+00FF")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Binary, E> {
                Binary::parse(text)
                    .ok_or_else(|| E::invalid_value(serde::de::Unexpected::Other("string"), &self))
            }
        }

        from.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_survives_as_the_field_writes_it() {
        for start in 0..=u8::MAX {
            let id = Binary(std::array::from_fn(|i| start.wrapping_add(i as u8)));
            let json = serde_json::to_string(&id).unwrap();
            assert_eq!(serde_json::from_str::<Binary>(&json).unwrap(), id);
        }
        let all_high = serde_json::to_string(&Binary([0xe9; LEN])).unwrap();
        assert_eq!(all_high, format!("\"{}\"", "é".repeat(20)));
        let escaped = format!("\"{}\"", "\\u00e9".repeat(20));
        assert_eq!(serde_json::from_str::<Binary>(&escaped).unwrap(), Binary([0xe9; LEN]));
    }

    #[test]
    fn other_lengths_and_characters_are_refused() {
        for text in [
            "",
            "0123456789012345678",
            "012345678901234567890",
            "012345678901234567€",
            "0123456789012345678ā",
        ] {
            assert!(Binary::parse(text).is_none(), "{text}");
        }
        assert!(serde_json::from_str::<Binary>("12345678901234567890").is_err());
    }
}
