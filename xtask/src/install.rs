//! What the interop suite needs, installed by name where it is missing.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::shell::{in_path, must, program, root, succeeds};

/// Programs under test and the Debian packages that bring them.
const PROGRAMS: [(&str, &str); 4] = [
    ("transmission-daemon", "transmission-daemon"),
    ("transmission-show", "transmission-cli"),
    ("aria2c", "aria2"),
    ("qbittorrent-nox", "qbittorrent-nox"),
];

/// The libtorrent binding that the suite was written against.
const LIBTORRENT: &str = "2.1.1";

/// Installs the clients that are missing.
pub(crate) fn clients() -> Result<()> {
    let missing: Vec<&str> =
        PROGRAMS.iter().filter(|(exe, _)| !in_path(exe)).map(|&(_, package)| package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    println!("installing {}", missing.join(", "));
    must(apt(&["update", "-q"])).context("the clients under test come from Debian's packages")?;
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
