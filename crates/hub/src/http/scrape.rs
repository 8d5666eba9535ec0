//! Sizes of swarms over HTTP (BEP 48), of both families together.
//!
//! Where the operator allows it, a scrape that names no torrent is answered with all of them. That takes a walk over the
//! whole store, so one answer serves everybody for a minute.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use samara_proto::http::server::{Reply, Status};
use samara_proto::ids::WireHash;
use samara_proto::swarms::Counts;
use samara_proto::time::Time;
use samara_proto::tracker::ScrapeStats;
use samara_proto::tracker::http::{write_failure, write_scrape};

use super::announce::{BENCODING, Fault};
use super::found::sum;
use super::front::{Answer, Desk};
use crate::access::Gate;
use crate::metrics::Count;
use crate::site::Site;
use crate::store::{Asked, Unavailable};

/// Answers a scrape of `hashes`, or promises to; `room` is used again and again.
pub(super) fn answer(
    site: &Arc<Site>,
    hashes: &[WireHash],
    room: &mut Vec<[Counts; 2]>,
    desk: &mut Desk,
    reply: &mut Reply,
) -> Asked<()> {
    room.clear();
    let asked = site.store.sizes(hashes, room, || {
        let (hashes, promise) = (hashes.to_vec(), desk.promise(reply));
        Box::new(move |sizes: Result<&[[Counts; 2]], Unavailable>| {
            promise.keep(match sizes {
                Ok(sizes) => counted(&hashes, sizes),
                Err(why) => unavailable(why),
            });
        })
    });
    if asked == Asked::Done(()) {
        reply.content_type = BENCODING;
        write(hashes, room, &mut reply.body);
    }
    asked
}

fn counted(hashes: &[WireHash], sizes: &[[Counts; 2]]) -> Answer {
    let mut body = Vec::new();
    write(hashes, sizes, &mut body);
    Answer { counts: Count::Scrapes, status: Status::Ok, content_type: BENCODING, body }
}

fn unavailable(why: Unavailable) -> Answer {
    let (fault, mut body) = (Fault::Unavailable(why), Vec::new());
    write_failure(&mut body, &fault.failure());
    Answer { counts: fault.count(), status: Status::Ok, content_type: BENCODING, body }
}

/// The answer to a scrape of everything, and when it was made.
#[derive(Debug, Default)]
pub(crate) struct Everything(Mutex<Option<(Time, Vec<u8>)>>);

/// How long an answer serves.
const FRESH: Duration = Duration::from_secs(60);

/// Most torrents in an answer: 14 MB.
const MOST: usize = 200_000;

/// Answers a scrape of all torrents that `gate` lets through.
pub(super) fn everything(site: &Site, gate: &mut Gate, now: Time, out: &mut Vec<u8>) {
    let mut kept = site.everything.0.lock().unwrap_or_else(PoisonError::into_inner);
    let fresh = kept.take().filter(|(made, _)| now.since(*made) < FRESH);
    let (made, answer) = fresh.unwrap_or_else(|| (now, walk(site, gate)));
    out.extend_from_slice(&answer);
    *kept = Some((made, answer));
}

fn walk(site: &Site, gate: &mut Gate) -> Vec<u8> {
    let mut sums = BTreeMap::<WireHash, ScrapeStats>::new();
    site.store.save(site.clock, |swarm| {
        let known = sums.len() < MOST || sums.contains_key(&swarm.hash);
        if known && gate.serve(&swarm.hash).is_ok() {
            let seeds = swarm.peers.iter().filter(|peer| peer.seed).count();
            let one = ScrapeStats {
                complete: seeds as u32,
                downloaded: swarm.downloaded,
                incomplete: (swarm.peers.len() - seeds) as u32,
            };
            let sum = sums.entry(swarm.hash).or_default();
            *sum = add(sum, &one);
        }
    });
    let mut out = Vec::new();
    write_scrape(&mut out, &mut sums.into_iter().collect());
    out
}

fn write(hashes: &[WireHash], sizes: &[[Counts; 2]], out: &mut Vec<u8>) {
    let sums = sizes.iter().map(|[v4, v6]| sum(v4, v6));
    let mut files: Vec<_> = hashes.iter().copied().zip(sums).collect();
    write_scrape(out, &mut files);
}

const fn add(a: &ScrapeStats, b: &ScrapeStats) -> ScrapeStats {
    ScrapeStats {
        complete: a.complete.saturating_add(b.complete),
        downloaded: a.downloaded.saturating_add(b.downloaded),
        incomplete: a.incomplete.saturating_add(b.incomplete),
    }
}
