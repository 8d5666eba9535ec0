//! The canonical writer: whatever order keys are given in, they come out sorted.

use std::io::Write as _;

use super::Value;

/// Appends one dictionary to `out`; `fill` gives its entries, in any order. Each key may be given once.
///
/// ```
/// let mut out = Vec::new();
/// samara_proto::bencode::write_dict(&mut out, |d| {
///     d.bytes("name", "maple");
///     d.int("length", 5);
/// });
/// assert_eq!(out, b"d6:lengthi5e4:name5:maplee");
/// ```
pub fn write_dict(out: &mut Vec<u8>, fill: impl FnOnce(&mut DictWriter<'_>)) {
    let start = out.len();
    out.push(b'd');
    let mut writer = DictWriter { out, last_key: None, sorted: true };
    fill(&mut writer);
    let sorted = writer.sorted;
    out.push(b'e');
    if !sorted {
        sort_entries(&mut out[start..]);
    }
}

/// Puts the entries of one encoded dictionary into order.
fn sort_entries(dict: &mut [u8]) {
    let unsorted = dict.to_vec();
    let mut entries: Vec<_> = Value::checked(&unsorted).as_dict().into_iter().flatten().collect();
    entries.sort_unstable_by_key(|(key, _)| *key);
    debug_assert!(entries.windows(2).all(|pair| pair[0].0 != pair[1].0), "a key was written twice");
    let mut sorted = Vec::with_capacity(unsorted.len());
    for (key, value) in entries {
        put_bytes(&mut sorted, key);
        sorted.extend_from_slice(value.raw());
    }
    dict[1..=sorted.len()].copy_from_slice(&sorted);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    // Writing to a Vec cannot fail.
    let _ = write!(out, "{}:", bytes.len());
    out.extend_from_slice(bytes);
}

fn put_int(out: &mut Vec<u8>, value: i64) {
    let _ = write!(out, "i{value}e");
}

fn put_list(out: &mut Vec<u8>, fill: impl FnOnce(&mut ListWriter<'_>)) {
    out.push(b'l');
    fill(&mut ListWriter { out });
    out.push(b'e');
}

/// Takes the entries of one dictionary.
#[derive(Debug)]
pub struct DictWriter<'a> {
    out: &'a mut Vec<u8>,
    /// Where in `out` the content of the last key lies.
    last_key: Option<std::ops::Range<usize>>,
    sorted: bool,
}

impl DictWriter<'_> {
    /// An integer entry.
    pub fn int(&mut self, key: impl AsRef<[u8]>, value: i64) {
        put_int(self.key(key.as_ref()), value);
    }

    /// A string entry.
    pub fn bytes(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        put_bytes(self.key(key.as_ref()), value.as_ref());
    }

    /// A list entry.
    pub fn list(&mut self, key: impl AsRef<[u8]>, fill: impl FnOnce(&mut ListWriter<'_>)) {
        put_list(self.key(key.as_ref()), fill);
    }

    /// A dictionary entry.
    pub fn dict(&mut self, key: impl AsRef<[u8]>, fill: impl FnOnce(&mut DictWriter<'_>)) {
        write_dict(self.key(key.as_ref()), fill);
    }

    /// An entry whose value is copied as it stands.
    pub fn value(&mut self, key: impl AsRef<[u8]>, value: Value<'_>) {
        self.key(key.as_ref()).extend_from_slice(value.raw());
    }

    fn key(&mut self, key: &[u8]) -> &mut Vec<u8> {
        if let Some(last) = self.last_key.take() {
            self.sorted &= &self.out[last] < key;
        }
        put_bytes(self.out, key);
        self.last_key = Some(self.out.len() - key.len()..self.out.len());
        self.out
    }
}

/// Takes the values of one list.
#[derive(Debug)]
pub struct ListWriter<'a> {
    out: &'a mut Vec<u8>,
}

impl ListWriter<'_> {
    /// An integer.
    pub fn int(&mut self, value: i64) {
        put_int(self.out, value);
    }

    /// A string.
    pub fn bytes(&mut self, value: impl AsRef<[u8]>) {
        put_bytes(self.out, value.as_ref());
    }

    /// A list.
    pub fn list(&mut self, fill: impl FnOnce(&mut ListWriter<'_>)) {
        put_list(self.out, fill);
    }

    /// A dictionary.
    pub fn dict(&mut self, fill: impl FnOnce(&mut DictWriter<'_>)) {
        write_dict(self.out, fill);
    }
}
