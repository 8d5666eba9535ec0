//! What is counted, and how Prometheus is told of it (text format 0.0.4, names and units by its conventions).
//!
//! Each thread writes counters of its own, so counting costs no more than adding; who reads sums them up.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::access::Refusal;

/// How a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Http,
    Udp,
}

impl Transport {
    pub(crate) const ALL: [Self; 2] = [Self::Http, Self::Udp];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Udp => "udp",
        }
    }
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Count {
    /// Announces that were answered with peers.
    Announces,
    /// Scrapes that were answered.
    Scrapes,
    /// Announces and scrapes that could not be understood.
    Malformed,
    /// Announces and scrapes that were refused.
    Refused(Refusal),
    /// Announces and scrapes while the store was away.
    Unavailable,
    /// Bytes from clients, and to them, without what lies below.
    Received,
    Sent,
    /// Connections that were accepted, and that ended.
    Opened,
    Closed,
    /// HTTP requests of any kind, and those that were answered by an error's status.
    Requests,
    Errors,
    /// UDP connects that were answered, requests without an id of their sender's, answers that the system did not take.
    Connects,
    Forged,
    Unsent,
}

const PLAIN: usize = 13;

impl Count {
    const fn index(self) -> usize {
        match self {
            Self::Announces => 0,
            Self::Scrapes => 1,
            Self::Malformed => 2,
            Self::Received => 3,
            Self::Sent => 4,
            Self::Opened => 5,
            Self::Closed => 6,
            Self::Requests => 7,
            Self::Errors => 8,
            Self::Unavailable => 9,
            Self::Connects => 10,
            Self::Forged => 11,
            Self::Unsent => 12,
            Self::Refused(refusal) => PLAIN + refusal as usize,
        }
    }
}

/// The counters of one thread, in cache lines of their own.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Tally {
    transport: Transport,
    counts: [AtomicU64; PLAIN + Refusal::ALL.len()],
}

impl Tally {
    /// Only the thread that it was [opened](Books::open) for may call this.
    pub(crate) fn add(&self, what: Count, n: u64) {
        let count = &self.counts[what.index()];
        count.store(count.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }
}

/// All counters.
#[derive(Debug, Default)]
pub(crate) struct Books(Mutex<Vec<Arc<Tally>>>);

impl Books {
    /// Counters for one more thread.
    pub(crate) fn open(&self, transport: Transport) -> Arc<Tally> {
        let tally = Arc::new(Tally { transport, counts: Default::default() });
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&tally));
        tally
    }

    /// The sum of all threads that serve a transport.
    pub(crate) fn sum(&self, transport: Transport, what: Count) -> u64 {
        let tallies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_it = tallies.iter().filter(|tally| tally.transport == transport);
        of_it.map(|tally| tally.counts[what.index()].load(Ordering::Relaxed)).sum()
    }

    /// Writes everything that is counted.
    pub(crate) fn write(&self, out: &mut Exposition) {
        self.by_transport(
            out,
            "announces_total",
            "Announces that were answered with peers.",
            Count::Announces,
        );
        self.by_transport(out, "scrapes_total", "Scrapes that were answered.", Count::Scrapes);
        out.family("refused_total", "counter", "Announces and scrapes that were refused, by reason.");
        for transport in Transport::ALL {
            let mut put = |reason, what| {
                let labels = [("transport", transport.name()), ("reason", reason)];
                out.sample(&labels, self.sum(transport, what));
            };
            put("malformed", Count::Malformed);
            put("unavailable", Count::Unavailable);
            Refusal::ALL.iter().for_each(|refusal| put(refusal.name(), Count::Refused(*refusal)));
        }
        self.by_transport(out, "received_bytes_total", "Bytes received from clients.", Count::Received);
        self.by_transport(out, "sent_bytes_total", "Bytes sent to clients.", Count::Sent);
        let http = |what| self.sum(Transport::Http, what);
        let udp = |what| self.sum(Transport::Udp, what);
        for (name, help, n) in [
            ("http_requests_total", "HTTP requests of any kind.", http(Count::Requests)),
            ("http_errors_total", "HTTP answers with a status of 400 or more.", http(Count::Errors)),
            ("udp_connects_total", "Connects over UDP.", udp(Count::Connects)),
            (
                "udp_forged_total",
                "Requests over UDP without a connection id of their sender's.",
                udp(Count::Forged),
            ),
            ("udp_unsent_total", "Answers that the system did not send.", udp(Count::Unsent)),
        ] {
            out.single(name, "counter", help, n);
        }
        let (opened, closed) = (http(Count::Opened), http(Count::Closed));
        out.single("http_connections_total", "counter", "Connections that were accepted.", opened);
        out.single("http_connections", "gauge", "Connections that are open.", opened.saturating_sub(closed));
    }

    fn by_transport(&self, out: &mut Exposition, name: &'static str, help: &str, what: Count) {
        out.family(name, "counter", help);
        for transport in Transport::ALL {
            out.sample(&[("transport", transport.name())], self.sum(transport, what));
        }
    }
}

/// Text for Prometheus.
#[derive(Debug, Default)]
pub(crate) struct Exposition {
    text: String,
    name: String,
}

impl Exposition {
    /// The media type.
    pub(crate) const TYPE: &'static str = "text/plain; version=0.0.4; charset=utf-8";

    /// Begins a family of samples, named behind `samara_hub_`.
    pub(crate) fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.named(format!("samara_hub_{name}"), kind, help);
    }

    fn named(&mut self, name: String, kind: &str, help: &str) {
        self.name = name;
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "# HELP {0} {help}\n# TYPE {0} {kind}", self.name);
    }

    /// One sample of the family. Labels are our own words and need no escapes.
    pub(crate) fn sample(&mut self, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        self.text.push_str(&self.name);
        for (i, (name, label)) in labels.iter().enumerate() {
            let _ = write!(self.text, "{}{name}=\"{label}\"", if i == 0 { '{' } else { ',' });
        }
        let _ = writeln!(self.text, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    /// A family of one sample.
    pub(crate) fn single(&mut self, name: &str, kind: &str, help: &str, value: impl std::fmt::Display) {
        self.family(name, kind, help);
        self.sample(&[], value);
    }

    /// What Prometheus' own libraries tell of a process, by their names.
    pub(crate) fn process(&mut self, process: &Process) {
        let mut put = |name: &str, kind, help, value: f64| {
            self.named(format!("process_{name}"), kind, help);
            self.sample(&[], value);
        };
        put("start_time_seconds", "gauge", "Start, since the epoch.", process.started);
        if let Some(now) = ProcessNow::read() {
            put("cpu_seconds_total", "counter", "Processor time, user and system.", now.cpu_seconds);
            put("resident_memory_bytes", "gauge", "Memory in use.", now.resident_bytes as f64);
            put("open_fds", "gauge", "Open file descriptors.", now.open_files as f64);
        }
    }

    pub(crate) fn into_text(self) -> String {
        self.text
    }
}

/// When this process started, in seconds since the epoch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process {
    pub(crate) started: f64,
}

/// What the system says of this process; Linux only.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProcessNow {
    pub(crate) cpu_seconds: f64,
    pub(crate) resident_bytes: u64,
    pub(crate) open_files: usize,
}

impl ProcessNow {
    pub(crate) fn read() -> Option<Self> {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        // Behind the name, which may contain anything, come state and numbers; times are in hundredths of a second.
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
        let ticks = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let kib: u64 = status
            .lines()
            .find_map(|l| l.strip_prefix("VmRSS:"))?
            .trim()
            .strip_suffix(" kB")?
            .parse()
            .ok()?;
        Some(Self {
            cpu_seconds: ticks as f64 / 100.0,
            resident_bytes: kib * 1024,
            open_files: std::fs::read_dir("/proc/self/fd").ok()?.count(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_summed_and_every_sample_has_help_and_type() {
        let books = Books::default();
        let (a, b) = (books.open(Transport::Http), books.open(Transport::Http));
        a.add(Count::Announces, 2);
        b.add(Count::Announces, 3);
        b.add(Count::Refused(Refusal::TooOften), 1);
        a.add(Count::Opened, 4);
        b.add(Count::Closed, 1);
        let mut out = Exposition::default();
        books.write(&mut out);
        out.process(&Process { started: 1.5 });
        let text = out.into_text();
        for line in [
            "samara_hub_announces_total{transport=\"http\"} 5",
            "samara_hub_refused_total{transport=\"http\",reason=\"rate\"} 1",
            "samara_hub_refused_total{transport=\"http\",reason=\"malformed\"} 0",
            "samara_hub_http_connections 3",
            "process_start_time_seconds 1.5",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
        for line in text.lines().filter(|l| !l.starts_with('#')) {
            let name = line.split(['{', ' ']).next().unwrap();
            assert!(text.contains(&format!("# TYPE {name} ")) && text.contains(&format!("# HELP {name} ")));
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_process_is_seen() {
        let now = ProcessNow::read().unwrap();
        assert!(now.resident_bytes > 1 << 20 && now.open_files >= 3 && now.cpu_seconds >= 0.0);
    }
}
