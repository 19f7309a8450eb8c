//! The workers that there are.
//!
//! ```text
//!   start_worker ─▶ Starting ──▶ Up, idle ◀──▶ with tasks, or an actor
//!                       │           │ surplus: retires             │
//!                       └───────────┴──── killed, or dies ─────────┴──▶ remove_worker: ∅
//!
//!   an unused one that idles ──▶ an actor's, and the pool gets another
//! ```
//!
//! Invariants: a worker is listed as idle exactly while it may be given a task and has none. When it
//! is gone, what it held goes by its ledger, and each of its tasks runs elsewhere or fails, once.

use std::sync::Arc;

use crate::action::Action;
use crate::id::{ActorId, ClientId, Ticket};
use crate::memory::Stopped;
use crate::node::Node;
use crate::scheduler::{MOST_START_FAILURES, Place};
use crate::value::{Failure, Value};
use crate::worker::{Life, Worker};

impl Node {
    /// Workers that run tasks.
    pub(crate) fn pool_size(&self) -> usize {
        self.workers.len() - self.actor_workers
    }

    /// Asks for one more worker, for tasks or for an actor; it may be sent messages from now on, and
    /// one for tasks counts as idle.
    pub(crate) fn start_worker(
        &mut self,
        actor: Option<ActorId>,
        actions: &mut Vec<Action>,
    ) -> ClientId {
        let worker = ClientId(self.next_worker);
        self.next_worker += 1;
        self.workers.insert(worker, Worker::new(actor));
        self.actor_workers += usize::from(actor.is_some());
        self.list_idle(worker);
        actions.push(Action::Spawn(worker));
        worker
    }

    /// The process of an actor: one that has done nothing yet, and the pool gets another instead; else a
    /// new one. So an actor need not wait for a fork while an unused worker idles.
    pub(crate) fn worker_for_actor(
        &mut self,
        actor: ActorId,
        actions: &mut Vec<Action>,
    ) -> ClientId {
        let mut idle = self.idle.iter().map(|(_, worker)| *worker);
        let Some(worker) = idle.find(|worker| self.workers[worker].is_unused()) else {
            return self.start_worker(Some(actor), actions);
        };
        self.take_from_idle(worker);
        self.worker(worker).actor = Some(actor);
        self.actor_workers += 1;
        self.refill_pool(actions);
        worker
    }

    /// As many as at first, unless they cannot be made, or memory is short: then each task that finds none
    /// asks for one.
    pub(crate) fn refill_pool(&mut self, actions: &mut Vec<Action>) {
        let can_start = self.start_failures < MOST_START_FAILURES && !self.memory.is_short();
        while can_start && self.pool_size() < self.prestart as usize {
            self.start_worker(None, actions);
        }
    }

    /// The worker that has idled longest, if there are more than at first.
    pub(crate) fn surplus_worker(&self) -> Option<(u64, ClientId)> {
        let first = self.idle.first().copied()?;
        let is_surplus = self.pool_size() > self.prestart as usize;
        // One that is still starting has not idled.
        (is_surplus && self.workers[&first.1].life == Life::Up).then_some(first)
    }

    pub(crate) fn list_idle(&mut self, worker: ClientId) {
        let row = self.workers.get_mut(&worker).expect("the caller has it");
        if row.is_usable() {
            self.idle_counter += 1;
            row.idle_key = Some(self.idle_counter);
            row.idle_since_ns = self.now_ns;
            self.idle.insert((self.idle_counter, worker));
        }
    }

    /// Makes sure that an idle worker gets no task.
    pub(crate) fn take_from_idle(&mut self, worker: ClientId) {
        let key = self.workers.get_mut(&worker).and_then(|row| row.idle_key.take());
        if let Some(key) = key {
            self.idle.remove(&(key, worker));
        }
    }

    pub(crate) fn worker(&mut self, worker: ClientId) -> &mut Worker {
        self.workers.get_mut(&worker).expect("the caller knows that it is there")
    }

    /// Has a worker killed. `life` says whether what it still says counts.
    pub(crate) fn kill(
        &mut self,
        worker: ClientId,
        life: Life,
        why: &'static str,
        actions: &mut Vec<Action>,
    ) {
        self.take_from_idle(worker);
        let row = self.worker(worker);
        if row.life != Life::Condemned && row.life != life {
            row.life = life;
            actions.push(Action::Kill(worker, why));
        }
    }

    /// A worker is gone: what it had not started goes elsewhere for free.
    pub(crate) fn remove_worker(
        &mut self,
        worker: ClientId,
        death: &crate::value::Death,
        started: &[Ticket],
        actions: &mut Vec<Action>,
    ) {
        self.take_from_idle(worker);
        if !self.workers.contains_key(&worker) {
            return;
        }
        let requests = std::mem::take(&mut self.ledger(worker).requests);
        self.worker_requests -= requests.len();
        for (request, open) in requests {
            self.withdraw(worker, request, open);
        }
        self.hand_back_lent(worker, actions);
        self.end_watch(worker);
        let row = self.workers.remove(&worker).expect("looked up just now");
        self.undefine_all(worker);
        for dispatch in &row.queue {
            self.each_argument(dispatch.task, Self::unpin);
        }
        self.actor_workers -= usize::from(row.actor.is_some());
        match (row.grant, row.actor) {
            (Some(class), None) => {
                self.give_back_grant(worker, class, &row.devices, row.blocked);
            }
            (Some(class), Some(_)) => {
                self.resources.give(&self.classes[class as usize].demand, &row.devices);
                self.running -= u32::from(row.is_running());
                if let Some(blocked) = row.blocked {
                    self.settle_blocked(worker, class, blocked);
                }
            }
            (None, _) => {}
        }
        for (held, count) in row.ledger.handles.iter() {
            for _ in 0..count {
                self.let_go(held, actions);
            }
        }
        if let Some(actor) = row.actor {
            let mut death = death.clone();
            if let Some(stopped) = &row.stopped {
                death.note = Arc::clone(&stopped.why);
            }
            self.actor_lost(actor, worker, &Vec::from(row.queue), started, &death, actions);
            return self.schedule(actions);
        }
        // A process that was forked, and ends without a word, may be one that cannot begin anything: the next
        // one ends as well.
        let was_wanted = matches!(row.life, Life::Starting | Life::Up);
        let has_failed_to_start = was_wanted && started.is_empty() && !row.has_spoken;
        self.start_failures += u32::from(has_failed_to_start);
        // From the back, so that each goes to the front of its queue and the order stays.
        for (place, dispatch) in row.queue.iter().enumerate().rev() {
            let id = dispatch.task;
            let has_started = started.contains(&dispatch.ticket);
            let Some(task) = self.tasks.get_mut(&id) else { continue };
            if task.cancel.is_some() {
                self.fail_cancelled(id, actions);
            } else if task.is_closing && !has_started {
                self.end_unstarted(id, actions);
            } else if has_started && let Some(Stopped { why, was_alone }) = &row.stopped {
                if task.take_oom_retry(*was_alone) {
                    let fault = ("OUT_OF_MEMORY", Some(Arc::clone(why)));
                    self.history.retry(id, task, worker, fault, self.now_ns);
                    self.queue_up(id, Place::Front, actions);
                } else {
                    let (task_name, why) = (task.name(), Arc::clone(why));
                    let failure = Value::from(Failure::OutOfMemory { task_name, why });
                    self.fail(id, failure, &[], actions);
                }
            } else if has_started && !task.take_retry() {
                let task_name = task.name();
                self.fail_crashed(id, task_name, death.clone(), actions);
            } else if has_failed_to_start && !has_started && place == 0 && task.is_tired_of_starts()
            {
                let task_name = task.name();
                self.fail_to_start(id, task_name, death.clone(), actions);
            } else {
                if has_started {
                    let fault = ("WORKER_DIED", Some(death.to_string().into()));
                    self.history.retry(id, task, worker, fault, self.now_ns);
                }
                self.queue_up(id, Place::Front, actions);
            }
        }
        self.schedule(actions);
    }
}
