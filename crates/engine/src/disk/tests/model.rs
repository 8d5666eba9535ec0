//! Random torrents, orders and selections against a program that writes each file at once.

use proptest::prelude::*;

use samara_proto::rng::Rng;

use super::world::*;
use crate::disk::{Disk, DiskEvent};

fn files() -> impl Strategy<Value = Vec<TestFile>> {
    let len = prop_oneof![Just(0u64), 1..2000u64, 10_000..90_000u64];
    let one = (len, prop::bool::weighted(0.15), prop::bool::weighted(0.8));
    prop::collection::vec(one.prop_map(|(len, pad, wanted)| TestFile { len, pad, wanted }), 1..12)
}

fn version() -> impl Strategy<Value = Version> {
    prop_oneof![Just(Version::V1), Just(Version::V2), Just(Version::Hybrid)]
}

fn piece_length(version: Version, exp: u32) -> u32 {
    // v1 allows for anything.
    if version == Version::V1 { (16384 << exp) - 5000 } else { 16384 << exp }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn what_is_stored_is_what_was_sent(
        version in version(), exp in 0u32..4, files in files(), seed in any::<u64>(), budget in 4usize..64,
    ) {
        let world = World::new(version, piece_length(version, exp), &files, seed);
        run(async {
            let disk = Disk::start(&crate::disk::DiskConfig { budget: budget << 14, max_open_files: 3, ..config() }).unwrap();
            let (handle, mut events) = disk.open(world.spec().into(), world.none()).await.unwrap();
            let wanted = world.wanted();
            let mut blocks = world.blocks(&wanted);
            Rng::new(seed).shuffle(&mut blocks);
            // Some come twice.
            let again = blocks.len() / 4;
            blocks.extend_from_within(..again);
            let mut seen = store_all(&world, &disk, &handle, &mut events, &blocks).await;
            assert_eq!(good(&seen), wanted);
            read_and_compare(&world, &handle, &wanted).await;
            assert!(disk.shared().io.handles.len() <= 3);
            handle.close().await;
            seen.extend(rest(&mut events).await);
            assert!(seen.iter().any(|e| matches!(e, DiskEvent::Finished)));
            assert_eq!(disk.pool().gauge().down, 0);
            disk.shutdown().await;
        });
        prop_assert_eq!(world.found(), world.model());
    }
}

#[test]
fn a_bad_block_spoils_its_piece_and_leaves_no_trace() {
    for version in [Version::V1, Version::V2, Version::Hybrid] {
        let world = World::new(version, 65536, &[file(200_000)], 7);
        run(async {
            let disk = Disk::start(&config()).unwrap();
            let (handle, mut events) = disk.open(world.spec().into(), world.none()).await.unwrap();
            let blocks = world.blocks(&world.wanted());
            let mut bad = Vec::new();
            for &block in &blocks[..4] {
                bad.push(world.job(disk.pool(), block).await);
            }
            bad[2].data[77] ^= 1;
            handle.store(&mut bad);
            let event = events.recv().await;
            let Some(DiskEvent::Verified { ok: false, digests, .. }) = event else { panic!("{event:?}") };
            let right = world.digests(&blocks[..4]);
            let same: Vec<_> = digests.iter().zip(&right).map(|(came, right)| came == right).collect();
            assert_eq!((digests.len(), same), (4, vec![true, true, false, true]), "{version:?}");
            assert!(world.found().is_empty(), "nothing unverified is written");
            handle.discard(blocks[0].piece, None);
            let seen = store_all(&world, &disk, &handle, &mut events, &blocks).await;
            assert_eq!(good(&seen), world.wanted());
            disk.shutdown().await;
        });
        assert_eq!(world.found(), world.model());
    }
}

#[test]
fn of_a_bad_piece_only_what_is_discarded_must_come_again() {
    for version in [Version::V1, Version::V2, Version::Hybrid] {
        let world = World::new(version, 65536, &[file(4 * 16384 - 700)], 7);
        run(async {
            let disk = Disk::start(&config()).unwrap();
            let (handle, mut events) = disk.open(world.spec().into(), world.none()).await.unwrap();
            let blocks = world.blocks(&world.wanted());
            let mut jobs = Vec::new();
            for &block in &blocks {
                jobs.push(world.job(disk.pool(), block).await);
            }
            jobs[1].data[0] ^= 1;
            jobs[3].data[5] ^= 1;
            handle.store(&mut jobs);
            assert!(matches!(events.recv().await, Some(DiskEvent::Verified { ok: false, .. })));
            // What was not discarded does not come again: a second version of it is dropped.
            handle.discard(blocks[0].piece, Some(vec![1, 3]));
            for n in [0, 3, 1] {
                let mut job = world.job(disk.pool(), blocks[n]).await;
                job.data[9] ^= u8::from(n == 0);
                handle.store(&mut vec![job]);
            }
            let event = events.recv().await;
            assert!(matches!(event, Some(DiskEvent::Verified { ok: true, .. })), "{version:?}: {event:?}");
            handle.close().await;
            disk.shutdown().await;
        });
        assert_eq!(world.found(), world.model());
    }
}

#[test]
fn a_bad_piece_gives_way_when_memory_is_short_and_is_told_of_as_lost() {
    let world = World::new(Version::V2, 4 * 16384, &[file(8 * 16384)], 7);
    run(async {
        let disk = Disk::start(&crate::disk::DiskConfig { budget: 4 << 14, ..config() }).unwrap();
        let (handle, mut events) = disk.open(world.spec().into(), world.none()).await.unwrap();
        let blocks = world.blocks(&world.wanted());
        let mut jobs = Vec::new();
        for &block in &blocks[..4] {
            jobs.push(world.job(disk.pool(), block).await);
        }
        jobs[1].data[0] ^= 1;
        handle.store(&mut jobs);
        assert!(matches!(events.recv().await, Some(DiskEvent::Verified { ok: false, .. })));
        assert!(matches!(events.recv().await, Some(DiskEvent::Lost { .. })));
        assert!(world.found().is_empty(), "nothing that is known to be bad is written");
        handle.discard(blocks[0].piece, None);
        let seen = store_all(&world, &disk, &handle, &mut events, &blocks).await;
        assert_eq!(good(&seen), world.wanted());
        disk.shutdown().await;
    });
}

#[test]
fn leaves_are_read_of_what_is_had_and_of_nothing_else() {
    for version in [Version::V2, Version::Hybrid] {
        let world = World::new(version, 1 << 20, &[file((1 << 20) + 500), file(70_000)], 7);
        run(async {
            let disk = Disk::start(&config()).unwrap();
            let (handle, mut events) = disk.open(world.spec().into(), world.none()).await.unwrap();
            let mut leaves = async |piece| {
                handle.leaves(piece);
                loop {
                    if let Some(DiskEvent::Leaves { leaves, .. }) = events.recv().await {
                        return leaves;
                    }
                }
            };
            assert!(leaves(world.wanted()[0]).await.is_empty());
            let blocks = world.blocks(&world.wanted());
            for &block in &blocks {
                handle.store(&mut vec![world.job(disk.pool(), block).await]);
            }
            for piece in world.wanted() {
                while !handle.has(piece) {
                    tokio::task::yield_now().await;
                }
                let own: Vec<_> = blocks.iter().filter(|b| b.piece == piece).copied().collect();
                let right: Vec<_> = world.digests(&own).into_iter().map(|(_, digest)| digest).collect();
                assert_eq!(leaves(piece).await, right, "{version:?}");
            }
            assert!(leaves(samara_proto::ids::PieceIndex(99)).await.is_empty());
            disk.shutdown().await;
        });
    }
}

#[test]
fn of_a_piece_under_suspicion_the_digests_are_told_also_if_blocks_were_written_early() {
    // In a hybrid the last blocks are padding, and the last one that comes is shorter than what is hashed for v1.
    let files = [file(5 * 16384 + 100), file(200)];
    for version in [Version::V1, Version::V2, Version::Hybrid] {
        let world = World::new(version, 8 * 16384, &files, 7);
        run(async {
            let disk = Disk::start(&crate::disk::DiskConfig { budget: 2 << 14, ..config() }).unwrap();
            let (handle, mut events) = disk.open(world.spec().into(), world.none()).await.unwrap();
            let blocks = world.blocks(&world.wanted()[..1]);
            for block in blocks.iter().rev() {
                let job = world.job(disk.pool(), *block).await;
                handle.store(&mut vec![crate::disk::StoreJob { suspected: true, ..job }]);
            }
            let event = events.recv().await;
            let Some(DiskEvent::Verified { ok: true, digests, .. }) = event else { panic!("{event:?}") };
            assert_eq!(digests, world.digests(&blocks), "{version:?}");
            disk.shutdown().await;
        });
    }
}

#[test]
fn what_is_not_had_is_not_served() {
    let world = World::new(Version::V1, 32768, &[file(70_000)], 1);
    // It could be read, but nobody has checked it.
    world.put(&World::name(0).with_extension("part"), &world.contents[0]);
    run(async {
        let disk = Disk::start(&config()).unwrap();
        let (handle, mut events) = disk.open(world.spec().into(), world.none()).await.unwrap();
        let blocks = world.blocks(&world.wanted());
        store_all(&world, &disk, &handle, &mut events, &blocks[..2]).await;
        let mut ask = blocks.clone();
        // Beyond the end of the piece, and of the torrent.
        ask.push(samara_proto::ids::Block { offset: 16384, len: 16385, ..blocks[0] });
        ask.push(samara_proto::ids::Block { piece: samara_proto::ids::PieceIndex(99), ..blocks[0] });
        let served: Vec<_> = handle.read(ask).await.into_iter().map(|(_, data)| data.is_some()).collect();
        assert_eq!(served, [true, true, false, false, false, false, false]);
        disk.shutdown().await;
        assert!(
            handle.read(blocks).await.iter().all(|(_, data)| data.is_none()),
            "after the end nothing hangs"
        );
        handle.close().await;
    });
}

#[test]
fn the_gap_after_a_v2_file_is_served_as_zeros() {
    let world = World::new(Version::V2, 32768, &[file(1000), file(20_000)], 1);
    run(async {
        let disk = Disk::start(&config()).unwrap();
        let (handle, mut events) = disk.open(world.spec().into(), world.none()).await.unwrap();
        store_all(&world, &disk, &handle, &mut events, &world.blocks(&world.wanted())).await;
        // Buffers that held something else before.
        drop(handle.read(world.blocks(&world.wanted())).await);
        let whole = samara_proto::ids::Block {
            len: 16384,
            ..world.layout.block(samara_proto::ids::PieceIndex(0), 0)
        };
        let served = handle.read(vec![whole]).await;
        let bytes = served[0].1.as_ref().unwrap();
        assert_eq!(bytes[..1000], world.contents[0]);
        assert_eq!(bytes[1000..], [0; 15384]);
        disk.shutdown().await;
    });
}

#[test]
fn neighbours_are_read_in_one_call_and_pieces_written_in_one() {
    let world = World::new(Version::Hybrid, 1 << 18, &[file(1 << 19)], 1);
    run(async {
        let (disk, faults) = faulty(&config());
        let (handle, mut events) = disk.open(world.spec().into(), world.none()).await.unwrap();
        store_all(&world, &disk, &handle, &mut events, &world.blocks(&world.wanted())).await;
        assert_eq!(faults.writes.load(std::sync::atomic::Ordering::SeqCst), 2);
        read_and_compare(&world, &handle, &world.wanted()).await;
        assert_eq!(faults.reads.load(std::sync::atomic::Ordering::SeqCst), 2);
        disk.shutdown().await;
    });
}
