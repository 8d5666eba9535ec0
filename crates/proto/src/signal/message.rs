//! What clients say, as they say it: JSON objects, of which unknown members are passed over.
//!
//! Readers of other trackers are lax, so this one is where clients make use of it: `null` is as good as nothing, and
//! `left` may be a number, a string of digits, or `null` for what a client cannot know yet.

use std::borrow::Cow;
use std::fmt;

use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::binary::Binary;

/// Most offers of one announce that are passed on. libtorrent and the tracker aquatic have 10, WebTorrent makes 5.
pub const MAX_OFFERS: usize = 10;

/// Most bytes of a session description. Those of data channels take 500 to 3000.
pub const MAX_SDP: usize = 16 * 1024;

/// Most torrents of one scrape, as over UDP (BEP 15).
pub const MAX_SCRAPE: usize = 74;

/// A message that makes sense.
#[derive(Debug)]
pub(super) enum Message<'a> {
    Announce(Announce<'a>),
    Answer(Answer<'a>),
    /// Torrents whose counts are wanted.
    Scrape(Vec<Binary>),
}

/// A peer is there, and wants to be connected with others.
#[derive(Debug)]
pub(super) struct Announce<'a> {
    pub(super) hash: Binary,
    pub(super) peer: Binary,
    pub(super) event: Event,
    /// Whether it has everything; `None` if it does not say.
    pub(super) whole: Option<bool>,
    pub(super) offers: Vec<Offer<'a>>,
}

/// Why it announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    Regular,
    Completed,
    /// It has all it wants, yet not everything (BEP 21).
    Paused,
    Stopped,
}

/// A connection that somebody may take.
#[derive(Debug, Deserialize)]
pub(super) struct Offer<'a> {
    #[serde(rename = "offer_id")]
    pub(super) id: Binary,
    #[serde(borrow)]
    offer: Description<'a>,
}

impl Offer<'_> {
    pub(super) fn sdp(&self) -> &str {
        &self.offer.sdp
    }
}

/// Somebody takes an offer.
#[derive(Debug)]
pub(super) struct Answer<'a> {
    pub(super) hash: Binary,
    pub(super) peer: Binary,
    pub(super) to: Binary,
    pub(super) offer: Binary,
    pub(super) sdp: Cow<'a, str>,
}

/// What of a session description is passed on: anything else in it would be a stranger's word to the other's program.
#[derive(Debug, Deserialize)]
struct Description<'a> {
    #[serde(rename = "type")]
    kind: Kind,
    #[serde(borrow)]
    sdp: Cow<'a, str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Offer,
    Answer,
}

/// Why a message is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// For the client's user.
    pub(super) reason: &'static str,
    /// The torrent in question, if that much could be read.
    pub(super) hash: Option<Binary>,
}

impl Refusal {
    const fn new(reason: &'static str, hash: Option<Binary>) -> Self {
        Self { reason, hash }
    }
}

impl<'a> Message<'a> {
    /// Reads a message. The caller bounds its length.
    pub(super) fn parse(text: &'a [u8]) -> Result<Self, Refusal> {
        let raw: Raw<'a> =
            serde_json::from_slice(text).map_err(|_| Refusal::new("the message cannot be read", None))?;
        match raw.action.as_deref() {
            Some("announce") => raw.announce(),
            Some("scrape") => match raw.info_hash {
                Some(hashes) if !hashes.0.is_empty() => Ok(Self::Scrape(hashes.0)),
                _ => Err(Refusal::new("the scrape names no torrent", None)),
            },
            _ => Err(Refusal::new("action is neither announce nor scrape", None)),
        }
    }
}

/// All members that are of interest.
#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(borrow, default)]
    action: Option<Cow<'a, str>>,
    #[serde(default)]
    info_hash: Option<Hashes>,
    #[serde(default)]
    peer_id: Option<Binary>,
    #[serde(borrow, default)]
    event: Option<Cow<'a, str>>,
    #[serde(default)]
    left: Left,
    #[serde(borrow, default)]
    offers: Option<Offers<'a>>,
    #[serde(borrow, default)]
    answer: Option<Description<'a>>,
    #[serde(default)]
    to_peer_id: Option<Binary>,
    #[serde(default)]
    offer_id: Option<Binary>,
}

impl<'a> Raw<'a> {
    fn announce(self) -> Result<Message<'a>, Refusal> {
        let hash = match self.info_hash.as_ref().map(|hashes| hashes.0.as_slice()) {
            Some([hash]) => *hash,
            _ => return Err(Refusal::new("the announce names no torrent", None)),
        };
        let refuse = |reason| Refusal::new(reason, Some(hash));
        let peer = self.peer_id.ok_or(refuse("peer_id is missing"))?;
        if let Some(answer) = self.answer {
            let to = self.to_peer_id.ok_or(refuse("to_peer_id is missing"))?;
            let offer = self.offer_id.ok_or(refuse("offer_id is missing"))?;
            check(&answer, Kind::Answer).map_err(refuse)?;
            return Ok(Message::Answer(Answer { hash, peer, to, offer, sdp: answer.sdp }));
        }
        let offers = self.offers.map_or_else(Vec::new, |offers| offers.0);
        offers.iter().try_for_each(|offer| check(&offer.offer, Kind::Offer)).map_err(refuse)?;
        let event = match self.event.as_deref() {
            Some("completed") => Event::Completed,
            Some("paused") => Event::Paused,
            Some("stopped") => Event::Stopped,
            _ => Event::Regular,
        };
        Ok(Message::Announce(Announce { hash, peer, event, whole: self.left.0, offers }))
    }
}

fn check(description: &Description<'_>, kind: Kind) -> Result<(), &'static str> {
    if description.kind != kind {
        return Err("the session description is of the wrong type");
    }
    if description.sdp.len() > MAX_SDP {
        return Err("the session description is too long");
    }
    Ok(())
}

/// Whether `left` is zero; `None` if nothing can be made of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Left(Option<bool>);

impl<'de> Deserialize<'de> for Left {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Amount;

        impl<'de> Visitor<'de> for Amount {
            type Value = Left;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }

            fn visit_u64<E>(self, n: u64) -> Result<Left, E> {
                Ok(Left(Some(n == 0)))
            }

            fn visit_i64<E>(self, _: i64) -> Result<Left, E> {
                Ok(Left(None))
            }

            fn visit_f64<E>(self, n: f64) -> Result<Left, E> {
                Ok(Left((n >= 0.0).then_some(n == 0.0)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Left, E> {
                Ok(Left(text.parse::<u64>().ok().map(|n| n == 0)))
            }

            fn visit_unit<E>(self) -> Result<Left, E> {
                Ok(Left(None))
            }
        }

        from.deserialize_any(Amount)
    }
}

/// One torrent, or several.
struct Hashes(Vec<Binary>);

impl<'de> Deserialize<'de> for Hashes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct OneOrMany;

        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Hashes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an info-hash or a list of them")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Hashes, E> {
                let from = serde::de::value::StrDeserializer::new(text);
                Binary::deserialize(from).map(|hash| Hashes(vec![hash]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Hashes, A::Error> {
                first(list, MAX_SCRAPE).map(Hashes)
            }
        }

        from.deserialize_any(OneOrMany)
    }
}

struct Offers<'a>(Vec<Offer<'a>>);

impl<'de: 'a, 'a> Deserialize<'de> for Offers<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct List;

        impl<'de> Visitor<'de> for List {
            type Value = Offers<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of offers")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Offers<'de>, A::Error> {
                first(list, MAX_OFFERS).map(Offers)
            }

            /// An empty object, as some serialisers write empty lists.
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Offers<'de>, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Offers(Vec::new()))
            }
        }

        from.deserialize_any(List)
    }
}

/// The first items of a list. The rest is passed over.
fn first<'de, T: Deserialize<'de>, A: SeqAccess<'de>>(mut list: A, most: usize) -> Result<Vec<T>, A::Error> {
    let mut items = Vec::new();
    while items.len() < most {
        let Some(item) = list.next_element()? else { return Ok(items) };
        items.push(item);
    }
    while list.next_element::<IgnoredAny>()?.is_some() {}
    Ok(items)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "hhhhhhhhhhhhhhhhhhhh";
    const PEER: &str = "pppppppppppppppppppp";

    fn announce(rest: &str) -> String {
        format!(r#"{{"action":"announce","info_hash":"{HASH}","peer_id":"{PEER}"{rest}}}"#)
    }

    fn parsed(text: &str) -> Announce<'_> {
        match Message::parse(text.as_bytes()) {
            Ok(Message::Announce(announce)) => announce,
            other => panic!("{text}: {other:?}"),
        }
    }

    fn refused(text: &str) -> &'static str {
        Message::parse(text.as_bytes()).unwrap_err().reason
    }

    #[test]
    fn left_as_clients_write_it() {
        for (left, whole) in [
            ("0", Some(true)),
            ("0.0", Some(true)),
            ("\"0\"", Some(true)),
            ("1", Some(false)),
            ("1e300", Some(false)),
            ("18446744073709551615", Some(false)),
            ("null", None),
            ("-1", None),
            ("\"\"", None),
        ] {
            assert_eq!(parsed(&announce(&format!(",\"left\":{left}"))).whole, whole, "{left}");
        }
        assert_eq!(parsed(&announce("")).whole, None);
    }

    #[test]
    fn null_is_nothing() {
        let text =
            announce(r#","event":null,"offers":null,"answer":null,"to_peer_id":null,"trackerid":null"#);
        let read = parsed(&text);
        assert!(read.offers.is_empty() && read.event == Event::Regular);
    }

    #[test]
    fn only_the_first_offers_count() {
        let offer = r#"{"offer_id":"oooooooooooooooooooo","offer":{"type":"offer","sdp":"v=0\r\n"}}"#;
        let text = announce(&format!(",\"offers\":[{}]", [offer; MAX_OFFERS + 3].join(",")));
        let read = parsed(&text);
        assert_eq!(read.offers.len(), MAX_OFFERS);
        assert_eq!(read.offers[0].sdp(), "v=0\r\n");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for text in ["", "[]", "{}", "{\"action\":1}", "{\"action\":\"dance\"}", "{\"action\":\"scrape\"}"] {
            refused(text);
        }
        assert_eq!(refused(r#"{"action":"scrape","info_hash":[]}"#), "the scrape names no torrent");
        let two = format!(r#"{{"action":"announce","info_hash":["{HASH}","{HASH}"],"peer_id":"{PEER}"}}"#);
        assert_eq!(refused(&two), "the announce names no torrent");
        let alone = format!(r#"{{"action":"announce","info_hash":"{HASH}"}}"#);
        assert_eq!(refused(&alone), "peer_id is missing");
        let answer = r#","answer":{"type":"answer","sdp":""}"#;
        assert_eq!(refused(&announce(answer)), "to_peer_id is missing");
        let long = "x".repeat(MAX_SDP + 1);
        for (kind, sdp) in [("answer", ""), ("offer", long.as_str())] {
            let offers =
                format!(r#","offers":[{{"offer_id":"{PEER}","offer":{{"type":"{kind}","sdp":"{sdp}"}}}}]"#);
            refused(&announce(&offers));
        }
        refused(&format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)));
    }

    #[test]
    fn what_is_unknown_is_passed_over_however_deep() {
        parsed(&announce(&format!(r#","x":{}1{}"#, "[".repeat(30_000), "]".repeat(30_000))));
    }

    #[test]
    fn scrapes_of_one_and_of_many() {
        let one = format!(r#"{{"action":"scrape","info_hash":"{HASH}"}}"#);
        let list = format!(
            r#"{{"action":"scrape","info_hash":[{}]}}"#,
            [format!("\"{HASH}\"").as_str(); 100].join(",")
        );
        for (text, n) in [(one, 1), (list, MAX_SCRAPE)] {
            assert!(matches!(Message::parse(text.as_bytes()), Ok(Message::Scrape(h)) if h.len() == n));
        }
    }
}
