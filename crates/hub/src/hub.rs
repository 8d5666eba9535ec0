//! Starting and stopping: binds, spawns the threads, and ends them again.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use samara_proto::http::server::Limits;
use samara_proto::swarms::Stats;

use crate::clock::Clock;
use crate::config::Config;
use crate::http::{Service, Stopper, Worker};
use crate::keeper::Keeper;
use crate::sockets;
use crate::store::Store;

/// Most connections of one worker.
const MAX_CONNECTIONS: usize = 16 * 1024;

/// Why a hub did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("cannot answer {protocol} at {addr}: {cause}")]
    Bind {
        /// `HTTP` or `UDP`.
        protocol: &'static str,
        /// As it was set.
        addr: SocketAddr,
        /// What the system says.
        cause: io::Error,
    },
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
    store: Arc<Store>,
    keeper: Keeper,
    stoppers: Vec<Stopper>,
    threads: Vec<JoinHandle<()>>,
}

impl Hub {
    /// Binds every address and starts to answer.
    ///
    /// # Errors
    /// If an address cannot be listened on; of the default addresses, if none can.
    pub fn start(config: &Config) -> Result<Self, StartError> {
        let clock = Clock::start();
        let workers = usize::from(config.workers);
        let store = Store::new(config, clock)?;
        let mut hub = Self {
            http: Vec::new(),
            keeper: sweep(&store, clock)?,
            store,
            stoppers: Vec::new(),
            threads: Vec::new(),
        };
        let mut shares: Vec<Vec<TcpListener>> = (0..workers).map(|_| Vec::new()).collect();
        for addr in &config.http {
            let bound = match sockets::tcp(*addr, workers) {
                Ok(bound) => bound,
                // A machine without IPv6 still has the other default.
                Err(cause)
                    if config.default_addresses
                        && addr.is_ipv6()
                        && cause.kind() != io::ErrorKind::AddrInUse =>
                {
                    tracing::warn!(%addr, %cause, "no IPv6 here");
                    continue;
                }
                Err(cause) => return Err(StartError::Bind { protocol: "HTTP", addr: *addr, cause }),
            };
            hub.http.extend(bound[0].local_addr());
            shares.iter_mut().zip(bound).for_each(|(share, listener)| share.push(listener));
        }
        if hub.http.is_empty() {
            return Err(StartError::Nowhere);
        }
        for (i, listeners) in shares.into_iter().enumerate() {
            let worker = Worker::new(listeners, Service::new, Limits::default(), clock, MAX_CONNECTIONS)?;
            hub.stoppers.push(worker.stopper());
            hub.threads.push(thread::Builder::new().name(format!("http-{i}")).spawn(move || {
                if let Err(error) = worker.run() {
                    tracing::error!(%error, "a worker of the HTTP front end failed");
                }
            })?);
        }
        Ok(hub)
    }

    /// Where it answers over HTTP, with the ports that were really taken.
    pub fn http(&self) -> &[SocketAddr] {
        &self.http
    }

    /// Finishes what is being answered, and ends every thread.
    pub fn stop(self) {
        self.stoppers.iter().for_each(Stopper::stop);
        for thread in self.threads {
            let _ = thread.join();
        }
        self.keeper.stop();
        let Stats { v4, v6 } = self.store.stats();
        tracing::info!(swarms = v4.swarms + v6.swarms, v4.leeches, v4.seeds, v6.leeches, v6.seeds, "stopped");
    }
}

/// Has the silent peers forgotten.
fn sweep(store: &Arc<Store>, clock: Clock) -> io::Result<Keeper> {
    let store = Arc::clone(store);
    Keeper::start("sweep", store.pause(), move || store.sweep(clock))
}
