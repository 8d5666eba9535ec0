//! Makes a torrent of what [`walk`](crate::walk) found: orders, hashes, and proves that nothing changed meanwhile.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Result, bail};
use samara_engine::hash::{self, HashJob, Want};
use samara_proto::layout::Layout;
use samara_proto::metainfo::{
    Attr, FileEntry, FilePath, Format, Info, InfoBuilder, NewFile, NewHashes, PieceLayers, Plan,
    default_piece_length,
};

use crate::exit::usage;
use crate::hashing::{self, Job};
use crate::signal::Interrupt;
use crate::ui::Ui;
use crate::walk::{Found, Kind, Walk};

/// What the torrent shall be, apart from its files.
#[derive(Clone, Debug)]
pub(crate) struct Recipe {
    /// Which halves it has.
    pub(crate) format: Format,
    /// Bytes; by total size if not given.
    pub(crate) piece_length: Option<u32>,
    /// Peers through its trackers only.
    pub(crate) private: bool,
    /// Changes the info-hash.
    pub(crate) source: Option<String>,
    /// Instead of the name on disk.
    pub(crate) name: Option<String>,
}

impl Recipe {
    /// Everything by default.
    pub(crate) const fn new(format: Format) -> Self {
        Self { format, piece_length: None, private: false, source: None, name: None }
    }
}

/// A new torrent.
#[derive(Debug)]
pub(crate) struct Made {
    /// What it is.
    pub(crate) info: Arc<Info>,
    /// What goes beside it (v2).
    pub(crate) piece_layers: PieceLayers,
    /// Where each file lies, in the torrent's order; `None` for pad files.
    pub(crate) paths: Vec<Option<PathBuf>>,
}

/// Makes a torrent of `walk`; `None` if it was interrupted.
///
/// # Errors
/// If no torrent can hold it, or a file cannot be read or changes meanwhile.
pub(crate) async fn make(
    mut walk: Walk,
    recipe: Recipe,
    ui: &mut Ui,
    interrupt: &mut Interrupt,
) -> Result<Option<Made>> {
    if let Some(left_out) = walk.left_out() {
        ui.warning(&left_out)?;
    }
    walk.sort();
    let plan = plan(&walk, recipe)?;
    let paths = locate(&plan, &walk);
    let total = plan.files().iter().map(|f| f.length).sum();
    let worker = {
        let (plan, paths) = (plan.clone(), paths.clone());
        move |job: &Job| hash_all(&plan, &paths, job)
    };
    let Some(hashes) = hashing::run(ui, interrupt, total, worker).await? else { return Ok(None) };
    let hashes = hashes?;
    if let Some(changed) = walk.found.iter().find(|f| !f.is_unchanged()) {
        bail!("{} changed while it was hashed: try again when nobody writes to it", changed.disk.display());
    }
    let (info, piece_layers) = plan.finish(hashes)?;
    Ok(Some(Made { info: Arc::new(info), piece_layers, paths }))
}

fn plan(walk: &Walk, recipe: Recipe) -> Result<Plan> {
    let name = recipe.name.unwrap_or_else(|| walk.name.clone());
    let files = walk.found.iter().map(|found| new_file(found, walk.single.then_some(&name))).collect();
    let lengths = || walk.found.iter().map(Found::len);
    let piece_length = recipe.piece_length.unwrap_or_else(|| default_piece_length(lengths(), recipe.format));
    let builder = InfoBuilder {
        files,
        piece_length,
        format: recipe.format,
        private: recipe.private,
        source: recipe.source,
        single_file: walk.single,
        name,
    };
    builder.plan().map_err(|error| usage(error.to_string()))
}

/// A single file is called as the torrent is.
fn new_file(found: &Found, single: Option<&String>) -> NewFile {
    let path = single.map_or_else(|| FilePath::new(&found.path), |name| FilePath::new([name]));
    let executable = matches!(found.kind, Kind::File { executable: true, .. });
    let symlink = match &found.kind {
        Kind::Link(target) => Some(FilePath::new(target)),
        Kind::File { .. } => None,
    };
    NewFile { path, length: found.len(), attr: Attr { executable, ..Attr::default() }, symlink }
}

/// Where the plan's files lie: it has them in the order of [`Walk::sort`], and pad files between them.
fn locate(plan: &Plan, walk: &Walk) -> Vec<Option<PathBuf>> {
    let mut found = walk.found.iter().map(|f| f.disk.clone());
    plan.files().iter().map(|file| if file.attr.pad { None } else { found.next() }).collect()
}

fn hash_all(plan: &Plan, paths: &[Option<PathBuf>], job: &Job) -> Result<NewHashes> {
    let aligned = plan.format() == Format::V2;
    let shape = plan.files().iter().map(|f: &FileEntry| (f.length, f.attr.pad));
    let layout = Layout::new(plan.piece_length(), shape, aligned)?;
    let hashes = hash::hash_files(&HashJob {
        paths,
        layout: &layout,
        want: Want::of(plan.format()),
        threads: hashing::threads(),
        progress: &|done| job.set_done(done),
        cancel: job.cancel(),
    })?;
    Ok(hashes)
}
