//! Descriptors from one process to another, and the event descriptor.
//!
//! ```text
//!   SEQPACKET pair:  send_with_fds(bytes, fds) ──▶ recv_with_fds: the same bytes, new descriptors
//!   Event:           set ──▶ readable (epoll, asyncio) ──clear──▶ not readable
//! ```
//!
//! Invariant: one send is one receive; a message that did not arrive whole is an error, one whose
//! descriptors found no room in this process says so, and every descriptor that did arrive is owned
//! (closed on drop) and close-on-exec.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::{self, Errno};
use rustix::net::{
    self, AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};

use crate::killpoint::{Point, reached};

/// Descriptors that one message can carry.
pub const MAX_FDS: usize = 16;

/// Two connected sockets that keep message boundaries; close-on-exec, blocking. No name, no port.
pub fn socket_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
}

/// Sends one message with up to [`MAX_FDS`] descriptors. The message must not be empty: an empty one
/// looks like the end of the stream.
pub fn send_with_fds(socket: impl AsFd, message: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    if message.is_empty() || fds.len() > MAX_FDS {
        return Err(Errno::INVAL);
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Errno::INVAL);
    }
    let message = [IoSlice::new(message)];
    // NOSIGNAL: a peer that died is an error here, not a SIGPIPE in the user's program.
    reached(Point::Sending);
    io::retry_on_intr(|| {
        net::sendmsg(&socket, &message, &mut control, SendFlags::NOSIGNAL).map(|_| ())
    })?;
    reached(Point::Sent);
    Ok(())
}

/// One received message.
#[derive(Debug)]
#[must_use]
pub struct Received {
    /// Bytes written to the front of the buffer; 0: the peer has closed its end.
    pub len: usize,
    /// The descriptors that came along, in order.
    pub fds: Vec<OwnedFd>,
    /// More came along than this process may have open; the kernel has closed them.
    pub has_lost_fds: bool,
}

/// Receives one message. `EMSGSIZE` if it was longer than `buffer`, `EAGAIN` if the socket is
/// non-blocking and there is none.
pub fn recv_with_fds(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<Received> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let result = io::retry_on_intr(|| {
        let buffers = &mut [IoSliceMut::new(buffer)];
        net::recvmsg(&socket, buffers, &mut control, RecvFlags::CMSG_CLOEXEC)
    })?;
    reached(Point::Received);
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            fds.extend(received);
        }
    }
    if result.flags.contains(ReturnFlags::TRUNC) {
        return Err(Errno::MSGSIZE);
    }
    let has_lost_fds = result.flags.contains(ReturnFlags::CTRUNC);
    Ok(Received { len: result.bytes, fds, has_lost_fds })
}

/// Makes reads and writes of `fd` return `EAGAIN` instead of waiting.
pub fn set_nonblocking(fd: impl AsFd) -> io::Result<()> {
    fcntl_setfl(&fd, fcntl_getfl(&fd)? | OFlags::NONBLOCK)
}

/// A flag that the kernel can wait for: readable while set.
#[derive(Debug)]
pub struct Event(OwnedFd);

impl Event {
    /// A cleared event, close-on-exec.
    pub fn new() -> io::Result<Self> {
        Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    /// Makes it readable.
    pub fn set(&self) {
        // It fails only if it is set some 2^64 times already (EAGAIN), and then it is set.
        let _ = io::retry_on_intr(|| io::write(&self.0, &1u64.to_ne_bytes()));
    }

    /// Makes it unreadable; true if it was set.
    pub fn clear(&self) -> bool {
        let mut count = [0; 8];
        io::retry_on_intr(|| io::read(&self.0, &mut count)).is_ok()
    }
}

impl AsFd for Event {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
