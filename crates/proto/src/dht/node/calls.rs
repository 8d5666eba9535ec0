//! Questions on their way: their transaction ids, their timers, and whose answer is believed.
//!
//! Ids come from SHA-1 over a secret and a counter, so that nobody who sees some can guess others; an answer must also
//! come from the address that was asked. Bound: [`MAX_CALLS`] at once. Tested through the node.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use sha1::{Digest, Sha1};

use super::timing::{DEAD, Timing};
use crate::ids::NodeId;
use crate::time::Time;

/// Questions on their way at once.
pub const MAX_CALLS: usize = 1024;

/// A question on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call<P> {
    pub(super) to: SocketAddr,
    /// Who should answer, if that is known.
    pub(super) id: Option<NodeId>,
    pub(super) sent: Time,
    pub(super) purpose: P,
    /// When its timer ends.
    due: Time,
    /// Nobody waits for it any more.
    pub(super) slow: bool,
}

/// What a timer brings.
#[derive(Debug)]
pub(super) enum Late<P> {
    /// The answer may still come.
    Slow(Call<P>),
    /// It is over.
    Dead(Call<P>),
}

/// All of them.
#[derive(Clone, Debug)]
pub(super) struct Calls<P> {
    seed: u64,
    counter: u64,
    open: BTreeMap<[u8; 4], Call<P>>,
    timers: BTreeSet<(Time, [u8; 4])>,
    pub(super) timing: Timing,
}

impl<P: Copy> Calls<P> {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, counter: 0, open: BTreeMap::new(), timers: BTreeSet::new(), timing: Timing::default() }
    }

    pub(super) fn is_full(&self) -> bool {
        self.open.len() >= MAX_CALLS
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Notes a question; returns the transaction id to send it with.
    pub(super) fn open(
        &mut self,
        now: Time,
        to: SocketAddr,
        id: Option<NodeId>,
        rtt: Option<Duration>,
        purpose: P,
    ) -> [u8; 4] {
        let transaction = self.fresh();
        let due = now + self.timing.short(rtt);
        self.timers.insert((due, transaction));
        self.open.insert(transaction, Call { to, id, sent: now, purpose, due, slow: false });
        transaction
    }

    /// Takes the question that an answer from `from` belongs to.
    pub(super) fn close(&mut self, from: SocketAddr, transaction: &[u8]) -> Option<Call<P>> {
        let transaction = transaction.try_into().ok()?;
        let call = self.open.get(&transaction).filter(|call| call.to == from).copied()?;
        self.forget(transaction, &call);
        Some(call)
    }

    /// Takes the questions to an address that cannot be reached.
    pub(super) fn close_all(&mut self, to: SocketAddr) -> Vec<Call<P>> {
        let gone: Vec<_> =
            self.open.iter().filter(|(_, call)| call.to == to).map(|(t, c)| (*t, *c)).collect();
        gone.into_iter()
            .map(|(transaction, call)| {
                self.forget(transaction, &call);
                call
            })
            .collect()
    }

    /// Drops questions, so that their answers are nobody's.
    pub(super) fn drop_all(&mut self, gone: impl Fn(&P) -> bool) {
        let gone: Vec<_> =
            self.open.iter().filter(|(_, call)| gone(&call.purpose)).map(|(t, c)| (*t, *c)).collect();
        gone.iter().for_each(|(transaction, call)| self.forget(*transaction, call));
    }

    /// The next whose time is over.
    pub(super) fn late(&mut self, now: Time) -> Option<Late<P>> {
        let (at, transaction) = self.timers.first().copied().filter(|(at, _)| *at <= now)?;
        self.timers.remove(&(at, transaction));
        let call = self.open.get_mut(&transaction)?;
        if call.slow {
            let call = *call;
            self.open.remove(&transaction);
            return Some(Late::Dead(call));
        }
        (call.slow, call.due) = (true, call.sent + DEAD);
        self.timers.insert((call.due, transaction));
        Some(Late::Slow(*call))
    }

    fn forget(&mut self, transaction: [u8; 4], call: &Call<P>) {
        self.open.remove(&transaction);
        self.timers.remove(&(call.due, transaction));
    }

    fn fresh(&mut self) -> [u8; 4] {
        loop {
            self.counter += 1;
            let hash = Sha1::new()
                .chain_update(self.seed.to_le_bytes())
                .chain_update(self.counter.to_le_bytes())
                .finalize();
            let transaction = [hash[0], hash[1], hash[2], hash[3]];
            if !self.open.contains_key(&transaction) {
                return transaction;
            }
        }
    }
}
