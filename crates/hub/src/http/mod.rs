//! The HTTP front end: what is answered (`service.rs`), the threads that carry it (`worker.rs`, `socket.rs`,
//! `channel.rs`), and what stands between the two (`front.rs`).
//!
//! Bytes become requests in [`samara_proto::http::server`], which bounds their size and time.

mod announce;
mod channel;
mod found;
mod front;
mod json;
mod scrape;
mod service;
mod socket;
mod status;
mod worker;

pub(crate) use channel::Channel;
pub(crate) use scrape::Everything;
pub(crate) use service::Service;
pub(crate) use worker::{Listeners, Worker};
