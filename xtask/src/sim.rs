//! `cargo xtask sim`: runs the worlds of the simulator in their long form and prints their tables.

use anyhow::Result;

use crate::shell::{cargo, must};

/// Runs the worlds named in `args`, or all; the program that does so understands the rest too.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let mut command =
        cargo(&["run", "--release", "--quiet", "-p", "samara-sim", "--example", "worlds", "--"]);
    command.args(args);
    must(command)
}
