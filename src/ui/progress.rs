//! The line that tells how far things are, and how often it is told.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::human::{bytes, count, duration};
use super::json::Search;
use super::{Event, Progress};

/// Width of the piece map in columns.
const MAP_WIDTH: usize = 24;

/// How full a column of the map is, from nothing to everything.
const LEVELS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// A bar without a message draws nothing.
pub(super) fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
    if let Ok(style) = ProgressStyle::with_template("{wide_msg}") {
        bar.set_style(style);
    }
    bar
}

/// Decides which of the events that come in a stream are shown.
#[derive(Debug)]
pub(super) struct Pace {
    checking: Duration,
    progress: Duration,
    last_checking: Option<Instant>,
    last_progress: Option<Instant>,
}

impl Pace {
    /// For a bar or a program: hashing four times a second, transfers as the command tells of them.
    pub(super) const fn live() -> Self {
        Self {
            checking: Duration::from_millis(250),
            progress: Duration::ZERO,
            last_checking: None,
            last_progress: None,
        }
    }

    /// For a log: a line every five seconds, so that what is done sooner leaves none.
    pub(super) fn lines() -> Self {
        let (interval, now) = (Duration::from_secs(5), Some(Instant::now()));
        Self { checking: interval, progress: interval, last_checking: now, last_progress: now }
    }

    /// Whether this event is told now. Only checking and progress are ever left out.
    pub(super) fn is_due(&mut self, event: &Event<'_>) -> bool {
        let now = Instant::now();
        match event {
            Event::Checking { .. } => due(&mut self.last_checking, self.checking, now),
            Event::Progress(_) => due(&mut self.last_progress, self.progress, now),
            _ => true,
        }
    }
}

fn due(last: &mut Option<Instant>, interval: Duration, now: Instant) -> bool {
    let due = last.is_none_or(|then| now.duration_since(then) >= interval);
    if due {
        *last = Some(now);
    }
    due
}

/// Progress in one line; `None` for events that are no progress.
pub(super) fn line(event: &Event<'_>) -> Option<String> {
    match event {
        Event::Checking { done, total } => {
            Some(format!("Hashing {}  {} of {}", percent(*done, *total), bytes(*done), bytes(*total)))
        }
        Event::Progress(p) => Some(transfer(p)),
        _ => None,
    }
}

fn transfer(p: &Progress) -> String {
    let peers = format!("{} ({})", count(p.peers.into(), "peer"), count(p.seeds.into(), "seed"));
    if let Some(search) = &p.search {
        return searching(search, p.peers);
    }
    if p.hashes_lack {
        return format!("Asking for the hashes of the pieces  {peers}");
    }
    if p.total == 0 {
        return format!("Asking for the metadata  {peers}");
    }
    if p.done >= p.total {
        let (rate, sent) = (bytes(p.up_rate), bytes(p.uploaded));
        return format!("Sharing  ↑ {rate}/s  {sent} sent  {}", count(p.peers.into(), "peer"));
    }
    let map = map(&p.map);
    let (share, done, total) = (percent(p.done, p.total), bytes(p.done), bytes(p.total));
    let eta = eta(p).map(|d| format!("  {} left", duration(d))).unwrap_or_default();
    let up = if p.up_rate > 0 { format!("  ↑ {}/s", bytes(p.up_rate)) } else { String::new() };
    format!("{map}{share}  {done} of {total}  ↓ {}/s{up}{eta}  {peers}", bytes(p.down_rate))
}

/// What is known of who has it, and how far the metadata is.
fn searching(s: &Search, connected: u32) -> String {
    let connected = format!("{} connected", count(connected.into(), "peer"));
    if let Some(m) = s.metadata {
        let offered = count(m.peers.into(), "peer");
        return format!(
            "Fetching the metadata: {} of {} from {offered}  {connected}",
            m.pieces,
            count(m.total.into(), "piece")
        );
    }
    let from: Vec<_> = s.from.iter().map(|(source, n)| format!("{} {n}", teller(source))).collect();
    let known = match s.known {
        0 => "nobody known yet".to_owned(),
        n => format!("{n} known ({})", from.join(", ")),
    };
    let asked = s.asked.iter().map(|who| asked(who)).collect::<Vec<_>>().join(", ");
    let asked = if asked.is_empty() { "Waiting to be called".to_owned() } else { format!("Asking {asked}") };
    format!("{asked}: {known}, {connected}")
}

/// Who is asked, for people.
fn asked(who: &str) -> &str {
    match who {
        "peers" => "the peers named",
        "dht" => "the DHT",
        "lsd" => "the local network",
        other => other,
    }
}

/// Who told an address, for people.
fn teller(source: &str) -> &str {
    match source {
        "user" => "named",
        "lsd" => "local network",
        "tracker" => "trackers",
        "incoming" => "callers",
        "pex" => "other peers",
        "dht" => "DHT",
        other => other,
    }
}

/// Rounded down, so that 100% means all.
fn percent(done: u64, total: u64) -> String {
    let tenths = (u128::from(done) * 1000).checked_div(total.into()).unwrap_or(1000);
    format!("{}.{}%", tenths / 10, tenths % 10)
}

/// Time left at the present rate.
fn eta(p: &Progress) -> Option<Duration> {
    let seconds = p.total.saturating_sub(p.done).checked_div(p.down_rate)?;
    Some(Duration::from_secs(seconds))
}

/// Which parts are there, in [`MAP_WIDTH`] columns at most.
fn map(cells: &[u8]) -> String {
    if cells.is_empty() {
        return String::new();
    }
    let width = cells.len().min(MAP_WIDTH);
    let columns = (0..width).map(|i| {
        let span = &cells[i * cells.len() / width..(i + 1) * cells.len() / width];
        let sum: usize = span.iter().map(|c| usize::from(*c)).sum();
        // Rounded down: a full block means that nothing is missing there.
        LEVELS[sum * (LEVELS.len() - 1) / (255 * span.len())]
    });
    format!("▕{}▏", columns.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_all_is_a_hundred_percent() {
        assert_eq!(percent(999_999, 1_000_000), "99.9%");
        assert_eq!(percent(u64::MAX, u64::MAX), "100.0%");
        assert_eq!(percent(0, 0), "100.0%");
    }

    #[test]
    fn the_map_shows_holes() {
        assert_eq!(map(&[255, 0, 128, 254]), "▕█ ▄▇▏");
        let mut cells = [255; 64];
        cells[0] = 254;
        let drawn = map(&cells);
        assert_eq!(drawn.chars().count(), MAP_WIDTH + 2);
        assert!(drawn.starts_with("▕▇█"));
    }

    #[test]
    fn a_download_tells_rate_and_time_left() {
        let p =
            Progress { done: 1 << 20, total: 3 << 20, down_rate: 1 << 20, peers: 1, ..Progress::default() };
        assert_eq!(transfer(&p), "33.3%  1.00 MiB of 3.00 MiB  ↓ 1.00 MiB/s  2.0 s left  1 peer (0 seeds)");
        let stalled = Progress { down_rate: 0, ..p };
        assert!(!transfer(&stalled).contains("left"));
    }

    #[test]
    fn a_search_tells_who_is_asked_and_what_came_of_it() {
        use crate::ui::json::MetadataPieces;
        let mut search = Search { asked: vec!["trackers", "dht", "lsd"], ..Search::default() };
        let told = |search: &Search| {
            transfer(&Progress { search: Some(search.clone()), peers: 1, ..Progress::default() })
        };
        assert_eq!(
            told(&search),
            "Asking trackers, the DHT, the local network: nobody known yet, 1 peer connected"
        );
        (search.known, search.from) = (3, [("tracker", 1), ("dht", 2)].into());
        assert!(told(&search).ends_with(": 3 known (DHT 2, trackers 1), 1 peer connected"));
        search.metadata = Some(MetadataPieces { pieces: 1, total: 5, peers: 2 });
        assert_eq!(told(&search), "Fetching the metadata: 1 of 5 pieces from 2 peers  1 peer connected");
    }

    #[test]
    fn a_log_gets_few_lines_and_a_program_all() {
        let checking = Event::Checking { done: 1, total: 9 };
        let progress = Event::Progress(Progress::default());
        let mut log = Pace::lines();
        assert!(!log.is_due(&checking) && !log.is_due(&progress));
        assert!(log.is_due(&Event::Seeding {}));
        let mut live = Pace::live();
        assert!(live.is_due(&checking) && live.is_due(&progress));
        assert!(!live.is_due(&checking) && live.is_due(&progress));
    }
}
