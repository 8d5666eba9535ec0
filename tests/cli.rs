//! The binary as a user sees it: arguments, output, exit codes. Nothing here talks to a network.

#![allow(clippy::unwrap_used, reason = "helpers of tests are not marked as tests")]

mod common;

use std::fs;
use std::io::Read;
use std::process::Stdio;

use common::{Scratch, noise};
use serde_json::{Value, json};

/// A folder with a bit of everything.
fn album(scratch: &Scratch) {
    scratch.write("album/b/two.bin", noise(2, 70_000));
    scratch.write("album/a ünï 日本.txt", "hello");
    scratch.write("album/empty", "");
    scratch.write("album/run.sh", "#!/bin/sh\n");
    #[cfg(unix)]
    {
        use std::os::unix::fs::{PermissionsExt, symlink};
        fs::set_permissions(scratch.join("album/run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
        symlink("../run.sh", scratch.join("album/b/link")).unwrap();
    }
}

fn keys(object: &Value) -> Vec<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn create_then_show_then_check() {
    let s = Scratch::new();
    album(&s);
    for format in ["v1", "v2", "hybrid"] {
        let made = s
            .run(&["create", "album", "--format", format, "--piece-length", "16KiB", "-o", format, "--json"])
            .expect(0)
            .json();
        assert_eq!(made["event"], "metadata");
        let shown = s.run(&["show", format, "--json"]).expect(0).json();
        for key in ["name", "size", "piece_length", "pieces", "magnet", "info_hash_v1", "info_hash_v2"] {
            assert_eq!(made.get(key), shown.get(key), "{key} of {format}");
        }
        assert_eq!(shown["format"], *format);
        assert_eq!(shown.get("info_hash_v1").is_some(), format != "v2");
        assert_eq!(shown.get("info_hash_v2").is_some(), format != "v1");
        assert_eq!(shown["size"], 70_000 + 5 + 10);
        let checked = s.run(&["check", format, ".", "--json"]).expect(0).json();
        assert_eq!(checked["complete"], true);
        assert_eq!(checked["pieces_ok"], shown["pieces"]);
        assert!(checked["files"].as_array().unwrap().iter().all(|f| f["ok"] == true));
    }
}

#[test]
fn show_tells_everything_under_the_promised_names() {
    let s = Scratch::new();
    s.write("one.bin", noise(1, 40_000));
    let tiers = ["--tracker", "http://a/announce,udp://b:1", "--tracker", "http://c/announce"];
    let more = [
        "--web-seed",
        "http://w/",
        "--comment",
        "hi",
        "--source",
        "S",
        "--private",
        "--piece-length",
        "32768",
    ];
    s.run(&[&["create", "one.bin"], &tiers[..], &more[..]].concat()).expect(0);
    let shown = s.run(&["show", "one.bin.torrent", "--json"]).expect(0).json();
    assert_eq!(
        keys(&shown),
        [
            "comment",
            "created_by",
            "creation_date",
            "files",
            "format",
            "info_hash_v1",
            "info_hash_v2",
            "magnet",
            "name",
            "nodes",
            "piece_length",
            "pieces",
            "private",
            "size",
            "source",
            "trackers",
            "web_seeds"
        ]
    );
    assert_eq!(shown["trackers"], json!([["http://a/announce", "udp://b:1"], ["http://c/announce"]]));
    assert_eq!(shown["web_seeds"], json!(["http://w/"]));
    assert_eq!((&shown["private"], &shown["pieces"]), (&json!(true), &json!(2)));
    assert_eq!(shown["files"][0]["path"], "one.bin");
    assert_eq!(shown["files"][0]["size"], 40_000);
    let magnet = shown["magnet"].as_str().unwrap();
    assert!(magnet.starts_with("magnet:?"));
    let from_magnet = s.run(&["show", magnet, "--json"]).expect(0).json();
    for key in ["name", "info_hash_v1", "info_hash_v2"] {
        assert_eq!(from_magnet[key], shown[key]);
    }
    assert!(from_magnet.get("files").is_none());
}

#[test]
fn show_of_a_link_tells_its_peers_and_files() {
    let s = Scratch::new();
    let hash = "00112233445566778899aabbccddeeff00112233";
    let link = format!("magnet:?xt=urn:btih:{hash}&dn=x&x.pe=192.0.2.7:6881&so=0,2-3&tr=http://t/a");
    let shown = s.run(&["--json", "show", &link]).expect(0).json();
    assert_eq!(shown["info_hash_v1"], hash);
    assert_eq!(shown["peers"], json!(["192.0.2.7:6881"]));
    assert_eq!(shown["selected"], json!([0, 2, 3]));
    assert_eq!(shown["trackers"], json!([["http://t/a"]]));
}

#[cfg(unix)]
#[test]
fn links_and_executable_bits_are_kept() {
    let s = Scratch::new();
    album(&s);
    s.run(&["create", "album", "--format", "v2"]).expect(0);
    let shown = s.run(&["show", "album.torrent", "--json"]).expect(0).json();
    let file = |path| shown["files"].as_array().unwrap().iter().find(|f| f["path"] == path).unwrap().clone();
    assert_eq!(file("run.sh")["attr"], "x");
    assert_eq!(file("b/link")["attr"], "l");
    assert_eq!(file("b/link")["symlink"], "run.sh");
}

#[cfg(unix)]
#[test]
fn what_a_torrent_cannot_hold_is_told_once() {
    let s = Scratch::new();
    s.write("x/file", "1");
    fs::create_dir_all(s.join("x/void/deep")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", s.join("x/out")).unwrap();
    let ran = s.run(&["create", "x"]).expect(0);
    assert_eq!(ran.stderr().matches("left out").count(), 1, "{}", ran.stderr());
    assert!(ran.stderr().contains("1 empty folder"), "{}", ran.stderr());
    fs::remove_file(s.join("x/file")).unwrap();
    assert!(s.run(&["create", "x"]).expect(1).stderr().contains("nothing to share"));
}

#[test]
fn the_same_input_makes_the_same_torrent() {
    let s = Scratch::new();
    album(&s);
    s.run(&["create", "album", "--no-date", "-o", "1.torrent"]).expect(0);
    s.run(&["create", "./album/", "--no-date", "-o", "2.torrent"]).expect(0);
    assert_eq!(fs::read(s.join("1.torrent")).unwrap(), fs::read(s.join("2.torrent")).unwrap());
}

#[test]
fn create_does_not_overwrite_unless_told() {
    let s = Scratch::new();
    s.write("x", "1");
    let precious = s.write("x.torrent", "precious");
    let refused = s.run(&["create", "x"]).expect(2);
    assert!(refused.stderr().contains("--force"), "{}", refused.stderr());
    assert_eq!(fs::read(&precious).unwrap(), b"precious");
    s.run(&["create", "x", "--force"]).expect(0);
    s.run(&["show", "x.torrent"]).expect(0);
    let leftovers = fs::read_dir(s.path())
        .unwrap()
        .filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().ends_with(".tmp"));
    assert_eq!(leftovers.count(), 0);
}

#[test]
fn check_tells_right_wrong_and_missing_apart() {
    let s = Scratch::new();
    s.write("d/a", noise(1, 64 << 10));
    s.write("d/b", noise(2, 48 << 10));
    s.write("d/c", noise(3, 32 << 10));
    for format in ["v1", "v2", "hybrid"] {
        s.run(&["create", "d", "-o", format, "--format", format, "--piece-length", "16KiB"]).expect(0);
    }
    let mut damaged = noise(2, 48 << 10);
    damaged[20_000] ^= 1;
    s.write("d/b", damaged);
    s.write("d/c", &noise(3, 32 << 10)[..16 << 10]);
    for format in ["v1", "v2", "hybrid"] {
        let checked = s.run(&["check", format, ".", "--json"]).expect(1).json();
        assert_eq!(keys(&checked), ["complete", "files", "pieces_bad", "pieces_missing", "pieces_ok"]);
        assert_eq!(checked["complete"], false);
        let counts = ["pieces_ok", "pieces_bad", "pieces_missing"].map(|k| checked[k].as_u64().unwrap());
        assert_eq!(counts, [7, 1, 1], "{format}");
        assert_eq!(
            checked["files"],
            json!([{"path": "a", "ok": true}, {"path": "b", "ok": false}, {"path": "c", "ok": false}])
        );
    }
    let human = s.run(&["check", "v1", "."]).expect(1).stdout();
    assert!(human.contains("damaged   b") && human.contains("too short c"), "{human}");
    // A download that is not finished lies under another name.
    s.write("d/b", noise(2, 48 << 10));
    s.write("d/c.part", noise(3, 32 << 10));
    fs::remove_file(s.join("d/c")).unwrap();
    s.run(&["check", "hybrid", "."]).expect(0);
    // Longer than it should be is not the file of the torrent.
    s.write("d/a", noise(1, (64 << 10) + 1));
    assert!(s.run(&["check", "hybrid", "."]).expect(1).stdout().contains("too long"));
}

#[test]
fn check_helps_who_names_the_folder_itself() {
    let s = Scratch::new();
    album(&s);
    s.run(&["create", "album"]).expect(0);
    assert!(s.run(&["check", "album.torrent", "album"]).expect(1).stderr().contains("did you mean"));
    assert!(s.run(&["check", "album.torrent", "nowhere"]).expect(1).stderr().contains("nowhere"));
}

#[test]
fn refused_input_is_an_error_event() {
    let s = Scratch::new();
    s.write("bad.torrent", "d4:infoi1ee");
    for args in
        [["--json", "show", "bad.torrent"], ["--json", "show", "magnet:?dn=x"], ["--json", "show", "nothing"]]
    {
        let refused = s.run(&args).expect(1);
        assert_eq!(keys(&refused.json()), ["event", "message"]);
        assert_eq!(refused.json()["event"], "error");
        assert_eq!(refused.stderr(), "");
    }
    let human = s.run(&["show", "bad.torrent"]).expect(1);
    assert!(human.stderr().starts_with("samara: bad.torrent"), "{}", human.stderr());
    assert_eq!(human.stdout(), "");
}

#[test]
fn usage_errors_end_with_2() {
    let s = Scratch::new();
    s.write("x", "1");
    let bare = "00112233445566778899aabbccddeeff00112233";
    for args in [
        &[][..],
        &["nonsense"],
        &["show"],
        &["create", "x", "--piece-length", "17KiB"],
        &["get", bare],
        &["get", bare, "--select", "3-1", "--peer", "127.0.0.1:1"],
        &["get", bare, "--stdout", "--json", "--peer", "127.0.0.1:1"],
        &["man", "nonsense"],
    ] {
        s.run(args).expect(2);
    }
    s.run(&["--help"]).expect(0);
    s.run(&["--version"]).expect(0);
}

#[test]
fn a_limit_that_is_none_is_refused_with_a_reason() {
    let s = Scratch::new();
    for (limit, reason) in
        [("0", "no limit"), ("2MB/s", "KiB"), ("fast", "whole number"), ("1MiB/h", "KiB/s")]
    {
        for option in ["--limit-down", "--limit-up"] {
            let refused = s.run(&["get", "x.torrent", option, limit]).expect(2);
            assert!(refused.stderr().contains(reason), "{limit}: {}", refused.stderr());
        }
    }
}

#[test]
fn names_cannot_drive_the_terminal() {
    let s = Scratch::new();
    s.write("x", "1");
    s.run(&["create", "x", "--name", "a\u{1b}[2Jb", "-o", "t"]).expect(0);
    let shown = s.run(&["show", "t", "--color", "never"]).expect(0).stdout();
    assert!(!shown.contains('\u{1b}') && shown.contains("\\u{1b}"), "{shown}");
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let s = Scratch::new();
    let mut child =
        s.samara(["completions", "bash"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(said, "");
}

#[test]
fn packagers_get_completions_and_pages() {
    let s = Scratch::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(s.run(&["completions", shell]).expect(0).stdout().contains("piece-length"), "{shell}");
    }
    assert!(s.run(&["man", "get"]).expect(0).stdout().contains(".TH samara-get 1"));
    s.run(&["man", "--dir", "pages"]).expect(0);
    for page in ["samara", "samara-get", "samara-create", "samara-send"] {
        assert!(s.join(&format!("pages/{page}.1")).exists(), "{page}");
    }
}

#[test]
fn remarks_go_to_stderr_and_results_to_stdout() {
    let s = Scratch::new();
    s.write("x", noise(1, 100_000));
    let ran = s.run(&["create", "x"]).expect(0);
    assert!(ran.stderr().contains("x.torrent: 97.7 KiB"), "{}", ran.stderr());
    assert!(ran.stdout().lines().last().unwrap().starts_with("magnet:?"), "{}", ran.stdout());
    assert!(!ran.stdout().contains("97.7"), "{}", ran.stdout());
    assert_eq!(s.run(&["-q", "create", "x", "--force"]).expect(0).stderr(), "");
}

#[cfg(unix)]
#[test]
fn a_device_is_written_to_and_not_replaced() {
    let s = Scratch::new();
    s.write("x", "1");
    std::os::unix::fs::symlink("/dev/null", s.join("void")).unwrap();
    s.run(&["create", "x", "-o", "void", "--force"]).expect(0);
    assert!(s.join("void").is_symlink());
}
