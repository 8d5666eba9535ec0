use std::collections::HashSet;
use std::path::Component;

use proptest::prelude::*;

use super::*;
use crate::metainfo::{Attr, FilePath};

fn entry(path: FilePath, symlink: Option<FilePath>) -> FileEntry {
    let attr = Attr { symlink: symlink.is_some(), ..Attr::default() };
    FileEntry { path, length: 0, attr, symlink, pieces_root: None }
}

fn entries(files: &[Vec<String>]) -> Vec<FileEntry> {
    files.iter().map(|path| entry(FilePath::new(path), None)).collect()
}

/// A file written as `a/b/c`, or `a/b -> target` for a link.
fn parse(file: &str) -> FileEntry {
    let split = |path: &str| FilePath::new(path.split('/'));
    let (path, target) = file.split_once(" -> ").map_or((file, None), |(path, target)| (path, Some(target)));
    entry(split(path), target.map(split))
}

/// Sanitises files in a torrent called `t`.
fn sanitise(files: &[&str], rules: Rules) -> Vec<SafePath> {
    let files: Vec<_> = files.iter().map(|file| parse(file)).collect();
    sanitise_files(Some("t"), &files, rules).into_iter().map(Option::unwrap).collect()
}

fn paths(files: &[&str], rules: Rules) -> Vec<String> {
    sanitise(files, rules).iter().map(|safe| safe.path.strip_prefix("t/").unwrap().to_owned()).collect()
}

fn parts(files: &[&str]) -> Vec<String> {
    sanitise(files, Rules::UNIX)
        .iter()
        .map(|safe| safe.part_path().to_str().unwrap()[2..].to_owned())
        .collect()
}

fn single(name: &str, rules: Rules) -> String {
    let file = entry(FilePath::new([name]), None);
    sanitise_files(None, &[file], rules)[0].as_ref().unwrap().path.to_string()
}

#[test]
fn what_the_platform_can_hold_is_kept() {
    let kept = [
        "a:b.txt",
        "c\\d?",
        "-rf",
        "~",
        "...",
        "con",
        "trailing. ",
        "ünïcödé 日本.txt",
        "\u{200f}שלום",
        "a b",
    ];
    for name in kept {
        assert_eq!(single(name, Rules::UNIX), name);
    }
    assert_eq!(single("Screenshot 10.00\u{202f}AM.png", Rules::MACOS), "Screenshot 10.00\u{202f}AM.png");
    assert_eq!(single("con man.txt", Rules::WINDOWS), "con man.txt");
}

#[test]
fn hostile_components_are_replaced() {
    let cases = [
        ("", "_"),
        (".", "_"),
        ("..", "__"),
        ("/etc/passwd", "_etc_passwd"),
        ("../../x", ".._.._x"),
        ("a\0b", "a\u{fffd}b"),
        ("\x1b[31mred\x07\n", "_[31mred__"),
        ("\u{9b}31m\u{7f}", "_31m_"),
        ("photo\u{202e}gpj.exe", "photo_gpj.exe"),
        ("line\u{2028}break", "line_break"),
    ];
    for (raw, safe) in cases {
        assert_eq!(single(raw, Rules::UNIX), safe, "{raw:?}");
    }
}

#[test]
fn windows_has_rules_of_its_own() {
    let cases = [
        ("a:b", "a_b"),
        ("C:\\x", "C__x"),
        ("<>\"|?*", "______"),
        ("end. .", "end___"),
        ("CON", "_CON"),
        ("nul.tar.gz", "_nul.tar.gz"),
        ("Com7 .txt", "_Com7 .txt"),
        ("lpt²", "_lpt²"),
        ("com10", "com10"),
        ("console", "console"),
    ];
    for (raw, safe) in cases {
        assert_eq!(single(raw, Rules::WINDOWS), safe, "{raw:?}");
    }
}

#[test]
fn long_components_keep_their_extension() {
    let long = format!("{}.tar.gz", "é".repeat(200));
    let safe = single(&long, Rules::UNIX);
    assert!(
        safe.len() <= 255 && safe.len() > 250 && safe.ends_with(".gz") && safe.starts_with("éé"),
        "{safe}"
    );
    let other = format!("{}.tar.gz", "é".repeat(201));
    assert_ne!(single(&other, Rules::UNIX), safe, "told apart by the hash");
    let exact = "x".repeat(255);
    assert_eq!(single(&exact, Rules::UNIX), exact);
    assert!(component::part_name(&exact).len() <= 255);
}

#[test]
fn long_paths_are_folded_together() {
    let deep = vec!["d".repeat(200); 30].join("/");
    let (a, b, other) = (format!("{deep}/a"), format!("{deep}/b"), format!("{deep}/x/a"));
    let safe = paths(&[&a, &b, &other], Rules::UNIX);
    let (folder, name) = safe[0].split_once('/').unwrap();
    assert!(folder.len() == 17 && name == "a", "{safe:?}");
    assert_eq!(safe[1], format!("{folder}/b"));
    assert!(safe[2] != safe[0] && safe[2].ends_with("/a"));
}

#[test]
fn taken_names_get_numbers_in_torrent_order() {
    let files = ["a.txt", "a.txt", "a (1).txt", "a.txt", "d/x", "d/x", ".hidden", ".hidden"];
    let safe =
        ["a.txt", "a (1).txt", "a (1) (1).txt", "a (2).txt", "d/x", "d/x (1)", ".hidden", ".hidden (1)"];
    assert_eq!(paths(&files, Rules::UNIX), safe);
    assert_eq!(paths(&files, Rules::UNIX), safe, "and always the same");
}

#[test]
fn case_and_normal_form_matter_where_the_platform_folds_them() {
    let files = ["A/x", "a/X", "é", "e\u{301}", "straſe", "STRASE"];
    assert_eq!(paths(&files, Rules::UNIX), files);
    let folded = ["A/x", "A/X (1)", "é", "e\u{301} (1)", "straſe", "STRASE (1)"];
    assert_eq!(paths(&files, Rules::MACOS), folded);
    assert_eq!(paths(&files, Rules::WINDOWS), folded);
}

#[test]
fn a_file_is_not_a_folder() {
    assert_eq!(
        paths(&["a", "a/b", "a/c", "a/b/d"], Rules::UNIX),
        ["a", "a (1)/b", "a (1)/c", "a (1)/b (1)/d"]
    );
    assert_eq!(paths(&["a/b", "a"], Rules::UNIX), ["a/b", "a (1)"]);
}

#[test]
fn part_names_give_way_to_final_names() {
    assert_eq!(parts(&["a", "b"]), ["a.part", "b.part"]);
    assert_eq!(parts(&["a", "a.part"]), ["a (1).part", "a.part.part"]);
    assert_eq!(parts(&["a.part/x", "a"]), ["a.part/x.part", "a (1).part"]);
    assert_eq!(paths(&["a", "a.part"], Rules::UNIX), ["a", "a.part"]);
}

#[test]
fn pad_files_have_no_path() {
    let mut file = parse(".pad/5");
    file.attr.pad = true;
    assert_eq!(sanitise_files(Some("t"), &[file], Rules::UNIX), [None]);
}

#[test]
fn links_stay_inside() {
    let link = |files: &[&str]| {
        let safe = sanitise(files, Rules::UNIX);
        safe.last().unwrap().link_target().map(|p| p.to_str().unwrap().to_owned())
    };
    assert_eq!(link(&["f", "l -> f"]).as_deref(), Some("f"));
    assert_eq!(link(&["f", "d/e/l -> f"]).as_deref(), Some("../../f"));
    assert_eq!(link(&["d/f", "d/e/l -> d/f"]).as_deref(), Some("../f"));
    assert_eq!(link(&["d/f", "l -> d"]).as_deref(), Some("d"));
    assert_eq!(link(&["d/f", "d/l -> d"]).as_deref(), Some("."), "a folder may hold a link to itself");
    // Renamed on the way.
    assert_eq!(link(&["a", "a/b", "l -> a/b"]).as_deref(), Some("a (1)/b"));
    assert_eq!(link(&["a\u{1}", "l -> a\u{1}"]).as_deref(), Some("a_"));
    for out in ["l -> ..", "l -> ../x", "l -> /etc/passwd", "l -> ", "l -> nowhere", "d/l -> d/../../x"] {
        assert_eq!(link(&["f", out]), None, "{out}");
    }
    assert_eq!(link(&["f"]), None);
}

#[test]
fn equal_names_take_no_quadratic_time() {
    let files = vec![parse("a/b.txt"); 100_000];
    let safe = sanitise_files(Some("t"), &files, Rules::WINDOWS);
    assert_eq!(&*safe[99_999].as_ref().unwrap().path, "t/a/b (99999).txt");
}

fn hostile_names() -> impl Strategy<Value = String> {
    let odd = prop::sample::select(vec![
        "",
        ".",
        "..",
        "a",
        "A",
        "a.part",
        "a (1)",
        "a (1).part",
        "é",
        "e\u{301}",
        "CON",
        "con.txt",
        "a ",
        "a.",
        "\0",
        "/",
        "\\",
        "a/b",
        "\u{202e}x",
        "_",
        "__",
    ]);
    prop_oneof![3 => odd.prop_map(str::to_owned), 1 => ".{0,300}", 1 => "[a-c]{1,2}"]
}

fn hostile_paths() -> impl Strategy<Value = Vec<Vec<String>>> {
    prop::collection::vec(prop::collection::vec(hostile_names(), 0..5), 0..30)
}

fn any_rules() -> impl Strategy<Value = Rules> {
    prop::sample::select(vec![Rules::UNIX, Rules::MACOS, Rules::WINDOWS])
}

/// The same file, as far as a file system under `rules` can tell.
fn folded(path: &Path, rules: Rules) -> String {
    component::key(path.to_str().unwrap(), rules).into()
}

proptest! {
    #[test]
    fn safe_and_unique(name in prop::option::of(hostile_names()), files in hostile_paths(), rules in any_rules()) {
        let safe = sanitise_files(name.as_deref(), &entries(&files), rules);
        prop_assert_eq!(&safe, &sanitise_files(name.as_deref(), &entries(&files), rules));
        let (mut names, mut folders) = (HashSet::new(), HashSet::new());
        for safe in safe.iter().flatten() {
            for path in [safe.as_path(), &safe.part_path()] {
                prop_assert!(path.components().all(|c| matches!(c, Component::Normal(_))), "{path:?}");
                prop_assert!(path.to_str().unwrap().split('/').all(|c| (1..=255).contains(&c.len())), "{path:?}");
                prop_assert!(!path.to_str().unwrap().contains(char::is_control), "{path:?}");
                prop_assert!(names.insert(folded(path, rules)), "{path:?} twice");
            }
            let above = safe.as_path().ancestors().skip(1);
            folders.extend(above.filter(|p| *p != Path::new("")).map(|p| folded(p, rules)));
            prop_assert_eq!(safe.components().collect::<Vec<_>>().join("/"), &*safe.path);
        }
        prop_assert!(names.is_disjoint(&folders), "a file where a folder is");
    }

    #[test]
    fn cleaning_is_done_in_one_go(raw in hostile_names(), rules in any_rules()) {
        let clean = component::clean(&raw, rules);
        prop_assert_eq!(component::clean(&clean, rules), clean);
    }

    #[test]
    fn links_never_leave_the_root(files in hostile_paths(), targets in hostile_paths(), rules in any_rules()) {
        let mut entries = entries(&files);
        for (entry, target) in entries.iter_mut().zip(&targets) {
            entry.symlink = Some(FilePath::new(target));
        }
        for safe in sanitise_files(Some("t"), &entries, rules).iter().flatten() {
            let Some(target) = safe.link_target() else { continue };
            let mut depth = safe.components().count() as i32 - 1;
            for component in target.components() {
                depth += if component == Component::ParentDir { -1 } else { 1 };
                prop_assert!(depth >= 1 || (depth == 0 && target == Path::new("..")), "{target:?}");
            }
        }
    }
}
