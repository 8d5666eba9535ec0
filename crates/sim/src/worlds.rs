//! The worlds that policies are judged by, each by its name.
//!
//! All use one torrent of [`PIECE`]-byte pieces, paths of 20 to 60 ms one way, and lines in bytes a second. A slow seed
//! gives twice what a leech gives, so that the crowd must do nearly all of the work. Everything that is random, when
//! nodes join and how long they stay, follows from the seed.

use std::time::Duration;

use samara_proto::metainfo::Format;
use samara_proto::rng::Rng;

use crate::Sample;
use crate::disk::Lies;
use crate::link::Path;
use crate::net::Access;
use crate::scenario::{Member, Scenario};
use crate::tracker::{Leave, Tracker};

/// Bytes of a piece: 8 blocks.
pub const PIECE: u32 = 128 * 1024;
/// What a link holds in its sockets.
const BUFFER: u32 = 32 * 1024;
/// A leech sends so many bytes a second.
const UP: u64 = 100_000;
/// A slow seed sends so many.
const SLOW_SEED: u64 = 2 * UP;

/// How large a world is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Nodes beside the seed.
    pub nodes: usize,
    /// Pieces of the torrent.
    pub pieces: u32,
}

impl Size {
    /// For a test.
    pub const SHORT: Self = Self { nodes: 30, pieces: 96 };
    /// For a table.
    pub const LONG: Self = Self { nodes: 200, pieces: 256 };
    /// For the flash crowd in a table: as large a file as the swarm on loopback has.
    pub const CROWD: Self = Self { nodes: 1000, pieces: 512 };
}

/// A world with a name.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Its name.
    pub name: &'static str,
    /// What it is, in a few words.
    pub about: &'static str,
    /// Its size in tables.
    pub size: Size,
    /// Its members and lines.
    pub build: fn(Size, &mut Rng) -> Scenario,
    /// The same without what makes it special, to compare with.
    pub without: Option<fn(Size, &mut Rng) -> Scenario>,
}

impl Setting {
    /// The scenario of this size, in which what is random follows from `seed`.
    pub fn scenario(&self, size: Size, seed: u64) -> Scenario {
        (self.build)(size, &mut Rng::new(seed))
    }
}

/// All worlds.
pub const ALL: [Setting; 11] = [
    Setting {
        name: "flash",
        about: "all at once, behind one slow seed",
        size: Size::CROWD,
        build: flash,
        without: None,
    },
    Setting {
        name: "arrival",
        about: "steady arrival; a fifth leaves midway, the rest a minute after they are done",
        size: Size::LONG,
        build: arrival,
        without: None,
    },
    Setting {
        name: "asymmetric",
        about: "lines of 1:10",
        size: Size::LONG,
        build: asymmetric,
        without: None,
    },
    Setting {
        name: "mixed",
        about: "leeches that send 50, 100, 200 and 400 kB/s",
        size: Size::LONG,
        build: mixed,
        without: None,
    },
    Setting {
        name: "freeriders",
        about: "30 % choke everyone, or unchoke and send nothing",
        size: Size::LONG,
        build: free_riders,
        without: Some(no_free_riders),
    },
    Setting {
        name: "polluters",
        about: "30 % send wrong bytes: a third of them as seeds, a third as leeches, a third as seeds and only now and then",
        size: Size::LONG,
        build: polluters,
        without: Some(no_polluters),
    },
    Setting {
        name: "seed-leaves",
        about: "the seed goes once the crowd has one copy",
        size: Size::LONG,
        build: seed_leaves,
        without: None,
    },
    Setting {
        name: "fast-peer",
        about: "one leech is a hundred times as fast",
        size: Size::LONG,
        build: fast_peer,
        without: None,
    },
    Setting {
        name: "islands",
        about: "two halves, joined by a bridge of 300 kB/s, the seed on one",
        size: Size::LONG,
        build: islands,
        without: None,
    },
    Setting {
        name: "stock-mix",
        about: "half are stock peers",
        size: Size::LONG,
        build: stock_mix,
        without: Some(all_stock),
    },
    Setting {
        name: "halves",
        about: "one leech, four that have half of the pieces each",
        size: Size { nodes: 1, pieces: 256 },
        build: halves,
        without: None,
    },
];

/// A world by its name.
pub fn named(name: &str) -> Option<&'static Setting> {
    ALL.iter().find(|setting| setting.name == name)
}

const fn line(up: u64, down: u64) -> Access {
    Access { up: Some(up), down: Some(down), island: false }
}

const LEECH: Member = Member { access: line(UP, 4 * UP), ..Member::LEECH };

const fn seed(up: u64) -> Member {
    Member { access: line(up, up), ..Member::SEED }
}

fn crowd(size: Size, members: Vec<Member>) -> Scenario {
    let sample = Sample::new(Format::V1, PIECE, &[u64::from(size.pieces) * u64::from(PIECE)]);
    Scenario {
        path: Path { latency: Duration::from_millis(40), rate: 100_000_000 },
        buffer: BUFFER,
        ragged: false,
        max_peers: 40,
        tracker: Some(Tracker::USUAL),
        ..Scenario::new(sample, members)
    }
}

/// A slow seed, and what `member` says of each other.
fn one_seed(size: Size, member: impl Fn(usize) -> Member) -> Scenario {
    crowd(size, [seed(SLOW_SEED)].into_iter().chain((0..size.nodes).map(member)).collect())
}

fn flash(size: Size, _: &mut Rng) -> Scenario {
    one_seed(size, |_| LEECH)
}

/// Within four times the time that a download takes, at random moments; the seed stays.
fn arrival(size: Size, rng: &mut Rng) -> Scenario {
    let alone = Duration::from_secs(u64::from(size.pieces) * u64::from(PIECE) / UP);
    let mut time = |most: Duration| Duration::from_micros(1 + rng.below(most.as_micros() as u64));
    let members = (0..size.nodes).map(|n| {
        let joins = time(alone * 4);
        let leave = if n % 5 == 0 { Leave::After(time(alone)) } else { Leave::Done(Duration::from_secs(60)) };
        let class = if n % 5 == 0 { "passer-by" } else { "leech" };
        Member { class, joins, leave, ..LEECH }
    });
    crowd(size, [seed(SLOW_SEED)].into_iter().chain(members).collect())
}

fn asymmetric(size: Size, _: &mut Rng) -> Scenario {
    one_seed(size, |_| Member { access: line(UP, 10 * UP), ..LEECH })
}

fn mixed(size: Size, _: &mut Rng) -> Scenario {
    const CLASSES: [(&str, u64); 4] =
        [("50 kB/s", 50_000), ("100 kB/s", 100_000), ("200 kB/s", 200_000), ("400 kB/s", 400_000)];
    one_seed(size, |n| {
        let (class, up) = CLASSES[n % 4];
        Member { class, access: line(up, 1_600_000), ..LEECH }
    })
}

fn free_riders(size: Size, _: &mut Rng) -> Scenario {
    one_seed(size, |n| match n % 10 {
        0 | 1 => Member { class: "free rider", selfish: true, mute: true, ..LEECH },
        2 => Member { class: "silent rider", mute: true, ..LEECH },
        _ => LEECH,
    })
}

fn polluters(size: Size, _: &mut Rng) -> Scenario {
    one_seed(size, |n| match n % 10 {
        0 => Member { class: "false seed", access: LEECH.access, ..Member::LIAR },
        1 => Member { class: "false leech", lies: Lies::Always, ..LEECH },
        2 => Member { class: "sly seed", access: LEECH.access, lies: Lies::Now, ..Member::LIAR },
        _ => LEECH,
    })
}

/// The world with only the good.
fn good_only(scenario: Scenario) -> Scenario {
    let members = scenario.members.iter().filter(|member| member.contributes()).copied().collect();
    Scenario { members, ..scenario }
}

fn no_free_riders(size: Size, rng: &mut Rng) -> Scenario {
    good_only(free_riders(size, rng))
}

fn no_polluters(size: Size, rng: &mut Rng) -> Scenario {
    good_only(polluters(size, rng))
}

fn seed_leaves(size: Size, rng: &mut Rng) -> Scenario {
    let mut scenario = flash(size, rng);
    scenario.members[0].leave = Leave::Spread;
    scenario
}

fn fast_peer(size: Size, _: &mut Rng) -> Scenario {
    one_seed(size, |n| match n {
        0 => Member { class: "fast leech", access: line(100 * UP, 100 * UP), ..LEECH },
        _ => LEECH,
    })
}

fn islands(size: Size, _: &mut Rng) -> Scenario {
    let island = |n: usize| Member {
        access: Access { island: n % 2 == 1, ..LEECH.access },
        class: if n % 2 == 1 { "far leech" } else { "leech" },
        ..LEECH
    };
    Scenario { bridge: Some(3 * UP), ..one_seed(size, island) }
}

fn stock_mix(size: Size, _: &mut Rng) -> Scenario {
    one_seed(size, |n| if n % 2 == 0 { Member { stock: true, class: "stock", ..LEECH } } else { LEECH })
}

fn all_stock(size: Size, _: &mut Rng) -> Scenario {
    one_seed(size, |_| Member { stock: true, class: "stock", ..LEECH })
}

/// The leech's line holds what the four send.
fn halves(size: Size, _: &mut Rng) -> Scenario {
    let half = |part| Member { class: "half", access: line(UP, UP), ..Member::part(part, 2) };
    let halves = [0, 1, 0, 1].map(half);
    let leech = Member { access: line(UP, 8 * UP), ..LEECH };
    crowd(size, halves.into_iter().chain(std::iter::repeat_n(leech, size.nodes)).collect())
}
