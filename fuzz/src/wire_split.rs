//! A stream of messages fed in any split is the stream fed whole; what was read is written back; memory is bounded.

use samara_proto::wire::{DecodeError, Decoder, Message};

use super::input::Input;

/// The longest message that is buffered is a bitfield of a torrent of unknown size.
const MAX_BUFFERED: usize = 2 * 1024 * 1024;

/// Runs one input: where to split, whether the number of pieces is known, and the stream.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let (seed, pieces) = (input.long(), input.short());
    let stream = input.0;
    let mut rng = samara_proto::rng::Rng::new(seed);
    let whole = Feed::new(pieces).all(stream);
    let mut parts = Feed::new(pieces);
    let mut rest = stream;
    while !rest.is_empty() && parts.end.is_none() {
        let (part, later) = rest.split_at((1 + rng.index(40)).min(rest.len()));
        parts.feed(part);
        rest = later;
    }
    assert_eq!(parts.seen, whole.seen);
    assert_eq!(parts.end, whole.end);
}

/// A decoder, and what came out of it.
struct Feed {
    decoder: Decoder,
    /// Bytes of payload that the caller takes by itself.
    payload: u32,
    seen: Vec<Seen>,
    end: Option<DecodeError>,
}

/// A message as its bytes, except for those that carry none of their own.
type Seen = (std::mem::Discriminant<Message<'static>>, Vec<u8>);

impl Feed {
    fn new(pieces: u16) -> Self {
        let mut decoder = Decoder::default();
        if pieces > 0 {
            decoder.set_num_pieces(pieces.into());
        }
        Self { decoder, payload: 0, seen: Vec::new(), end: None }
    }

    fn all(mut self, stream: &[u8]) -> Self {
        self.feed(stream);
        self
    }

    fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.end.is_none() {
            if self.payload > 0 {
                let taken = bytes.len().min(self.payload as usize);
                self.payload -= taken as u32;
                bytes = &bytes[taken..];
                continue;
            }
            match self.decoder.decode(bytes) {
                Ok((taken, message)) => {
                    assert!(taken > 0, "no progress");
                    if let Some(Message::Piece(block)) = message {
                        self.payload = block.len;
                    }
                    self.seen.extend(message.map(|m| rewritten(&m)));
                    bytes = &bytes[taken..];
                }
                Err(e) => self.end = Some(e),
            }
            assert!(self.decoder.buffered() <= MAX_BUFFERED);
        }
    }
}

/// Its bytes, which must be read as the same message again.
fn rewritten(message: &Message<'_>) -> Seen {
    let mut bytes = Vec::new();
    message.encode(&mut bytes);
    let mut decoder = Decoder::default();
    assert_eq!(decoder.decode(&bytes), Ok((bytes.len(), Some(*message))));
    (kind(message), bytes)
}

fn kind(message: &Message<'_>) -> std::mem::Discriminant<Message<'static>> {
    match *message {
        Message::Bitfield(_) => std::mem::discriminant(&Message::Bitfield(&[])),
        Message::Extended(id, _) => std::mem::discriminant(&Message::Extended(id, &[])),
        Message::Hashes(request, _) => std::mem::discriminant(&Message::Hashes(request, &[])),
        Message::KeepAlive => std::mem::discriminant(&Message::KeepAlive),
        // The rest is told apart by its bytes.
        _ => std::mem::discriminant(&Message::Choke),
    }
}
