//! The `.torrent` of what was fetched by its hash alone (`get --save-torrent`).
//!
//! Around the info dictionary, which stays as it came, stand the trackers and web seeds of the link, and the piece layers
//! that peers gave (BEP 52). So it is written once those are known, mostly before the first byte of the files. Peers that
//! share a hybrid by its v1 hash give none: then they are hashed from the files once those are whole. A `.torrent` that is
//! there already is left alone: if it says the same, well; if not, that is an error.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use samara_engine::hash::{HashJob, Want, hash_files};
use samara_proto::layout::Layout;
use samara_proto::metainfo::{Info, Metainfo};
use samara_proto::path::{SafePath, sanitise};

use crate::hashing::{self, Job};
use crate::publish::publish;
use crate::source::Source;

/// Longest name in bytes: with its ending, and that of the temporary file, it has to fit 255.
const MAX_NAME: usize = 200;

/// A torrent that is to be saved.
#[derive(Debug)]
pub(crate) struct Save {
    /// A file, or a folder for it.
    to: PathBuf,
    /// Where the files of the torrent are.
    dir: PathBuf,
    trackers: Vec<String>,
    web_seeds: Vec<String>,
}

impl Save {
    /// Of `source`: to `to`, or into the folder `dir` under the torrent's name.
    pub(crate) fn new(to: Option<&Path>, dir: &Path, source: &Source) -> Self {
        let (to, dir) = (to.unwrap_or(dir).to_owned(), dir.to_owned());
        match source {
            // All is known of it.
            Source::Torrent(_) => Self { to, dir, trackers: Vec::new(), web_seeds: Vec::new() },
            Source::Magnet(link) => {
                Self { to, dir, trackers: link.trackers.clone(), web_seeds: link.web_seeds.clone() }
            }
        }
    }

    /// The folder that holds the torrent's name.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes it, and says where; `None` if piece layers are still to come.
    ///
    /// # Errors
    /// If it cannot be written, or another file is in its place.
    pub(crate) fn write(&self, metainfo: &Metainfo) -> Result<Option<PathBuf>> {
        if !metainfo.has_layers() {
            return Ok(None);
        }
        let file = if self.to.is_dir() { self.to.join(file_name(&metainfo.info)) } else { self.to.clone() };
        let bytes = self.dress(metainfo.clone()).to_bytes();
        match std::fs::read(&file) {
            Ok(there) if there == bytes => {}
            Ok(_) => bail!(
                "the torrent cannot be saved as {}: another file is there; name another with --save-torrent FILE",
                file.display()
            ),
            Err(_) => publish(&file, &bytes, false)?,
        }
        Ok(Some(file))
    }

    fn dress(&self, mut metainfo: Metainfo) -> Metainfo {
        metainfo.trackers.extend(self.trackers.iter().map(|url| vec![url.clone()]));
        metainfo.web_seeds.extend_from_slice(&self.web_seeds);
        metainfo
    }
}

/// The torrent with the piece layers of its files in `dir`, as far as they hash to their roots; as it is if one whose
/// layer is missing is not there itself.
///
/// # Errors
/// If a file cannot be read, or it was cancelled.
pub(crate) fn with_layers(metainfo: &Metainfo, dir: &Path, job: &Job) -> Result<Metainfo> {
    let mut metainfo = metainfo.clone();
    let place = |safe: &SafePath| Some(dir.join(safe.as_path())).filter(|path| path.is_file());
    let paths: Vec<_> = sanitise(&metainfo.info).iter().map(|safe| place(safe.as_ref()?)).collect();
    let lacking = metainfo.info.files().iter().zip(&paths).filter(|(file, _)| metainfo.lacks_layer(file));
    let (found, gone) = lacking.partition::<Vec<_>, _>(|(_, path)| path.is_some());
    if found.is_empty() || !gone.is_empty() {
        return Ok(metainfo);
    }
    let layout = Layout::of(&metainfo.info)?;
    let hashes = hash_files(&HashJob {
        paths: &paths,
        layout: &layout,
        want: Want { v1: false, v2: true },
        threads: hashing::threads(),
        progress: &|done| job.set_done(done),
        cancel: job.cancel(),
    })?;
    let files = metainfo.info.files().iter().filter(|file| file.length > 0 && !file.attr.pad);
    let hashed = files.zip(hashes.v2.into_iter().flatten());
    let right = hashed.filter(|(file, hashes)| file.pieces_root == Some(hashes.pieces_root));
    let long = right.filter(|(file, _)| file.length > u64::from(metainfo.info.piece_length()));
    let layers: Vec<_> = long.map(|(_, hashes)| (hashes.pieces_root, hashes.layer)).collect();
    metainfo.piece_layers.extend(layers.into_iter().map(|(root, layer)| (root, layer.into())));
    Ok(metainfo)
}

/// The torrent's name, made safe as those of its files are.
fn file_name(info: &Info) -> String {
    let paths = sanitise(info);
    let name = paths.iter().flatten().next().and_then(|path| path.components().next());
    let name = name.map_or_else(|| info.hashes().primary().to_string(), str::to_owned);
    format!("{}.torrent", &name[..name.floor_char_boundary(MAX_NAME)])
}
