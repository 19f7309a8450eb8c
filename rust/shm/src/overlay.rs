//! A fixed layout of atomics laid over shared memory.
//!
//! ```text
//!   creator: memfd of size_of::<T>() ─▶ map ─▶ write the stamp ─▶ descriptor to the peer
//!   peer:    fstat == size_of::<T>() and the seals ─▶ map ─▶ stamp == T's ─▶ &T
//! ```
//!
//! Invariant: an `Overlay<T>` exists only over memory of T's size, alignment and stamp, so two builds
//! of skate never read each other's words as something else.

use std::marker::PhantomData;
use std::os::fd::{BorrowedFd, OwnedFd};

use crate::mapping::{self, Access, MapError, Mapping};
use crate::sync::{AtomicU64, Ordering};

/// Why a peer's control memory was refused.
#[derive(Debug, thiserror::Error)]
pub enum OverlayError {
    /// There is no such memory.
    #[error(transparent)]
    Map(#[from] MapError),
    /// It was made by another build, or is something else altogether.
    #[error(
        "control memory of {size} B with stamp {stamp:#x}; expected {expected_size} B, {expected:#x}"
    )]
    Foreign {
        /// Its size.
        size: u64,
        /// Its first word; 0 if it was too small to look.
        stamp: u64,
        /// The size of the layout.
        expected_size: u64,
        /// The stamp of the layout.
        expected: u64,
    },
}

/// What may be laid over shared memory.
///
/// # Safety
/// The type is `repr(C)`, consists of atomics and `UnsafeCell`s only (a peer writes at any time, any
/// value), is valid as all-zero bytes, needs no drop, and is aligned to at most a page.
pub(crate) unsafe trait Layout {
    /// Name and version of the layout. Change it with every change of the layout.
    const STAMP: u64;
    /// The first word.
    fn stamp(&self) -> &AtomicU64;
}

/// A mapped `T`.
#[derive(Debug)]
pub(crate) struct Overlay<T> {
    mapping: Mapping,
    layout: PhantomData<T>,
}

impl<T: Layout> Overlay<T> {
    const SIZE: u64 = size_of::<T>() as u64;

    pub(crate) fn create(name: &str) -> Result<(Self, OwnedFd), OverlayError> {
        let fd = mapping::create_sealed(name, Self::SIZE)?;
        let overlay = Self::map(&fd)?;
        overlay.get().stamp().store(T::STAMP, Ordering::Release);
        Ok((overlay, fd))
    }

    pub(crate) fn open(fd: BorrowedFd<'_>) -> Result<Self, OverlayError> {
        let foreign = |size, stamp| OverlayError::Foreign {
            size,
            stamp,
            expected_size: Self::SIZE,
            expected: T::STAMP,
        };
        let size = mapping::sealed_size(fd)?;
        if size != Self::SIZE {
            return Err(foreign(size, 0));
        }
        let overlay = Self::map(fd)?;
        let stamp = overlay.get().stamp().load(Ordering::Acquire);
        if stamp != T::STAMP {
            return Err(foreign(size, stamp));
        }
        Ok(overlay)
    }

    fn map(fd: impl std::os::fd::AsFd) -> Result<Self, OverlayError> {
        let mapping = Mapping::of(fd.as_fd(), Self::SIZE, Access::Write)?;
        Ok(Self { mapping, layout: PhantomData })
    }

    pub(crate) fn get(&self) -> &T {
        debug_assert!(self.mapping.len() >= size_of::<T>());
        // SAFETY: the mapping has T's size and is page-aligned; by the contract of `Layout` zeroes and
        // whatever a peer writes later are valid, and shared writes go through its cells; the borrow
        // of `self` keeps it mapped.
        unsafe { &*self.mapping.start().cast::<T>() }
    }
}
