//! A disk that fills up, falls short, or breaks.

use std::sync::atomic::Ordering::SeqCst;

use super::world::*;
use crate::disk::keeper::Job;
use crate::disk::{DiskConfig, DiskEvent, Events};

async fn until(events: &mut Events, mut found: impl FnMut(&DiskEvent) -> bool) -> Vec<DiskEvent> {
    let mut seen = Vec::new();
    while !seen.last().is_some_and(&mut found) {
        seen.push(events.recv().await.unwrap());
    }
    seen
}

#[test]
fn short_writes_are_completed() {
    let world = World::new(Version::V1, 1 << 16, &[file(100_000), file(77)], 3);
    run(async {
        let (disk, faults) = faulty(&config());
        faults.longest_write.store(1000, SeqCst);
        let (handle, mut events) = disk.open(world.spec().into(), world.none()).await.unwrap();
        store_all(&world, &disk, &handle, &mut events, &world.blocks(&world.wanted())).await;
        disk.shutdown().await;
    });
    assert_eq!(world.found(), world.model());
}

#[test]
fn a_full_disk_waits_for_room_and_loses_nothing_that_fits_into_memory() {
    let world = World::new(Version::Hybrid, 1 << 16, &[file(300_000)], 3);
    run(async {
        let (disk, faults) = faulty(&config());
        faults.set_room(100_000);
        let (handle, mut events) = disk.open(world.spec().into(), world.none()).await.unwrap();
        let mut batch = Vec::new();
        for block in world.blocks(&world.wanted()) {
            batch.push(world.job(disk.pool(), block).await);
        }
        handle.store(&mut batch);
        let mut seen = until(&mut events, |e| matches!(e, DiskEvent::Full { needed: 65536 })).await;
        disk.shared().keeper.push(Job::Probe);
        handle.sync();
        seen.extend(until(&mut events, |e| matches!(e, DiskEvent::Synced { .. })).await);
        assert!(
            !seen
                .iter()
                .any(|e| matches!(e, DiskEvent::Room | DiskEvent::Lost { .. } | DiskEvent::Failed(_)))
        );
        faults.set_room(1 << 20);
        disk.shared().keeper.push(Job::Probe);
        seen.extend(until(&mut events, |e| matches!(e, DiskEvent::Finished)).await);
        assert!(seen.iter().any(|e| matches!(e, DiskEvent::Room)));
        assert_eq!(good(&seen), world.wanted());
        disk.shutdown().await;
    });
    assert_eq!(world.found(), world.model());
}

#[test]
fn a_full_disk_gives_blocks_back_when_memory_is_short() {
    let world = World::new(Version::V1, 1 << 16, &[file(1 << 20)], 3);
    run(async {
        let (disk, faults) = faulty(&DiskConfig { budget: 1 << 18, ..config() });
        faults.set_room(0);
        let (handle, mut events) = disk.open(world.spec().into(), world.none()).await.unwrap();
        let blocks = world.blocks(&world.wanted());
        for &block in &blocks {
            let job = world.job(disk.pool(), block).await;
            handle.store(&mut vec![job]);
        }
        let seen = until(&mut events, |e| matches!(e, DiskEvent::Lost { .. })).await;
        assert_eq!(seen.iter().filter(|e| matches!(e, DiskEvent::Full { .. })).count(), 1);
        handle.close().await;
        disk.shutdown().await;
        assert_eq!(disk.pool().gauge().down, 0);
    });
}

#[test]
fn a_broken_disk_says_so_once() {
    let world = World::new(Version::V2, 1 << 16, &[file(1 << 18)], 3);
    run(async {
        let (disk, faults) = faulty(&config());
        faults.broken.store(true, SeqCst);
        let (handle, mut events) = disk.open(world.spec().into(), world.none()).await.unwrap();
        let mut seen = store_all(&world, &disk, &handle, &mut events, &world.blocks(&world.wanted())).await;
        handle.close().await;
        seen.extend(rest(&mut events).await);
        let failed: Vec<_> = seen.iter().filter(|e| matches!(e, DiskEvent::Failed(_))).collect();
        let [DiskEvent::Failed(error)] = failed[..] else { panic!("{failed:?}") };
        assert!(
            error.to_string().contains("cannot write") && error.to_string().contains("f0.part"),
            "{error}"
        );
        assert_eq!(seen.iter().filter(|e| matches!(e, DiskEvent::Lost { .. })).count(), 4);
        disk.shutdown().await;
    });
}

#[test]
fn synced_names_what_was_verified_and_only_after_the_sync() {
    let world = World::new(Version::V1, 1 << 16, &[file(1 << 18)], 3);
    run(async {
        let (disk, faults) = faulty(&config());
        let (handle, mut events) = disk.open(world.spec().into(), world.none()).await.unwrap();
        let seen = store_all(&world, &disk, &handle, &mut events, &world.blocks(&world.wanted())[..8]).await;
        assert_eq!((good(&seen).len(), faults.syncs.load(SeqCst)), (2, 0));
        handle.sync();
        let seen = until(&mut events, |e| matches!(e, DiskEvent::Synced { .. })).await;
        let Some(DiskEvent::Synced { pieces }) = seen.last() else { panic!("{seen:?}") };
        assert_eq!((pieces.len(), faults.syncs.load(SeqCst)), (2, 1));
        disk.shutdown().await;
    });
}
