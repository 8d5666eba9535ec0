//! Peer exchange (BEP 11): what is accepted is within its caps, can be called, and is written and read back the same.

use samara_proto::wire::PexMessage;

/// Peers that are read of each list.
const MAX_READ: usize = 100;

/// Runs one input.
pub fn run(data: &[u8]) {
    let Ok(message) = PexMessage::parse(data) else { return };
    let added = || message.added.iter().map(|(addr, _)| addr);
    for v4 in [true, false] {
        assert!(added().filter(|addr| addr.is_ipv4() == v4).count() <= 2 * MAX_READ);
    }
    assert!(message.added.len().max(message.dropped.len()) <= 2 * MAX_READ);
    assert!(
        added().chain(&message.dropped).all(|addr| addr.port() != 0 && addr.ip() == addr.ip().to_canonical())
    );
    let mut bytes = Vec::new();
    message.encode(&mut bytes);
    let again = PexMessage::parse(&bytes).expect("what was written is read");
    // Mapped addresses of a list of IPv6 come back among those of IPv4, where there may be too many of them.
    let all_fit = added().chain(&message.dropped).filter(|addr| addr.is_ipv4()).count() <= MAX_READ;
    let sorted = |message: &PexMessage| {
        let (mut added, mut dropped) = (message.added.clone(), message.dropped.clone());
        added.sort_by_key(|(addr, _)| !addr.is_ipv4());
        dropped.sort_by_key(|addr| !addr.is_ipv4());
        (added, dropped)
    };
    assert!(!all_fit || sorted(&again) == sorted(&message));
}
