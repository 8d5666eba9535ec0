use proptest::prelude::*;

use super::*;

/// One byte of the torrent: which piece it is in, which file, and where in that file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Byte {
    piece: u32,
    file: u32,
    offset: u64,
    pad: bool,
}

/// Lays out one byte at a time.
fn model(piece_length: u32, files: &[(u64, bool)], aligned: bool) -> Vec<Byte> {
    let mut bytes = Vec::new();
    let (mut piece, mut used) = (0, 0);
    for (file, &(len, pad)) in files.iter().enumerate() {
        for offset in 0..len {
            if used == piece_length || (aligned && offset == 0 && used > 0) {
                (piece, used) = (piece + 1, 0);
            }
            bytes.push(Byte { piece, file: file as u32, offset, pad });
            used += 1;
        }
    }
    bytes
}

fn shapes() -> impl Strategy<Value = (u32, Vec<(u64, bool)>, bool)> {
    let len = prop_oneof![Just(0), 0..100u64];
    (1..40u32, prop::collection::vec((len, prop::bool::weighted(0.2)), 0..12), any::<bool>())
}

fn bytes_of(layout: &Layout, piece: u32, offset: u32, len: u32) -> Vec<Byte> {
    let expand = |s: Span| {
        assert!(s.len > 0);
        (0..u64::from(s.len)).map(move |i| Byte { piece, file: s.file.0, offset: s.offset + i, pad: s.pad })
    };
    layout.spans(PieceIndex(piece), offset, len).flat_map(expand).collect()
}

proptest! {
    #[test]
    fn agrees_with_the_model((length, files, aligned) in shapes(), offset in 0..45u32, len in 0..45u32) {
        let layout = Layout::new(length, files.iter().copied(), aligned).unwrap();
        let model = model(length, &files, aligned);
        prop_assert_eq!(layout.num_pieces(), model.last().map_or(0, |b| b.piece + 1));
        prop_assert_eq!(layout.total_len(), model.len() as u64);
        for piece in 0..layout.num_pieces() + 2 {
            let all: Vec<Byte> = model.iter().copied().filter(|b| b.piece == piece).collect();
            prop_assert_eq!(layout.piece_len(PieceIndex(piece)) as usize, all.len());
            let last = all.last().filter(|b| b.pad).map(|b| b.file);
            let content = all.iter().filter(|b| Some(b.file) != last).count();
            prop_assert_eq!(layout.content_len(PieceIndex(piece)) as usize, content);
            let part: Vec<Byte> = all.iter().copied().skip(offset as usize).take(len as usize).collect();
            prop_assert_eq!(bytes_of(&layout, piece, offset, len), part);
            let mut held: Vec<u32> = all.iter().map(|b| b.file).collect();
            held.dedup();
            prop_assert_eq!(layout.files_of(PieceIndex(piece)).map(|f| f.0).collect::<Vec<_>>(), held);
            let block = Block { piece: PieceIndex(piece), offset, len };
            prop_assert_eq!(layout.contains(&block), len > 0 && (offset + len) as usize <= all.len());
            let room = if aligned { length as usize } else { all.len() };
            let begins = (offset as usize) < all.len();
            prop_assert_eq!(layout.serves(&block), len > 0 && begins && (offset + len) as usize <= room);
        }
    }

    #[test]
    fn files_agree_with_the_model((length, files, aligned) in shapes()) {
        let layout = Layout::new(length, files.iter().copied(), aligned).unwrap();
        let model = model(length, &files, aligned);
        for (i, &(len, pad)) in files.iter().enumerate() {
            let (file, i) = (FileIndex(i as u32), i as u32);
            let pieces: Vec<u32> = model.iter().filter(|b| b.file == i).map(|b| b.piece).collect();
            let expected = pieces.first().map_or(0..0, |&first| first..pieces[pieces.len() - 1] + 1);
            prop_assert_eq!(layout.pieces_of(file), expected);
            prop_assert_eq!((layout.file_len(file), layout.file_is_pad(file)), (len, pad));
        }
    }

    #[test]
    fn file_pieces_agree_with_the_model((length, files, aligned) in shapes()) {
        let layout = Layout::new(length, files.iter().copied(), aligned).unwrap();
        let model = model(length, &files, aligned);
        for piece in 0..layout.num_pieces() + 1 {
            let first = model.iter().find(|b| b.piece == piece);
            let expected = first.filter(|b| !b.pad && b.offset % u64::from(length) == 0).map(|b| FilePiece {
                file: FileIndex(b.file),
                index: (b.offset / u64::from(length)) as u32,
                len: model.iter().filter(|o| o.piece == piece && o.file == b.file).count() as u32,
            });
            prop_assert_eq!(layout.file_piece(PieceIndex(piece)), expected);
        }
    }

    #[test]
    fn blocks_tile_the_piece(length in 1..200_000u32, file in 1..500_000u64) {
        let layout = Layout::new(length, [(file, false)], false).unwrap();
        for piece in (0..layout.num_pieces()).map(PieceIndex).take(50) {
            let mut at = 0;
            for (n, block) in layout.blocks(piece).enumerate() {
                prop_assert_eq!((block.offset, block.index()), (at, n as u32));
                prop_assert!(layout.contains(&block));
                prop_assert_eq!(layout.block(piece, n as u32), block);
                at += block.len;
            }
            prop_assert_eq!(at, layout.piece_len(piece));
            prop_assert_eq!(layout.blocks(piece).len() as u32, layout.blocks_in(piece));
            prop_assert_eq!(layout.block(piece, layout.blocks_in(piece)).len, 0);
        }
    }
}

#[test]
fn counts_that_do_not_fit_are_refused() {
    let err = |length, files: &[(u64, bool)], aligned| {
        Layout::new(length, files.iter().copied(), aligned).map(|l| l.num_pieces()).unwrap_err()
    };
    assert_eq!(err(0, &[], false), LayoutError::ZeroPieceLength);
    assert_eq!(err(1 << 14, &[(u64::MAX, false), (1, false)], false), LayoutError::TooLarge);
    assert_eq!(err(1 << 14, &[(u64::MAX, false), (0, false)], true), LayoutError::TooLarge);
    assert_eq!(err(1 << 14, &[(u64::MAX, false)], false), LayoutError::TooManyPieces);
    assert_eq!(err(1, &[(1 << 32, false)], false), LayoutError::TooManyPieces);
    assert_eq!(Layout::new(1, [((1 << 32) - 1, false)], false).unwrap().num_pieces(), u32::MAX);
}

#[test]
fn many_tebibytes_fit() {
    let tib = 1 << 40;
    let layout = Layout::new(1 << 24, [(100 * tib + 1, false), (28 * tib, false)], true).unwrap();
    let last = PieceIndex(layout.num_pieces() - 1);
    assert_eq!(layout.file_piece(last).unwrap().file, FileIndex(1));
    assert_eq!(layout.piece_len(PieceIndex(100 << 16)), 1);
    assert_eq!(layout.total_len(), 128 * tib + 1);
}

#[test]
fn empty_files_do_not_slow_a_piece_down() {
    // A million empty files inside one block: were they skipped one by one, this would run for minutes.
    let empty = std::iter::repeat_n((0, false), 1_000_000);
    let files = std::iter::once((1, false)).chain(empty).chain([(1 << 14, false)]);
    let layout = Layout::new(1 << 15, files, false).unwrap();
    for _ in 0..100_000 {
        assert_eq!(layout.spans(PieceIndex(0), 0, 1 << 14).count(), 2);
    }
}

#[test]
fn padding_is_recognised() {
    let layout = Layout::new(1 << 16, [(5, false), ((1 << 16) - 5, true), (7, false)], false).unwrap();
    let blocks: Vec<bool> = layout.blocks(PieceIndex(0)).map(|b| layout.is_pad(&b)).collect();
    assert_eq!(blocks, [false, true, true, true]);
    assert_eq!(layout.file_piece(PieceIndex(0)), Some(FilePiece { file: FileIndex(0), index: 0, len: 5 }));
    assert!(!layout.is_pad(&Block { piece: PieceIndex(0), offset: 1 << 16, len: 1 }));
}

#[test]
fn an_info_dictionary_is_laid_out() {
    let pieces = "h".repeat(40);
    let files = "d6:lengthi20000e4:pathl1:aeed6:lengthi5e4:pathl1:beed4:attr1:p6:lengthi7e4:pathl1:pee";
    let raw = format!("d5:filesl{files}e4:name1:t12:piece lengthi16384e6:pieces40:{pieces}e");
    let info = Info::parse(raw.as_bytes().into()).unwrap();
    let layout = Layout::of(&info).unwrap();
    assert_eq!((layout.num_pieces(), layout.num_files()), (info.num_pieces(), 3));
    assert_eq!((layout.total_len(), info.total_size()), (20_012, 20_005));
    assert_eq!(layout.piece_len(PieceIndex(1)), 20_012 - 16_384, "a v1 torrent's pieces run across files");
    assert!(layout.file_is_pad(FileIndex(2)));
}

#[test]
fn a_block_ends_where_only_padding_follows() {
    let pad = 4 * BLOCK_LEN - 20_000;
    let layout =
        Layout::new(4 * BLOCK_LEN, [(20_000, false), (pad.into(), true), (5, false)], false).unwrap();
    let lens: Vec<u32> = layout.blocks(PieceIndex(0)).map(|b| b.len).collect();
    assert_eq!(lens, [BLOCK_LEN, 20_000 - BLOCK_LEN, BLOCK_LEN, BLOCK_LEN]);
    assert!(
        !layout.is_pad(&layout.block(PieceIndex(0), 1)) && layout.is_pad(&layout.block(PieceIndex(0), 2))
    );
    assert_eq!(layout.block(PieceIndex(1), 0).len, 5);
}
