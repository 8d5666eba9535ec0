//! `samara show`: what a .torrent file or a magnet link says.

use samara_proto::magnet::Magnet;
use samara_proto::metainfo::{FileEntry, Format, Info, Metainfo};
use serde::Serialize;

use crate::args::Show;
use crate::exit::{Exit, Outcome};
use crate::link;
use crate::source::Source;
use crate::ui::Ui;
use crate::ui::human::{Style, bytes, clean, count};

/// Files listed for people without `--all`.
const LISTED: usize = 50;

/// Prints it.
pub(crate) fn run(args: &Show, ui: &mut Ui) -> Outcome {
    ui.expect_one_object();
    let shown = match Source::read(&args.source)? {
        Source::Torrent(metainfo) => Shown::of_torrent(&metainfo),
        Source::Magnet(magnet) => Shown::of_magnet(&magnet),
    };
    if ui.is_json() {
        ui.json(&shown)?;
    } else {
        let limit = if args.all { usize::MAX } else { LISTED };
        ui.result(&shown.describe(limit, ui.result_style()))?;
    }
    Ok(Exit::Done)
}

/// Everything there is to say; absent is what the input does not tell.
#[derive(Debug, Default, Serialize)]
struct Shown {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    info_hash_v1: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    info_hash_v2: Option<String>,
    #[serde(flatten)]
    content: Option<Content>,
    trackers: Vec<Vec<String>>,
    web_seeds: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nodes: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    creation_date: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peers: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    selected: Option<Vec<u32>>,
    magnet: String,
}

/// What only a torrent tells.
#[derive(Debug, Serialize)]
struct Content {
    format: &'static str,
    size: u64,
    piece_length: u32,
    pieces: u32,
    private: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    files: Vec<File>,
}

/// One file, in the torrent's order, pad files among them: the position is the number for `--select`.
#[derive(Debug, Serialize)]
struct File {
    path: String,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pieces_root: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attr: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    symlink: Option<String>,
}

impl File {
    fn of(file: &FileEntry) -> Self {
        Self {
            path: file.path.to_string(),
            size: file.length,
            pieces_root: file.pieces_root.map(|root| root.to_string()),
            attr: (!file.attr.is_empty()).then(|| file.attr.to_string()),
            symlink: file.symlink.as_ref().map(ToString::to_string),
        }
    }

    fn is_pad(&self) -> bool {
        self.attr.as_ref().is_some_and(|attr| attr.contains('p'))
    }
}

impl Content {
    fn of(info: &Info) -> Self {
        Self {
            format: match info.format() {
                Format::V1 => "v1",
                Format::V2 => "v2",
                Format::Hybrid => "hybrid",
            },
            size: info.total_size(),
            piece_length: info.piece_length(),
            pieces: info.num_pieces(),
            private: info.private(),
            source: info.source().map(str::to_owned),
            files: info.files().iter().map(File::of).collect(),
        }
    }
}

impl Shown {
    fn of_torrent(metainfo: &Metainfo) -> Self {
        let hashes = metainfo.info.hashes();
        Self {
            name: Some(metainfo.info.name().to_owned()),
            info_hash_v1: hashes.v1().map(|h| h.to_string()),
            info_hash_v2: hashes.v2().map(|h| h.to_string()),
            content: Some(Content::of(&metainfo.info)),
            trackers: metainfo.trackers.clone(),
            web_seeds: metainfo.web_seeds.clone(),
            nodes: Some(metainfo.nodes.iter().map(|(host, port)| format!("{host}:{port}")).collect()),
            comment: metainfo.comment.clone(),
            created_by: metainfo.created_by.clone(),
            creation_date: metainfo.creation_date,
            magnet: link::of(metainfo, &[]),
            ..Self::default()
        }
    }

    fn of_magnet(magnet: &Magnet) -> Self {
        Self {
            name: magnet.name.clone(),
            info_hash_v1: magnet.hashes.v1().map(|h| h.to_string()),
            info_hash_v2: magnet.hashes.v2().map(|h| h.to_string()),
            trackers: magnet.trackers.iter().map(|url| vec![url.clone()]).collect(),
            web_seeds: magnet.web_seeds.clone(),
            peers: Some(magnet.peers.iter().map(ToString::to_string).collect()),
            selected: magnet.selected.as_ref().map(|s| s.files().map(|f| f.0).collect()),
            magnet: magnet.to_string(),
            ..Self::default()
        }
    }

    fn describe(&self, limit: usize, style: Style) -> String {
        let mut text = Text { out: String::new(), style };
        text.line("name", self.name.as_deref());
        text.line("info-hash v1", self.info_hash_v1.as_deref());
        text.line("info-hash v2", self.info_hash_v2.as_deref());
        if let Some(content) = &self.content {
            text.content(content);
        }
        self.trackers.iter().for_each(|tier| text.line("trackers", Some(&tier.join(" "))));
        self.web_seeds.iter().for_each(|url| text.line("web seed", Some(url)));
        self.nodes.iter().flatten().for_each(|node| text.line("DHT node", Some(node)));
        self.peers.iter().flatten().for_each(|peer| text.line("peer", Some(peer)));
        text.line("comment", self.comment.as_deref());
        text.line("created by", self.created_by.as_deref());
        text.line("created on", self.creation_date.map(date).as_deref());
        text.line("selected", self.selected.as_ref().map(|files| numbers(files)).as_deref());
        text.line("magnet", Some(&self.magnet));
        if let Some(content) = &self.content {
            text.files(&content.files, limit);
        }
        text.out
    }
}

/// The text for people, as it grows.
struct Text {
    out: String,
    style: Style,
}

impl Text {
    /// A label and its value; nothing without a value.
    fn line(&mut self, label: &str, value: Option<&str>) {
        if let Some(value) = value {
            let label = self.style.dim(&format!("{label:<13}"));
            self.out.push_str(&format!("{label} {}\n", clean(value)));
        }
    }

    fn content(&mut self, content: &Content) {
        let files = content.files.iter().filter(|f| !f.is_pad()).count();
        let pieces = count(content.pieces.into(), "piece");
        self.line("format", Some(content.format));
        self.line("size", Some(&format!("{} in {}", bytes(content.size), count(files as u64, "file"))));
        self.line("pieces", Some(&format!("{pieces} of {}", bytes(content.piece_length.into()))));
        self.line("private", content.private.then_some("yes: peers come from its trackers only"));
        self.line("source", content.source.as_deref());
    }

    /// The files with their numbers for `--select`.
    fn files(&mut self, files: &[File], limit: usize) {
        let mut shown: Vec<_> = files.iter().enumerate().filter(|(_, f)| !f.is_pad()).collect();
        let hidden = shown.len().saturating_sub(limit);
        shown.truncate(limit);
        self.out.push('\n');
        for (index, file) in shown {
            let link = file.symlink.as_ref().map(|t| format!(" -> {t}")).unwrap_or_default();
            let number = self.style.dim(&format!("{index:>5}"));
            let path = format!("{}{link}", file.path);
            self.out.push_str(&format!("{number}  {:>10}  {}\n", bytes(file.size), clean(&path)));
        }
        if hidden > 0 {
            self.out
                .push_str(&format!("       and {} more: --all lists them\n", count(hidden as u64, "file")));
        }
    }
}

fn numbers(files: &[u32]) -> String {
    files.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Seconds since 1970 as a UTC date, after Howard Hinnant's `civil_from_days`.
fn date(seconds: i64) -> String {
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Years begin in March here, so that a leap day is the last of its year; an era is 400 of them.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02} UTC", rest / 3600, rest / 60 % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00 UTC"),
            (951_782_400, "2000-02-29 00:00 UTC"),
            (1_700_000_000, "2023-11-14 22:13 UTC"),
            (-1, "1969-12-31 23:59 UTC"),
            (i64::MIN, "-292277022657-01-27 08:29 UTC"),
        ] {
            assert_eq!(date(seconds), text);
        }
        date(i64::MAX);
    }
}
