//! `samara man`: manual pages, made from the same definition as `--help`.

use std::fs;
use std::path::Path;

use anyhow::Context;
use clap::CommandFactory;
use clap_mangen::Man as Page;

use crate::args::{Cli, Man};
use crate::exit::{Exit, Outcome, usage};
use crate::ui::Ui;

/// Prints one page, or writes all.
pub(crate) fn run(args: &Man, ui: &Ui) -> Outcome {
    match &args.dir {
        Some(dir) => write_all(dir)?,
        None => ui.result(&String::from_utf8_lossy(&page(args.command.as_deref())?))?,
    }
    Ok(Exit::Done)
}

/// The page of one command, or of the whole program.
fn page(name: Option<&str>) -> anyhow::Result<Vec<u8>> {
    let mut root = Cli::command().disable_help_subcommand(true);
    root.build();
    let command = match name {
        None => root,
        Some(name) => root
            .find_subcommand(name)
            .cloned()
            .ok_or_else(|| usage(format!("there is no command {name:?}: `samara --help` lists them")))?,
    };
    let mut page = Vec::new();
    Page::new(command).render(&mut page)?;
    Ok(page)
}

fn write_all(dir: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot make the folder {}", dir.display()))?;
    clap_mangen::generate_to(Cli::command().disable_help_subcommand(true), dir)
        .with_context(|| format!("cannot write the manual pages into {}", dir.display()))
}
