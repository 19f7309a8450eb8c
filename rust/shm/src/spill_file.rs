//! The file for values that memory has no room for.
//!
//! ```text
//!   create(directory) ─ O_TMPFILE, or open and unlink ─▶ a file without a name ─ descriptor ─▶ readers
//!   write: pieces side by side go out in one call        read: into the caller's memory, and checked
//!   append: one value, copied out of memory that may change
//! ```
//!
//! Invariant: the file has no name, so it goes with the last process that has it open, by whatever
//! death, and removing its directory changes nothing. It is never mapped: an error of the disk is an error
//! here, not a signal. What is read is what was written, or an error; the checksum says so.

use std::fmt::Write as _;
use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{self, FallocateFlags, Mode, OFlags};
use rustix::io::{self, Errno};

use crate::killpoint::{Point, reached};

/// What `statfs` calls file systems that live in memory.
const IN_MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58F6];
/// Pieces start at multiples of this.
pub const GRAIN: usize = 64;
const ZEROS: [u8; GRAIN] = [0; GRAIN];
/// Slices in one call.
const MOST_SLICES: usize = 512;
/// Bytes of a value that are taken before they are written.
const BOUNCE: usize = 1 << 20;

/// Why bytes are not to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The system said so.
    #[error("reading failed: {0}")]
    System(Errno),
    /// The file ends before.
    #[error("the file is too short: {found} bytes")]
    Short {
        /// Bytes that are there.
        found: u64,
    },
    /// They are others.
    #[error("the checksum is {found:08x}")]
    Changed {
        /// Of what is there.
        found: u32,
    },
}

/// One open spill file.
#[derive(Debug)]
pub struct SpillFile {
    file: OwnedFd,
}

/// Whether a directory is on a file system that lives in memory, where spilling gains nothing.
pub fn is_in_memory(directory: &Path) -> io::Result<bool> {
    Ok(IN_MEMORY.contains(&fs::statfs(directory)?.f_type.cast_unsigned()))
}

impl SpillFile {
    /// Makes an empty one.
    pub fn create(directory: &Path) -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        match fs::open(directory, flags | OFlags::TMPFILE, mode) {
            // Some file systems, such as overlays of older kernels, know no files without a name.
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {
                let mut name = format!(".skate-{}", std::process::id());
                let _ = write!(name, "-{:p}", &raw const name);
                let path = directory.join(name);
                let file = fs::open(&path, flags | OFlags::CREATE | OFlags::EXCL, mode)?;
                fs::unlink(&path)?;
                Ok(Self { file })
            }
            opened => Ok(Self { file: opened? }),
        }
    }

    /// One that was made elsewhere.
    pub const fn open(file: OwnedFd) -> Self {
        Self { file }
    }

    /// Another descriptor of it, for another process.
    pub fn share(&self) -> io::Result<OwnedFd> {
        io::fcntl_dupfd_cloexec(&self.file, 0)
    }

    /// Its descriptor.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Bytes of its file system: how many could be written, and how many it has in all.
    pub fn room(&self) -> io::Result<(u64, u64)> {
        let system = fs::fstatvfs(&self.file)?;
        Ok((system.f_bavail * system.f_frsize, system.f_blocks * system.f_frsize))
    }

    /// Bytes of the disk that it takes.
    pub fn size(&self) -> io::Result<u64> {
        Ok(u64::try_from(fs::fstat(&self.file)?.st_blocks).unwrap_or(0) * 512)
    }

    /// Writes pieces to their places: the checksums of those that are all there, the first ones, and why
    /// the next one is not.
    pub fn write(&self, pieces: &[(&[u8], u64)]) -> (Vec<u32>, Option<Errno>) {
        let mut checksums = Vec::with_capacity(pieces.len());
        let mut rest = pieces;
        while !rest.is_empty() {
            let run = side_by_side(rest);
            let mut end = rest[0].1;
            let error = self.write_run(&rest[..run], &mut end).err();
            // The last one that is whole ends before what is not written.
            let whole = rest[..run].iter().take_while(|(bytes, at)| at + bytes.len() as u64 <= end);
            checksums.extend(whole.map(|(bytes, _)| crc32fast::hash(bytes)));
            if error.is_some() {
                return (checksums, error);
            }
            rest = &rest[run..];
        }
        (checksums, None)
    }

    /// Begins to write one value from there on, in parts that follow each other.
    pub fn append(&self, at: u64) -> Append<'_> {
        let (bounce, hasher) = (Vec::with_capacity(BOUNCE), crc32fast::Hasher::new());
        Append { file: self, end: at, bounce, hasher }
    }

    /// Writes pieces that lie side by side; `end` is where what is written ends.
    fn write_run(&self, run: &[(&[u8], u64)], end: &mut u64) -> io::Result<()> {
        let mut slices: Vec<IoSlice<'_>> = Vec::with_capacity(2 * run.len());
        for (bytes, _) in run {
            slices.push(IoSlice::new(bytes));
            let padding = bytes.len().next_multiple_of(GRAIN) - bytes.len();
            if padding > 0 {
                slices.push(IoSlice::new(&ZEROS[..padding]));
            }
        }
        self.write_slices(&mut slices, end)
    }

    fn write_slices(&self, mut slices: &mut [IoSlice<'_>], end: &mut u64) -> io::Result<()> {
        reached(Point::Spilling);
        while !slices.is_empty() {
            let written = io::retry_on_intr(|| io::pwritev(&self.file, slices, *end))?;
            if written == 0 {
                return Err(Errno::IO);
            }
            *end += written as u64;
            IoSlice::advance_slices(&mut slices, written);
        }
        reached(Point::Spilled);
        Ok(())
    }

    /// Fills `buffer` from there, and checks that it is what was written.
    pub fn read(&self, at: u64, buffer: &mut [u8], checksum: u32) -> Result<(), ReadError> {
        let mut filled = 0;
        while filled < buffer.len() {
            let rest = &mut buffer[filled..];
            let count = io::retry_on_intr(|| io::pread(&self.file, &mut *rest, at + filled as u64))
                .map_err(ReadError::System)?;
            if count == 0 {
                return Err(ReadError::Short { found: filled as u64 });
            }
            filled += count;
        }
        let found = crc32fast::hash(buffer);
        reached(Point::Restored);
        if found == checksum { Ok(()) } else { Err(ReadError::Changed { found }) }
    }

    /// Gives all of it back to the disk, whoever still has it open.
    pub fn clear(&self) {
        // If it fails, what it takes goes with the last process that has it open.
        let _ = fs::ftruncate(&self.file, 0);
    }

    /// Gives a part of it back to the disk, if that is possible here.
    pub fn punch(&self, offset: u64, len: u64) {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        reached(Point::Punching);
        // If it fails the room is used again by skate alone.
        let _ = fs::fallocate(&self.file, flags, offset, len);
        reached(Point::Punched);
    }
}

/// A value that is being written. Its memory may change meanwhile: what is written is hashed as it is
/// written, since each byte is taken once, into memory of our own.
#[derive(Debug)]
#[must_use]
pub struct Append<'a> {
    file: &'a SpillFile,
    /// Of what is in the file.
    end: u64,
    bounce: Vec<u8>,
    hasher: crc32fast::Hasher,
}

impl Append<'_> {
    /// The next `len` bytes: `copy` is given where a piece of them starts, and the place to fill.
    pub fn push(&mut self, len: usize, mut copy: impl FnMut(usize, &mut [u8])) -> io::Result<()> {
        let mut done = 0;
        while done < len {
            let filled = self.bounce.len();
            let piece = (len - done).min(BOUNCE - filled);
            self.bounce.resize(filled + piece, 0);
            copy(done, &mut self.bounce[filled..]);
            done += piece;
            if self.bounce.len() == BOUNCE {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// The end of the value: its checksum.
    pub fn finish(mut self) -> io::Result<u32> {
        self.flush()?;
        Ok(self.hasher.finalize())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.hasher.update(&self.bounce);
        self.file.write_slices(&mut [IoSlice::new(&self.bounce)], &mut self.end)?;
        self.bounce.clear();
        Ok(())
    }
}

/// How many of the pieces, at the front, lie side by side, and may go out in one call.
fn side_by_side(pieces: &[(&[u8], u64)]) -> usize {
    let mut end = pieces[0].1;
    let run = pieces.iter().take(MOST_SLICES).take_while(|(bytes, at)| {
        let is_next = *at == end;
        end += bytes.len().next_multiple_of(GRAIN) as u64;
        is_next
    });
    run.count()
}
