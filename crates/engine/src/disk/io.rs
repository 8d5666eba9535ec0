//! Positioned, vectored reading and writing. Short transfers are completed in a loop, interruptions repeated.
//!
//! Tests can put faults between the disk and the system: short writes, errors, a medium that fills up.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::path::Path;

/// Slices per call; Linux and others take no more (`IOV_MAX`).
#[cfg(unix)]
const MAX_SLICES: usize = 1024;

/// How bytes get to and from files.
#[derive(Clone, Debug)]
pub(super) enum Backend {
    /// The system's positioned calls, through the page cache.
    Pread,
    /// The same, with faults.
    #[cfg(test)]
    Faulty(std::sync::Arc<super::faults::Faults>),
}

impl Backend {
    /// Writes all of `slices` at `offset`.
    pub(super) fn write_all(
        &self,
        file: &File,
        mut slices: &mut [IoSlice<'_>],
        mut offset: u64,
    ) -> io::Result<()> {
        while !slices.is_empty() {
            let n = retry(|| self.write_some(file, slices, offset))?;
            if n == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            IoSlice::advance_slices(&mut slices, n);
            offset += n as u64;
        }
        Ok(())
    }

    /// Fills all of `slices` from `offset` on; the end of the file is an error.
    pub(super) fn read_all(
        &self,
        file: &File,
        mut slices: &mut [IoSliceMut<'_>],
        mut offset: u64,
    ) -> io::Result<()> {
        while !slices.is_empty() {
            let n = retry(|| self.read_some(file, slices, offset))?;
            if n == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            IoSliceMut::advance_slices(&mut slices, n);
            offset += n as u64;
        }
        Ok(())
    }

    fn write_some(&self, file: &File, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        match self {
            Self::Pread => write_at(file, slices, offset),
            #[cfg(test)]
            Self::Faulty(faults) => faults.write(slices, |slices| write_at(file, slices, offset)),
        }
    }

    fn read_some(&self, file: &File, slices: &mut [IoSliceMut<'_>], offset: u64) -> io::Result<usize> {
        match self {
            Self::Pread => read_at(file, slices, offset),
            #[cfg(test)]
            Self::Faulty(faults) => faults.read(|| read_at(file, slices, offset)),
        }
    }

    /// Waits until the file's data is on the medium.
    pub(super) fn sync(&self, file: &File) -> io::Result<()> {
        match self {
            Self::Pread => file.sync_data(),
            #[cfg(test)]
            Self::Faulty(faults) => faults.sync(|| file.sync_data()),
        }
    }

    /// Bytes that can be written below `folder`; as many as one likes where the system does not say.
    pub(super) fn free_space(&self, folder: &Path) -> u64 {
        match self {
            Self::Pread => free_space(folder),
            #[cfg(test)]
            Self::Faulty(faults) => faults.room(),
        }
    }
}

/// Whether nothing was ever written from `start` to `end`, so that it reads as zeros and takes no room. False where the
/// system does not tell.
#[cfg(target_os = "linux")]
pub(super) fn is_hole(file: &File, start: u64, end: u64) -> bool {
    use rustix::fs::{SeekFrom, seek};
    match seek(file, SeekFrom::Data(start)) {
        Ok(data) => data >= end,
        Err(e) => e == rustix::io::Errno::NXIO,
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) const fn is_hole(_file: &File, _start: u64, _end: u64) -> bool {
    false
}

fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

#[cfg(unix)]
fn write_at(file: &File, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
    Ok(rustix::io::pwritev(file, &slices[..slices.len().min(MAX_SLICES)], offset)?)
}

#[cfg(unix)]
fn read_at(file: &File, slices: &mut [IoSliceMut<'_>], offset: u64) -> io::Result<usize> {
    let count = slices.len().min(MAX_SLICES);
    Ok(rustix::io::preadv(file, &mut slices[..count], offset)?)
}

#[cfg(windows)]
fn write_at(file: &File, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
    slices.first().map_or(Ok(0), |slice| std::os::windows::fs::FileExt::seek_write(file, slice, offset))
}

#[cfg(windows)]
fn read_at(file: &File, slices: &mut [IoSliceMut<'_>], offset: u64) -> io::Result<usize> {
    slices.first_mut().map_or(Ok(0), |slice| std::os::windows::fs::FileExt::seek_read(file, slice, offset))
}

#[cfg(unix)]
fn free_space(folder: &Path) -> u64 {
    rustix::fs::statvfs(folder).map_or(u64::MAX, |fs| fs.f_bavail.saturating_mul(fs.f_frsize))
}

#[cfg(not(unix))]
const fn free_space(_folder: &Path) -> u64 {
    u64::MAX
}
