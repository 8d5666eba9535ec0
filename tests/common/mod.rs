//! What the tests of the binary share: scratch folders, and running `samara`.
#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are not marked as tests")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use serde_json::Value;

/// A scratch folder that is removed at the end.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// An empty one.
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// A path in it.
    pub(crate) fn join(&self, below: &str) -> PathBuf {
        self.0.join(below)
    }

    /// Writes a file, and the folders above it.
    pub(crate) fn write(&self, below: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.join(below);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// `samara` with these arguments, to be run in this folder, with its state here too. It enters no DHT but one that
    /// the test names, and says nothing to the local network.
    pub(crate) fn samara<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = self.samara_as_is(args);
        let quiet = to_be_quiet(command.get_args());
        command.args(quiet);
        command
    }

    /// The same, but it looks for peers wherever it would.
    pub(crate) fn samara_as_is<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_samara"));
        command.args(args).current_dir(&self.0).stdin(Stdio::null());
        command.env("XDG_STATE_HOME", self.join("state")).env("HOME", &self.0).env_remove("SAMARA_LOG");
        command
    }

    /// Runs it to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        Ran(self.samara(args).output().unwrap())
    }
}

/// What keeps a command with these arguments from the mainline DHT and the local network, if it transfers anything.
fn to_be_quiet<'a>(args: impl Iterator<Item = &'a OsStr>) -> Vec<&'static str> {
    let args: Vec<_> = args.filter_map(OsStr::to_str).collect();
    let verb = args.iter().find(|arg| !arg.starts_with('-'));
    if !verb.is_some_and(|name| ["get", "seed", "send"].contains(name)) || args.contains(&"--help") {
        return Vec::new();
    }
    let decided = [("--no-dht", &["--no-dht", "--dht-bootstrap"][..]), ("--no-lsd", &["--no-lsd"])];
    let open = decided.into_iter().filter(|(_, by)| !args.iter().any(|arg| by.contains(arg)));
    open.map(|(switch, _)| switch).collect()
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A run that has ended.
pub(crate) struct Ran(Output);

impl Ran {
    pub(crate) fn code(&self) -> Option<i32> {
        self.0.status.code()
    }

    pub(crate) fn stdout(&self) -> String {
        String::from_utf8(self.0.stdout.clone()).unwrap()
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.0.stderr).into_owned()
    }

    /// Asserts the exit code, and shows the output if it is another.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code(), Some(code), "stdout: {}\nstderr: {}", self.stdout(), self.stderr());
        self
    }

    /// The one JSON object on stdout.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout()).unwrap_or_else(|e| panic!("{e}: {:?}", self.stdout()))
    }
}

/// Bytes that look random, the same for the same seed.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(next).flatten().take(len).collect()
}

/// How long a test waits for something before it fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// `samara --json ..` while it runs; killed at the end of the test.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    /// Starts it.
    pub(crate) fn start(scratch: &Scratch, args: &[&str]) -> Self {
        Self::spawn(scratch.samara([&["--json"], args].concat()))
    }

    /// Starts a command that ends in `samara --json ..`.
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (to, lines) = sync_channel(64);
        std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| to.send(line)));
        Self { child, lines }
    }

    /// The next event of this name; others are passed over.
    #[track_caller]
    pub(crate) fn event(&self, name: &str) -> Value {
        loop {
            let event = self.next().unwrap_or_else(|| panic!("ended without {name}"));
            assert!(event["event"] != "error" || name == "error", "{event}");
            if event["event"] == name {
                return event;
            }
        }
    }

    /// The next event; `None` once it has ended.
    #[track_caller]
    pub(crate) fn next(&self) -> Option<Value> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => Some(serde_json::from_str(&line).unwrap()),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("nothing happened for {PATIENCE:?}"),
        }
    }

    /// Reads to the end; the exit code and the last event of each name that came.
    #[track_caller]
    pub(crate) fn finish(mut self) -> (Option<i32>, BTreeMap<String, Value>) {
        let mut last = BTreeMap::new();
        while let Some(event) = self.next() {
            last.insert(event["event"].as_str().unwrap().to_owned(), event);
        }
        (self.child.wait().unwrap().code(), last)
    }

    /// Sends a signal by its name.
    #[cfg(unix)]
    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Ends it at once, as a crash would.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
