//! What the user wants to fetch or look at: a .torrent file, a magnet link, or an info-hash.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail};
use samara_engine::AddSource;
use samara_proto::ids::InfoHashes;
use samara_proto::magnet::{Host, Magnet, Selection, parse_info_hash};
use samara_proto::metainfo::Metainfo;

/// Largest .torrent file that is read. The largest in the wild are a few tens of MiB.
const MAX_TORRENT_LEN: u64 = 256 << 20;

/// Largest one that is fetched from the web, where it takes memory on the way.
const MAX_FETCHED_LEN: usize = 64 << 20;

/// A torrent, or what names one.
#[derive(Debug)]
pub(crate) enum Source {
    /// All of it.
    Torrent(Box<Metainfo>),
    /// Only its hashes, and perhaps who has it.
    Magnet(Box<Magnet>),
}

impl Source {
    /// Finds out what `text` is, and reads it.
    ///
    /// # Errors
    /// If it is nothing that we know, or what it names cannot be read.
    pub(crate) fn read(text: &str) -> Result<Self> {
        if has_scheme(text, "magnet:") {
            let magnet = Magnet::parse(text).context("the magnet link cannot be used")?;
            return Ok(Self::Magnet(Box::new(magnet)));
        }
        if is_web(text) {
            bail!("{text} is an address on the web: download the file first, then name it here");
        }
        if Path::new(text).exists() {
            return Ok(Self::Torrent(Box::new(read_torrent(Path::new(text))?)));
        }
        match parse_info_hash(text) {
            Some(hashes) => Ok(Self::Magnet(Box::new(Magnet::new(hashes)))),
            None => Err(unknown(text)),
        }
    }

    /// As [`read`](Self::read), and takes the address of a .torrent file on the web too.
    ///
    /// # Errors
    /// Likewise; or if it cannot be fetched.
    pub(crate) async fn read_or_fetch(text: &str) -> Result<Self> {
        if !is_web(text) {
            return Self::read(text);
        }
        let bytes = samara_engine::web::fetch(text, MAX_FETCHED_LEN).await;
        let bytes = bytes.with_context(|| format!("{text} cannot be fetched"))?;
        let metainfo = Metainfo::parse(&bytes);
        Ok(Self::Torrent(Box::new(
            metainfo.with_context(|| format!("{text} is no .torrent file that can be used"))?,
        )))
    }

    /// Whether all of the torrent is known.
    pub(crate) const fn is_whole(&self) -> bool {
        matches!(self, Self::Torrent(_))
    }

    /// Whether its peers are to be found through its trackers only.
    pub(crate) fn is_private(&self) -> bool {
        matches!(self, Self::Torrent(metainfo) if metainfo.info.private())
    }

    /// The peers that a link names (`x.pe`).
    pub(crate) fn peers(&self) -> Vec<Host> {
        match self {
            Self::Torrent(_) => Vec::new(),
            Self::Magnet(magnet) => magnet.peers.clone(),
        }
    }

    /// The trackers that it names, as it writes them.
    pub(crate) fn trackers(&self) -> Vec<String> {
        match self {
            Self::Torrent(metainfo) => metainfo.trackers.iter().flatten().cloned().collect(),
            Self::Magnet(magnet) => magnet.trackers.clone(),
        }
    }

    /// What names the torrent.
    pub(crate) fn hashes(&self) -> InfoHashes {
        match self {
            Self::Torrent(metainfo) => metainfo.info.hashes(),
            Self::Magnet(magnet) => magnet.hashes,
        }
    }

    /// Its size, if that is known.
    pub(crate) fn size(&self) -> Option<u64> {
        match self {
            Self::Torrent(metainfo) => Some(metainfo.info.total_size()),
            Self::Magnet(magnet) => magnet.length,
        }
    }

    /// The files that a link chooses (`so`, BEP 53).
    pub(crate) fn selected(&self) -> Option<Selection> {
        match self {
            Self::Torrent(_) => None,
            Self::Magnet(magnet) => magnet.selected.clone(),
        }
    }

    /// For the engine.
    pub(crate) fn into_add(self) -> AddSource {
        match self {
            Self::Torrent(metainfo) => AddSource::Metainfo(metainfo),
            Self::Magnet(magnet) => AddSource::Magnet { hashes: magnet.hashes, name: magnet.name },
        }
    }
}

/// Reads a .torrent file.
///
/// # Errors
/// If it cannot be read, or is none.
pub(crate) fn read_torrent(path: &Path) -> Result<Metainfo> {
    let cannot = || format!("cannot read {}", path.display());
    let mut bytes = Vec::new();
    let file = File::open(path).with_context(cannot)?;
    file.take(MAX_TORRENT_LEN + 1).read_to_end(&mut bytes).with_context(cannot)?;
    if bytes.len() as u64 > MAX_TORRENT_LEN {
        bail!("{} is larger than any .torrent file: it is something else", path.display());
    }
    Metainfo::parse(&bytes)
        .with_context(|| format!("{} is no .torrent file that can be used", path.display()))
}

fn is_web(text: &str) -> bool {
    has_scheme(text, "http:") || has_scheme(text, "https:")
}

fn has_scheme(text: &str, scheme: &str) -> bool {
    text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
}

fn unknown(text: &str) -> anyhow::Error {
    if looks_like_a_code(text) {
        return anyhow::anyhow!("send codes like {text} do not work yet: ask the sender for the magnet link");
    }
    anyhow::anyhow!("{text} is neither a file, a magnet link nor an info-hash: check how it is written")
}

/// A number and words, joined by hyphens.
fn looks_like_a_code(text: &str) -> bool {
    let mut parts = text.split('-');
    let number = parts.next().is_some_and(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()));
    let words: Vec<_> = parts.collect();
    number
        && !words.is_empty()
        && words.iter().all(|w| !w.is_empty() && w.bytes().all(|b| b.is_ascii_alphabetic()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_had_yet_is_told_apart() {
        let refusal = |text| Source::read(text).unwrap_err().to_string();
        assert!(refusal("https://example.org/a.torrent").contains("download"));
        assert!(refusal("7-crossover-clockwork").contains("magnet"));
        assert!(refusal("no-such-file").contains("neither"));
        assert!(refusal("magnet:?dn=x").contains("magnet"));
    }
}
