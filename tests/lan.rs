//! `send` and `get` on one network without any server: multicast between network namespaces, which are hosts to the
//! kernel. They need root and `ip`, so `cargo xtask test` runs them (step `root`) and plain `cargo test` does not.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are not marked as tests")]

mod common;

use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use common::{Running, Scratch, noise};

/// Everything but the local network is off.
const LAN_ONLY: [&str; 4] = ["--no-dht", "--no-pex", "--no-trackers", "--no-port-map"];

fn ip(args: &str) {
    let done = Command::new("ip").args(args.split(' ')).output();
    let done = done.unwrap_or_else(|error| panic!("these tests need root, and `ip` of iproute2: {error}"));
    let error = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "these tests need root: `ip {args}` says {error}");
}

/// A host of its own, with its programs' files.
struct Host {
    name: String,
    scratch: Scratch,
}

impl Host {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("samara-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        ip(&format!("netns add {name}"));
        let host = Self { name, scratch: Scratch::new() };
        host.ip("link set lo up");
        // An IPv6 address is tentative for seconds otherwise, in case that another host has it.
        host.set("net.ipv6.conf.all.accept_dad=0");
        host.set("net.ipv6.conf.default.accept_dad=0");
        host
    }

    /// Runs `ip` there.
    fn ip(&self, args: &str) {
        ip(&format!("-n {} {args}", self.name));
    }

    /// Sets what the kernel lets one set.
    fn set(&self, assignment: &str) {
        ip(&format!("netns exec {} sysctl -q -w {assignment}", self.name));
    }

    /// A line to another host. The interfaces, of this name, are down.
    fn connect(&self, other: &Self, interface: &str) {
        self.ip(&format!("link add {interface} type veth peer name {interface} netns {}", other.name));
    }

    fn up(&self, interface: &str, address: Option<&str>) {
        if let Some(address) = address {
            let nodad = if address.contains(':') { " nodad" } else { "" };
            self.ip(&format!("addr add {address} dev {interface}{nodad}"));
        }
        self.ip(&format!("link set {interface} up"));
    }

    fn start(&self, args: &[&str]) -> Running {
        let samara = self.scratch.samara_as_is([&["--json"], args, &LAN_ONLY].concat());
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(samara.get_program()).args(samara.get_args());
        command.current_dir(self.scratch.path()).env("XDG_STATE_HOME", self.scratch.join("state"));
        Running::spawn(command)
    }

    /// Shares something; its v1 hash.
    fn send(&self, more: &[&str]) -> (Running, String) {
        self.scratch.write("song", noise(7, 300_000));
        let running = self.start(&[&["send", "song"], more].concat());
        let hash = running.event("metadata")["info_hash_v1"].as_str().unwrap().to_owned();
        (running, hash)
    }

    /// Fetches it into a folder.
    fn get(&self, hash: &str, to: &str) -> Running {
        self.start(&["get", hash, "-o", to])
    }

    #[track_caller]
    fn got(&self, get: Running, to: &str) {
        // Progress is told every second.
        let mut patience = 60;
        while let Some(event) = get.next() {
            patience -= i32::from(event["event"] == "progress");
            assert!(patience > 0, "nobody is found");
        }
        assert_eq!(get.finish().0, Some(0));
        assert!(fs::read(self.scratch.join(to).join("song")).unwrap() == noise(7, 300_000));
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

/// Two hosts on one line, with these addresses.
fn pair(one: Option<&str>, two: Option<&str>) -> (Host, Host) {
    let hosts = (Host::new(), Host::new());
    hosts.0.connect(&hosts.1, "lan");
    hosts.0.up("lan", one);
    hosts.1.up("lan", two);
    hosts
}

/// One sends, and the other finds it twice: the second time when the sender has said all that it says by itself.
#[track_caller]
fn find_each_other((one, two): (Host, Host)) {
    let (_sending, hash) = one.send(&[]);
    for to in ["first", "second"] {
        two.got(two.get(&hash, to), to);
    }
}

#[test]
#[ignore = "makes network namespaces, which needs root: run by `cargo xtask test`"]
fn on_one_network_a_hash_is_enough_over_ipv4() {
    let hosts = pair(Some("192.168.77.1/24"), Some("192.168.77.2/24"));
    for host in [&hosts.0, &hosts.1] {
        host.set("net.ipv6.conf.all.disable_ipv6=1");
    }
    find_each_other(hosts);
}

#[test]
#[ignore = "makes network namespaces, which needs root: run by `cargo xtask test`"]
fn on_one_network_a_hash_is_enough_over_ipv6() {
    find_each_other(pair(Some("2001:db8:77::1/64"), Some("2001:db8:77::2/64")));
}

/// As when two laptops are joined by a cable.
#[test]
#[ignore = "makes network namespaces, which needs root: run by `cargo xtask test`"]
fn two_hosts_without_any_set_up_find_each_other() {
    find_each_other(pair(None, None));
}

#[test]
#[ignore = "makes network namespaces, which needs root: run by `cargo xtask test`"]
fn a_host_on_two_networks_is_found_from_both() {
    let (middle, left, right) = (Host::new(), Host::new(), Host::new());
    for (n, host, interface) in [(1, &left, "left"), (2, &right, "right")] {
        middle.connect(host, interface);
        middle.up(interface, Some(&format!("10.{n}.0.1/24")));
        host.up(interface, Some(&format!("10.{n}.0.2/24")));
    }
    let (_sending, hash) = middle.send(&[]);
    let (one, two) = (left.get(&hash, "."), right.get(&hash, "."));
    left.got(one, ".");
    right.got(two, ".");
}

/// Two lines between two hosts, one of which is dead at the other end.
#[test]
#[ignore = "makes network namespaces, which needs root: run by `cargo xtask test`"]
fn two_hosts_with_two_interfaces_each_use_the_one_that_works() {
    let (one, two) = (Host::new(), Host::new());
    for (n, interface) in [(1, "dead"), (2, "alive")] {
        one.connect(&two, interface);
        one.up(interface, Some(&format!("10.{n}.0.1/24")));
        two.up(interface, Some(&format!("10.{n}.0.2/24")));
    }
    two.ip("link set dead down");
    let (_sending, hash) = one.send(&[]);
    two.got(two.get(&hash, "."), ".");
}

#[test]
#[ignore = "makes network namespaces, which needs root: run by `cargo xtask test`"]
fn a_network_that_comes_later_is_found() {
    let (one, two) = (Host::new(), Host::new());
    one.connect(&two, "lan");
    one.up("lan", Some("10.1.0.1/24"));
    let (_sending, hash) = one.send(&[]);
    let get = two.get(&hash, ".");
    get.event("listening");
    two.up("lan", Some("10.1.0.2/24"));
    two.got(get, ".");
}
