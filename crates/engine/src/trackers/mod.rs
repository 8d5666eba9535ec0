//! Trackers as a client: who is asked, when, and what is made of the answers.
//!
//! One task a client asks for all its torrents, awake or not; what it asks when is decided by
//! [`Fleet`](samara_proto::tracker::fleet::Fleet). Torrents speak to it through the desk (`desk.rs`), and get peers. [`Asker`]
//! brings one answer to one question, for whoever wants no more.

mod ask;
mod list;
mod task;
mod udp;

use std::net::SocketAddr;

use samara_proto::ids::PeerId;
use samara_proto::tracker::announcer::Identity;

pub use ask::{Answer, AskError, Asker, Question, Told, What};
pub(crate) use list::List;
pub(crate) use task::{Callers, need, run};

/// Who we are to trackers: over each family the port that we listen on, or none if we are at home in the other only.
pub(crate) fn identity(peer_id: PeerId, listening: &[SocketAddr]) -> Identity {
    let nowhere = listening.is_empty().then_some(0);
    let port = |v4| listening.iter().find(|addr| addr.is_ipv4() == v4).map(SocketAddr::port).or(nowhere);
    Identity { peer_id, v4: port(true), v6: port(false) }
}
