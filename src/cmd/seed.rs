//! `samara seed`: shares data that is here.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use samara_engine::{AddSource, AddTorrent, Mode};
use samara_proto::tracker::TrackerUrl;

use crate::args::Seed;
use crate::exit::Outcome;
use crate::session;
use crate::share::{Batch, share};
use crate::signal::Interrupt;
use crate::ui::Ui;

/// Checks, then shares until interrupted.
pub(crate) async fn run(args: Seed, ui: &mut Ui) -> Outcome {
    let files = all_files(&args.torrents)?;
    if !args.dir.is_dir() {
        bail!("{} is not a folder: name the one that holds the data", args.dir.display());
    }
    let mut interrupt = Interrupt::install()?;
    let peers = session::resolve(&args.net.peers, ui).await?;
    let client = session::start(&args.net, ui).await?;
    let torrents = files.into_iter().map(|file| add(file, &args.dir, &peers, &args.net.trackers)).collect();
    let outcome = share(&client, Batch::new(torrents), ui, &mut interrupt).await;
    ui.end_progress();
    client.shutdown().await;
    outcome
}

fn add(file: PathBuf, dir: &Path, peers: &[SocketAddr], trackers: &[TrackerUrl]) -> AddTorrent {
    let mut add = AddTorrent::new(AddSource::File(file), dir);
    add.mode = Mode::Seed;
    add.peers = peers.to_vec();
    add.trackers = trackers.to_vec();
    add
}

/// The files that the user named; a folder stands for the torrents in it.
fn all_files(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            files.extend(torrents_in(path)?);
        } else {
            files.push(path.clone());
        }
    }
    Ok(files)
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
