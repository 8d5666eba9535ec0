//! Sockets, disk and tasks: runs `samara-proto` on tokio.

pub mod disk;
pub mod hash;
pub mod store;
