//! What the user sees: JSON on stdout for programs, a bar or plain lines on stderr for people.
//!
//! Commands say what happened, as an [`Event`], and never how it looks. Results (a path, a link, a listing) go to
//! stdout through [`Ui::result`]; everything else goes to stderr, where a failed write is nobody's concern.

pub(crate) mod human;
pub(crate) mod json;
pub(crate) mod progress;
pub(crate) mod qr;
mod trackers;

use std::io::{self, IsTerminal, Write};

use indicatif::ProgressBar;
use serde::Serialize;

use crate::args::{Color, Global};
use human::Style;
pub(crate) use json::{Event, Progress};
use progress::Pace;
use trackers::Trackers;

/// How progress is shown.
#[derive(Clone, Debug)]
enum Display {
    /// JSON on stdout: events, or one object at the end.
    Json {
        /// Events are told.
        events: bool,
    },
    /// One line on the terminal that is drawn again and again.
    Bar(ProgressBar),
    /// Now and then a line.
    Lines,
    /// Not at all.
    Quiet,
}

/// Speaks to the user. One per process.
#[derive(Debug)]
pub(crate) struct Ui {
    display: Display,
    /// Colours of stderr.
    style: Style,
    /// Colours of stdout.
    result_style: Style,
    /// How often `-v` was given.
    verbose: u8,
    pace: Pace,
    trackers: Trackers,
}

impl Ui {
    /// As the global options say.
    pub(crate) fn new(options: &Global) -> Self {
        let style = Style::new(wants_color(options.color, io::stderr().is_terminal()));
        let display = display(options);
        let pace = if matches!(display, Display::Lines) { Pace::lines() } else { Pace::live() };
        Self {
            display,
            style,
            result_style: Style::new(wants_color(options.color, io::stdout().is_terminal())),
            verbose: options.verbose,
            pace,
            trackers: Trackers::default(),
        }
    }

    /// Begins to keep the log. Once per process.
    pub(crate) fn start_log(&self, log: LogStyle) {
        start_log(self.verbose, self.style, log);
    }

    /// Whether stdout is for a program that reads JSON.
    pub(crate) const fn is_json(&self) -> bool {
        matches!(self.display, Display::Json { .. })
    }

    /// Whether the user wants to know more.
    pub(crate) const fn is_verbose(&self) -> bool {
        self.verbose > 0
    }

    /// With `--json`, this command prints one object and no events.
    pub(crate) fn expect_one_object(&mut self) {
        if self.is_json() {
            self.display = Display::Json { events: false };
        }
    }

    /// Tells people of every peer from now on, as `-v` does.
    pub(crate) fn show_peers(&mut self) {
        self.verbose = self.verbose.max(1);
    }

    /// Colours for what goes to stdout.
    pub(crate) const fn result_style(&self) -> Style {
        self.result_style
    }

    /// Tells of an event in the way the user chose.
    ///
    /// # Errors
    /// If stdout is closed, with `--json`.
    pub(crate) fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        if !self.pace.is_due(event) || !self.is_json() && !self.is_worth_telling(event) {
            return Ok(());
        }
        match (&self.display, progress::line(event)) {
            (Display::Json { events: true }, _) => return self.json(event),
            (Display::Bar(bar), Some(line)) => bar.set_message(line),
            (Display::Lines, Some(line)) => say(&line),
            (_, Some(_)) => {}
            (_, None) => self.line(event),
        }
        Ok(())
    }

    /// Whether a person wants to know of what a tracker said.
    fn is_worth_telling(&mut self, event: &Event<'_>) -> bool {
        match event {
            Event::Tracker(tracker) => self.verbose > 0 || self.trackers.matters(tracker),
            _ => true,
        }
    }

    /// Prints an object as one line of JSON.
    ///
    /// # Errors
    /// If stdout is closed.
    pub(crate) fn json(&self, object: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(object)?;
        line.push(b'\n');
        let mut out = io::stdout().lock();
        out.write_all(&line)?;
        out.flush()
    }

    /// Prints a result on stdout, with a line feed at its end.
    ///
    /// # Errors
    /// If stdout is closed.
    pub(crate) fn result(&self, text: &str) -> io::Result<()> {
        self.without_bar(|| {
            let mut out = io::stdout().lock();
            out.write_all(text.as_bytes())?;
            if !text.ends_with('\n') {
                out.write_all(b"\n")?;
            }
            out.flush()
        })
    }

    /// Something that stops nothing.
    ///
    /// # Errors
    /// If stdout is closed, with `--json`.
    pub(crate) fn warning(&mut self, message: &str) -> io::Result<()> {
        self.event(&Event::Warning { message })
    }

    /// What ended the command. Cannot fail: there is nobody left to tell.
    pub(crate) fn error(&mut self, message: &str) {
        self.end_progress();
        if self.is_json() {
            let _ = self.json(&Event::Error { message });
        } else {
            say(&format!("{} {}", self.style.red("samara:"), human::clean(message)));
        }
    }

    /// Takes the bar off the screen; the next progress brings it back.
    pub(crate) fn end_progress(&mut self) {
        if let Display::Bar(bar) = &self.display {
            bar.finish_and_clear();
            self.display = Display::Bar(progress::bar());
        }
    }

    /// A remark for people: not with `--json`, not with `--quiet`.
    pub(crate) fn note(&self, text: &str) {
        if !matches!(self.display, Display::Json { .. } | Display::Quiet) {
            self.without_bar(|| say(text));
        }
    }

    /// Warnings are told to everyone: beside the one object of `--json`, and with `--quiet`.
    fn line(&self, event: &Event<'_>) {
        let Some(text) = human::describe(event, self.verbose > 0, self.style) else { return };
        if matches!(event, Event::Warning { .. }) {
            self.without_bar(|| say(&text));
        } else {
            self.note(&text);
        }
    }

    fn without_bar<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.display {
            Display::Bar(bar) => bar.suspend(write),
            _ => write(),
        }
    }
}

/// Writes a line to stderr; if that is closed there is nobody to tell.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// The log would tear a bar apart, so `-v` gets lines.
fn display(options: &Global) -> Display {
    if options.json {
        Display::Json { events: true }
    } else if options.quiet {
        Display::Quiet
    } else if options.verbose == 0 && io::stderr().is_terminal() {
        Display::Bar(progress::bar())
    } else {
        Display::Lines
    }
}

fn wants_color(choice: Color, terminal: bool) -> bool {
    match choice {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()),
    }
}

/// Which log a command keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogStyle {
    /// None, unless `-v` or `SAMARA_LOG` asks for it.
    OnDemand,
    /// Text for whoever looks after a service.
    Service,
    /// The same as JSON, one object a line.
    Json,
}

/// Sends the log to stderr: as `SAMARA_LOG` says, or by how often `-v` was given.
fn start_log(verbose: u8, style: Style, log: LogStyle) {
    use tracing_subscriber::EnvFilter;
    let level = usize::from(verbose) + usize::from(log != LogStyle::OnDemand);
    let filter = match (std::env::var("SAMARA_LOG"), ["", "info", "debug", "trace"][level.min(3)]) {
        (Ok(directives), _) => EnvFilter::new(directives),
        (Err(_), "") => return,
        (Err(_), level) => EnvFilter::new(level),
    };
    let to_stderr = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match log {
        LogStyle::Json => to_stderr.json().flatten_event(true).init(),
        LogStyle::OnDemand | LogStyle::Service => to_stderr.with_ansi(style.is_on()).init(),
    }
}
