//! `samara create`: makes a .torrent file.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use samara_proto::metainfo::{Format, Metainfo};
use serde::Serialize;

use crate::args::{self, Create};
use crate::exit::{Exit, Outcome, usage};
use crate::link;
use crate::make::{Made, Recipe, make};
use crate::publish::{is_special, publish};
use crate::signal::Interrupt;
use crate::ui::Ui;
use crate::ui::human::{bytes, clean, count};
use crate::ui::json::Metadata;
use crate::walk::walk;

/// Hashes a file or folder and writes its torrent.
pub(crate) async fn run(args: Create, ui: &mut Ui) -> Outcome {
    ui.expect_one_object();
    let mut interrupt = Interrupt::install()?;
    let walk = walk(std::slice::from_ref(&args.path))?;
    let file = args.output.clone().unwrap_or_else(|| {
        let name = args.name.as_ref().unwrap_or(&walk.name);
        PathBuf::from(format!("{}.torrent", name.replace(['/', '\\'], "_")))
    });
    // Before an hour of hashing rather than after it.
    refuse_overwriting(&file, args.force)?;
    let Some(made) = make(walk, recipe(&args), ui, &mut interrupt).await? else {
        return Ok(Exit::Interrupted);
    };
    let metainfo = dress(made, &args);
    publish(&file, &metainfo.to_bytes(), args.force)?;
    tell(&file, &metainfo, ui)?;
    Ok(Exit::Done)
}

fn recipe(args: &Create) -> Recipe {
    let format = match args.format {
        args::Format::V1 => Format::V1,
        args::Format::V2 => Format::V2,
        args::Format::Hybrid => Format::Hybrid,
    };
    Recipe {
        piece_length: args.piece_length,
        private: args.private,
        source: args.source.clone(),
        name: args.name.clone(),
        ..Recipe::new(format)
    }
}

/// Puts around the info dictionary what the user wants there.
fn dress(made: Made, args: &Create) -> Metainfo {
    let tier =
        |urls: &String| urls.split(',').map(str::trim).filter(|u| !u.is_empty()).map(str::to_owned).collect();
    Metainfo {
        trackers: args.trackers.iter().map(tier).filter(|tier: &Vec<_>| !tier.is_empty()).collect(),
        web_seeds: args.web_seeds.clone(),
        comment: args.comment.clone(),
        created_by: Some(concat!("Samara ", env!("CARGO_PKG_VERSION")).into()),
        creation_date: if args.no_date { None } else { now() },
        ..Metainfo::new(made.info, made.piece_layers)
    }
}

/// Seconds since 1970; `None` where the clock is before that.
fn now() -> Option<i64> {
    SystemTime::now().duration_since(UNIX_EPOCH).ok().and_then(|d| d.as_secs().try_into().ok())
}

fn refuse_overwriting(file: &Path, force: bool) -> Result<()> {
    if !force && !is_special(file) && file.symlink_metadata().is_ok() {
        return Err(usage(format!(
            "{} is there already: use --force to overwrite it, or -o",
            file.display()
        )));
    }
    Ok(())
}

/// What `create --json` prints.
#[derive(Serialize)]
struct Created<'a> {
    event: &'static str,
    #[serde(flatten)]
    metadata: Metadata,
    pieces: u32,
    path: String,
    magnet: &'a str,
}

fn tell(file: &Path, metainfo: &Metainfo, ui: &Ui) -> Result<()> {
    let info = &metainfo.info;
    let metadata = Metadata::of(info);
    let magnet = link::of(metainfo, &[]);
    if ui.is_json() {
        let path = file.display().to_string();
        let created =
            Created { event: "metadata", metadata, pieces: info.num_pieces(), path, magnet: &magnet };
        return Ok(ui.json(&created)?);
    }
    let files = count(metadata.files as u64, "file");
    ui.note(&format!(
        "{}: {}, {files}, {} of {}",
        clean(&file.display().to_string()),
        bytes(metadata.size),
        count(info.num_pieces().into(), "piece"),
        bytes(info.piece_length().into()),
    ));
    let hashes = [("v1", metadata.info_hash_v1), ("v2", metadata.info_hash_v2)];
    for (version, hash) in hashes.iter().filter_map(|(v, h)| Some((v, h.as_ref()?))) {
        ui.result(&format!("info-hash {version}  {hash}"))?;
    }
    Ok(ui.result(&magnet)?)
}
