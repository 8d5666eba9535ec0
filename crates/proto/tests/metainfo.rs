//! Torrents that libtorrent made (`fixtures/make.py`): what Samara reads in them is what libtorrent says about them.

use samara_proto::metainfo::{Format, Info, Metainfo};

fn fixture(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/fixtures/{name}.torrent", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn read(name: &str) -> Metainfo {
    Metainfo::parse(&fixture(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// Hashes, shape and files, a line each, for comparison.
fn summary(info: &Info) -> Vec<String> {
    let hashes = info.hashes();
    let hash = |h: Option<String>| h.unwrap_or_else(|| "-".to_owned());
    let mut lines = vec![
        format!("{} {}", hash(hashes.v1().map(|h| h.to_string())), hash(hashes.v2().map(|h| h.to_string()))),
        format!(
            "{} {} pieces={}x{} size={}",
            info.name(),
            info.format(),
            info.num_pieces(),
            info.piece_length(),
            info.total_size()
        ),
    ];
    lines.extend(info.files().iter().map(|f| {
        let target = f.symlink.as_ref().map(|t| format!(" -> {t}")).unwrap_or_default();
        format!("{} {} {}{target}", f.path, f.length, f.attr).trim_end().to_owned()
    }));
    lines
}

#[test]
fn single_files() {
    for (name, format, hashes) in [
        ("v1-single", Format::V1, "876a46045ed342b2ca8a37de7046fb0a67dae54a -"),
        ("v2-single", Format::V2, "- 879e4bcae136b950651f404ae30c511b45bd8af0186528896123f98445be2529"),
        (
            "hybrid-single",
            Format::Hybrid,
            "3b289f8110f93e19826d412abd6a74ce6379c4b4 cfbed18d6b1a11a243cbc4f717c3cc2d9d9f765f3450aaf2370f532f0988e513",
        ),
    ] {
        let torrent = read(name);
        assert!(torrent.info.is_single_file(), "{name}");
        let shape = format!("maple.bin {format} pieces=4x32768 size=100000");
        assert_eq!(summary(&torrent.info), [hashes, &shape, "maple.bin 100000"]);
        assert_eq!(torrent.piece_layers.len(), usize::from(format.has_v2()));
    }
}

#[test]
fn v1_folder() {
    let torrent = read("v1-folder");
    assert_eq!(
        summary(&torrent.info),
        [
            "d78be7dfdb9c8eeff9c152c29a267a8593f9ff20 -",
            "maple v1 pieces=15x16384 size=237561",
            "b/.hidden 100",
            "b/run.sh 20000 x",
            "b/empty 0",
            "samara ä日本.dat 131072",
            "aa.txt 5",
            "link 0 lx -> a/deep/maple.txt",
            "a/deep/er/file.bin 70000",
            "a/deep/maple.txt 16384",
        ]
    );
    assert!(!torrent.info.is_single_file());
}

#[test]
fn v2_folder() {
    let torrent = read("v2-folder");
    assert_eq!(
        summary(&torrent.info),
        [
            "- 7b32cadd0b15d0dc021f1429a7733cc21863cf32b9ef05d566ebfedd8e8fd4dd",
            "maple v2 pieces=18x16384 size=237561",
            "a/deep/er/file.bin 70000",
            "a/deep/maple.txt 16384",
            "aa.txt 5",
            "b/.hidden 100",
            "b/empty 0",
            "b/run.sh 20000 x",
            "link 0 lx -> a/deep/maple.txt",
            "samara ä日本.dat 131072",
        ]
    );
    // Three files are larger than a piece.
    assert_eq!(torrent.piece_layers.len(), 3);
}

#[test]
fn hybrid_folder() {
    let torrent = read("hybrid-folder");
    assert_eq!(
        summary(&torrent.info),
        [
            "2b82adca84e31b1a9ac33412f379570efdf8e756 6bd5a616cddc29364453ec8976f53fe80804bb5544cb43a19744b759c9a6345d",
            "maple hybrid pieces=18x16384 size=237561",
            "a/deep/er/file.bin 70000",
            ".pad/11920 11920 p",
            "a/deep/maple.txt 16384",
            "aa.txt 5",
            ".pad/16379 16379 p",
            "b/.hidden 100",
            ".pad/16284 16284 p",
            "b/empty 0",
            "b/run.sh 20000 x",
            ".pad/12768 12768 p",
            "link 0 lx -> a/deep/maple.txt",
            "samara ä日本.dat 131072",
        ]
    );
    let roots = torrent.info.files().iter().filter(|f| f.pieces_root.is_some()).count();
    assert_eq!(roots, 6, "every file with content has one, pad files have none");
}

#[test]
fn what_stands_around_the_info() {
    let torrent = read("v1-folder");
    assert_eq!(torrent.trackers, [["http://one.example/announce"], ["udp://two.example:6969"]]);
    assert_eq!(torrent.web_seeds, ["http://seed.example/files/"]);
    assert_eq!(torrent.nodes, [("router.example".to_owned(), 6881)]);
    assert_eq!(torrent.comment.as_deref(), Some("a winged seed"));
    assert_eq!(torrent.created_by.as_deref(), Some("libtorrent"));
    assert_eq!(torrent.creation_date, Some(1_700_000_000));
}

#[test]
fn written_again_it_is_the_same_torrent() {
    for name in ["v1-single", "v1-folder", "v2-single", "v2-folder", "hybrid-single", "hybrid-folder"] {
        let torrent = read(name);
        let bytes = torrent.to_bytes();
        assert_eq!(Metainfo::parse(&bytes).as_ref(), Ok(&torrent), "{name}");
        assert_eq!(Info::parse(torrent.info.raw().clone()).as_ref(), Ok(&*torrent.info), "{name}");
    }
}
