//! `samara hub`: a tracker for others, or a node of the DHT, until interrupted.

use anyhow::{Context, Error};
use samara_hub::Hub;
use samara_hub::config::{Config, LogForm};

use crate::args;
use crate::exit::{Exit, Outcome, usage};
use crate::signal::{Hangup, Interrupt};
use crate::ui::{Event, LogStyle, Ui};

/// Runs the hub, or only checks its settings.
pub(crate) async fn run(args: args::Hub, ui: &mut Ui) -> Outcome {
    let config = Config::load(args.options, args.config.as_deref()).map_err(|e| usage(e.to_string()))?;
    if args.check_config {
        Hub::check(&config).map_err(|e| usage(e.to_string()))?;
        ui.note("the settings are valid");
        return Ok(Exit::Done);
    }
    ui.start_log(match config.log {
        LogForm::Text => LogStyle::Service,
        LogForm::Json => LogStyle::Json,
    });
    let mut interrupt = Interrupt::install()?;
    let mut hangup = Hangup::install()?;
    let hub = tokio::task::spawn_blocking(move || Hub::start(&config))
        .await
        .context("the hub did not start")?
        .map_err(Error::new)?;
    tell(&hub, ui)?;
    loop {
        tokio::select! {
            () = interrupt.wait() => break,
            () = hangup.next() => hub.reload(),
        }
    }
    tokio::task::spawn_blocking(move || hub.stop()).await.context("the hub did not stop")?;
    Ok(Exit::Done)
}

/// Where it listens, for programs; people read the log, which has nothing else in between.
fn tell(hub: &Hub, ui: &mut Ui) -> std::io::Result<()> {
    if !ui.is_json() {
        return Ok(());
    }
    for addr in hub.http() {
        ui.event(&Event::Listening { addr: *addr, transports: &["http"] })?;
    }
    for addr in hub.https() {
        ui.event(&Event::Listening { addr: *addr, transports: &["https"] })?;
    }
    for addr in hub.udp() {
        ui.event(&Event::Listening { addr: *addr, transports: &["udp"] })?;
    }
    Ok(())
}
