//! What `get`, `seed` and `send` have in common: starting the engine, finding peers, telling what happens.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Result, bail};
use samara_engine::{Client, Config, Limits, PeerState, Snapshot, StartError, State, TorrentEvent};
use samara_proto::magnet::Host;

use crate::args::Net;
use crate::exit::usage;
use crate::ui::json::{Metadata, Tracker};
use crate::ui::{Event, Progress, Ui};

/// Ports tried in turn where the user names none: BitTorrent's customary ones.
pub(crate) const PORTS: std::ops::RangeInclusive<u16> = 6881..=6999;

/// What the engine speaks today.
const TRANSPORTS: &[&str] = &["tcp"];

/// Starts the engine as the network options say, and tells where it listens.
///
/// # Errors
/// If an address cannot be had, which is a matter of configuration.
pub(crate) async fn start(net: &Net, ui: &mut Ui) -> Result<Client> {
    let mut config =
        Config { state_dir: net.state_dir.clone().or_else(default_state_dir), ..Config::default() };
    config.limits = Limits { down: net.limit_down, up: net.limit_up };
    config.limit_lan = !net.no_limit_lan;
    config.trackers = !net.no_trackers;
    config.lsd = !net.no_lsd;
    config.pex = !net.no_pex;
    config.inside_trackers = net.reach.policy().inside;
    config.dht = net.dht();
    if let Some(max) = net.max_peers {
        config.max_peers = max.into();
    }
    let client = if net.listen.is_empty() {
        listen_somewhere(config).await
    } else {
        config.listen.clone_from(&net.listen);
        Client::start(config).await
    };
    let client = client.map_err(refused)?;
    for &addr in client.listening() {
        ui.event(&Event::Listening { addr, transports: TRANSPORTS })?;
    }
    for problem in client.dht_problems() {
        let family = if problem.addr.is_ipv4() { "IPv4" } else { "IPv6" };
        let (addr, source) = (problem.addr, &problem.source);
        ui.warning(&format!("can't use UDP on {addr}: {source}; the DHT does without {family}"))?;
    }
    Ok(client)
}

/// Takes the first port that is free on all interfaces, for UDP too if the DHT needs it.
async fn listen_somewhere(mut config: Config) -> Result<Client, StartError> {
    config.dht.iter_mut().for_each(|dht| dht.insist = true);
    let mut port = *PORTS.start();
    loop {
        match listen_on(port, &config).await {
            Err(error) if is_taken(&error) && port < *PORTS.end() => port += 1,
            other => return other,
        }
    }
}

fn is_taken(error: &StartError) -> bool {
    let (StartError::Bind(error) | StartError::BindUdp(error)) = error else { return false };
    error.source.kind() == io::ErrorKind::AddrInUse
}

/// Both families on one port; IPv4 alone where there is no IPv6.
async fn listen_on(port: u16, config: &Config) -> Result<Client, StartError> {
    let v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    let v6 = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    match Client::start(Config { listen: vec![v4, v6], ..config.clone() }).await {
        Err(StartError::Bind(e)) if e.addr == v6 && e.source.kind() != io::ErrorKind::AddrInUse => {
            Client::start(Config { listen: vec![v4], ..config.clone() }).await
        }
        other => other,
    }
}

fn refused(error: StartError) -> anyhow::Error {
    match error {
        StartError::Bind(_) | StartError::BindUdp(_) => {
            usage(format!("{error}: choose another address with --listen"))
        }
        other => other.into(),
    }
}

/// Where the platform wants state to be kept; `None` if it does not say.
pub(crate) fn default_state_dir() -> Option<PathBuf> {
    let from = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let base = if cfg!(windows) {
        from("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        from("HOME").map(|home| home.join("Library/Application Support"))
    } else {
        from("XDG_STATE_HOME")
            .filter(|p| p.is_absolute())
            .or_else(|| Some(from("HOME")?.join(".local/state")))
    };
    Some(base?.join("samara"))
}

/// The addresses of all `peers`. Names that cannot be resolved are warned of.
///
/// # Errors
/// If there are peers and none has an address.
pub(crate) async fn resolve(peers: &[Host], ui: &mut Ui) -> Result<Vec<SocketAddr>> {
    let mut found = Vec::new();
    for peer in peers {
        match tokio::net::lookup_host((peer.name(), peer.port())).await {
            Ok(addrs) => found.extend(addrs),
            Err(error) => ui.warning(&format!("the peer {peer} cannot be found: {error}"))?,
        }
    }
    if found.is_empty() && !peers.is_empty() {
        bail!("none of the peers has an address: check how their names are written");
    }
    Ok(found)
}

/// Addresses by which others may reach a client that listens on `listening`: those of all interfaces where it listens
/// on all, loopback only if there is nothing else.
pub(crate) fn reachable(listening: &[SocketAddr]) -> Vec<SocketAddr> {
    let interfaces: Vec<IpAddr> =
        if_addrs::get_if_addrs().unwrap_or_default().into_iter().map(|i| i.ip()).collect();
    expand(listening, &interfaces)
}

fn expand(listening: &[SocketAddr], interfaces: &[IpAddr]) -> Vec<SocketAddr> {
    let mut all: Vec<SocketAddr> = Vec::new();
    for addr in listening {
        if addr.ip().is_unspecified() {
            let same_family =
                interfaces.iter().filter(|ip| ip.is_ipv4() == addr.is_ipv4() && !needs_scope(ip));
            all.extend(same_family.map(|ip| SocketAddr::new(*ip, addr.port())));
        } else {
            all.push(*addr);
        }
    }
    let mut outside: Vec<_> = all.iter().copied().filter(|a| !a.ip().is_loopback()).collect();
    outside.sort_by_key(SocketAddr::is_ipv6);
    if outside.is_empty() { all } else { outside }
}

/// Link-local addresses mean nothing without the interface, which a link cannot name.
const fn needs_scope(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

/// A snapshot as the user sees it. Rates are means over some time, but with nobody there nothing flows.
pub(crate) fn progress(snapshot: &Snapshot) -> Progress {
    let rate = |rate| if snapshot.peers == 0 { 0 } else { rate };
    Progress {
        done: snapshot.done,
        total: snapshot.total,
        down_rate: rate(snapshot.down_rate),
        up_rate: rate(snapshot.up_rate),
        downloaded: snapshot.downloaded,
        uploaded: snapshot.uploaded,
        peers: snapshot.peers,
        seeds: snapshot.seeds,
        search: None,
        hashes_lack: snapshot.state == State::Metadata && snapshot.total > 0,
        map: snapshot.piece_map.clone(),
    }
}

/// Tells of what is told alike by every command. What is left (started, complete, failed) is up to the command.
///
/// # Errors
/// If stdout is closed, with `--json`.
pub(crate) fn tell(event: &TorrentEvent, ui: &mut Ui) -> io::Result<()> {
    match event {
        TorrentEvent::Metadata(info) => ui.event(&Event::Metadata(Metadata::of(info))),
        TorrentEvent::Checking { done, total } => ui.event(&Event::Checking { done: *done, total: *total }),
        TorrentEvent::Peer { addr, state, client, reason } => ui.event(&Event::Peer {
            addr: *addr,
            state: peer_state(*state),
            client: client.as_deref(),
            reason: reason.as_ref().map(|r| r.name()),
        }),
        TorrentEvent::Tracker(report) => ui.event(&Event::Tracker(Tracker::of(report))),
        TorrentEvent::Warning(message) | TorrentEvent::Paused(message) => ui.warning(message),
        _ => Ok(()),
    }
}

const fn peer_state(state: PeerState) -> &'static str {
    match state {
        PeerState::Connected => "connected",
        PeerState::Gone => "gone",
        PeerState::Banned => "banned",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addrs(listening: &[&str], interfaces: &[&str]) -> Vec<String> {
        let listening: Vec<SocketAddr> = listening.iter().map(|a| a.parse().unwrap()).collect();
        let interfaces: Vec<IpAddr> = interfaces.iter().map(|a| a.parse().unwrap()).collect();
        expand(&listening, &interfaces).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn all_interfaces_stand_for_each_but_loopback() {
        let interfaces = ["127.0.0.1", "::1", "2001:db8::1", "fe80::1", "192.0.2.7", "169.254.1.1"];
        assert_eq!(addrs(&["[::]:9", "0.0.0.0:8"], &interfaces), ["192.0.2.7:8", "[2001:db8::1]:9"]);
        assert_eq!(addrs(&["0.0.0.0:8"], &["127.0.0.1"]), ["127.0.0.1:8"]);
        assert_eq!(addrs(&["127.0.0.1:8"], &interfaces), ["127.0.0.1:8"]);
    }
}
