//! Rate limits: a tree of token buckets, and who may pass next.
//!
//! # The rule
//!
//! A bucket gains its rate in tokens (bytes), and holds at most 150 ms of it. A *flow* (one direction of one
//! connection) hangs on a bucket, and what it moves is taken from that bucket and from all above it. While there are
//! tokens a flow gets them at once. Else it waits, and when a bucket has gained a turn's worth, those who wait are
//! served in the order of what they got so far: *start-time fair queueing* (Goyal, Vin, Cheng, SIGCOMM 1996), which
//! keeps flows equal in bytes and starves nobody. (Who asks for less than its part of a turn gets what it asks for, and
//! what is left goes to whoever asks first.)
//!
//! # The numbers
//!
//! | | | why |
//! |---|---|---|
//! | burst | 150 ms of the rate | no ten seconds, however they begin, are more than 1.5 % too many; a timer may be this late without loss |
//! | turn | 20 ms of the rate, or one TCP segment if that takes longer, but 75 ms at most | fifty rounds a second cost nothing measurable, full packets, and half of the burst is left for lateness |
//! | share of a turn | an equal part, at least a block | few and useful wake-ups |
//! | one grant | 256 KiB | what one read or write moves |
//!
//! Tokens are whole bytes; what a microsecond gains beyond them is carried, so nothing is lost to rounding. Time that
//! nobody used is gone beyond the burst. A rate may change at any time; a bucket without a rate lets everything pass.
//!
//! # Order of calls
//!
//! [`Tree::ask`] grants, or notes that the flow waits. Then [`Tree::handle_tick`] at [`Tree::deadline`], and
//! [`Tree::poll`] until `None`, tell who is granted what. What turned out not to be needed, or was moved unasked, is put
//! right by [`Tree::settle`].
//!
//! It knows no sockets, no directions and no addresses: whom to limit is the engine's matter. Every flow has one
//! question open at most, so memory is bounded by the number of flows and buckets.
//!
//! Tests: exact agreement with a naive bucket, and over random worlds that no window exceeds rate × time + burst at any
//! level, that the rate is reached, and that flows which want more get equal shares.

mod bucket;
mod tree;

pub use tree::{BucketKey, FlowKey, Tree};

#[cfg(test)]
mod tests;
