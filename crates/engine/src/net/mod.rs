//! Sockets: how they are bound, accepted, connected and set up.

pub(crate) mod tcp;
