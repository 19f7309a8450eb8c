//! A fixed layout of atomics laid over shared memory.
//!
//! ```text
//!   creator: memfd of size_of::<T>() ─▶ map ─▶ descriptor to the peer
//!   peer:    fstat == size_of::<T>() and the seals ─▶ map ─▶ &T
//! ```
//!
//! Invariant: an `Overlay<T>` exists only over memory of T's size and alignment. What is in it proves
//! nothing: whoever shares it may have written anything.

use std::marker::PhantomData;
use std::os::fd::{BorrowedFd, OwnedFd};

use crate::mapping::{self, Access, MapError, Mapping};

/// Why a peer's control memory was refused.
#[derive(Debug, thiserror::Error)]
pub enum OverlayError {
    /// There is no such memory.
    #[error(transparent)]
    Map(#[from] MapError),
    /// It is something else, or was made by another build.
    #[error("control memory of {size} B; expected {expected} B")]
    Size {
        /// Its size.
        size: u64,
        /// The size of the layout.
        expected: u64,
    },
    /// It was made by another build.
    #[error("control memory with stamp {stamp:#x}; expected {expected:#x}")]
    Stamp {
        /// Its stamp.
        stamp: u64,
        /// That of this build.
        expected: u64,
    },
}

/// What may be laid over shared memory.
///
/// # Safety
/// The type is `repr(C)`, consists of atomics and `UnsafeCell`s only (a peer writes at any time, any
/// value), is valid as all-zero bytes, needs no drop, and is aligned to at most a page.
pub(crate) unsafe trait Layout {}

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
        Ok((Self::map(&fd)?, fd))
    }

    pub(crate) fn open(fd: BorrowedFd<'_>) -> Result<Self, OverlayError> {
        let size = mapping::sealed_size(fd)?;
        if size != Self::SIZE {
            return Err(OverlayError::Size { size, expected: Self::SIZE });
        }
        Self::map(fd)
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
