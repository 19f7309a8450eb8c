//! What is looked at: every action against the model, who uses what, what is stuck, what is left.

use std::collections::BTreeMap;

use skate_core::action::{Action, Reply};
use skate_core::event::{Request, Returns};
use skate_core::id::{ActorId, ClientId, RequestId};
use skate_core::node::Statistics;
use skate_core::value::Failure;

use super::model::{Call, Stage};
use super::process::Claim;
use super::program::ONE;
use super::told::Told;
use super::world::World;

impl World {
    /// An action must be what the model says.
    pub(crate) fn verify(&mut self, action: &Action) {
        match action {
            Action::Run(worker, run) => {
                assert!(!self.condemned.contains(worker), "{worker:?} is to be killed");
                self.model.dispatched(*worker, run);
            }
            Action::Reply(client, request, reply) => self.verify_reply(*client, *request, reply),
            Action::Kill(worker, why) => {
                assert_eq!(*why, "its actor was killed", "{worker:?} is honest");
                self.condemned.insert(*worker);
            }
            Action::Infeasible { missing, .. } => panic!("there is enough: {missing:?}"),
            _ => {}
        }
    }

    fn verify_reply(&mut self, client: ClientId, id: RequestId, reply: &Reply) {
        let row = self.clients.get_mut(&client);
        let row = row.unwrap_or_else(|| panic!("{client:?} is gone and is answered {reply:?}"));
        let Some(asked) = row.asked.get_mut(&id) else {
            panic!("{client:?} did not ask {id:?}: {reply:?}")
        };
        assert!(!asked.is_answered, "{id:?} of {client:?} is answered twice: {reply:?}");
        asked.is_answered = true;
        let question = asked.question.clone();
        match (&question, reply) {
            (Request::Get(_, ids), Reply::Values { values, .. }) => {
                assert!(!values[0].is_error(), "{ids:?} hold an error among values");
                self.model.verify(ids[0], &Told::of(&values[0]));
            }
            (Request::Get(_, ids), Reply::Error { value, .. }) => {
                assert!(value.is_error());
                self.model.verify(ids[0], &Told::of(value));
            }
            (Request::Next(_, task, _), Reply::Item(item)) => self.model.took(*task, *item),
            (Request::Next(_, task, _), Reply::End | Reply::Returned) => {
                self.model.verify_end_of(*task);
            }
            (Request::CallsUnderWay(_, actor), Reply::Count(count)) => {
                let expected = self.model.calls_under_way(client, *actor);
                assert_eq!(*count, expected, "calls of {actor:?} under way");
            }
            (Request::Create(creation), Reply::Actor { actor, is_new, name, .. }) => {
                assert_eq!(*name, creation.name.as_ref().map(|(name, _)| name.clone()));
                let made = self.unnamed.remove(&creation.submit.task).unwrap();
                assert_eq!(*is_new, actor.0 == creation.submit.task);
                if *is_new {
                    self.hear_of(&made);
                    self.model.settle();
                } else {
                    assert_ne!(self.model.actors[actor].stage, Stage::Dead, "a name of the dead");
                }
            }
            (Request::Find(_, wanted), Reply::Actor { actor, name, .. }) => {
                assert_eq!(name.as_ref(), Some(wanted));
                assert_ne!(self.model.actors[actor].stage, Stage::Dead, "a name of the dead");
            }
            (_, Reply::Forgotten) | (Request::Find(..), Reply::Failed(Failure::NoSuchActor(_))) => {
            }
            (question, reply) => panic!("{question:?} is answered {reply:?}"),
        }
    }

    /// Nobody uses what is not there; no GPU is used beyond one whole.
    pub(crate) fn verify_resources(&self) {
        let mut used: BTreeMap<&str, u64> = BTreeMap::new();
        let mut devices: BTreeMap<u32, u64> = BTreeMap::new();
        for client in self.clients.values() {
            let template = match &client.actor {
                Some((actor, _)) => Some(&self.model.calls[&actor.0].template),
                None => client.executions.first().map(|execution| &execution.callable.template),
            };
            for (name, amount) in template.iter().flat_map(|template| &template.resources) {
                let is_lent = &**name == "CPU" && client.has_slept;
                *used.entry(name).or_default() += if is_lent { 0 } else { *amount };
                if &**name == "GPU" {
                    let each = (*amount).min(ONE);
                    assert_eq!(client.devices.len() as u64 * each, *amount, "{:?}", client.id);
                    for device in &client.devices {
                        *devices.entry(*device).or_default() += each;
                    }
                }
            }
        }
        for (name, total) in &self.setup.config.resources {
            let used = used.get(&**name).copied().unwrap_or(0);
            assert!(used <= *total, "{name} is overcommitted: {used} of {total}");
        }
        assert!(devices.values().all(|used| *used <= ONE), "GPUs are shared: {devices:?}");
    }

    /// Items that nobody has read of those streams of an actor that run and are read, and how many
    /// streams these are.
    pub(crate) fn unread_of(&self, actor: Option<ActorId>) -> (u64, u64) {
        let running = self.clients.values().flat_map(|client| {
            let read = |ticket| !client.slots[&ticket].is_dropped;
            client.executions.iter().filter(move |execution| read(execution.run.ticket))
        });
        let calls = running.map(|execution| &self.model.calls[&execution.run.task]);
        let is_shared =
            |call: &&Call| call.actor == actor && call.template.returns == Returns::Streaming;
        let of_actor = calls.filter(is_shared);
        let unread = of_actor.map(|call| call.published.saturating_sub(call.taken));
        unread.fold((0, 0), |(sum, count), unread| (sum + unread, count + 1))
    }

    /// Nothing can happen: whatever waits must have a reason.
    pub(crate) fn verify_stuck(&self) {
        for (id, client) in &self.clients {
            for (request, asked) in &client.asked {
                assert!(!asked.is_answered, "the answer to {request:?} of {id:?} was not read");
                let is_answerable = match &asked.question {
                    Request::Get(_, ids) => self.model.is_ready(ids[0]),
                    Request::Next(_, task, _) => self.model.is_stream_ready(*task),
                    _ => true,
                };
                assert!(!is_answerable, "{request:?} of {id:?}: {:?}", asked.question);
            }
            for execution in &client.executions {
                let task = execution.run.task;
                let until = execution.paused_until.expect("who can go on does");
                assert_eq!(self.model.returns(task), Returns::Streaming);
                let call = &self.model.calls[&task];
                let Some(window) = self.shared.window_of(call.actor, Returns::Streaming) else {
                    assert!(self.model.taken(task) < until, "{task:?} is paused and has credit");
                    continue;
                };
                let asked = self.clients.values().flat_map(|client| client.asked.values());
                let is_waited_for = asked
                    .filter(|asked| matches!(asked.question, Request::Next(_, of, _) if of == task))
                    .count();
                assert_eq!(is_waited_for, 0, "{task:?} is waited for and does not go on");
                let is_shared = |of: &&Call| {
                    of.actor == call.actor && of.template.returns == Returns::Streaming
                };
                let of_actor = self.model.calls.values().filter(is_shared);
                let all: u64 = of_actor.map(|of| of.total().saturating_sub(of.taken)).sum();
                let own = call.template.window.map_or(u64::MAX, u64::from);
                // One that is to run again keeps the room that it had been given.
                let keeps = |of: &Call| {
                    let begun = of.actor == call.actor && of.published > 0 && !of.has_ended();
                    begun
                        && of.place.is_none_or(|(worker, ticket)| {
                            self.clients[&worker].slots[&ticket].claim != Claim::Started
                        })
                };
                let is_full = all >= window
                    || call.published - call.taken >= own
                    || self.model.calls.values().any(keeps);
                assert!(is_full, "{task:?} is paused and there is room: {all} of {window}");
            }
        }
        for (id, call) in &self.model.calls {
            if call.has_ended() {
                continue;
            }
            match (call.place, call.actor) {
                (Some((worker, ticket)), _) => {
                    let client = &self.clients[&worker];
                    let of_lane = |lane: usize| {
                        client.executions.iter().filter(move |each| each.lane() == lane).count()
                    };
                    let lane = call.template.lane as usize;
                    let limit = client.actor.as_ref().map_or(1, |(_, limits)| limits[lane]);
                    let is_full = of_lane(lane) >= limit as usize;
                    assert!(
                        client.slots[&ticket].claim == Claim::Started || is_full,
                        "{id:?} is not begun"
                    );
                }
                // Its actor, or its class, may wait for resources that others have for life.
                (None, None) => {}
                (None, Some(actor)) if actor.0 == *id => {}
                (None, Some(_)) => {
                    assert!(self.model.is_held_up(*id), "{id:?} could run, and does not");
                }
            }
        }
    }

    /// All have let go of all, and nothing is left.
    pub(crate) fn verify_nothing_is_left(&self) {
        for (id, call) in &self.model.calls {
            let is_unneeded = call.actor == Some(skate_core::id::ActorId(*id));
            assert!(call.has_ended() || is_unneeded, "{id:?} cannot end");
        }
        let found = self.node.statistics();
        let expected = Statistics {
            capacity_bytes: found.capacity_bytes,
            warm_bytes: found.warm_bytes,
            workers: self.clients.len() as u64 - 1,
            workers_idle: self.clients.len() as u64 - 1,
            ..Statistics::default()
        };
        assert_eq!(found, expected, "something is left");
        assert!(self.node.is_idle() && !self.node.has_backlog() && self.node.running() == 0);
        for (name, total, available) in self.node.resources() {
            assert_eq!(total, available, "{name} was not given back");
        }
    }
}
