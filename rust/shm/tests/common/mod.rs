//! Real processes for tests: forked, watched, and certainly gone at the end.
#![allow(dead_code, reason = "each test file uses its part")]

use std::panic::{AssertUnwindSafe, catch_unwind};

/// A forked child. Dropped, it is killed and reaped.
pub(crate) struct Child {
    pid: libc::pid_t,
    reaped: bool,
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Exit(i32),
    Signal(i32),
}

/// Runs `body` in a forked child; a panic there is exit code 101. The body must not touch what another
/// thread of the parent may hold a lock of at the fork: stdout, or the panic hook, which the test
/// harness sets while its first tests run already.
pub(crate) fn fork(body: impl FnOnce()) -> Child {
    // SAFETY: the child runs only `body` and `_exit`; glibc's allocator survives a fork.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork failed");
    if pid == 0 {
        let code = if catch_unwind(AssertUnwindSafe(body)).is_ok() { 0 } else { 101 };
        // SAFETY: ends the child without running the parent's destructors.
        unsafe { libc::_exit(code) };
    }
    Child { pid, reaped: false }
}

impl Child {
    pub(crate) fn pid(&self) -> u32 {
        self.pid.unsigned_abs()
    }

    pub(crate) fn kill(&self) {
        // SAFETY: our own child, not reaped yet.
        unsafe { libc::kill(self.pid, libc::SIGKILL) };
    }

    /// Waits for the next change of the child: its end, or a stop under ptrace.
    pub(crate) fn wait_status(&mut self) -> i32 {
        let mut status = 0;
        // SAFETY: our own child; `status` is valid.
        let pid = unsafe { libc::waitpid(self.pid, &raw mut status, 0) };
        assert_eq!(pid, self.pid);
        self.reaped = libc::WIFEXITED(status) || libc::WIFSIGNALED(status);
        status
    }

    pub(crate) fn wait(&mut self) -> Ended {
        let status = self.wait_status();
        if libc::WIFSIGNALED(status) {
            Ended::Signal(libc::WTERMSIG(status))
        } else {
            Ended::Exit(libc::WEXITSTATUS(status))
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.reaped {
            self.kill();
            while !self.reaped {
                self.wait_status();
            }
        }
    }
}
