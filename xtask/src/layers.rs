//! The direction of dependencies (ARCHITECTURE.md), checked: nothing points upwards, `proto` does no I/O, and every
//! direct dependency has its line in docs/dependencies.md.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::shell::{cargo, output, root};

/// Which of our crates each of our crates may use.
const ALLOWED: [(&str, &[&str]); 6] = [
    ("samara", &["samara-engine", "samara-hub", "samara-proto"]),
    ("samara-engine", &["samara-proto"]),
    ("samara-hub", &["samara-engine", "samara-proto"]),
    ("samara-proto", &[]),
    ("samara-sim", &["samara-proto"]),
    ("xtask", &[]),
];

/// What no protocol decision may touch, in code or in dependencies.
const NOT_IN_PROTO: [&str; 8] = [
    "std::fs",
    "std::thread",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "Instant::now",
    "SystemTime",
    "async fn",
];
const NOT_BELOW_PROTO: [&str; 4] = ["tokio", "mio", "socket2", "rand"];

/// Checks the workspace's dependencies and the sources of `proto`.
pub(crate) fn check() -> Result<()> {
    let metadata = output(cargo(&["metadata", "--format-version", "1", "--no-deps", "--locked"]))?;
    let metadata: Value = serde_json::from_slice(&metadata)?;
    let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    let mut wrong: Vec<String> = packages.iter().flat_map(package_faults).collect();
    wrong.extend(proto_faults()?);
    wrong.extend(unexplained(packages)?);
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n"));
    }
    println!("{} crates keep to their layers, and every dependency is explained", packages.len());
    Ok(())
}

fn package_faults(package: &Value) -> Vec<String> {
    let name = package["name"].as_str().unwrap_or_default();
    let Some((_, allowed)) = ALLOWED.iter().find(|(known, _)| *known == name) else {
        return vec![format!("crate {name} has no layer yet: give it one in xtask/src/layers.rs")];
    };
    dependencies(package)
        .filter(|dep| {
            let ours = ALLOWED.iter().any(|(known, _)| known == dep);
            (ours && !allowed.contains(dep)) || (name == "samara-proto" && NOT_BELOW_PROTO.contains(dep))
        })
        .map(|dep| format!("{name} must not depend on {dep}"))
        .collect()
}

/// Names of what ships with the package or builds it; tests may use what they like.
fn dependencies(package: &Value) -> impl Iterator<Item = &str> {
    let all = package["dependencies"].as_array().into_iter().flatten();
    all.filter(|d| d["kind"] != "dev").filter_map(|d| d["name"].as_str())
}

/// Direct dependencies, those of tests too, that no row of the table begins with.
fn unexplained(packages: &[Value]) -> Result<Vec<String>> {
    let table = fs::read_to_string(root().join("docs/dependencies.md"))?;
    let first_cells = table.lines().filter_map(|line| line.strip_prefix('|')?.split('|').next());
    let explained: BTreeSet<&str> =
        first_cells.flat_map(|cell| cell.split([',', ' ', '`'])).filter(|name| !name.is_empty()).collect();
    let all = packages.iter().filter_map(|p| p["dependencies"].as_array()).flatten();
    let names: BTreeSet<&str> = all.filter_map(|d| d["name"].as_str()).collect();
    let missing = names.into_iter().filter(|n| !n.starts_with("samara-") && !explained.contains(n));
    Ok(missing.map(|n| format!("{n} has no line in docs/dependencies.md")).collect())
}

fn proto_faults() -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for file in rust_files(&root().join("crates/proto/src"))? {
        let text = fs::read_to_string(&file)?;
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        for (number, line) in code.enumerate() {
            if let Some(what) = NOT_IN_PROTO.iter().find(|what| line.contains(**what)) {
                faults.push(format!(
                    "{}: `{what}` in protocol code (code line {})",
                    file.display(),
                    number + 1
                ));
            }
        }
    }
    Ok(faults)
}

/// Every Rust file below `dir`.
pub(crate) fn rust_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
