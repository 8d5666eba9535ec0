//! The disk: hashes what comes, writes what is proven, reads what peers ask for, on threads of its own.
#![expect(dead_code, reason = "the threads that use the rest come next")]

mod buf;
mod event;
mod spec;

pub use buf::{Buf, Gauge, Pool};
pub use event::{DiskEvent, Events, Op, StorageError};
pub use samara_proto::torrent::Expected;
pub use spec::{Access, FileSpec, StorageSpec, StoreJob};
