//! Whether this is still the network we began in: a laptop that wakes elsewhere has another address towards the world.
//!
//! A UDP socket that is connected says from which address it would send, and sends nothing. So one look costs a few
//! system calls, works everywhere, and tells of no more than what matters: another way out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Addresses for documentation (RFC 5737, RFC 3849): they lie where most of the world does.
const WORLD: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9),
    SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)), 9),
];

/// From where we would send to the world, by family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Route([Option<IpAddr>; 2]);

impl Route {
    /// As it is now.
    pub(super) fn look() -> Self {
        Self(WORLD.map(from))
    }

    /// Takes what is so now. Whether some family has a way out that is not the one it had last.
    pub(super) fn becomes(&mut self, now: Self) -> bool {
        let mut changed = false;
        for (old, new) in self.0.iter_mut().zip(now.0) {
            // Where there is none nobody can be asked; what was before is kept, for it may come back.
            if new.is_some() {
                changed |= *old != new;
                *old = new;
            }
        }
        changed
    }
}

fn from(world: SocketAddr) -> Option<IpAddr> {
    let any: SocketAddr = match world {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(world).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_way_out_is_another_network_and_none_is_a_pause() {
        let ip = |text: &str| Some(text.parse().unwrap());
        let mut route = Route([ip("192.0.2.7"), None]);
        assert!(!route.becomes(Route([None, None])));
        assert!(!route.becomes(Route([ip("192.0.2.7"), None])));
        assert!(route.becomes(Route([ip("198.51.100.7"), None])));
        assert!(route.becomes(Route([None, ip("2001:db8::7")])));
        assert!(!route.becomes(Route([ip("198.51.100.7"), ip("2001:db8::7")])));
        // Whatever this machine has, it does not change between two looks.
        let mut now = Route::look();
        assert!(!now.becomes(now));
    }
}
