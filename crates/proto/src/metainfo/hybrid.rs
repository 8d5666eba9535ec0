//! Hybrids: whether both halves describe the same files in the same pieces (BEP 52, "Upgrade path").
//!
//! If they did not, a v1 and a v2 peer would hold different data under one torrent. So any difference refuses it.

use super::{FileEntry, HybridMismatch};

/// Brings the roots of `v2` into the files of `v1`, if they agree; these are the files of the hybrid.
pub(super) fn merge(
    mut v1: Vec<FileEntry>,
    v2: &[FileEntry],
    piece_length: u32,
) -> Result<Vec<FileEntry>, HybridMismatch> {
    let count = v1.iter().filter(|file| !file.attr.pad).count();
    if count != v2.len() {
        return Err(HybridMismatch::FileCount { v1: count, v2: v2.len() });
    }
    let piece_length = u64::from(piece_length);
    let (mut at, mut pieces) = (0u64, 0u64);
    let mut tree = v2.iter();
    for file in &mut v1 {
        let twin = if file.attr.pad { None } else { tree.next() };
        if let Some(twin) = twin {
            check_twins(file, twin)?;
            if file.length > 0 && at != pieces * piece_length {
                return Err(HybridMismatch::Alignment(file.path.to_string()));
            }
            pieces += file.length.div_ceil(piece_length);
            file.pieces_root = twin.pieces_root;
        }
        at += file.length;
    }
    match at.div_ceil(piece_length) {
        got if got != pieces => Err(HybridMismatch::PieceCount { v1: got, v2: pieces }),
        _ => Ok(v1),
    }
}

fn check_twins(v1: &FileEntry, v2: &FileEntry) -> Result<(), HybridMismatch> {
    if v1.path != v2.path {
        return Err(HybridMismatch::Path { v1: v1.path.to_string(), v2: v2.path.to_string() });
    }
    if v1.length != v2.length {
        return Err(HybridMismatch::Length { path: v1.path.to_string(), v1: v1.length, v2: v2.length });
    }
    if v1.attr != v2.attr || v1.symlink != v2.symlink {
        return Err(HybridMismatch::Attributes(v1.path.to_string()));
    }
    Ok(())
}
