//! Symlinks (BEP 47): the target is given from the torrent's root, the text of a link from where the link is.
//!
//! Only links to files and folders of the same torrent are made. Since no folder of a torrent is itself a link (a file
//! takes its name for itself), such a text leads where it says, and never out of the root.

use std::collections::HashMap;

use super::names::{Named, Names};
use crate::metainfo::{FileEntry, FilePath};

/// The text of each link; `None` for what is no link, or a link that must not be made.
pub(super) fn resolve(names: &Names, files: &[FileEntry], paths: &[Option<Named>]) -> Vec<Option<Box<str>>> {
    let mut targets: HashMap<&FilePath, Option<&str>> =
        files.iter().filter_map(|file| Some((file.symlink.as_ref()?, None))).collect();
    for (file, named) in files.iter().zip(paths) {
        if let (Some(slot @ None), Some(named)) = (targets.get_mut(&file.path), named) {
            *slot = Some(&named.path);
        }
    }
    let text = |file: &FileEntry, named: &Option<Named>| {
        let target = file.symlink.as_ref()?;
        let link = &named.as_ref()?.path;
        match targets.get(target).copied().flatten() {
            Some(path) => Some(relative(link, path)),
            None => names.folder(target).map(|path| relative(link, &path)),
        }
    };
    files.iter().zip(paths).map(|(file, named)| text(file, named)).collect()
}

/// How to get from the folder of `link` to `target`; both are relative to the same folder.
fn relative(link: &str, target: &str) -> Box<str> {
    let from: Vec<_> = link.split('/').collect();
    let to: Vec<_> = target.split('/').collect();
    let folders = &from[..from.len() - 1];
    let common = folders.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let up = std::iter::repeat_n("..", folders.len() - common);
    let text: Vec<_> = up.chain(to[common..].iter().copied()).collect();
    if text.is_empty() { ".".into() } else { text.join("/").into() }
}
