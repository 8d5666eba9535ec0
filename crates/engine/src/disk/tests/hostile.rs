//! Links and other things that somebody put where files belong.
#![cfg(unix)]

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::world::*;
use crate::disk::{Disk, DiskEvent, StorageError};

/// Tries to download, and returns what went wrong.
fn attempt(world: &World) -> Option<StorageError> {
    run(async {
        let disk = Disk::start(&config()).unwrap();
        let opened = disk.open(world.spec().into(), world.none()).await;
        let (handle, mut events) = match opened {
            Ok(opened) => opened,
            Err(e) => return Some(e),
        };
        let mut seen = store_all(world, &disk, &handle, &mut events, &world.blocks(&world.wanted())).await;
        handle.close().await;
        seen.extend(rest(&mut events).await);
        disk.shutdown().await;
        seen.into_iter().find_map(|e| if let DiskEvent::Failed(e) = e { Some(e) } else { None })
    })
}

fn world() -> (World, PathBuf) {
    let world = World::new(Version::V1, 1 << 16, &[file(100_000)], 3);
    let outside = world.dir.path().join("outside");
    std::fs::create_dir_all(&outside).unwrap();
    std::fs::create_dir_all(world.root()).unwrap();
    (world, outside)
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).unwrap().next().is_none()
}

#[test]
fn a_folder_that_is_a_link_is_not_entered() {
    for link in ["t", "t/d0"] {
        let (world, outside) = world();
        std::fs::create_dir_all(world.root().join(link).parent().unwrap()).unwrap();
        symlink(&outside, world.root().join(link)).unwrap();
        assert!(attempt(&world).is_some(), "{link}");
        assert!(is_empty(&outside), "{link}");
    }
}

#[test]
fn a_file_that_is_a_link_is_not_written_through() {
    let (world, outside) = world();
    std::fs::create_dir_all(world.root().join("t/d0")).unwrap();
    symlink(outside.join("new"), world.root().join("t/d0/f0.part")).unwrap();
    assert!(attempt(&world).is_some());
    assert!(is_empty(&outside));
}

#[test]
fn a_link_under_the_final_name_is_moved_away() {
    let (world, outside) = world();
    std::fs::write(outside.join("precious"), "precious").unwrap();
    std::fs::create_dir_all(world.root().join("t/d0")).unwrap();
    symlink(outside.join("precious"), world.root().join("t/d0/f0")).unwrap();
    assert!(attempt(&world).is_none());
    assert_eq!(std::fs::read(outside.join("precious")).unwrap(), b"precious");
    assert_eq!(std::fs::read_link(world.root().join("t/d0/f0.old")).unwrap(), outside.join("precious"));
    assert_eq!(world.found(), world.model());
}

#[test]
fn a_pipe_does_not_hang() {
    let (world, _) = world();
    std::fs::create_dir_all(world.root().join("t/d0")).unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    let path = world.root().join("t/d0/f0.part");
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    assert!(attempt(&world).is_some());
}

#[test]
fn a_path_that_leads_out_is_refused() {
    for bad in ["../outside/x", "/etc/x", "t/../../outside/x"] {
        let (world, outside) = world();
        let mut spec = world.spec();
        spec.files[0].path = bad.into();
        spec.files[0].part = format!("{bad}.part").into();
        run(async {
            let disk = Disk::start(&config()).unwrap();
            assert!(disk.open(spec.into(), world.none()).await.is_err());
            disk.shutdown().await;
        });
        assert!(is_empty(&outside));
    }
}
