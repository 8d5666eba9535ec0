//! The `samara` command line: reads the arguments, runs one command, ends with its exit code.

mod args;
mod cmd;
mod exit;
mod hashing;
mod link;
mod make;
mod publish;
mod save;
mod search;
mod select;
mod session;
mod share;
mod signal;
mod source;
mod stream;
mod ui;
mod walk;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = match args::Cli::try_parse() {
        Ok(cli) => cli,
        Err(refused) => return exit::refused(&refused),
    };
    let mut ui = ui::Ui::new(&cli.global);
    // The hub's log is one of its settings.
    if !matches!(cli.command, args::Command::Hub(_)) {
        ui.start_log(ui::LogStyle::OnDemand);
    }
    exit::report(cmd::run(cli.command, &mut ui), &mut ui)
}
