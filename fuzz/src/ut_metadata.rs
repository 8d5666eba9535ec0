//! Extension messages (BEP 9, 10): what is accepted is written, and read back the same.

use samara_proto::wire::{ExtensionHandshake, MetadataMessage};

/// Longest client name that is kept, in characters.
const MAX_NAME: usize = 64;

/// Runs one input, as each of the two kinds of message.
pub fn run(data: &[u8]) {
    if let Ok(message) = MetadataMessage::parse(data) {
        metadata(&message, data);
    }
    if let Ok(handshake) = ExtensionHandshake::parse(data) {
        extension_handshake(&handshake);
    }
}

fn metadata(message: &MetadataMessage<'_>, data: &[u8]) {
    if let MetadataMessage::Data { data: part, .. } = message {
        assert!(data.ends_with(part), "the piece is what follows the dictionary");
    }
    let mut bytes = Vec::new();
    message.encode(&mut bytes);
    let again = MetadataMessage::parse(&bytes);
    assert!(again == Ok(*message) || (*message == MetadataMessage::Unknown && bytes.is_empty()));
}

fn extension_handshake(handshake: &ExtensionHandshake) {
    let name = handshake.client.as_deref().unwrap_or("x");
    assert!((1..=MAX_NAME).contains(&name.chars().count()) && !name.chars().any(char::is_control));
    assert!(handshake.listen_port != Some(0) && handshake.metadata_size != Some(0));
    let mut bytes = Vec::new();
    handshake.encode(&mut bytes);
    assert_eq!(ExtensionHandshake::parse(&bytes).as_ref(), Ok(handshake));
}
