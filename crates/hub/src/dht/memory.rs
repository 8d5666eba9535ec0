//! The file that keeps ids and tables, so that a restart moves the node nowhere and finds its neighbours at once.
//!
//! The format is [`samara_proto::dht::saved`]. It is written beside the old one and takes its name when it is whole. What is
//! damaged is as if it was not there.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use samara_proto::dht::saved::{Both, MAX_LEN, Saved};

use super::Node;

/// Whether it can be written: better said at the start than later.
///
/// # Errors
/// Says why not.
pub(crate) fn check(path: &Path) -> Result<(), String> {
    let beside = beside(path);
    let fault =
        |e: io::Error| format!("cannot write {}, where the DHT node is to be saved: {e}", beside.display());
    File::create(&beside).and_then(|_| fs::remove_file(&beside)).map_err(fault)
}

/// What an earlier run left.
pub(super) fn load(path: &Path) -> Both {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_LEN as u64 + 1).read_to_end(&mut bytes));
    match read {
        Ok(_) => Both::read(&bytes).unwrap_or_else(|| {
            tracing::warn!(file = %path.display(), "the DHT node of the last run cannot be read, and begins anew");
            Both::default()
        }),
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(file = %path.display(), %error, "the DHT node of the last run cannot be read");
            }
            Both::default()
        }
    }
}

pub(super) fn write(v4: Option<Saved>, v6: Option<Saved>) -> Vec<u8> {
    Both { v4, v6 }.write()
}

/// Saves what the node knows, if it knows anybody.
pub(crate) fn save(node: &Node, path: &Path) {
    let Some(bytes) = node.memory() else { return };
    if let Err(error) = replace(path, &bytes) {
        tracing::error!(%error, file = %path.display(), "the DHT node cannot be saved");
    }
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = beside(path);
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}
