//! The arguments: one definition that parsing, help, man pages and shell completions come from.

mod announce;
mod dht;
mod hub;
mod local;
mod net;
mod transfer;
mod values;

use clap::{ArgAction, Parser, Subcommand, ValueEnum};

pub(crate) use announce::{Announce, Reach};
pub(crate) use dht::{
    BareNode, Dht, DhtCommand, DhtNet, Find, GetItem, Peers, Ping, Place, PutItem, Sample, Target, hex_32,
};
pub(crate) use hub::Hub;
pub(crate) use local::{Check, Completions, Create, Format, Man, Show};
pub(crate) use net::Net;
pub(crate) use transfer::{Get, Seed, Send, When};

/// Moves any file or folder from one machine to another, and proves that every byte arrived.
#[derive(Debug, Parser)]
#[command(
    name = "samara",
    version,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true
)]
#[command(after_help = "\
Examples:
  samara send photos/                     share a folder; prints the command for the other side
  samara get 'magnet:?xt=urn:btih:..'     fetch it
  samara create film.mkv && samara seed film.mkv.torrent .
  samara show debian.iso.torrent --json

`samara COMMAND --help` tells more about one command.")]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What holds for every command.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct Global {
    /// Say more; twice for debugging
    #[arg(short, long, global = true, action = ArgAction::Count, conflicts_with = "quiet")]
    pub(crate) verbose: u8,
    /// Print results and errors only
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Print JSON on stdout, one object a line, and no progress bar
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Whether to colour what a person reads; auto does on a terminal unless NO_COLOR is set
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    pub(crate) color: Color,
}

/// When to colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    Auto,
    Always,
    Never,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Create(Create),
    Show(Show),
    Check(Check),
    Seed(Seed),
    Get(Get),
    Send(Send),
    Announce(Announce),
    Dht(Box<Dht>),
    Hub(Box<Hub>),
    Completions(Completions),
    Man(Man),
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_examples() {
        for command in Cli::command().get_subcommands().filter(|c| c.get_name() != "help") {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Examples:"), "{} has none", command.get_name());
        }
    }

    #[test]
    fn the_last_word_of_seed_is_the_folder() {
        let Ok(Cli { command: Command::Seed(seed), .. }) = Cli::try_parse_from([
            "samara",
            "--json",
            "seed",
            "a",
            "b",
            "dir",
            "--listen",
            "127.0.0.1:0",
            "--no-dht",
        ]) else {
            panic!("refused");
        };
        assert_eq!(seed.torrents.len(), 2);
        assert_eq!(seed.dir.to_str(), Some("dir"));
        assert_eq!(seed.net.listen.len(), 1);
    }

    #[test]
    fn absent_features_are_refused_not_ignored() {
        for flag in ["--bind=eth0", "--proxy=socks5://x", "--transport=utp", "--encryption=require"] {
            assert!(Cli::try_parse_from(["samara", "get", "x", flag]).is_err(), "{flag} was taken");
        }
        assert!(Cli::try_parse_from(["samara", "serve"]).is_err());
    }
}
