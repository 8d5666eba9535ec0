//! Whole conversations, as JSON.

use serde_json::{Value, json};

use super::*;

const HASH: &str = "0123456789abcdefghij";
const OTHER: &str = "jihgfedcba9876543210";

/// A hub with its clients.
struct World {
    signal: Signal,
    now: Time,
}

/// Messages by receiver.
type Mail = Vec<(u64, Value)>;

fn id(n: u8) -> String {
    char::from(n).to_string().repeat(20)
}

fn offers(ids: &[u8]) -> Value {
    ids.iter()
        .map(|n| json!({"offer_id": id(*n), "offer": {"type": "offer", "sdp": format!("sdp {n}")}}))
        .collect()
}

fn announce(peer: u8, left: u64, offered: &[u8]) -> Value {
    json!({"action": "announce", "info_hash": HASH, "peer_id": id(peer), "uploaded": 0, "downloaded": 0, "left": left,
        "event": "started", "numwant": offered.len(), "offers": offers(offered)})
}

fn answer(peer: u8, to: u8, offer: u8) -> Value {
    json!({"action": "announce", "info_hash": HASH, "peer_id": id(peer), "to_peer_id": id(to), "offer_id": id(offer),
        "answer": {"type": "answer", "sdp": "taken", "extra": 1}})
}

fn with(mut message: Value, key: &str, value: impl Into<Value>) -> Value {
    message[key] = value.into();
    message
}

impl World {
    fn new(connections: u64) -> Self {
        let mut signal = Signal::new(Config::default(), 1);
        (0..connections).for_each(|n| signal.open(Time::ZERO, ConnId(n)));
        Self { signal, now: Time::ZERO }
    }

    fn say(&mut self, from: u64, message: &Value) -> Mail {
        self.say_raw(from, message.to_string().as_bytes())
    }

    fn say_raw(&mut self, from: u64, message: &[u8]) -> Mail {
        self.signal.handle(self.now, ConnId(from), message, |hash| hash.0 != *OTHER.as_bytes());
        std::iter::from_fn(|| self.signal.poll())
            .map(|out| (out.to.0, serde_json::from_str(&out.text).unwrap()))
            .collect()
    }

    fn wait(&mut self, secs: u64) {
        self.now = self.now + Duration::from_secs(secs);
        self.signal.expire(self.now);
    }

    fn counts(&self) -> (u32, u32) {
        let counts = self.signal.counts(&WireHash(HASH.as_bytes().try_into().unwrap()));
        (counts.complete, counts.incomplete)
    }
}

#[test]
fn an_offer_finds_a_peer_and_its_answer_the_way_back() {
    let mut world = World::new(3);
    let reply =
        json!({"action": "announce", "info_hash": HASH, "interval": 120, "complete": 1, "incomplete": 0});
    assert_eq!(world.say(0, &announce(b'a', 0, &[1, 2])), [(0, reply)]);
    let mail = world.say(1, &announce(b'b', 9, &[3, 4]));
    let reply =
        json!({"action": "announce", "info_hash": HASH, "interval": 120, "complete": 1, "incomplete": 1});
    let offer = json!({"action": "announce", "info_hash": HASH, "peer_id": id(b'b'), "offer_id": id(3),
        "offer": {"type": "offer", "sdp": "sdp 3"}});
    assert_eq!(mail, [(1, reply), (0, offer)]);
    let back = json!({"action": "announce", "info_hash": HASH, "peer_id": id(b'a'), "offer_id": id(3),
        "answer": {"type": "answer", "sdp": "taken"}});
    assert_eq!(world.say(0, &answer(b'a', b'b', 3)), [(1, back)]);
    assert_eq!(world.say(0, &answer(b'a', b'b', 3)), [], "an offer is taken once");
    let counters = Counters { announces: 2, offers: 1, answers: 1, stray_answers: 1, ..Counters::default() };
    assert_eq!(world.signal.counters(), counters);
}

#[test]
fn nobody_answers_for_another() {
    let mut world = World::new(4);
    world.say(0, &announce(b'a', 9, &[]));
    world.say(1, &announce(b'b', 9, &[3]));
    world.say(2, &announce(b'c', 9, &[]));
    // One who was offered nothing, under its own name, under the name of the one who was, and before it announced.
    assert_eq!(world.say(2, &answer(b'c', b'b', 3)), []);
    let refused = world.say(2, &answer(b'a', b'b', 3));
    assert_eq!(refused[0].1["failure reason"], "announce before you answer");
    assert_eq!((refused[0].0, refused[0].1["info_hash"].as_str()), (2, Some(HASH)));
    assert_eq!(world.say(3, &answer(b'a', b'b', 3))[0].0, 3);
    // One who took the name of the one who offered hears nothing.
    world.say(3, &announce(b'b', 9, &[]));
    let heard = world.say(0, &answer(b'a', b'b', 3));
    assert_eq!(heard.iter().map(|mail| mail.0).collect::<Vec<_>>(), [1]);
}

#[test]
fn answers_come_too_late_for_those_who_left() {
    for leave in [0, 1, 2] {
        let mut world = World::new(2);
        world.say(0, &announce(b'a', 9, &[]));
        assert_eq!(world.say(1, &announce(b'b', 9, &[3])).len(), 2);
        match leave {
            0 => world.signal.close(ConnId(1)),
            1 => drop(world.say(1, &with(announce(b'b', 9, &[]), "event", "stopped"))),
            _ => world.now = world.now + connection::OFFER_LIFE,
        }
        assert_eq!(world.say(0, &answer(b'a', b'b', 3)), [], "{leave}");
        assert_eq!(world.signal.counters().stray_answers, 1);
    }
}

#[test]
fn offers_go_to_many_and_never_back() {
    let mut world = World::new(20);
    for n in 1..20 {
        world.say(n, &announce(n as u8, 9, &[]));
    }
    for _ in 0..20 {
        let mail = world.say(0, &announce(0, 9, &[101, 102, 103, 104, 105, 106, 107, 108, 109, 110, 111]));
        let mut to: Vec<_> = mail.iter().skip(1).map(|mail| mail.0).collect();
        to.sort_unstable();
        to.dedup();
        assert_eq!((mail.len(), to.len(), to.contains(&0)), (11, 10, false));
    }
}

#[test]
fn seeds_are_led_to_leeches_only() {
    let mut world = World::new(3);
    world.say(0, &announce(b'a', 0, &[1]));
    assert_eq!(world.say(1, &announce(b'b', 0, &[2])).len(), 1);
    assert_eq!(world.say(2, &with(announce(b'c', 5, &[2, 3, 4]), "event", "paused")).len(), 1);
    assert_eq!(world.say(2, &announce(b'c', 5, &[2, 3, 4])).len(), 3);
    assert_eq!(world.counts(), (2, 1));
    assert_eq!(world.say(0, &announce(b'a', 0, &[1])).len(), 2);
}

#[test]
fn what_is_left_may_be_unknown() {
    let mut world = World::new(1);
    let silent = with(announce(b'a', 0, &[]), "left", Value::Null);
    world.say(0, &silent);
    assert_eq!(world.counts(), (0, 1));
    world.say(0, &with(silent.clone(), "event", "completed"));
    world.say(0, &silent);
    assert_eq!(world.counts(), (1, 0), "it stays what it was");
    world.say(0, &announce(b'a', 1, &[]));
    assert_eq!(world.counts(), (0, 1), "its files are gone");
    let scrape = world.say(0, &json!({"action": "scrape", "info_hash": [HASH, OTHER]}));
    let files = json!({HASH: {"complete": 0, "incomplete": 1, "downloaded": 1},
        OTHER: {"complete": 0, "incomplete": 0, "downloaded": 0}});
    assert_eq!(scrape[0].1["files"], files);
}

#[test]
fn several_peers_may_share_a_connection() {
    let mut world = World::new(1);
    world.say(0, &announce(b'a', 0, &[]));
    let mail = world.say(0, &announce(b'b', 9, &[1]));
    assert_eq!(mail[1].1["offer"]["sdp"], "sdp 1");
    assert_eq!(world.say(0, &answer(b'a', b'b', 1)).len(), 1);
    world.signal.close(ConnId(0));
    assert_eq!(world.signal.sizes(), Sizes::default());
}

#[test]
fn the_silent_are_forgotten_and_who_leaves_is_gone_at_once() {
    let mut world = World::new(3);
    for (n, peer) in [(0, b'a'), (1, b'b'), (2, b'c')] {
        world.say(n, &announce(peer, 9, &[]));
    }
    world.wait(200);
    world.say(1, &announce(b'b', 9, &[]));
    world.wait(159);
    assert_eq!(world.counts(), (0, 3));
    world.wait(1);
    assert_eq!(world.counts(), (0, 1));
    assert_eq!(world.signal.sizes(), Sizes { connections: 3, swarms: 1, peers: 1 });
    let due = Time::ZERO + Duration::from_secs(200 + 360);
    assert_eq!(world.signal.deadline(), Some(due));
    let mail = world.say(1, &with(announce(b'b', 9, &[1]), "event", "stopped"));
    assert_eq!((mail.len(), mail[0].1["incomplete"].as_u64()), (1, Some(0)));
    assert_eq!((world.signal.deadline(), world.signal.sizes().swarms), (None, 0));
}

#[test]
fn an_answer_is_a_sign_of_life() {
    let mut world = World::new(2);
    world.say(0, &announce(b'a', 9, &[]));
    world.wait(300);
    world.say(1, &announce(b'b', 9, &[3]));
    world.say(0, &answer(b'a', b'b', 3));
    world.wait(100);
    assert_eq!(world.counts(), (0, 2));
}

#[test]
fn torrents_that_are_not_served_are_refused_and_end() {
    let mut world = World::new(2);
    let mail = world.say(0, &with(announce(b'a', 9, &[]), "info_hash", OTHER));
    let refusal = json!({"action": "announce", "info_hash": OTHER,
        "failure reason": "this tracker does not serve this torrent"});
    assert_eq!(mail, [(0, refusal)]);
    world.say(0, &announce(b'a', 9, &[]));
    world.signal.revise(|_| true);
    assert_eq!(world.counts(), (0, 1));
    world.signal.revise(|_| false);
    assert_eq!(world.signal.sizes(), Sizes { connections: 2, ..Sizes::default() });
    assert!(world.signal.deadline().is_none());
}

#[test]
fn nonsense_is_answered_without_an_action() {
    let mut world = World::new(1);
    for text in [b"\xff".as_slice(), b"{}", b"{\"action\":\"announce\"}"] {
        let mail = world.say_raw(0, text);
        assert!(mail.len() == 1 && mail[0].1["failure reason"].is_string() && mail[0].1["action"].is_null());
    }
    assert_eq!(world.say(9, &announce(b'a', 9, &[])), [], "a connection that is not open");
}

#[test]
fn the_greedy_leave_room_for_whoever_comes() {
    let mut signal = Signal::new(Config { max_peers: 6400, ..Config::default() }, 1);
    let message = |n: u32| {
        let peer = format!("{n:020}");
        json!({"action": "announce", "info_hash": peer, "peer_id": peer}).to_string()
    };
    for conn in 0..100 {
        signal.open(Time::ZERO, ConnId(conn));
        for n in 0..200 {
            signal.handle(Time::ZERO, ConnId(conn), message(n).as_bytes(), |_| true);
            while signal.poll().is_some() {}
        }
    }
    let full = signal.sizes().peers;
    assert!((3000..6400).contains(&full), "{full}");
    signal.open(Time::ZERO, ConnId(100));
    (0..20).for_each(|n| signal.handle(Time::ZERO, ConnId(100), message(n).as_bytes(), |_| true));
    assert_eq!(signal.sizes().peers, full + 20, "one who is modest gets in");
}

#[test]
fn who_says_too_much_is_told_to_wait() {
    let mut world = World::new(2);
    world.say(0, &announce(b'a', 9, &[]));
    for _ in 0..1200 {
        world.say(1, &announce(b'b', 9, &[1]));
    }
    assert_eq!(world.signal.counters().offers, 200, "nobody is offered more");
    // 1400 were said, 1199 go at once.
    assert_eq!(world.signal.may_say_at(ConnId(1)), Time::ZERO + Duration::from_millis(201 * 50));
    assert_eq!(world.signal.may_say_at(ConnId(0)), Time::ZERO);
}
