//! Files that appear whole or not at all.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};

/// A device or a pipe, such as /dev/stdout: written to, and never replaced.
pub(crate) fn is_special(file: &Path) -> bool {
    file.metadata().is_ok_and(|m| !m.is_file() && !m.is_dir())
}

/// Writes a temporary file beside `file` and gives it the name at the end, so that there is never half a torrent. Without
/// `force` nothing is overwritten.
///
/// # Errors
/// If it cannot be written, or is there already.
pub(crate) fn publish(file: &Path, content: &[u8], force: bool) -> Result<()> {
    let cannot = || format!("cannot write {}", file.display());
    if is_special(file) {
        return fs::write(file, content).with_context(cannot);
    }
    let mut name = file.file_name().context("the output has no file name")?.to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = file.with_file_name(name);
    let written = write_new(&temporary, content).and_then(|()| name_it(&temporary, file, force));
    if written.is_err() {
        // It may never have come into being.
        let _ = fs::remove_file(&temporary);
    }
    written.with_context(cannot)
}

fn write_new(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut file = fs::File::create_new(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// A rename overwrites; a hard link does not, whoever was faster meanwhile.
fn name_it(temporary: &Path, file: &Path, force: bool) -> std::io::Result<()> {
    if !force && fs::hard_link(temporary, file).is_ok() {
        return fs::remove_file(temporary);
    }
    if !force && file.symlink_metadata().is_ok() {
        return Err(std::io::ErrorKind::AlreadyExists.into());
    }
    fs::rename(temporary, file)
}
