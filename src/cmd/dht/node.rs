//! `samara dht node`: a node and nothing else, until interrupted.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::Result;
use samara_engine::dht::Dht;

use super::config;
use super::report::Standing;
use crate::args::{BareNode, DhtNet};
use crate::exit::{Exit, Outcome, usage};
use crate::session::{PORTS, default_state_dir};
use crate::signal::Interrupt;
use crate::ui::{Event, Ui};

/// How often it is looked how the node stands.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often that is told though nothing happened.
const TELL_EVERY: u32 = 60;

/// Runs the node.
pub(super) async fn run(args: BareNode, interrupt: &mut Interrupt, ui: &mut Ui) -> Outcome {
    let dht = start(&args.net).await?;
    for &addr in dht.listening() {
        ui.event(&Event::Listening { addr, transports: &["udp"] })?;
    }
    let outcome = tokio::select! {
        told = watch(&dht, ui) => told.map(|()| Exit::Done),
        () = interrupt.wait() => Ok(Exit::Interrupted),
    };
    dht.shutdown().await;
    outcome
}

/// Tells how it stands, when that changes and now and then.
async fn watch(dht: &Dht, ui: &Ui) -> Result<()> {
    let mut before: Vec<Standing> = Vec::new();
    let mut silent = 0;
    loop {
        let stats = dht.stats().await;
        let now: Vec<_> = stats.nodes.iter().map(Standing::new).collect();
        let is_news =
            now.len() != before.len() || now.iter().zip(&before).any(|(now, before)| now.is_news(before));
        silent += 1;
        if is_news || silent >= TELL_EVERY {
            for standing in &now {
                if ui.is_json() { ui.json(standing)? } else { ui.note(&standing.words()) }
            }
            (before, silent) = (now, 0);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// At the user's addresses, or the first port that is free on all.
///
/// # Errors
/// If an address cannot be had, which is a matter of configuration.
async fn start(net: &DhtNet) -> Result<Dht> {
    let mut port = *PORTS.start();
    loop {
        let listen = if net.listen.is_empty() { everywhere(port) } else { net.listen.clone() };
        let state = net.state_dir.clone().or_else(default_state_dir);
        match Dht::start(&listen, state, config(&net.bootstrap)).await {
            Err(e)
                if net.listen.is_empty()
                    && e.source.kind() == io::ErrorKind::AddrInUse
                    && port < *PORTS.end() =>
            {
                port += 1;
            }
            Err(error) => return Err(usage(format!("{error}: choose another address with --listen"))),
            Ok(dht) => return Ok(dht),
        }
    }
}

/// Both families; IPv4 alone where there is no IPv6.
fn everywhere(port: u16) -> Vec<SocketAddr> {
    let v6 = std::net::UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).is_ok();
    let (v4, v6) = ((Ipv4Addr::UNSPECIFIED, port).into(), v6.then_some((Ipv6Addr::UNSPECIFIED, port).into()));
    [Some(v4), v6].into_iter().flatten().collect()
}
