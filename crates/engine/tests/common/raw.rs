//! A peer made by hand: a socket, and messages as the test likes them.
#![allow(dead_code, clippy::unwrap_used, reason = "each test uses its own part; a failure is a failed test")]

use std::net::SocketAddr;

use samara_proto::ids::{Block, PeerId, WireHash};
use samara_proto::rng::Rng;
use samara_proto::wire::{Handshake, Message, Prefix, Reserved};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::LIMIT;

/// One end of a connection to a client under test.
pub(crate) struct Raw {
    pub(crate) stream: TcpStream,
}

/// The 68 bytes of a handshake that speaks BEP 6 and 10, with an id of its own.
pub(crate) fn handshake(hash: WireHash) -> [u8; 68] {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    let mut id = *b"-XX0000-............";
    let seed = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    Rng::new(seed).fill(&mut id[8..]);
    let prefix = Prefix { reserved: Reserved::ours(false, false), hash };
    Handshake { prefix, peer_id: PeerId(id) }.to_bytes()
}

impl Raw {
    /// Connects, and says nothing yet.
    pub(crate) async fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream }
    }

    /// Connects and shakes hands.
    pub(crate) async fn greeted(addr: SocketAddr, hash: WireHash) -> Self {
        let mut raw = Self::connect(addr).await;
        raw.write(&handshake(hash)).await;
        assert!(raw.read_handshake().await, "the handshake is answered");
        raw
    }

    /// Waits for somebody to connect, and shakes hands.
    pub(crate) async fn accept(listener: &TcpListener, hash: WireHash) -> Self {
        let (stream, _) = tokio::time::timeout(LIMIT, listener.accept()).await.unwrap().unwrap();
        let mut raw = Self { stream };
        assert!(raw.read_handshake().await);
        raw.write(&handshake(hash)).await;
        raw
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.stream.local_addr().unwrap()
    }

    /// Writes; that the other side hung up is for the test to find out by reading.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> bool {
        tokio::time::timeout(LIMIT, self.stream.write_all(bytes)).await.unwrap().is_ok()
    }

    pub(crate) async fn send(&mut self, message: Message<'_>) -> bool {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        self.write(&bytes).await
    }

    /// A block: its header, then `payload`.
    pub(crate) async fn send_block(&mut self, block: Block, payload: &[u8]) -> bool {
        let mut bytes = Vec::new();
        Message::Piece(block).encode(&mut bytes);
        bytes.extend_from_slice(payload);
        self.write(&bytes).await
    }

    pub(crate) async fn read_handshake(&mut self) -> bool {
        let mut bytes = [0; 68];
        tokio::time::timeout(LIMIT, self.stream.read_exact(&mut bytes)).await.unwrap().is_ok()
    }

    /// The next message that is not a keep-alive, from its id on; `None` once the other side hung up.
    pub(crate) async fn message(&mut self) -> Option<Vec<u8>> {
        let read = async {
            loop {
                let len = self.stream.read_u32().await.ok()?;
                let mut body = vec![0; len as usize];
                self.stream.read_exact(&mut body).await.ok()?;
                if len > 0 {
                    return Some(body);
                }
            }
        };
        tokio::time::timeout(LIMIT, read).await.expect("a message or an end comes in time")
    }

    /// The next block that we are asked for; `None` once the other side hung up.
    pub(crate) async fn request(&mut self) -> Option<Block> {
        loop {
            let message = self.message().await?;
            if let [6, body @ ..] = &message[..] {
                let word = |n: usize| u32::from_be_bytes(body[4 * n..][..4].try_into().unwrap());
                return Some(Block {
                    piece: samara_proto::ids::PieceIndex(word(0)),
                    offset: word(1),
                    len: word(2),
                });
            }
        }
    }

    /// Waits for the message with this id.
    pub(crate) async fn wait_for(&mut self, id: u8) {
        while self.message().await.expect("the message comes before the end")[0] != id {}
    }

    /// Waits until the other side hung up.
    pub(crate) async fn hung_up(&mut self) {
        let mut sink = vec![0; 65536];
        let read = async { while self.stream.read(&mut sink).await.is_ok_and(|n| n > 0) {} };
        tokio::time::timeout(LIMIT, read).await.expect("the other side hangs up");
    }
}
