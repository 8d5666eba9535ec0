//! Selections that change while pieces come, and where the bytes of others go meanwhile.

use proptest::prelude::*;

use samara_proto::rng::Rng;

use super::world::*;
use crate::disk::{Disk, DiskConfig, DiskEvent, StorageError};

fn files() -> impl Strategy<Value = Vec<TestFile>> {
    let len = prop_oneof![Just(0u64), 1..2000u64, 10_000..90_000u64];
    prop::collection::vec(
        (len, any::<bool>()).prop_map(|(len, wanted)| TestFile { len, pad: false, wanted }),
        1..8,
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_chosen_on_the_way_in_the_end_all_is_where_it_belongs(
        hybrid: bool, exp in 0u32..3, files in files(), seed in any::<u64>(), budget in 6usize..40,
    ) {
        let version = if hybrid { Version::Hybrid } else { Version::V1 };
        let mut world = World::new(version, 16384 << exp, &files, seed);
        let mut rng = Rng::new(seed);
        run(async {
            let disk = Disk::start(&DiskConfig { budget: budget << 14, ..config() }).unwrap();
            let (handle, mut events) = disk.open(world.spec().into(), world.none()).await.unwrap();
            let all: Vec<_> = world.pieces().collect();
            let mut blocks = world.blocks(&all);
            rng.shuffle(&mut blocks);
            let mut seen = Vec::new();
            for chunk in blocks.chunks(4) {
                for &block in chunk {
                    // One at a time: little memory is never held by a batch.
                    handle.store(&mut vec![world.job(disk.pool(), block).await]);
                }
                handle.select(world.files.iter().map(|_| rng.below(2) == 0).collect()).await.unwrap();
                seen.extend(std::iter::from_fn(|| events.try_recv()));
            }
            let complete = |seen: &[DiskEvent]| good(seen).len();
            // A piece of nothing but padding gets no block and no verdict.
            let expected: std::collections::BTreeSet<_> = blocks.iter().map(|b| b.piece).collect();
            let bad =
                |e: &DiskEvent| matches!(e, DiskEvent::Verified { ok: false, .. } | DiskEvent::Failed(_));
            while complete(&seen) < expected.len() {
                assert!(!seen.iter().any(bad), "{seen:?}");
                seen.push(events.recv().await.unwrap());
            }
            handle.select(vec![true; world.files.len()]).await.unwrap();
            let had: Vec<_> = expected.into_iter().collect();
            read_and_compare(&world, &handle, &had).await;
            assert!(!world.spec().parts.exists(), "nothing in it is needed");
            handle.close().await;
            let rest = rest(&mut events).await;
            assert!(rest.iter().any(|e| matches!(e, DiskEvent::Finished)), "{rest:?}");
            disk.shutdown().await;
        });
        world.files.iter_mut().for_each(|file| file.wanted = true);
        prop_assert_eq!(world.found(), world.model());
    }
}

/// Three files that share pieces, of which the middle one is wanted, and fetched.
fn edges() -> World {
    let skipped = |len| TestFile { wanted: false, ..file(len) };
    World::new(Version::V1, 32_768, &[skipped(50_000), file(50_000), skipped(50_000)], 5)
}

#[test]
fn the_part_store_is_kept_while_it_serves_the_edges_and_goes_when_they_have_files() {
    let world = edges();
    run(async {
        let disk = Disk::start(&config()).unwrap();
        let (handle, mut events) = disk.open(world.spec().into(), world.none()).await.unwrap();
        store_all(&world, &disk, &handle, &mut events, &world.blocks(&world.wanted())).await;
        assert!(world.spec().parts.exists());
        read_and_compare(&world, &handle, &world.wanted()).await;
        handle.select(vec![true, true]).await.unwrap();
        assert!(world.spec().parts.exists(), "the last one is still in it");
        handle.select(vec![true; 3]).await.unwrap();
        assert!(!world.spec().parts.exists());
        read_and_compare(&world, &handle, &world.wanted()).await;
        handle.sync();
        disk.shutdown().await;
    });
    assert_eq!(world.found().len(), 3);
}

#[test]
fn beside_the_files_it_goes_with_the_last_wanted_byte() {
    for whole in [true, false] {
        let world = edges();
        run(async {
            let disk = Disk::start(&config()).unwrap();
            let mut spec = world.spec();
            spec.parts = spec.root.join(".x.parts");
            let parts = spec.parts.clone();
            let (handle, mut events) = disk.open(spec.into(), world.none()).await.unwrap();
            let wanted = world.wanted();
            let some = if whole { &wanted[..] } else { &wanted[1..] };
            store_all(&world, &disk, &handle, &mut events, &world.blocks(some)).await;
            handle.close().await;
            assert_eq!(parts.exists(), !whole, "what is not done goes on from there");
            disk.shutdown().await;
        });
    }
}

#[test]
fn a_move_that_fails_changes_nothing() {
    let world = edges();
    run(async {
        let (disk, faults) = faulty(&config());
        let (handle, mut events) = disk.open(world.spec().into(), world.none()).await.unwrap();
        store_all(&world, &disk, &handle, &mut events, &world.blocks(&world.wanted())).await;
        faults.set_room(0);
        let failed: Result<(), StorageError> = handle.select(vec![true; 3]).await;
        assert!(failed.unwrap_err().is_full());
        read_and_compare(&world, &handle, &world.wanted()).await;
        faults.set_room(1 << 20);
        handle.select(vec![true; 3]).await.unwrap();
        read_and_compare(&world, &handle, &world.wanted()).await;
        disk.shutdown().await;
    });
}

#[test]
fn files_may_be_synced_while_others_come_to_be_wanted() {
    for _ in 0..100 {
        let world = edges();
        run(async {
            let disk = Disk::start(&config()).unwrap();
            let (handle, mut events) = disk.open(world.spec().into(), world.none()).await.unwrap();
            store_all(&world, &disk, &handle, &mut events, &world.blocks(&world.wanted())).await;
            handle.sync();
            handle.select(vec![true; 3]).await.unwrap();
            handle.close().await;
            let rest = rest(&mut events).await;
            assert!(!rest.iter().any(|e| matches!(e, DiskEvent::Failed(_))), "{rest:?}");
            disk.shutdown().await;
        });
    }
}
