//! The swarms on disk: saved on stop and from time to time, loaded at the start, so that a restart empties none.
//!
//! The format is [`samara_proto::swarms::file`]. A file is written beside the old one, synced, and takes its name when it
//! is whole; a crash leaves the old one. Peers are as old as they were, plus the time that the hub was away. A file that
//! is damaged gives what it has up to the damage and is kept aside, for the hub has to start.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use samara_proto::swarms::file::{Broken, FRAME_LEN, Frame, HEADER_LEN, MAX_BLOCK, Writer, read_header};

use crate::clock::Clock;
use crate::store::Store;

/// Between two savings while the hub runs. A crash costs no more announces than that.
pub(crate) const SAVE_EVERY: Duration = Duration::from_secs(600);

/// Why a file could not be read to its end.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Broken(#[from] Broken),
}

/// Whether it can be saved to `path`: better said at the start than on stop.
///
/// # Errors
/// Says why not.
pub(crate) fn check(path: &Path) -> Result<(), String> {
    let beside = beside(path, "new");
    let fault =
        |e: io::Error| format!("cannot write {}, where swarms are to be saved: {e}", beside.display());
    File::create(&beside).and_then(|_| fs::remove_file(&beside)).map_err(fault)
}

/// Saves everything; returns how many peers that are.
///
/// # Errors
/// If the file cannot be written. The old one stays then.
pub(crate) fn save(store: &Store, clock: Clock, path: &Path) -> io::Result<u64> {
    let beside = beside(path, "new");
    let mut file = File::create(&beside)?;
    let (mut out, mut peers, mut failed) = (Vec::new(), 0, Ok(()));
    let mut writer = Writer::new(unix_seconds(), &mut out);
    store.save(clock, |swarm| {
        peers += swarm.peers.len() as u64;
        writer.push(swarm, &mut out);
        if !out.is_empty() && failed.is_ok() {
            failed = file.write_all(&out);
        }
        out.clear();
    });
    failed?;
    writer.finish(&mut out);
    file.write_all(&out)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    Ok(peers)
}

/// Loads what was saved, if anything was. Nothing keeps the hub from starting.
pub(crate) fn load(store: &Store, clock: Clock, path: &Path) {
    let mut peers = 0;
    match try_load(store, clock, path, &mut peers) {
        Ok(()) => tracing::info!(peers, file = %path.display(), "the swarms of the last run are loaded"),
        Err(Fault::Io(e)) if e.kind() == io::ErrorKind::NotFound => {
            tracing::info!(file = %path.display(), "there are no swarms of an earlier run");
        }
        Err(fault) => {
            let aside = beside(path, "bad");
            let kept = if fs::rename(path, &aside).is_ok() { aside } else { path.to_owned() };
            tracing::error!(peers, file = %kept.display(), "the swarms of the last run are not all loaded: {fault}");
        }
    }
}

fn try_load(store: &Store, clock: Clock, path: &Path, peers: &mut usize) -> Result<(), Fault> {
    let mut file = BufReader::new(File::open(path)?);
    let mut header = [0; HEADER_LEN];
    whole(&mut file, &mut header)?;
    // A clock that was set back meanwhile makes nobody younger.
    let away = Duration::from_secs(unix_seconds().saturating_sub(read_header(&header)?));
    let mut content = vec![0; MAX_BLOCK];
    loop {
        let mut frame = [0; FRAME_LEN];
        whole(&mut file, &mut frame)?;
        let Some(frame) = Frame::read(&frame)? else { return Ok(()) };
        let content = &mut content[..frame.len];
        whole(&mut file, content)?;
        frame.swarms(content, away, |swarm| {
            *peers += swarm.peers.len();
            store.restore(clock.now(), swarm);
        })?;
    }
}

/// Fills `into`; a file that ends before that is broken.
fn whole(file: &mut impl Read, into: &mut [u8]) -> Result<(), Fault> {
    file.read_exact(into).map_err(|e| match e.kind() {
        io::ErrorKind::UnexpectedEof => Fault::Broken(Broken::Block),
        _ => Fault::Io(e),
    })
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Arc;

    use samara_proto::ids::WireHash;
    use samara_proto::swarms::{Announce, Event, Role};
    use samara_proto::tracker::Family;

    use super::*;
    use crate::config::{Config, Options};

    fn empty() -> (Arc<Store>, Clock) {
        let clock = Clock::start();
        (Store::new(&Config::new(Options::default()).unwrap(), clock).unwrap(), clock)
    }

    fn leeches(store: &Store) -> usize {
        store.stats().v4.leeches
    }

    #[test]
    fn a_restart_empties_no_swarm_and_damage_keeps_nobody_from_starting() {
        let dir = std::env::temp_dir().join(format!("samara-hub-state-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let path = dir.join("swarms");
        let (store, clock) = empty();
        for n in 0..30_000u32 {
            let hash = WireHash([(n % 251) as u8; 20]);
            let peer = SocketAddr::new((0x0a00_0000 + n).to_be_bytes().into(), 6881);
            let announce = Announce { hash, peer, event: Event::None, role: Role::Leech, want: 0 };
            store.announce(clock.now(), &announce, &mut [], || unreachable!());
        }
        assert_eq!(save(&store, clock, &path).unwrap(), 30_000);
        let (again, clock) = empty();
        load(&again, clock, &path);
        let mut counts = Vec::new();
        again.scrape([WireHash([7; 20])].into_iter(), Family::V4, &mut counts, || unreachable!());
        assert_eq!((leeches(&again), counts[0].incomplete), (30_000, 120));
        let mut bytes = fs::read(&path).unwrap();
        let at = bytes.len() - 1000;
        bytes[at] ^= 1;
        fs::write(&path, bytes).unwrap();
        let (damaged, clock) = empty();
        load(&damaged, clock, &path);
        assert!((1..30_000).contains(&leeches(&damaged)));
        assert!(!path.exists() && dir.join("swarms.bad").exists());
        load(&damaged, clock, &path);
        fs::write(&path, "x").unwrap();
        load(&damaged, clock, &path);
        fs::remove_dir_all(&dir).unwrap();
    }
}
