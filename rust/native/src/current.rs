//! Which task a piece of code in a worker belongs to.
//!
//! ```text
//!   tasks, and actors that take turns   the process runs one: every thread belongs to it
//!   actors with threads                 each of these threads has its own
//!   actors with event loops             a context variable has it, so that what a call awaits or
//!                                       starts on its loop belongs to it, too
//! ```

use std::cell::{Cell, RefCell};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use skate_core::id::{TaskId, Ticket};

use crate::call::Call;
use crate::prepared::Prepared;

/// A task that runs.
pub(crate) struct Running {
    pub(crate) ticket: Ticket,
    pub(crate) task: TaskId,
    pub(crate) name: Arc<str>,
    pub(crate) attempt: u32,
    /// Once its function is unpickled: that is user code as well, and part of the task.
    pub(crate) prepared: OnceLock<Arc<Prepared>>,
    /// Items that it took from streams that were passed on to it.
    pub(crate) consumed: Mutex<Vec<(TaskId, u64)>>,
    /// Waits of its main thread, and of coroutines there: it sleeps while it is in any. Not of an actor that
    /// runs several calls at once: see `naps`.
    pub(crate) waits: Mutex<u32>,
}

/// Whose is the thread.
#[derive(Default)]
enum Owner {
    /// The process's.
    #[default]
    Shared,
    /// It executes calls of an actor beside others.
    Own(Option<Arc<Running>>),
}

thread_local! {
    static OWNER: RefCell<Owner> = const { RefCell::new(Owner::Shared) };
    /// Of which lane it runs the loop.
    static LOOP: Cell<Option<usize>> = const { Cell::new(None) };
}

/// The running tasks of a process.
pub(crate) struct Current {
    shared: Mutex<Option<Arc<Running>>>,
    /// The loop's context variable, once it serves.
    variable: PyOnceLock<Py<PyAny>>,
}

impl Current {
    pub(crate) const fn new() -> Self {
        Self { shared: Mutex::new(None), variable: PyOnceLock::new() }
    }

    /// This thread has tasks of its own from now on.
    pub(crate) fn own_thread() {
        OWNER.set(Owner::Own(None));
    }

    /// This thread runs the loop of a lane from now on.
    pub(crate) fn run_loop(lane: usize) {
        LOOP.set(Some(lane));
    }

    /// Of which lane this thread runs the loop.
    pub(crate) fn loop_of_thread() -> Option<usize> {
        LOOP.get()
    }

    /// The context variable that has the call, from now on.
    pub(crate) fn use_variable(&self, py: Python<'_>, variable: Py<PyAny>) {
        // All loops have one: the first that begins to serve sets it.
        let _ = self.variable.set(py, variable);
    }

    /// This thread runs that task, or none any more.
    pub(crate) fn set(&self, running: Option<Arc<Running>>) {
        let before = OWNER.with_borrow_mut(|owner| match owner {
            Owner::Shared => std::mem::replace(&mut *self.shared.lock(), running),
            Owner::Own(own) => std::mem::replace(own, running),
        });
        // It may be the last to hold an actor's instance, whose destructor is user code.
        drop(before);
    }

    /// The task that the calling code belongs to.
    pub(crate) fn get(&self) -> Option<Arc<Running>> {
        if let Some(own) = OWNER.with_borrow(|owner| match owner {
            Owner::Shared => None,
            Owner::Own(own) => Some(own.clone()),
        }) {
            return own;
        }
        let running = self.shared.lock().clone();
        if running.is_some() {
            return running;
        }
        Python::try_attach(|py| {
            let variable = self.variable.get(py)?.bind(py);
            let call = variable.call_method1(intern!(py, "get"), (py.None(),)).ok()?;
            Some(Arc::clone(call.cast::<Call>().ok()?.get().running()))
        })?
    }
}
