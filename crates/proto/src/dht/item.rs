//! Items (BEP 44): values that are kept under their own hash, or signed under a key and renewed.
//!
//! An immutable item's key is SHA-1 of its bencoded value; a mutable one's is SHA-1 of the Ed25519 public key and the salt
//! after it. What is signed is salt, sequence number and value, each bencoded, one after the other.
//!
//! Refused: values above [`MAX_VALUE`] or with dictionary keys out of order, salts above [`MAX_SALT`], negative sequence
//! numbers, signatures that do not fit. Tested with the vectors of the BEP.

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use sha1::{Digest, Sha1};

use super::message::{MAX_SALT, MAX_VALUE, Signed, code};
use crate::bencode::{self, Limits, Value};
use crate::ids::NodeId;

/// An item, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The value, bencoded.
    value: Box<[u8]>,
    mutable: Option<Mutable>,
}

/// What makes an item mutable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mutable {
    /// The public key.
    pub key: [u8; 32],
    /// Tells items of one key apart; at most [`MAX_SALT`] bytes.
    pub salt: Box<[u8]>,
    /// Higher is newer.
    pub seq: i64,
    /// Over salt, sequence number and value.
    pub sig: [u8; 64],
}

/// Why something is no item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadItem {
    /// Not bencoded, or not in the canonical way.
    #[error("the value is not canonical bencoding")]
    Malformed,
    /// Above [`MAX_VALUE`].
    #[error("the value is longer than {MAX_VALUE} bytes")]
    TooBig,
    /// Above [`MAX_SALT`].
    #[error("the salt is longer than {MAX_SALT} bytes")]
    SaltTooBig,
    /// Below zero.
    #[error("the sequence number is negative")]
    BadSeq,
    /// Somebody else's signature, or another value's.
    #[error("the signature does not fit")]
    BadSignature,
}

impl BadItem {
    /// The error code that tells who sent it (BEP 44).
    pub const fn code(self) -> i64 {
        match self {
            Self::Malformed | Self::BadSeq => code::PROTOCOL,
            Self::TooBig => code::VALUE_TOO_BIG,
            Self::SaltTooBig => code::SALT_TOO_BIG,
            Self::BadSignature => code::BAD_SIGNATURE,
        }
    }
}

impl Item {
    /// An immutable item with this bencoded value.
    ///
    /// # Errors
    /// Says what is wrong with the value.
    pub fn immutable(value: &[u8]) -> Result<Self, BadItem> {
        check_value(parsed(value)?)?;
        Ok(Self { value: value.into(), mutable: None })
    }

    /// A mutable item, signed with an Ed25519 secret key (RFC 8032: the 32 bytes from which all else follows).
    ///
    /// # Errors
    /// Says what is wrong with value, salt or sequence number.
    pub fn sign(secret: &[u8; 32], salt: &[u8], seq: i64, value: &[u8]) -> Result<Self, BadItem> {
        check_value(parsed(value)?)?;
        check_salt(salt, seq)?;
        let secret = SigningKey::from_bytes(secret);
        let sig = secret.sign(&to_be_signed(value, salt, seq)).to_bytes();
        let key = secret.verifying_key().to_bytes();
        Ok(Self { value: value.into(), mutable: Some(Mutable { key, salt: salt.into(), seq, sig }) })
    }

    /// What somebody sent.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn read(value: Value<'_>, signed: Option<Signed<'_>>) -> Result<Self, BadItem> {
        check_value(value)?;
        let mutable = signed.map(|signed| verify(value.raw(), &signed)).transpose()?;
        Ok(Self { value: value.raw().into(), mutable })
    }

    /// Where it is kept.
    pub fn target(&self) -> NodeId {
        self.mutable
            .as_ref()
            .map_or_else(|| immutable_target(&self.value), |m| mutable_target(&m.key, &m.salt))
    }

    /// The value, bencoded; at most [`MAX_VALUE`] bytes.
    pub fn value(&self) -> &[u8] {
        &self.value
    }

    /// What makes it mutable, if it is.
    pub const fn mutable(&self) -> Option<&Mutable> {
        self.mutable.as_ref()
    }

    /// The sequence number of a mutable item.
    pub fn seq(&self) -> Option<i64> {
        self.mutable.as_ref().map(|m| m.seq)
    }
}

impl Mutable {
    /// As a message says it.
    pub fn signed(&self) -> Signed<'_> {
        Signed { key: &self.key, salt: &self.salt, seq: self.seq, sig: &self.sig }
    }
}

/// The key of an immutable item.
pub fn immutable_target(value: &[u8]) -> NodeId {
    NodeId(Sha1::digest(value).into())
}

/// The key of a mutable item.
pub fn mutable_target(key: &[u8; 32], salt: &[u8]) -> NodeId {
    NodeId(Sha1::new().chain_update(key).chain_update(salt).finalize().into())
}

/// The public key of a secret one.
pub fn public_key(secret: &[u8; 32]) -> [u8; 32] {
    SigningKey::from_bytes(secret).verifying_key().to_bytes()
}

/// A stored value, to be said; it was checked when it came.
pub(super) fn view(value: &[u8]) -> Option<Value<'_>> {
    parsed(value).ok()
}

fn parsed(value: &[u8]) -> Result<Value<'_>, BadItem> {
    bencode::parse(value, Limits { len: 64 * MAX_VALUE, ..Limits::MESSAGE }).map_err(|_| BadItem::Malformed)
}

fn check_value(value: Value<'_>) -> Result<(), BadItem> {
    match value.raw().len() {
        MAX_VALUE.. if value.raw().len() > MAX_VALUE => Err(BadItem::TooBig),
        _ if value.is_canonical() => Ok(()),
        _ => Err(BadItem::Malformed),
    }
}

fn check_salt(salt: &[u8], seq: i64) -> Result<(), BadItem> {
    match () {
        () if salt.len() > MAX_SALT => Err(BadItem::SaltTooBig),
        () if seq < 0 => Err(BadItem::BadSeq),
        () => Ok(()),
    }
}

fn verify(value: &[u8], signed: &Signed<'_>) -> Result<Mutable, BadItem> {
    check_salt(signed.salt, signed.seq)?;
    let key = VerifyingKey::from_bytes(signed.key).map_err(|_| BadItem::BadSignature)?;
    let text = to_be_signed(value, signed.salt, signed.seq);
    key.verify_strict(&text, &Signature::from_bytes(signed.sig)).map_err(|_| BadItem::BadSignature)?;
    Ok(Mutable { key: *signed.key, salt: signed.salt.into(), seq: signed.seq, sig: *signed.sig })
}

fn to_be_signed(value: &[u8], salt: &[u8], seq: i64) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len() + salt.len() + 40);
    if !salt.is_empty() {
        out.extend_from_slice(format!("4:salt{}:", salt.len()).as_bytes());
        out.extend_from_slice(salt);
    }
    out.extend_from_slice(format!("3:seqi{seq}e1:v").as_bytes());
    out.extend_from_slice(value);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "77ff84905a91936367c01360803104f92432fcd904a43511876df5cdf3e7e548";
    const SIG: &str = "305ac8aeb6c9c151fa120f120ea2cfb923564e11552d06a5d856091e5e853cff1260d3f39e4999684aa92eb73ffd136e6f4f3ecbfda0ce53a1608ecd7ae21f01";
    const SALTED: &str = "6834284b6b24c3204eb2fea824d82f88883a3d95e8b4a21b8c0ded553d17d17ddf9a8a7104b1258f30bed3787e6cb896fca78c58f8e03b5f18f14951a87d9a08";
    const VALUE: &[u8] = b"12:Hello World!";

    fn hex<const N: usize>(text: &str) -> [u8; N] {
        std::array::from_fn(|n| u8::from_str_radix(&text[2 * n..2 * n + 2], 16).unwrap())
    }

    fn read(value: &[u8], salt: &[u8], seq: i64, sig: &str) -> Result<Item, BadItem> {
        let (key, sig) = (hex(KEY), hex(sig));
        Item::read(parsed(value)?, Some(Signed { key: &key, salt, seq, sig: &sig }))
    }

    #[test]
    fn the_vectors_of_bep_44() {
        let target = |item: Item| item.target().to_string();
        assert_eq!(target(read(VALUE, b"", 1, SIG).unwrap()), "4a533d47ec9c7d95b1ad75f576cffc641853b750");
        assert_eq!(
            target(read(VALUE, b"foobar", 1, SALTED).unwrap()),
            "411eba73b6f087ca51a3795d9c8c938d365e32c1"
        );
        assert_eq!(target(Item::immutable(VALUE).unwrap()), "e5f96f6f38320f0f33959cb4d3d656452117aadb");
        assert_eq!(to_be_signed(VALUE, b"foobar", 1), b"4:salt6:foobar3:seqi1e1:v12:Hello World!");
    }

    #[test]
    fn whatever_else_is_not_what_was_signed() {
        for (value, salt, seq, sig) in [
            (VALUE, &b""[..], 2, SIG),
            (VALUE, b"foobar", 1, SIG),
            (VALUE, b"", 1, SALTED),
            (b"12:Hello world!", b"", 1, SIG),
        ] {
            assert_eq!(read(value, salt, seq, sig), Err(BadItem::BadSignature));
        }
        assert_eq!(read(VALUE, &[0; 65], 1, SIG), Err(BadItem::SaltTooBig));
        assert_eq!(read(VALUE, b"", -1, SIG), Err(BadItem::BadSeq));
    }

    #[test]
    fn our_own_signature_is_believed() {
        let item = Item::sign(&[7; 32], b"salt", 3, b"i5e").unwrap();
        let mutable = item.mutable().unwrap();
        assert_eq!(mutable.key, public_key(&[7; 32]));
        assert_eq!(Item::read(parsed(item.value()).unwrap(), Some(mutable.signed())), Ok(item.clone()));
        assert_eq!((item.seq(), item.target()), (Some(3), mutable_target(&mutable.key, b"salt")));
    }

    #[test]
    fn values_are_canonical_and_short() {
        let big = |n: usize| format!("{n}:{}", "x".repeat(n));
        assert!(Item::immutable(big(996).as_bytes()).is_ok());
        assert_eq!(Item::immutable(big(997).as_bytes()), Err(BadItem::TooBig));
        assert_eq!(Item::immutable(b"d1:bi1e1:ai1ee"), Err(BadItem::Malformed));
        assert_eq!(Item::immutable(b"ld1:bi1e1:ai1eee"), Err(BadItem::Malformed));
        assert_eq!(Item::immutable(b"hello"), Err(BadItem::Malformed));
        assert!(Item::immutable(b"d1:ai1e1:bld1:ci1eeee").is_ok());
    }
}
