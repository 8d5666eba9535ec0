//! The client's side of HTTP/1.1, as far as fetching one small thing takes: where it is, how it is asked for, and what
//! came back, from bytes that arrive in any split.
//!
//! Specs: RFC 3986 (addresses), RFC 9110 and 9112 (messages), RFC 1952 (gzip). One request a connection; no cookies, no
//! authentication, no proxy.
//!
//! Refused: addresses that are not `http` or `https`, with a user's name, or with a host that is neither a plain name nor
//! an IP address; answers whose head, chunk headers or body are larger than their caps, packed or unpacked; framing that
//! is ambiguous (two lengths that differ, codings other than `chunked` and `gzip`); bodies that break off.
//!
//! Redirects are told, not followed: whether to is for whoever connects to decide, address by address.
//!
//! Tested by examples of each rule, and by fuzzing: fed in any split is fed whole, and memory is bounded.
//!
//! The server's side is in [`server`].

mod body;
mod chunks;
mod reader;
pub mod server;
#[cfg(test)]
mod tests;
mod url;

pub use reader::{AnswerError, Reader, Response};
pub use url::{BadUrl, MAX_URL_LEN, Url};

/// A request for `url`, from a program that calls itself `agent` (printable ASCII). The connection ends with the answer.
pub fn get(url: &Url, agent: &str) -> Vec<u8> {
    let (target, host) = (url.target(), url.authority());
    format!(
        "GET {target} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {agent}\r\nAccept: */*\r\nAccept-Encoding: gzip\r\n\
         Connection: close\r\n\r\n"
    )
    .into_bytes()
}
