//! HTTP/1.1 as a small server speaks it (RFC 9110, RFC 9112): request bytes in, answer bytes out.
//!
//! [`Connection`] is the machine for one connection: it finds requests in what was received, whole or in pieces, gives
//! each to a [`Handler`], and writes the answers in the order of asking, so that pipelining works. [`client_address`]
//! tells who asked where proxies stand in between (RFC 7239); [`open_websocket`] lets a connection go on as a WebSocket.
//!
//! It is for requests that fit into a few kilobytes. Refused are larger heads and bodies, bodies of unknown length
//! (chunked), whatever could be read in two ways (two lengths, a length that is no number), and a sender that takes too
//! long over one request. Nothing is allocated for a request that arrives whole.
//!
//! Tested: *fed in any split = fed whole*, limits, deadlines; the fuzz target `http_server` does the same.

mod connection;
mod forwarded;
mod head;
mod reply;
mod websocket;

pub use connection::{Connection, Handler, Limits, Server};
pub use forwarded::client_address;
pub use head::{Method, Request};
pub use reply::{Reply, Status};
pub use websocket::{open_websocket, wants_websocket};
