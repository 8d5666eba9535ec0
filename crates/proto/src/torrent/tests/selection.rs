//! What is wanted changes, and what was had is lost.

use super::*;

/// A leech that wants everything, and one block a piece, all of it brought by a seed but for the pieces from `upto` on.
fn with_pieces(pieces: u32, upto: u32) -> Driver {
    let mut driver = Driver::unready(pieces, 1);
    let mut have = Bitfield::new(pieces);
    have.extend((0..upto).map(PieceIndex));
    driver.give(Input::Ready { have });
    driver
}

fn flags(out: &[Out], to: u64) -> Vec<bool> {
    let told = commands(out, to).into_iter().filter_map(|c| match c {
        Command::UploadOnly(flag) => Some(*flag),
        _ => None,
    });
    told.collect()
}

#[test]
fn a_selection_that_is_done_only_uploads_until_more_is_wanted() {
    let mut driver = with_pieces(4, 2);
    driver.join_as(1, 1, false);
    driver.event(1, Event::Bitfield(vec![0b0011_0000]));
    let skip = |piece| Input::Prioritise { piece: PieceIndex(piece), priority: Some(Priority::Skip) };
    assert!(!is_complete(&driver.give(skip(2))));
    let out = driver.give(skip(3));
    assert!(is_complete(&out) && disconnected(&out).is_empty(), "the other one may want of ours");
    assert_eq!(flags(&out, 1), [true]);
    assert!(commands(&out, 1).iter().any(|c| matches!(c, Command::Interested(false))));
    let stats = driver.torrent.stats();
    assert_eq!((stats.done, stats.wanted), (2 * 16384, 2 * 16384));
    // A peer that comes now hears it with the handshake, and is served.
    let out = driver.join_as(2, 2, false);
    assert_eq!(flags(&out, 2), [true]);
    assert!(matches!(commands(&driver.event(2, Event::Interested), 2)[..], [Command::Choke(false)]));
    let out = driver.give(Input::Prioritise { piece: PieceIndex(3), priority: None });
    assert_eq!((flags(&out, 1), flags(&out, 2)), (vec![false], vec![false]));
    assert!(commands(&out, 1).iter().any(|c| matches!(c, Command::Interested(true))));
    let asked = requests(&driver.event(1, Event::Unchoke), 1);
    assert_eq!(asked.iter().map(|b| b.piece.0).collect::<Vec<_>>(), [3]);
    driver.bring(1, asked[0]);
    let out = driver.verdict(3, true, &[]);
    assert!(is_complete(&out));
    assert_eq!(flags(&out, 2), [true]);
}

#[test]
fn a_piece_that_was_lost_is_taken_back_and_fetched_again() {
    let mut driver = with_pieces(3, 3);
    driver.join_as(1, 1, false);
    driver.event(1, Event::Bitfield(vec![0b0100_0000]));
    let out = driver.give(Input::Lost { piece: PieceIndex(1) });
    let told = commands(&out, 1);
    assert!(told.iter().any(|c| matches!(c, Command::DontHave(PieceIndex(1)))), "{told:?}");
    assert_eq!(flags(&out, 1), [false]);
    assert_eq!(driver.torrent.stats().done, 2 * 16384);
    assert!(!driver.torrent.is_complete());
    let block = requests(&driver.event(1, Event::Unchoke), 1)[0];
    driver.bring(1, block);
    assert!(is_complete(&driver.verdict(1, true, &[])));
    // Lost again while it is not wanted: nothing is missing then.
    driver.give(Input::Prioritise { piece: PieceIndex(1), priority: Some(Priority::Skip) });
    let out = driver.give(Input::Lost { piece: PieceIndex(1) });
    assert!(driver.torrent.is_complete() && requests(&out, 1).is_empty());
}

#[test]
fn files_are_fetched_by_priority() {
    let mut driver = Driver::unready(8, 1);
    driver.torrent.config.sequential = true;
    driver.give(Input::Prioritise { piece: PieceIndex(6), priority: Some(Priority::High) });
    driver.give(Input::Select(vec![Priority::Low]));
    driver.give(Input::Ready { have: Bitfield::new(8) });
    let asked: Vec<_> = driver.seed(1).iter().map(|b| b.piece.0).collect();
    assert_eq!(asked, [6, 0, 1, 2, 3, 4, 5, 7]);
}

proptest! {
    /// The books are what counting anew would give.
    #[test]
    fn changes_of_single_pieces_add_up(
        changes in prop::collection::vec((0u32..8, 0u8..6), 0..40),
    ) {
        let mut driver = with_pieces(8, 4);
        driver.join_as(1, 1, false);
        driver.event(1, Event::Bitfield(vec![0b1010_1010]));
        for (piece, what) in changes {
            let piece = PieceIndex(piece);
            let priority = [None, Some(Priority::Skip), Some(Priority::Low), Some(Priority::High)];
            match what {
                0..4 => driver.give(Input::Prioritise { piece, priority: priority[what as usize] }),
                4 => driver.give(Input::Lost { piece }),
                _ => driver.give(Input::Select(vec![Priority::from(piece.0.is_multiple_of(2))])),
            };
            let torrent = &mut driver.torrent;
            let (stats, useful) = (torrent.stats(), torrent.peers[&PeerKey(1)].useful);
            let complete = torrent.is_complete();
            torrent.recount_bytes();
            torrent.update_all_interest();
            prop_assert_eq!(torrent.stats(), stats);
            prop_assert_eq!(torrent.peers[&PeerKey(1)].useful, useful);
            prop_assert_eq!(complete, stats.done == stats.wanted);
        }
    }
}
