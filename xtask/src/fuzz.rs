//! `cargo xtask fuzz`: runs the fuzz targets with cargo-fuzz, on the stable compiler.
//!
//! Without a sanitizer: the code has no `unsafe` where it reads bytes, so a panic or a failed property is what there
//! is to find. That is also why the corpora can replay in plain `cargo test`.

use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::layers::rust_files;
use crate::shell::{cargo, must, root, succeeds};

const DEFAULT_MINUTES: u64 = 10;
/// Longest input tried, in bytes: well over every limit that a target could meet.
const MAX_LEN: u32 = 64 * 1024;

/// Fuzzes the targets named in `args`, or all.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let (minutes, named) = parse(args)?;
    let known = targets()?;
    if let Some(name) = named.iter().find(|name| !known.contains(name)) {
        bail!("there is no fuzz target {name}; there are {}", known.join(", "));
    }
    if !succeeds(cargo(&["fuzz", "--version"])) {
        must(cargo(&["install", "--locked", "cargo-fuzz"]))?;
    }
    let wanted = if named.is_empty() { known } else { named };
    wanted.iter().try_for_each(|target| one(target, minutes))
}

fn parse(args: &[String]) -> Result<(u64, Vec<String>)> {
    let (mut minutes, mut named) = (DEFAULT_MINUTES, Vec::new());
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--minutes" => {
                let value = args.next().context("--minutes needs a number")?;
                minutes = value.parse().with_context(|| format!("--minutes {value}"))?;
            }
            switch if switch.starts_with('-') => bail!("not understood: {switch}"),
            target => named.push(target.to_owned()),
        }
    }
    Ok((minutes, named))
}

/// New inputs go to a scratch corpus; the committed one is only read, so that it stays small.
fn one(target: &str, minutes: u64) -> Result<()> {
    println!("\n=== fuzz {target} for {minutes} min");
    let scratch = root().join("fuzz/target/corpus").join(target);
    std::fs::create_dir_all(&scratch)?;
    let mut command = cargo(&["fuzz", "run", "--sanitizer", "none", target]);
    command.arg(&scratch).arg(Path::new("fuzz/corpus").join(target)).arg("--");
    command.arg(format!("-max_total_time={}", minutes * 60)).arg(format!("-max_len={MAX_LEN}"));
    command.args(["-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1"]);
    must({
        command.env("RUSTC_BOOTSTRAP", "1");
        command
    })
}

/// The names of all targets.
fn targets() -> Result<Vec<String>> {
    let files = rust_files(&root().join("fuzz/fuzz_targets"))?;
    Ok(files.iter().filter_map(|f| Some(f.file_stem()?.to_str()?.to_owned())).collect())
}

/// Every Rust file of the fuzz package, which is not part of the workspace.
pub(crate) fn sources() -> Result<Vec<String>> {
    let files = rust_files(&root().join("fuzz/src"))?
        .into_iter()
        .chain(rust_files(&root().join("fuzz/fuzz_targets"))?);
    Ok(files.map(|f| f.to_string_lossy().into_owned()).collect())
}
