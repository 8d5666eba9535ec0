//! The arguments of the commands that stay on this machine.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use clap_complete::Shell;

use super::values::piece_length;

/// Make a .torrent file of a file or folder.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  samara create film.mkv                              film.mkv.torrent, hybrid (v1 and v2)
  samara create album/ -o a.torrent --format v2
  samara create x/ --tracker udp://a:1,udp://b:1 --tracker https://c/announce   two tiers

Symbolic links that stay inside the folder and executable bits are kept; no link is followed.
Empty folders cannot be expressed in a torrent.")]
pub(crate) struct Create {
    /// The file or folder to share
    pub(crate) path: PathBuf,
    /// Where to write it [default: NAME.torrent in the current folder]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Which clients can read it: v1 all, v2 newer ones, hybrid both
    #[arg(long, value_enum, default_value_t = Format::Hybrid)]
    pub(crate) format: Format,
    /// Size of a piece, a power of two from 16KiB [default: by total size]
    #[arg(long, value_name = "SIZE", value_parser = piece_length)]
    pub(crate) piece_length: Option<u32>,
    /// Announce URLs; each use of the option is a tier, tried in order
    #[arg(long = "tracker", value_name = "URL[,URL..]")]
    pub(crate) trackers: Vec<String>,
    /// An http(s) address that serves the same files
    #[arg(long = "web-seed", value_name = "URL")]
    pub(crate) web_seeds: Vec<String>,
    /// Find peers through its trackers only
    #[arg(long)]
    pub(crate) private: bool,
    /// Free text kept beside the data; does not change the info-hash
    #[arg(long, value_name = "TEXT")]
    pub(crate) comment: Option<String>,
    /// Free text that changes the info-hash, for private trackers
    #[arg(long, value_name = "TEXT")]
    pub(crate) source: Option<String>,
    /// Name of the file or folder at the receiver [default: that of PATH]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Leave out the creation date, so that the same input gives the same file
    #[arg(long)]
    pub(crate) no_date: bool,
    /// Overwrite FILE
    #[arg(long)]
    pub(crate) force: bool,
}

/// The format of a torrent to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// BEP 3: SHA-1, understood by every client
    V1,
    /// BEP 52: SHA-256 hash trees
    V2,
    /// Both in one file
    Hybrid,
}

/// Print what a .torrent file or a magnet link says.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  samara show debian.iso.torrent
  samara show --json 'magnet:?xt=urn:btih:..' | jq .trackers")]
pub(crate) struct Show {
    /// A .torrent file or a magnet link
    #[arg(value_name = "TORRENT|MAGNET")]
    pub(crate) source: String,
    /// List every file, however many there are
    #[arg(long)]
    pub(crate) all: bool,
}

/// Hash the data in a folder against a torrent.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  samara check album.torrent ~/music        checks ~/music/album
  samara check --json x.torrent . | jq '.files[] | select(.ok | not)'

Ends with 0 when everything is there and right, else with 1. Nothing is changed.")]
pub(crate) struct Check {
    /// The .torrent file
    pub(crate) torrent: PathBuf,
    /// The folder that holds the torrent's file or folder
    pub(crate) dir: PathBuf,
}

/// Print the completion script for a shell.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  samara completions bash > /etc/bash_completion.d/samara
  samara completions zsh > ~/.zfunc/_samara")]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

/// Print a man page, or write all of them.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  samara man get | man -l -
  samara man --dir /usr/share/man/man1")]
pub(crate) struct Man {
    /// The command to tell about [default: samara as a whole]
    pub(crate) command: Option<String>,
    /// Write the pages of all commands into this folder instead
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    pub(crate) dir: Option<PathBuf>,
}
