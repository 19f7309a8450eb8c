//! Memory that processes share: a sealed memfd, and one mapping of it.
//!
//! ```text
//!   memfd ─ ftruncate ─ seal(SHRINK|GROW|SEAL) ─┬─▶ mmap ──▶ Mapping ──drop──▶ munmap
//!                                               └─▶ descriptor, sent to the peers, who mmap it too
//! ```
//!
//! Invariant: the range of a `Mapping` stays mapped, with its protection, until the last owner drops
//! it, and the file behind it can be neither shrunk nor grown, so an access in bounds never faults.
//! Everything else in this crate that touches shared bytes relies on it. Nothing is named in the file
//! system: when the last process is gone, by whatever death, so is the memory.

use std::ffi::c_void;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;

use rustix::fs::{self, MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::mm::{self, Advice, MapFlags, MremapFlags, ProtFlags};
use rustix::process::{Pid, getpid};

/// What forbids every peer to pull the file from under a mapping.
const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

/// Why shared memory could not be had.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    /// A system call failed.
    #[error("cannot {call} {size} B of shared memory: {errno}")]
    Os {
        /// The call.
        call: &'static str,
        /// The size it was about.
        size: u64,
        /// What the kernel said.
        errno: Errno,
    },
    /// The descriptor is not one of ours: a peer could truncate it while it is mapped.
    #[error("the descriptor is not sealed against a change of size")]
    Unsealed,
}

/// What a mapping may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Read-only; a forked child keeps it.
    Read,
    /// Read and write; a forked child does not get it.
    Write,
}

/// A sparse, nameless file of `size` bytes that nobody can resize any more.
pub(crate) fn create_sealed(name: &str, size: u64) -> Result<OwnedFd, MapError> {
    let os = |call| move |errno| MapError::Os { call, size, errno };
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let fd = fs::memfd_create(name, flags).map_err(os("create"))?;
    fs::ftruncate(&fd, size).map_err(os("reserve"))?;
    fs::fcntl_add_seals(&fd, SEALS).map_err(os("seal"))?;
    Ok(fd)
}

/// The size of a file made by [`create_sealed`].
pub(crate) fn sealed_size(fd: BorrowedFd<'_>) -> Result<u64, MapError> {
    // Files that know no seals (EINVAL) are not ours either.
    let seals = fs::fcntl_get_seals(fd).unwrap_or(SealFlags::empty());
    if !seals.contains(SEALS) {
        return Err(MapError::Unsealed);
    }
    let stat = fs::fstat(fd).map_err(|errno| MapError::Os { call: "stat", size: 0, errno })?;
    Ok(u64::try_from(stat.st_size).unwrap_or(0))
}

/// One range of mapped shared memory.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<c_void>,
    len: usize,
    /// The process that alone has it, if a forked child does not get it: there, something else may
    /// be at that place.
    only_in: Option<Pid>,
}

// SAFETY: a mapping belongs to the process, not to a thread.
unsafe impl Send for Mapping {}
// SAFETY: it only hands out raw pointers; whoever goes through them answers for the races.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps the whole of a sealed file.
    pub(crate) fn of(fd: BorrowedFd<'_>, size: u64, access: Access) -> Result<Self, MapError> {
        let os = |call| move |errno| MapError::Os { call, size, errno };
        let len = usize::try_from(size).map_err(|_| os("map")(Errno::NOMEM))?;
        let protection = match access {
            Access::Read => ProtFlags::READ,
            Access::Write => ProtFlags::READ | ProtFlags::WRITE,
        };
        // NORESERVE: the file is sparse, sized to its limit; most of it is never touched.
        let flags = MapFlags::SHARED | MapFlags::NORESERVE;
        // SAFETY: a fresh range chosen by the kernel overlaps nothing that Rust knows of.
        let start =
            unsafe { mm::mmap(std::ptr::null_mut(), len, protection, flags, fd.as_fd(), 0) };
        let mapping = Self::owning(start.map_err(os("map"))?, len);
        match access {
            Access::Read => Ok(mapping),
            Access::Write => mapping.kept_from_forks(),
        }
    }

    /// Maps once more, somewhere else, what is at `source`. A forked child does not get it.
    ///
    /// # Safety
    /// `source` is the start of `len` bytes of a shared mapping, both multiples of the page size.
    pub(crate) unsafe fn again(source: *mut c_void, len: usize) -> Result<Self, MapError> {
        // SAFETY: an old size of 0 on a shared mapping makes a second one and leaves the first; the
        // kernel chooses a fresh range, which overlaps nothing that Rust knows of.
        let start = unsafe { mm::mremap(source, 0, len, MremapFlags::MAYMOVE) };
        let os = |errno| MapError::Os { call: "map", size: len as u64, errno };
        Self::owning(start.map_err(os)?, len).kept_from_forks()
    }

    fn kept_from_forks(mut self) -> Result<Self, MapError> {
        let os = |errno| MapError::Os { call: "keep from forks", size: self.len as u64, errno };
        self.advise(0, self.len, Advice::LinuxDontFork).map_err(os)?;
        self.only_in = Some(getpid());
        Ok(self)
    }

    /// Fresh shared memory without a file, which a forked child keeps. For tests and benches.
    pub(crate) fn anonymous(len: usize) -> Result<Self, MapError> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // Miri has neither shared memory nor children.
        let flags = if cfg!(miri) { MapFlags::PRIVATE } else { MapFlags::SHARED };
        // SAFETY: as in `of`.
        let start = unsafe { mm::mmap_anonymous(std::ptr::null_mut(), len, protection, flags) };
        let start = start.map_err(|errno| MapError::Os { call: "map", size: len as u64, errno })?;
        Ok(Self::owning(start, len))
    }

    fn owning(start: *mut c_void, len: usize) -> Self {
        let start = NonNull::new(start).expect("the kernel maps nothing at 0 unless asked to");
        Self { start, len, only_in: None }
    }

    pub(crate) fn start(&self) -> *mut c_void {
        self.start.as_ptr()
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The address of byte `offset`, if `len` bytes from there on are inside.
    pub(crate) fn at(&self, offset: u64, len: u64) -> Option<*mut u8> {
        let end = offset.checked_add(len)?;
        if end > self.len as u64 {
            return None;
        }
        // SAFETY: `offset` is at most `self.len`, so the result is inside the mapping or one past it.
        Some(unsafe { self.start().cast::<u8>().add(offset as usize) })
    }

    /// `madvise` on part of the mapping; `offset` must be a multiple of the page size.
    pub(crate) fn advise(&self, offset: usize, len: usize, advice: Advice) -> Result<(), Errno> {
        let Some(start) = self.at(offset as u64, len as u64) else {
            return Err(Errno::INVAL);
        };
        // SAFETY: the range is ours; the advices used here (DONTFORK, POPULATE_WRITE, HUGEPAGE)
        // change neither its contents nor its protection.
        unsafe { mm::madvise(start.cast(), len, advice) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if self.only_in.is_some_and(|pid| pid != getpid()) {
            return;
        }
        // SAFETY: `of` or `anonymous` mapped exactly this range, which this process has (checked
        // above, if a fork may have left it out), and nobody borrows from it any more.
        // It cannot fail for such a range.
        let _ = unsafe { mm::munmap(self.start(), self.len) };
    }
}
