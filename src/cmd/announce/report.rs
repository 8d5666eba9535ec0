//! What a tracker said, as JSON for programs and in words for people.

use std::fmt::Write;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use samara_engine::trackers::{self, AskError, Question, Told};
use samara_proto::ids::WireHash;
use samara_proto::tracker::{AnnounceResponse, Failure, Family, Retry, ScrapeStats};
use serde::Serialize;

use crate::ui::Ui;
use crate::ui::human::{clean, count, duration};

/// What one tracker said: a line of `--json`.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// `announce` or `scrape`.
    event: &'static str,
    /// As it was named.
    url: String,
    /// Whether it answered at all.
    pub(super) ok: bool,
    /// By family, and for an announce by hash: a hybrid torrent has two.
    answers: Vec<Answer>,
}

/// What it said to one question.
#[derive(Debug, Default, Serialize)]
pub(super) struct Answer {
    /// `ipv4` or `ipv6`.
    #[serde(skip_serializing_if = "Option::is_none")]
    family: Option<&'static str>,
    /// The address that answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<IpAddr>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    announced: Option<Announced>,
    #[serde(skip_serializing_if = "Option::is_none")]
    torrents: Option<Vec<Swarm>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// Seconds after which it wants to be asked again, though it refused (BEP 31).
    #[serde(skip_serializing_if = "Option::is_none")]
    retry: Option<u64>,
    /// There is no address of this family, or no way to it, which is nobody's fault.
    #[serde(skip)]
    absent: bool,
}

/// The answer to an announce. Intervals are seconds.
#[derive(Debug, Serialize)]
struct Announced {
    info_hash: String,
    interval: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_interval: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seeds: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    leeches: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completed: Option<u32>,
    peers: Vec<SocketAddr>,
    /// Peers left out, which the tracker may not lead us to.
    #[serde(skip_serializing_if = "is_zero")]
    refused_peers: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    external_ip: Option<IpAddr>,
}

/// The size of a swarm.
#[derive(Debug, Serialize)]
struct Swarm {
    info_hash: String,
    seeds: u32,
    leeches: u32,
    completed: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_zero(n: &usize) -> bool {
    *n == 0
}

impl Report {
    pub(super) fn new(scrape: bool, url: String, answers: Vec<Answer>) -> Self {
        let ok = answers.iter().any(Answer::is_answer);
        Self { event: if scrape { "scrape" } else { "announce" }, url, ok, answers }
    }

    /// Prints it as the user wants it.
    ///
    /// # Errors
    /// If stdout is closed.
    pub(super) fn print(&self, ui: &Ui) -> io::Result<()> {
        if ui.is_json() { ui.json(self) } else { ui.result(&self.words(ui)) }
    }

    fn words(&self, ui: &Ui) -> String {
        let style = ui.result_style();
        let mut text = style.bold(&clean(&self.url));
        for answer in self.shown(ui.is_verbose()) {
            let family = match answer.family {
                Some("ipv4") => "IPv4: ",
                Some(_) => "IPv6: ",
                None => "",
            };
            // Writing to a string cannot fail.
            let _ = write!(text, "\n  {family}{}", answer.words(self.is_hybrid()));
            let peers = answer.announced.iter().flat_map(|said| &said.peers).filter(|_| ui.is_verbose());
            for peer in peers {
                let _ = write!(text, "\n    {peer}");
            }
        }
        text
    }

    /// What is absent is only worth a word if nothing else is there, or the user wants to know more.
    fn shown(&self, verbose: bool) -> impl Iterator<Item = &Answer> {
        let all_absent = self.answers.iter().all(|answer| answer.absent);
        self.answers.iter().filter(move |answer| verbose || all_absent || !answer.absent)
    }

    /// Whether it was asked about two hashes.
    fn is_hybrid(&self) -> bool {
        let mut hashes = self.answers.iter().filter_map(|answer| Some(&answer.announced.as_ref()?.info_hash));
        let first = hashes.next();
        hashes.any(|hash| Some(hash) != first)
    }
}

impl Answer {
    pub(super) fn new(question: &Question, told: &Result<Told, AskError>) -> Self {
        let family = match question.family {
            Family::V4 => "ipv4",
            Family::V6 => "ipv6",
        };
        let about = Self { family: Some(family), ..Self::default() };
        match told {
            Ok(told) => about.told(question, told),
            Err(error) => about.failed(error),
        }
    }

    /// It is no tracker's URL.
    pub(super) fn unusable(why: String) -> Self {
        Self { error: Some(why), ..Self::default() }
    }

    fn told(self, question: &Question, told: &Told) -> Self {
        let from = Some(told.from);
        match &told.answer {
            trackers::Answer::Announce(said) => {
                Self { from, announced: Announced::new(question, said, told.refused), ..self }
            }
            trackers::Answer::Scrape(files) => {
                Self { from, torrents: Some(files.iter().map(Swarm::new).collect()), ..self }
            }
        }
    }

    fn failed(self, error: &AskError) -> Self {
        let absent = matches!(error, AskError::NoAddress(_) | AskError::Unreachable);
        let retry = match error {
            AskError::Refused(Failure { retry: Some(Retry::Minutes(minutes)), .. }) => {
                Some(u64::from(*minutes) * 60)
            }
            _ => None,
        };
        Self { error: Some(error.to_string()), retry, absent, ..self }
    }

    const fn is_answer(&self) -> bool {
        self.error.is_none()
    }

    fn words(&self, with_hash: bool) -> String {
        let mut text = match (&self.error, &self.announced, &self.torrents) {
            (Some(error), ..) => clean(error).into_owned(),
            (_, Some(said), _) => said.words(with_hash),
            (_, _, Some(torrents)) if torrents.is_empty() => "it does not know this torrent".into(),
            (_, _, Some(torrents)) => {
                let alone = torrents.len() == 1;
                torrents.iter().map(|swarm| swarm.words(!alone)).collect::<Vec<_>>().join("; ")
            }
            (None, None, None) => String::new(),
        };
        if let Some(seconds) = self.retry {
            let _ = write!(text, " (asks us to come back in {})", time(seconds));
        }
        text
    }
}

impl Announced {
    fn new(question: &Question, said: &AnnounceResponse, refused_peers: usize) -> Option<Self> {
        let trackers::What::Announce { request, .. } = &question.what else { return None };
        Some(Self {
            info_hash: hex(&request.info_hash),
            interval: said.interval,
            min_interval: said.min_interval,
            seeds: said.complete,
            leeches: said.incomplete,
            completed: said.downloaded,
            // Many trackers give us ourselves.
            peers: said.peers.iter().filter(|peer| peer.port() != request.port).copied().collect(),
            refused_peers,
            warning: said.warning.clone(),
            external_ip: said.external_ip,
        })
    }

    fn words(&self, with_hash: bool) -> String {
        let mut parts = Vec::new();
        parts.extend(self.seeds.map(|n| count(n.into(), "seed")));
        parts.extend(self.leeches.map(|n| if n == 1 { "1 leech".into() } else { format!("{n} leeches") }));
        parts.push(format!("gives {}", count(self.peers.len() as u64, "peer")));
        if self.refused_peers > 0 {
            parts.push(format!("{} left out (inside addresses)", self.refused_peers));
        }
        parts.push(format!("interval {}", time(self.interval.into())));
        parts.extend(self.min_interval.map(|n| format!("at least {}", time(n.into()))));
        parts.extend(self.external_ip.map(|ip| format!("sees us at {ip}")));
        let hash = if with_hash { format!("{}: ", self.info_hash) } else { String::new() };
        let warning = self.warning.as_ref().map(|text| format!("\n    warns: {}", clean(text)));
        format!("{hash}{}{}", parts.join(", "), warning.unwrap_or_default())
    }
}

impl Swarm {
    fn new((hash, stats): &(WireHash, ScrapeStats)) -> Self {
        let ScrapeStats { complete, downloaded, incomplete } = *stats;
        Self { info_hash: hex(hash), seeds: complete, leeches: incomplete, completed: downloaded }
    }

    fn words(&self, with_hash: bool) -> String {
        let hash = if with_hash { format!("{}: ", self.info_hash) } else { String::new() };
        let leeches = if self.leeches == 1 { "1 leech".into() } else { format!("{} leeches", self.leeches) };
        let completed = count(self.completed.into(), "download");
        format!("{hash}{}, {leeches}, {completed} completed", count(self.seeds.into(), "seed"))
    }
}

fn hex(hash: &WireHash) -> String {
    hash.to_string()
}

fn time(seconds: u64) -> String {
    duration(Duration::from_secs(seconds))
}
