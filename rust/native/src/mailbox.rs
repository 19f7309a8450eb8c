//! A queue with an eventfd: where answers for event loops, callbacks and people arrive.
//!
//! Invariant: the descriptor is readable exactly while the queue is not empty or is closed. Posting
//! never waits and never touches Python, so the node may post.

use std::collections::VecDeque;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use pyo3::prelude::*;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use skate_core::action::Reply;
use skate_shm::fd::Event;

use crate::error::{self, Result};
use crate::notice::Notice;

/// One thing in a mailbox.
#[derive(Debug)]
pub(crate) enum Letter {
    /// The answer to a request that was asked asynchronously.
    Reply(Reply),
    /// Something that people should see.
    Notice(Notice),
    /// What was waited for is there (in another engine), or will never be: whoever looks will see.
    Ready,
}

impl Letter {
    /// Of text in it.
    fn bytes(&self) -> usize {
        match self {
            Self::Notice(Notice::Line { text, .. }) => text.len(),
            Self::Reply(_) | Self::Notice(_) | Self::Ready => 0,
        }
    }
}

#[derive(Default)]
struct Queue {
    letters: VecDeque<(u64, Letter)>,
    /// Of text in the letters.
    bytes: usize,
    closed: bool,
}

/// The Rust side of a mailbox.
pub(crate) struct Mail {
    queue: Mutex<Queue>,
    event: Event,
}

impl Mail {
    pub(crate) fn new() -> Result<Arc<Self>> {
        let event = Event::new().map_err(|errno| error::Error::System("eventfd", errno))?;
        Ok(Arc::new(Self { queue: Mutex::default(), event }))
    }

    /// Puts a letter in; gives a reply back if the mailbox is closed.
    pub(crate) fn post(&self, token: u64, letter: Letter) -> Option<Reply> {
        let mut queue = self.queue.lock();
        if queue.closed {
            return match letter {
                Letter::Reply(reply) => Some(reply),
                Letter::Notice(_) | Letter::Ready => None,
            };
        }
        queue.bytes += letter.bytes();
        queue.letters.push_back((token, letter));
        if queue.letters.len() == 1 {
            self.event.set();
        }
        None
    }

    /// Whether fewer letters than `most` wait, with less text than `most_bytes`.
    pub(crate) fn has_room(&self, most: usize, most_bytes: usize) -> bool {
        let queue = self.queue.lock();
        queue.letters.len() < most && queue.bytes < most_bytes
    }

    pub(crate) fn close(&self) {
        self.queue.lock().closed = true;
        self.event.set();
    }

    fn take(&self) -> VecDeque<(u64, Letter)> {
        let mut queue = self.queue.lock();
        if !queue.closed {
            self.event.clear();
        }
        queue.bytes = 0;
        std::mem::take(&mut queue.letters)
    }

    fn is_empty(&self) -> bool {
        let queue = self.queue.lock();
        queue.letters.is_empty() && !queue.closed
    }

    /// Sleeps until there is something, at most `timeout`; false if a signal came.
    fn sleep(&self, timeout: Option<Duration>) -> bool {
        // Longer than the kernel can say is for ever.
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let mut fds = [PollFd::from_borrowed_fd(self.event.as_fd(), PollFlags::IN)];
        poll(&mut fds, timeout.as_ref()) != Err(rustix::io::Errno::INTR)
    }
}

/// Where answers to asynchronous questions arrive.
#[pyclass(frozen, module = "skate._native")]
pub(crate) struct Mailbox {
    pub(crate) mail: Arc<Mail>,
}

#[pymethods]
impl Mailbox {
    #[new]
    fn new() -> PyResult<Self> {
        Ok(Self { mail: Mail::new()? })
    }

    #[getter]
    fn is_over(&self) -> bool {
        let queue = self.mail.queue.lock();
        queue.closed && queue.letters.is_empty()
    }

    fn fileno(&self) -> i32 {
        self.mail.event.as_fd().as_raw_fd()
    }

    fn take(&self, py: Python<'_>) -> PyResult<Vec<(u64, Py<PyAny>)>> {
        self.mail
            .take()
            .into_iter()
            .map(|(token, letter)| {
                let what = match letter {
                    Letter::Reply(_) | Letter::Ready => py.None(),
                    Letter::Notice(notice) => notice.to_python(py)?,
                };
                Ok((token, what))
            })
            .collect()
    }

    #[pyo3(signature = (timeout_s=None, /))]
    fn wait(&self, py: Python<'_>, timeout_s: Option<f64>) -> PyResult<Vec<(u64, Py<PyAny>)>> {
        let timeout = error::timeout("Mailbox.wait", timeout_s)?;
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        while self.mail.is_empty() {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                break;
            }
            py.detach(|| self.mail.sleep(left));
            py.check_signals()?;
        }
        self.take(py)
    }

    /// What another engine was asked for under this token is ready.
    #[pyo3(signature = (token, /))]
    fn post(&self, token: u64) {
        self.mail.post(token, Letter::Ready);
    }

    fn close(&self) {
        self.mail.close();
    }
}
