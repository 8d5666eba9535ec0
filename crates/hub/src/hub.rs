//! Starting and stopping: binds, spawns the threads, and ends them again.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use samara_proto::http::server::Limits;
use samara_proto::swarms::Stats;
use samara_proto::tracker::udp_server::ConnectionIds;

use crate::access::Access;
use crate::clock::Clock;
use crate::config::{Config, Part};
use crate::dht;
use crate::http::{Listeners, Service, Worker};
use crate::keeper::Keeper;
use crate::shared::Reader;
use crate::site::Site;
use crate::sockets;
use crate::state;
use crate::stopper::Stopper;
use crate::store::Store;
use crate::tls;
use crate::udp;
use crate::watch::{Nudge, Watched, Watcher};
use crate::ws::Switchboard;

/// Most connections of one worker.
const MAX_CONNECTIONS: usize = 16 * 1024;

/// Why a hub did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("cannot answer {protocol} at {addr}: {cause}")]
    Bind {
        /// `HTTP`, `HTTPS` or `UDP`.
        protocol: &'static str,
        /// As it was set.
        addr: SocketAddr,
        /// What the system says.
        cause: io::Error,
    },
    /// A file that the configuration names cannot be used.
    #[error("{0}")]
    File(String),
    /// No address could be listened on.
    #[error("none of the addresses can be listened on")]
    Nowhere,
    /// The system gives no thread or no queue of events.
    #[error("the system gives no thread: {0}")]
    Thread(#[from] io::Error),
}

/// A running hub.
#[derive(Debug)]
pub struct Hub {
    http: Vec<SocketAddr>,
    https: Vec<SocketAddr>,
    udp: Vec<SocketAddr>,
    site: Arc<Site>,
    keepers: Vec<Keeper>,
    stoppers: Vec<Stopper>,
    threads: Vec<JoinHandle<()>>,
    /// The watching thread ends with it.
    nudge: Option<Nudge>,
}

impl Hub {
    /// Reads every file that the configuration names, and starts nothing.
    ///
    /// # Errors
    /// If a file cannot be used.
    pub fn check(config: &Config) -> Result<(), StartError> {
        Access::open(config, 0).map_err(StartError::File)?;
        tls::open(config).map_err(StartError::File)?;
        check_files(config).map_err(StartError::File)
    }

    /// Reads every file that the configuration names, binds every address, and starts to answer.
    ///
    /// # Errors
    /// If a file cannot be used, or an address cannot be listened on; of the default addresses, if none can.
    pub fn start(config: &Config) -> Result<Self, StartError> {
        let clock = Clock::start();
        let (access, mut files) = Access::open(config, seed()?).map_err(StartError::File)?;
        let greeting = tls::open(config).map_err(StartError::File)?.map(|(greeting, watched)| {
            files.push(watched);
            greeting
        });
        check_files(config).map_err(StartError::File)?;
        let store = Store::new(config, clock)?;
        // WebSockets begin as HTTP.
        let board = (config.runs(Part::Tracker) && !(config.http.is_empty() && config.https.is_empty()))
            .then(|| Switchboard::new(config.signalling(), access.gate(), clock, seed()?))
            .transpose()?;
        let (udp, datagrams) = bind_udp(config)?;
        let mut site = Site::new(config.clone(), clock, store, access);
        site.door = board.as_ref().map(Switchboard::door);
        if let Some(sockets) = datagrams.first().filter(|_| config.runs(Part::Dht)) {
            site.dht = Some(dht::Node::open(config, clock, dht::Ports::of(sockets)?)?);
        }
        let mut hub = Self {
            http: Vec::new(),
            https: Vec::new(),
            site: Arc::new(site),
            keepers: Vec::new(),
            stoppers: Vec::new(),
            udp,
            threads: Vec::new(),
            nudge: None,
        };
        let shares = hub.bind_http()?;
        if hub.http.is_empty() && hub.https.is_empty() && hub.udp.is_empty() {
            return Err(StartError::Nowhere);
        }
        let connections = MAX_CONNECTIONS.min(sockets::raise_limit() / shares.len().max(1));
        config.state.iter().for_each(|path| state::load(&hub.site.store, clock, path));
        hub.keep()?;
        hub.watch(files)?;
        if let Some(board) = board {
            hub.threads.push(thread::Builder::new().name("websockets".into()).spawn(move || {
                if let Err(error) = board.run() {
                    tracing::error!(%error, "the thread of WebSockets failed");
                }
            })?);
        }
        for (i, mut listeners) in shares.into_iter().enumerate() {
            listeners.greeting = greeting.as_ref().map(Reader::new);
            let make = |desk| Service::new(&hub.site, desk);
            let worker = Worker::new(listeners, make, Limits::default(), clock, connections)?;
            hub.stoppers.push(worker.stopper());
            hub.threads.push(thread::Builder::new().name(format!("http-{i}")).spawn(move || {
                if let Err(error) = worker.run() {
                    tracing::error!(%error, "a worker of the HTTP front end failed");
                }
            })?);
        }
        hub.answer_udp(datagrams)?;
        hub.join()?;
        Ok(hub)
    }

    /// Listeners at every address for each worker.
    fn bind_http(&mut self) -> Result<Vec<Listeners>, StartError> {
        let config = &self.site.config;
        let mut shares: Vec<_> = (0..config.workers).map(|_| Listeners::default()).collect();
        for addr in &config.http {
            let Some(bound) = bind(config, "HTTP", *addr, sockets::tcp)? else { continue };
            self.http
                .extend(bound[0].local_addr().inspect(|addr| tracing::info!(%addr, "answers over HTTP")));
            shares.iter_mut().zip(bound).for_each(|(share, listener)| share.plain.push(listener));
        }
        for addr in &config.https {
            let Some(bound) = bind(config, "HTTPS", *addr, sockets::tcp)? else { continue };
            self.https
                .extend(bound[0].local_addr().inspect(|addr| tracing::info!(%addr, "answers over HTTPS")));
            shares.iter_mut().zip(bound).for_each(|(share, listener)| share.encrypted.push(listener));
        }
        Ok(shares)
    }

    fn answer_udp(&mut self, shares: Vec<Vec<UdpSocket>>) -> io::Result<()> {
        let mut secret = [0; 16];
        getrandom::fill(&mut secret).map_err(io::Error::other)?;
        for (i, sockets) in shares.into_iter().enumerate() {
            let service = udp::Service::new(&self.site, ConnectionIds::new(secret));
            let worker = udp::Worker::new(sockets, service, self.site.clock)?;
            self.stoppers.push(worker.stopper());
            self.threads.push(thread::Builder::new().name(format!("udp-{i}")).spawn(move || {
                if let Err(error) = worker.run() {
                    tracing::error!(%error, "a worker of the UDP front end failed");
                }
            })?);
        }
        Ok(())
    }

    /// Begins to be a node of the DHT.
    fn join(&mut self) -> io::Result<()> {
        let Some(node) = self.site.dht.clone() else { return Ok(()) };
        if let Some(path) = self.site.config.dht_state.clone() {
            let node = Arc::clone(&node);
            self.keepers.push(Keeper::start("dht-save", state::SAVE_EVERY, move || dht::save(&node, &path))?);
        }
        self.threads.push(thread::Builder::new().name("dht".into()).spawn(move || node.run())?);
        Ok(())
    }

    /// Has silent peers forgotten, and the others saved from time to time.
    fn keep(&mut self) -> io::Result<()> {
        let (store, clock) = (Arc::clone(&self.site.store), self.site.clock);
        self.keepers.push(Keeper::start("sweep", store.pause(), move || store.sweep(clock))?);
        if self.site.config.state.is_some() {
            let site = Arc::clone(&self.site);
            self.keepers.push(Keeper::start("save", state::SAVE_EVERY, move || save(&site))?);
        }
        Ok(())
    }

    fn watch(&mut self, files: Vec<Watched>) -> io::Result<()> {
        let (nudge, watcher) = Watcher::new(files, Arc::clone(&self.site.failures));
        self.threads.push(thread::Builder::new().name("watch".into()).spawn(move || watcher.run())?);
        self.nudge = Some(nudge);
        Ok(())
    }

    /// Where it answers over HTTP, with the ports that were really taken.
    pub fn http(&self) -> &[SocketAddr] {
        &self.http
    }

    /// Where it answers over HTTPS.
    pub fn https(&self) -> &[SocketAddr] {
        &self.https
    }

    /// Where it answers over UDP.
    pub fn udp(&self) -> &[SocketAddr] {
        &self.udp
    }

    #[cfg(test)]
    pub(crate) const fn site(&self) -> &Arc<Site> {
        &self.site
    }

    /// Reads lists and certificates again, changed or not, without keeping anybody waiting. What cannot be used is logged, and what was
    /// read before stays in force.
    pub fn reload(&self) {
        self.nudge.iter().for_each(Nudge::reload);
    }

    /// Finishes what is being answered, ends every thread, and saves the swarms.
    pub fn stop(mut self) {
        tracing::info!("stops");
        self.stoppers.iter().for_each(Stopper::stop);
        self.site.door.iter().for_each(|door| door.stop());
        self.site.dht.iter().for_each(|node| node.stop());
        self.nudge = None;
        for thread in self.threads {
            let _ = thread.join();
        }
        self.keepers.into_iter().for_each(Keeper::stop);
        save(&self.site);
        let (node, path) = (&self.site.dht, &self.site.config.dht_state);
        node.iter().zip(path).for_each(|(node, path)| dht::save(node, path));
        self.site.store.stop();
        let Stats { v4, v6 } = self.site.store.stats();
        tracing::info!(swarms = v4.swarms + v6.swarms, v4.leeches, v4.seeds, v6.leeches, v6.seeds, "stopped");
    }
}

/// Sockets at every address for each worker, and where they are.
fn bind_udp(config: &Config) -> Result<(Vec<SocketAddr>, Vec<Vec<UdpSocket>>), StartError> {
    let mut shares: Vec<_> = (0..config.workers).map(|_| Vec::new()).collect();
    let mut addrs = Vec::new();
    for addr in &config.udp {
        let Some(bound) = bind(config, "UDP", *addr, sockets::udp)? else { continue };
        addrs.extend(bound[0].local_addr().inspect(|addr| tracing::info!(%addr, "answers over UDP")));
        shares.iter_mut().zip(bound).for_each(|(share, socket)| share.push(socket));
    }
    shares.retain(|share| !share.is_empty());
    Ok((addrs, shares))
}

/// Whether what is to be saved can be.
fn check_files(config: &Config) -> Result<(), String> {
    config.state.iter().try_for_each(|path| state::check(path))?;
    let dht_state = config.dht_state.iter().filter(|_| config.runs(Part::Dht));
    dht_state.into_iter().try_for_each(|path| dht::check(path))
}

/// Saves the swarms, if they are to be saved.
fn save(site: &Site) {
    let Some(path) = &site.config.state else { return };
    match state::save(&site.store, site.clock, path) {
        Ok(peers) => tracing::debug!(peers, file = %path.display(), "the swarms are saved"),
        Err(error) => tracing::error!(%error, file = %path.display(), "the swarms cannot be saved"),
    }
}

/// A socket for each worker; `None` where a default address need not exist.
fn bind<T>(
    config: &Config,
    protocol: &'static str,
    addr: SocketAddr,
    open: fn(SocketAddr, usize) -> io::Result<Vec<T>>,
) -> Result<Option<Vec<T>>, StartError> {
    match open(addr, config.workers.into()) {
        Ok(bound) => Ok(Some(bound)),
        // A machine without IPv6 still has the other default.
        Err(cause)
            if config.default_addresses && addr.is_ipv6() && cause.kind() != io::ErrorKind::AddrInUse =>
        {
            tracing::warn!(%addr, %cause, "no IPv6 here");
            Ok(None)
        }
        Err(cause) => Err(StartError::Bind { protocol, addr, cause }),
    }
}

/// What nobody outside knows.
fn seed() -> io::Result<u64> {
    getrandom::u64().map_err(io::Error::other)
}
