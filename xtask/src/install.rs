//! What the interop suite needs, installed by name where it is missing.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::shell::{in_path, must, program, root, succeeds};

/// Programs under test and the Debian packages that bring them.
const PROGRAMS: [(&str, &str); 10] = [
    ("transmission-daemon", "transmission-daemon"),
    ("transmission-show", "transmission-cli"),
    ("aria2c", "aria2"),
    ("qbittorrent-nox", "qbittorrent-nox"),
    ("chromium", "chromium"),
    ("opentracker", "opentracker"),
    ("node", "nodejs"),
    ("npm", "npm"),
    ("redis-server", "redis-server"),
    ("redis-cli", "redis-tools"),
];

/// The libtorrent binding that the suite was written against.
const LIBTORRENT: &str = "2.1.1";

/// WebTorrent, and with it the client and tracker of npm, that the suite was written against.
const WEBTORRENT: &str = "3.0.21";

/// Installs the clients that are missing.
pub(crate) fn clients() -> Result<()> {
    packages(&PROGRAMS).context("the clients under test come from Debian's packages")
}

/// Installs what makes network namespaces.
pub(crate) fn ip() -> Result<()> {
    packages(&[("ip", "iproute2"), ("sysctl", "procps")])
}

/// Installs the packages whose programs are missing.
fn packages(programs: &[(&str, &'static str)]) -> Result<()> {
    let missing: Vec<&str> =
        programs.iter().filter(|(exe, _)| !in_path(exe)).map(|&(_, package)| package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    println!("installing {}", missing.join(", "));
    must(apt(&["update", "-q"]))?;
    let mut args = vec!["install", "-q", "-y", "--no-install-recommends"];
    args.extend(missing);
    must(apt(&args))
}

/// Where Python finds libtorrent: `None` if it does by itself.
pub(crate) fn libtorrent() -> Result<Option<PathBuf>> {
    if succeeds(python(&import_check())) {
        return Ok(None);
    }
    let dir = root().join("target/interop-python");
    let mut check = python(&import_check());
    check.env("PYTHONPATH", &dir);
    if !succeeds(check) {
        let wanted = format!("libtorrent=={LIBTORRENT}");
        println!("installing {wanted}");
        let target = dir.to_string_lossy();
        must(program(
            "python3",
            &["-m", "pip", "install", "--quiet", "--upgrade", "--target", &target, &wanted],
        ))?;
    }
    Ok(Some(dir))
}

/// A folder in which Node finds WebTorrent. No code of its packages runs: they would compile WebRTC, which browsers have.
pub(crate) fn webtorrent() -> Result<PathBuf> {
    let dir = root().join("target/interop-node");
    let manifest = dir.join("node_modules/webtorrent/package.json");
    let version = format!("\"version\": \"{WEBTORRENT}\"");
    if !fs::read_to_string(&manifest).is_ok_and(|text| text.contains(&version)) {
        let wanted = format!("webtorrent@{WEBTORRENT}");
        println!("installing {wanted}");
        fs::create_dir_all(&dir)?;
        let prefix = dir.to_string_lossy();
        let quiet = ["--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund", "--loglevel=error"];
        must(program("npm", &[&["install", "--prefix", &prefix, &wanted], &quiet[..]].concat()))?;
    }
    Ok(dir)
}

fn import_check() -> String {
    format!("import libtorrent; assert libtorrent.__version__.startswith('{LIBTORRENT}')")
}

fn python(code: &str) -> Command {
    program("python3", &["-c", code])
}

fn apt(args: &[&str]) -> Command {
    let mut command = program("apt-get", args);
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}
