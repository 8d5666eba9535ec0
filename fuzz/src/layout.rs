//! Places found by prefix sums agree with a map of every single byte; huge sizes neither panic nor overflow.

use samara_proto::ids::{Block, FileIndex, PieceIndex};
use samara_proto::layout::Layout;

use super::input::Input;

/// Runs one input.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    if input.flag() { small(&mut input) } else { huge(&mut input) }
}

/// A byte of the piece space: its file, its place there.
type Place = (u32, u64, bool);

fn small(input: &mut Input<'_>) {
    let piece_length = u32::from(input.byte() % 40) + 1;
    let aligned = input.flag();
    let files: Vec<(u64, bool)> = (0..input.byte() % 24)
        .map(|_| (u64::from(input.byte() % 90), !aligned && input.byte().is_multiple_of(5)))
        .collect();
    let layout =
        Layout::new(piece_length, files.iter().copied(), aligned).expect("small torrents can be laid out");
    let pieces = model(piece_length, &files, aligned);
    assert_eq!(layout.num_pieces() as usize, pieces.len());
    assert_eq!(layout.total_len(), files.iter().map(|f| f.0).sum::<u64>());
    for (n, piece) in pieces.iter().enumerate() {
        let index = PieceIndex(n as u32);
        assert_eq!(layout.piece_len(index) as usize, piece.len());
        assert_eq!(bytes(&layout, index, 0, u32::MAX), *piece);
        let (offset, len) = (u32::from(input.byte() % 50), u32::from(input.byte() % 50));
        let part = piece.iter().skip(offset as usize).take(len as usize);
        assert_eq!(bytes(&layout, index, offset, len), part.copied().collect::<Vec<_>>());
        let block = Block { piece: index, offset, len };
        assert_eq!(layout.contains(&block), len > 0 && (offset + len) as usize <= piece.len());
        let mut of: Vec<u32> = piece.iter().map(|p| p.0).collect();
        of.dedup();
        assert_eq!(layout.files_of(index).map(|f| f.0).collect::<Vec<_>>(), of);
    }
    files_agree(&layout, &files, &pieces);
}

fn files_agree(layout: &Layout, files: &[(u64, bool)], pieces: &[Vec<Place>]) {
    for (n, &(len, pad)) in files.iter().enumerate() {
        let file = FileIndex(n as u32);
        assert_eq!((layout.file_len(file), layout.file_is_pad(file)), (len, pad));
        let holders = (0..pieces.len() as u32).filter(|&p| pieces[p as usize].iter().any(|b| b.0 == file.0));
        assert_eq!(layout.pieces_of(file).collect::<Vec<_>>(), holders.collect::<Vec<_>>());
    }
}

/// Every byte of every piece, written down one by one.
fn model(piece_length: u32, files: &[(u64, bool)], aligned: bool) -> Vec<Vec<Place>> {
    let mut pieces: Vec<Vec<Place>> = Vec::new();
    for (n, &(len, pad)) in files.iter().enumerate() {
        for offset in 0..len {
            let full = pieces.last().is_none_or(|p| p.len() == piece_length as usize);
            if full || (aligned && offset == 0) {
                pieces.push(Vec::new());
            }
            pieces.last_mut().expect("one was just added").push((n as u32, offset, pad));
        }
    }
    pieces
}

fn bytes(layout: &Layout, piece: PieceIndex, offset: u32, len: u32) -> Vec<Place> {
    let spans = layout.spans(piece, offset, len);
    spans.flat_map(|s| (0..u64::from(s.len)).map(move |n| (s.file.0, s.offset + n, s.pad))).collect()
}

fn huge(input: &mut Input<'_>) {
    let piece_length = input.word();
    let aligned = input.flag();
    let files: Vec<(u64, bool)> = (0..input.byte() % 16).map(|_| (input.long(), input.flag())).collect();
    let Ok(layout) = Layout::new(piece_length, files.iter().copied(), aligned) else { return };
    for _ in 0..4 {
        let piece = PieceIndex(input.word().checked_rem(layout.num_pieces()).unwrap_or(0));
        let (offset, len) = (input.word(), input.word());
        let block = Block { piece, offset, len };
        let covered: u64 = layout.spans(piece, offset, len).take(64).map(|s| u64::from(s.len)).sum();
        assert!(covered <= u64::from(layout.piece_len(piece)));
        assert!(!layout.contains(&block) || covered == u64::from(len));
        let _ = layout.is_pad(&block);
        if let Some(place) = layout.file_piece(piece) {
            assert!(layout.pieces_of(place.file).contains(&piece.0));
        }
    }
}
