//! Words, sizes and times for people, and what keeps hostile names from driving their terminal.

use std::borrow::Cow;
use std::fmt::Write;
use std::time::Duration;

use super::Event;
use super::json::Tracker;

/// Whether a stream gets colours.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style(bool);

impl Style {
    /// With colours or without.
    pub(crate) const fn new(on: bool) -> Self {
        Self(on)
    }

    /// Whether it has colours.
    pub(crate) const fn is_on(self) -> bool {
        self.0
    }

    /// For errors.
    pub(crate) fn red(self, text: &str) -> String {
        self.wrap("31", text)
    }

    /// For warnings.
    pub(crate) fn yellow(self, text: &str) -> String {
        self.wrap("33", text)
    }

    /// For what matters most.
    pub(crate) fn bold(self, text: &str) -> String {
        self.wrap("1", text)
    }

    /// For what matters least.
    pub(crate) fn dim(self, text: &str) -> String {
        self.wrap("2", text)
    }

    fn wrap(self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// What an event is in words; `None` for what people are not told.
pub(super) fn describe(event: &Event<'_>, verbose: bool, style: Style) -> Option<String> {
    match event {
        Event::Listening { addr, .. } => Some(style.dim(&format!("Listening on {addr}"))),
        Event::Metadata(m) => {
            let size = bytes(m.size);
            Some(format!("{}: {size}, {}", style.bold(&clean(&m.name)), count(m.files as u64, "file")))
        }
        Event::Complete { size, seconds, .. } => Some(finished(*size, *seconds)),
        Event::Saved { path } => Some(style.dim(&format!("Saved {}", clean(&path.display().to_string())))),
        Event::Seeding {} => Some("Sharing. Press Ctrl-C to end.".into()),
        Event::Peer { addr, state, client, reason } if verbose => {
            let who = client.map(|c| format!(" ({})", clean(c))).unwrap_or_default();
            let why = reason.map(|r| format!(": {r}")).unwrap_or_default();
            Some(style.dim(&format!("{addr}{who} {state}{why}")))
        }
        Event::Tracker(tracker) => Some(announced(tracker, verbose, style)),
        Event::Warning { message } => Some(format!("{} {}", style.yellow("warning:"), clean(message))),
        Event::Error { message } => Some(format!("{} {}", style.red("error:"), clean(message))),
        Event::Peer { .. } | Event::Link { .. } | Event::Checking { .. } | Event::Progress(_) => None,
    }
}

/// What a tracker said; that it is told at all without `-v` shows that it matters.
fn announced(tracker: &Tracker, verbose: bool, style: Style) -> String {
    let mut parts = vec![tracker.state.to_owned()];
    parts.extend(tracker.peers.map(|n| count(n as u64, "peer")));
    parts.extend(tracker.message.as_deref().map(|text| clean(text).into_owned()));
    let (url, family) = (clean(&tracker.url), tracker.family);
    if verbose {
        return style.dim(&format!("{url} ({family}): {}", parts.join(", ")));
    }
    let message = tracker.message.as_deref().unwrap_or(tracker.state);
    format!("{} the tracker {url} says: {}", style.yellow("warning:"), clean(message))
}

/// No rate: some of it may have been there before.
fn finished(size: u64, seconds: f64) -> String {
    let time = duration(Duration::try_from_secs_f64(seconds).unwrap_or_default());
    format!("Complete: {} in {time}", bytes(size))
}

/// `1 file`, `2 files`.
pub(crate) fn count(n: u64, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

/// A size with three digits at most: `17 B`, `1.50 KiB`, `16.0 KiB`, `999 MiB`.
pub(crate) fn bytes(n: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if n < 1024 {
        return format!("{n} B");
    }
    let mut value = n as f64 / 1024.0;
    let mut unit = 0;
    // 999.5 would be shown as 1000.
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let decimals = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    format!("{value:.decimals$} {}", UNITS[unit])
}

/// `0.4 s`, `12 s`, `3:07`, `2:03:04`, `5 d 3 h`.
pub(crate) fn duration(d: Duration) -> String {
    let s = d.as_secs();
    match s {
        0..10 => format!("{:.1} s", d.as_secs_f64()),
        10..60 => format!("{s} s"),
        60..3600 => format!("{}:{:02}", s / 60, s % 60),
        3600..86_400 => format!("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60),
        _ => format!("{} d {} h", s / 86_400, s / 3600 % 24),
    }
}

/// The text with every character escaped that could move the cursor, change the terminal's state, or make the text
/// read otherwise than it is (control characters and the direction marks of Unicode).
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hazard) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_hazard(c) {
            // Writing to a string cannot fail.
            let _ = write!(out, "{}", c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

fn is_hazard(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_have_three_digits() {
        for (n, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.00 KiB"),
            (16 << 10, "16.0 KiB"),
            ((1 << 20) - 1, "1.00 MiB"),
            (500 << 20, "500 MiB"),
            (10_234 * 1024, "9.99 MiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(bytes(n), text);
        }
    }

    #[test]
    fn durations_read_well() {
        for (ms, text) in [
            (400, "0.4 s"),
            (12_000, "12 s"),
            (187_000, "3:07"),
            (7_384_000, "2:03:04"),
            (443_000_000, "5 d 3 h"),
        ] {
            assert_eq!(duration(Duration::from_millis(ms)), text);
        }
    }

    #[test]
    fn escapes_lose_their_power() {
        assert_eq!(clean("añ 日本.txt"), "añ 日本.txt");
        assert_eq!(clean("a\x1b[2Jb\u{9b}c\u{202e}gpj.exe"), "a\\u{1b}[2Jb\\u{9b}c\\u{202e}gpj.exe");
    }

    proptest! {
        #[test]
        fn clean_text_has_no_hazard(text in any::<String>()) {
            prop_assert!(!clean(&text).chars().any(is_hazard));
        }
    }
}
