use super::*;
use crate::ids::FileIndex;
use proptest::prelude::*;
use std::collections::BTreeSet;

const V1: &str = "aabbccddeeff00112233445566778899aabbccdd";
const V2: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

fn v1() -> InfoHashV1 {
    InfoHashV1::from_hex(V1).unwrap()
}

fn v2() -> InfoHashV2 {
    InfoHashV2::from_hex(V2).unwrap()
}

#[test]
fn a_link_with_everything() {
    let link = format!(
        "magnet:?xt=urn:btih:{V1}&xt=urn:btmh:1220{V2}&dn=a+winged%20s%C3%A9ed%2B&xl=42\
         &tr=udp%3A%2F%2Ft.example%3A1%2Fa%2Bb&tr.1=http://u.example/announce?k=v&ws=http%3A%2F%2Fw.example%2F\
         &x.pe=1.2.3.4:5&x.pe=%5B2001%3Adb8%3A%3A1%5D%3A6&x.pe=peer.example:7&so=0,2,4,6-8&as=ignored&junk"
    );
    let m = Magnet::parse(&link).unwrap();
    assert_eq!(m.hashes, InfoHashes::Hybrid(v1(), v2()));
    assert_eq!(m.name.as_deref(), Some("a winged séed+"));
    assert_eq!(m.length, Some(42));
    assert_eq!(m.trackers, ["udp://t.example:1/a+b", "http://u.example/announce?k=v"]);
    assert_eq!(m.web_seeds, ["http://w.example/"]);
    let peers: Vec<_> = m.peers.iter().map(ToString::to_string).collect();
    assert_eq!(peers, ["1.2.3.4:5", "[2001:db8::1]:6", "peer.example:7"]);
    assert_eq!(m.peers[1].addr(), Some("[2001:db8::1]:6".parse().unwrap()));
    assert_eq!(m.peers[2].addr(), None);
    let files: Vec<_> = m.selected.unwrap().files().map(|f| f.0).collect();
    assert_eq!(files, [0, 2, 4, 6, 7, 8]);
}

#[test]
fn hashes_in_every_form() {
    let of = |topic: String| Magnet::parse(&format!("magnet:?xt={topic}")).map(|m| m.hashes);
    assert_eq!(of(format!("urn:btih:{V1}")), Ok(InfoHashes::V1(v1())));
    assert_eq!(of(format!("urn%3Abtih%3A{}", V1.to_uppercase())), Ok(InfoHashes::V1(v1())));
    // Python: base64.b32encode(bytes.fromhex(V1))
    assert_eq!(of("URN:BTIH:VK54ZXPO74ABCIRTIRKWM54ITGVLXTG5".to_owned()), Ok(InfoHashes::V1(v1())));
    assert_eq!(of(format!("urn:btmh:1220{V2}")), Ok(InfoHashes::V2(v2())));
    assert_eq!(of(format!("urn:btih:{V1}&xt=urn:btih:{V1}&xt=urn:ed2k:1")), Ok(InfoHashes::V1(v1())));
}

#[test]
fn bare_hashes() {
    let of = |text: &str| Magnet::parse_source(text).map(|m| m.hashes);
    assert_eq!(of(&format!(" {V1}\n")), Ok(InfoHashes::V1(v1())));
    assert_eq!(of("vk54zxpo74abcirtirkwm54itgvlxtg5"), Ok(InfoHashes::V1(v1())));
    assert_eq!(of(V2), Ok(InfoHashes::V2(v2())));
    assert_eq!(of(&format!("MAGNET:?xt=urn:btih:{V1}")), Ok(InfoHashes::V1(v1())));
    assert_eq!(of("magnet:?dn=x"), Err(MagnetError::NoHash));
    for bad in ["", "x", &V1[1..], &V2[1..], "vk54zxpo74abcirtirkwm54itgvlxtg1", "ä".repeat(16).as_str()] {
        assert_eq!(of(bad), Err(MagnetError::NotAnInfoHash), "{bad}");
    }
}

#[test]
fn refusals() {
    let of = |rest: &str| Magnet::parse(&format!("magnet:?xt=urn:btih:{V1}&{rest}")).map(|_| ()).unwrap_err();
    assert_eq!(of(&format!("xt=urn:btih:{}", V1.replace('a', "b"))), MagnetError::Conflict);
    assert_eq!(of("xt=urn:btih:00"), MagnetError::BadV1);
    assert_eq!(of(&format!("xt=urn:btmh:1221{V2}")), MagnetError::BadV2);
    assert_eq!(of(&format!("xt=urn:btmh:{V2}")), MagnetError::BadV2);
    for so in ["x", "1,", "1-", "-1", "2-1", "+1", "0-1048576", "99999999999"] {
        assert_eq!(of(&format!("so={so}")), MagnetError::BadSelection, "{so}");
    }
    assert_eq!(of(&"x".repeat(MAX_LEN)), MagnetError::TooLong);
    assert_eq!(Magnet::parse("magnet:xt=1"), Err(MagnetError::NotAMagnet));
    assert_eq!(Magnet::parse("magnet:?"), Err(MagnetError::NoHash));
    assert_eq!(Magnet::parse("magnét:?"), Err(MagnetError::NotAMagnet));
}

#[test]
fn malformed_extras_are_passed_over() {
    let link = format!(
        "magnet:?xt=urn:btih:{V1}&xl=many&dn=&tr=&ws=&so=&x.pe=a&x.pe=a:0&x.pe=::1:5&x.pe=[x]:1&x.pe=a/b:1"
    );
    assert_eq!(Magnet::parse(&link), Ok(Magnet::new(InfoHashes::V1(v1()))));
}

fn hashes() -> impl Strategy<Value = InfoHashes> {
    let (v1, v2) = (any::<[u8; 20]>().prop_map(InfoHashV1), any::<[u8; 32]>().prop_map(InfoHashV2));
    prop_oneof![
        v1.clone().prop_map(InfoHashes::V1),
        v2.clone().prop_map(InfoHashes::V2),
        (v1, v2).prop_map(|(v1, v2)| InfoHashes::Hybrid(v1, v2)),
    ]
}

fn peer() -> impl Strategy<Value = Host> {
    let addr = (any::<std::net::IpAddr>(), 1u16..).prop_map(|addr| std::net::SocketAddr::from(addr).into());
    let name =
        ("[a-z][a-z0-9.-]{0,20}", 1u16..).prop_map(|(name, port)| format!("{name}:{port}").parse().unwrap());
    prop_oneof![addr, name]
}

fn magnet() -> impl Strategy<Value = Magnet> {
    let urls = || prop::collection::vec(".{1,20}", 0..3);
    let selected = prop::collection::vec(0..=MAX_SELECTED_INDEX, 0..9);
    let peers = prop::collection::vec(peer(), 0..3);
    let name = prop::option::of(".{1,20}");
    (hashes(), name, any::<Option<u64>>(), urls(), urls(), peers, selected).prop_map(
        |(hashes, name, length, trackers, web_seeds, peers, selected)| {
            let selected = Selection::new(selected.into_iter().map(FileIndex));
            Magnet { hashes, name, length, trackers, web_seeds, peers, selected }
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read_and_needs_no_quoting(magnet in magnet()) {
        let link = magnet.to_string();
        prop_assert!(link.bytes().all(|b| b.is_ascii_graphic()), "{}", link);
        prop_assert_eq!(link.parse(), Ok(magnet));
    }

    #[test]
    fn any_text_is_read_or_refused(text in "(magnet:\\?)?.{0,60}") {
        let _ = Magnet::parse_source(&text);
    }

    #[test]
    fn selections_are_sets(ranges in prop::collection::vec((0u32..40, 0u32..5), 1..12)) {
        let model: BTreeSet<u32> = ranges.iter().flat_map(|(first, more)| *first..=first + more).collect();
        let list: Vec<_> = ranges.iter().map(|(first, more)| format!("{first}-{}", first + more)).collect();
        let read: Selection = list.join(",").parse().unwrap();
        prop_assert_eq!(&read.files().map(|f| f.0).collect::<BTreeSet<_>>(), &model);
        for i in 0..50 {
            prop_assert_eq!(read.contains(FileIndex(i)), model.contains(&i));
        }
        let by_index = Selection::new(model.iter().rev().map(|i| FileIndex(*i)));
        prop_assert_eq!(by_index.as_ref(), Some(&read), "the ranges are merged");
    }
}
