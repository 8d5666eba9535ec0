//! `samara dht ping`, `find`, `peers` and `sample`.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use samara_engine::dht::{Answer, Answers, Dht};
use samara_proto::dht::Contact;
use samara_proto::dht::node::{Announce, Ask, Summary};
use samara_proto::ids::NodeId;
use samara_proto::magnet::Host;
use samara_proto::tracker::Family;
use tokio::task::JoinSet;

use super::report::{Node, Peer, Sample};
use super::{ask_one, ask_only, resolve, runs, someone, tell};
use crate::args::{self, Place};
use crate::exit::{Exit, Outcome, usage};
use crate::source::Source;
use crate::ui::Ui;
use crate::ui::human::count;

/// Asks whether a node is there, at each address of its name.
pub(super) async fn ping(args: args::Ping, ui: &Ui) -> Outcome {
    let dht = ask_one(&args.host, args.net).await?;
    let mut pings = JoinSet::new();
    for addr in resolve(&args.host).await? {
        let dht = dht.clone();
        pings.spawn(async move { dht.ping(addr).await });
    }
    let mut there = false;
    while let Some(ping) = pings.join_next().await {
        if let Some((contact, took)) = ping.context("asking a node failed")? {
            there = true;
            print_node(ui, &Node::pinged(&contact, took))?;
        }
    }
    if !there {
        return Err(nobody(&args.host));
    }
    Ok(Exit::Done)
}

fn nobody(host: &Host) -> anyhow::Error {
    anyhow!("nobody answers at {host}: no node is there, or UDP does not get through")
}

fn print_node(ui: &Ui, node: &Node) -> std::io::Result<()> {
    if ui.is_json() { ui.json(node) } else { ui.result(&node.words()) }
}

/// Finds the nodes closest to an id.
pub(super) async fn find(args: args::Find, ui: &Ui) -> Outcome {
    let dht = ask_only(&args.net).await?;
    let mut answers = dht.ask(Ask::Find { target: args.id }).await;
    let runs = runs(&dht, &mut answers, |_| Ok(())).await?;
    for contact in runs.iter().flat_map(|(_, summary)| &summary.closest) {
        print_node(ui, &Node::found(contact, &args.id))?;
    }
    tell(ui, &args.id, &runs)?;
    someone(&runs)?;
    Ok(Exit::Done)
}

/// Finds peers of a torrent, and perhaps announces one.
pub(super) async fn peers(args: args::Peers, ui: &Ui) -> Outcome {
    let source = Source::read_or_fetch(&args.source).await?;
    if source.is_private() {
        return Err(usage(format!("{} is private: the DHT is not asked for such torrents", args.source)));
    }
    let hashes = source.hashes();
    let v1 = hashes.v1().map(|hash| NodeId(hash.0));
    let v2 = hashes.v2().map(|hash| NodeId(hash.truncated().0));
    let dht = ask_only(&args.net).await?;
    let (mut seen, mut all) = (BTreeSet::new(), Vec::new());
    for info_hash in v1.into_iter().chain(v2) {
        let mut answers = start(&dht, &args, info_hash).await;
        let runs = runs(&dht, &mut answers, |answer| {
            let Answer::Peers(peers) = answer else { return Ok(()) };
            for addr in peers.into_iter().filter(|addr| seen.insert(*addr)) {
                if ui.is_json() { ui.json(&Peer::found(addr))? } else { ui.result(&addr.to_string())? }
            }
            Ok(())
        });
        let runs = runs.await?;
        tell(ui, &info_hash, &runs)?;
        all.extend(runs);
    }
    someone(&all)?;
    conclude(&args, seen.len(), &all, ui)
}

async fn start(dht: &Dht, args: &args::Peers, info_hash: NodeId) -> Answers {
    match args.announce {
        Some(port) => dht.announce(Announce { info_hash, port, implied_port: false, seed: false }).await,
        None => dht.ask(Ask::Peers { info_hash, noseed: false, scrape: args.scrape }).await,
    }
}

/// In the end.
fn conclude(args: &args::Peers, found: usize, runs: &[(Family, Summary)], ui: &Ui) -> Outcome {
    for (seeds, peers) in runs.iter().filter_map(|(_, summary)| summary.scrape) {
        ui.note(&format!("some {} and {}", count(seeds.into(), "seed"), count(peers.into(), "other peer")));
    }
    if let Some(port) = args.announce {
        let stored: u32 = runs.iter().map(|(_, summary)| summary.stored).sum();
        if stored == 0 {
            bail!("no node took the announce of port {port}: try again later");
        }
        ui.note(&format!("port {port} is announced at {}, for half an hour", count(stored.into(), "node")));
        return Ok(Exit::Done);
    }
    if found == 0 {
        bail!("nobody is known to have {}: its peers may not use the DHT, or there are none", args.source);
    }
    ui.note(&format!("found {}", count(found as u64, "peer")));
    Ok(Exit::Done)
}

/// Asks nodes for some of their torrents.
pub(super) async fn sample(args: args::Sample, ui: &Ui) -> Outcome {
    match args.place {
        Some(Place::At(host)) => {
            let dht = ask_one(&host, args.net).await?;
            for addr in resolve(&host).await? {
                if let Some((contact, _)) = dht.ping(addr).await {
                    return sample_around(&dht, contact.id, Some(contact), ui).await;
                }
            }
            Err(nobody(&host))
        }
        Some(Place::Around(id)) => sample_around(&ask_only(&args.net).await?, id, None, ui).await,
        None => {
            let mut id = NodeId([0; NodeId::LEN]);
            getrandom::fill(&mut id.0)?;
            sample_around(&ask_only(&args.net).await?, id, None, ui).await
        }
    }
}

/// Of all nodes on the way to an id, or of the one that has it.
async fn sample_around(dht: &Dht, target: NodeId, only: Option<Contact>, ui: &Ui) -> Outcome {
    let mut answers = dht.ask(Ask::Sample { target }).await;
    let mut told = 0;
    let runs = runs(dht, &mut answers, |answer| {
        if let Answer::Sample { from, hashes, num, interval } = answer
            && only.is_none_or(|only| only == from)
        {
            told += 1;
            print_sample(ui, &from, &hashes, num, interval)?;
        }
        Ok(())
    });
    let runs = runs.await?;
    tell(ui, &target, &runs)?;
    someone(&runs)?;
    if told == 0 {
        bail!("none of the nodes that answer tells of its torrents (BEP 51)");
    }
    Ok(Exit::Done)
}

fn print_sample(ui: &Ui, from: &Contact, hashes: &[NodeId], num: u32, interval: Duration) -> Result<()> {
    let sample = Sample::new(from, hashes, num, interval);
    if ui.is_json() {
        ui.json(&sample)?
    } else {
        ui.result(&sample.words())?
    }
    Ok(())
}
