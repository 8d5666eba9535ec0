//! Developer tasks: `cargo xtask test` runs everything that CI runs, `cargo xtask fuzz` looks for new trouble,
//! `cargo xtask sim` judges the swarm's policies.
//!
//! A step that cannot run fails and says why; nothing is skipped in silence. Tools that are missing are installed by
//! name, by the package manager that the machine is set up with.

mod fuzz;
mod install;
mod layers;
mod shell;
mod sim;
mod test;

use std::process::ExitCode;

use anyhow::{Result, bail};

const USAGE: &str = "\
cargo xtask test [--only STEP]..        run every check, or only the named steps
cargo xtask fuzz [--minutes N] [TARGET]..   fuzz every target, or only the named ones, N minutes each (10)
cargo xtask sim [WORLD..] [--nodes N] [--pieces N] [--seeds N]   simulated swarms, all or the named: tables in Markdown
cargo xtask sim dht [calm|rough|attacked].. [--nodes N] [--minutes N] [--seed N]   simulated networks of DHT nodes

steps: fmt, clippy, layers, test, root, doc, interop";

fn main() -> ExitCode {
    match run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("xtask: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Result<()> {
    match args.split_first() {
        Some((task, rest)) if task == "test" => test::run(&values_of("--only", rest)?),
        Some((task, rest)) if task == "fuzz" => fuzz::run(rest),
        Some((task, rest)) if task == "sim" => sim::run(rest),
        _ => bail!("which task?\n\n{USAGE}"),
    }
}

/// The values of a switch that may be repeated, when nothing else is allowed.
fn values_of(switch: &str, args: &[String]) -> Result<Vec<String>> {
    args.chunks(2)
        .map(|pair| match pair {
            [name, value] if name == switch => Ok(value.clone()),
            _ => bail!("not understood: {}\n\n{USAGE}", pair.join(" ")),
        })
        .collect()
}
