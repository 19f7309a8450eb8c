//! Carrying out what the node has decided.
//!
//! Invariant: every action is carried out, in its order, under the lock under which it was decided. None
//! of them waits: what takes time is ordered from another thread.

use rustix::process::Signal;
use skate_core::action::{Action, Run};
use skate_core::event::Event;
use skate_core::id::ClientId;
use skate_core::value::Span;

use super::{Host, State};
use crate::disk::Job;
use crate::link::Doom;
use crate::mailbox::Letter;
use crate::notice::Notice;
use crate::placing::in_segment;
use crate::problem::Problem;
use crate::session::Session;
use crate::watcher::Order;
use crate::wire::ToWorker;

impl Host {
    /// Does what the node has decided, and what follows from that.
    pub(super) fn carry_out(&self, state: &mut State) {
        while !state.actions.is_empty() {
            let mut actions = std::mem::take(&mut state.actions);
            for action in actions.drain(..) {
                self.act(state, action);
            }
            if state.actions.is_empty() {
                // Keeps the allocation.
                state.actions = actions;
            }
        }
    }

    pub(super) fn act(&self, state: &mut State, action: Action) {
        match action {
            Action::Spawn(worker) => self.spawn(state, worker),
            Action::Run(worker, run) => Self::send_run(state, worker, run),
            Action::Revoke(worker, ticket) => {
                let is_revoked = state.links.get(&worker).is_some_and(|link| link.revoke(ticket));
                let event = if is_revoked {
                    Event::Revoked(worker, ticket)
                } else {
                    Event::RevokeRefused(worker, ticket)
                };
                state.node.step(event, &mut state.actions);
            }
            Action::Reply(ClientId::DRIVER, request, reply) => {
                if let Some(reply) = self.answers.deliver(request, reply)
                    && let Some(session) = Session::current()
                {
                    session.give_back(reply);
                }
                // A leader that is parked must hear of an answer that another thread brought about.
                self.hub.bell().ring(skate_shm::doorbell::Urgency::Relaxed);
            }
            Action::Reply(worker, request, reply) => {
                let message = ToWorker::Reply(request, reply);
                state.tell(worker, |link, scratch| link.send(&message, scratch));
            }
            Action::Credit(worker, ticket, taken) => {
                state.tell(worker, |link, _| link.grant(ticket, taken));
            }
            Action::CreditBytes(worker, ticket, bytes) => {
                if let Some(link) = state.links.get(&worker) {
                    link.grant_bytes(ticket, bytes);
                }
            }
            Action::StreamClosed(worker, ticket) => {
                state.tell(worker, |link, _| link.close_stream(ticket));
            }
            Action::StreamDropped(worker, ticket) => {
                state.tell(worker, |link, _| link.drop_stream(ticket));
            }
            Action::Interrupt(worker, ticket) => {
                if let Some(link) = state.links.get(&worker) {
                    link.cancel(ticket);
                    // It may have ended by itself; its death is on the way then.
                    let _ = link.process.as_ref().map(|process| process.signal(Signal::INT));
                    self.watcher.order(Order::Nudge { worker, ticket });
                }
            }
            Action::Notify(worker, ticket) => {
                state.tell(worker, |link, scratch| {
                    link.cancel(ticket);
                    link.send(&ToWorker::Cancelled(ticket), scratch);
                });
            }
            Action::Kill(worker, why) => {
                if let Some(link) = state.links.get_mut(&worker) {
                    link.doom = Doom::Kill(why);
                    let _ = link.process.as_ref().map(|process| process.signal(Signal::KILL));
                }
            }
            Action::Retire(worker) => {
                state.tell(worker, |link, scratch| link.send(&ToWorker::Leave, scratch));
            }
            Action::Punch(span) => self.punch(span),
            Action::Write(number, pieces) => self.order_disk(Job::Write(number, pieces)),
            Action::Read(object, extent, to) => self.order_disk(Job::Read(object, extent, to)),
            Action::Prepare(span) => self.order_disk(Job::Prepare(span)),
            Action::Discard(span) => self.order_disk(Job::Discard(span)),
            Action::CannotSpill(why) => self.notify(Notice::CannotSpill(why)),
            Action::Undefine(id) => {
                let function = state.definitions.remove(id);
                for link in state.links.values_mut() {
                    link.undefine(id, function);
                }
            }
            Action::TrimHeap => state.is_heap_loose = true,
            Action::Unhandled { task, task_name, returns, error } => {
                let error = Problem::new(task, task_name, returns, &error);
                self.notify(Notice::Unhandled(error.clone()));
                self.problems.lock().push(error);
            }
            Action::Infeasible { task_name, missing } => {
                self.notify(Notice::Infeasible { task_name, missing });
            }
        }
    }

    /// Sends a dispatch, after what the worker has not seen of its template.
    fn send_run(state: &mut State, worker: ClientId, run: Run) {
        let State { links, definitions, .. } = state;
        let Some(link) = links.get_mut(&worker) else { return };
        let template = definitions.get(run.template);
        let template = template.filter(|_| link.is_new_template(run.template)).cloned();
        let function = template.as_ref().filter(|template| link.is_new_function(template));
        let function = function
            .and_then(|template| Some((template.function, definitions.code_of(template)?.clone())));
        state.tell(worker, |link, scratch| {
            link.send_undefined(scratch);
            if let Some((id, bytes)) = function {
                link.send(&ToWorker::Function(id, bytes), scratch);
            }
            if let Some(template) = template {
                link.send(&ToWorker::Define(run.template, template), scratch);
            }
            link.run(run, scratch);
        });
    }

    /// At the end: a child that this process forked would keep it.
    pub(super) fn give_back_memory(&self) {
        let mut state = self.lock();
        // What this process has come to see counts, and what it sees no more does not.
        self.flush(&mut state, None);
        state.node.given_up().into_iter().for_each(|span| self.punch(span));
        self.finish(state);
    }

    fn punch(&self, span: Span) {
        let Some(segment) = self.segment.upgrade() else { return };
        let span = in_segment(span);
        #[allow(unsafe_code, reason = "only the node knows that the span is free")]
        // SAFETY: the node has just said that the span is free: in no lease and in no object, so in no
        // view; or, at the end, in no lease and no view of this process, the last that there is. The lock
        // under which it said so is still held, so it cannot lease it, or let it be seen, meanwhile.
        unsafe {
            segment.punch(span);
        }
    }

    fn order_disk(&self, job: Job) {
        if let Err(error) = self.disk.order(job, &self.this, &self.segment) {
            self.lose(error.to_string());
        }
    }

    fn notify(&self, notice: Notice) {
        self.notices.post(notice.kind(), Letter::Notice(notice));
    }
}
