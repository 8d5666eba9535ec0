//! Why a configuration was refused.

use std::io;
use std::path::{Path, PathBuf};

/// A configuration that cannot be used. The message is one sentence that says where the fault is and how to mend it.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// The file is no TOML, or names or types in it are wrong.
    #[error("{}:{line}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// With the key, and what is expected there.
        message: String,
    },
    /// A setting has an impossible value.
    #[error("the setting {key} (flag --{key}, variable {}) {why}", variable(key))]
    Value {
        /// As it is called in the file.
        key: &'static str,
        /// What is wrong, and what would be right.
        why: String,
    },
}

impl ConfigError {
    pub(crate) fn value(key: &'static str, why: impl Into<String>) -> Self {
        Self::Value { key, why: why.into() }
    }

    /// With the line, and with a guess at what a misspelt key was to be.
    pub(crate) fn syntax(path: &Path, text: &str, cause: &toml::de::Error) -> Self {
        let before = cause.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let mut message = cause.message().trim().replace('\n', ", ");
        if let Some(key) = message.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next()) {
            message = unknown(key);
        }
        Self::Syntax { path: path.to_owned(), line: before.matches('\n').count() + 1, message }
    }
}

/// The environment variable of a setting.
fn variable(key: &str) -> String {
    format!("SAMARA_HUB_{}", key.to_uppercase().replace('-', "_"))
}

fn unknown(key: &str) -> String {
    let known = super::Options::VALUES.iter().map(|(name, ..)| name.replace('_', "-"));
    let close = known.map(|name| (distance(key, &name), name)).min().filter(|(d, _)| *d <= 1 + key.len() / 4);
    match close {
        Some((_, name)) => format!("there is no setting `{key}`: did you mean `{name}`?"),
        None => format!("there is no setting `{key}`: `samara hub --help` lists all"),
    }
}

/// How many letters must be put in, left out or changed (Levenshtein's distance). Both are short.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.bytes().enumerate() {
            let change = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, d) in
            [("", "", 0), ("a", "", 1), ("", "ab", 2), ("kitten", "sitting", 3), ("http", "htpt", 2)]
        {
            assert_eq!(distance(a, b), d, "{a} {b}");
        }
    }
}
