//! The UDP front end (BEP 15, 41): so many threads, each with a socket of its own at each address, among which the
//! system shares clients out.
//!
//! What a datagram means is decided by [`samara_proto::tracker::udp_server`]. Here are the sockets, which take and send
//! many datagrams with one call (`batch.rs`), the threads (`worker.rs`), and who asks policy and store (`service.rs`,
//! `late.rs`).
//!
//! The same sockets carry the messages of the DHT, which begin with a `d` as nothing else does (`crate::dht`).

mod batch;
mod late;
mod service;
#[cfg(test)]
mod tests;
mod worker;

pub(crate) use service::Service;
pub(crate) use worker::Worker;
