//! Addresses known by the word of one host alone (BEP 11), and how far such a word goes.
//!
//! Who tells us of addresses that nobody else does may have made them up. An address is on the account of who told it
//! first, until a better source names it, a peer says hello from it, or it is forgotten. The account remembers how many
//! came to nothing and how many did not: the *doubt* about a teller. What he told is tried after what is told by those
//! who are doubted less, and the more he is doubted the fewer addresses he may have on his account.
//!
//! Tested with the roster, and by a world of the simulator in which many tell of nobody who exists.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::{Roster, Source, State, host};
use crate::time::Time;

/// Addresses known by the word of one host alone: a whole first message of peer exchange, a twentieth of all.
pub(super) const MOST_PER_TELLER: usize = 100;
/// So much doubted a teller is not heard: 63 more failed than did not.
const MOST_DOUBT: u32 = 6;
/// Failures in a row after which such an address is forgotten.
pub(super) const MOST_FAILURES: u32 = 2;
/// Accounts with nothing on them that are kept, for what they say of their holders.
const MOST_EMPTY: usize = 200;

/// What became of what one host told.
#[derive(Clone, Copy, Debug, Default)]
struct Account {
    /// Addresses that it told alone.
    told: usize,
    /// That could not be reached.
    failed: u32,
    /// Where there was a peer.
    proved: u32,
}

impl Account {
    /// By how much more failed than did not, in powers of two.
    fn doubt(&self) -> u32 {
        (self.failed.saturating_sub(self.proved) + 1).ilog2()
    }
}

/// The accounts: no more than the roster has entries, and some that are empty.
#[derive(Debug, Default)]
pub(super) struct Tellers {
    accounts: BTreeMap<SocketAddr, Account>,
    empty: usize,
}

impl Tellers {
    fn of(&self, teller: SocketAddr) -> Account {
        self.accounts.get(&teller).copied().unwrap_or_default()
    }

    /// How far the word of `teller` is doubted: 0 is not at all.
    pub(super) fn doubt(&self, teller: SocketAddr) -> u32 {
        self.of(teller).doubt()
    }

    /// Whether it may tell of one more.
    fn is_heard(&self, teller: SocketAddr) -> bool {
        let (told, doubt) = (self.of(teller).told, self.doubt(teller));
        doubt < MOST_DOUBT && told < MOST_PER_TELLER / (1 + doubt as usize)
    }

    fn add(&mut self, teller: SocketAddr) {
        let known = self.accounts.contains_key(&teller);
        let account = self.accounts.entry(teller).or_default();
        account.told += 1;
        self.empty -= usize::from(known && account.told == 1);
    }

    /// An address goes off the account, for better or worse.
    fn settle(&mut self, teller: SocketAddr, proved: bool) {
        let Some(account) = self.accounts.get_mut(&teller) else { return };
        account.told -= 1;
        account.proved = account.proved.saturating_add(proved.into());
        if account.told > 0 {
            return;
        }
        self.empty += 1;
        if self.empty > MOST_EMPTY || account.doubt() == 0 {
            self.accounts.remove(&teller);
            self.empty -= 1;
        }
    }

    /// An address could not be reached. True if its teller is doubted more by that.
    fn fail(&mut self, teller: SocketAddr) -> bool {
        let Some(account) = self.accounts.get_mut(&teller) else { return false };
        let before = account.doubt();
        account.failed = account.failed.saturating_add(1);
        account.doubt() > before
    }

    /// Who told most, if that is more than `teller` would have with one more.
    fn louder_than(&self, teller: SocketAddr) -> Option<SocketAddr> {
        let (loudest, account) = self.accounts.iter().max_by_key(|(_, account)| account.told)?;
        (account.told > self.of(teller).told + 1).then_some(*loudest)
    }
}

impl Roster {
    /// Learns of an address from a peer (BEP 11).
    pub(in crate::torrent) fn add_told(&mut self, now: Time, addr: SocketAddr, teller: SocketAddr) {
        let teller = host(teller);
        let believed = self.tellers.is_heard(teller) && self.is_welcome(addr, Source::Pex);
        if believed && (self.make_room(Source::Pex) || self.take_from_the_loudest(teller)) {
            self.tellers.add(teller);
            self.insert(now, addr, Source::Pex, Some(teller));
        }
    }

    /// There is a peer at this address: it is known by more than somebody's word.
    pub(in crate::torrent) fn proved(&mut self, addr: SocketAddr) {
        self.settle(addr, true);
    }

    /// This address is known otherwise, or no more.
    pub(super) fn settle(&mut self, addr: SocketAddr, proved: bool) {
        if let Some(teller) = self.entries.get_mut(&addr).and_then(|entry| entry.teller.take()) {
            self.tellers.settle(teller, proved);
        }
    }

    /// An address that was told could not be reached, for the first time. If that makes us doubt its teller, what else he
    /// told takes its place anew.
    pub(super) fn doubt(&mut self, teller: SocketAddr) {
        if !self.tellers.fail(teller) {
            return;
        }
        let due = |state| matches!(state, State::Due(_));
        let told = self.entries.iter().filter(|(_, e)| e.teller == Some(teller) && due(e.state));
        let told: Vec<_> = told.map(|(addr, _)| *addr).collect();
        told.into_iter().for_each(|addr| self.set_state(addr, State::Waiting(Time::ZERO)));
    }

    /// Makes room for one more of this teller, at the cost of the one who told most, if that is another.
    fn take_from_the_loudest(&mut self, teller: SocketAddr) -> bool {
        let Some(loudest) = self.tellers.louder_than(teller) else { return false };
        let told = self.entries.iter().filter(|(_, e)| e.is_idle() && e.teller == Some(loudest));
        let worst = told.max_by_key(|(_, e)| e.failures).map(|(addr, _)| *addr);
        worst.inspect(|addr| self.forget(*addr)).is_some()
    }
}
