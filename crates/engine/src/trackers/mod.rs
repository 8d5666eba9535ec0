//! Trackers as a client: who is asked, and what is made of the answers.
//!
//! [`Asker`] brings one answer to one question.

mod ask;
mod udp;

pub use ask::{Answer, AskError, Asker, Question, Told, What};
