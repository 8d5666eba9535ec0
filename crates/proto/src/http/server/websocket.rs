//! Whether a request asks for a WebSocket, and the answer that opens it (RFC 6455 §4.2).

use sha1::{Digest, Sha1};

use super::head::{Method, Request};
use super::reply::{Reply, Status};

/// What every server adds to the client's key before hashing, to show that it knows the protocol.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Base64 of the 16 bytes of a key.
const KEY_LEN: usize = 24;

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Whether the client wants to go on as a WebSocket.
pub fn wants_websocket(request: &Request<'_>) -> bool {
    request.method == Method::Get && lists(request, "upgrade", "websocket")
}

/// Answers a request that [wants a WebSocket](wants_websocket): 101, or 400 if the handshake is faulty or of another
/// version. No subprotocol and no extension is taken up.
pub fn open_websocket(request: &Request<'_>, reply: &mut Reply) {
    let mut versions = request.header("sec-websocket-version");
    if versions.next().map(<[u8]>::trim_ascii) != Some(b"13") {
        reply.text(Status::BadRequest, "only version 13 of WebSocket is spoken here");
        reply.headers = "Sec-WebSocket-Version: 13\r\n".into();
        return;
    }
    let mut keys = request.header("sec-websocket-key").map(<[u8]>::trim_ascii);
    match (keys.next().filter(|key| is_key(key)), keys.next()) {
        (Some(key), None) if lists(request, "connection", "upgrade") => reply.upgrade(format!(
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n",
            accept_key(key)
        )),
        _ => reply.text(Status::BadRequest, "the WebSocket handshake is faulty"),
    }
}

/// Whether a header lists a word, in whatever case.
fn lists(request: &Request<'_>, header: &str, word: &str) -> bool {
    let mut words = request.header(header).flat_map(|value| value.split(|b| *b == b','));
    words.any(|w| w.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
}

fn is_key(key: &[u8]) -> bool {
    key.len() == KEY_LEN && key.ends_with(b"==") && key[..KEY_LEN - 2].iter().all(|b| BASE64.contains(b))
}

/// Proves to the client that its key was understood.
fn accept_key(key: &[u8]) -> String {
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    base64(&digest)
}

fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for i in 0..4 {
            let digit = BASE64[(bits >> (18 - 6 * i) & 63) as usize];
            text.push(if i > group.len() { '=' } else { digit.into() });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::{Connection, Handler, Limits, Server};
    use super::*;
    use crate::time::Time;

    struct Opens;

    impl Handler for Opens {
        fn handle(&mut self, _: Time, request: &Request<'_>, reply: &mut Reply) {
            if wants_websocket(request) {
                open_websocket(request, reply);
            } else {
                reply.text(Status::Ok, "plain");
            }
        }
    }

    fn ask(method: &str, headers: &[&str]) -> String {
        let mut server = Server::new(Limits::default(), Opens);
        let mut out = Vec::new();
        let request = format!("{method} / HTTP/1.1\r\nHost: h\r\n{}\r\n\r\n", headers.join("\r\n"));
        Connection::new(Time::ZERO, &server.limits).receive(
            Time::ZERO,
            request.as_bytes(),
            &mut server,
            &mut out,
        );
        String::from_utf8(out).unwrap()
    }

    /// The handshake of RFC 6455 §1.3.
    const GOOD: [&str; 4] = [
        "Upgrade: websocket",
        "Connection: keep-alive, Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
    ];

    #[test]
    fn the_handshake_of_the_rfc() {
        let answer = ask("GET", &GOOD);
        assert!(answer.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{answer}");
        assert!(answer.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{answer}");
    }

    #[test]
    fn others_are_refused_or_answered_plainly() {
        for (i, missing) in GOOD.iter().enumerate() {
            let some: Vec<_> = GOOD.into_iter().filter(|line| line != missing).collect();
            let status = if i == 0 { "HTTP/1.1 200 " } else { "HTTP/1.1 400 " };
            assert!(ask("GET", &some).starts_with(status), "without {missing}");
        }
        assert!(ask("POST", &GOOD).starts_with("HTTP/1.1 200 "));
        let old = ask("GET", &[GOOD[0], GOOD[1], GOOD[2], "Sec-WebSocket-Version: 8"]);
        assert!(
            old.starts_with("HTTP/1.1 400 ") && old.contains("\r\nSec-WebSocket-Version: 13\r\n"),
            "{old}"
        );
        for key in ["dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub25jZTA=", "dGhlIHNhbXBsZSBub25jZ?=="] {
            let key = format!("Sec-WebSocket-Key: {key}");
            assert!(ask("GET", &[GOOD[0], GOOD[1], &key, GOOD[3]]).starts_with("HTTP/1.1 400 "), "{key}");
        }
        let twice = [GOOD[0], GOOD[1], GOOD[2], GOOD[2], GOOD[3]];
        assert!(ask("GET", &twice).starts_with("HTTP/1.1 400 "));
    }

    #[test]
    fn base64_of_any_length() {
        // RFC 4648 §10.
        let vectors = ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"];
        for (n, text) in vectors.iter().enumerate() {
            assert_eq!(base64(&b"foobar"[..n]), *text);
        }
    }
}
