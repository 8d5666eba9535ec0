use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

const SMALL: Limits = Limits { len: 1000, depth: 3, items: 20 };

fn refusal(bytes: &[u8]) -> (usize, ErrorKind) {
    let e = parse(bytes, SMALL).expect_err("should be refused");
    (e.offset, e.kind)
}

#[test]
fn every_refusal_names_its_place() {
    use ErrorKind::*;
    for (bytes, offset, kind) in [
        (&b""[..], 0, UnexpectedEnd),
        (b"x", 0, UnexpectedByte(b'x')),
        (b"e", 0, UnexpectedByte(b'e')),
        (b"i03e", 1, LeadingZero),
        (b"i-03e", 2, LeadingZero),
        (b"i-0e", 1, NegativeZero),
        (b"ie", 1, UnexpectedByte(b'e')),
        (b"i-e", 2, UnexpectedByte(b'e')),
        (b"i1", 2, UnexpectedEnd),
        (b"i1x", 2, UnexpectedByte(b'x')),
        (b"i9223372036854775808e", 1, IntegerRange),
        (b"i-9223372036854775809e", 1, IntegerRange),
        (b"i99999999999999999999e", 1, IntegerRange),
        (b"04:spam", 0, LeadingZero),
        (b"4:spa", 0, StringTooLong),
        (b"99999999999999999999:", 0, StringTooLong),
        (b"4spam", 1, UnexpectedByte(b's')),
        (b"l4:spam", 7, UnexpectedEnd),
        (b"di1ei2ee", 1, KeyNotString),
        (b"d1:ae", 4, KeyWithoutValue),
        (b"d1:ai1e1:ai2ee", 7, DuplicateKey),
        (b"d1:bi1e1:ai2e1:bi3ee", 19, DuplicateKey),
        (b"i1ei2e", 3, TrailingData),
        (b"llll", 3, TooDeep(3)),
        (b"li1ei1ei1ei1ei1ei1ei1ei1ei1ei1ei1ei1ei1ei1ei1ei1ei1ei1ei1ei1ee", 58, TooManyItems(20)),
    ] {
        assert_eq!(refusal(bytes), (offset, kind), "{}", bytes.escape_ascii());
    }
    assert_eq!(refusal(&[b'l'; 1001]), (1000, TooLong(1000)));
}

#[test]
fn keeps_raw_spans_and_reads_unsorted_keys() {
    let bytes = b"d4:infod1:bi1e1:al0:ee4:name5:maplee";
    let dict = parse(bytes, SMALL).unwrap().as_dict().unwrap();
    let info = dict.get("info").unwrap();
    assert_eq!(info.raw(), b"d1:bi1e1:al0:ee");
    let keys: Vec<_> = info.as_dict().unwrap().iter().map(|(k, _)| k).collect();
    assert_eq!(keys, [b"b", b"a"]);
    assert_eq!(dict.get("name").unwrap().as_str(), Some("maple"));
    assert!(dict.get("none").is_none());
    assert!(dict.get("name").unwrap().as_int().is_none() && info.as_list().is_none());
}

#[test]
fn canonical_means_keys_in_order_at_any_depth() {
    let canonical = |bytes: &[u8]| parse(bytes, Limits::MESSAGE).unwrap().is_canonical();
    for good in
        [&b"i1e"[..], b"0:", b"le", b"de", b"d1:a1:z1:b1:ae", b"lld1:ad1:ai1eeeee", b"d1:ai1e1:bd1:ai1eee"]
    {
        assert!(canonical(good), "{}", good.escape_ascii());
    }
    for bad in
        [&b"d1:bi1e1:ai1ee"[..], b"ld1:bi1e1:ai1eee", b"d1:ad1:b1:x1:a1:yee", b"d1:al1:z1:ae1:ci1e1:bi1ee"]
    {
        assert!(!canonical(bad), "{}", bad.escape_ascii());
    }
}

#[test]
fn prefix_returns_what_follows() {
    let (value, rest) = parse_prefix(b"d8:msg_typei1ee\x00payload", SMALL).unwrap();
    assert_eq!(value.raw(), b"d8:msg_typei1ee");
    assert_eq!(rest, b"\x00payload");
}

#[test]
fn depth_costs_no_stack() {
    let limits = Limits { len: usize::MAX, depth: 1 << 20, items: usize::MAX };
    let mut deep = vec![b'l'; 1 << 20];
    deep.extend(vec![b'e'; 1 << 20]);
    let value = parse(&deep, limits).unwrap();
    assert_eq!(value.as_list().unwrap().iter().count(), 1);
}

/// A tree to compare with.
#[derive(Clone, Debug, PartialEq)]
enum Tree {
    Int(i64),
    Bytes(Vec<u8>),
    List(Vec<Self>),
    Dict(BTreeMap<Vec<u8>, Self>),
}

impl Tree {
    fn of(value: Value<'_>) -> Self {
        if let Some(n) = value.as_int() {
            Self::Int(n)
        } else if let Some(bytes) = value.as_bytes() {
            Self::Bytes(bytes.to_vec())
        } else if let Some(list) = value.as_list() {
            Self::List(list.iter().map(Self::of).collect())
        } else {
            let entries = value.as_dict().into_iter().flatten();
            Self::Dict(entries.map(|(k, v)| (k.to_vec(), Self::of(v))).collect())
        }
    }

    fn write_into_list(&self, out: &mut ListWriter<'_>) {
        match self {
            Self::Int(n) => out.int(*n),
            Self::Bytes(bytes) => out.bytes(bytes),
            Self::List(items) => out.list(|l| items.iter().for_each(|i| i.write_into_list(l))),
            Self::Dict(entries) => out.dict(|d| Self::write_entries(entries, d)),
        }
    }

    /// In falling order, to make the writer sort.
    fn write_entries(entries: &BTreeMap<Vec<u8>, Self>, out: &mut DictWriter<'_>) {
        for (key, value) in entries.iter().rev() {
            match value {
                Self::Int(n) => out.int(key, *n),
                Self::Bytes(bytes) => out.bytes(key, bytes),
                Self::List(items) => out.list(key, |l| items.iter().for_each(|i| i.write_into_list(l))),
                Self::Dict(entries) => out.dict(key, |d| Self::write_entries(entries, d)),
            }
        }
    }
}

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![any::<i64>().prop_map(Tree::Int), any::<Vec<u8>>().prop_map(Tree::Bytes)];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Tree::List),
            prop::collection::btree_map(prop::collection::vec(any::<u8>(), 0..4), inner, 0..6)
                .prop_map(Tree::Dict),
        ]
    })
}

/// Whether every dictionary has its keys in order.
fn sorted(value: Value<'_>) -> bool {
    let keys: Vec<_> = value.as_dict().into_iter().flatten().map(|(k, _)| k).collect();
    keys.is_sorted()
        && value.as_list().into_iter().flatten().all(sorted)
        && value.as_dict().into_iter().flatten().all(|(_, v)| sorted(v))
}

proptest! {
    #[test]
    fn what_is_written_is_read_and_sorted(entries in prop::collection::btree_map(any::<Vec<u8>>(), tree(), 0..6)) {
        let mut out = Vec::new();
        write_dict(&mut out, |d| Tree::write_entries(&entries, d));
        let value = parse(&out, Limits::MESSAGE).unwrap();
        prop_assert!(sorted(value));
        prop_assert_eq!(Tree::of(value), Tree::Dict(entries));
    }

    #[test]
    fn cut_short_or_followed_by_more_is_told_apart(entries in prop::collection::btree_map(any::<Vec<u8>>(), tree(), 0..6), more: Vec<u8>) {
        let mut out = Vec::new();
        write_dict(&mut out, |d| Tree::write_entries(&entries, d));
        let len = out.len();
        for cut in 0..len {
            prop_assert!(parse(&out[..cut], Limits::MESSAGE).is_err());
        }
        out.extend(&more);
        let (value, rest) = parse_prefix(&out, Limits::MESSAGE).unwrap();
        prop_assert_eq!((value.raw().len(), rest), (len, &more[..]));
    }

    #[test]
    fn any_bytes_are_refused_or_wholly_readable(bytes in prop::collection::vec(prop::sample::select(&b"0123:deil-a"[..]), 0..40)) {
        if let Ok((value, rest)) = parse_prefix(&bytes, Limits::MESSAGE) {
            prop_assert_eq!(value.raw().len() + rest.len(), bytes.len());
            Tree::of(value);
        }
    }
}
