//! Rust threads inside a Python process, its heap, and the end of a process group.
//!
//! Invariant: a signal sent to the process is handled by one of Python's own threads, whose waits it
//! must interrupt; a Rust thread that took it would swallow that. So each Rust thread blocks all.

use std::mem::MaybeUninit;

use rustix::io;
use rustix::process::{self, Signal};
use rustix::thread;

/// Blocks all signals in the calling thread; threads that it starts inherit this.
pub fn block_all_signals() {
    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `sigfillset` initialises the set that it is given.
    unsafe { libc::sigfillset(all.as_mut_ptr()) };
    // SAFETY: `all` is initialised; a null old set is allowed. It cannot fail for SIG_SETMASK.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), std::ptr::null_mut()) };
}

/// Has the allocator give free memory back to the kernel. Takes milliseconds. Only glibc can.
pub fn trim_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it may be called by any thread at any time; 0 is the room to leave at the top.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Moves the calling thread to another core than the one it runs on, if it may use one.
///
/// It may run on all of its cores again afterwards: it just does not start from this one.
pub fn step_aside() -> io::Result<()> {
    let all = thread::sched_getaffinity(None)?;
    if all.count() < 2 {
        return Ok(());
    }
    let mut others = all;
    others.unset(thread::sched_getcpu());
    thread::sched_setaffinity(None, &others)?;
    thread::sched_setaffinity(None, &all)
}

/// Kills every process of the caller's process group, the caller included: the end of a worker whose
/// driver is gone, and of whatever its tasks have started. Returns only if the kernel refuses.
pub fn kill_own_group() -> io::Result<()> {
    process::kill_current_process_group(Signal::KILL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stepping_aside_changes_the_core_and_not_what_may_be_used() {
        let all = thread::sched_getaffinity(None).unwrap();
        // The kernel may bring it back at once, but not each time.
        let has_moved = (0..100).any(|_| {
            let core = thread::sched_getcpu();
            step_aside().unwrap();
            thread::sched_getcpu() != core
        });
        assert_eq!(has_moved, all.count() > 1);
        assert_eq!(thread::sched_getaffinity(None).unwrap(), all);
    }
}
