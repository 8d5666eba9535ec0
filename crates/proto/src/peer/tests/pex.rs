use super::*;
use crate::wire::{PexFlags, PexMessage};

fn news() -> PexMessage {
    PexMessage {
        added: vec![
            ("1.2.3.4:5".parse().unwrap(), PexFlags(0x12)),
            ("[2001:db8::1]:6".parse().unwrap(), PexFlags(0)),
        ],
        dropped: vec!["5.6.7.8:9".parse().unwrap()],
    }
}

fn payload() -> Vec<u8> {
    let mut out = Vec::new();
    news().encode(&mut out);
    out
}

/// What the handshakes that wait to be sent say of `ut_pex`.
fn named(side: &mut Side) -> Vec<Option<u8>> {
    let (sent, mut named) = (side.take_sent(Time::ZERO), Vec::new());
    let (mut decoder, mut rest) = (crate::wire::Decoder::default(), &sent[..]);
    while !rest.is_empty() {
        let (taken, message) = decoder.decode(rest).unwrap();
        if let Some(Message::Extended(0, payload)) = message {
            named.push(crate::wire::ExtensionHandshake::parse(payload).unwrap().ut_pex);
        }
        rest = &rest[taken..];
    }
    named
}

#[test]
fn it_passes_between_two_that_are_allowed_to() {
    for seed in 0..5 {
        let mut pair = Pair::open(seed);
        pair.tell_a(Command::AllowPex(true));
        assert!(matches!(&pair.b.take_events()[..], [.., Event::Extended(e)] if e.ut_pex));
        pair.tell_b(Command::AllowPex(true));
        pair.a.take_events();
        pair.tell_a(Command::Pex(news()));
        assert_eq!(pair.b.take_events(), [Event::Pex(news())]);
    }
}

#[test]
fn who_may_from_the_start_names_it_in_the_first_handshake() {
    let config = Config { pex: true, ..config(1) };
    let side = &mut Side::new(Conn::outgoing(config, HYBRID, Time::ZERO));
    side.take_sent(Time::ZERO);
    side.inbox.extend(EXTENDED.handshake());
    side.read_all(Time::ZERO);
    assert_eq!(named(side), [Some(3)]);
    side.command(Time::ZERO, Command::AllowPex(true));
    assert_eq!(named(side), []);
    side.command(Time::ZERO, Command::AllowPex(false));
    assert_eq!(named(side), [Some(0)]);
}

#[test]
fn it_is_not_named_said_or_heard_unless_allowed_and_taken_back_once_forbidden() {
    let mut side = EXTENDED.open(config(1));
    side.hears(Time::ZERO, &[Message::Extended(0, b"d1:md6:ut_pexi7eee")]);
    side.command(Time::ZERO, Command::AllowPex(false));
    side.command(Time::ZERO, Command::Pex(news()));
    assert_eq!(side.hears(Time::ZERO, &[Message::Extended(3, &payload())]), []);
    side.says(Time::ZERO, &[]);
    side.command(Time::ZERO, Command::UploadOnly(true));
    assert_eq!(named(&mut side), [None]);
    side.command(Time::ZERO, Command::AllowPex(true));
    assert_eq!(named(&mut side), [Some(3)]);
    side.command(Time::ZERO, Command::Pex(news()));
    side.says(Time::ZERO, &[Message::Extended(7, &payload())]);
    assert_eq!(side.hears(Time::ZERO, &[Message::Extended(3, &payload())]), [Event::Pex(news())]);
    side.command(Time::ZERO, Command::AllowPex(false));
    side.command(Time::ZERO, Command::UploadOnly(false));
    assert_eq!(named(&mut side), [Some(0), None]);
    assert_eq!(side.hears(Time::ZERO, &[Message::Extended(3, &payload())]), []);
}

#[test]
fn what_comes_too_often_is_not_read_and_in_the_end_too_much() {
    let mut side = EXTENDED.open(config(1));
    side.command(Time::ZERO, Command::AllowPex(true));
    let payload = payload();
    let message = Message::Extended(3, &payload);
    assert_eq!(side.hears(Time::ZERO, &[message; 50]), vec![Event::Pex(news()); 4]);
    assert_eq!(side.hears(secs(60), &[message; 9]).len(), 2);
    assert_violation(&side.hears(secs(60), &[message; 200]), Violation::MessageFlood);
}

#[test]
fn an_empty_message_is_no_news_and_a_broken_one_the_end() {
    let mut side = EXTENDED.open(config(1));
    side.command(Time::ZERO, Command::AllowPex(true));
    assert_eq!(side.hears(Time::ZERO, &[Message::Extended(3, b"d5:added0:e")]), []);
    assert_violation(&side.hears(Time::ZERO, &[Message::Extended(3, b"x")]), Violation::MalformedExtension);
}
