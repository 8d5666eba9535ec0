//! What deployed software writes against the letter of the specs, and is read all the same.

use std::sync::Arc;

use crate::bencode::{DictWriter, write_dict};
use crate::metainfo::*;

fn torrent(around: impl FnOnce(&mut DictWriter<'_>)) -> Metainfo {
    let mut bytes = Vec::new();
    write_dict(&mut bytes, |d| {
        d.dict("info", |d| {
            d.bytes("name", "maple");
            d.int("length", 0);
            d.int("piece length", 16_384);
            d.bytes("pieces", "");
        });
        around(d);
    });
    Metainfo::parse(&bytes).unwrap()
}

fn info(fill: impl FnOnce(&mut DictWriter<'_>)) -> Info {
    let mut raw = Vec::new();
    write_dict(&mut raw, |d| {
        d.int("piece length", 16_384);
        d.bytes("pieces", "");
        fill(d);
    });
    Info::parse(Arc::from(raw)).unwrap()
}

#[test]
fn trackers_in_every_shape() {
    let one = [["http://a"]];
    assert_eq!(torrent(|d| d.bytes("announce", " http://a\n")).trackers, one);
    let empty_list = torrent(|d| {
        d.bytes("announce", "http://a");
        d.list("announce-list", |l| l.list(|l| l.bytes("")));
    });
    assert_eq!(empty_list.trackers, one);
    let list_counts = torrent(|d| {
        d.bytes("announce", "http://ignored");
        d.list("announce-list", |l| l.list(|l| l.bytes("http://a")));
    });
    assert_eq!(list_counts.trackers, one);
    let flat = torrent(|d| {
        d.list("announce-list", |l| ["http://a", "http://b"].iter().for_each(|url| l.bytes(url)))
    });
    assert_eq!(flat.trackers, [["http://a"], ["http://b"]]);
    assert!(torrent(|d| d.int("announce", 1)).trackers.is_empty());
}

#[test]
fn web_seeds_as_text_or_list() {
    assert_eq!(torrent(|d| d.bytes("url-list", "http://a/")).web_seeds, ["http://a/"]);
    assert_eq!(torrent(|d| d.list("url-list", |l| l.bytes("http://a/"))).web_seeds, ["http://a/"]);
    assert!(torrent(|d| d.bytes("url-list", "")).web_seeds.is_empty());
}

#[test]
fn nodes_that_are_none_are_left_out() {
    let nodes = torrent(|d| {
        d.list("nodes", |l| {
            l.bytes("a:1");
            for (host, port) in [("", 1), ("a", 0), ("a", 65_536), ("::1", 65_535)] {
                l.list(|l| {
                    l.bytes(host);
                    l.int(port);
                });
            }
        });
    });
    assert_eq!(nodes.nodes, [("::1".to_owned(), 65_535)]);
}

#[test]
fn text_fields_of_wrong_type_or_encoding() {
    let odd = torrent(|d| {
        d.bytes("comment", b"caf\xe9");
        d.int("created by", 1);
        d.bytes("creation date", "yesterday");
    });
    assert_eq!(odd.comment.as_deref(), Some("caf\u{fffd}"));
    assert_eq!((odd.created_by, odd.creation_date), (None, None));
    let utf8 = torrent(|d| {
        d.bytes("comment", b"caf\xe9");
        d.bytes("comment.utf-8", "café");
    });
    assert_eq!(utf8.comment.as_deref(), Some("café"));
}

#[test]
fn names_in_legacy_encodings() {
    let both = info(|d| {
        d.bytes("name", b"\x83\x81");
        d.bytes("name.utf-8", "メ");
        d.int("length", 0);
    });
    assert_eq!(both.name(), "メ");
    let broken = info(|d| {
        d.bytes("name", "plain");
        d.bytes("name.utf-8", b"\xff");
        d.int("length", 0);
    });
    assert_eq!(broken.name(), "plain");
    let nameless = info(|d| d.int("length", 0));
    assert_eq!(nameless.name(), nameless.hashes().v1().unwrap().to_string());
}

#[test]
fn paths_in_legacy_encodings_that_look_equal_once_decoded() {
    let info = info(|d| {
        d.list("files", |l| {
            for (name, utf8) in [(b"\xe4", None), (b"\xf6", None), (b"\xfc", Some("ü"))] {
                l.dict(|d| {
                    d.int("length", 0);
                    d.list("path", |l| l.bytes(name));
                    utf8.iter().for_each(|name| d.list("path.utf-8", |l| l.bytes(name)));
                });
            }
        });
    });
    let names: Vec<_> = info.files().iter().map(|f| f.path.name()).collect();
    assert_eq!(names, ["\u{fffd}", "\u{fffd}", "ü"]);
}

#[test]
fn a_pad_file_without_path() {
    let info = info(|d| {
        d.list("files", |l| {
            l.dict(|d| {
                d.int("length", 0);
                d.bytes("attr", "p?");
            });
        });
    });
    assert!(info.files()[0].attr.pad);
}

#[test]
fn an_unsorted_tree_keeps_its_order() {
    let raw =
        b"d9:file treed1:bd0:d6:lengthi0eee1:ad0:d6:lengthi0eeee12:meta versioni2e12:piece lengthi16384ee";
    let info = Info::parse(raw[..].into()).unwrap();
    let names: Vec<_> = info.files().iter().map(|f| f.path.name()).collect();
    assert_eq!(names, ["b", "a"]);
    assert_eq!(info.raw()[..], raw[..], "hashed as it stands");
}

#[test]
fn private_is_any_number_but_zero() {
    let private = |n| {
        info(|d| {
            d.int("private", n);
            d.int("length", 0);
        })
        .private()
    };
    assert_eq!([private(0), private(1), private(2)], [false, true, true]);
}

#[test]
fn a_path_holds_what_a_name_cannot() {
    let path = FilePath::new(["a\0b", "..", "c/d"]);
    assert_eq!(path.components().collect::<Vec<_>>(), ["a\u{fffd}b", "..", "c/d"]);
    assert_eq!((path.name(), path.to_string().as_str()), ("c/d", "a\u{fffd}b/../c/d"));
}

#[test]
fn a_pad_file_is_no_link_whatever_else_it_says() {
    let info = info(|d| {
        d.list("files", |l| {
            l.dict(|d| {
                d.int("length", 0);
                d.bytes("attr", "pl");
            });
        });
    });
    let file = &info.files()[0];
    assert!(file.attr.pad && !file.attr.symlink && file.symlink.is_none());
}
