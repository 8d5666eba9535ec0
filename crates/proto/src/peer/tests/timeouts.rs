use super::*;

/// Jumps from deadline to deadline until `until`; what happened, and what was said.
fn wait(side: &mut Side, until: Time) -> (Vec<Ev>, Vec<u8>) {
    let mut sent = Vec::new();
    while let Some(due) = side.conn.deadline().filter(|&due| due <= until) {
        side.conn.handle_tick(due);
        side.drain(due);
        sent.extend(side.take_sent(due));
        assert!(side.conn.deadline().is_none_or(|next| next > due), "nothing stays due");
    }
    (side.take_events(), sent)
}

const TIMEOUT: fn(TimeoutKind) -> Ev = |kind| Event::Closed(Departure::Timeout(kind));

#[test]
fn the_handshake_has_fifteen_seconds() {
    let mut side = Side::new(Conn::outgoing(config(1), HYBRID, Time::ZERO));
    side.take_sent(Time::ZERO);
    side.inbox.extend(&FAST.handshake()[..67]);
    side.read_all(secs(14));
    assert_eq!(wait(&mut side, Time::from_micros(14_999_999)).0, []);
    assert_eq!(wait(&mut side, secs(15)).0, [TIMEOUT(TimeoutKind::Handshake)]);
    assert_eq!(side.conn.deadline(), None);
}

#[test]
fn silence_is_broken_by_us_and_not_borne_for_ever() {
    let mut side = FAST.open(config(1));
    assert_eq!(wait(&mut side, secs(99)), (vec![], vec![]));
    assert_eq!(wait(&mut side, secs(100)), (vec![], vec![0; 4]));
    assert_eq!(wait(&mut side, secs(179)), (vec![], vec![]));
    // A keep-alive of the remote is enough.
    assert_eq!(side.hears(secs(179), &[Message::KeepAlive]), []);
    assert_eq!(wait(&mut side, secs(358)), (vec![], vec![0; 8]));
    assert_eq!(wait(&mut side, secs(359)).0, [TIMEOUT(TimeoutKind::Silence)]);
}

#[test]
fn slow_payload_is_not_silence() {
    let mut side = FAST.open(config(1));
    side.hears(Time::ZERO, &[Message::Unchoke]);
    side.command(Time::ZERO, Command::Request(block(0, 0)));
    side.hears(Time::ZERO, &[Message::Piece(block(0, 0))]);
    for n in 1..20 {
        side.conn.handle_payload(secs(150 * n), 1);
        assert_eq!(wait(&mut side, secs(150 * n + 149)).0, []);
    }
}

#[test]
fn a_peer_that_we_hold_up_is_neither_silent_nor_stuck() {
    let mut side = FAST.open(config(1));
    side.command(Time::ZERO, Command::Choke(false));
    side.hears(Time::ZERO, &[Message::Request(block(0, 0))]);
    while side.conn.transmit().is_some() {}
    for n in 1..20 {
        side.conn.handle_held(secs(60 * n));
        side.conn.handle_unsent(secs(60 * n));
        side.conn.handle_tick(secs(60 * n));
        side.drain(secs(60 * n));
        assert_eq!(side.take_events(), [Event::Held]);
    }
    side.conn.handle_closed(secs(1200), Departure::Io);
    side.conn.handle_held(secs(1200));
    side.drain(secs(1200));
    assert_eq!(side.take_events(), [Event::Closed(Departure::Io)]);
}

#[test]
fn a_peer_that_reads_nothing_is_left() {
    let mut side = FAST.open(config(1));
    side.command(Time::ZERO, Command::Choke(false));
    side.hears(Time::ZERO, &[block(0, 0), block(0, 1)].map(Message::Request));
    while side.conn.transmit().is_some() {}
    // Progress restarts the clock; keep-alives of the remote do not.
    side.conn.handle_sent(secs(60), BLOCK_LEN);
    side.hears(secs(100), &[Message::KeepAlive]);
    side.drain(secs(100));
    side.take_events();
    for s in [100, 160, 179] {
        side.conn.handle_tick(secs(s));
        side.drain(secs(s));
    }
    assert_eq!(side.take_events(), []);
    assert_eq!(side.conn.deadline(), Some(secs(180)));
    side.conn.handle_tick(secs(180));
    side.drain(secs(180));
    assert_eq!(side.take_events(), [TIMEOUT(TimeoutKind::Stalled)]);
}

#[test]
fn control_bytes_that_do_not_leave_count_as_well() {
    for taken in [true, false] {
        let mut side = FAST.open(config(1));
        side.command(secs(1), Command::Interested(true));
        if taken {
            side.conn.transmit();
        }
        side.hears(secs(110), &[Message::KeepAlive]);
        side.conn.handle_tick(secs(120));
        side.drain(secs(120));
        assert_eq!(side.take_events(), []);
        side.conn.handle_tick(secs(121));
        side.drain(secs(121));
        assert_eq!(side.take_events(), [TIMEOUT(TimeoutKind::Stalled)]);
    }
}

#[test]
fn control_messages_do_not_pile_up() {
    let mut side = FAST.open(config(1));
    let mut haves = 0;
    while side.events.is_empty() {
        side.command(Time::ZERO, Command::Have(PieceIndex(0)));
        haves += 1;
    }
    assert_eq!(side.take_events(), [TIMEOUT(TimeoutKind::Stalled)]);
    assert_eq!(haves, (2 * 1024 * 1024 + 2) / 9 + 1);
    assert!(!side.conn.wants_write());
}

#[test]
fn while_control_messages_wait_long_answers_are_refused() {
    let mut side = Script { extended: true, ..V2_PEER }.open(config(1));
    let metadata = Message::Extended(1, b"d8:msg_typei0e5:piecei0ee");
    for _ in 0..30_000 {
        side.command(Time::ZERO, Command::Have(PieceIndex(0)));
    }
    assert_eq!(side.hears(Time::ZERO, &[Message::HashRequest(hash_request()), metadata]), []);
    side.take_sent(Time::ZERO);
    let events = side.hears(Time::ZERO, &[Message::HashRequest(hash_request()), metadata]);
    assert_eq!(events, [Event::HashRequest(hash_request()), Event::MetadataRequest(0)]);
}
