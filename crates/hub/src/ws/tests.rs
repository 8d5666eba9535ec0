//! From the socket of a whole hub to the swarm and back, plain and encrypted.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tungstenite::protocol::Role;
use tungstenite::{Message, WebSocket};

use crate::Hub;
use crate::config::{Config, Options};

const HASH: &str = "0123456789abcdefghij";

/// A hub, and a folder for its files.
struct Rig {
    hub: Option<Hub>,
    dir: PathBuf,
}

impl Rig {
    fn start(name: &str, set: impl FnOnce(&PathBuf, &mut Options)) -> Self {
        let dir = std::env::temp_dir().join(format!("samara-hub-ws-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let mut options = Options {
            http: Some(vec!["127.0.0.1:0".parse().unwrap()]),
            workers: Some(2),
            ..Options::default()
        };
        set(&dir, &mut options);
        let hub = Hub::start(&Config::new(options).unwrap()).unwrap();
        Self { hub: Some(hub), dir }
    }

    fn http(&self) -> SocketAddr {
        self.hub.as_ref().unwrap().http()[0]
    }

    fn https(&self) -> SocketAddr {
        self.hub.as_ref().unwrap().https()[0]
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if let Some(hub) = self.hub.take() {
            hub.stop();
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Asks for a WebSocket; the head of the answer.
fn ask(stream: &mut (impl Read + Write), target: &str, more: &str) -> String {
    let request = format!(
        "GET {target} HTTP/1.1\r\nHost: t\r\nOrigin: https://page.example\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

fn open<S: Read + Write>(mut stream: S, target: &str) -> WebSocket<S> {
    let head = ask(&mut stream, target, "");
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    WebSocket::from_raw_socket(stream, Role::Client, None)
}

fn plain(rig: &Rig, target: &str) -> WebSocket<TcpStream> {
    open(TcpStream::connect(rig.http()).unwrap(), target)
}

fn announce(peer: char, offers: &str) -> Message {
    let peer = peer.to_string().repeat(20);
    format!(r#"{{"action":"announce","info_hash":"{HASH}","peer_id":"{peer}","left":1,"offers":[{offers}]}}"#)
        .into()
}

fn hear<S: Read + Write>(client: &mut WebSocket<S>) -> String {
    client.read().unwrap().into_text().unwrap().to_string()
}

/// One peer hears of the other.
fn meet<A: Read + Write, B: Read + Write>(a: &mut WebSocket<A>, b: &mut WebSocket<B>) {
    a.send(announce('a', "")).unwrap();
    assert!(hear(a).contains(r#""interval":120"#));
    let sdp = "x".repeat(10_000);
    let offer = format!(r#"{{"offer_id":"{}","offer":{{"type":"offer","sdp":"{sdp}"}}}}"#, "o".repeat(20));
    b.send(announce('b', &offer)).unwrap();
    assert!(hear(b).contains(r#""incomplete":2"#));
    assert!(hear(a).contains(&sdp));
}

#[test]
fn pages_become_websockets_where_clients_announce() {
    let rig = Rig::start("plain", |_, _| {});
    meet(&mut plain(&rig, "/"), &mut plain(&rig, "/announce"));
    for target in ["/scrape", "/elsewhere"] {
        let head = ask(&mut TcpStream::connect(rig.http()).unwrap(), target, "Connection: close\r\n");
        assert!(!head.starts_with("HTTP/1.1 101 "), "{target}: {head}");
    }
}

#[test]
fn encrypted_too_and_with_plain_ones() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let rig = Rig::start("tls", |dir, options| {
        fs::write(dir.join("cert"), made.cert.pem()).unwrap();
        fs::write(dir.join("key"), made.signing_key.serialize_pem()).unwrap();
        options.https = Some(vec!["127.0.0.1:0".parse().unwrap()]);
        (options.tls_cert, options.tls_key) = (Some(dir.join("cert")), Some(dir.join("key")));
    });
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
    let encrypted = || {
        let name = ServerName::try_from("localhost").unwrap();
        let tls = ClientConnection::new(Arc::clone(&config), name).unwrap();
        open(StreamOwned::new(tls, TcpStream::connect(rig.https()).unwrap()), "/announce")
    };
    meet(&mut encrypted(), &mut encrypted());
    meet(&mut encrypted(), &mut plain(&rig, "/"));
}

#[test]
fn keys_and_lists_hold_here_too() {
    let rig = Rig::start("keys", |dir, options| {
        fs::write(dir.join("keys"), "abcdefgh\n").unwrap();
        fs::write(dir.join("deny"), "ff".repeat(20)).unwrap();
        (options.passkeys, options.deny_list) = (Some(dir.join("keys")), Some(dir.join("deny")));
    });
    let refused = ask(&mut TcpStream::connect(rig.http()).unwrap(), "/announce", "");
    assert!(refused.starts_with("HTTP/1.1 403 "), "{refused}");
    let mut client = plain(&rig, "/abcdefgh/announce");
    let denied = announce('a', "").to_string().replace(HASH, &"ÿ".repeat(20));
    client.send(denied.into()).unwrap();
    assert!(hear(&mut client).contains("does not serve this torrent"));
    client.send(announce('a', "")).unwrap();
    assert!(hear(&mut client).contains(r#""incomplete":1"#));
}

#[test]
fn the_numbers_are_told() {
    let rig = Rig::start("numbers", |_, _| {});
    let mut client = plain(&rig, "/");
    client.send(announce('a', "")).unwrap();
    hear(&mut client);
    let get = |target: &str| {
        let mut stream = TcpStream::connect(rig.http()).unwrap();
        write!(stream, "GET {target} HTTP/1.1\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    };
    while !get("/stats").contains(r#""webrtc":{"connections":1,"torrents":1,"peers":1,"announces":1,"#) {}
    let metrics = get("/metrics");
    for line in ["samara_hub_websockets 1", "samara_hub_signalling_messages_total{kind=\"announce\"} 1"] {
        assert!(metrics.lines().any(|l| l == line), "{line} is not in\n{metrics}");
    }
    assert!(metrics.lines().any(|l| l == "samara_hub_http_connections 1"), "{metrics}");
}
