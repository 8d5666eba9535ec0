use std::net::IpAddr;

use proptest::prelude::*;

use super::super::{Method, client_address};
use super::*;

/// Answers with what it understood; at `/later` once asked to, and at `/leave` with another protocol.
#[derive(Debug)]
struct Echo;

impl Handler for Echo {
    fn handle(&mut self, _: Time, request: &Request<'_>, reply: &mut Reply) {
        match request.path {
            "/later" => return reply.later(request.query.parse().unwrap_or(0)),
            "/leave" => return reply.upgrade("Upgrade: x\r\nConnection: upgrade\r\n"),
            _ => {}
        }
        if request.method == Method::Other {
            return reply.text(Status::MethodNotAllowed, "no");
        }
        reply.body.extend_from_slice(
            format!("{} {} {}", request.path, request.query, request.body.len()).as_bytes(),
        );
    }
}

fn small() -> Limits {
    Limits { head: 200, body: 50, backlog: 300, ..Limits::default() }
}

fn server() -> Server<Echo> {
    Server::new(small(), Echo)
}

/// Everything that is answered to `parts`, and the connection as it is then.
fn talk(parts: &[&[u8]]) -> (String, Connection) {
    let (mut server, now) = (server(), Time::ZERO);
    let mut connection = Connection::new(now, &server.limits);
    let mut all = Vec::new();
    for part in parts {
        let mut out = Vec::new();
        connection.receive(now, part, &mut server, &mut out);
        loop {
            if let Some(ticket) = connection.awaited() {
                let text = format!("late {ticket}");
                connection
                    .answer(now, ticket, &mut server, &mut out, |_, reply| reply.text(Status::Ok, &text));
            }
            if out.is_empty() {
                break;
            }
            all.append(&mut out);
            connection.flushed(now, &mut server, &mut out);
        }
    }
    (String::from_utf8(all).unwrap(), connection)
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")
}

fn answer(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

#[test]
fn requests_one_by_one_and_pipelined() {
    let (one, two) = (get("/a?b=c"), get("/d"));
    let both = answer("/a b=c 0") + &answer("/d  0");
    assert_eq!(talk(&[one.as_bytes(), two.as_bytes()]).0, both);
    assert_eq!(talk(&[(one + &two).as_bytes()]).0, both);
}

#[test]
fn a_body_is_taken_whole_and_the_next_request_is_seen_behind_it() {
    let post = "POST /p HTTP/1.1\r\nContent-Length: 5\r\n\r\nGET /".to_owned() + &get("/n");
    assert_eq!(talk(&[post.as_bytes()]).0, answer("/p  5") + &answer("/n  0"));
}

#[test]
fn the_old_version_closes_unless_it_asks_to_stay() {
    let (out, connection) = talk(&[b"GET / HTTP/1.0\r\n\r\n"]);
    assert!(out.contains("Connection: close\r\n") && connection.is_closing());
    let (out, connection) = talk(&[b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"]);
    assert!(out.contains("Connection: keep-alive\r\n") && connection.is_idle());
    let (out, connection) =
        talk(&[b"GET / HTTP/1.1\r\nConnection: x, close\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"]);
    assert!(out.contains("Connection: close\r\n") && connection.is_closing() && !connection.was_refused());
    assert_eq!(out.matches("HTTP/1.1 200").count(), 1);
}

#[test]
fn a_target_may_name_the_server() {
    assert_eq!(talk(&[get("http://host:1/a/b?c=d").as_bytes()]).0, answer("/a/b c=d 0"));
    assert_eq!(talk(&[get("/a?http://host/b").as_bytes()]).0, answer("/a http://host/b 0"));
    for odd in ["*", "http://host", "http://host?/a", "host/a"] {
        assert!(!talk(&[get(odd).as_bytes()]).0.contains("\r\n\r\n/"), "{odd}");
    }
}

#[test]
fn a_head_request_gets_a_head() {
    let (out, _) = talk(&[b"HEAD /abc HTTP/1.1\r\n\r\n"]);
    assert!(out.ends_with("Content-Length: 7\r\n\r\n"), "{out}");
}

#[test]
fn the_client_is_told_once_to_send_its_body() {
    let head: &[u8] = b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
    let (out, _) = talk(&[head, b"a", b"bc"]);
    assert_eq!(out, "HTTP/1.1 100 Continue\r\n\r\n".to_owned() + &answer("/  3"));
}

#[test]
fn what_is_too_large_or_ambiguous_is_refused_and_ends_the_connection() {
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(200));
    let cases: [(&str, &str); 9] = [
        (&long, "431"),
        (&long[..201], "431"),
        ("POST / HTTP/1.1\r\nContent-Length: 51\r\n\r\n", "413"),
        ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", "411"),
        ("POST / HTTP/1.1\r\nContent-Length: +5\r\n\r\n", "400"),
        ("POST / HTTP/1.1\r\nContent-Length: 5, 5\r\n\r\n", "400"),
        ("POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", "400"),
        ("\x16\x03\x01\x02\x00\x01\n\r\n", "400"),
        ("GET / HTTP/2.0\r\n\r\n", "400"),
    ];
    for (request, status) in cases {
        let (out, connection) = talk(&[request.as_bytes(), b"GET / HTTP/1.1\r\n\r\n"]);
        assert!(out.starts_with(&format!("HTTP/1.1 {status} ")), "{request:?} {out}");
        assert!(connection.is_closing() && connection.was_refused());
        assert_eq!(out.matches("HTTP/1.1 ").count(), 1);
    }
}

#[test]
fn a_request_that_dribbles_gets_no_more_time() {
    let mut server = server();
    let limits = server.limits;
    let at = |s: u64| Time::ZERO + Duration::from_secs(s);
    let mut connection = Connection::new(at(0), &limits);
    let mut out = Vec::new();
    assert_eq!(connection.deadline(), at(10));
    connection.receive(at(3), b"GE", &mut server, &mut out);
    assert_eq!(connection.deadline(), at(13));
    connection.receive(at(9), b"T / HTTP/1.1\r\n", &mut server, &mut out);
    assert_eq!(connection.deadline(), at(13));
    assert!(out.is_empty());
    connection.receive(at(10), b"\r\n", &mut server, &mut out);
    assert_eq!(connection.deadline(), at(20), "ten seconds to take the answer");
    out.clear();
    connection.flushed(at(11), &mut server, &mut out);
    assert_eq!(connection.deadline(), at(31), "idle");
    assert!(connection.is_idle() && out.is_empty());
}

#[test]
fn a_backlog_stops_the_answers_until_it_is_sent() {
    let (mut server, now) = (server(), Time::ZERO);
    let mut connection = Connection::new(now, &server.limits);
    let many = get("/x").repeat(50);
    let (mut out, mut answers, mut rounds) = (Vec::new(), 0, 0);
    connection.receive(now, many.as_bytes(), &mut server, &mut out);
    while !out.is_empty() {
        assert!(out.len() < 300 + 200, "{} bytes wait", out.len());
        answers += out.windows(8).filter(|w| *w == b"HTTP/1.1").count();
        rounds += 1;
        out.clear();
        connection.flushed(now, &mut server, &mut out);
    }
    assert_eq!(answers, 50);
    assert!(rounds >= 10 && connection.is_idle());
}

#[test]
fn a_promised_answer_keeps_its_place_and_what_follows_waits_for_it() {
    let (mut server, now) = (server(), Time::ZERO);
    let mut connection = Connection::new(now, &server.limits);
    let mut out = Vec::new();
    let all = get("/a") + &get("/later?7") + &get("/b");
    connection.receive(now, all.as_bytes(), &mut server, &mut out);
    assert_eq!(String::from_utf8(std::mem::take(&mut out)).unwrap(), answer("/a  0"));
    assert_eq!(connection.awaited(), Some(7));
    connection.flushed(now, &mut server, &mut out);
    connection.receive(now, get("/c").as_bytes(), &mut server, &mut out);
    assert!(out.is_empty() && !connection.is_idle());
    assert!(!connection.answer(now, 6, &mut server, &mut out, |_, _| panic!("not the one")));
    assert!(connection.answer(now, 7, &mut server, &mut out, |_, reply| reply.text(Status::Ok, "late")));
    assert!(!connection.answer(now, 7, &mut server, &mut out, |_, _| panic!("twice")));
    assert_eq!(String::from_utf8(std::mem::take(&mut out)).unwrap(), answer("late\n"));
    connection.flushed(now, &mut server, &mut out);
    assert_eq!(String::from_utf8(std::mem::take(&mut out)).unwrap(), answer("/b  0") + &answer("/c  0"));
    connection.flushed(now, &mut server, &mut out);
    assert!(connection.is_idle());
}

#[test]
fn a_promised_answer_has_its_own_time_and_closes_if_that_was_asked() {
    let mut server = server();
    server.limits.answer_timeout = Duration::from_secs(3);
    let at = |s: u64| Time::ZERO + Duration::from_secs(s);
    let mut connection = Connection::new(at(0), &server.limits);
    let mut out = Vec::new();
    let request = b"GET /later?1 HTTP/1.1\r\nConnection: close\r\n\r\nmore";
    connection.receive(at(1), request, &mut server, &mut out);
    assert_eq!(connection.deadline(), at(4));
    assert!(!connection.is_closing() && out.is_empty());
    connection.answer(at(2), 1, &mut server, &mut out, |_, reply| reply.text(Status::Ok, "late"));
    assert!(connection.is_closing() && connection.deadline() == at(12));
    assert!(String::from_utf8(out).unwrap().contains("Connection: close\r\n"));
}

#[test]
fn a_connection_leaves_with_what_came_behind_the_request() {
    let request = get("/leave");
    let parts: [&[u8]; 3] = [request.as_bytes(), b"ab\r\n\r\n", b"c"];
    for parts in [&parts[..], &[&parts.concat()]] {
        let (out, connection) = talk(parts);
        assert_eq!(out, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n");
        assert!(connection.is_leaving() && !connection.is_closing());
        assert_eq!(connection.into_rest(), b"ab\r\n\r\nc");
    }
}

struct Client(Option<IpAddr>);

impl Handler for Client {
    fn handle(&mut self, _: Time, request: &Request<'_>, _: &mut Reply) {
        let sender = "10.0.0.1".parse().unwrap();
        self.0 = client_address(sender, request, |ip| ip.to_string().starts_with("10."));
    }
}

fn client(headers: &str) -> Option<String> {
    let mut server = Server::new(Limits::default(), Client(None));
    let request = format!("GET / HTTP/1.1\r\n{headers}\r\n");
    Connection::new(Time::ZERO, &server.limits).receive(
        Time::ZERO,
        request.as_bytes(),
        &mut server,
        &mut Vec::new(),
    );
    server.handler.0.map(|ip| ip.to_string())
}

#[test]
fn the_client_is_the_last_hop_that_is_no_proxy_of_ours() {
    let cases = [
        ("", Some("10.0.0.1")),
        ("X-Forwarded-For: 192.0.2.1\r\n", Some("192.0.2.1")),
        ("X-Forwarded-For: 1.1.1.1, 192.0.2.1, 10.9.9.9\r\n", Some("192.0.2.1")),
        ("x-forwarded-for: 1.1.1.1\r\nX-Forwarded-For: 192.0.2.1\r\n", Some("192.0.2.1")),
        ("X-Forwarded-For: 10.0.0.7, 10.0.0.8\r\n", Some("10.0.0.7")),
        ("X-Forwarded-For: ::ffff:192.0.2.4\r\n", Some("192.0.2.4")),
        ("X-Forwarded-For: 192.0.2.1:4711\r\n", Some("192.0.2.1")),
        ("X-Forwarded-For: unknown\r\n", None),
        ("X-Forwarded-For: 192.0.2.1, unknown\r\n", None),
        ("Forwarded: for=192.0.2.60;proto=http;by=203.0.113.43\r\n", Some("192.0.2.60")),
        ("Forwarded: for=1.1.1.1, FOR=\"[2001:db8::17]:4711\"\r\n", Some("2001:db8::17")),
        // One of them came through a proxy that knows only the other: anybody may have written it.
        ("Forwarded: for=1.1.1.1\r\nX-Forwarded-For: 192.0.2.1\r\n", None),
        ("Forwarded: for=192.0.2.1\r\nX-Forwarded-For: 1.1.1.1\r\n", None),
        ("Forwarded: for=unknown\r\nX-Forwarded-For: 1.1.1.1\r\n", None),
        (
            "Forwarded: proto=https; for=\"[2001:db8::17]\"\r\nX-Forwarded-For: 2001:db8::17\r\n",
            Some("2001:db8::17"),
        ),
        ("Forwarded: for=_hidden\r\n", None),
        ("Forwarded: proto=http\r\n", None),
    ];
    for (headers, expected) in cases {
        assert_eq!(client(headers).as_deref(), expected, "{headers:?}");
    }
}

#[test]
fn a_stranger_speaks_for_itself_only() {
    struct Stranger;
    impl Handler for Stranger {
        fn handle(&mut self, _: Time, request: &Request<'_>, _: &mut Reply) {
            let sender = "192.0.2.9".parse().unwrap();
            assert_eq!(client_address(sender, request, |_| false), Some(sender));
        }
    }
    let mut server = Server::new(Limits::default(), Stranger);
    let request = b"GET / HTTP/1.1\r\nX-Forwarded-For: 1.1.1.1\r\n\r\n";
    Connection::new(Time::ZERO, &server.limits).receive(Time::ZERO, request, &mut server, &mut Vec::new());
}

/// Requests, right and wrong, with a bit of noise.
fn traffic() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        5 => Just(get("/announce?a=b").into_bytes()),
        3 => Just(b"POST /j HTTP/1.1\r\nContent-Length: 12\r\n\r\n{\"port\": 10}".to_vec()),
        2 => Just(b"POST /j HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc".to_vec()),
        2 => Just(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".to_vec()),
        1 => Just(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n".to_vec()),
        2 => Just(get("/later?5").into_bytes()),
        1 => Just(get("/leave").into_bytes()),
        1 => Just(b"\r\n\r\n".to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..12),
    ];
    proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn fed_in_any_split_is_fed_whole(bytes in traffic(), cuts in proptest::collection::vec(0usize..400, 0..12)) {
        let mut cuts: Vec<_> = cuts.into_iter().filter(|c| *c <= bytes.len()).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let parts: Vec<_> = cuts.windows(2).map(|w| &bytes[w[0]..w[1]]).collect();
        let (whole, end) = talk(&[&bytes]);
        let (split, split_end) = talk(&parts);
        // Whether the client had to be told to go on depends on what had come.
        let plain = |text: &str| text.replace("HTTP/1.1 100 Continue\r\n\r\n", "");
        prop_assert_eq!(plain(&whole), plain(&split));
        prop_assert_eq!(end.is_closing(), split_end.is_closing());
        prop_assert_eq!(end.is_leaving(), split_end.is_leaving());
        prop_assert_eq!(end.input, split_end.input);
    }
}
