//! Requests through the whole service, without a socket.

use std::fs;
use std::path::PathBuf;

use mio::{Poll, Token, Waker};
use samara_proto::http::server::{Connection, Limits, Server};
use samara_proto::ids::WireHash;
use samara_proto::tracker::http::{parse_announce, parse_scrape};
use samara_proto::tracker::{AnnounceResponse, Failure, Retry, ScrapeStats};

use super::super::front::Mailbox;
use super::*;
use crate::access::Access;
use crate::clock::Clock;
use crate::config::{Config, Options, Part};
use crate::store::Store;

struct Rig {
    server: Server<Service>,
    _poll: Poll,
}

impl Rig {
    fn new(options: Options) -> Self {
        let config = Config::new(options).unwrap();
        let (access, _) = Access::open(&config, 1).unwrap();
        let clock = Clock::start();
        let store = Store::new(&config, clock).unwrap();
        let site = Arc::new(Site::new(config, clock, store, access));
        let poll = Poll::new().unwrap();
        let mailbox = Mailbox::new(Arc::new(Waker::new(poll.registry(), Token(0)).unwrap()));
        Self { server: Server::new(Limits::default(), Service::new(&site, Desk::new(mailbox))), _poll: poll }
    }

    /// The head and the body of the answer to `request`, sent from `sender`.
    fn say(&mut self, sender: &str, request: &str) -> (String, Vec<u8>) {
        let mut connection = Connection::new(Time::ZERO, &self.server.limits);
        self.server.handler.asked_by(sender.parse().unwrap(), 0);
        let mut out = Vec::new();
        connection.receive(Time::ZERO, request.as_bytes(), &mut self.server, &mut out);
        let end = out.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
        (String::from_utf8(out[..end].to_vec()).unwrap(), out[end..].to_vec())
    }

    fn get(&mut self, sender: &str, target: &str) -> Vec<u8> {
        let (head, body) = self.say(sender, &format!("GET {target} HTTP/1.1\r\nHost: t\r\n\r\n"));
        assert!(head.starts_with("HTTP/1.1 200 "), "{target}: {head}");
        body
    }

    fn announce(&mut self, sender: &str, more: &str) -> Result<AnnounceResponse, Failure> {
        let body = self.get(sender, &format!("/announce?{}&{more}", ours('a')));
        parse_announce(&body).unwrap()
    }

    fn post(&mut self, sender: &str, headers: &str, json: &str) -> (String, serde_json::Value) {
        let len = json.len();
        let request = format!("POST /announce HTTP/1.1\r\n{headers}Content-Length: {len}\r\n\r\n{json}");
        let (head, body) = self.say(sender, &request);
        assert!(head.contains("Content-Type: application/json\r\n"), "{head}");
        (head[9..12].to_owned(), serde_json::from_slice(&body).unwrap())
    }
}

fn plain() -> Rig {
    Rig::new(Options::default())
}

fn ours(torrent: char) -> String {
    format!("info_hash={}&peer_id={}", torrent.to_string().repeat(20), "p".repeat(20))
}

fn addrs(answer: &AnnounceResponse) -> Vec<String> {
    let mut all: Vec<_> = answer.peers.iter().map(ToString::to_string).collect();
    all.sort();
    all
}

#[test]
fn peers_hear_of_each_other_and_of_their_own_address() {
    let mut rig = plain();
    let first = rig.announce("192.0.2.1", "port=1&left=5&event=started").unwrap();
    assert_eq!((first.peers.len(), first.min_interval), (0, Some(60)));
    assert!((1200..1800).contains(&first.interval), "{}", first.interval);
    assert_eq!(first.external_ip, Some("192.0.2.1".parse().unwrap()));
    rig.announce("192.0.2.2", "port=2&left=0").unwrap();
    let third = rig.announce("::ffff:192.0.2.3", "port=3&left=5").unwrap();
    assert_eq!(addrs(&third), ["192.0.2.1:1", "192.0.2.2:2"]);
    assert_eq!((third.complete, third.incomplete), (Some(1), Some(2)));
    let seed = rig.announce("192.0.2.4", "port=4&left=0").unwrap();
    assert_eq!(addrs(&seed), ["192.0.2.1:1", "192.0.2.3:3"], "a seed hears of leeches only");
    let one = rig.announce("192.0.2.3", "port=3&left=5&numwant=1").unwrap();
    assert_eq!(one.peers.len(), 1);
    assert_eq!(rig.announce("192.0.2.1", "port=1&left=5&event=stopped").unwrap().peers.len(), 0);
    assert_eq!(addrs(&rig.announce("192.0.2.3", "port=3&left=5").unwrap()), ["192.0.2.2:2", "192.0.2.4:4"]);
}

#[test]
fn both_families_fill_an_answer_and_dictionaries_are_given_to_who_wants_them() {
    let mut rig = plain();
    rig.announce("192.0.2.1", "port=1&left=5").unwrap();
    rig.announce("2001:db8::1", "port=2&left=5").unwrap();
    let v4 = rig.announce("192.0.2.9", "port=9&left=5").unwrap();
    assert_eq!(addrs(&v4), ["192.0.2.1:1", "[2001:db8::1]:2"]);
    assert_eq!(v4.incomplete, Some(3));
    let v6 = rig.announce("2001:db8::9", "port=9&left=5&compact=0").unwrap();
    assert_eq!(addrs(&v6), ["192.0.2.1:1", "192.0.2.9:9", "[2001:db8::1]:2"]);
    let own_first = rig.announce("2001:db8::9", "port=9&left=5&numwant=1").unwrap();
    assert_eq!(addrs(&own_first), ["[2001:db8::1]:2"]);
    let body = rig.get("192.0.2.9", &format!("/announce?{}&port=9&compact=0", ours('a')));
    assert!(String::from_utf8_lossy(&body).contains("5:peersld2:ip"));
}

#[test]
fn scrapes_count_both_families() {
    let mut rig = plain();
    rig.announce("192.0.2.1", "port=1&left=0&event=completed").unwrap();
    rig.announce("2001:db8::1", "port=2&left=5").unwrap();
    let (a, b) = ("a".repeat(20), "b".repeat(20));
    let body = rig.get("192.0.2.1", &format!("/scrape?info_hash={a}&info_hash={b}&info_hash=short"));
    let stats = |complete, downloaded, incomplete| ScrapeStats { complete, downloaded, incomplete };
    let expected = [(WireHash([b'a'; 20]), stats(1, 1, 1)), (WireHash([b'b'; 20]), stats(0, 0, 0))];
    assert_eq!(parse_scrape(&body).unwrap().unwrap(), expected);
    let failure = parse_scrape(&rig.get("192.0.2.1", "/scrape")).unwrap().unwrap_err();
    assert!(failure.reason.contains("/scrape?info_hash="), "{failure:?}");
}

#[test]
fn everything_is_told_only_where_that_is_allowed() {
    let mut rig = Rig::new(Options { full_scrape: Some(true), ..Options::default() });
    rig.announce("192.0.2.1", "port=1&left=0").unwrap();
    rig.announce("2001:db8::1", "port=2&left=5").unwrap();
    let everything = parse_scrape(&rig.get("192.0.2.1", "/scrape")).unwrap().unwrap();
    let stats = ScrapeStats { complete: 1, downloaded: 0, incomplete: 1 };
    assert_eq!(everything, [(WireHash([b'a'; 20]), stats)]);
}

#[test]
fn refusals_are_what_a_client_shows() {
    let mut rig = plain();
    let failure = parse_announce(&rig.get("192.0.2.1", "/announce?port=1")).unwrap().unwrap_err();
    assert!(failure.reason.starts_with("info_hash is missing"), "{failure:?}");
    assert_eq!(failure.retry, Some(Retry::Never));
    assert!(rig.announce("192.0.2.1", "port=x").unwrap_err().reason.starts_with("port is"));
}

#[test]
fn nobody_speaks_for_others_but_whom_the_operator_trusts() {
    let mut rig = plain();
    rig.announce("192.0.2.1", "port=1&left=5&ip=203.0.113.7").unwrap();
    rig.announce("127.0.0.1", "port=2&left=5&ip=203.0.113.8").unwrap();
    for header in ["Origin: http://evil", "Sec-Fetch-Site: cross-site", "X-Forwarded-For: 1.2.3.4"] {
        let target = format!("/announce?{}&port=3&left=5&ip=203.0.113.9", ours('a'));
        rig.say("127.0.0.1", &format!("GET {target} HTTP/1.1\r\n{header}\r\n\r\n"));
    }
    let known = rig.announce("192.0.2.5", "port=5&left=5").unwrap();
    assert_eq!(addrs(&known), ["127.0.0.1:3", "192.0.2.1:1", "203.0.113.8:2"]);
    let nobody = rig.announce("127.0.0.1", "port=1&ip=224.0.0.1").unwrap_err();
    assert!(nobody.reason.contains("224.0.0.1"));
}

#[test]
fn behind_a_proxy_the_client_is_who_the_proxy_says() {
    let proxies = Some(vec!["10.0.0.0/8".parse().unwrap()]);
    let mut rig = Rig::new(Options { proxies, ..Options::default() });
    let target = format!("/announce?{}&port=1&left=5", ours('a'));
    for (sender, header) in [
        ("10.0.0.1", "X-Forwarded-For: 192.0.2.1"),
        ("10.0.0.1", "Forwarded: for=\"[2001:db8::1]:4711\""),
        ("192.0.2.2", "X-Forwarded-For: 203.0.113.1"),
    ] {
        rig.say(sender, &format!("GET {target} HTTP/1.1\r\n{header}\r\n\r\n"));
    }
    let known = rig.announce("192.0.2.9", "port=9&left=5").unwrap();
    assert_eq!(addrs(&known), ["192.0.2.1:1", "192.0.2.2:1", "[2001:db8::1]:1"]);
    let (_, body) = rig.say("10.0.0.1", &format!("GET {target} HTTP/1.1\r\nForwarded: for=_x\r\n\r\n"));
    assert!(parse_announce(&body).unwrap().unwrap_err().reason.contains("the proxy does not say"));
}

#[test]
fn json_both_ways() {
    let mut rig = plain();
    rig.announce("192.0.2.1", "port=1&left=0").unwrap();
    let hash = "61".repeat(20);
    let ask = |more: &str| format!("{{\"info_hash\": \"{hash}\", \"port\": 7{more}}}");
    let (status, answer) = rig.post("2001:db8::7", "", &ask(", \"left\": 3, \"event\": \"started\""));
    assert_eq!(status, "200");
    assert_eq!(answer["peers"], serde_json::json!([{"ip": "192.0.2.1", "port": 1}]));
    assert_eq!(answer["external_ip"], "2001:db8::7");
    assert_eq!((&answer["complete"], &answer["incomplete"]), (&1.into(), &1.into()));
    assert_eq!(rig.post("127.0.0.1", "", &ask(", \"ip\": \"203.0.113.8\"")).0, "200");
    let known = rig.announce("192.0.2.1", "port=1&left=0").unwrap();
    assert_eq!(addrs(&known), ["203.0.113.8:7", "[2001:db8::7]:7"]);
    let (status, answer) = rig.post("192.0.2.1", "", &ask(", \"ip\": \"203.0.113.8\""));
    assert_eq!(status, "400");
    assert!(answer["failure_reason"].as_str().unwrap().contains("leave `ip` out"));
    assert_eq!(answer["retry_in"], "never");
    assert_eq!(rig.post("192.0.2.1", "", &ask(", \"ip\": \"192.0.2.1\"")).0, "200", "his own is fine");
    for bad in
        ["", "{}", &ask(", \"tpyo\": 1"), &ask(", \"port\": 70000"), &ask(", \"event\": \"eaten\""), "[1]"]
    {
        assert_eq!(rig.post("192.0.2.1", "", bad).0, "400", "{bad}");
    }
    let v2 = format!("{{\"info_hash\": \"{}\", \"port\": 9}}", "61".repeat(32));
    assert_eq!(rig.post("192.0.2.9", "", &v2).1["complete"], 1, "the same swarm");
}

#[test]
fn keys_lists_and_rates() {
    let dir = std::env::temp_dir().join(format!("samara-hub-service-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    let file = |name: &str, text: String| -> Option<PathBuf> {
        fs::write(dir.join(name), text).unwrap();
        Some(dir.join(name))
    };
    let mut rig = Rig::new(Options {
        passkeys: file("keys", "sesame-sesame\n".into()),
        deny_list: file("deny", "62".repeat(20)),
        rate_limit: Some(5),
        ..Options::default()
    });
    fs::remove_dir_all(&dir).unwrap();
    let failure = rig.announce("192.0.2.1", "port=1").unwrap_err();
    assert!(failure.reason.contains("key") && failure.retry == Some(Retry::Never), "{failure:?}");
    let mut keyed = |torrent, sender: &str| {
        parse_announce(&rig.get(sender, &format!("/sesame-sesame/announce?{}&port=1", ours(torrent))))
            .unwrap()
    };
    assert!(keyed('a', "192.0.2.2").is_ok());
    let failure = keyed('b', "192.0.2.2").unwrap_err();
    assert_eq!(failure.retry, Some(Retry::Minutes(1440)));
    let passed = (0..10).filter(|_| keyed('a', "192.0.2.3").is_ok()).count();
    assert_eq!(passed, 5);
    assert_eq!(keyed('a', "192.0.2.3").unwrap_err().retry, Some(Retry::Minutes(5)));
    let (a, b) = ("a".repeat(20), "b".repeat(20));
    let body = rig.get("192.0.2.4", &format!("/sesame-sesame/scrape?info_hash={a}&info_hash={b}"));
    assert_eq!(parse_scrape(&body).unwrap().unwrap().len(), 1, "what is denied is not told of");
    let metrics = String::from_utf8(rig.get("192.0.2.5", "/metrics")).unwrap();
    for line in [
        "samara_hub_announces_total{transport=\"http\"} 6",
        "samara_hub_refused_total{transport=\"http\",reason=\"rate\"} 6",
        "samara_hub_refused_total{transport=\"http\",reason=\"key\"} 1",
        "samara_hub_refused_total{transport=\"http\",reason=\"torrent\"} 1",
        "samara_hub_scrapes_total{transport=\"http\"} 1",
        "samara_hub_peers{family=\"ipv4\",role=\"leech\"} 2",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
}

#[test]
fn what_the_hub_tells_of_itself() {
    let stats_from = Some(vec!["192.0.2.0/24".parse().unwrap()]);
    let mut rig = Rig::new(Options { stats_from, ..Options::default() });
    rig.announce("203.0.113.1", "port=1&left=0").unwrap();
    let stats: serde_json::Value = serde_json::from_slice(&rig.get("192.0.2.1", "/stats")).unwrap();
    assert_eq!((&stats["ipv4"]["seeds"], &stats["http"]["announces"]), (&1.into(), &1.into()));
    let page = String::from_utf8(rig.get("192.0.2.1", "/")).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.contains("<tr><td>IPv4<td>1<td>1<td>0"), "{page}");
    for path in ["/", "/stats", "/metrics"] {
        let (head, _) = rig.say("203.0.113.1", &format!("GET {path} HTTP/1.1\r\n\r\n"));
        assert!(head.starts_with("HTTP/1.1 403 "), "{head}");
    }
    assert_eq!(rig.get("203.0.113.1", "/health"), b"ok\n");
}

#[test]
fn a_hub_without_a_tracker_says_so() {
    let mut rig = Rig::new(Options { only: Some(vec![Part::Dht]), ..Options::default() });
    for path in ["/announce", "/KEY/announce", "/scrape"] {
        let (head, body) = rig.say("192.0.2.1", &format!("GET {path} HTTP/1.1\r\n\r\n"));
        assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
        assert_eq!(body, b"this hub runs no tracker: try /stats or /health\n");
    }
    let page = String::from_utf8(rig.get("192.0.2.1", "/")).unwrap();
    assert!(page.contains("A node of the BitTorrent DHT") && !page.contains("/announce"), "{page}");
    assert_eq!(rig.get("192.0.2.1", "/health"), b"ok\n");
}

#[test]
fn methods_and_paths() {
    let mut rig = plain();
    let mut status = |request: &str| rig.say("192.0.2.1", &format!("{request} HTTP/1.1\r\n\r\n")).0;
    assert!(status("GET /nothing").starts_with("HTTP/1.1 404 "));
    assert!(status("GET /a/b/announce").starts_with("HTTP/1.1 404 "));
    for (request, allow) in [("POST /stats", "GET, HEAD"), ("PUT /announce", "GET, HEAD, POST")] {
        let head = status(request);
        assert!(head.starts_with("HTTP/1.1 405 ") && head.contains(&format!("Allow: {allow}\r\n")), "{head}");
    }
    let (head, body) = rig.say("192.0.2.1", "HEAD /stats HTTP/1.1\r\n\r\n");
    assert!(head.contains("Content-Length: ") && body.is_empty(), "{head}");
}

#[test]
fn a_shared_store_that_is_away_shows_everywhere() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let place = format!("redis://{closed}").parse().unwrap();
    let mut rig = Rig::new(Options { store: Some(place), ..Options::default() });
    let (head, body) = rig.say("192.0.2.1", "GET /health HTTP/1.1\r\nHost: t\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 503 ") && body.starts_with(b"degraded"));
    let stats: serde_json::Value = serde_json::from_slice(&rig.get("192.0.2.1", "/stats")).unwrap();
    assert!(stats["shared_store"]["up"] == false && stats["ipv4"].is_null(), "{stats}");
    let text = |rig: &mut Rig, path| String::from_utf8(rig.get("192.0.2.1", path)).unwrap();
    assert!(text(&mut rig, "/metrics").contains("\nsamara_hub_store_up 0\n"));
    assert!(text(&mut rig, "/").contains("does not answer"));
    let mut rig = plain();
    assert_eq!(rig.get("192.0.2.1", "/health"), b"ok\n");
    assert!(!text(&mut rig, "/metrics").contains("store_up"));
}
