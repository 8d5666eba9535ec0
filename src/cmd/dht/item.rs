//! `samara dht get` and `put`: short values in the DHT (BEP 44).

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use samara_engine::dht::{Answer, Dht};
use samara_proto::dht::item::{BadItem, Item, mutable_target, public_key};
use samara_proto::dht::message::{MAX_SALT, MAX_VALUE};
use samara_proto::dht::node::Ask;
use samara_proto::ids::NodeId;

use super::report::{Stored, hex, string};
use super::{Runs, ask_only, runs, someone, tell};
use crate::args::{self, Target, hex_32};
use crate::exit::{Exit, Outcome, usage};
use crate::ui::Ui;
use crate::ui::human::{clean, count};

/// Longest file with a key that is read: anything longer is something else.
const MAX_KEY_FILE: u64 = 256;

/// Fetches an item.
pub(super) async fn get(args: args::GetItem, ui: &Ui) -> Outcome {
    let salt = args.salt.as_bytes();
    check_salt(salt)?;
    let target = match &args.target {
        Target::Place(place) => *place,
        Target::Key(key) => mutable_target(key, salt),
    };
    let dht = ask_only(&args.net).await?;
    let (item, runs) = fetch(&dht, target, salt).await?;
    tell(ui, &target, &runs)?;
    let Some(item) = item else {
        someone(&runs)?;
        bail!("nothing is stored under {target}: values are forgotten two hours after they were put");
    };
    print(&item, args.output.as_deref(), ui)?;
    Ok(Exit::Done)
}

/// The newest that is stored.
async fn fetch(dht: &Dht, target: NodeId, salt: &[u8]) -> Result<(Option<Item>, Runs)> {
    let mut answers = dht.ask(Ask::Get { target, salt: salt.into() }).await;
    let mut best: Option<Item> = None;
    let runs = runs(dht, &mut answers, |answer| {
        if let Answer::Item(item) = answer
            && best.as_ref().is_none_or(|best| best.seq() < item.seq())
        {
            best = Some(item);
        }
        Ok(())
    });
    let runs = runs.await?;
    Ok((best, runs))
}

fn print(item: &Item, output: Option<&Path>, ui: &Ui) -> Result<()> {
    // What is no text is shown as it is stored.
    let value = string(item.value()).unwrap_or(item.value());
    if let Some(path) = output {
        fs::write(path, value).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if ui.is_json() {
        ui.json(&Stored::new(item, None))?;
    } else if output.is_none() {
        let text = String::from_utf8_lossy(value);
        // Lines are lines; whatever else could move a cursor is escaped.
        let lines: Vec<_> = text.lines().map(clean).collect();
        ui.result(&lines.join("\n"))?;
    }
    Ok(())
}

/// Stores an item.
pub(super) async fn put(args: args::PutItem, ui: &Ui) -> Outcome {
    let value = value(&args)?;
    check_salt(args.salt.as_bytes())?;
    let secret = args.key.as_deref().map(|path| secret(path, ui)).transpose()?;
    // Before anybody is asked.
    make(secret.as_ref(), &args, args.seq.unwrap_or(0), &value)?;
    let dht = ask_only(&args.net).await?;
    let seq = match (&secret, args.seq) {
        (Some(secret), None) => next_seq(&dht, secret, args.salt.as_bytes()).await?,
        (_, seq) => seq.unwrap_or(0),
    };
    let item = make(secret.as_ref(), &args, seq, &value)?;
    let target = item.target();
    let mut answers = dht.ask(Ask::Put { item: item.clone(), cas: args.cas }).await;
    let runs = runs(&dht, &mut answers, |_| Ok(())).await?;
    tell(ui, &target, &runs)?;
    let stored: u32 = runs.iter().map(|(_, summary)| summary.stored).sum();
    if stored == 0 {
        someone(&runs)?;
        return Err(refused(&runs));
    }
    if ui.is_json() {
        ui.json(&Stored::new(&item, Some(stored)))?;
        return Ok(Exit::Done);
    }
    ui.result(&item.mutable().map_or_else(|| target.to_string(), |mutable| hex(&mutable.key)))?;
    let version = item.seq().map(|seq| format!("version {seq} ")).unwrap_or_default();
    ui.note(&format!(
        "{version}stored at {}, for two hours unless it is put again",
        count(stored.into(), "node")
    ));
    Ok(Exit::Done)
}

/// Why no node took it, in the words of the first.
fn refused(runs: &Runs) -> anyhow::Error {
    let refusal = runs.iter().find_map(|(_, summary)| summary.refusal.as_ref());
    match refusal {
        Some((301, _)) => anyhow!("no node stored it: what they have is not the version that --cas names"),
        Some((302, _)) => anyhow!("no node stored it: they have a newer version, so choose a higher --seq"),
        Some((code, text)) => anyhow!("no node stored it; one says: {text} ({code})"),
        None => anyhow!("no node stored it: try again later"),
    }
}

/// One more than what is stored, or 1.
async fn next_seq(dht: &Dht, secret: &[u8; 32], salt: &[u8]) -> Result<i64> {
    let target = mutable_target(&public_key(secret), salt);
    let (item, _) = fetch(dht, target, salt).await?;
    let stored = item.and_then(|item| item.seq()).unwrap_or(0);
    stored.checked_add(1).context("the version that is stored is the last there can be: use another --salt")
}

fn make(secret: Option<&[u8; 32]>, args: &args::PutItem, seq: i64, value: &[u8]) -> Result<Item> {
    let item = match secret {
        Some(secret) => Item::sign(secret, args.salt.as_bytes(), seq, value),
        None => Item::immutable(value),
    };
    item.map_err(|error| match error {
        BadItem::TooBig => {
            usage(format!("at most {MAX_VALUE} bytes can be stored, and these are {}", value.len()))
        }
        BadItem::Malformed => {
            usage("the value is no canonical bencoding: leave --bencoded out to store it as a text")
        }
        error => usage(error.to_string()),
    })
}

/// The value, bencoded.
fn value(args: &args::PutItem) -> Result<Vec<u8>> {
    let bytes = match (&args.value, &args.file) {
        (Some(text), _) => text.clone().into_bytes(),
        (None, Some(path)) => read(path, MAX_VALUE as u64)?,
        (None, None) => return Err(usage("name a value, or a file with --file")),
    };
    if args.bencoded {
        return Ok(bytes);
    }
    let mut out = format!("{}:", bytes.len()).into_bytes();
    out.extend_from_slice(&bytes);
    Ok(out)
}

/// A file, and one byte more than `most` if it is longer.
fn read(path: &Path, most: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = fs::File::open(path)
        .and_then(|file| io::Read::read_to_end(&mut io::Read::take(file, most + 1), &mut bytes));
    read.with_context(|| format!("cannot read {}", path.display()))?;
    Ok(bytes)
}

fn check_salt(salt: &[u8]) -> Result<()> {
    if salt.len() > MAX_SALT {
        return Err(usage(format!("a salt has at most {MAX_SALT} bytes, and this has {}", salt.len())));
    }
    Ok(())
}

/// The secret key in a file, or a new one.
fn secret(path: &Path, ui: &Ui) -> Result<[u8; 32]> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut secret = [0; 32];
            getrandom::fill(&mut secret).context("the system gives no random numbers")?;
            keep(path, &secret).with_context(|| format!("cannot write a key to {}", path.display()))?;
            ui.note(&format!("{} is a new key: keep it, and keep it secret", path.display()));
            Ok(secret)
        }
        _ => {
            let bytes = read(path, MAX_KEY_FILE)?;
            let text = std::str::from_utf8(&bytes).ok().and_then(|text| hex_32(text.trim()));
            text.ok_or_else(|| usage(format!("{} is no secret key, which has 64 hex digits", path.display())))
        }
    }
}

/// For the user's eyes only.
fn keep(path: &Path, secret: &[u8; 32]) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    writeln!(file, "{}", hex(secret))?;
    file.sync_all()
}
