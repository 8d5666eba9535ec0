//! Random torrents: made, then read back.

use std::sync::Arc;

use proptest::prelude::*;
use sha1::{Digest, Sha1};

use crate::ids::{BLOCK_LEN, Sha256Hash};
use crate::merkle;
use crate::metainfo::*;

/// What a file holds: its path tells, so that files differ.
fn content(file: &FileEntry) -> Vec<u8> {
    let seed = if file.attr.pad { 0 } else { file.path.to_string().bytes().fold(1, u8::wrapping_add) };
    vec![seed; file.length as usize]
}

fn hash_v1(plan: &Plan) -> Vec<u8> {
    let all: Vec<u8> = plan.files().iter().flat_map(content).collect();
    all.chunks(plan.piece_length() as usize).flat_map(|piece| <[u8; 20]>::from(Sha1::digest(piece))).collect()
}

fn hash_file(file: &FileEntry, piece_length: u32) -> FileHashes {
    let leaves: Vec<_> = content(file).chunks(BLOCK_LEN as usize).map(merkle::leaf).collect();
    let pieces = leaves.chunks((piece_length / BLOCK_LEN) as usize);
    let height = merkle::piece_layer(piece_length);
    FileHashes {
        pieces_root: merkle::root_of(&leaves, 0, merkle::tree_height(file.length)),
        layer: pieces.flat_map(|piece| merkle::root_of(piece, 0, height).0).collect(),
    }
}

fn hash(plan: &Plan) -> NewHashes {
    let files = plan.files().iter().filter(|f| f.length > 0 && !f.attr.pad);
    let v2 = || files.map(|f| hash_file(f, plan.piece_length())).collect();
    NewHashes { v1: plan.format().has_v1().then(|| hash_v1(plan)), v2: plan.format().has_v2().then(v2) }
}

fn builder(format: Format, files: Vec<NewFile>) -> InfoBuilder {
    InfoBuilder {
        name: "maple".to_owned(),
        files,
        piece_length: 32_768,
        format,
        private: false,
        source: None,
        single_file: false,
    }
}

fn file(path: &str, length: u64) -> NewFile {
    NewFile { path: FilePath::new(path.split('/')), length, attr: Attr::default(), symlink: None }
}

fn link(path: &str, target: &str) -> NewFile {
    NewFile { symlink: Some(FilePath::new(target.split('/'))), ..file(path, 0) }
}

fn listing(files: &[FileEntry]) -> Vec<String> {
    files.iter().map(|f| format!("{} {}", f.path, f.length)).collect()
}

#[test]
fn a_hybrid_is_padded_between_files_only() {
    let files = vec![file("b", 1), file("a.txt", 5), file("a/z", 32_768), file("a/empty", 0), file("c", 7)];
    let plan = builder(Format::Hybrid, files.clone()).plan().unwrap();
    let padded = ["a/empty 0", "a/z 32768", "a.txt 5", ".pad/32763 32763", "b 1", ".pad/32767 32767", "c 7"];
    assert_eq!(listing(plan.files()), padded);
    for format in [Format::V1, Format::V2] {
        let plan = builder(format, files.clone()).plan().unwrap();
        assert_eq!(listing(plan.files()), ["a/empty 0", "a/z 32768", "a.txt 5", "b 1", "c 7"]);
    }
}

#[test]
fn a_single_file_has_no_folder() {
    for format in [Format::V1, Format::V2, Format::Hybrid] {
        let one = InfoBuilder { single_file: true, ..builder(format, vec![file("maple", 40_000)]) };
        let plan = one.plan().unwrap();
        let hashes = hash(&plan);
        let (info, _) = plan.finish(hashes).unwrap();
        assert!(info.is_single_file(), "{format}");
        assert_eq!(listing(info.files()), ["maple 40000"]);
    }
}

#[test]
fn what_no_client_would_take_is_refused() {
    let refuse = |b: InfoBuilder| b.plan().expect_err("refused");
    let problem = |files, expected| match refuse(builder(Format::V1, files)) {
        BuildError::Invalid(MetainfoError::File { problem, .. }) => assert_eq!(problem, expected),
        other => panic!("{other}"),
    };
    problem(vec![file("a", 1), file("a", 2)], FileProblem::DuplicatePath);
    problem(vec![file("a", 1), file("a.", 1), file("a/b", 2)], FileProblem::FileAndFolder);
    problem(vec![file("a//b", 1)], FileProblem::EmptyComponent);
    problem(vec![file(&"x".repeat(MAX_PATH_LEN + 1), 1)], FileProblem::PathTooLong);
    problem(vec![file(&["x"; MAX_PATH_DEPTH + 1].join("/"), 1)], FileProblem::PathTooDeep);
    problem(vec![NewFile { length: 1, ..link("a", "b") }], FileProblem::LinkWithLength);
    problem(vec![link("a", "b//c")], FileProblem::NoTarget);

    let base = builder(Format::V2, vec![file("a", 1)]);
    let odd = InfoBuilder { piece_length: 40_000, ..base.clone() };
    assert_eq!(refuse(odd), MetainfoError::PieceLengthV2(40_000).into());
    let none = InfoBuilder { piece_length: 0, format: Format::V1, ..base.clone() };
    assert_eq!(refuse(none), MetainfoError::PieceLength(0).into());
    let other_name = InfoBuilder { single_file: true, ..base.clone() };
    assert_eq!(refuse(other_name), BuildError::SingleFile("maple".to_owned()));
    assert_eq!(refuse(InfoBuilder { name: String::new(), ..base }), BuildError::NoName);
    assert_eq!(refuse(builder(Format::V1, vec![])), MetainfoError::NoFiles.into());
    let size = u64::from(MAX_PIECES) * 32_768;
    assert!(builder(Format::V2, vec![file("a", size)]).plan().is_ok());
    let pieces = MetainfoError::TooManyPieces(u64::from(MAX_PIECES) + 1);
    assert_eq!(refuse(builder(Format::V2, vec![file("a", size), file("b", 1)])), pieces.into());
    let huge = vec![file("a", u64::MAX / 2), file("b", u64::MAX / 2)];
    assert_eq!(refuse(builder(Format::V1, huge)), MetainfoError::TotalSize.into());
}

#[test]
fn wrong_hashes_are_refused() {
    let plan = builder(Format::Hybrid, vec![file("a", 40_000), file("b", 1)]).plan().unwrap();
    let good = hash(&plan);
    let finish = |hashes| plan.clone().finish(hashes).map(|_| ());
    assert_eq!(finish(good.clone()), Ok(()));
    assert_eq!(finish(NewHashes { v1: None, ..good.clone() }), Err(BuildError::Hashes));
    assert_eq!(finish(NewHashes { v2: None, ..good.clone() }), Err(BuildError::Hashes));
    assert_eq!(finish(NewHashes { v2: Some(vec![]), ..good.clone() }), Err(BuildError::Hashes));
    let short = NewHashes { v1: Some(vec![0; 20]), ..good.clone() };
    assert!(matches!(finish(short), Err(BuildError::Invalid(MetainfoError::PieceCount { hashes: 1, .. }))));
    let mut v2 = good.v2.clone().unwrap();
    v2[0].pieces_root = Sha256Hash([7; 32]);
    let wrong_root = NewHashes { v2: Some(v2), ..good };
    let problem = LayerProblem::Root;
    let expected = MetainfoError::Layer { root: Sha256Hash([7; 32]), problem };
    assert_eq!(finish(wrong_root), Err(expected.into()));
}

#[test]
fn default_piece_lengths_keep_the_number_of_pieces_sane() {
    for (total, expected) in [
        (0, 16 << 10),
        (1, 16 << 10),
        (2000 * (16 << 10), 16 << 10),
        (2000 * (16 << 10) + 1, 32 << 10),
        (4 << 30, 4 << 20),
        (1 << 40, 16 << 20),
        (u64::MAX, 16 << 20),
    ] {
        assert_eq!(default_piece_length([total], Format::Hybrid), expected, "{total}");
    }
    for total in (32..=32_000).map(|mib: u64| mib << 20) {
        let pieces = total.div_ceil(default_piece_length([total], Format::V1).into());
        assert!((1000..=2000).contains(&pieces), "{total} bytes: {pieces} pieces");
    }
}

#[test]
fn small_files_of_a_hybrid_are_not_drowned_in_filling() {
    let small = || std::iter::repeat_n(13_000, 40_000);
    assert_eq!(default_piece_length(small(), Format::V1), 256 << 10);
    assert_eq!(default_piece_length(small(), Format::Hybrid), 16 << 10);
    // A few large files: the filling is nothing beside them.
    let large = || std::iter::repeat_n(1 << 30, 10).chain([5; 100]);
    assert_eq!(default_piece_length(large(), Format::Hybrid), default_piece_length(large(), Format::V1));
    // Where shorter pieces would be too many, filling is the lesser evil.
    let many = std::iter::repeat_n((1 << 20) + 1, 100_000);
    let length = u64::from(default_piece_length(many, Format::Hybrid));
    assert!(100_000 * ((1u64 << 20) + 1).div_ceil(length) <= 200_000);
}

fn new_file() -> impl Strategy<Value = NewFile> {
    let path = prop::collection::vec(
        prop::sample::select(&["a", "b", "a.txt", "ä", "日本", "-", "..", "é\u{1}"][..]),
        1..4,
    );
    let length = prop_oneof![Just(0u64), 1u64..40, 16_380u64..16_390, 32_760u64..32_780, 0u64..200_000];
    let kind = (any::<bool>(), any::<bool>(), prop::bool::weighted(0.1));
    (path, length, kind).prop_map(|(path, length, (executable, hidden, symlink))| NewFile {
        path: FilePath::new(path),
        length: if symlink { 0 } else { length },
        attr: Attr { executable, hidden, ..Attr::default() },
        symlink: symlink.then(|| FilePath::new(["..", "target"])),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_is_made_is_read_back(
        files in prop::collection::vec(new_file(), 1..8),
        format in prop::sample::select(&[Format::V1, Format::V2, Format::Hybrid][..]),
        private: bool,
        source in prop::option::of("[a-z]{0,5}"),
    ) {
        let wanted = InfoBuilder { private, source: source.clone(), ..builder(format, files.clone()) };
        // Paths that collide are refused; what is refused, and why, has its own test.
        let Ok(plan) = wanted.plan() else { return Ok(()) };
        let hashes = hash(&plan);
        let planned = listing(plan.files());
        let (info, layers) = plan.finish(hashes.clone()).unwrap();
        prop_assert_eq!(listing(info.files()), planned);
        prop_assert_eq!(info.total_size(), files.iter().map(|f| f.length).sum::<u64>());
        for new in &files {
            let read = info.files().iter().find(|f| f.path == new.path).unwrap();
            prop_assert_eq!((read.length, &read.symlink), (new.length, &new.symlink));
            prop_assert_eq!((read.attr.executable, read.attr.hidden), (new.attr.executable, new.attr.hidden));
        }
        prop_assert_eq!((info.private(), info.source(), info.format()), (private, source.as_deref(), format));
        if let Some(v1) = hashes.v1 {
            let read: Vec<u8> = (0..).map_while(|i| info.piece_hash_v1(crate::ids::PieceIndex(i))).flat_map(|h| h.0).collect();
            prop_assert_eq!(read, v1);
        }
        let torrent = Metainfo { trackers: vec![vec!["udp://t".into()]], ..Metainfo::new(Arc::new(info), layers) };
        prop_assert_eq!(Metainfo::parse(&torrent.to_bytes()), Ok(torrent));
    }
}
