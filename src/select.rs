//! `--select` and `--exclude`: which files of a torrent are wanted.
//!
//! A pattern is a 0-based file number or a range of them, in the torrent's order with pad files counted (as BEP 53
//! does), or a glob over the path below the torrent's name. `*` crosses folders, so `*.iso` finds an image wherever
//! it lies, and a pattern that matches a folder stands for everything below it.

use std::ops::RangeInclusive;
use std::str::FromStr;

use globset::{Glob, GlobMatcher};
use samara_proto::ids::FileIndex;
use samara_proto::magnet::Selection as Linked;
use samara_proto::metainfo::{FileEntry, Info};

/// One value of `--select` or `--exclude`.
#[derive(Clone, Debug)]
pub(crate) enum Pattern {
    /// `N` or `N-M`, both ends included.
    Range(RangeInclusive<usize>),
    /// Anything else.
    Glob(GlobMatcher),
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(range) = range(text) {
            return match range {
                Some(range) if !range.is_empty() => Ok(Self::Range(range)),
                _ => Err(format!("{text} is no range of file numbers: write N or N-M, N not above M")),
            };
        }
        let glob = Glob::new(text.trim_end_matches('/')).map_err(|e| e.kind().to_string())?;
        Ok(Self::Glob(glob.compile_matcher()))
    }
}

/// Reads `N` or `N-M`; `None` if it is not of that shape, `Some(None)` if the numbers are too large.
fn range(text: &str) -> Option<Option<RangeInclusive<usize>>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let numeric = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    (numeric(first) && numeric(last))
        .then(|| first.parse().ok().zip(last.parse().ok()).map(|(first, last)| first..=last))
}

impl Pattern {
    fn matches(&self, index: usize, path: &str) -> bool {
        match self {
            Self::Range(range) => range.contains(&index),
            Self::Glob(glob) => {
                glob.is_match(path) || path.match_indices('/').any(|(end, _)| glob.is_match(&path[..end]))
            }
        }
    }

    /// As the user wrote it, nearly.
    fn text(&self) -> String {
        match self {
            Self::Range(r) if r.start() == r.end() => r.start().to_string(),
            Self::Range(r) => format!("{}-{}", r.start(), r.end()),
            Self::Glob(glob) => glob.glob().glob().to_owned(),
        }
    }
}

/// What the user wants of a torrent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selection {
    /// These files; all if there is no pattern.
    pub(crate) select: Vec<Pattern>,
    /// But not these.
    pub(crate) exclude: Vec<Pattern>,
    /// What the link chooses (BEP 53), unless the user does.
    pub(crate) linked: Option<Linked>,
}

/// What a selection has to know of a file.
#[derive(Clone, Debug)]
struct Candidate {
    /// Path below the torrent's name, parts joined by `/`; of a single file its name.
    path: String,
    /// Pad files are counted, never chosen.
    pad: bool,
}

impl Selection {
    /// Whether it asks for everything.
    pub(crate) fn is_all(&self) -> bool {
        self.select.is_empty() && self.exclude.is_empty() && self.linked.is_none()
    }

    /// Which files of a torrent are wanted, in its order.
    ///
    /// # Errors
    /// If a `--select` matches nothing, or nothing is left: both are mistakes that should not pass for success.
    pub(crate) fn of(&self, info: &Info) -> Result<Vec<bool>, String> {
        let candidate = |f: &FileEntry| Candidate { path: f.path.to_string(), pad: f.attr.pad };
        self.apply(&info.files().iter().map(candidate).collect::<Vec<_>>())
    }

    fn apply(&self, files: &[Candidate]) -> Result<Vec<bool>, String> {
        if let Some(idle) =
            self.select.iter().find(|p| !files.iter().enumerate().any(|(i, f)| chooses(p, i, f)))
        {
            return Err(format!(
                "--select {} matches no file of the torrent: `samara show` lists them",
                idle.text()
            ));
        }
        let wanted: Vec<bool> = files.iter().enumerate().map(|(i, f)| self.wants(i, f)).collect();
        if wanted.contains(&true) {
            Ok(wanted)
        } else {
            Err("no file of the torrent is left to fetch: choose others with --select".into())
        }
    }

    fn wants(&self, index: usize, file: &Candidate) -> bool {
        let among = |patterns: &[Pattern]| patterns.iter().any(|p| chooses(p, index, file));
        let chosen = if self.select.is_empty() { self.is_linked(index) } else { among(&self.select) };
        !file.pad && chosen && !among(&self.exclude)
    }

    /// Whether the link chooses the file, or does not choose at all.
    fn is_linked(&self, index: usize) -> bool {
        let index = u32::try_from(index).map(FileIndex);
        self.linked.as_ref().is_none_or(|linked| index.is_ok_and(|index| linked.contains(index)))
    }
}

fn chooses(pattern: &Pattern, index: usize, file: &Candidate) -> bool {
    !file.pad && pattern.matches(index, &file.path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn files() -> Vec<Candidate> {
        [
            ("a.txt", false),
            (".pad/1", true),
            ("disc 1/a.flac", false),
            ("disc 1/b/c.flac", false),
            ("10-20", false),
        ]
        .map(|(path, pad)| Candidate { path: path.into(), pad })
        .to_vec()
    }

    fn patterns(texts: &[&str]) -> Vec<Pattern> {
        texts.iter().map(|t| t.parse().unwrap()).collect()
    }

    fn chosen(select: &[&str], exclude: &[&str]) -> Result<Vec<usize>, String> {
        let selection = Selection { select: patterns(select), exclude: patterns(exclude), linked: None };
        let wanted = selection.apply(&files())?;
        Ok(wanted.iter().enumerate().filter(|(_, w)| **w).map(|(i, _)| i).collect())
    }

    #[test]
    fn numbers_count_pad_files_but_do_not_choose_them() {
        assert_eq!(chosen(&["0-2"], &[]), Ok(vec![0, 2]));
        assert_eq!(chosen(&["3", "4"], &["4"]), Ok(vec![3]));
        assert!(chosen(&["1"], &[]).is_err());
        assert!(chosen(&["5"], &[]).unwrap_err().contains("--select 5"));
    }

    #[test]
    fn globs_reach_into_folders() {
        assert_eq!(chosen(&["*.flac"], &[]), Ok(vec![2, 3]));
        assert_eq!(chosen(&["disc 1/"], &[]), Ok(vec![2, 3]));
        assert_eq!(chosen(&["disc 1/b"], &[]), Ok(vec![3]));
        assert_eq!(chosen(&["*"], &[]), Ok(vec![0, 2, 3, 4]));
        assert_eq!(chosen(&[], &["disc*"]), Ok(vec![0, 4]));
        assert_eq!(chosen(&["{a.txt,disc ?/a.*}"], &[]), Ok(vec![0, 2]));
    }

    #[test]
    fn the_user_outranks_the_link() {
        let linked: Linked = "0,1,3,99".parse().unwrap();
        let wanted = |select: &[&str], exclude: &[&str]| {
            let selection = Selection {
                select: patterns(select),
                exclude: patterns(exclude),
                linked: Some(linked.clone()),
            };
            selection.apply(&files()).unwrap()
        };
        assert_eq!(wanted(&[], &[]), [true, false, false, true, false]);
        assert_eq!(wanted(&[], &["*.txt"]), [false, false, false, true, false]);
        assert_eq!(wanted(&["2"], &[]), [false, false, true, false, false]);
    }

    #[test]
    fn choosing_nothing_is_an_error() {
        assert!(chosen(&["*.mp3"], &[]).is_err());
        assert!(chosen(&["*.flac"], &["disc*"]).is_err());
        assert!(chosen(&["*.flac", "*.mp3"], &[]).is_err());
    }

    #[test]
    fn bad_patterns_are_refused() {
        for bad in ["5-2", "99999999999999999999", "[a", "{a"] {
            assert!(bad.parse::<Pattern>().is_err(), "{bad} was taken");
        }
        assert!(matches!("7-9".parse(), Ok(Pattern::Range(_))));
        assert!(matches!("7-9.txt".parse(), Ok(Pattern::Glob(_))));
        assert!(matches!("-".parse(), Ok(Pattern::Glob(_))));
    }

    proptest! {
        #[test]
        fn a_range_is_its_numbers(first in 0usize..6, len in 0usize..6) {
            let range: Pattern = format!("{first}-{}", first + len).parse().unwrap();
            for i in 0..14 {
                prop_assert_eq!(range.matches(i, "x"), (first..=first + len).contains(&i));
            }
        }

        #[test]
        fn no_pattern_panics(text in any::<String>()) {
            let _ = text.parse::<Pattern>().map(|p| p.matches(0, &text));
        }
    }
}
