//! Taking the ports of a client: TCP for peers, and UDP of the same number for the DHT.
//!
//! Peers that know one port find the other, and one rule of a firewall covers both. Where the system picks the port it
//! has to be free in both; where the user names it, TCP counts, and UDP that cannot be had is a problem and no error,
//! unless the configuration insists. One DHT node a family is enough: it is on the first address of that family.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;

use crate::api::Config;
use crate::client::{BindError, StartError};
use crate::dht::{self, Port};
use crate::net::tcp;

/// Ports that the system picks before we give up: most are free in both.
const TRIES: usize = 32;

/// What was had.
#[derive(Debug, Default)]
pub(crate) struct Ports {
    pub(crate) listeners: Vec<TcpListener>,
    pub(crate) udp: Vec<Port>,
    /// Nobody can call us.
    pub(crate) unlisted: bool,
    /// UDP that could not be had.
    pub(crate) problems: Vec<BindError>,
}

impl Ports {
    /// Takes what the configuration asks for.
    ///
    /// # Errors
    /// If an address can't be had.
    pub(crate) fn take(config: &Config) -> Result<Self, StartError> {
        let mut ports = Self { unlisted: config.listen.is_empty(), ..Self::default() };
        for &addr in &config.listen {
            let first = ports.listeners.iter().all(|other| family(other) != Some(addr.is_ipv4()));
            if let Some(dht) = config.dht.as_ref().filter(|_| first) {
                ports.both(addr, dht.insist)?;
            } else {
                ports.listeners.push(listen(addr)?);
            }
        }
        if ports.unlisted && config.dht.is_some() {
            match dht::pick_ports() {
                Ok(picked) => ports.udp = picked,
                Err(problem) => ports.problems.push(problem),
            }
        }
        Ok(ports)
    }

    /// TCP and UDP of one number.
    fn both(&mut self, addr: SocketAddr, insist: bool) -> Result<(), StartError> {
        let mut tries = if addr.port() == 0 { TRIES } else { 1 };
        loop {
            tries -= 1;
            let listener = listen(addr)?;
            let addr = listener.local_addr().unwrap_or(addr);
            match Port::bind(addr) {
                Ok(port) => self.udp.push(port),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries > 0 => continue,
                Err(source) if insist => return Err(StartError::BindUdp(BindError { addr, source })),
                Err(source) => self.problems.push(BindError { addr, source }),
            }
            self.listeners.push(listener);
            return Ok(());
        }
    }
}

fn listen(addr: SocketAddr) -> Result<TcpListener, BindError> {
    tcp::listen(addr).map_err(|source| BindError { addr, source })
}

fn family(listener: &TcpListener) -> Option<bool> {
    listener.local_addr().ok().map(|addr| addr.is_ipv4())
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;
    use crate::dht::DhtConfig;

    fn config(listen: &[&str], dht: Option<DhtConfig>) -> Config {
        let listen = listen.iter().map(|addr| addr.parse().unwrap()).collect();
        Config { listen, dht, ..Config::default() }
    }

    fn quiet() -> Option<DhtConfig> {
        Some(DhtConfig { bootstrap: Vec::new(), ..DhtConfig::default() })
    }

    #[tokio::test]
    async fn udp_has_the_number_of_tcp_once_a_family() {
        let ports = Ports::take(&config(&["127.0.0.1:0", "127.0.0.2:0", "[::1]:0"], quiet())).unwrap();
        let tcp: Vec<_> = ports.listeners.iter().map(|listener| listener.local_addr().unwrap()).collect();
        let udp: Vec<_> = ports.udp.iter().map(Port::local).collect();
        assert_eq!(udp, [tcp[0], tcp[2]]);
        assert!(ports.problems.is_empty() && !ports.unlisted);
    }

    #[tokio::test]
    async fn what_is_taken_is_told_or_refused() {
        let other = UdpSocket::bind("127.0.0.1:0").unwrap();
        let taken = other.local_addr().unwrap();
        let ports = Ports::take(&config(&[&taken.to_string()], quiet())).unwrap();
        assert!(ports.udp.is_empty() && ports.problems[0].addr == taken);
        drop(ports);
        let insisting = quiet().map(|dht| DhtConfig { insist: true, ..dht });
        let refused = Ports::take(&config(&[&taken.to_string()], insisting));
        assert!(matches!(refused, Err(StartError::BindUdp(error)) if error.addr == taken));
    }

    #[tokio::test]
    async fn without_the_dht_there_is_no_udp_and_without_listeners_the_system_picks() {
        assert!(Ports::take(&config(&["127.0.0.1:0"], None)).unwrap().udp.is_empty());
        assert!(Ports::take(&config(&[], None)).unwrap().udp.is_empty());
        let ports = Ports::take(&config(&[], quiet())).unwrap();
        assert!(!ports.udp.is_empty() && ports.unlisted);
    }
}
