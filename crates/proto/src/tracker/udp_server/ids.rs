//! Connection ids that need no memory.

use std::net::IpAddr;
use std::time::Duration;

use crate::siphash::Key;
use crate::time::Time;

/// An id is good in the window in which it was given out and in the next one: for two to four minutes. BEP 15 has
/// clients use it for one, and servers accept it for two after it was sent.
const WINDOW: Duration = Duration::from_secs(120);

/// Set in every id.
const MARK: u64 = 1 << 63;

/// Makes and checks connection ids: a keyed hash of the client's address and the time, so that only who gets answers
/// at an address can know the address's id. All threads of a server make the same ids from the same secret.
///
/// The highest bit of an id is set, so that no announce begins with `d` as the messages of a DHT node do, which may share
/// the socket.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionIds(Key);

impl ConnectionIds {
    /// From a secret, which no other server has.
    pub fn new(secret: [u8; 16]) -> Self {
        Self(Key::new(secret))
    }

    /// The id for a client. The port is not part of it: some clients talk from several.
    pub fn give(self, now: Time, client: IpAddr) -> u64 {
        self.of(window(now), client)
    }

    /// Whether this client was given this id, lately.
    pub fn accept(self, now: Time, client: IpAddr, id: u64) -> bool {
        let current = window(now);
        // The lowest bit tells in which window it was made.
        let made = if current & 1 == id & 1 { Some(current) } else { current.checked_sub(1) };
        made.is_some_and(|made| self.of(made, client) == id)
    }

    fn of(self, window: u64, client: IpAddr) -> u64 {
        let hash = match client {
            IpAddr::V4(ip) => {
                let mut input = [0; 12];
                input[..4].copy_from_slice(&ip.octets());
                input[4..].copy_from_slice(&window.to_le_bytes());
                self.0.sip24(&input)
            }
            IpAddr::V6(ip) => {
                let mut input = [0; 24];
                input[..16].copy_from_slice(&ip.octets());
                input[16..].copy_from_slice(&window.to_le_bytes());
                self.0.sip24(&input)
            }
        };
        MARK | hash & !1 | window & 1
    }
}

fn window(now: Time) -> u64 {
    now.as_micros() / WINDOW.as_micros() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_for_two_to_four_minutes_and_for_one_address() {
        let ids = ConnectionIds::new([7; 16]);
        let at = |s| Time::ZERO + Duration::from_secs(s);
        for addr in ["192.0.2.1", "2001:db8::1"].map(|text| text.parse::<IpAddr>().unwrap()) {
            for given in [0, 1, 119, 120, 100_000] {
                let id = ids.give(at(given), addr);
                assert!(id.to_be_bytes()[0] >= 0x80, "{id:x} may begin with a letter");
                for later in 0..=120 {
                    assert!(ids.accept(at(given + later), addr, id), "{later} s after {given} s");
                }
                for later in 240..600 {
                    assert!(!ids.accept(at(given + later), addr, id), "{later} s after {given} s");
                }
                assert!(given < 120 || !ids.accept(at(given - 120), addr, id), "an id from the future");
                for bit in 0..64 {
                    assert!(!ids.accept(at(given), addr, id ^ 1 << bit));
                }
                assert!(!ConnectionIds::new([8; 16]).accept(at(given), addr, id));
                assert!(!ids.accept(at(given), "192.0.2.2".parse().unwrap(), id));
                assert!(!ids.accept(at(given), "2001:db8::2".parse().unwrap(), id));
            }
        }
    }
}
