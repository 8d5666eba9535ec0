//! `samara seed`: shares data that is here.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use samara_engine::{AddSource, AddTorrent, Client, Mode};
use samara_proto::metainfo::Metainfo;

use crate::args::Seed;
use crate::exit::Outcome;
use crate::session;
use crate::share::{Shared, share};
use crate::signal::Interrupt;
use crate::source::read_torrent;
use crate::ui::json::Metadata;
use crate::ui::{Event, Ui};

/// Checks, then shares until interrupted.
pub(crate) async fn run(args: Seed, ui: &mut Ui) -> Outcome {
    let torrents = read_all(&args.torrents)?;
    if !args.dir.is_dir() {
        bail!("{} is not a folder: name the one that holds the data", args.dir.display());
    }
    let mut interrupt = Interrupt::install()?;
    let peers = session::resolve(&args.net.peers, ui).await?;
    let client = session::start(&args.net, ui).await?;
    let mut shared = Vec::with_capacity(torrents.len());
    for torrent in torrents {
        ui.event(&Event::Metadata(Metadata::of(&torrent.info)))?;
        let mut add = AddTorrent::new(AddSource::Metainfo(Box::new(torrent)), &args.dir);
        add.mode = Mode::Seed;
        add.peers.clone_from(&peers);
        shared.push(start(&client, add).await?);
    }
    let outcome = share(shared, ui, &mut interrupt).await;
    ui.end_progress();
    client.shutdown().await;
    outcome
}

/// Adds a torrent whose files are known.
pub(super) async fn start(client: &Client, add: AddTorrent) -> Result<Shared> {
    let (name, size) = match &add.source {
        AddSource::Metainfo(m) => (m.info.name().to_owned(), m.info.total_size()),
        AddSource::Magnet { .. } => (String::new(), 0),
    };
    let torrent = client.add(add).await.with_context(|| name.clone())?;
    Ok(Shared { name, size, torrent })
}

/// Reads all torrents; a folder stands for those in it, and one that is named twice counts once.
fn read_all(paths: &[PathBuf]) -> Result<Vec<Metainfo>> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            files.extend(torrents_in(path)?);
        } else {
            files.push(path.clone());
        }
    }
    let mut all: Vec<Metainfo> = Vec::with_capacity(files.len());
    let mut known = std::collections::HashSet::new();
    for file in files {
        let torrent = read_torrent(&file)?;
        if known.insert(torrent.info.hashes()) {
            all.push(torrent);
        }
    }
    Ok(all)
}

/// The .torrent files of a folder, in the order of their names.
fn torrents_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let cannot = || format!("cannot read the folder {}", folder.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(cannot)? {
        let path = entry.with_context(cannot)?.path();
        if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("torrent")) {
            found.push(path);
        }
    }
    if found.is_empty() {
        bail!("there is no .torrent file in {}", folder.display());
    }
    found.sort_unstable();
    Ok(found)
}
