//! Sockets: how they are bound, accepted, connected and set up; and what is fetched through them.

pub(crate) mod here;
pub(crate) mod http;
pub(crate) mod resolve;
pub(crate) mod tcp;
pub(crate) mod tls;
