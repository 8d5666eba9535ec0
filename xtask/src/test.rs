//! `cargo xtask test`: every check, each under a heading, with a summary at the end.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::shell::{cargo, must, program, root};
use crate::{fuzz, install, layers};

struct Step {
    name: &'static str,
    what: &'static str,
    run: fn() -> Result<()>,
}

const STEPS: [Step; 7] = [
    Step { name: "fmt", what: "the code is formatted", run: fmt },
    Step { name: "clippy", what: "no lint warns", run: clippy },
    Step { name: "layers", what: "no crate depends on what lies above it", run: layers::check },
    Step { name: "test", what: "unit tests, simulations, fuzz corpora, examples", run: tests },
    Step {
        name: "root",
        what: "what only root can set up: a file system that is full, networks of hosts",
        run: as_root,
    },
    Step { name: "doc", what: "the documentation builds without a warning", run: doc },
    Step {
        name: "interop",
        what: "transfers with the clients that people use, swarms in Redis",
        run: interop,
    },
];

/// Runs all steps, or only the named ones, and goes on after a failure.
pub(crate) fn run(only: &[String]) -> Result<()> {
    if let Some(name) = only.iter().find(|name| STEPS.iter().all(|s| s.name != name.as_str())) {
        bail!("there is no step {name}");
    }
    let wanted = STEPS.iter().filter(|s| only.is_empty() || only.iter().any(|name| name == s.name));
    let results: Vec<_> = wanted.map(|step| (step.name, timed(step))).collect();
    println!("\n=== summary");
    for (name, (time, error)) in &results {
        let verdict = error.as_ref().map_or_else(|| "ok".into(), |e| format!("FAILED: {e:#}"));
        println!("{name:8} {:6.1} s  {verdict}", time.as_secs_f64());
    }
    let failed = results.iter().filter(|(_, (_, error))| error.is_some()).count();
    if failed > 0 {
        bail!("{failed} of {} steps failed", results.len());
    }
    Ok(())
}

fn timed(step: &Step) -> (Duration, Option<anyhow::Error>) {
    println!("\n=== {}: {}", step.name, step.what);
    let start = Instant::now();
    let result = (step.run)();
    if let Err(e) = &result {
        println!("FAILED: {e:#}");
    }
    (start.elapsed(), result.err())
}

fn fmt() -> Result<()> {
    must(cargo(&["fmt", "--all", "--check"]))?;
    let sources = fuzz::sources()?;
    let files: Vec<&str> = sources.iter().map(String::as_str).collect();
    must(program("rustfmt", &[&["--check", "--edition", "2024"], files.as_slice()].concat()))
}

fn clippy() -> Result<()> {
    must(cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]))
}

fn tests() -> Result<()> {
    must(cargo(&["test", "--workspace", "--locked"]))
}

/// The tests that plain `cargo test` leaves out, since they mount a file system or make network namespaces.
fn as_root() -> Result<()> {
    install::ip()?;
    must(cargo(&[
        "test",
        "--package",
        "samara-engine",
        "--test",
        "full_disk",
        "--locked",
        "--",
        "--ignored",
    ]))?;
    must(cargo(&["test", "--package", "samara", "--test", "lan", "--locked", "--", "--ignored"]))
}

fn doc() -> Result<()> {
    let mut command = cargo(&["doc", "--workspace", "--no-deps", "--document-private-items", "--locked"]);
    command.env("RUSTDOCFLAGS", "-D warnings");
    must(command)
}

fn interop() -> Result<()> {
    install::clients()?;
    // Redis, which hubs share; plain `cargo test` leaves these tests out.
    must(cargo(&[
        "test",
        "--package",
        "samara-hub",
        "--lib",
        "--locked",
        "remote::tests::",
        "--",
        "--ignored",
    ]))?;
    must(cargo(&["test", "--package", "samara", "--test", "hub_redis", "--locked", "--", "--ignored"]))?;
    let libtorrent = install::libtorrent()?;
    must(cargo(&["build", "--locked", "--bin", "samara"]))?;
    let mut suite = program("python3", &["tests/interop/run.py", "--samara"]);
    suite.arg(target_dir().join("debug/samara")).env("INTEROP_NODE", install::webtorrent()?);
    if let Some(dir) = libtorrent {
        suite.env("PYTHONPATH", dir);
    }
    must(suite)
}

fn target_dir() -> std::path::PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir))
}
