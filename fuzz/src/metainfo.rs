//! A torrent that is accepted is written and read back unchanged, and nothing that it says leads out of its folder,
//! out of its pieces, or out of proportion.

use std::collections::HashSet;
use std::path::Component;
use std::sync::Arc;

use samara_proto::ids::{FileIndex, PieceIndex};
use samara_proto::layout::Layout;
use samara_proto::metainfo::{Info, Metainfo};
use samara_proto::path::{Rules, sanitise_files};

const SAMPLES: u32 = 64;

/// Runs one input: a torrent file, or an info dictionary.
pub fn run(data: &[u8]) {
    if let Ok(torrent) = Metainfo::parse(data) {
        round_trip(&torrent);
        info_holds(&torrent.info);
    }
    if let Ok(info) = Info::parse(data.into()) {
        assert_eq!(&**info.raw(), data, "the info-hash is over the bytes as they stand");
        info_holds(&info);
    }
}

fn round_trip(torrent: &Metainfo) {
    let bytes = torrent.to_bytes();
    let again = Metainfo::parse(&bytes).expect("what is written can be read");
    assert_eq!(again.info.raw(), torrent.info.raw());
    assert_eq!(again, *torrent);
    assert_eq!(again.to_bytes(), bytes);
}

fn info_holds(info: &Info) {
    let again = Info::parse(Arc::clone(info.raw())).expect("an accepted dictionary is accepted again");
    assert_eq!(again, *info);
    let layout = Layout::of(info).expect("an accepted info dictionary can be laid out");
    assert_eq!(layout.num_pieces(), info.num_pieces());
    assert_eq!(layout.num_files() as usize, info.files().len());
    let sizes = info.files().iter().filter(|f| !f.attr.pad).map(|f| u128::from(f.length));
    assert_eq!(sizes.sum::<u128>(), u128::from(info.total_size()));
    every_piece_has_a_hash(info, &layout);
    [Rules::UNIX, Rules::MACOS, Rules::WINDOWS].into_iter().for_each(|rules| paths_are_safe(info, rules));
}

fn every_piece_has_a_hash(info: &Info, layout: &Layout) {
    let last = info.num_pieces().saturating_sub(SAMPLES);
    for piece in (0..info.num_pieces().min(SAMPLES)).chain(last..info.num_pieces()).map(PieceIndex) {
        assert_eq!(info.piece_hash_v1(piece).is_some(), info.format().has_v1());
        assert!((1..=info.piece_length()).contains(&layout.piece_len(piece)));
    }
    assert_eq!(info.piece_hash_v1(PieceIndex(info.num_pieces())), None);
    if info.format().has_v2() {
        let real = |f: &FileIndex| layout.file_len(*f) > 0 && !layout.file_is_pad(*f);
        for file in (0..layout.num_files().min(SAMPLES)).map(FileIndex).filter(real) {
            assert!(info.files()[file.0 as usize].pieces_root.is_some());
            let first = PieceIndex(layout.pieces_of(file).start);
            assert_eq!(layout.file_piece(first).map(|p| (p.file, p.index)), Some((file, 0)));
        }
    }
}

fn paths_are_safe(info: &Info, rules: Rules) {
    let name = (!info.is_single_file()).then(|| info.name());
    let paths = sanitise_files(name, info.files(), rules);
    assert_eq!(paths.len(), info.files().len());
    let mut seen = HashSet::new();
    for (path, file) in paths.iter().zip(info.files()) {
        assert_eq!(path.is_none(), file.attr.pad);
        let Some(path) = path else { continue };
        let plain = |c: Component<'_>| matches!(c, Component::Normal(_));
        assert!(path.as_path().components().all(plain), "{path:?}");
        assert!(seen.insert(path.as_path().to_owned()), "twice: {path:?}");
        assert!(seen.insert(path.part_path()), "twice while downloading: {path:?}");
        if let Some(target) = path.link_target() {
            stays_inside(path.as_path(), target);
        }
    }
}

/// Following `target` from the folder of `link` never climbs over the torrent's root.
fn stays_inside(link: &std::path::Path, target: &std::path::Path) {
    let mut depth = link.components().count() as i64 - 1;
    for component in target.components() {
        depth += match component {
            Component::Normal(_) => 1,
            Component::ParentDir => -1,
            Component::CurDir => 0,
            other => panic!("{other:?} in a link"),
        };
        assert!(depth >= 0, "{} leads out of the folder", target.display());
    }
}
