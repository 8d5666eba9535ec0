//! Both directions of a transfer against naive models: every request has exactly one end.

use proptest::prelude::*;

use super::*;
use crate::wire::Decoder;

/// What happens next to a connection that serves.
#[derive(Clone, Debug)]
enum Serve {
    Request(u32),
    Cancel(u32),
    Choke(bool),
    /// The disk answers one of its reads, or fails to.
    Answer(prop::sample::Index, bool),
    /// Everything that waits leaves.
    Send,
}

fn serve() -> impl Strategy<Value = Serve> {
    prop_oneof![
        8 => (0u32..30).prop_map(Serve::Request),
        3 => (0u32..30).prop_map(Serve::Cancel),
        1 => any::<bool>().prop_map(Serve::Choke),
        8 => (any::<prop::sample::Index>(), prop::bool::weighted(0.9)).prop_map(|(i, ok)| Serve::Answer(i, ok)),
        4 => Just(Serve::Send),
    ]
}

fn nth(n: u32) -> Block {
    block(n / 4, n % 4)
}

/// The messages in `bytes`, payload checked and left out.
fn parse(mut bytes: &[u8]) -> Vec<String> {
    let (mut decoder, mut seen) = (Decoder::default(), Vec::new());
    while !bytes.is_empty() {
        let (taken, message) = decoder.decode(bytes).unwrap();
        bytes = &bytes[taken..];
        if let Some(Message::Piece(block)) = message {
            assert!(bytes.starts_with(&content(&block)));
            bytes = &bytes[block.len as usize..];
        }
        seen.push(format!("{:?}", message.unwrap()));
    }
    seen
}

/// Takes what was sent: each piece and each reject must answer a request, and only one.
fn settle(side: &mut Side, open: &mut Vec<Block>) {
    for message in parse(&side.take_sent(Time::ZERO)) {
        let is_answer = |b: &Block| message == format!("Piece({b:?})") || message == format!("Reject({b:?})");
        match open.iter().position(is_answer) {
            Some(at) => _ = open.swap_remove(at),
            None => assert!(message == "Choke" || message == "Unchoke", "{message} answers nothing"),
        }
    }
}

fn answer(side: &mut Side, at: usize, ok: bool) {
    let block = side.reads.remove(at);
    side.conn.handle_read(Time::ZERO, block, ok.then(|| content(&block)));
    side.drain(Time::ZERO);
}

/// What happens next to a connection that fetches.
#[derive(Clone, Debug)]
enum Fetch {
    Request(u32),
    Cancel(u32),
    Choke(bool),
    /// The remote serves one of the requests that it has, or rejects it.
    Answer(prop::sample::Index, bool),
    /// It falls silent until the clock says something.
    Wait,
}

fn fetch() -> impl Strategy<Value = Fetch> {
    prop_oneof![
        8 => (0u32..30).prop_map(Fetch::Request),
        3 => (0u32..30).prop_map(Fetch::Cancel),
        2 => any::<bool>().prop_map(Fetch::Choke),
        8 => (any::<prop::sample::Index>(), any::<bool>()).prop_map(|(i, ok)| Fetch::Answer(i, ok)),
        1 => Just(Fetch::Wait),
    ]
}

proptest! {
    /// BEP 6: "every request is guaranteed to result in exactly one response", whatever the order of things.
    #[test]
    fn every_request_of_a_fast_peer_gets_one_answer(steps in prop::collection::vec(serve(), 0..120)) {
        let mut side = FAST.open(config(1));
        side.serve = false;
        side.command(Time::ZERO, Command::Choke(false));
        let mut open = Vec::new();
        for step in steps {
            match step {
                Serve::Request(n) => {
                    open.push(nth(n));
                    side.hears(Time::ZERO, &[Message::Request(nth(n))]);
                }
                Serve::Cancel(n) => _ = side.hears(Time::ZERO, &[Message::Cancel(nth(n))]),
                Serve::Choke(choke) => side.command(Time::ZERO, Command::Choke(choke)),
                Serve::Answer(..) if side.reads.is_empty() => {}
                Serve::Answer(at, ok) => {
                    let at = at.index(side.reads.len());
                    answer(&mut side, at, ok);
                }
                Serve::Send => settle(&mut side, &mut open),
            }
            prop_assert!(side.reads.len() <= 16, "no more than the window is asked of the disk");
        }
        settle(&mut side, &mut open);
        while !side.reads.is_empty() {
            answer(&mut side, 0, true);
            settle(&mut side, &mut open);
        }
        prop_assert_eq!(open, []);
    }

    /// Every request of the torrent ends in a block, a reject or its own cancel, however the remote behaves.
    #[test]
    fn every_request_of_ours_comes_to_one_end(fast: bool, steps in prop::collection::vec(fetch(), 0..120)) {
        let mut side = if fast { FAST } else { PLAIN }.open(config(1));
        side.hears(Time::ZERO, &[Message::Unchoke]);
        let (mut now, mut open, mut at_remote) = (Time::ZERO, Vec::new(), Vec::new());
        let end = |open: &mut Vec<Block>, events: Vec<Ev>| {
            for event in events {
                if let Event::Block { block, .. } | Event::Rejected(block) = event {
                    let at = open.iter().position(|b| *b == block);
                    open.swap_remove(at.expect("it was asked for and had not ended"));
                }
                assert!(!matches!(event, Event::Closed(_)));
            }
        };
        for step in steps {
            let events = match step {
                Fetch::Request(n) if open.contains(&nth(n)) => continue,
                Fetch::Request(n) => {
                    open.push(nth(n));
                    side.command(now, Command::Request(nth(n)));
                    at_remote.extend((!side.take_sent(now).is_empty()).then_some(nth(n)));
                    side.take_events()
                }
                Fetch::Cancel(n) => {
                    open.retain(|b| *b != nth(n));
                    side.command(now, Command::Cancel(nth(n)));
                    side.take_sent(now);
                    side.take_events()
                }
                Fetch::Choke(true) => side.hears(now, &[Message::Choke]),
                Fetch::Choke(false) => side.hears(now, &[Message::Unchoke]),
                Fetch::Answer(..) if at_remote.is_empty() => continue,
                Fetch::Answer(at, ok) => {
                    let block = at_remote.swap_remove(at.index(at_remote.len()));
                    if ok || !fast { side.hears_block(now, block) } else { side.hears(now, &[Message::Reject(block)]) }
                }
                Fetch::Wait => {
                    now = now + Duration::from_secs(25);
                    side.conn.handle_tick(now);
                    side.hears(now, &[Message::KeepAlive])
                }
            };
            end(&mut open, events);
        }
        // At the latest a choke, and the patience for it, ends them all.
        end(&mut open, side.hears(now, &[Message::Choke]));
        side.conn.handle_tick(now + Duration::from_secs(20));
        side.drain(now);
        end(&mut open, side.take_events());
        prop_assert_eq!(open, []);
    }
}
