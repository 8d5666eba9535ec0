//! Fetches a torrent from one peer and prints how far it is.
//!
//! `cargo run --release -p samara-engine --example fetch -- some.torrent 192.0.2.7:6881 target-folder`

use std::error::Error;
use std::time::Duration;

use samara_engine::{AddSource, AddTorrent, Client, Config, TorrentEvent};
use samara_proto::metainfo::Metainfo;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(file), Some(peer), Some(dir)) = (args.next(), args.next(), args.next()) else {
        return Err("usage: fetch TORRENT PEER FOLDER".into());
    };
    let metainfo = Metainfo::parse(&std::fs::read(file)?)?;

    let client = Client::start(Config::default()).await?;
    let mut add = AddTorrent::new(AddSource::Metainfo(Box::new(metainfo)), dir);
    add.peers.push(peer.parse()?);
    let mut torrent = client.add(add).await?;

    let mut every = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            event = torrent.next_event() => match event {
                Some(TorrentEvent::Complete { path }) => {
                    println!("complete: {}", path.display());
                    break;
                }
                Some(TorrentEvent::Failed(why)) => return Err(why.into()),
                Some(_) => {}
                None => return Err("the torrent ended".into()),
            },
            _ = every.tick() => {
                if let Some(now) = torrent.snapshot().await {
                    println!("{} of {} bytes, {} B/s, {} peers", now.done, now.total, now.down_rate, now.peers);
                }
            }
        }
    }
    client.shutdown().await;
    Ok(())
}
