//! `samara send`: makes a torrent in memory, shares it at once, and prints how to fetch it.

use std::io::IsTerminal;

use anyhow::Result;
use samara_engine::{AddSource, AddTorrent, Mode};
use samara_proto::metainfo::{Format, Metainfo};

use crate::args::{Send, When};
use crate::exit::{Exit, Outcome};
use crate::link;
use crate::make::{Recipe, make};
use crate::session;
use crate::share::{Batch, share};
use crate::signal::Interrupt;
use crate::ui::json::Metadata;
use crate::ui::{Event, Ui, qr};
use crate::walk::walk;

/// Hashes, prints the link, and shares until interrupted.
pub(crate) async fn run(args: Send, ui: &mut Ui) -> Outcome {
    let mut interrupt = Interrupt::install()?;
    let peers = session::resolve(&args.net.peers, ui).await?;
    let walk = walk(&args.paths)?;
    let client = session::start(&args.net, ui).await?;
    let Some(made) = make(walk, Recipe::new(Format::Hybrid), ui, &mut interrupt).await? else {
        client.shutdown().await;
        return Ok(Exit::Interrupted);
    };
    ui.event(&Event::Metadata(Metadata::of(&made.info)))?;
    let mut metainfo = Metainfo::new(made.info, made.piece_layers);
    metainfo.trackers = args.net.trackers.iter().map(|url| vec![url.to_string()]).collect();
    let link = link::of(&metainfo, &session::reachable(client.listening()));
    let mut add = AddTorrent::new(AddSource::Metainfo(Box::new(metainfo)), ".");
    add.mode = Mode::Trusted;
    add.paths = Some(made.paths);
    add.peers = peers;
    add.trackers.clone_from(&args.net.trackers);
    print_link(&link, args.qr, ui)?;
    ui.show_peers();
    let outcome = share(&client, Batch::told(add), ui, &mut interrupt).await;
    ui.end_progress();
    client.shutdown().await;
    outcome
}

/// The link, and for people how to use it.
fn print_link(link: &str, qr: When, ui: &mut Ui) -> Result<()> {
    ui.event(&Event::Link { magnet: link })?;
    if ui.is_json() {
        return Ok(());
    }
    ui.note("On the other machine:\n");
    ui.note(&format!("  samara get '{link}'\n"));
    ui.result(link)?;
    if wants_qr(qr) {
        match qr::draw(link, ui.result_style().is_on()) {
            Some(code) => ui.result(&code)?,
            None => ui.warning("the link is too long for a QR code")?,
        }
    }
    Ok(())
}

fn wants_qr(when: When) -> bool {
    match when {
        When::Always => true,
        When::Never => false,
        When::Auto => std::io::stdout().is_terminal(),
    }
}
