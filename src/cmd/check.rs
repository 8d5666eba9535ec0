//! `samara check`: hashes the data in a folder against a torrent. Reads only.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, bail};
use samara_engine::hash::{self, CheckResult, HashJob, PieceHashes, Want};
use samara_proto::bitfield::Bitfield;
use samara_proto::ids::{FileIndex, PieceIndex};
use samara_proto::layout::Layout;
use samara_proto::metainfo::Metainfo;
use samara_proto::path::{SafePath, sanitise};
use serde::Serialize;

use crate::args::Check;
use crate::exit::{Exit, Outcome};
use crate::hashing::{self, Job};
use crate::signal::Interrupt;
use crate::source::read_torrent;
use crate::ui::Ui;
use crate::ui::human::{clean, count};

/// Checks, and says what is right.
pub(crate) async fn run(args: Check, ui: &mut Ui) -> Outcome {
    ui.expect_one_object();
    let metainfo = Arc::new(read_torrent(&args.torrent)?);
    if !args.dir.is_dir() {
        bail!("{} is not a folder: name the one that holds {}", args.dir.display(), metainfo.info.name());
    }
    let mut interrupt = Interrupt::install()?;
    let layout = Arc::new(Layout::of(&metainfo.info)?);
    let places: Vec<Option<Place>> =
        sanitise(&metainfo.info).iter().map(|safe| Some(Place::find(&args.dir, safe.as_ref()?))).collect();
    let worker = {
        let paths = places.iter().map(|place| Some(place.as_ref()?.path.clone())).collect::<Vec<_>>();
        let (metainfo, layout) = (Arc::clone(&metainfo), Arc::clone(&layout));
        move |job: &Job| hash_all(&metainfo, &layout, &paths, job)
    };
    let total = layout.total_len();
    let Some(found) = hashing::run(ui, &mut interrupt, total, worker).await? else {
        return Ok(Exit::Interrupted);
    };
    let report = Report::new(&metainfo, &layout, &places, &found?);
    report.tell(metainfo.info.name(), ui)?;
    if report.nothing_is_there() {
        hint(&args.dir, metainfo.info.name(), ui);
    }
    Ok(if report.complete { Exit::Done } else { Exit::NotCompleted })
}

fn hash_all(
    metainfo: &Metainfo,
    layout: &Layout,
    paths: &[Option<PathBuf>],
    job: &Job,
) -> Result<CheckResult> {
    let hashes = PieceHashes { info: &metainfo.info, layers: &metainfo.piece_layers, layout };
    let job = HashJob {
        paths,
        layout,
        want: Want::of(metainfo.info.format()),
        threads: hashing::threads(),
        progress: &|done| job.set_done(done),
        cancel: job.cancel(),
    };
    Ok(hash::check(&job, &|piece| hashes.get(piece))?)
}

/// Where a file is, and what is there.
#[derive(Debug)]
struct Place {
    path: PathBuf,
    /// Bytes; `None` if there is no regular file.
    len: Option<u64>,
    /// For a link: whether it is there and says the right thing.
    link: Option<bool>,
}

impl Place {
    /// The file under its name, or else under the name of a download that is not whole.
    fn find(dir: &Path, safe: &SafePath) -> Self {
        let len = |path: &Path| fs::metadata(path).ok().filter(|m| m.is_file()).map(|m| m.len());
        let (whole, part) = (dir.join(safe.as_path()), dir.join(safe.part_path()));
        let link = safe.link_target().map(|target| fs::read_link(&whole).is_ok_and(|found| found == target));
        match (len(&whole), len(&part)) {
            (None, Some(len)) => Self { path: part, len: Some(len), link },
            (len, _) => Self { path: whole, len, link },
        }
    }
}

/// What `check --json` prints.
#[derive(Debug, Serialize)]
struct Report {
    complete: bool,
    pieces_ok: u32,
    pieces_bad: u32,
    pieces_missing: u32,
    files: Vec<FileReport>,
}

#[derive(Debug, Serialize)]
struct FileReport {
    path: String,
    ok: bool,
    #[serde(skip)]
    trouble: Option<&'static str>,
}

impl Report {
    fn new(metainfo: &Metainfo, layout: &Layout, places: &[Option<Place>], found: &CheckResult) -> Self {
        let (have, missing) = (&found.have, found.missing.count());
        let files: Vec<FileReport> = places
            .iter()
            .zip(metainfo.info.files())
            .zip(0..)
            .filter_map(|((place, file), index)| {
                let trouble = trouble(place.as_ref()?, FileIndex(index), file.attr.symlink, layout, have);
                Some(FileReport { path: file.path.to_string(), ok: trouble.is_none(), trouble })
            })
            .collect();
        Self {
            complete: have.is_full() && files.iter().all(|f| f.ok),
            pieces_ok: have.count(),
            pieces_bad: have.len() - have.count() - missing,
            pieces_missing: missing,
            files,
        }
    }

    fn nothing_is_there(&self) -> bool {
        self.pieces_missing > 0 && self.pieces_ok == 0 && self.pieces_bad == 0
    }

    fn tell(&self, name: &str, ui: &Ui) -> Result<()> {
        if ui.is_json() {
            return Ok(ui.json(self)?);
        }
        for (file, trouble) in self.files.iter().filter_map(|f| Some((f, f.trouble?))) {
            ui.result(&format!("{trouble:<9} {}", clean(&file.path)))?;
        }
        let verdict = if self.complete { "complete" } else { "not complete" };
        Ok(ui.result(&format!(
            "{}: {verdict}: {} right, {} wrong, {} missing",
            clean(name),
            count(self.pieces_ok.into(), "piece"),
            self.pieces_bad,
            self.pieces_missing
        ))?)
    }
}

/// What is wrong with a file, in a word or two.
fn trouble(
    place: &Place,
    file: FileIndex,
    is_link: bool,
    layout: &Layout,
    have: &Bitfield,
) -> Option<&'static str> {
    if is_link {
        // A link that would lead out of the torrent is never made, so nothing is missed.
        return (place.link == Some(false)).then_some("no link");
    }
    let right = layout.pieces_of(file).all(|piece| have.has(PieceIndex(piece)));
    match place.len {
        None => Some("missing"),
        Some(len) if len < layout.file_len(file) => Some("too short"),
        Some(len) if len > layout.file_len(file) => Some("too long"),
        Some(_) if right => None,
        Some(_) => Some("damaged"),
    }
}

/// The folder itself instead of the one that holds it is a common slip.
fn hint(dir: &Path, name: &str, ui: &Ui) {
    let Ok(real) = dir.canonicalize() else { return };
    if let (true, Some(parent)) = (real.file_name().is_some_and(|n| n == name), real.parent()) {
        ui.note(&format!("DIR is the folder that holds {}: did you mean {}?", clean(name), parent.display()));
    }
}
