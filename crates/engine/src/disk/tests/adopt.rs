//! What stood there before; selection; links and attributes.

use std::path::Path;

use samara_proto::bitfield::Bitfield;
use samara_proto::ids::PieceIndex;

use super::world::*;
use crate::disk::{Disk, DiskEvent, StorageSpec};

/// Opens, checks every piece, downloads what is missing, closes. Returns what was found and the events.
async fn get(
    disk: &Disk,
    world: &World,
    spec: StorageSpec,
    have: Bitfield,
) -> (Vec<PieceIndex>, Vec<DiskEvent>) {
    let (handle, mut events) = disk.open(spec.into(), have).await.unwrap();
    let mut found = Vec::new();
    for piece in world.pieces() {
        if handle.check(piece, world.expected(piece)).await {
            found.push(piece);
        }
    }
    let missing: Vec<_> = world.wanted().into_iter().filter(|p| !found.contains(p)).collect();
    let mut seen = store_all(world, disk, &handle, &mut events, &world.blocks(&missing)).await;
    assert_eq!(good(&seen), missing);
    read_and_compare(world, &handle, &world.wanted()).await;
    handle.close().await;
    seen.extend(rest(&mut events).await);
    (found, seen)
}

fn run_get(world: &World) -> (Vec<PieceIndex>, Vec<DiskEvent>) {
    run(async {
        let disk = Disk::start(&config()).unwrap();
        let result = get(&disk, world, world.spec(), world.none()).await;
        disk.shutdown().await;
        result
    })
}

#[test]
fn a_complete_file_is_taken_over_untouched() {
    let world = World::new(Version::V1, 1 << 16, &[file(200_000)], 3);
    world.put(&World::name(0), &world.contents[0]);
    let before = std::fs::metadata(world.root().join(World::name(0))).unwrap().modified().unwrap();
    let (found, seen) = run_get(&world);
    assert_eq!(found, world.wanted());
    assert!(seen.iter().any(|e| matches!(e, DiskEvent::Finished)));
    assert_eq!(std::fs::metadata(world.root().join(World::name(0))).unwrap().modified().unwrap(), before);
}

#[test]
fn a_partial_or_damaged_file_is_completed() {
    let world = World::new(Version::Hybrid, 1 << 16, &[file(200_000), file(200_000)], 3);
    world.put(&World::name(0), &world.contents[0][..100_000]);
    let mut damaged = world.contents[2].clone();
    damaged[150_000] ^= 1;
    world.put(&World::name(2), &damaged);
    let (found, seen) = run_get(&world);
    assert_eq!(found.len(), 1 + 3);
    assert!(!seen.iter().any(|e| matches!(e, DiskEvent::Displaced { .. })));
    assert_eq!(world.found(), world.model());
}

#[test]
fn a_different_file_is_kept_under_another_name() {
    let world = World::new(Version::V1, 1 << 16, &[file(200_000), file(0)], 3);
    world.put(&World::name(0), b"my thesis");
    world.put(&World::name(0).with_extension("old"), b"its first draft");
    world.put(&World::name(1), b"not empty");
    let (found, seen) = run_get(&world);
    assert_eq!(found, []);
    assert_eq!(seen.iter().filter(|e| matches!(e, DiskEvent::Displaced { .. })).count(), 2);
    let mut all = world.found();
    assert_eq!(all.remove(Path::new("t/d0/f0.old2")).unwrap(), b"my thesis");
    assert_eq!(all.remove(Path::new("t/d0/f0.old")).unwrap(), b"its first draft");
    assert_eq!(all.remove(Path::new("t/d0/f1.old")).unwrap(), b"not empty");
    assert_eq!(all, world.model());
}

#[test]
fn bytes_of_unwanted_files_survive_in_the_part_store_and_move_when_wanted() {
    let mut world = World::new(Version::V1, 1 << 16, &[file(100_000), file(100_000), file(50_000)], 3);
    world.files[1].wanted = false;
    run(async {
        let disk = Disk::start(&config()).unwrap();
        get(&disk, &world, world.spec(), world.none()).await;
        assert_eq!(world.found(), world.model(), "nothing appears under the unwanted name");
        let mut have = world.none();
        world.wanted().into_iter().for_each(|p| assert!(have.insert(p)));
        assert!(!have.has(PieceIndex(2)), "it lies in the unwanted file alone");
        // A restart serves from the part store; a later wish brings the bytes to their file.
        let (handle, _events) = disk.open(world.spec().into(), have.clone()).await.unwrap();
        read_and_compare(&world, &handle, &world.wanted()).await;
        handle.close().await;
        world.files[1].wanted = true;
        let (found, _) = get(&disk, &world, world.spec(), have.clone()).await;
        assert_eq!(found, [0, 1, 3].map(PieceIndex));
        assert_eq!(world.found(), world.model());
        disk.shutdown().await;
    });
}

#[test]
fn what_is_claimed_but_not_there_is_not_had() {
    let mut world = World::new(Version::V1, 1 << 16, &[file(100_000), file(100_000)], 3);
    world.files[1].wanted = false;
    run(async {
        let disk = Disk::start(&config()).unwrap();
        let (handle, _events) = disk.open(world.spec().into(), Bitfield::full(4)).await.unwrap();
        assert_eq!(handle.have().count(), 0);
        disk.shutdown().await;
    });
}

#[cfg(unix)]
#[test]
fn links_and_attributes_come_at_the_end() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new(Version::V1, 1 << 16, &[file(100_000), file(0), file(0)], 3);
    let mut spec = world.spec();
    spec.files[0].executable = true;
    spec.files[1].symlink = Some("f0".into());
    run(async {
        let disk = Disk::start(&config()).unwrap();
        let (_, seen) = get(&disk, &world, spec.clone(), world.none()).await;
        assert!(seen.iter().any(|e| matches!(e, DiskEvent::Finished)));
        // A second time nothing is in the way.
        let (_, seen) = get(&disk, &world, spec, Bitfield::full(2)).await;
        assert!(!seen.iter().any(|e| matches!(e, DiskEvent::Displaced { .. })));
        disk.shutdown().await;
    });
    let path = |i| world.root().join(World::name(i));
    assert_eq!(std::fs::metadata(path(0)).unwrap().permissions().mode() & 0o100, 0o100);
    assert_eq!(std::fs::read_link(path(1)).unwrap(), Path::new("f0"));
    assert_eq!(std::fs::metadata(path(2)).unwrap().len(), 0);
}

#[test]
fn sharing_changes_nothing() {
    let world = World::new(Version::V2, 1 << 16, &[file(100_000), file(0), file(30)], 3);
    (0..3).for_each(|i| world.put(&World::name(i), &world.contents[i]));
    let before = world.found();
    let paths = (0..3).map(|i| Some(world.root().join(World::name(i)))).collect();
    let spec = StorageSpec::existing(std::sync::Arc::clone(&world.layout), paths);
    run(async {
        let disk = Disk::start(&config()).unwrap();
        let (_, seen) = get(&disk, &world, spec, world.none()).await;
        assert!(seen.iter().any(|e| matches!(e, DiskEvent::Finished)));
        disk.shutdown().await;
    });
    assert_eq!(world.found(), before);
}

#[cfg(unix)]
#[test]
fn a_survey_finds_what_is_there() {
    let mut world =
        World::new(Version::V1, 1 << 16, &[file(1 << 18), file(1 << 18), file(100), file(100)], 3);
    world.files[3].wanted = false;
    // Whole and left over, one piece in the middle, nothing.
    world.put(&World::name(0), &world.contents[0]);
    world.put(&World::name(0).with_extension("part"), b"left over");
    let part = World::name(1).with_extension("part");
    world.put(&part, b"");
    let sparse = std::fs::File::options().write(true).open(world.root().join(&part)).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, &world.contents[1][65536..131_072], 65536).unwrap();
    let spec = world.spec();
    let survey = spec.survey().unwrap();
    let name = |i| Some(world.root().join(World::name(i)));
    assert_eq!(survey.paths(), [name(0), Some(world.root().join(&part)), None, None]);
    let stamps = survey.stamps();
    let seen = |i: usize| stamps[i].map(|s| (s.len, s.whole));
    assert_eq!([seen(0), seen(1)], [Some((1 << 18, true)), Some((131_072, false))]);
    assert_eq!([seen(2), seen(3)], [Some((0, false)), Some((0, false))], "not there, not shelved");
    let pieces = |b: Bitfield| b.iter().map(|p| p.0).collect::<Vec<_>>();
    assert_eq!(pieces(survey.present()), [0, 1, 2, 3, 5]);
    let (found, _) = run_get(&world);
    assert_eq!(found.iter().map(|p| p.0).collect::<Vec<_>>(), [0, 1, 2, 3, 5]);
    let mut all = world.found();
    assert_eq!(all.remove(&World::name(0).with_extension("part")).unwrap(), b"left over");
    assert_eq!(all, world.model());
    assert_eq!(pieces(world.spec().survey().unwrap().present()).len(), 9);
}

#[test]
fn a_left_over_part_file_does_not_hinder_a_repair() {
    let world = World::new(Version::V1, 1 << 16, &[file(1 << 18)], 3);
    let mut damaged = world.contents[0].clone();
    damaged[0] ^= 1;
    world.put(&World::name(0), &damaged);
    world.put(&World::name(0).with_extension("part"), b"left over");
    let (found, _) = run_get(&world);
    assert_eq!(found.len(), 3);
    let mut all = world.found();
    assert_eq!(all.remove(Path::new("t/d0/f0.part.old")).unwrap(), b"left over");
    assert_eq!(all, world.model());
}
