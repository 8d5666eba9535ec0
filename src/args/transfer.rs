//! The arguments of the commands that talk to peers.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::Net;
use super::values::duration;
use crate::select::Pattern;

/// Share data that is here, until interrupted.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  samara seed album.torrent ~/music
  samara seed torrents/ /srv/data --listen 0.0.0.0:6881     every .torrent in torrents/")]
pub(crate) struct Seed {
    /// .torrent files, or folders of them
    #[arg(required = true, value_name = "TORRENT")]
    pub(crate) torrents: Vec<PathBuf>,
    /// The folder that holds the torrents' files and folders
    #[arg(required = true)]
    pub(crate) dir: PathBuf,
    #[command(flatten)]
    pub(crate) net: Net,
}

/// Fetch files, and prove that every byte arrived.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  samara get album.torrent
  samara get album.torrent --peer 192.0.2.7:6881 --no-trackers
  samara get 'magnet:?xt=urn:btih:..&x.pe=192.0.2.7:6881' -o ~/music --seed
  samara get big.torrent --select '*.flac' --exclude 'extras/*'
  samara get film.torrent --select 0 --stdout | mpv -
  samara get 'magnet:?xt=urn:btih:..&tr=..' --save-torrent album.torrent

A run that was ended goes on from what was proven when it is started again.")]
pub(crate) struct Get {
    /// A .torrent file, its http(s) address, a magnet link, or an info-hash
    pub(crate) source: String,
    /// The folder to put it in
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    pub(crate) output: PathBuf,
    /// Fetch these files only: a glob over the path below the torrent's name, or 0-based numbers
    #[arg(long, value_name = "GLOB|N[-M]")]
    pub(crate) select: Vec<Pattern>,
    /// Do not fetch these files
    #[arg(long, value_name = "GLOB|N[-M]")]
    pub(crate) exclude: Vec<Pattern>,
    /// Fetch pieces in order
    #[arg(long)]
    pub(crate) sequential: bool,
    /// Write the one chosen file to stdout too, in order, as it is verified
    #[arg(long)]
    pub(crate) stdout: bool,
    /// Save the torrent of a link or hash as a .torrent file, or in a folder under its name [default: the output folder]
    #[arg(long, value_name = "FILE|DIR", num_args = 0..=1)]
    pub(crate) save_torrent: Option<Option<PathBuf>>,
    /// Share on when done, until interrupted or a limit is reached
    #[arg(long)]
    pub(crate) seed: bool,
    /// Share on until this many times the size was uploaded
    #[arg(long, value_name = "R", value_parser = super::values::ratio)]
    pub(crate) seed_ratio: Option<f64>,
    /// Share on for this time at most: 90s, 15m, 2h
    #[arg(long, value_name = "DUR", value_parser = duration)]
    pub(crate) seed_time: Option<Duration>,
    #[command(flatten)]
    pub(crate) net: Net,
}

/// Share files or folders right now: prints a link for the other side.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  samara send photos/
  samara send report.pdf figures/ --listen 0.0.0.0:7000
  samara send film.mkv --tracker udp://tracker.example:6969     the link names the tracker

Nothing is copied and nothing is uploaded anywhere: keep it running until the others are done.
Whoever has the link can fetch.")]
pub(crate) struct Send {
    /// Files and folders
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// Whether to draw the link as a QR code; auto does on a terminal
    #[arg(long, value_enum, default_value_t = When::Auto, value_name = "WHEN")]
    pub(crate) qr: When,
    #[command(flatten)]
    pub(crate) net: Net,
}

/// When to do something that suits a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    Auto,
    Always,
    Never,
}
