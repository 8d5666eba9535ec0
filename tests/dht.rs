//! `samara dht` as a user sees it, in networks on loopback that begin with a `samara hub`.

#![allow(clippy::unwrap_used, reason = "helpers of tests are not marked as tests")]

mod common;

use std::net::UdpSocket;

use common::{Ran, Running, Scratch};
use serde_json::Value;

const HASH: &str = "abababababababababababababababababababab";

/// A hub, and nodes that begin with it; all of them know each other.
struct Net {
    scratch: Scratch,
    first: String,
    nodes: Vec<(Running, String)>,
    _hub: Running,
}

impl Net {
    fn new(ips: &[&str]) -> Self {
        let scratch = Scratch::new();
        let at = format!("{}:0", ips[0]);
        let hub =
            Running::start(&scratch, &["hub", "--only", "dht", "--udp", &at, "--dht-bootstrap", "none"]);
        let first = listening(&hub);
        let mut net = Self { scratch, first, nodes: Vec::new(), _hub: hub };
        for (n, ip) in ips[1..].iter().enumerate() {
            let node = net.start(&format!("{ip}:0"), &net.first, &format!("state{n}"));
            net.nodes.push(node);
        }
        net
    }

    /// A node that knows its neighbours.
    fn start(&self, at: &str, first: &str, state: &str) -> (Running, String) {
        let args = ["dht", "node", "--listen", at, "--dht-bootstrap", first, "--state-dir", state];
        let node = Running::start(&self.scratch, &args);
        let addr = listening(&node);
        while node.event("dht")["joined"] == false {}
        (node, addr)
    }

    /// `samara dht`, which begins with the hub.
    fn dht(&self, args: &[&str]) -> Ran {
        self.scratch.run(&[&["dht"], args, &["--dht-bootstrap", &self.first]].concat())
    }
}

fn listening(running: &Running) -> String {
    running.event("listening")["addr"].as_str().unwrap().to_owned()
}

/// The events of this name.
fn events(ran: &Ran, name: &str) -> Vec<Value> {
    let lines = ran.stdout();
    let all = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    all.filter(|event| event["event"] == name).collect()
}

const IPS: [&str; 4] = ["127.0.0.1", "127.0.1.2", "127.0.2.3", "127.0.3.4"];

#[test]
fn nodes_are_pinged_and_found() {
    let net = Net::new(&IPS);
    for (_, addr) in &net.nodes {
        let ran = net.scratch.run(&["dht", "ping", addr, "--json"]).expect(0);
        let node = &events(&ran, "node")[0];
        assert_eq!(
            (&node["addr"], &node["fits"]),
            (&Value::from(addr.as_str()), &Value::from(true)),
            "{node}"
        );
        assert!(node["seconds"].as_f64().unwrap() > 0.0);
    }
    let found = net.dht(&["find", HASH, "--json"]).expect(0);
    let nodes = events(&found, "node");
    assert!(nodes.len() >= 3, "{nodes:?}");
    let bits: Vec<_> = nodes.iter().map(|node| node["shared_bits"].as_u64().unwrap()).collect();
    assert!(bits.is_sorted_by(|a, b| a >= b), "{bits:?}");
    assert_eq!(events(&found, "lookup")[0]["target"], HASH);
    let people = net.dht(&["find", HASH, "-v"]).expect(0);
    assert!(
        people.stdout().lines().count() >= 3 && people.stderr().contains("IPv4: asked"),
        "{}",
        people.stderr()
    );
}

#[test]
fn what_is_announced_is_found_over_either_family() {
    for ips in [IPS, ["[::1]"; 4]] {
        if UdpSocket::bind(format!("{}:0", ips[0])).is_err() {
            continue;
        }
        let net = Net::new(&ips);
        let nobody = net.dht(&["peers", HASH]).expect(1);
        assert!(nobody.stderr().contains("nobody is known to have abab"), "{}", nobody.stderr());
        let announced = net.dht(&["peers", HASH, "--announce", "4321"]).expect(0);
        assert!(announced.stderr().contains("port 4321 is announced at"), "{}", announced.stderr());
        let magnet = format!("magnet:?xt=urn:btih:{HASH}");
        let found = net.dht(&["peers", &magnet, "--json"]).expect(0);
        let peers = events(&found, "peer");
        assert_eq!(peers.len(), 1, "{peers:?}");
        assert!(peers[0]["addr"].as_str().unwrap().ends_with(":4321") && peers[0]["state"] == "found");
        let counted = net.dht(&["peers", HASH, "--scrape", "--json"]).expect(0);
        assert_eq!(events(&counted, "lookup")[0]["leeches"], 1);
        let sampled = net.dht(&["sample", &net.nodes[0].1, "--json"]).expect(0);
        let samples = events(&sampled, "sample");
        assert_eq!((samples.len(), &samples[0]["addr"]), (1, &Value::from(net.nodes[0].1.as_str())));
        let around = net.dht(&["sample", HASH]).expect(0);
        assert!(around.stdout().lines().any(|line| line == HASH), "{}", around.stdout());
    }
}

#[test]
fn values_are_kept_under_their_hash() {
    let net = Net::new(&IPS);
    let put = net.dht(&["put", "Hello World!"]).expect(0);
    assert_eq!(put.stdout(), "e5f96f6f38320f0f33959cb4d3d656452117aadb\n");
    assert!(put.stderr().contains("stored at"), "{}", put.stderr());
    let got = net.dht(&["get", put.stdout().trim()]).expect(0);
    assert_eq!(got.stdout(), "Hello World!\n");
    net.scratch.write("value", b"\x00\x1b[2Jnot a text\xff");
    let put = net.dht(&["put", "--file", "value", "--json"]).expect(0);
    let target = events(&put, "item")[0]["target"].as_str().unwrap().to_owned();
    let shown = net.dht(&["get", &target]).expect(0);
    assert!(shown.stdout().starts_with("\\u{0}\\u{1b}[2Jnot a text"), "{:?}", shown.stdout());
    net.dht(&["get", &target, "-o", "copy"]).expect(0);
    assert_eq!(std::fs::read(net.scratch.join("copy")).unwrap(), b"\x00\x1b[2Jnot a text\xff");
    let nothing = net.dht(&["get", HASH, "--json"]).expect(1);
    assert!(
        events(&nothing, "error")[0]["message"].as_str().unwrap().contains("nothing is stored under abab")
    );
}

#[test]
fn values_under_a_key_are_replaced_by_whoever_has_it() {
    let net = Net::new(&IPS);
    let first = net.dht(&["put", "one", "--key", "secret"]).expect(0);
    assert!(first.stderr().contains("secret is a new key"), "{}", first.stderr());
    let key = first.stdout().trim().to_owned();
    let second = net.dht(&["put", "two", "--key", "secret"]).expect(0);
    assert!(second.stdout().trim() == key && second.stderr().contains("version 2"), "{}", second.stderr());
    assert_eq!(net.dht(&["get", &key]).expect(0).stdout(), "two\n");
    let old = net.dht(&["put", "old", "--key", "secret", "--seq", "1"]).expect(1);
    assert!(old.stderr().contains("choose a higher --seq"), "{}", old.stderr());
    let lost = net.dht(&["put", "lost", "--key", "secret", "--seq", "9", "--cas", "1"]).expect(1);
    assert!(lost.stderr().contains("not the version that --cas names"), "{}", lost.stderr());
    net.dht(&["put", "three", "--key", "secret", "--seq", "9", "--cas", "2"]).expect(0);
    net.dht(&["put", "beside", "--key", "secret", "--salt", "s"]).expect(0);
    let item = &events(&net.dht(&["get", &key, "--json"]).expect(0), "item")[0];
    assert_eq!((&item["value"], &item["seq"]), (&"three".into(), &9.into()));
    assert_eq!(net.dht(&["get", &key, "--salt", "s"]).expect(0).stdout(), "beside\n");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(net.scratch.join("secret")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[test]
#[cfg(unix)]
fn a_node_keeps_its_place_over_a_restart_and_the_first_may_go() {
    let mut net = Net::new(&IPS);
    let (node, _) = net.nodes.pop().unwrap();
    let neighbour = net.nodes[0].1.clone();
    let id_at = |addr: &str| {
        let ran = net.scratch.run(&["dht", "ping", addr, "--json"]).expect(0);
        events(&ran, "node")[0]["id"].clone()
    };
    let before = id_at(&net.nodes[1].1);
    let (stopped, _) = net.nodes.pop().unwrap();
    for node in [node, stopped] {
        node.signal("INT");
        assert_eq!(node.finish().0, Some(130));
    }
    net._hub.signal("TERM");
    // Nobody is at the port that it is told to begin with.
    let again = net.start("127.0.2.3:0", "127.0.0.1:9", "state1");
    let ran = net.scratch.run(&["dht", "ping", &again.1, "--json"]).expect(0);
    assert_eq!(events(&ran, "node")[0]["id"], before);
    let found = net.scratch.run(&["dht", "find", HASH, "--json", "--dht-bootstrap", &again.1]).expect(0);
    assert!(events(&found, "node").iter().any(|node| node["addr"] == neighbour.as_str()));
}

#[test]
fn what_cannot_be_is_refused_in_one_sentence() {
    let s = Scratch::new();
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = silent.local_addr().unwrap().to_string();
    let nobody = s.run(&["dht", "ping", &addr]).expect(1);
    assert!(nobody.stderr().contains(&format!("nobody answers at {addr}")), "{}", nobody.stderr());
    let taken = s.run(&["dht", "node", "--listen", &addr]).expect(2);
    assert!(taken.stderr().contains("--listen"), "{}", taken.stderr());
    s.write("key", "not a key");
    s.write("album/a", "data");
    s.run(&["create", "album", "--private"]).expect(0);
    let long = "x".repeat(999);
    for (args, word) in [
        (&["put", "x", "--key", "key"][..], "64 hex digits"),
        (&["put", &long], "at most 1000 bytes"),
        (&["put", "x", "--bencoded"], "--bencoded"),
        (&["put", "--file", "nowhere"], "nowhere"),
        (&["get", "xyz"], "neither a hash"),
        (&["get", HASH, "--salt", &long], "at most 64 bytes"),
        (&["find", "xyz"], "40 hex digits"),
        (&["sample", "xyz"], "HOST:PORT"),
        (&["peers", "album.torrent"], "private"),
        (&["peers", HASH, "--announce", "0"], "--announce"),
        (&["put"], "VALUE"),
    ] {
        let ran = s.run(&[&["dht"], args].concat());
        let code = if word == "nowhere" { 1 } else { 2 };
        assert!(ran.code() == Some(code) && ran.stderr().contains(word), "{args:?}: {}", ran.stderr());
    }
}

#[test]
fn a_bare_hash_is_fetched_with_one_node_to_begin_with() {
    let net = Net::new(&IPS[..1]);
    let s = &net.scratch;
    s.write("from/a.bin", common::noise(7, 200_000));
    let made = s.run(&["create", "from/a.bin", "-o", "a.torrent", "--json"]).expect(0).json();
    let hash = made["info_hash_v1"].as_str().unwrap();
    let rest = |at: &'static str| ["--dht-bootstrap", net.first.as_str(), "--listen", at];
    let seed = Running::start(s, &[&["seed", "a.torrent", "from"][..], &rest("127.0.1.2:0")].concat());
    seed.event("seeding");
    let get = ["get", hash, "-o", "to", "--state-dir", "other"];
    let (code, events) = Running::start(s, &[&get[..], &rest("127.0.2.3:0")].concat()).finish();
    assert_eq!(code, Some(0), "{events:?}");
    let found = &events["progress"]["search"];
    assert!(found.is_null() || found["asked"] == serde_json::json!(["dht"]), "{found}");
    assert_eq!(std::fs::read(s.join("to/a.bin")).unwrap(), common::noise(7, 200_000));
}
