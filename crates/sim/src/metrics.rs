//! What a run tells about a policy.
//!
//! Times are virtual seconds since a node joined. The bound is the least time that any policy needs (Kumar and Ross
//! 2006): the seeds must send one copy, everyone together must send what everyone needs, nobody takes more than its
//! line holds, and a bridge is crossed by one copy at least. Efficiency is bound over the last contributor's time.

use std::collections::BTreeSet;

use samara_proto::time::Time;

use crate::disk::Lies;
use crate::scenario::{Holds, Scenario, index_of, someone_waits};
use crate::{Member, World, invariants};

/// Once the contributors are done, the others may take so many times as long before the run is ended.
const GRACE: u64 = 3;

/// Members of one class.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Class {
    /// Its name.
    pub name: &'static str,
    /// How many there are.
    pub members: usize,
    /// How many of them want what they have not.
    pub wanting: usize,
    /// Times of those who finished, in order.
    pub times: Vec<f64>,
    /// Payload sent, all together, in copies of the torrent.
    pub up: f64,
    /// Payload received.
    pub down: f64,
    /// Received for nothing.
    pub wasted: f64,
}

impl Class {
    /// The time at which this share of those who want had everything.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let at = ((self.wanting as f64 * share).ceil() as usize).max(1) - 1;
        self.times.get(at).copied()
    }
}

/// Who was banned by honest nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bans {
    /// Polluters there were.
    pub polluters: usize,
    /// Polluters that somebody banned.
    pub caught: usize,
    /// Polluters that sent a block and are still connected to somebody who waits, pair by pair.
    pub at_large: usize,
    /// Honest nodes that somebody banned.
    pub wronged: usize,
}

/// All that was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// By class.
    pub classes: Vec<Class>,
    /// The least time possible for the contributors, in seconds, if they begin at once.
    pub bound: Option<f64>,
    /// When the last contributor was done.
    pub last: f64,
    /// Copies that the seeds sent until then.
    pub seed_copies: f64,
    /// Payload that came twice or wrong, to contributors, of all that came.
    pub wasted: f64,
    /// Jain's index of what contributors had sent for what they got, at the moment each was done.
    pub jain: Option<f64>,
    /// Who was banned.
    pub bans: Bans,
    /// Control bytes for a byte of payload.
    pub overhead: f64,
    /// Copies that crossed the bridge.
    pub bridged: f64,
    /// Of what they want, free riders had this share when the last contributor was done.
    pub free_share: Option<f64>,
    /// The run's fingerprint.
    pub trace: u64,
}

impl Outcome {
    /// Bound over the last contributor's time, where all begin at once.
    pub fn efficiency(&self) -> Option<f64> {
        self.bound.map(|bound| bound / self.last)
    }

    /// How many times as long as the median contributor a free rider would need at the pace it had while one waited.
    pub fn slowdown(&self) -> Option<f64> {
        let contributors = self.classes.iter().find(|class| class.name == "leech")?;
        Some(self.last / self.free_share?.max(0.001) / contributors.quantile(0.5)?)
    }

    /// A class by name.
    pub fn class(&self, name: &str) -> Option<&Class> {
        self.classes.iter().find(|class| class.name == name)
    }
}

/// Runs a scenario and measures it.
///
/// # Panics
/// If an invariant breaks, or a contributor never gets there.
pub fn measure(scenario: &Scenario, seed: u64) -> Outcome {
    let (report, mut world) = scenario.run(seed);
    let last = report.took.as_secs_f64();
    let seed_copies = copies(scenario, &world, |member| seeds(member) && member.contributes());
    let free_share = free_share(scenario, &world);
    let at_large = at_large(scenario, &world);
    wait_for_the_rest(scenario, &mut world, report.took.as_micros() as u64 * GRACE);
    Outcome {
        classes: classes(scenario, &world),
        bound: scenario.members.iter().all(|member| member.joins.is_zero()).then(|| bound(scenario)),
        last,
        seed_copies,
        wasted: wasted(scenario, &world),
        jain: jain(scenario, &world),
        bans: Bans { at_large, ..bans(scenario, &world) },
        overhead: world.net.totals.control as f64 / world.net.totals.payload as f64,
        bridged: world.net.totals.bridged as f64 / total(scenario),
        free_share,
        trace: world.trace.value(),
    }
}

/// Free riders get their time too.
fn wait_for_the_rest(scenario: &Scenario, world: &mut World, micros: u64) {
    let until = world.now.as_micros() + micros;
    let mut riders: Vec<usize> =
        (0..world.nodes.len()).filter(|index| free_rides(&scenario.members[*index])).collect();
    while world.now < Time::from_micros(until) && someone_waits(world, &mut riders) && world.step() {}
    invariants::check(world);
}

const fn free_rides(member: &Member) -> bool {
    member.wants && matches!(member.lies, Lies::Never) && (member.selfish || member.mute)
}

/// It wants nothing that it has not.
const fn seeds(member: &Member) -> bool {
    !member.wants || matches!(member.holds, Holds::All)
}

const fn pollutes(member: &Member) -> bool {
    !matches!(member.lies, Lies::Never)
}

fn total(scenario: &Scenario) -> f64 {
    scenario.sample.layout.total_len() as f64
}

fn copies(scenario: &Scenario, world: &World, of: impl Fn(&Member) -> bool) -> f64 {
    let all = scenario.members.iter().zip(&world.nodes).filter(|(member, _)| of(member));
    all.map(|(_, node)| node.torrent.stats().uploaded as f64).sum::<f64>() / total(scenario)
}

fn free_share(scenario: &Scenario, world: &World) -> Option<f64> {
    let free = scenario.members.iter().zip(&world.nodes).filter(|(member, _)| free_rides(member));
    let shares: Vec<f64> = free.map(|(_, node)| node.torrent.stats().done as f64 / total(scenario)).collect();
    (!shares.is_empty()).then(|| shares.iter().sum::<f64>() / shares.len() as f64)
}

/// The least time that contributors need.
pub fn bound(scenario: &Scenario) -> f64 {
    let size = total(scenario);
    let rate = |rate: Option<u64>| rate.map_or(f64::INFINITY, |rate| rate as f64);
    let up = |of: &dyn Fn(&Member) -> bool| {
        let all = scenario.members.iter().filter(|member| member.contributes() && of(member));
        all.map(|member| rate(member.access.up)).sum::<f64>()
    };
    let waiting = scenario.members.iter().filter(|member| member.must_finish());
    let slowest = waiting.clone().map(|member| rate(member.access.down)).fold(f64::INFINITY, f64::min);
    let bridge = rate(scenario.bridge);
    let (from_seeds, from_all) = (up(&seeds), up(&|_| true));
    let times = [size / from_seeds, size * waiting.count() as f64 / from_all, size / slowest, size / bridge];
    times.into_iter().fold(0.0, f64::max)
}

fn classes(scenario: &Scenario, world: &World) -> Vec<Class> {
    let mut classes: Vec<Class> = Vec::new();
    for (member, node) in scenario.members.iter().zip(&world.nodes) {
        let at = classes.iter().position(|class| class.name == member.class).unwrap_or_else(|| {
            classes.push(Class { name: member.class, ..Class::default() });
            classes.len() - 1
        });
        let (class, stats) = (&mut classes[at], node.torrent.stats());
        class.members += 1;
        class.wanting += usize::from(member.wants && member.holds != Holds::All);
        class.up += stats.uploaded as f64 / total(scenario);
        class.down += stats.downloaded as f64 / total(scenario);
        class.wasted += stats.wasted as f64 / total(scenario);
        if let (true, Some(joined), Some(done)) =
            (member.holds != Holds::All, node.news.joined, node.news.complete)
        {
            class.times.push(done.since(joined).as_secs_f64());
        }
    }
    classes.iter_mut().for_each(|class| class.times.sort_by(f64::total_cmp));
    classes
}

fn wasted(scenario: &Scenario, world: &World) -> f64 {
    let good = scenario.members.iter().zip(&world.nodes).filter(|(member, _)| member.contributes());
    let sum = good
        .map(|(_, node)| node.torrent.stats())
        .fold((0, 0), |(wasted, all), stats| (wasted + stats.wasted, all + stats.downloaded));
    sum.0 as f64 / (sum.1 as f64).max(1.0)
}

/// (Σx)² / (n Σx²) over what each contributor had sent for each byte it got, when it was done: 1 if all gave alike.
fn jain(scenario: &Scenario, world: &World) -> Option<f64> {
    let done = scenario.members.iter().zip(&world.nodes);
    let done = done.filter(|(member, node)| member.must_finish() && node.news.complete.is_some());
    let ratios: Vec<f64> = done.map(|(_, node)| node.news.uploaded as f64 / total(scenario)).collect();
    let (sum, squares) = (ratios.iter().sum::<f64>(), ratios.iter().map(|x| x * x).sum::<f64>());
    (squares > 0.0).then(|| sum * sum / (ratios.len() as f64 * squares))
}

fn bans(scenario: &Scenario, world: &World) -> Bans {
    let honest = scenario.members.iter().zip(&world.nodes).filter(|(member, _)| member.contributes());
    let banned = honest.flat_map(|(_, node)| node.news.banned.iter().filter_map(|(addr, _)| index_of(*addr)));
    let banned: BTreeSet<usize> = banned.collect();
    let lies = |index: &&usize| pollutes(&scenario.members[**index]);
    let caught = banned.iter().filter(lies).count();
    Bans {
        polluters: scenario.members.iter().filter(|member| pollutes(member)).count(),
        caught,
        at_large: 0,
        wronged: banned.len() - caught,
    }
}

/// Pairs of a polluter and somebody good who is connected to it although it was served wrong bytes.
fn at_large(scenario: &Scenario, world: &World) -> usize {
    let good = scenario.members.iter().zip(&world.nodes).filter(|(member, _)| member.contributes());
    let from_liars = good.flat_map(|(_, node)| node.torrent.sources());
    from_liars
        .filter(|(addr, bytes)| *bytes > 0 && index_of(*addr).is_some_and(|n| pollutes(&scenario.members[n])))
        .count()
}
