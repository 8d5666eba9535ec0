//! Faults for tests: a medium that fills up, writes that fall short, errors.

use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};

/// What goes wrong. By default nothing does.
#[derive(Debug)]
pub(super) struct Faults {
    /// Bytes that still can be written.
    room: AtomicU64,
    /// Most bytes that one call writes.
    pub(super) longest_write: AtomicUsize,
    /// Reads and writes fail.
    pub(super) broken: AtomicBool,
    /// Calls so far.
    pub(super) writes: AtomicUsize,
    pub(super) reads: AtomicUsize,
    pub(super) syncs: AtomicUsize,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            room: AtomicU64::new(u64::MAX),
            longest_write: AtomicUsize::new(usize::MAX),
            broken: AtomicBool::new(false),
            writes: AtomicUsize::new(0),
            reads: AtomicUsize::new(0),
            syncs: AtomicUsize::new(0),
        }
    }
}

impl Faults {
    pub(super) fn set_room(&self, bytes: u64) {
        self.room.store(bytes, SeqCst);
    }

    pub(super) fn room(&self) -> u64 {
        self.room.load(SeqCst)
    }

    fn check(&self) -> io::Result<()> {
        if self.broken.load(SeqCst) { Err(io::Error::from_raw_os_error(5)) } else { Ok(()) }
    }

    pub(super) fn write(
        &self,
        slices: &[IoSlice<'_>],
        write: impl FnOnce(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        self.writes.fetch_add(1, SeqCst);
        self.check()?;
        let Some(first) = slices.iter().find(|s| !s.is_empty()) else { return Ok(0) };
        let longest = self.longest_write.load(SeqCst);
        if self.room() == u64::MAX && longest == usize::MAX {
            return write(slices);
        }
        // What was reserved and not written is not given back: nobody counts that closely.
        let want = first.len().min(longest) as u64;
        let reserve = |room: u64| (room > 0).then(|| room - want.min(room));
        let room = self.room.fetch_update(SeqCst, SeqCst, reserve).map_err(|_| io::ErrorKind::StorageFull)?;
        write(&[IoSlice::new(&first[..want.min(room) as usize])])
    }

    pub(super) fn read(&self, read: impl FnOnce() -> io::Result<usize>) -> io::Result<usize> {
        self.reads.fetch_add(1, SeqCst);
        self.check()?;
        read()
    }

    pub(super) fn sync(&self, sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        self.syncs.fetch_add(1, SeqCst);
        self.check()?;
        sync()
    }
}
