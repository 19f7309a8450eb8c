//! Lines of a worker's standard output or error, with the task that wrote them.
//!
//! A worker writes `\x1e<label>\x1f` before its first output under a new label; everything after it
//! on the same pipe has that label. Output of C code, which writes no marker, inherits the last one.
//!
//! Invariant: a worker never waits for the driver to print. Lines that nobody takes are dropped
//! beyond [`MOST_LINES`] lines or [`MOST_BYTES`], and the number that was dropped is a line of its own
//! at that place.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::mailbox::{Letter, Mail};
use crate::notice::Notice;

const LABEL_START: u8 = 0x1e;
const LABEL_END: u8 = 0x1f;
/// Lines that may wait for the driver's Python.
const MOST_LINES: usize = 10_000;
/// Bytes of such lines.
const MOST_BYTES: usize = 16 << 20;
/// A longer line is cut in pieces.
const LONGEST_LINE: usize = 64 << 10;

/// One pipe of one worker.
pub(crate) struct Output {
    is_stderr: bool,
    label: Arc<str>,
    line: Vec<u8>,
    /// The label under way, while its end has not been read.
    marker: Option<Vec<u8>>,
    /// Not zero while a notice of it waits to be shown, which takes the number and leaves zero.
    dropped: Arc<AtomicU64>,
}

impl Output {
    pub(crate) fn new(is_stderr: bool) -> Self {
        Self {
            is_stderr,
            label: "".into(),
            line: Vec::new(),
            marker: None,
            dropped: Arc::default(),
        }
    }

    /// Takes what was read from the pipe.
    pub(crate) fn feed(&mut self, pid: u32, bytes: &[u8], mail: &Mail) {
        for &byte in bytes {
            match (&mut self.marker, byte) {
                (Some(marker), LABEL_END) => {
                    let label = String::from_utf8_lossy(marker).into();
                    self.marker = None;
                    // A line that another task began is its own.
                    self.end_line(pid, mail);
                    self.label = label;
                }
                (Some(marker), byte)
                    if !matches!(byte, b'\n' | LABEL_START) && marker.len() < LONGEST_LINE =>
                {
                    marker.push(byte);
                }
                (Some(marker), byte) => {
                    // No label: what a user printed began like one.
                    let text = std::mem::take(marker);
                    self.marker = None;
                    self.line.push(LABEL_START);
                    self.line.extend(text);
                    self.take(byte, pid, mail);
                }
                (None, byte) => self.take(byte, pid, mail),
            }
        }
    }

    /// Takes a byte that is in no label.
    fn take(&mut self, byte: u8, pid: u32, mail: &Mail) {
        match byte {
            LABEL_START => self.marker = Some(Vec::new()),
            b'\n' => self.post_line(pid, mail),
            _ => {
                self.line.push(byte);
                if self.line.len() >= LONGEST_LINE {
                    self.cut_line(pid, mail);
                }
            }
        }
    }

    /// Posts what there is of a line, but for a character that has begun.
    fn cut_line(&mut self, pid: u32, mail: &Mail) {
        let whole = match std::str::from_utf8(&self.line) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            _ => self.line.len(),
        };
        let rest = self.line.split_off(whole);
        self.post_line(pid, mail);
        self.line = rest;
    }

    /// The pipe is closed: what has no newline is a line, too.
    pub(crate) fn close(&mut self, pid: u32, mail: &Mail) {
        if let Some(text) = self.marker.take() {
            self.line.push(LABEL_START);
            self.line.extend(text);
        }
        self.end_line(pid, mail);
    }

    fn end_line(&mut self, pid: u32, mail: &Mail) {
        if !self.line.is_empty() {
            self.post_line(pid, mail);
        }
    }

    fn post_line(&mut self, pid: u32, mail: &Mail) {
        let text = String::from_utf8_lossy(&self.line).into_owned();
        self.line.clear();
        let (is_stderr, label) = (self.is_stderr, Arc::clone(&self.label));
        let notice = if mail.has_room(MOST_LINES, MOST_BYTES) {
            Notice::Line { is_stderr, pid, label, text }
        } else if self.dropped.fetch_add(1, Ordering::AcqRel) == 0 {
            Notice::Dropped { is_stderr, pid, label, count: Arc::clone(&self.dropped) }
        } else {
            return;
        };
        mail.post(notice.kind(), Letter::Notice(notice));
    }
}
