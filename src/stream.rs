//! `get --stdout`: one file to stdout, in order, each piece as soon as it is verified.

use std::io::Write;
use std::sync::Arc;

use anyhow::{Context, Result};
use samara_engine::Torrent;
use samara_proto::ids::{FileIndex, PieceIndex};
use samara_proto::layout::Layout;
use samara_proto::metainfo::Info;

/// Writes `file` to stdout, waiting for its pieces.
///
/// # Errors
/// If stdout is closed, or the torrent ends first.
pub(crate) async fn copy(torrent: Torrent, info: Arc<Info>, file: FileIndex) -> Result<()> {
    let layout = Layout::of(&info)?;
    for piece in layout.pieces_of(file).map(PieceIndex) {
        let bytes =
            torrent.read_piece(piece).await.with_context(|| format!("piece {piece} cannot be read"))?;
        let range = within(&layout, piece, file);
        // Whoever reads our stdout may let us wait, which a runtime thread must not.
        tokio::task::spawn_blocking(move || {
            let mut out = std::io::stdout().lock();
            out.write_all(bytes.get(range).unwrap_or_default())?;
            out.flush()
        })
        .await??;
    }
    Ok(())
}

/// Where in a piece the bytes of `file` are.
fn within(layout: &Layout, piece: PieceIndex, file: FileIndex) -> std::ops::Range<usize> {
    let mut start = 0;
    for span in layout.spans(piece, 0, layout.piece_length()) {
        let end = start + span.len as usize;
        if span.file == file {
            return start..end;
        }
        start = end;
    }
    0..0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_cut_out_of_its_pieces() {
        // Pieces of 16: the second file lies in bytes 10..40.
        let layout = Layout::new(16, [(10, false), (30, false), (5, false)], false).unwrap();
        let cut = |piece| within(&layout, PieceIndex(piece), FileIndex(1));
        assert_eq!(layout.pieces_of(FileIndex(1)), 0..3);
        assert_eq!([cut(0), cut(1), cut(2)], [10..16, 0..16, 0..8]);
    }
}
