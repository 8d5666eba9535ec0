//! The HTTP front end: what is answered (`service.rs`) and the threads that carry it (`worker.rs`, `socket.rs`).
//!
//! Bytes become requests in [`samara_proto::http::server`], which bounds their size and time.

mod service;
mod socket;
mod worker;

pub(crate) use service::Service;
pub(crate) use worker::{Stopper, Worker};
