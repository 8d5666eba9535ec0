//! Each rule that a torrent can break, broken.

use std::sync::Arc;

use crate::bencode::{DictWriter, ErrorKind, ListWriter, write_dict};
use crate::ids::Sha256Hash;
use crate::merkle;
use crate::metainfo::*;

fn dict(fill: impl FnOnce(&mut DictWriter<'_>)) -> Vec<u8> {
    let mut out = Vec::new();
    write_dict(&mut out, fill);
    out
}

fn parse(fill: impl FnOnce(&mut DictWriter<'_>)) -> Result<Info, MetainfoError> {
    Info::parse(Arc::from(dict(fill)))
}

/// A v1 info dictionary with 16 KiB pieces, and hashes for `pieces` of them.
fn v1(pieces: usize, fill: impl FnOnce(&mut DictWriter<'_>)) -> Result<Info, MetainfoError> {
    parse(|d| {
        d.bytes("name", "maple");
        d.int("piece length", 16_384);
        d.bytes("pieces", vec![0; 20 * pieces]);
        fill(d);
    })
}

/// A v2 info dictionary with 16 KiB pieces.
fn v2(tree: impl FnOnce(&mut DictWriter<'_>)) -> Result<Info, MetainfoError> {
    parse(|d| {
        d.bytes("name", "maple");
        d.int("piece length", 16_384);
        d.int("meta version", 2);
        d.dict("file tree", tree);
    })
}

fn listed(l: &mut ListWriter<'_>, path: &[&str], length: i64, attr: &str) {
    l.dict(|d| {
        d.int("length", length);
        d.list("path", |l| path.iter().for_each(|c| l.bytes(c)));
        if !attr.is_empty() {
            d.bytes("attr", attr);
        }
    });
}

fn v1_files(pieces: usize, files: &[(&[&str], i64)]) -> Result<Info, MetainfoError> {
    v1(pieces, |d| d.list("files", |l| files.iter().for_each(|(path, length)| listed(l, path, *length, ""))))
}

fn leaf(d: &mut DictWriter<'_>, name: &str, length: i64) {
    d.dict(name, |d| {
        d.dict("", |d| {
            d.int("length", length);
            if length > 0 {
                d.bytes("pieces root", [length as u8; 32]);
            }
        });
    });
}

fn problem(result: Result<Info, MetainfoError>) -> FileProblem {
    match result.expect_err("should be refused") {
        MetainfoError::File { problem, .. } => problem,
        other => panic!("{other}"),
    }
}

#[test]
fn sound_ones_are_read() {
    assert_eq!(v1(1, |d| d.int("length", 1)).unwrap().num_pieces(), 1);
    assert_eq!(v1_files(1, &[(&["a"], 1), (&["b", "c"], 16_383)]).unwrap().total_size(), 16_384);
    let info = v2(|d| {
        leaf(d, "a", 0);
        leaf(d, "b", 1);
    });
    assert_eq!(info.unwrap().num_pieces(), 1);
    assert_eq!(v1_files(0, &[(&["a"], 0)]).unwrap().num_pieces(), 0);
}

#[test]
fn bytes_that_are_no_dictionary() {
    let refusal = |bytes: &[u8]| Info::parse(bytes.into()).expect_err("refused");
    assert_eq!(refusal(b"le"), MetainfoError::WrongType { key: "info", expected: "a dictionary" });
    assert!(matches!(refusal(b"de!"), MetainfoError::Bencode(e) if e.kind == ErrorKind::TrailingData));
    assert_eq!(Metainfo::parse(b"de"), Err(MetainfoError::Missing("info")));
    assert!(Metainfo::parse(b"i1e").is_err() && Metainfo::parse(b"d4:infoi1ee").is_err());
}

#[test]
fn missing_and_mistyped_fields() {
    let without = |key: &str| {
        parse(|d| {
            let fields = [("length", 1), ("piece length", 16_384)];
            fields.iter().filter(|(k, _)| *k != key).for_each(|(k, n)| d.int(k, *n));
            if key != "pieces" {
                d.bytes("pieces", [0; 20]);
            }
        })
    };
    assert!(without("nothing").is_ok());
    for key in ["length", "piece length", "pieces"] {
        assert_eq!(without(key), Err(MetainfoError::Missing(key)));
    }
    let wrong = |result: Result<Info, MetainfoError>, name| {
        assert!(
            matches!(result, Err(MetainfoError::WrongType { key, .. }) if key == name),
            "{name}: {result:?}"
        );
    };
    wrong(v1(1, |d| d.int("files", 1)), "files");
    wrong(v1(1, |d| d.bytes("meta version", "2")), "meta version");
    wrong(parse(|d| d.bytes("piece length", "1")), "piece length");
    let tree = parse(|d| {
        d.int("piece length", 16_384);
        d.int("meta version", 2);
        d.int("file tree", 1);
    });
    wrong(tree, "file tree");
}

#[test]
fn paths_that_take_too_much_together() {
    let mut budget = file::PathBudget(5);
    let path = FilePath::new(["a", "b"]);
    assert_eq!(budget.take(&path), Ok(()));
    assert_eq!(budget.take(&path), Err(MetainfoError::PathBytes));
}

#[test]
fn a_newer_version_is_told_before_anything_else() {
    assert_eq!(parse(|d| d.int("meta version", 3)), Err(MetainfoError::UnsupportedVersion(3)));
    assert_eq!(parse(|d| d.int("meta version", 1)), Err(MetainfoError::UnsupportedVersion(1)));
}

#[test]
fn piece_lengths() {
    let of = |length: i64, version: Option<i64>| {
        parse(|d| {
            d.int("piece length", length);
            version.iter().for_each(|v| d.int("meta version", *v));
            d.dict("file tree", |d| leaf(d, "a", 1));
            if version.is_none() {
                d.bytes("pieces", [0; 20]);
                d.int("length", 1);
            }
        })
    };
    for bad in [i64::MIN, -1, 0, (1 << 30) + 1, 1 << 32, i64::MAX] {
        assert_eq!(of(bad, None), Err(MetainfoError::PieceLength(bad)));
    }
    for bad in [-16_384, 0, 1, 8192, 16_385, 49_152, 1 << 31, i64::MAX] {
        assert_eq!(of(bad, Some(2)), Err(MetainfoError::PieceLengthV2(bad)));
    }
    for good in [16_384, 1 << 30] {
        assert!(of(good, Some(2)).is_ok() && of(good, None).is_ok() && of(good - 1, None).is_ok());
    }
}

#[test]
fn sizes_that_do_not_match_the_hashes() {
    let count = |hashes, size, pieces| Err(MetainfoError::PieceCount { hashes, size, pieces });
    assert_eq!(v1(2, |d| d.int("length", 16_384)), count(2, 16_384, 1));
    assert_eq!(v1(1, |d| d.int("length", 16_385)), count(1, 16_385, 2));
    assert_eq!(v1(1, |d| d.int("length", 0)), count(1, 0, 0));
    let max = i64::MAX;
    assert_eq!(v1(1, |d| d.int("length", max)), count(1, max as u64, max as u64 / 16_384 + 1));
    assert_eq!(v1_files(1, &[(&["a"], max), (&["b"], 1)]), Err(MetainfoError::TotalSize));
    let odd = parse(|d| {
        d.int("length", 1);
        d.int("piece length", 1);
        d.bytes("pieces", [0; 21]);
    });
    assert_eq!(odd, Err(MetainfoError::PiecesLength(21)));
}

#[test]
fn sizes_out_of_proportion() {
    let most = i64::from(MAX_PIECES) * 16_384;
    assert_eq!(v2(|d| leaf(d, "a", most)).unwrap().num_pieces(), MAX_PIECES);
    let pieces = MetainfoError::TooManyPieces(u64::from(MAX_PIECES) + 1);
    assert_eq!(v2(|d| leaf(d, "a", most + 1)), Err(pieces));
    let two = v2(|d| {
        leaf(d, "a", i64::MAX);
        leaf(d, "b", i64::MAX);
    });
    assert_eq!(two, Err(MetainfoError::TotalSize));
}

#[test]
fn both_ways_to_list_files() {
    let both = v1(1, |d| {
        d.int("length", 1);
        d.list("files", |l| listed(l, &["a"], 1, ""));
    });
    assert_eq!(both, Err(MetainfoError::LengthAndFiles));
}

#[test]
fn files_of_v1() {
    use FileProblem::*;
    assert_eq!(v1_files(0, &[]), Err(MetainfoError::NoFiles));
    assert_eq!(problem(v1(1, |d| d.int("length", -1))), NegativeLength(-1));
    assert_eq!(problem(v1_files(1, &[(&["a"], -5)])), NegativeLength(-5));
    assert_eq!(problem(v1_files(1, &[(&[], 1)])), NoPath);
    assert_eq!(problem(v1_files(1, &[(&["a", "", "b"], 1)])), EmptyComponent);
    assert_eq!(problem(v1_files(1, &[(&[&"x".repeat(4097)], 1)])), PathTooLong);
    assert!(v1_files(1, &[(&[&"x".repeat(4096)], 1)]).is_ok());
    assert_eq!(problem(v1_files(1, &[(&["x"; 101], 1)])), PathTooDeep);
    assert!(v1_files(1, &[(&["x"; 100], 1)]).is_ok());
    let of = |fill: fn(&mut DictWriter<'_>)| v1(1, |d| d.list("files", |l| l.dict(fill)));
    assert_eq!(problem(of(|d| d.int("length", 1))), NoPath);
    assert_eq!(problem(of(|d| d.list("path", |l| l.bytes("a")))), NoLength);
    assert_eq!(problem(of(|d| d.list("path", |l| l.int(1)))), NoPath);
    assert_eq!(problem(v1(1, |d| d.list("files", |l| l.int(1)))), NotADict);
}

#[test]
fn paths_that_collide() {
    use FileProblem::*;
    assert_eq!(problem(v1_files(1, &[(&["a", "b"], 1), (&["c"], 1), (&["a", "b"], 2)])), DuplicatePath);
    assert_eq!(problem(v1_files(1, &[(&["a", "b"], 1), (&["a"], 1)])), FileAndFolder);
    assert_eq!(
        problem(v1_files(1, &[(&["a"], 1), (&["a.b"], 1), (&["c"], 1), (&["a", "b", "c"], 1)])),
        FileAndFolder
    );
    // A prefix of the text is no folder.
    assert!(v1_files(1, &[(&["a"], 1), (&["ab"], 1), (&["a.", "b"], 1)]).is_ok());
    // Pad files share their paths.
    let pads = v1(1, |d| {
        d.list("files", |l| {
            listed(l, &[".pad", "5"], 5, "p");
            listed(l, &["a"], 5, "");
            listed(l, &[".pad", "5"], 5, "p");
        });
    });
    assert_eq!(pads.unwrap().total_size(), 5);
}

#[test]
fn symbolic_links() {
    use FileProblem::*;
    let link = |length: Option<i64>, target: Option<&[&str]>| {
        v1(0, |d| {
            d.list("files", |l| {
                l.dict(|d| {
                    d.bytes("attr", "l");
                    d.list("path", |l| l.bytes("link"));
                    length.iter().for_each(|n| d.int("length", *n));
                    target.iter().for_each(|t| d.list("symlink path", |l| t.iter().for_each(|c| l.bytes(c))));
                });
            });
        })
    };
    let raw = link(None, Some(&["..", "etc"])).unwrap();
    assert_eq!(
        raw.files()[0].symlink,
        Some(FilePath::new(["..", "etc"])),
        "kept as it is: the sanitiser decides"
    );
    assert_eq!(problem(link(Some(1), Some(&["a"]))), LinkWithLength);
    assert_eq!(problem(link(Some(0), None)), NoTarget);
    assert_eq!(problem(link(Some(0), Some(&[]))), NoTarget);
    assert_eq!(problem(link(Some(0), Some(&[""]))), NoTarget);
}

#[test]
fn trees_of_v2() {
    use FileProblem::*;
    assert_eq!(v2(|_| {}), Err(MetainfoError::NoFiles));
    assert_eq!(v2(|d| d.dict("a", |_| {})), Err(MetainfoError::NoFiles));
    assert_eq!(problem(v2(|d| d.int("a", 1))), NotADict);
    assert_eq!(problem(v2(|d| d.dict("a", |d| d.int("", 1)))), NotADict);
    assert_eq!(problem(v2(|d| leaf(d, "a", -1))), NegativeLength(-1));
    assert_eq!(problem(v2(|d| d.dict("a", |d| d.dict("", |_| {})))), NoLength);
    assert_eq!(problem(v2(|d| d.dict("a", |d| d.dict("", |d| d.int("length", 1))))), NoPiecesRoot);
    let short = |d: &mut DictWriter<'_>| {
        d.int("length", 1);
        d.bytes("pieces root", [0; 31]);
    };
    assert_eq!(problem(v2(|d| d.dict("a", |d| d.dict("", short)))), NoPiecesRoot);
    let root_is_file = v2(|d| d.dict("", |d| d.int("length", 0)));
    assert_eq!(problem(root_is_file), NoPath);
    let pad = |d: &mut DictWriter<'_>| {
        d.int("length", 0);
        d.bytes("attr", "p");
    };
    assert_eq!(problem(v2(|d| d.dict("a", |d| d.dict("", pad)))), PadInTree);
    let file_and_folder = |d: &mut DictWriter<'_>| {
        d.dict("", |d| d.int("length", 0));
        leaf(d, "b", 1);
    };
    assert_eq!(problem(v2(|d| d.dict("a", file_and_folder))), FileAndFolder);
}

#[test]
fn a_file_that_follows_its_siblings_in_an_unsorted_tree() {
    let raw =
        b"d9:file treed1:ad1:bd0:d6:lengthi0eee0:d6:lengthi0eeee12:meta versioni2e12:piece lengthi16384ee";
    assert_eq!(problem(Info::parse(raw[..].into())), FileProblem::FileAndFolder);
}

#[test]
fn trees_too_deep() {
    fn nest(d: &mut DictWriter<'_>, depth: usize) {
        if depth == 1 { leaf(d, "a", 1) } else { d.dict("a", |d| nest(d, depth - 1)) }
    }
    assert!(v2(|d| nest(d, MAX_PATH_DEPTH)).is_ok());
    assert_eq!(problem(v2(|d| nest(d, MAX_PATH_DEPTH + 1))), FileProblem::PathTooDeep);
    assert!(
        matches!(v2(|d| nest(d, 1000)), Err(MetainfoError::Bencode(e)) if e.kind == ErrorKind::TooDeep(128))
    );
}

/// A hybrid of `a` (5 bytes) and `b/c` (20,000 bytes), whose v1 half lists other files.
fn hybrid(pieces: usize, files: &[(&[&str], i64, &str)]) -> Result<Info, MetainfoError> {
    v1(pieces, |d| {
        d.int("meta version", 2);
        d.dict("file tree", |d| {
            leaf(d, "a", 5);
            d.dict("b", |d| leaf(d, "c", 20_000));
        });
        d.list("files", |l| files.iter().for_each(|(path, length, attr)| listed(l, path, *length, attr)));
    })
}

fn mismatch(result: Result<Info, MetainfoError>) -> HybridMismatch {
    match result.expect_err("should be refused") {
        MetainfoError::Hybrid(mismatch) => mismatch,
        other => panic!("{other}"),
    }
}

#[test]
fn hybrids_whose_halves_differ() {
    use HybridMismatch::*;
    const A: (&[&str], i64, &str) = (&["a"], 5, "");
    const PAD: (&[&str], i64, &str) = (&[".pad", "16379"], 16_379, "p");
    const C: (&[&str], i64, &str) = (&["b", "c"], 20_000, "");
    let info = hybrid(3, &[A, PAD, C]).unwrap();
    assert_eq!(info.format(), Format::Hybrid);
    assert_eq!(info.files()[2].pieces_root, Some(Sha256Hash([20_000u32 as u8; 32])));
    let tail: (&[&str], i64, &str) = (&[".pad", "12768"], 12_768, "p");
    assert!(hybrid(3, &[A, PAD, C, tail]).is_ok(), "padding after the end, as some libtorrents write it");

    assert_eq!(mismatch(hybrid(2, &[A, C])), Alignment("b/c".into()));
    let short: (&[&str], i64, &str) = (&["x"], 16_378, "p");
    assert_eq!(mismatch(hybrid(3, &[A, short, C])), Alignment("b/c".into()));
    let a_piece_more: (&[&str], i64, &str) = (&["x"], 16_379 + 16_384, "p");
    assert_eq!(mismatch(hybrid(4, &[A, a_piece_more, C])), Alignment("b/c".into()));
    let a_piece_after: (&[&str], i64, &str) = (&["x"], 12_769, "p");
    assert_eq!(mismatch(hybrid(4, &[A, PAD, C, a_piece_after])), PieceCount { v1: 4, v2: 3 });
    assert_eq!(mismatch(hybrid(1, &[A])), FileCount { v1: 1, v2: 2 });
    assert_eq!(mismatch(hybrid(1, &[A, PAD, C, (&["d"], 0, "")])), FileCount { v1: 3, v2: 2 });
    let path = |v1: &str, v2: &str| Path { v1: v1.into(), v2: v2.into() };
    assert_eq!(mismatch(hybrid(3, &[C, PAD, A])), path("b/c", "a"));
    assert_eq!(mismatch(hybrid(3, &[A, PAD, (&["b", "d"], 20_000, "")])), path("b/d", "b/c"));
    assert_eq!(
        mismatch(hybrid(3, &[A, PAD, (&["b", "c"], 20_001, "")])),
        Length { path: "b/c".into(), v1: 20_001, v2: 20_000 }
    );
    assert_eq!(mismatch(hybrid(3, &[A, PAD, (&["b", "c"], 20_000, "x")])), Attributes("b/c".into()));
    let both = hybrid(2, &[A, PAD, C]);
    assert_eq!(both, Err(MetainfoError::PieceCount { hashes: 2, size: 36_384, pieces: 3 }));
}

#[test]
fn hybrids_of_one_file() {
    let single = |name: &str, tree: fn(&mut DictWriter<'_>)| {
        parse(|d| {
            d.bytes("name", name);
            d.int("piece length", 16_384);
            d.int("length", 5);
            d.bytes("pieces", [0; 20]);
            d.int("meta version", 2);
            d.dict("file tree", tree);
        })
    };
    assert!(single("a", |d| leaf(d, "a", 5)).unwrap().is_single_file());
    let other_name = HybridMismatch::Path { v1: "b".into(), v2: "a".into() };
    assert_eq!(mismatch(single("b", |d| leaf(d, "a", 5))), other_name);
    assert_eq!(mismatch(single("a", |d| d.dict("a", |d| leaf(d, "a", 5)))), HybridMismatch::Shape);
    let halves = parse(|d| {
        d.int("piece length", 16_384);
        d.int("length", 5);
        d.int("meta version", 2);
        d.dict("file tree", |d| leaf(d, "a", 5));
    });
    assert_eq!(halves, Err(MetainfoError::Missing("pieces")));
}

/// A v2 torrent of two files that share `root` and have 40,000 bytes, and what stands in `piece layers`.
fn with_layers(
    root: Sha256Hash,
    layers: Option<&[(Sha256Hash, Vec<u8>)]>,
) -> Result<Metainfo, MetainfoError> {
    let twin = |d: &mut DictWriter<'_>| {
        d.int("length", 40_000);
        d.bytes("pieces root", root.0);
    };
    let bytes = dict(|d| {
        d.dict("info", |d| {
            d.int("meta version", 2);
            d.int("piece length", 16_384);
            d.dict("file tree", |d| ["a", "b"].iter().for_each(|name| d.dict(name, |d| d.dict("", twin))));
        });
        layers.iter().for_each(|layers| {
            d.dict("piece layers", |d| layers.iter().for_each(|(root, layer)| d.bytes(root.0, layer)));
        });
    });
    Metainfo::parse(&bytes)
}

#[test]
fn piece_layers() {
    let layer = [[1; 32], [2; 32], [3; 32]].concat();
    let root = merkle::layer_root(&layer, 16_384).unwrap();
    let stray = Sha256Hash([9; 32]);
    let good = with_layers(root, Some(&[(root, layer.clone()), (stray, vec![1])])).unwrap();
    assert_eq!(good.piece_layers.into_iter().collect::<Vec<_>>(), [(root, Arc::from(&layer[..]))]);

    let problem = |result: Result<Metainfo, MetainfoError>| match result.expect_err("refused") {
        MetainfoError::Layer { problem, .. } => problem,
        other => panic!("{other}"),
    };
    assert_eq!(problem(with_layers(root, None)), LayerProblem::Missing);
    assert_eq!(problem(with_layers(root, Some(&[]))), LayerProblem::Missing);
    let cut = with_layers(root, Some(&[(root, layer[..64].to_vec())]));
    assert_eq!(problem(cut), LayerProblem::Length { expected: 96, got: 64 });
    assert_eq!(problem(with_layers(stray, Some(&[(stray, layer)]))), LayerProblem::Root);
}
