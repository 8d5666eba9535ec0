//! `samara completions`: the script that teaches a shell our options.

use clap::CommandFactory;

use crate::args::{Cli, Completions};
use crate::exit::{Exit, Outcome};
use crate::ui::Ui;

/// Prints the script. It is generated into memory first: the generator panics when its writer fails.
pub(crate) fn run(args: &Completions, ui: &Ui) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "samara", &mut script);
    ui.result(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}
