use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

use super::*;

const MAX: usize = 1000;

/// Fed whole, then the connection ends.
fn read(bytes: &[u8]) -> Result<Response, AnswerError> {
    let mut reader = Reader::new(MAX);
    reader.push(bytes)?;
    reader.finish()
}

/// Fed byte by byte until it is whole.
fn drip(bytes: &[u8]) -> Result<Response, AnswerError> {
    let mut reader = Reader::new(MAX);
    for byte in bytes {
        if reader.push(&[*byte])? {
            break;
        }
    }
    reader.finish()
}

fn body(bytes: &[u8]) -> Vec<u8> {
    let whole = read(bytes).unwrap();
    assert_eq!(drip(bytes).unwrap(), whole);
    whole.body
}

fn answer(fields: &str, body: &[u8]) -> Vec<u8> {
    let mut all = format!("HTTP/1.1 200 OK\r\n{fields}\r\n").into_bytes();
    all.extend_from_slice(body);
    all
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut to = GzEncoder::new(Vec::new(), Compression::best());
    to.write_all(bytes).unwrap();
    to.finish().unwrap()
}

#[test]
fn the_end_of_a_body_is_told_in_three_ways() {
    assert_eq!(body(&answer("Content-Length: 5\r\n", b"helloXX")), b"hello");
    assert_eq!(body(&answer("", b"hello")), b"hello");
    let chunks = b"4;ext=1\r\nhell\r\n00001\r\no\r\n0\r\nTrailer: x\r\n\r\nXX";
    assert_eq!(body(&answer("Transfer-Encoding: chunked\r\n", chunks)), b"hello");
    assert_eq!(body(b"HTTP/1.0 200 OK\n\nhello"), b"hello");
}

#[test]
fn an_answer_is_whole_without_the_connection_s_end() {
    let mut reader = Reader::new(MAX);
    assert_eq!(reader.push(&answer("Content-Length: 5\r\n", b"hell")), Ok(false));
    assert_eq!(reader.push(b"o"), Ok(true));
    let mut reader = Reader::new(MAX);
    assert_eq!(reader.push(b"HTTP/1.1 204 None\r\nContent-Length: 5\r\n\r\n"), Ok(true));
    assert_eq!(reader.finish().unwrap().status, 204);
}

#[test]
fn what_is_packed_is_unpacked() {
    let packed = gzip(b"hello");
    let fields = format!("content-encoding: gzip\r\ncontent-length: {}\r\n", packed.len());
    assert_eq!(body(&answer(&fields, &packed)), b"hello");
    assert_eq!(body(&answer("content-encoding: X-GZIP\r\ncontent-length: 0\r\n", b"")), b"");
    assert_eq!(read(&answer("content-encoding: gzip\r\n", &packed[..12])), Err(AnswerError::Gzip));
    assert_eq!(read(&answer("content-encoding: br\r\n", b"")), Err(AnswerError::Coding));
    let twice = "content-encoding: gzip\r\ncontent-encoding: gzip\r\n";
    assert_eq!(read(&answer(twice, b"")), Err(AnswerError::Coding));
}

#[test]
fn nothing_larger_than_asked_for_is_held() {
    let large = vec![b'x'; MAX + 1];
    assert_eq!(read(&answer("", &large)), Err(AnswerError::TooLarge));
    assert_eq!(read(&answer("Content-Length: 1001\r\n", b"")), Err(AnswerError::TooLarge));
    let chunks = [b"fff\r\n", &large[..]].concat();
    assert_eq!(read(&answer("Transfer-Encoding: chunked\r\n", &chunks)), Err(AnswerError::TooLarge));
    let bomb = gzip(&vec![0; 500 * MAX]);
    assert!(bomb.len() < MAX);
    assert_eq!(read(&answer("Content-Encoding: gzip\r\n", &bomb)), Err(AnswerError::TooLarge));
    assert_eq!(body(&answer("", &large[..MAX])).len(), MAX);
}

#[test]
fn heads_have_bounds() {
    let field = |n: usize| format!("X: {}\r\n", "x".repeat(n));
    assert_eq!(read(&answer(&field(20_000), b"")), Err(AnswerError::LargeHead));
    assert_eq!(read(&answer(&field(100).repeat(101), b"")), Err(AnswerError::NotHttp));
    let mut reader = Reader::new(MAX);
    let endless = std::iter::repeat_n([b'x'; 1000], 20);
    let mut all = std::iter::once(*b"HTTP/1.1 2").map(|b| b.to_vec()).chain(endless.map(|b| b.to_vec()));
    assert_eq!(all.find_map(|part| reader.push(&part).err()), Some(AnswerError::NotHttp));
    let interim = b"HTTP/1.1 103 Early Hints\r\n\r\n";
    assert_eq!(read(&interim.repeat(20)), Err(AnswerError::NotHttp));
    let late = [&interim.repeat(2)[..], &answer("Content-Length: 2\r\n", b"ok")].concat();
    assert_eq!(body(&late), b"ok");
}

#[test]
fn what_is_not_clear_is_refused() {
    for (fields, error) in [
        ("Content-Length: 5\r\nContent-Length: 6\r\n", AnswerError::Framing),
        ("Content-Length: 5, 6\r\n", AnswerError::Framing),
        ("Content-Length: +5\r\n", AnswerError::Framing),
        ("Content-Length: \r\n", AnswerError::Framing),
        ("Transfer-Encoding: gzip, chunked\r\n", AnswerError::Framing),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", AnswerError::Framing),
        ("Bad Field\r\n", AnswerError::NotHttp),
    ] {
        assert_eq!(read(&answer(fields, b"hello")), Err(error), "{fields}");
    }
    assert_eq!(body(&answer("Content-Length: 5\r\nContent-Length: 5,5\r\n", b"hello")), b"hello");
    for chunks in ["x\r\n", "-1\r\n", "\r\n", "1\r\nab\r\n", "ffffffffffffffffff\r\n", "1 2\r\na\r\n \r\n"] {
        let all = answer("Transfer-Encoding: chunked\r\n", chunks.as_bytes());
        assert_eq!(read(&all), Err(AnswerError::Chunk), "{chunks}");
    }
    for bytes in
        ["<html>", "SSH-2.0-OpenSSH\r\n\r\n", "HTTP/2 200 OK\r\n\r\n", "HTTP/1.1 999 ?\r\n\r\n", "\r\n\r\n"]
    {
        assert_eq!(read(bytes.as_bytes()), Err(AnswerError::NotHttp), "{bytes}");
    }
}

#[test]
fn what_breaks_off_is_not_taken_for_whole() {
    assert_eq!(read(b"HTTP/1.1 200 OK\r\nConte"), Err(AnswerError::Broken));
    assert_eq!(read(&answer("Content-Length: 5\r\n", b"hell")), Err(AnswerError::Broken));
    assert_eq!(read(&answer("Transfer-Encoding: chunked\r\n", b"4\r\nhell\r\n")), Err(AnswerError::Broken));
    assert_eq!(read(b""), Err(AnswerError::Broken));
}

#[test]
fn redirects_are_told() {
    let to = |status: u16, fields: &str| {
        read(format!("HTTP/1.1 {status} Elsewhere\r\n{fields}\r\n").as_bytes()).unwrap()
    };
    let moved = to(302, "Location:  /there \r\n");
    assert!(moved.is_redirect() && moved.location.as_deref() == Some("/there"));
    assert!(!to(302, "").is_redirect() && !to(200, "Location: /there\r\n").is_redirect());
}

#[test]
fn addresses_that_can_be_fetched() {
    for (text, authority, port, target) in [
        ("http://Tracker.example.org/announce?k=1#x", "tracker.example.org", 80, "/announce?k=1"),
        ("HTTPS://a.b:8443", "a.b:8443", 8443, "/"),
        ("https://a.b:443?x", "a.b", 443, "/?x"),
        ("http://[2001:DB8::1]:81/a b", "[2001:db8::1]:81", 81, "/a%20b"),
        ("http://127.0.0.1:/%41\r\nX: y", "127.0.0.1", 80, "/%41%0D%0AX:%20y"),
        (" http://a-b_c.org./\u{e4} ", "a-b_c.org.", 80, "/%C3%A4"),
    ] {
        let url = Url::parse(text).unwrap();
        assert_eq!((url.authority().as_str(), url.port(), url.target()), (authority, port, target));
        assert_eq!(Url::parse(&url.to_string()).unwrap(), url);
    }
    assert_eq!(Url::parse("http://[::1]/").unwrap().ip(), Some("::1".parse().unwrap()));
    assert!(Url::parse("https://a/").unwrap().is_secure());
}

#[test]
fn addresses_that_cannot() {
    for (text, why) in [
        ("udp://a:1", BadUrl::Scheme),
        ("", BadUrl::Scheme),
        ("http:/a", BadUrl::Scheme),
        ("http://u:p@a/", BadUrl::UserInfo),
        ("http:///x", BadUrl::Host),
        ("http://[::1", BadUrl::Host),
        ("http://[::1]x/", BadUrl::Host),
        ("http://a b/", BadUrl::Host),
        ("http://\u{e4}.org/", BadUrl::Host),
        ("http://a\r\nb/", BadUrl::Host),
        ("http://127.1/", BadUrl::Host),
        ("http://2130706433/", BadUrl::Host),
        ("http://0x7f000001/", BadUrl::Host),
        ("http://127.0.0.1./", BadUrl::Host),
        ("http://a:0/", BadUrl::Port),
        ("http://a:65536/", BadUrl::Port),
        ("http://a:+1/", BadUrl::Port),
        ("http://a:1:2/", BadUrl::Port),
    ] {
        assert_eq!(Url::parse(text).unwrap_err(), why, "{text}");
    }
    assert_eq!(Url::parse(&format!("http://a/{}", "x".repeat(MAX_URL_LEN))), Err(BadUrl::TooLong));
}

#[test]
fn redirects_lead_where_browsers_go() {
    let from = Url::parse("https://a.org:1/x/y?z").unwrap();
    for (location, to) in [
        ("http://b.org/q", "http://b.org/q"),
        ("//b.org/q", "https://b.org/q"),
        ("/q?r", "https://a.org:1/q?r"),
        ("?r", "https://a.org:1/x/y?r"),
        ("q:8", ""),
        ("./q:8", "https://a.org:1/x/./q:8"),
        ("q", "https://a.org:1/x/q"),
        ("", "https://a.org:1/x/y?z"),
    ] {
        assert_eq!(from.join(location).map(|u| u.to_string()).unwrap_or_default(), to, "{location}");
    }
    assert_eq!(from.join("file:///etc/passwd"), Err(BadUrl::Scheme));
}

#[test]
fn a_request_has_what_servers_need() {
    let request = get(&Url::parse("http://a:81/x?y").unwrap(), "Samara/1");
    let expected = "GET /x?y HTTP/1.1\r\nHost: a:81\r\nUser-Agent: Samara/1\r\nAccept: */*\r\n\
                    Accept-Encoding: gzip\r\nConnection: close\r\n\r\n";
    assert_eq!(String::from_utf8(request).unwrap(), expected);
}

proptest! {
    #[test]
    fn any_text_becomes_a_clean_request_or_none(text in "(https?://)?[a-z.:/?#\\[\\]@%\r\n 0-9é]{0,40}") {
        if let Ok(url) = Url::parse(&text) {
            let request = String::from_utf8(get(&url, "x")).unwrap();
            prop_assert_eq!(request.matches("\r\n").count(), 7);
            prop_assert_eq!(request.lines().next().unwrap().split(' ').count(), 3);
        }
    }
}
