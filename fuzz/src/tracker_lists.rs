//! Lists hold what a plain reader finds in the file, and refuse what it refuses.

use samara_proto::ids::WireHash;
use samara_proto::tracker::access::{HashList, KeyList};

/// Runs one input: the file.
pub fn run(file: &[u8]) {
    let entries: Vec<String> = String::from_utf8_lossy(file)
        .split('\n')
        .map(|line| line.split('#').next().unwrap_or("").trim_matches([' ', '\t', '\r', '\x0c']).to_owned())
        .filter(|entry| !entry.is_empty())
        .collect();
    let hex = |e: &String| matches!(e.len(), 40 | 64) && e.bytes().all(|b| b.is_ascii_hexdigit());
    match HashList::parse(file) {
        Ok(list) => {
            assert!(entries.iter().all(hex));
            let mut hashes: Vec<_> = entries.iter().filter_map(|e| WireHash::from_hex(&e[..40])).collect();
            assert!(hashes.iter().all(|hash| list.contains(hash)));
            hashes.sort_unstable();
            hashes.dedup();
            assert_eq!(list.len(), hashes.len());
            assert!(!list.contains(&WireHash([0xa5; 20])) || hashes.contains(&WireHash([0xa5; 20])));
        }
        Err(bad) => assert!(!entries.iter().all(hex), "{bad}"),
    }
    if let Ok(list) = KeyList::parse(file) {
        assert!(entries.iter().all(|key| list.contains(key.as_bytes())));
        assert!(list.len() <= entries.len());
    }
}
