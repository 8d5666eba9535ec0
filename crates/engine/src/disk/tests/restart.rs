//! Ending without warning, and beginning again.

use samara_proto::rng::Rng;

use super::world::*;
use crate::disk::{Disk, DiskConfig, DiskEvent};

#[test]
fn after_a_crash_what_was_written_is_found_and_the_rest_is_fetched() {
    for crash_after in [0, 3, 11, 19, 27] {
        let world = World::new(Version::Hybrid, 1 << 16, &[file(200_000), file(10), file(190_000)], 3);
        let mut blocks = world.blocks(&world.wanted());
        Rng::new(crash_after as u64).shuffle(&mut blocks);
        let written = run(async {
            let disk = Disk::start(&DiskConfig { budget: 1 << 17, ..config() }).unwrap();
            let (handle, mut events) = disk.open(world.spec().into(), world.none()).await.unwrap();
            for &block in blocks.iter().take(crash_after) {
                let job = world.job(disk.pool(), block).await;
                handle.store(&mut vec![job]);
            }
            let seen: Vec<_> = std::iter::from_fn(|| events.try_recv()).collect();
            disk.crash();
            good(&seen)
        });
        run(async {
            let disk = Disk::start(&config()).unwrap();
            let (handle, mut events) = disk.open(world.spec().into(), world.none()).await.unwrap();
            let mut missing = Vec::new();
            for piece in world.wanted() {
                if !handle.check(piece, world.expected(piece)).await {
                    missing.push(piece);
                }
            }
            assert!(written.iter().all(|p| !missing.contains(p)), "what was announced is there");
            let mut seen = store_all(&world, &disk, &handle, &mut events, &world.blocks(&missing)).await;
            handle.close().await;
            seen.extend(rest(&mut events).await);
            assert!(seen.iter().any(|e| matches!(e, DiskEvent::Finished)));
            disk.shutdown().await;
        });
        assert_eq!(world.found(), world.model());
    }
}

#[test]
fn dropping_everything_hangs_nobody() {
    let world = World::new(Version::V1, 1 << 16, &[file(200_000)], 3);
    run(async {
        let disk = Disk::start(&config()).unwrap();
        let (handle, mut events) = disk.open(world.spec().into(), world.none()).await.unwrap();
        let check =
            handle.check(samara_proto::ids::PieceIndex(0), world.expected(samara_proto::ids::PieceIndex(0)));
        drop(disk);
        assert!(!check.await);
        handle.close().await;
        assert!(events.recv().await.is_none());
    });
}
