//! Real servers on loopback, each in a folder of its own; they end with the test.

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

/// A `redis-server`.
pub(crate) struct Redis {
    child: Child,
    pub(crate) port: u16,
    dir: PathBuf,
    args: Vec<String>,
}

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A port that was free a moment ago: Redis cannot pick one itself.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Waits until `done`, but not forever.
pub(crate) fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(30), "waited in vain until {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

impl Redis {
    /// Starts one and waits until it can be connected to.
    pub(crate) fn start(args: &[&str]) -> Self {
        let dir = env::temp_dir().join(format!(
            "samara-hub-redis-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        ));
        fs::create_dir_all(&dir).unwrap();
        let port = free_port();
        let mut all: Vec<String> = ["--bind", "127.0.0.1", "--save", "", "--dir"].map(String::from).to_vec();
        all.extend([dir.display().to_string(), "--port".into(), port.to_string()]);
        all.extend(args.iter().map(ToString::to_string));
        let child = spawn(&all);
        let redis = Self { child, port, dir, args: all };
        redis.wait();
        redis
    }

    fn wait(&self) {
        wait("redis-server listens", || TcpStream::connect(("127.0.0.1", self.port)).is_ok());
    }

    pub(crate) fn place(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Sends it a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status();
        assert!(status.unwrap().success());
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again, empty, at the same port.
    pub(crate) fn restart(&mut self) {
        self.child = spawn(&self.args);
        self.wait();
    }

    /// What `redis-cli` prints.
    pub(crate) fn ask(&self, words: &[&str]) -> String {
        let mut command = Command::new("redis-cli");
        command.args(["-p", &self.port.to_string()]).args(words);
        if let Some(at) = self.args.iter().position(|arg| arg == "--requirepass") {
            command.env("REDISCLI_AUTH", &self.args[at + 1]);
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "redis-cli {words:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Members of a sorted set.
    pub(crate) fn count(&self, key: &str) -> usize {
        self.ask(&["ZCARD", key]).trim().parse().unwrap()
    }
}

fn spawn(args: &[String]) -> Child {
    let mut command = Command::new("redis-server");
    command.args(args).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("redis-server, which `cargo xtask test` installs")
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Masters that share the slots.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Redis>,
}

impl Cluster {
    pub(crate) fn start(count: usize) -> Self {
        let node = |_| {
            let bus = free_port().to_string();
            Redis::start(&["--cluster-enabled", "yes", "--cluster-port", &bus])
        };
        let nodes: Vec<_> = (0..count).map(node).collect();
        let addrs: Vec<_> = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        let mut command = Command::new("redis-cli");
        command.args(["--cluster", "create"]).args(addrs).args(["--cluster-replicas", "0", "--cluster-yes"]);
        assert!(command.stdout(Stdio::null()).status().unwrap().success());
        let cluster = Self { nodes };
        cluster.settle();
        cluster
    }

    fn settle(&self) {
        wait("the cluster is made", || {
            self.nodes.iter().all(|node| node.ask(&["CLUSTER", "INFO"]).contains("cluster_state:ok"))
        });
    }

    /// One node, from which the others are learnt.
    pub(crate) fn place(&self) -> String {
        format!("redis-cluster://127.0.0.1:{}", self.nodes[0].port)
    }

    /// Moves slots from one node to another, with what is in them.
    pub(crate) fn move_slots(&self, from: usize, to: usize, count: usize) {
        let id = |node: usize| self.nodes[node].ask(&["CLUSTER", "MYID"]).trim().to_owned();
        let mut command = Command::new("redis-cli");
        command.args(["--cluster", "reshard", &format!("127.0.0.1:{}", self.nodes[0].port)]);
        command.args(["--cluster-from", &id(from), "--cluster-to", &id(to)]);
        command.args(["--cluster-slots", &count.to_string(), "--cluster-yes"]);
        assert!(command.stdout(Stdio::null()).status().unwrap().success());
        self.settle();
    }
}
