//! Where the `.torrent` of a torrent is, so that it need not be held in memory while nothing goes on.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use samara_proto::ids::InfoHashes;
use samara_proto::metainfo::{Metainfo, MetainfoError};

use crate::store::Store;

/// Largest .torrent file that is read. The largest in the wild are a few tens of MiB.
const MAX_LEN: u64 = 256 << 20;

/// Where a `.torrent` is.
#[derive(Clone, Debug)]
pub(crate) enum Origin {
    /// In this file.
    File(Arc<Path>),
    /// In the resume data of the download.
    Resume,
    /// Here, for want of another place.
    Held(Arc<[u8]>),
}

/// Why a `.torrent` could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OriginError {
    /// The file cannot be read.
    #[error("it cannot be read: {0}")]
    Read(#[from] io::Error),
    /// The file is far too large.
    #[error("it is larger than any .torrent file: it is something else")]
    TooLarge,
    /// It is none.
    #[error("it is no .torrent file that can be used: {0}")]
    Metainfo(#[from] MetainfoError),
    /// It is that of another torrent by now.
    #[error("it is that of another torrent by now")]
    Another,
    /// It was in the resume data, which is gone.
    #[error("the resume data is gone")]
    Gone,
}

impl Origin {
    /// Reads the `.torrent` again. Blocks.
    pub(super) fn load(
        &self,
        hashes: &InfoHashes,
        dir: &Path,
        state_dir: Option<&Path>,
    ) -> Result<Metainfo, OriginError> {
        let metainfo = match self {
            Self::Resume => {
                let store = state_dir.and_then(|state| Store::open(state, hashes, dir).ok());
                let record = store.and_then(|store| store.load()).ok_or(OriginError::Gone)?;
                Metainfo::parse(&record.torrent)?
            }
            other => other.read()?,
        };
        if metainfo.info.hashes() == *hashes { Ok(metainfo) } else { Err(OriginError::Another) }
    }

    /// Reads what says by itself where it is. Blocks.
    pub(crate) fn read(&self) -> Result<Metainfo, OriginError> {
        match self {
            Self::File(path) => read(path),
            Self::Held(bytes) => Ok(Metainfo::parse(bytes)?),
            Self::Resume => Err(OriginError::Gone),
        }
    }
}

/// Reads a `.torrent` file. Blocks.
pub(crate) fn read(path: &Path) -> Result<Metainfo, OriginError> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_LEN + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_LEN {
        return Err(OriginError::TooLarge);
    }
    Ok(Metainfo::parse(&bytes)?)
}
