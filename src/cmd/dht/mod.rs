//! `samara dht`: looks into the DHT, or is a node of it.
//!
//! All but `node` start a node that answers nobody (BEP 43) and ends with the question. It keeps nothing, for a table of
//! a few seconds must not replace that of a node that ran for days.

mod item;
mod lookup;
mod node;
mod report;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use samara_engine::dht::{Answer, Answers, Dht, DhtConfig};
use samara_proto::dht::node::Summary;
use samara_proto::ids::NodeId;
use samara_proto::magnet::Host;
use samara_proto::tracker::Family;

use self::report::Lookup;
use crate::args::{self, DhtCommand, DhtNet};
use crate::exit::{Exit, Outcome, usage};
use crate::session::default_state_dir;
use crate::signal::Interrupt;
use crate::ui::Ui;

/// How a question went, by family.
type Runs = Vec<(Family, Summary)>;

/// What a family that knows nobody is given when the other one is through.
const GRACE: Duration = Duration::from_secs(1);

/// How long nothing may come, not even an end. Nodes give up earlier, but for announces.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs what the user named, until it ends or is interrupted.
pub(crate) async fn run(args: args::Dht, ui: &mut Ui) -> Outcome {
    let mut interrupt = Interrupt::install()?;
    if let DhtCommand::Node(args) = args.command {
        return node::run(args, &mut interrupt, ui).await;
    }
    tokio::select! {
        outcome = look(args.command, ui) => outcome,
        () = interrupt.wait() => Ok(Exit::Interrupted),
    }
}

async fn look(command: DhtCommand, ui: &Ui) -> Outcome {
    match command {
        DhtCommand::Ping(args) => lookup::ping(args, ui).await,
        DhtCommand::Find(args) => lookup::find(args, ui).await,
        DhtCommand::Peers(args) => lookup::peers(args, ui).await,
        DhtCommand::Sample(args) => lookup::sample(args, ui).await,
        DhtCommand::Get(args) => item::get(args, ui).await,
        DhtCommand::Put(args) => item::put(args, ui).await,
        DhtCommand::Node(_) => Ok(Exit::Done),
    }
}

/// A node that only asks.
///
/// # Errors
/// If an address cannot be had, which is a matter of configuration.
async fn ask_only(net: &DhtNet) -> Result<Dht> {
    let state = net.state_dir.clone().or_else(default_state_dir);
    start(&net.listen, state, DhtConfig { read_only: true, ..config(&net.bootstrap) }).await
}

/// As [`ask_only`], and with one node to know.
async fn ask_one(host: &Host, net: DhtNet) -> Result<Dht> {
    start(&net.listen, None, DhtConfig { read_only: true, ..config(std::slice::from_ref(host)) }).await
}

async fn start(listen: &[SocketAddr], state: Option<PathBuf>, config: DhtConfig) -> Result<Dht> {
    let dht = Dht::start(listen, state, config).await;
    dht.map_err(|error| usage(format!("{error}: choose another address with --listen")))
}

/// With the user's nodes to begin with, or the usual ones.
fn config(bootstrap: &[Host]) -> DhtConfig {
    let usual = DhtConfig::default();
    if bootstrap.is_empty() { usual } else { DhtConfig { bootstrap: bootstrap.to_vec(), ..usual } }
}

/// Takes what comes of a question, up to the end of one run of each family; `take` hears the rest. A family that there
/// is no way by is not waited for, once the other one is through.
async fn runs(dht: &Dht, answers: &mut Answers, mut take: impl FnMut(Answer) -> Result<()>) -> Result<Runs> {
    let mut runs = Runs::new();
    while runs.len() < dht.listening().len() {
        let through = runs.iter().any(|(_, summary)| summary.answered > 0);
        let pause = if through && is_alone(dht, &runs).await { GRACE } else { PATIENCE };
        match tokio::time::timeout(pause, answers.next()).await {
            Ok(Some(Answer::Done { family, summary })) => runs.push((family, *summary)),
            Ok(Some(answer)) => take(answer)?,
            Ok(None) | Err(_) => break,
        }
    }
    Ok(runs)
}

/// Whether the families that are not through know nobody.
async fn is_alone(dht: &Dht, runs: &Runs) -> bool {
    let nodes = dht.stats().await.nodes;
    let mut open = nodes.iter().filter(|node| runs.iter().all(|(family, _)| *family != node.family));
    open.all(|node| node.contacts == 0)
}

/// Tells how the runs went, in JSON or to who wants to know more.
fn tell(ui: &Ui, target: &NodeId, runs: &[(Family, Summary)]) -> Result<()> {
    for (family, summary) in runs.iter().filter(|(_, summary)| summary.asked > 0) {
        let lookup = Lookup::new(*family, target, summary);
        if ui.is_json() {
            ui.json(&lookup)?;
        } else if ui.is_verbose() {
            ui.note(&lookup.words());
        }
    }
    Ok(())
}

/// Whether anybody answered at all.
///
/// # Errors
/// If not.
fn someone(runs: &[(Family, Summary)]) -> Result<()> {
    if runs.iter().all(|(_, summary)| summary.answered == 0) {
        bail!("no node of the DHT answers: see whether UDP gets out, or name a node with --dht-bootstrap");
    }
    Ok(())
}

/// An address of a node, of each family the first.
async fn resolve(host: &Host) -> Result<Vec<SocketAddr>> {
    let all = tokio::net::lookup_host((host.name(), host.port()));
    let all: Vec<_> = all.await.with_context(|| format!("{host} cannot be found"))?.collect();
    let first = |v4| all.iter().find(|addr| addr.is_ipv4() == v4).copied();
    Ok([first(true), first(false)].into_iter().flatten().collect())
}
