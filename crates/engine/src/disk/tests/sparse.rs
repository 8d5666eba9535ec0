//! Zeros that were received take no room, and overwrite what was there all the same.

use std::fs;
use std::os::unix::fs::MetadataExt;

use super::world::*;
use crate::disk::Disk;

const PIECE: u32 = 1 << 16;

/// A file of zeros but for its third and its last-but-one piece, received in this order of pieces.
fn fetch(world: &World, order: &[u32]) {
    run(async {
        let disk = Disk::start(&config()).unwrap();
        let (handle, mut events) = disk.open(world.spec().into(), world.none()).await.unwrap();
        let pieces: Vec<_> = order.iter().map(|n| samara_proto::ids::PieceIndex(*n)).collect();
        let seen = store_all(world, &disk, &handle, &mut events, &world.blocks(&pieces)).await;
        assert_eq!(good(&seen).len(), pieces.len());
        handle.close().await;
        disk.shutdown().await;
    });
}

fn world() -> World {
    let mut world = World::new(Version::V1, PIECE, &[file(u64::from(PIECE) * 20 + 100)], 5);
    for (n, piece) in world.contents[0].chunks_mut(PIECE as usize).enumerate() {
        if n != 2 && n != 19 {
            piece.fill(0);
        }
    }
    world
}

#[test]
fn zeros_stay_holes_in_any_order() {
    for order in [(0..21).collect::<Vec<u32>>(), (0..21).rev().collect()] {
        let world = world();
        fetch(&world, &order);
        let path = world.root().join(World::name(0));
        assert!(fs::read(&path).unwrap() == world.contents[0]);
        let room = fs::metadata(&path).unwrap().blocks() * 512;
        // Two pieces, and a page for each time the file was made longer by a zero.
        assert!(room <= u64::from(2 * PIECE) + 20 * 4096, "{room} bytes for two pieces");
    }
}

#[test]
fn zeros_overwrite_what_was_there() {
    let world = world();
    world.put(&World::name(0).with_extension("part"), &vec![7; 20 * PIECE as usize]);
    fetch(&world, &(0..21).collect::<Vec<_>>());
    assert!(fs::read(world.root().join(World::name(0))).unwrap() == world.contents[0]);
}
