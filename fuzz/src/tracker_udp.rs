//! Datagrams of UDP trackers: what can be read is written back the same, and answers stay within their caps.

use samara_proto::tracker::udp::{
    AnnounceWriter, Body, Head, ScrapeWriter, parse_request, parse_response, transaction, write_connect,
    write_error,
};
use samara_proto::tracker::{AnnounceResponse, Family, MAX_PEERS};

/// Runs one input: as a request, and as an answer over either family.
pub fn run(data: &[u8]) {
    request(data);
    for family in [Family::V4, Family::V6] {
        let Ok(answer) = parse_response(data, family) else { continue };
        assert_eq!(transaction(data), Some(answer.transaction));
        match answer.body {
            Body::Connect { connection } => {
                assert_eq!(write_connect(answer.transaction, connection), data[..16])
            }
            Body::Announce(body) => announce(data, family, answer.transaction, &body),
            Body::Scrape(stats) => {
                let mut out = vec![0; data.len()];
                let mut writer =
                    ScrapeWriter::new(&mut out, answer.transaction).expect("as long as what was read");
                let mut signed = true;
                for stats in stats.iter() {
                    signed &=
                        [stats.complete, stats.downloaded, stats.incomplete].iter().all(|n| *n >> 31 == 0);
                    assert!(writer.stats(stats));
                }
                let len = writer.finish();
                assert!(!signed || out[..len] == data[..len]);
            }
            Body::Error(text) => {
                assert!(!text.chars().any(char::is_control) && text.len() <= 3 * 512);
                let mut out = vec![0; 8 + text.len()];
                let len = write_error(&mut out, answer.transaction, &text);
                let again = parse_response(&out[..len], family).expect("what is written can be read");
                assert_eq!(again.transaction, answer.transaction);
            }
        }
    }
}

fn request(data: &[u8]) {
    let Ok(request) = parse_request(data) else { return };
    let mut out = Vec::new();
    request.write(&mut out);
    assert_eq!(parse_request(&out), Ok(request));
    assert!(out.len() <= data.len());
}

fn announce(data: &[u8], family: Family, transaction: u32, body: &AnnounceResponse) {
    assert!(body.peers.len() <= MAX_PEERS && body.peers.iter().all(|peer| peer.port() != 0));
    let head = Head {
        interval: body.interval,
        complete: body.complete.expect("the head is always whole"),
        incomplete: body.incomplete.expect("the head is always whole"),
    };
    let mut out = vec![0; data.len()];
    let mut writer =
        AnnounceWriter::new(&mut out, family, transaction, head).expect("as long as what was read");
    // A mapped IPv4 address came out as IPv4 and does not go back in.
    let fit: Vec<_> = body.peers.iter().filter(|peer| writer.peer(**peer)).copied().collect();
    let len = writer.finish();
    let again = parse_response(&out[..len], family).expect("what is written can be read");
    let Body::Announce(again) = again.body else { panic!("an announce becomes {again:?}") };
    assert_eq!(again.peers, fit);
}
