//! The memory budget, threads and open files.

use samara_proto::rng::Rng;

use super::world::*;
use crate::disk::{Disk, DiskConfig};

#[test]
fn partial_pieces_that_fill_the_memory_are_written_out() {
    for version in [Version::V1, Version::V2, Version::Hybrid] {
        let world = World::new(version, 4 << 20, &[file(16 << 20), file(16 << 20)], 3);
        run(async {
            let disk = Disk::start(&DiskConfig { budget: 1 << 20, ..config() }).unwrap();
            let (handle, mut events) = disk.open(world.spec().into(), world.none()).await.unwrap();
            let wanted = world.wanted();
            assert_eq!(wanted.len(), 8);
            let mut blocks = world.blocks(&wanted);
            Rng::new(5).shuffle(&mut blocks);
            let mut seen = Vec::new();
            for block in blocks {
                let job = world.job(disk.pool(), block).await;
                handle.store(&mut vec![job]);
                seen.extend(std::iter::from_fn(|| events.try_recv()));
            }
            while good(&seen).len() < 8 {
                seen.push(events.recv().await.unwrap());
            }
            disk.shutdown().await;
        });
        assert!(world.found() == world.model());
    }
}

#[test]
fn ten_thousand_small_files_need_few_handles() {
    let world = World::new(Version::V1, 1 << 18, &vec![file(100); 10_000], 3);
    run(async {
        let disk = Disk::start(&DiskConfig { max_open_files: 16, ..config() }).unwrap();
        let begin = std::time::Instant::now();
        let (handle, mut events) = disk.open(world.spec().into(), world.none()).await.unwrap();
        let opened = begin.elapsed();
        store_all(&world, &disk, &handle, &mut events, &world.blocks(&world.wanted())).await;
        assert!(disk.shared().io.handles.len() <= 16);
        handle.close().await;
        // For whoever runs it with --nocapture; nothing is asserted of time.
        println!("opened in {opened:?}, stored in {:?}", begin.elapsed() - opened);
        disk.shutdown().await;
    });
    assert!(world.found() == world.model());
}

#[cfg(target_os = "linux")]
#[test]
fn after_the_end_no_thread_and_no_file_is_left() {
    let world = World::new(Version::V1, 1 << 16, &[file(100_000), file(100_000)], 3);
    let ours = || {
        let root = world.dir.path().to_owned();
        let fds = std::fs::read_dir("/proc/self/fd").unwrap();
        fds.filter(|fd| std::fs::read_link(fd.as_ref().unwrap().path()).is_ok_and(|p| p.starts_with(&root)))
            .count()
    };
    run(async {
        let disk = Disk::start(&config()).unwrap();
        let shared = disk.downgrade();
        let (handle, mut events) = disk.open(world.spec().into(), world.none()).await.unwrap();
        let seen = store_all(&world, &disk, &handle, &mut events, &world.blocks(&world.wanted())).await;
        // The last verdict comes before the last file has its name.
        let finished = |e: &crate::disk::DiskEvent| matches!(e, crate::disk::DiskEvent::Finished);
        let mut done = seen.iter().any(finished);
        while !done {
            done = events.recv().await.as_ref().is_some_and(finished);
        }
        read_and_compare(&world, &handle, &world.wanted()).await;
        // The torrent is whole: no folder is kept open, only what the cache of files holds.
        assert_eq!(ours(), 2);
        disk.shutdown().await;
        assert_eq!(ours(), 0);
        assert!(rest(&mut events).await.iter().any(|e| matches!(e, crate::disk::DiskEvent::Synced { .. })));
        drop((disk, handle));
        assert_eq!(shared.strong_count(), 0, "every thread held a reference");
    });
}
