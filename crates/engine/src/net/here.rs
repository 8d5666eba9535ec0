//! From which of our addresses others are called.
//!
//! Who listens on one address of several wants to be known by that one, and a tracker knows a peer by where it calls
//! from. An address that reaches no further than this machine is called from only within it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// The addresses that we listen on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Here(Arc<[IpAddr]>);

impl Here {
    pub(crate) fn new(listening: &[SocketAddr]) -> Self {
        Self(listening.iter().map(SocketAddr::ip).filter(|ip| !ip.is_unspecified()).collect())
    }

    /// Where to call `to` from; `None` leaves it to the system.
    pub(crate) fn towards(&self, to: IpAddr) -> Option<IpAddr> {
        let fits = |ip: &&IpAddr| ip.is_ipv4() == to.is_ipv4() && ip.is_loopback() == to.is_loopback();
        self.0.iter().find(fits).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn called_from_where_we_listen_if_that_reaches_there() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let listening = ["127.0.0.2:1", "192.0.2.1:1", "[::]:1", "[2001:db8::1]:1"];
        let here = Here::new(&listening.map(|addr| addr.parse().unwrap()));
        assert_eq!(here.towards(ip("127.0.0.1")), Some(ip("127.0.0.2")));
        assert_eq!(here.towards(ip("198.51.100.1")), Some(ip("192.0.2.1")));
        assert_eq!(here.towards(ip("2001:db8::2")), Some(ip("2001:db8::1")));
        assert_eq!(here.towards(ip("::1")), None);
        assert_eq!(Here::default().towards(ip("127.0.0.1")), None);
    }
}
