//! Fetching by the hash alone, among peers that lie about what it stands for.
#![allow(clippy::unwrap_used, reason = "a failure is a failed test")]

mod common;

use common::raw::Raw;
use common::{Temp, address, client, complete, download, make, tree, until};
use samara_engine::{AddSource, AddTorrent, Mode, PeerState, TorrentEvent};
use samara_proto::metainfo::Format;
use samara_proto::peer::{Departure, Violation};
use samara_proto::wire::{ExtensionHandshake, Message, MetadataMessage};

/// What the liar calls `ut_metadata`, and what Samara does.
const THEIRS: u8 = 5;
const OURS: u8 = 1;
const PIECE: usize = 16 * 1024;

/// Says it has the metadata, sends garbage for its first piece and refuses the rest. True once it has.
async fn spoil(liar: &mut Raw, size: u32) {
    let (mut hello, ut_metadata) = (Vec::new(), Some(THEIRS));
    ExtensionHandshake { ut_metadata, metadata_size: Some(size), ..Default::default() }.encode(&mut hello);
    liar.send(Message::Extended(0, &hello)).await;
    for _ in 0..size.div_ceil(PIECE as u32) {
        let piece = loop {
            let message = liar.message().await.expect("it is asked");
            if let [20, THEIRS, payload @ ..] = &message[..]
                && let Ok(MetadataMessage::Request(piece)) = MetadataMessage::parse(payload)
            {
                break piece;
            }
        };
        let garbage = vec![7; PIECE];
        let mut answer = Vec::new();
        match piece {
            0 => MetadataMessage::Data { piece, total: Some(size), data: &garbage }.encode(&mut answer),
            _ => MetadataMessage::Reject(piece).encode(&mut answer),
        }
        liar.send(Message::Extended(OURS, &answer)).await;
    }
}

#[tokio::test]
async fn who_spoils_the_metadata_of_several_is_named_by_the_right_one() {
    let temp = Temp::new("spoilt");
    let from = temp.join("from");
    let names: Vec<_> = (0..400).map(|n| format!("{n:0>100}")).collect();
    let files: Vec<_> = names.iter().map(|name| (name.as_str(), 10)).collect();
    let metainfo = make(&from, Format::V1, &files, 16_384);
    let size = metainfo.info.raw().len();
    assert!(size > 3 * PIECE, "several pieces of metadata");

    let leech = client(None).await;
    let source = AddSource::Magnet { hashes: metainfo.info.hashes(), name: None };
    let mut fetched = leech.add(AddTorrent::new(source, temp.join("to"))).await.unwrap();
    let mut liar = Raw::greeted(address(&leech), metainfo.info.hashes().primary()).await;
    spoil(&mut liar, size as u32).await;
    let at_work = fetched.snapshot().await.unwrap().metadata.unwrap();
    assert_eq!(at_work.total, size.div_ceil(PIECE) as u32);

    let seeder = client(None).await;
    let mut add = download(&metainfo, &from, &[address(&leech)]);
    add.mode = Mode::Seed;
    seeder.add(add).await.unwrap();
    let banned =
        until(&mut fetched, |e| matches!(e, TorrentEvent::Peer { state: PeerState::Banned, .. })).await;
    let TorrentEvent::Peer { addr, reason, .. } = banned else { unreachable!() };
    assert_eq!((addr, reason), (liar.addr(), Some(Departure::Violation(Violation::BadMetadata))));
    complete(&mut fetched).await;
    assert!(tree(&temp.join("to")) == tree(&from));
    leech.shutdown().await;
    seeder.shutdown().await;
}
