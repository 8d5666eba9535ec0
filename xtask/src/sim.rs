//! `cargo xtask sim`: runs the worlds of the simulator in their long form and prints their tables; `cargo xtask sim dht`
//! does so with networks of DHT nodes.

use anyhow::Result;

use crate::shell::{cargo, must};

/// Runs the worlds named in `args`, or all; the program that does so understands the rest too.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let (example, args) = match args.split_first() {
        Some((name, rest)) if name == "dht" => ("dht", rest),
        _ => ("worlds", args),
    };
    let mut command = cargo(&["run", "--release", "--quiet", "-p", "samara-sim", "--example", example, "--"]);
    command.args(args);
    must(command)
}
