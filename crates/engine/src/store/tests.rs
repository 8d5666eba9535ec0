use samara_proto::bitfield::Bitfield;
use samara_proto::ids::{InfoHashV1, InfoHashes, PieceIndex};
use samara_proto::layout::Layout;

use super::*;
use crate::disk::Stamp;

/// A folder that goes away with the test.
pub(super) struct Temp(pub(super) PathBuf);

impl Temp {
    pub(super) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("samara-store-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn hashes() -> InfoHashes {
    InfoHashes::V1(InfoHashV1([7; 20]))
}

fn record() -> Record {
    let mut have = Bitfield::new(11);
    [0, 3, 10].into_iter().for_each(|p| assert!(have.insert(PieceIndex(p))));
    let files = vec![
        Some(Stamp { whole: true, len: 5, mtime: -3 }),
        None,
        Some(Stamp { whole: false, len: u64::MAX >> 1, mtime: i64::MAX }),
    ];
    Record { have, files, torrent: b"d4:infode".to_vec() }
}

#[test]
fn a_record_comes_back_whole_or_not_at_all() {
    let bytes = record().to_bytes();
    assert_eq!(Record::parse(&bytes), Some(record()));
    for cut in 0..bytes.len() {
        assert_eq!(Record::parse(&bytes[..cut]), None, "cut at {cut}");
    }
}

#[test]
fn saving_replaces_and_damage_is_ignored() {
    let temp = Temp::new("save");
    let store = Store::open(&temp.0, &hashes(), Path::new("a")).unwrap();
    assert_eq!(store.load(), None);
    store.save(&record()).unwrap();
    let other = Store::open(&temp.0, &hashes(), Path::new("b")).unwrap();
    assert_eq!(other.load(), None, "another folder is another download");
    assert_eq!(store.load(), Some(record()));
    fs::write(&store.path, b"garbage").unwrap();
    assert_eq!(store.load(), None);
    store.save(&record()).unwrap();
    assert_eq!(store.load(), Some(record()));
}

#[test]
fn only_one_may_write_a_download() {
    let temp = Temp::new("lock");
    let open = || Store::open(&temp.0, &hashes(), Path::new("a")).unwrap();
    let (mut first, mut second) = (open(), open());
    first.lock().unwrap();
    assert!(matches!(second.lock(), Err(StoreError::Busy)));
    drop(first);
    second.lock().unwrap();
    assert!(second.is_locked());
}

#[test]
fn only_files_that_did_not_change_are_believed() {
    // Pieces 0 and 1 lie in the first file, 2 in both, 3 and 4 in the second.
    let layout = Layout::new(16_384, [(40_000, false), (30_000, false)], false).unwrap();
    let whole = Stamp { whole: true, len: 40_000, mtime: 100 };
    let part = Stamp { whole: false, len: 30_000, mtime: 100 };
    let missing = Stamp { whole: false, len: 0, mtime: 0 };
    let have = Bitfield::full(layout.num_pieces());
    let record = Record { have, files: vec![Some(whole), Some(part)], torrent: Vec::new() };
    let trust = |a: Option<Stamp>, b: Option<Stamp>| {
        record.trusted(&layout, &[a, b]).iter().map(|p| p.0).collect::<Vec<_>>()
    };
    assert_eq!(trust(Some(whole), Some(part)), [0, 1, 2, 3, 4]);
    let touched = Stamp { mtime: 101, ..whole };
    assert_eq!(trust(Some(touched), Some(part)), [3, 4], "a finished file that changed is hashed");
    let later = Stamp { mtime: 101, ..part };
    assert_eq!(trust(Some(whole), Some(later)), [0, 1, 2, 3, 4], "an unfinished file goes on changing");
    let older = Stamp { mtime: 99, ..part };
    assert_eq!(trust(Some(whole), Some(older)), [0, 1], "but not backwards");
    let short = Stamp { len: 20_000, ..part };
    assert_eq!(trust(Some(whole), Some(short)), [0, 1, 2], "what lies behind the end is gone");
    assert_eq!(trust(Some(missing), None), [3, 4], "an unwanted file holds nothing back");
}
