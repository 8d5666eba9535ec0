use super::*;

/// `b` serves `a`.
fn serving(seed: u64) -> Pair {
    let mut pair = Pair::open(seed);
    pair.tell_a(Command::Interested(true));
    pair.tell_b(Command::Choke(false));
    pair.a.take_events();
    pair.b.take_events();
    pair
}

#[test]
fn blocks_arrive_whole_and_in_order_in_any_split() {
    for seed in 0..40 {
        let mut pair = serving(seed);
        let asked: Vec<Block> = (0..11).flat_map(|piece| layout().blocks(PieceIndex(piece))).collect();
        asked.iter().for_each(|&block| pair.a.command(pair.now, Command::Request(block)));
        pair.run();
        let expected: Vec<Ev> = asked.iter().map(|b| Event::Block { block: *b, data: content(b) }).collect();
        assert_eq!(pair.a.take_events(), expected, "seed {seed}");
    }
}

#[test]
fn both_ends_serve_each_other() {
    for seed in 0..40 {
        let mut pair = serving(seed);
        pair.tell_a(Command::Choke(false));
        pair.b.take_events();
        for n in 0..4 {
            pair.a.command(pair.now, Command::Request(block(1, n)));
            pair.b.command(pair.now, Command::Request(block(2, n)));
        }
        pair.run();
        let got =
            |side: &mut Side| side.take_events().iter().filter(|e| matches!(e, Event::Block { .. })).count();
        assert_eq!((got(&mut pair.a), got(&mut pair.b)), (4, 4), "seed {seed}");
    }
}

#[test]
fn payload_that_left_is_reported_now_and_then_and_at_the_end() {
    let mut pair = serving(1);
    pair.tell_a(Command::Request(block(0, 0)));
    pair.tell_a(Command::Request(block(0, 1)));
    assert_eq!(pair.b.take_events(), []);
    let due = pair.b.conn.deadline().unwrap();
    assert_eq!(due, Time::ZERO + Duration::from_millis(500));
    pair.b.conn.handle_tick(due);
    pair.b.drain(due);
    assert_eq!(pair.b.take_events(), [Event::Sent { payload: 2 * BLOCK_LEN }]);
    pair.now = due;
    pair.tell_a(Command::Request(block(0, 2)));
    assert_eq!(pair.b.take_events(), []);
    pair.b.conn.handle_closed(due, Departure::Remote);
    pair.b.drain(due);
    let last = [Event::Sent { payload: BLOCK_LEN }, Event::Closed(Departure::Remote)];
    assert_eq!(pair.b.take_events(), last);
}

#[test]
fn answers_of_the_disk_in_any_order_go_out_in_the_order_of_asking() {
    let mut side = FAST.open(config(1));
    side.serve = false;
    side.command(Time::ZERO, Command::Choke(false));
    let blocks = [block(0, 0), block(0, 1), block(0, 2), block(0, 3)];
    side.hears(Time::ZERO, &blocks.map(Message::Request));
    side.says(Time::ZERO, &[Message::Unchoke]);
    assert_eq!(side.reads, blocks);
    side.conn.handle_read(Time::ZERO, blocks[2], Some(content(&blocks[2])));
    side.conn.handle_read(Time::ZERO, blocks[1], None);
    assert!(!side.conn.wants_write());
    side.conn.handle_read(Time::ZERO, blocks[0], Some(content(&blocks[0])));
    let mut expected = encode(&[Message::Piece(blocks[0])]);
    expected.extend(content(&blocks[0]));
    expected.extend(encode(&[Message::Reject(blocks[1]), Message::Piece(blocks[2])]));
    expected.extend(content(&blocks[2]));
    assert_eq!(side.take_sent(Time::ZERO), expected);
}

#[test]
fn control_messages_overtake_blocks_that_have_not_begun() {
    let mut side = FAST.open(config(1));
    side.command(Time::ZERO, Command::Choke(false));
    side.take_sent(Time::ZERO);
    side.hears(Time::ZERO, &[block(0, 0), block(0, 1)].map(Message::Request));
    assert_eq!((side.conn.transmit_control(), side.conn.due()), (None, 2 * u64::from(BLOCK_LEN)));
    let header = encode(&[Message::Piece(block(0, 0))]);
    assert_eq!(side.conn.transmit(), Some(Transmit::Bytes(header)));
    side.command(Time::ZERO, Command::Interested(true));
    // What has begun is ended; then comes what was said since.
    assert_eq!(side.conn.transmit_control(), Some(Transmit::Payload(content(&block(0, 0)))));
    let said = encode(&[Message::Interested]);
    assert_eq!(side.conn.transmit_control(), Some(Transmit::Bytes(said)));
    assert_eq!((side.conn.transmit_control(), side.conn.due()), (None, u64::from(BLOCK_LEN)));
    assert!(side.conn.wants_write());
    // And a choke still finds the second block here.
    side.command(Time::ZERO, Command::Choke(true));
    side.says(Time::ZERO, &[Message::Choke, Message::Reject(block(0, 1))]);
}

#[test]
fn reads_come_in_batches_and_stay_within_the_window() {
    let mut side = FAST.open(config(1));
    side.serve = false;
    side.command(Time::ZERO, Command::Choke(false));
    let asked: Vec<Block> = (0..10).flat_map(|piece| layout().blocks(PieceIndex(piece))).collect();
    let messages: Vec<_> = asked.iter().map(|&b| Message::Request(b)).collect();
    side.hears(Time::ZERO, &messages);
    // 256 KiB at first, and nothing more until a quarter of it left.
    assert_eq!(side.reads, asked[..16]);
    for at in 0..4 {
        let block = side.reads[at];
        side.conn.handle_read(Time::ZERO, block, Some(content(&block)));
    }
    while side.conn.transmit().is_some() {}
    for sent in 0..3 {
        side.conn.handle_sent(Time::ZERO, BLOCK_LEN);
        assert_eq!(side.conn.poll(), None, "{sent}");
    }
    side.conn.handle_sent(Time::ZERO, BLOCK_LEN);
    side.drain(Time::ZERO);
    assert_eq!(side.reads[16..], asked[16..20]);
}

#[test]
fn reads_that_fail_make_room_for_others() {
    let mut side = FAST.open(config(1));
    side.serve = false;
    side.command(Time::ZERO, Command::Choke(false));
    side.take_sent(Time::ZERO);
    side.hears(Time::ZERO, &[Message::Request(block(0, 0)); 100]);
    while let Some(block) = side.reads.pop() {
        side.conn.handle_read(Time::ZERO, block, None);
        side.drain(Time::ZERO);
    }
    side.says(Time::ZERO, &[Message::Reject(block(0, 0)); 100]);
}

#[test]
fn the_window_grows_with_the_rate_and_has_a_cap() {
    let mut side = FAST.open(config(1));
    side.command(Time::ZERO, Command::Choke(false));
    side.serve = false;
    let request = Message::Request(block(0, 0));
    let mut now = Time::ZERO;
    let mut most = 0;
    side.hears(now, &[request; 600]);
    for _ in 0..100 {
        most = most.max(side.reads.len());
        side.hears(now, &vec![request; side.reads.len()]);
        for block in std::mem::take(&mut side.reads) {
            side.conn.handle_read(now, block, Some(vec![0; BLOCK_LEN as usize]));
        }
        now = now + Duration::from_millis(20);
        side.take_sent(now);
    }
    assert!((200..=256).contains(&most), "{most} blocks of 16 KiB");
}

#[test]
fn a_choke_rejects_with_the_fast_extension_and_drops_without() {
    for (script, fast) in [(FAST, true), (PLAIN, false)] {
        let mut side = script.open(config(1));
        side.serve = false;
        side.command(Time::ZERO, Command::Choke(false));
        let asked: Vec<Block> = (0..5).flat_map(|piece| layout().blocks(PieceIndex(piece))).collect();
        let messages: Vec<_> = asked.iter().map(|&b| Message::Request(b)).collect();
        side.hears(Time::ZERO, &messages);
        side.conn.handle_read(Time::ZERO, asked[1], Some(content(&asked[1])));
        side.command(Time::ZERO, Command::Choke(true));
        let mut expected = vec![Message::Unchoke, Message::Choke];
        if fast {
            expected.extend(asked.iter().map(|&b| Message::Reject(b)));
        }
        side.says(Time::ZERO, &expected);
        // Late answers of the disk go nowhere, and make room again.
        let reads = std::mem::take(&mut side.reads);
        assert_eq!(reads.len(), 16);
        reads.iter().for_each(|b| side.conn.handle_read(Time::ZERO, *b, Some(content(b))));
        side.says(Time::ZERO, &[]);
        side.command(Time::ZERO, Command::Choke(false));
        side.hears(Time::ZERO, &messages);
        assert_eq!(side.reads.len(), 16);
        // While choked, requests are rejected or ignored.
        side.command(Time::ZERO, Command::Choke(true));
        side.take_sent(Time::ZERO);
        side.hears(Time::ZERO, &messages[..1]);
        side.says(Time::ZERO, &[Message::Reject(asked[0])][..usize::from(fast)]);
    }
}

#[test]
fn a_cancel_is_answered_by_a_reject_or_comes_too_late() {
    let mut side = FAST.open(config(1));
    side.serve = false;
    side.command(Time::ZERO, Command::Choke(false));
    let asked: Vec<Block> = (0..5).flat_map(|piece| layout().blocks(PieceIndex(piece))).collect();
    let messages: Vec<_> = asked.iter().map(|&b| Message::Request(b)).collect();
    side.hears(Time::ZERO, &messages);
    side.take_sent(Time::ZERO);
    // One that is being read, one that waits, and one that was never asked for.
    side.hears(Time::ZERO, &[asked[0], asked[19], block(9, 0)].map(Message::Cancel));
    side.says(Time::ZERO, &[Message::Reject(asked[0]), Message::Reject(asked[19])]);
    side.conn.handle_read(Time::ZERO, asked[1], Some(content(&asked[1])));
    let mut expected = encode(&[Message::Piece(asked[1])]);
    expected.extend(content(&asked[1]));
    assert_eq!(side.take_sent(Time::ZERO), expected);
    side.conn.handle_read(Time::ZERO, asked[0], Some(content(&asked[0])));
    side.says(Time::ZERO, &[]);
    side.hears(Time::ZERO, &[Message::Cancel(asked[1])]);
    side.says(Time::ZERO, &[]);
}

#[test]
fn a_choke_by_the_remote_gives_requests_back() {
    // Without the fast extension, the choke itself.
    let mut side = PLAIN.open(config(1));
    assert_eq!(side.hears(Time::ZERO, &[Message::Unchoke]), [Event::Unchoke]);
    side.command(Time::ZERO, Command::Request(block(0, 0)));
    side.command(Time::ZERO, Command::Request(block(0, 1)));
    let rejected = |n| Event::Rejected(block(0, n));
    assert_eq!(side.hears(Time::ZERO, &[Message::Choke]), [Event::Choke, rejected(0), rejected(1)]);
    // What was on its way is read over in silence.
    assert_eq!(side.hears_block(Time::ZERO, block(0, 0)), []);
    // What the torrent asks before it knows comes back at once.
    side.take_sent(Time::ZERO);
    side.command(Time::ZERO, Command::Request(block(0, 2)));
    assert_eq!(side.take_events(), [rejected(2)]);
    side.says(Time::ZERO, &[]);
}

#[test]
fn with_the_fast_extension_each_request_is_rejected_for_itself() {
    let mut side = FAST.open(config(1));
    side.hears(Time::ZERO, &[Message::Unchoke, Message::AllowedFast(PieceIndex(3))]);
    let asked = [block(0, 0), block(0, 1), block(0, 2)];
    asked.iter().for_each(|&b| side.command(Time::ZERO, Command::Request(b)));
    assert_eq!(side.hears(Time::ZERO, &[Message::Choke]), [Event::Choke]);
    assert_eq!(side.hears(Time::ZERO, &[Message::Reject(asked[1])]), [Event::Rejected(asked[1])]);
    let data = content(&asked[0]);
    assert_eq!(side.hears_block(Time::ZERO, asked[0]), [Event::Block { block: asked[0], data }]);
    // Allowed-fast pieces may be asked for although we are choked.
    side.take_sent(Time::ZERO);
    side.command(Time::ZERO, Command::Request(block(3, 0)));
    side.says(Time::ZERO, &[Message::Request(block(3, 0))]);
    // Whoever never rejects is not waited for for ever.
    let due = side.conn.deadline().unwrap();
    assert_eq!(due, secs(20));
    side.conn.handle_tick(due);
    side.drain(due);
    assert_eq!(side.take_events(), [Event::Rejected(asked[2])]);
    let data = content(&block(3, 0));
    assert_eq!(side.hears_block(due, block(3, 0)), [Event::Block { block: block(3, 0), data }]);
}

#[test]
fn a_cancelled_block_is_read_over_unless_it_has_begun() {
    let mut side = FAST.open(config(1));
    side.hears(Time::ZERO, &[Message::Unchoke]);
    let (one, two) = (block(0, 0), block(0, 1));
    side.command(Time::ZERO, Command::Request(one));
    side.command(Time::ZERO, Command::Request(two));
    side.command(Time::ZERO, Command::Cancel(one));
    side.command(Time::ZERO, Command::Cancel(one));
    side.says(Time::ZERO, &[Message::Request(one), Message::Request(two), Message::Cancel(one)]);
    side.inbox.extend(encode(&[Message::Piece(one)]));
    side.read_all(Time::ZERO);
    assert_eq!(side.conn.want(), Want::Payload { block: one, filled: 0, discard: true });
    side.inbox.extend(content(&one));
    side.read_all(Time::ZERO);
    side.inbox.extend(encode(&[Message::Piece(two)]));
    side.read_all(Time::ZERO);
    side.command(Time::ZERO, Command::Cancel(two));
    side.says(Time::ZERO, &[]);
    side.inbox.extend(content(&two));
    side.read_all(Time::ZERO);
    assert_eq!(side.take_events(), [Event::Block { block: two, data: content(&two) }]);
}

#[test]
fn a_lost_piece_is_told_and_its_requests_come_back() {
    let mut pair = serving(2);
    pair.tell_b(Command::DontHave(PieceIndex(4)));
    assert_eq!(pair.a.take_events(), [Event::DontHave(PieceIndex(4))]);

    let mut side = Script { extended: true, ..PLAIN }.open(config(1));
    side.hears(Time::ZERO, &[Message::Unchoke]);
    side.command(Time::ZERO, Command::Request(block(4, 0)));
    side.command(Time::ZERO, Command::Request(block(5, 0)));
    let events = side.hears(Time::ZERO, &[Message::Extended(2, &[0, 0, 0, 4])]);
    assert_eq!(events, [Event::DontHave(PieceIndex(4)), Event::Rejected(block(4, 0))]);
}

#[test]
fn hashes_are_asked_for_and_answered() {
    let mut pair = serving(3);
    let (request, hashes) = (hash_request(), vec![7; 32 * 513]);
    pair.tell_a(Command::HashRequest(request));
    assert_eq!(pair.b.take_events(), [Event::HashRequest(request)]);
    pair.tell_b(Command::Hashes(request, hashes.clone()));
    assert_eq!(pair.a.take_events(), [Event::Hashes(request, hashes)]);
    pair.tell_a(Command::HashRequest(request));
    pair.tell_b(Command::HashReject(request));
    assert_eq!(pair.a.take_events(), [Event::HashReject(request)]);
}

#[test]
fn hashes_belong_to_v2_and_to_a_request() {
    let mut side = FAST.open(config(1));
    side.command(Time::ZERO, Command::HashRequest(hash_request()));
    assert_eq!(side.take_events(), [Event::HashReject(hash_request())]);
    side.says(Time::ZERO, &[]);
    let mut side = V2_PEER.open(config(1));
    assert_eq!(side.hears(Time::ZERO, &[Message::Hashes(hash_request(), &[0; 32])]), []);
    let illegal = HashRequest { count: 3, ..hash_request() };
    assert_eq!(side.hears(Time::ZERO, &[Message::HashRequest(illegal)]), []);
    side.says(Time::ZERO, &[Message::HashReject(illegal)]);
    let alone = HashRequest { count: 1, ..hash_request() };
    assert_eq!(side.hears(Time::ZERO, &[Message::HashRequest(alone)]), [Event::HashRequest(alone)]);
    side.command(Time::ZERO, Command::HashReject(alone));
    side.says(Time::ZERO, &[Message::HashReject(alone)]);
    // More questions than are answered are refused.
    assert_eq!(side.hears(Time::ZERO, &[Message::HashRequest(hash_request()); 20]).len(), 16);
    side.says(Time::ZERO, &[Message::HashReject(hash_request()); 4]);
}
