//! A magnet link that is accepted is printed, and read back the same; a bare hash is the link of that hash.

use samara_proto::ids::FileIndex;
use samara_proto::magnet::{MAX_SELECTED_INDEX, Magnet, parse_info_hash};

const SAMPLES: usize = 1000;

/// Runs one input, if it is text.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(magnet) = Magnet::parse(text) {
        round_trip(&magnet);
    }
    if let Some(hashes) = parse_info_hash(text) {
        let link = Magnet::parse_source(text).expect("a bare hash names a torrent");
        assert_eq!(link, Magnet::new(hashes));
        round_trip(&link);
    }
}

fn round_trip(magnet: &Magnet) {
    let printed = magnet.to_string();
    let plain = |c: char| c.is_ascii_graphic();
    assert!(printed.starts_with("magnet:?") && printed.chars().all(plain), "{printed} cannot be pasted");
    let again = Magnet::parse(&printed).expect("what is printed can be read");
    assert_eq!(again, *magnet);
    assert_eq!(again.to_string(), printed);
    selection_holds(magnet);
}

fn selection_holds(magnet: &Magnet) {
    let Some(selected) = &magnet.selected else { return };
    let files: Vec<FileIndex> = selected.files().take(SAMPLES).collect();
    assert!(!files.is_empty() && files.is_sorted());
    assert!(files.iter().all(|file| selected.contains(*file) && file.0 <= MAX_SELECTED_INDEX));
}
