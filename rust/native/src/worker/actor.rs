//! A worker whose process is an actor's: who it is, and its calls that run several at once.
//!
//! Invariant: a process becomes an actor's by its first run, and stays it to its end.

use std::sync::Arc;

use pyo3::prelude::*;
use skate_core::action::Run;
use skate_core::event::Request;
use skate_core::group::is_cpu;
use skate_core::id::{ActorId, TemplateId, Ticket};

use super::Worker;
use crate::answer::Seat;
use crate::current::Running;
use crate::execute;
use crate::lanes::{Lanes, Turn};
use crate::naps::Naps;
use crate::prepared::Prepared;
use crate::pump::Engine as _;
use crate::session::{Session, Transport as _};
use crate::wire::{self, Serves, Target, TemplateBody};

impl Worker {
    /// If the run is an actor's constructor, this is its process from now on: how it serves. Its methods
    /// have the CPUs that the constructor has.
    pub(super) fn enter_actor(&self, py: Python<'_>, run: &Run) -> PyResult<(Serves, Box<[u32]>)> {
        if self.actor.get().is_some() {
            return Ok((Serves::InTurn, Box::default()));
        }
        let definition = self.templates.lock().definition(run.template).cloned();
        let definition = definition.expect("the node defines a template before its first run");
        self.use_cpus(py, &definition)?;
        if let Some(body) = wire::decode::<TemplateBody>(&definition.body)
            && let Target::Class(serves, limits) = body.target
        {
            let _ = self.actor.set((ActorId(run.task), run.attempt > 0));
            let _ = self.actor_template.set(run.template);
            let has_cpu = definition.resources.iter().any(|(name, _)| is_cpu(name));
            if serves != Serves::InTurn && has_cpu {
                let _ = self.naps.set(Naps::new(limits.len()));
            }
            return Ok((serves, limits));
        }
        Ok((Serves::InTurn, Box::default()))
    }

    /// Whether all streams of this process have one window together.
    pub(super) fn shares_window(&self) -> bool {
        let class = self.actor_template.get();
        class.is_some_and(|id| {
            self.templates.lock().definition(*id).is_some_and(|it| it.window.is_some())
        })
    }

    /// The actor whose process this is.
    pub(crate) fn actor(&self) -> Option<ActorId> {
        self.actor.get().map(|(actor, _)| *actor)
    }

    /// Whether that actor had a process before this one.
    pub(crate) fn was_restarted(&self) -> bool {
        self.actor.get().is_some_and(|(_, was_restarted)| *was_restarted)
    }

    /// Its class and options: what it holds.
    pub(crate) fn actor_class(&self) -> Option<Arc<Prepared>> {
        let template = self.actor_template.get()?;
        self.templates.lock().prepared(*template).cloned()
    }

    pub(super) fn lane_of(&self, template: TemplateId) -> usize {
        self.templates.lock().definition(template).map_or(0, |definition| definition.lane as usize)
    }

    /// Executes calls of a lane, in a thread of its own, until the process leaves. `spawn` is called
    /// to start another thread for the lane.
    pub(crate) fn serve(
        self: &Arc<Self>,
        session: &Arc<Session>,
        py: Python<'_>,
        lanes: &Lanes,
        lane: usize,
        spawn: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let seat = Arc::<Seat>::default();
        while !self.is_leaving() {
            match lanes.turn(lane, &seat) {
                Turn::Run(run, alone) => {
                    if alone && spawn.call0().is_err() {
                        lanes.lost_thread(lane);
                    }
                    if self.slot(run.ticket).claim(run.ticket.0) {
                        let ticket = run.ticket;
                        self.nap(session, |naps, tell| naps.began(ticket, lane, tell));
                        execute::execute(self, session, py, *run)?;
                    }
                }
                Turn::Wait => {
                    self.poll();
                    self.try_flush(session);
                    // However it ends, the lane is looked at again.
                    let _ = py.detach(|| session.pump.wait(&**self, &seat, None));
                }
            }
        }
        Ok(())
    }

    /// Tells the node if all calls of an actor that has CPU sleep from now on, or no longer.
    pub(crate) fn nap(
        &self,
        session: &Session,
        change: impl FnOnce(&Naps, &mut dyn FnMut(Request)),
    ) -> bool {
        let Some(naps) = self.naps.get() else { return false };
        change(naps, &mut |request| self.send(session, request));
        true
    }

    /// The task of this process begins a wait, or is through with one. The node hears of the first and of
    /// the last.
    pub(super) fn count_wait(&self, session: &Session, running: &Running, is_asleep: bool) {
        let mut waits = running.waits.lock();
        let request = match (is_asleep, *waits) {
            (true, 0) => Some(Request::Blocked(running.ticket)),
            (false, 1) => Some(Request::Resumed(running.ticket)),
            _ => None,
        };
        *waits = if is_asleep { *waits + 1 } else { waits.saturating_sub(1) };
        if let Some(request) = request {
            self.send(session, request);
        }
    }

    /// The task ends: what it still awaits keeps nobody.
    pub(crate) fn end_waits(&self, session: &Session) {
        if self.lanes.get().is_none()
            && let Some(running) = self.current.get()
            && std::mem::take(&mut *running.waits.lock()) > 0
        {
            self.send(session, Request::Resumed(running.ticket));
        }
    }

    /// A coroutine that belongs to a call of this process begins to wait: which call, if that counts.
    pub(crate) fn awaits(&self, session: &Session) -> Option<Ticket> {
        let running = self.current.get()?;
        let counts = if self.lanes.get().is_some() {
            self.nap(session, |naps, tell| naps.fell_asleep(running.ticket, tell))
        } else if crate::is_main_thread() {
            // In a loop that a task runs by itself.
            self.count_wait(session, &running, true);
            true
        } else {
            false
        };
        counts.then_some(running.ticket)
    }

    /// It is through with that, perhaps when the call has ended: then another one may run.
    pub(crate) fn awoke(&self, session: &Session, asleep: Ticket) {
        if self.lanes.get().is_some() {
            self.nap(session, |naps, tell| naps.woke(asleep, tell));
        } else if let Some(running) = self.current.get()
            && running.ticket == asleep
        {
            self.count_wait(session, &running, false);
        }
    }

    /// A call on the loop has ended.
    pub(crate) fn loop_call_ended(&self, lane: usize) {
        if let Some(lanes) = self.lanes.get() {
            lanes.ended(lane);
        }
    }
}
