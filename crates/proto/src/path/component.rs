//! One component of a path: cleaning, shortening, numbering, folding.

use sha2::{Digest, Sha256};
use unicode_normalization::UnicodeNormalization;

use super::Rules;

/// Longest component in bytes: the limit of nearly every file system, counted in UTF-8 or in fewer units.
pub(super) const MAX_LEN: usize = 255;

/// Longest extension that survives when a name is shortened, its dot counted.
const MAX_EXTENSION: usize = 16;

const PART: &str = ".part";

/// A component that can be created under `rules`, is none of `.` and `..`, and holds no separator and nothing that
/// acts on a terminal. A clean component comes back as it is.
pub(super) fn clean(raw: &str, rules: Rules) -> String {
    let mut name: String = raw.chars().map(|c| if is_bad(c, rules) { '_' } else { c }).collect();
    if name.is_empty() || name == "." || name == ".." {
        name = "_".repeat(name.len().max(1));
    }
    if rules.windows {
        name = clean_windows(name);
    }
    if name.len() > MAX_LEN { shorten(&name, &format!("~{}", digest(raw, 8))) } else { name }
}

fn is_bad(c: char, rules: Rules) -> bool {
    // Line separators, and the bidirectional embeddings, overrides and isolates that make `gpj.exe` read `exe.jpg`.
    // Plain direction marks (U+200E, U+200F) stay: they are usual in Arabic and Hebrew names.
    let misleads = matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c == '/' || c.is_control() || misleads || (rules.windows && r#"\<>:"|?*"#.contains(c))
}

/// Windows drops dots and spaces at the end, and opens devices under some names whatever their extension.
fn clean_windows(name: String) -> String {
    let kept = name.trim_end_matches(['.', ' ']).len();
    let mut name = format!("{}{}", &name[..kept], "_".repeat(name.len() - kept));
    if is_device(&name) {
        name.insert(0, '_');
    }
    name
}

fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or(name).trim_end_matches(' ').to_uppercase();
    let numbered = |prefix| {
        let rest = stem.strip_prefix(prefix).map(|digit: &str| digit.chars().collect::<Vec<_>>());
        matches!(rest.as_deref(), Some(['0'..='9' | '¹' | '²' | '³']))
    };
    matches!(&*stem, "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$")
        || numbered("COM")
        || numbered("LPT")
}

/// `name` with `mark` before its extension, cut so that it fits into [`MAX_LEN`].
fn shorten(name: &str, mark: &str) -> String {
    let (stem, extension) = split_extension(name);
    let room = MAX_LEN - mark.len() - extension.len();
    format!("{}{mark}{extension}", &stem[..stem.floor_char_boundary(room)])
}

/// Splits before the last dot, unless that leaves no stem or an extension too long to be one.
fn split_extension(name: &str) -> (&str, &str) {
    let dot = name.rfind('.').filter(|&dot| dot > 0 && name.len() - dot <= MAX_EXTENSION);
    name.split_at(dot.unwrap_or(name.len()))
}

/// The `n`-th name to try when `name` is taken: `photo (1).jpg`.
pub(super) fn numbered(name: &str, n: u32) -> String {
    shorten(name, &format!(" ({n})"))
}

/// The name of a file that is not whole yet.
pub(super) fn part_name(name: &str) -> String {
    if name.len() + PART.len() <= MAX_LEN {
        return format!("{name}{PART}");
    }
    let cut = name.floor_char_boundary(MAX_LEN - PART.len() - 9);
    format!("{}~{}{PART}", &name[..cut], digest(name, 8))
}

/// The first `digits` hex digits of a hash of `s`, to tell apart what was cut to the same.
pub(super) fn digest(s: &str, digits: usize) -> String {
    let hash = Sha256::digest(s);
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    hex[..digits].to_owned()
}

/// Two components name the same file under `rules` if their keys are equal.
pub(super) fn key(name: &str, rules: Rules) -> Box<str> {
    if !rules.fold {
        return name.into();
    }
    if name.is_ascii() {
        return name.to_ascii_lowercase().into();
    }
    // Upper, then lower case brings together what either alone leaves apart (`ſ` and `s`, `ς` and `σ`).
    let folded = name.nfd().flat_map(char::to_uppercase).flat_map(char::to_lowercase);
    folded.nfc().collect::<String>().into()
}
