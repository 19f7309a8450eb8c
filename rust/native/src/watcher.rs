//! The driver's watcher: one thread for everything that is told by a descriptor or a clock.
//!
//! It starts workers through the zygote, learns of their deaths, reads their output, lets the node
//! know that time has passed, looks at memory, flushes the driver's drops, and lets in who wants to look.
//!
//! Invariants: every worker that was ordered is reported to the node once as started or not, and
//! every one that is gone as died, whatever becomes of the zygote. Processes that a dead worker has
//! started are killed with it: by the zygote, or here when there is none that can.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use rustix::pipe::{PipeFlags, pipe_with};
use skate_core::id::{ClientId, Ticket};
use skate_core::value::Death;
use skate_shm::fd::set_nonblocking;
use skate_shm::thread::block_all_signals;
use skate_shm::watch::{Poller, Process, Ready, wait_for_hang_up};

use crate::error::{Error, Result};
use crate::guard;
use crate::host::Host;
use crate::inspect::listener::Listener;
use crate::memory::Monitor;
use crate::nudge::Nudges;
use crate::output::Output;
use crate::session::Session;
use crate::ticker::{Quiet, Ticker};
use crate::zygote::{FromZygote, Recipe, Word, Zygote};

/// What the host asks of the watcher.
pub(crate) enum Order {
    /// Have a worker forked.
    Spawn { worker: ClientId, control: OwnedFd },
    /// Have the zygote import a module that coming workers need.
    Preload(&'static str),
    /// See to it that a task hears its cancel.
    Nudge { worker: ClientId, ticket: Ticket },
    /// Report a worker that could not even be prepared.
    Failed { worker: ClientId, note: String },
    /// End all processes, then the thread.
    ShutDown,
}

/// The host's handle on the thread.
pub(crate) struct Watcher {
    orders: Mutex<Vec<Order>>,
    ticker: Ticker,
    /// When the thread will let the node know of the time; `u64::MAX`: not by itself.
    next_ns: AtomicU64,
    poller: Mutex<Option<Poller>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// How long to wait before offering the zygote's socket more than it would take.
const FULL_SOCKET: Duration = Duration::from_millis(1);
/// Read from a pipe at once.
const CHUNK: usize = 64 << 10;
/// Chunks read from one pipe before the others have their turn; also more than a pipe holds.
const CHUNKS_AT_ONCE: usize = 16;
/// How long the end of a session may wait for processes that tasks had started, once they are killed.
const GROUP_PATIENCE: Duration = Duration::from_secs(1);
/// Between two looks at them.
const GLANCE: Duration = Duration::from_millis(1);
/// Bytes of a worker's standard error that are kept: its last line says why it could not begin.
const LAST_WORDS: usize = 1 << 10;
/// How long after a worker's end the zygote may take to say how it ended.
const STATUS_PATIENCE: Duration = Duration::from_secs(1);

/// What is said of a worker's end when the zygote has not told its status in time.
pub(crate) const UNKNOWN: &str = "nobody has seen how it ended";

const ZYGOTE: u64 = 0;
/// No worker has the number 0.
const LISTENER: u64 = 1;

/// Tokens of what belongs to a worker: which of its descriptors is in the low bits.
const STDOUT: u64 = 1;
const STDERR: u64 = 2;
const PROCESS: u64 = 3;

const fn token(worker: ClientId, which: u64) -> u64 {
    (worker.0 as u64) << 2 | which
}

impl Watcher {
    pub(crate) fn new() -> Result<Self> {
        let poller = Poller::new().map_err(|errno| Error::System("epoll", errno))?;
        Ok(Self {
            orders: Mutex::default(),
            ticker: Ticker::new(poller.waker()),
            next_ns: AtomicU64::new(0),
            poller: Mutex::new(Some(poller)),
            thread: Mutex::default(),
        })
    }

    pub(crate) fn order(&self, order: Order) {
        self.orders.lock().push(order);
        self.ticker.wake();
    }

    pub(crate) fn note_dirty(&self) {
        self.ticker.note_dirty();
    }

    /// The node wants to hear of the time at `deadline`.
    pub(crate) fn want(&self, deadline: Option<u64>) {
        let Some(deadline) = deadline else { return };
        if deadline < self.next_ns.load(Ordering::Relaxed)
            && deadline < self.next_ns.fetch_min(deadline, Ordering::AcqRel)
        {
            self.ticker.wake();
        }
    }

    /// When the thread will look again by itself. Called under the node's lock, as `want` is, so that
    /// no deadline falls between the two.
    pub(crate) fn set_next(&self, deadline: Option<u64>) {
        self.next_ns.store(deadline.unwrap_or(u64::MAX), Ordering::Release);
    }

    /// Starts the thread.
    pub(crate) fn start(
        host: &Arc<Host>,
        session: &Arc<Session>,
        recipe: Recipe,
        reads_output: bool,
        monitor: Option<Monitor>,
        listener: Option<Listener>,
    ) -> Result<()> {
        let watcher = host.watcher();
        let poller = watcher.poller.lock().take().expect("a watcher is started once");
        let zygote = Zygote::start(&recipe)?;
        let failed = |errno| Error::System("epoll_ctl", errno);
        poller.add(zygote.socket(), ZYGOTE).map_err(failed)?;
        if let Some(listener) = &listener {
            poller.add(listener.socket(), LISTENER).map_err(failed)?;
        }
        let mut watch = Watch {
            host: Arc::clone(host),
            session: Arc::clone(session),
            poller,
            recipe,
            zygote: Some(zygote),
            workers: FxHashMap::default(),
            reads_output,
            nudges: Nudges::default(),
            monitor,
            listener,
            chunk: vec![0; CHUNK],
        };
        let thread = std::thread::Builder::new()
            .name("skate-watch".into())
            .stack_size(512 << 10)
            .spawn(move || {
                block_all_signals();
                if let Err(why) = guard::run("skate-watch", || watch.run()) {
                    watch.host.lose(why);
                }
                watch.end_all();
            })
            .map_err(|error| Error::Thread(error.to_string()))?;
        *watcher.thread.lock() = Some(thread);
        Ok(())
    }

    /// Ends every process and the thread; returns when they are gone.
    pub(crate) fn shut_down(&self) {
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            self.order(Order::ShutDown);
            // Whatever ended it has been told.
            let _ = thread.join();
        }
    }
}

/// The last line of some text, as far as it is there.
fn last_line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text.trim_ascii_end());
    text.rsplit('\n').next().unwrap_or_default().to_owned()
}

/// A worker, seen from the watcher.
#[derive(Default)]
struct Watched {
    outputs: [Option<(OwnedFd, Output)>; 2],
    /// The latest [`LAST_WORDS`] bytes of standard error, whoever reads it.
    last_words: Vec<u8>,
    /// Its process, once forked. The host has a handle of its own, for signals.
    process: Option<Process>,
    /// The zygote that forked it has ended: no other can tell its status or kill what it has started.
    is_orphan: bool,
    /// The process has ended, and its status may come from the zygote until then.
    status_until: Option<Instant>,
}

impl Watched {
    /// What was killed with it is gone a moment later: waits for that. Not for who has left its group, and not
    /// for what nobody reaps: that holds no output any more.
    fn wait_for_group(&self, until: Instant) {
        let Some(process) = &self.process else { return };
        for (pipe, _) in self.outputs.iter().flatten() {
            while process.has_group() && !wait_for_hang_up(pipe, GLANCE) && Instant::now() < until {
            }
        }
    }

    /// Kills what is left of its group, when no zygote does. The group's number is still its own: the
    /// leader has not been reaped, or has ended only just now.
    fn kill_group(&self) {
        if let Some(process) = &self.process {
            let _ = process.kill_group();
        }
    }
}

struct Watch {
    host: Arc<Host>,
    session: Arc<Session>,
    poller: Poller,
    recipe: Recipe,
    zygote: Option<Zygote>,
    workers: FxHashMap<ClientId, Watched>,
    reads_output: bool,
    nudges: Nudges,
    /// None: nobody looks at memory.
    monitor: Option<Monitor>,
    /// None: nobody may look from outside.
    listener: Option<Listener>,
    chunk: Vec<u8>,
}

impl Watch {
    /// Until the session is to end, or why it cannot go on.
    fn run(&mut self) -> std::result::Result<(), String> {
        let mut ready = Vec::new();
        let mut quiet = Quiet::default();
        loop {
            let timeout = self.timeout(&mut quiet);
            if let Err(errno) = self.poller.wait(timeout, &mut ready) {
                return Err(Error::System("epoll_wait", errno).to_string());
            }
            for event in &ready {
                self.handle(event);
            }
            // After what the zygote has said meanwhile: this thread may have been late itself.
            self.settle_overdue();
            self.nudges.send_due(|worker, ticket| self.host.nudge(worker, ticket));
            let orders = std::mem::take(&mut *self.host.watcher().orders.lock());
            for order in orders {
                match order {
                    Order::Spawn { worker, control } => self.spawn(worker, control),
                    Order::Preload(module) => {
                        if let Some(zygote) = &mut self.zygote {
                            zygote.preload(module);
                        }
                    }
                    Order::Nudge { worker, ticket } => self.nudges.add(worker, ticket),
                    Order::Failed { worker, note } => self.died(worker, None, None, &note),
                    Order::ShutDown => return Ok(()),
                }
            }
            if self.host.handles().is_dirty() {
                self.session.transport.try_flush(&self.session);
            }
        }
    }

    fn timeout(&mut self, quiet: &mut Quiet) -> Option<Duration> {
        let memory = self.monitor.as_mut().map(|monitor| monitor.look(&self.host));
        let watcher = self.host.watcher();
        let due = self.host.on_time();
        let tick = watcher.ticker.timeout(quiet, || self.host.handles().is_dirty());
        let is_sent = self.zygote.as_mut().is_none_or(Zygote::send_outbox);
        let retry = (!is_sent).then_some(FULL_SOCKET);
        let overdue = self.workers.values().filter_map(|watched| watched.status_until).min();
        let overdue = overdue.map(|until| until.saturating_duration_since(Instant::now()));
        let nudge = self.nudges.timeout();
        due.into_iter().chain(memory).chain(tick).chain(retry).chain(overdue).chain(nudge).min()
    }

    /// Settles the deaths of which the zygote, perhaps stopped, has said nothing in time.
    fn settle_overdue(&mut self) {
        let now = Instant::now();
        let is_overdue = |watched: &Watched| watched.status_until.is_some_and(|until| until <= now);
        let overdue: Vec<_> = self
            .workers
            .iter()
            .filter(|(_, watched)| is_overdue(watched))
            .map(|(id, _)| *id)
            .collect();
        for worker in overdue {
            self.workers[&worker].kill_group();
            self.died(worker, None, None, UNKNOWN);
        }
    }

    fn handle(&mut self, event: &Ready) {
        let worker = ClientId((event.token >> 2) as u32);
        match event.token & 3 {
            _ if event.token == ZYGOTE => self.hear_zygote(),
            _ if event.token == LISTENER => {
                if let Some(listener) = &self.listener {
                    listener.accept();
                }
            }
            STDOUT => self.read_output(worker, 0),
            STDERR => self.read_output(worker, 1),
            _ => self.process_ended(worker),
        }
    }

    fn spawn(&mut self, worker: ClientId, control: OwnedFd) {
        let made = self.make_worker(worker, control);
        if let Err(error) = made {
            self.died(worker, None, None, &error.to_string());
        }
    }

    fn make_worker(&mut self, worker: ClientId, control: OwnedFd) -> Result<()> {
        let failed = |call| move |errno| Error::System(call, errno);
        if self.zygote.is_none() {
            let zygote = Zygote::start(&self.recipe)?;
            self.poller.add(zygote.socket(), ZYGOTE).map_err(failed("epoll_ctl"))?;
            self.zygote = Some(zygote);
        }
        let mut outputs = [None, None];
        let mut fds = vec![control];
        for (which, output) in outputs.iter_mut().enumerate() {
            let (read, write) = pipe_with(PipeFlags::CLOEXEC).map_err(failed("pipe"))?;
            set_nonblocking(&read).map_err(failed("fcntl"))?;
            let token = token(worker, if which == 0 { STDOUT } else { STDERR });
            self.poller.add(&read, token).map_err(failed("epoll_ctl"))?;
            *output = Some((read, Output::new(which == 1)));
            fds.push(write);
        }
        self.workers.insert(worker, Watched { outputs, ..Watched::default() });
        if let Some(zygote) = &mut self.zygote {
            zygote.spawn(worker.0, fds);
        }
        Ok(())
    }

    fn hear_zygote(&mut self) {
        loop {
            let Some(zygote) = &mut self.zygote else { return };
            match zygote.receive() {
                Word::Nothing => return,
                Word::Gone => return self.zygote_is_gone(),
                Word::Report(FromZygote::Ready, _) => {}
                Word::Report(FromZygote::Spawned { client, pid }, pidfd) => {
                    self.spawned(ClientId(client), pid, pidfd);
                }
                // Of one that was given up before, or that there never was, it is no news.
                Word::Report(FromZygote::Failed { client, error }, _) => {
                    if self.workers.contains_key(&ClientId(client)) {
                        self.died(ClientId(client), None, None, &error);
                    }
                }
                Word::Report(FromZygote::Exited { client, exit_code, signal }, _) => {
                    if self.workers.contains_key(&ClientId(client)) {
                        self.died(ClientId(client), exit_code, signal, "");
                    }
                }
            }
        }
    }

    fn spawned(&mut self, worker: ClientId, pid: u32, pidfd: Option<OwnedFd>) {
        // A second report would put its end off for ever: the first descriptor stays in the poller.
        let Some(watched) = self.workers.get_mut(&worker).filter(|row| row.process.is_none())
        else {
            return;
        };
        match Self::hold(&self.poller, worker, pid, pidfd) {
            Ok((process, copy)) => {
                watched.process = Some(process);
                self.host.worker_started(worker, copy);
            }
            Err(error) => {
                if let Some(zygote) = &mut self.zygote {
                    zygote.kill(worker.0);
                }
                let note = format!("the driver has no descriptor left for it ({error})");
                self.died(worker, None, None, &note);
            }
        }
    }

    /// Two handles on a worker's process, the first of which is watched; the other is the host's.
    fn hold(
        poller: &Poller,
        worker: ClientId,
        pid: u32,
        pidfd: Option<OwnedFd>,
    ) -> Result<(Process, Process)> {
        let failed = |call| move |errno| Error::System(call, errno);
        let pidfd = pidfd.ok_or(Error::System("recvmsg", rustix::io::Errno::MFILE))?;
        let copy = rustix::io::fcntl_dupfd_cloexec(&pidfd, 0).map_err(failed("dup"))?;
        let process = Process::from_parts(pid, pidfd).map_err(failed("pidfd"))?;
        let copy = Process::from_parts(pid, copy).map_err(failed("pidfd"))?;
        poller.add(&process, token(worker, PROCESS)).map_err(failed("epoll_ctl"))?;
        Ok((process, copy))
    }

    /// A pidfd says that a worker has ended. Its status comes from its zygote, while there is that one.
    fn process_ended(&mut self, worker: ClientId) {
        let Some(watched) = self.workers.get_mut(&worker) else { return };
        if let Some(process) = &watched.process {
            // It would be ready for ever.
            let _ = self.poller.remove(process);
        }
        if watched.is_orphan {
            watched.kill_group();
            self.died(worker, None, None, UNKNOWN);
        } else {
            watched.status_until.get_or_insert_with(|| Instant::now() + STATUS_PATIENCE);
        }
    }

    fn zygote_is_gone(&mut self) {
        let Some(mut zygote) = self.zygote.take() else { return };
        let _ = self.poller.remove(zygote.socket());
        let note = format!("the process that forks workers has ended ({})", zygote.end());
        // Those that it had not told of have done nothing, and end with it (`Link::admit`).
        let is_lost =
            |watched: &Watched| watched.process.is_none() || watched.status_until.is_some();
        let lost: Vec<_> = self
            .workers
            .iter()
            .filter(|(_, watched)| is_lost(watched))
            .map(|(id, _)| *id)
            .collect();
        for worker in lost {
            let watched = &self.workers[&worker];
            let note = if watched.process.is_none() { &note } else { UNKNOWN };
            watched.kill_group();
            self.died(worker, None, None, note);
        }
        self.workers.values_mut().for_each(|watched| watched.is_orphan = true);
    }

    fn died(&mut self, worker: ClientId, exit_code: Option<i32>, signal: Option<i32>, note: &str) {
        self.close_outputs(worker);
        let pid = self.host.pid_of(worker);
        let Watched { process, last_words, .. } = self.workers.remove(&worker).unwrap_or_default();
        if let Some(process) = process {
            let _ = self.poller.remove(&process);
        }
        let death = Death { pid, exit_code, signal, note: note.into() };
        self.host.worker_died(worker, death, &last_line(&last_words));
    }

    /// Takes what a worker wrote last, whether or not an orphan of its tasks could still write more.
    fn close_outputs(&mut self, worker: ClientId) {
        self.read_output(worker, 0);
        self.read_output(worker, 1);
        for which in [0, 1] {
            self.close_output(worker, which);
        }
    }

    fn read_output(&mut self, worker: ClientId, which: usize) {
        let pid = self.host.pid_of(worker);
        let Some(watched) = self.workers.get_mut(&worker) else { return };
        let Watched { outputs, last_words, .. } = watched;
        let Some((fd, output)) = &mut outputs[which] else { return };
        for _ in 0..CHUNKS_AT_ONCE {
            match rustix::io::read(&*fd, &mut self.chunk) {
                Ok(0) => return self.close_output(worker, which),
                Ok(len) => {
                    let chunk = &self.chunk[..len];
                    if which == 1 {
                        last_words.extend_from_slice(&chunk[len.saturating_sub(LAST_WORDS)..]);
                        last_words.drain(..last_words.len().saturating_sub(LAST_WORDS));
                    }
                    if self.reads_output {
                        output.feed(pid, chunk, self.host.notices());
                    }
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }

    fn close_output(&mut self, worker: ClientId, which: usize) {
        let pid = self.host.pid_of(worker);
        let Some(watched) = self.workers.get_mut(&worker) else { return };
        if let Some((fd, mut output)) = watched.outputs[which].take() {
            let _ = self.poller.remove(&fd);
            output.close(pid, self.host.notices());
        }
    }

    /// Kills and reaps everything.
    fn end_all(&mut self) {
        let silent = self.zygote.take().and_then(|mut zygote| (!zygote.exit()).then_some(zygote));
        let workers: Vec<_> = self.workers.keys().copied().collect();
        let until = Instant::now() + GROUP_PATIENCE;
        for worker in workers {
            let watched = &self.workers[&worker];
            if let Some(process) = &watched.process
                && (silent.is_some() || watched.is_orphan || !process.has_ended())
            {
                // Those of an earlier zygote, or of one that does not answer.
                watched.kill_group();
                process.wait(None);
            }
            watched.wait_for_group(until);
            self.close_outputs(worker);
        }
        // Only now: until here it keeps the numbers of dead workers from being given to others.
        if let Some(mut zygote) = silent {
            let _ = zygote.end();
        }
    }
}
