//! One module a command. Each takes its arguments and the [`Ui`], and returns how it ended.

mod announce;
mod check;
mod completions;
mod create;
mod dht;
mod get;
mod hub;
mod man;
mod seed;
mod send;
mod show;

use anyhow::Context;

use crate::args::Command;
use crate::exit::Outcome;
use crate::ui::Ui;

/// Runs the command that the user named.
pub(crate) fn run(command: Command, ui: &mut Ui) -> Outcome {
    match command {
        Command::Create(args) => on_runtime(create::run(args, ui)),
        Command::Show(args) => show::run(&args, ui),
        Command::Check(args) => on_runtime(check::run(args, ui)),
        Command::Seed(args) => on_runtime(seed::run(args, ui)),
        Command::Get(args) => on_runtime(get::run(args, ui)),
        Command::Send(args) => on_runtime(send::run(args, ui)),
        Command::Announce(args) => on_runtime(announce::run(args, ui)),
        Command::Dht(args) => on_runtime(dht::run(*args, ui)),
        Command::Hub(args) => on_runtime(hub::run(*args, ui)),
        Command::Completions(args) => completions::run(&args, ui),
        Command::Man(args) => man::run(&args, ui),
    }
}

/// Runs a command that waits for things.
fn on_runtime(command: impl Future<Output = Outcome>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the system gives no threads or timers")?;
    let outcome = runtime.block_on(command);
    // A write to a stdout that nobody reads may still be stuck in its thread.
    runtime.shutdown_background();
    outcome
}
