//! The disk's thread: copies values between the data segment and the spill file, as the node says.
//!
//! ```text
//!   Host::act ── order ─▶ reads ┊ all else, in order ─▶ skate-disk ── Event ─▶ Host::turn
//! ```
//!
//! Invariants: the thread holds no lock while it reads or writes. Reads come first: somebody waits for
//! them, and the node asks for one only when its extent is written, and for nothing else there until the
//! read has ended. A part of the file is discarded before anybody, here or in another
//! process, writes there again.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};
use rustix::io::Errno;
use skate_core::action::Piece;
use skate_core::event::Event;
use skate_core::id::ObjectId;
use skate_core::value::{Extent, Span, Trouble};
use skate_shm::segment::Segment;
use skate_shm::spill_file::{ReadError, SpillFile};
use skate_shm::thread::block_all_signals;

use crate::error::Error;
use crate::guard;
use crate::host::Host;
use crate::placing::in_segment;

/// What the node asks of the disk.
pub(crate) enum Job {
    Write(u64, Box<[Piece]>),
    Read(ObjectId, Extent, Span),
    Prepare(Span),
    Discard(Span),
}

/// Where values are spilled to.
pub(crate) struct Place {
    pub(crate) directory: PathBuf,
    pub(crate) file: Arc<SpillFile>,
    /// Of 1000 parts of the file system, so many are kept for others.
    pub(crate) kept: u64,
}

#[derive(Default)]
struct Queue {
    reads: VecDeque<Job>,
    others: VecDeque<Job>,
    is_closed: bool,
}

/// The host's handle on the thread.
pub(crate) struct Disk {
    place: Option<Arc<Place>>,
    queue: Arc<(Mutex<Queue>, Condvar)>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Disk {
    pub(crate) fn new(place: Option<Place>) -> Self {
        Self { place: place.map(Arc::new), queue: Arc::default(), thread: Mutex::default() }
    }

    /// The file, if there is one.
    pub(crate) fn file(&self) -> Option<&SpillFile> {
        self.place.as_ref().map(|place| &*place.file)
    }

    /// Has something done. The thread is started by the first job.
    pub(crate) fn order(
        &self,
        job: Job,
        host: &Weak<Host>,
        segment: &Weak<Segment>,
    ) -> Result<(), Error> {
        let Some(place) = &self.place else { return Ok(()) };
        let (queue, wake) = &*self.queue;
        let mut jobs = queue.lock();
        if jobs.is_closed {
            return Ok(());
        }
        match job {
            Job::Read(..) => jobs.reads.push_back(job),
            Job::Write(..) | Job::Prepare(_) | Job::Discard(_) => jobs.others.push_back(job),
        }
        drop(jobs);
        wake.notify_one();
        let mut thread = self.thread.lock();
        if thread.is_none() {
            let worker = Thread {
                place: Arc::clone(place),
                queue: Arc::clone(&self.queue),
                host: Weak::clone(host),
                segment: Weak::clone(segment),
            };
            let started = std::thread::Builder::new()
                .name("skate-disk".into())
                .stack_size(256 << 10)
                .spawn(move || {
                    block_all_signals();
                    let ended = guard::run("skate-disk", || {
                        worker.run();
                        Ok(())
                    });
                    if let (Err(why), Some(host)) = (ended, worker.host.upgrade()) {
                        host.lose(why);
                    }
                });
            *thread = Some(started.map_err(|error| Error::Thread(error.to_string()))?);
        }
        Ok(())
    }

    /// Ends the thread; what it was asked and has not begun is not done.
    pub(crate) fn shut_down(&self) {
        let (queue, wake) = &*self.queue;
        queue.lock().is_closed = true;
        wake.notify_all();
        // Not under the lock: the thread may be about to order something of itself, which takes it.
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            // Whatever ended it has been told.
            let _ = thread.join();
        }
    }
}

struct Thread {
    place: Arc<Place>,
    queue: Arc<(Mutex<Queue>, Condvar)>,
    host: Weak<Host>,
    segment: Weak<Segment>,
}

impl Thread {
    fn run(&self) {
        while let Some(job) = self.next() {
            // Both are gone with the session.
            let Some(segment) = self.segment.upgrade() else { return };
            let event = match job {
                Job::Discard(span) => {
                    self.place.file.punch(span.offset, span.len);
                    continue;
                }
                Job::Prepare(span) => {
                    let trouble = self.lacks_room(span.len);
                    Event::Prepared(span.offset, trouble.map_or(Ok(()), Err))
                }
                Job::Write(number, pieces) => self.write(&segment, number, &pieces),
                Job::Read(object, extent, to) => {
                    Event::Read(object, self.read(&segment, extent, to))
                }
            };
            drop(segment);
            let Some(host) = self.host.upgrade() else { return };
            host.disk_event(event);
        }
    }

    fn next(&self) -> Option<Job> {
        let (queue, wake) = &*self.queue;
        let mut jobs = queue.lock();
        loop {
            if jobs.is_closed {
                return None;
            }
            let Queue { reads, others, .. } = &mut *jobs;
            if let Some(job) = reads.pop_front().or_else(|| others.pop_front()) {
                return Some(job);
            }
            wake.wait(&mut jobs);
        }
    }

    fn write(&self, segment: &Segment, number: u64, pieces: &[Piece]) -> Event {
        let bytes = |piece: &Piece| {
            let span = in_segment(piece.from);
            let bytes = segment.bytes(span).expect("the node names what is in the segment");
            (bytes, piece.to)
        };
        let pieces: Vec<_> = pieces.iter().map(bytes).collect();
        let len = pieces.iter().map(|(bytes, _)| bytes.len() as u64).sum();
        if let Some(trouble) = self.lacks_room(len) {
            return Event::Written(number, Box::default(), Some(trouble));
        }
        let (checksums, error) = self.place.file.write(&pieces);
        let trouble = error.map(|errno| trouble_of(errno, |what| self.says(what)));
        Event::Written(number, checksums.into(), trouble)
    }

    /// Whether so much more would leave less of the file system than others are to find.
    fn lacks_room(&self, len: u64) -> Option<Trouble> {
        // If it does not say, the write will.
        let (available, all) = self.place.file.room().ok()?;
        let kept = all / 1000 * self.place.kept;
        (available < kept.saturating_add(len)).then(|| {
            self.is_full(&format!(
                "{available} bytes of {all} are available, and {kept} are kept for others"
            ))
        })
    }

    fn is_full(&self, why: &str) -> Trouble {
        Trouble::Full(self.says(&format!("the disk is full: {why}")).into())
    }

    fn says(&self, what: &str) -> String {
        format!("{}: {what}", self.place.directory.display())
    }

    fn read(&self, segment: &Arc<Segment>, extent: Extent, to: Span) -> Result<(), Trouble> {
        #[allow(unsafe_code, reason = "the node's word is the proof that the segment asks for")]
        // SAFETY: the node gave this span to this read alone: it is in no lease and in no object, until it
        // hears that the read has ended.
        let writing = unsafe { segment.writing(in_segment(to)) };
        let mut writing = writing.expect("the node names what is in the segment");
        read(&self.place.file, extent, &mut writing)?;
        writing.seal();
        Ok(())
    }
}

/// Reads an extent into memory, and checks it.
pub(crate) fn read(file: &SpillFile, extent: Extent, buffer: &mut [u8]) -> Result<(), Trouble> {
    file.read(extent.offset, buffer, extent.checksum).map_err(|error| match error {
        ReadError::System(errno) => Trouble::System(format!("reading failed: {errno}").into()),
        ReadError::Short { found } => Trouble::Truncated { found, len: extent.len },
        ReadError::Changed { found } => Trouble::Corrupted { found, written: extent.checksum },
    })
}

/// Why a write failed; `says` adds where.
pub(crate) fn trouble_of(errno: Errno, says: impl Fn(&str) -> String) -> Trouble {
    match errno {
        Errno::NOSPC | Errno::DQUOT => {
            Trouble::Full(says(&format!("the disk is full: {errno}")).into())
        }
        other => Trouble::System(says(&format!("writing failed: {other}")).into()),
    }
}
