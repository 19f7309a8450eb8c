//! A nameless file on 2 MiB pages, where the system lets us.
//!
//! ```text
//!   fsopen tmpfs, huge=advise ─ fsmount ─▶ a mount that nobody can see ─ O_TMPFILE ─▶ a file without a name
//!        └ not allowed, not known ─▶ None: the caller takes a memfd, of 4 KiB pages
//! ```
//!
//! `shmem_enabled` is "never" on nearly every system, so a memfd gets small pages whatever one advises; a
//! tmpfs of one's own decides for itself. Fresh memory then costs one fault per 2 MiB instead of 512.
//!
//! Invariant: the mount is attached nowhere and closed here, so the file is reachable by its descriptor
//! alone and goes with the last one and the last mapping. Such a file knows no seals: whoever is handed
//! the descriptor maps it and closes it, so that nothing which runs later can resize it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{self, Mode, OFlags};
use rustix::io;
use rustix::mount::{self, FsMountFlags, FsOpenFlags, MountAttrFlags};

/// What `statfs` calls a tmpfs.
const TMPFS_MAGIC: u64 = 0x0102_1994;

/// A sparse file of `size` bytes; None if this process may not mount, or the kernel knows no such pages.
pub(crate) fn create(size: u64) -> Option<OwnedFd> {
    try_create(size).ok()
}

fn try_create(size: u64) -> io::Result<OwnedFd> {
    let context = mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    mount::fsconfig_set_string(context.as_fd(), "huge", "advise")?;
    // The file's own size is the limit; the mount's must not be met before.
    mount::fsconfig_set_string(context.as_fd(), "size", (size + (4 << 20)).to_string())?;
    mount::fsconfig_create(context.as_fd())?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOEXEC
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV;
    let root = mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = fs::openat(&root, ".", flags, Mode::RUSR | Mode::WUSR)?;
    fs::ftruncate(&file, size)?;
    Ok(file)
}

/// The size of a file made by [`create`]; None for any other.
pub(crate) fn size(fd: BorrowedFd<'_>) -> Option<u64> {
    let stat = fs::fstat(fd).ok()?;
    let system = fs::fstatfs(fd).ok()?;
    // A memfd lies on a tmpfs, too, but on the kernel's own, which has no limit.
    let is_tmpfs = system.f_type.cast_unsigned() == TMPFS_MAGIC && system.f_blocks > 0;
    // A name would let anybody in.
    (is_tmpfs && stat.st_nlink == 0).then(|| u64::try_from(stat.st_size).unwrap_or(0))
}
