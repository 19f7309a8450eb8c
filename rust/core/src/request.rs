//! Questions that are answered later, and what answers them.
//!
//! Invariants: every request is answered once, `Forget` included. An open `Get` or `Wait` keeps the
//! objects that it waits for. An answer with a stored value comes with a pin in the asker's ledger. A `Get`
//! becomes a `Fetch` when all its objects are sealed and some of them are spilled; that pins them.

use crate::action::{Action, Reply};
use crate::event::{Held, Request, Waitable};
use crate::id::{ClientId, ObjectId, RequestId, TaskId};
use crate::node::Node;
use crate::object::{Object, Waiter};
use crate::stream::Next;
use crate::value::{Failure, Value};

/// A request that waits.
#[derive(Debug)]
pub(crate) enum Open {
    /// So many of the objects are pending.
    Get { ids: Box<[ObjectId]>, missing: usize },
    /// All are sealed, and so many of those that were spilled may still come into memory.
    Fetch { ids: Box<[ObjectId]>, missing: usize },
    /// So many of the places are ready; answered when `count` are.
    Wait { on: Box<[Waitable]>, count: usize, ready: usize },
    /// In the stream's list.
    Next(TaskId),
    /// In the stream's list.
    Length(TaskId),
    /// In the queue for space.
    Allocate,
}

impl Node {
    /// One that asks something.
    pub(crate) fn ask(&mut self, client: ClientId, request: Request, actions: &mut Vec<Action>) {
        match request {
            Request::Get(id, objects) => self.get(client, id, objects, actions),
            Request::Wait(id, on, count, patience) => {
                self.wait(client, id, (on, count as usize), patience, actions);
            }
            Request::Next(request, task, at) => {
                self.next(task, Next { client, request, at, most: None }, actions);
            }
            Request::NextBatch(request, task, at, most) => {
                self.next(task, Next { client, request, at, most: Some(most) }, actions);
            }
            Request::Progress(id, task, at) => {
                let reply = self.progress(task, at);
                self.answer(client, id, reply, actions);
            }
            Request::Length(id, task, at) => match self.streams.get_mut(&task) {
                Some(stream) if !stream.is_at_end(at) => {
                    stream.lengths.push(Next { client, request: id, at, most: None });
                    self.open(client, id, Open::Length(task));
                }
                _ => {
                    let reply = self.progress(task, at);
                    self.answer(client, id, reply, actions);
                }
            },
            Request::Forget(id) => {
                if self.forget(client, id) {
                    self.answer(client, id, Reply::Forgotten, actions);
                }
            }
            Request::Allocate(id, size, within) => {
                self.allocate(client, id, (size, within), actions);
            }
            Request::Find(id, name) => self.find_actor(client, id, name, actions),
            Request::Describe(id, actor) if self.actors.contains_key(&actor) => {
                self.introduce(client, actor, id, actions);
            }
            Request::Describe(id, _) => {
                self.answer(client, id, Reply::Failed(Failure::Unknown), actions);
            }
            Request::Groups(id) => self.list_groups(client, id, actions),
            Request::Names(id) => {
                let mut names: Vec<_> = self.names.keys().cloned().collect();
                names.sort_unstable();
                self.answer(client, id, Reply::Names(names), actions);
            }
            Request::CallsUnderWay(id, actor) => {
                let reply = Reply::Count(self.calls_under_way(client, actor));
                self.answer(client, id, reply, actions);
            }
            Request::Resources(id) => {
                let reply = Reply::Resources(self.resources.table());
                self.answer(client, id, reply, actions);
            }
            Request::Inspect(id, query) => {
                let reply = Reply::Rows(self.inspect(&query, &()));
                self.answer(client, id, reply, actions);
            }
            other => unreachable!("{other:?} asks nothing"),
        }
    }

    fn get(
        &mut self,
        client: ClientId,
        id: RequestId,
        objects: Box<[ObjectId]>,
        actions: &mut Vec<Action>,
    ) {
        let mut missing = 0;
        let mut error = None;
        for (place, object) in objects.iter().enumerate() {
            match self.objects.get(object).map(Object::value) {
                None => {
                    let reply = Reply::Failed(Failure::Unknown);
                    return self.answer(client, id, reply, actions);
                }
                Some(None) => missing += 1,
                Some(Some(value)) if value.is_error() && error.is_none() => error = Some(place),
                Some(Some(_)) => {}
            }
        }
        if let Some(place) = error {
            let reply = self.error_reply(client, &objects, place);
            return self.answer(client, id, reply, actions);
        }
        if missing == 0 {
            return self.give_values(client, id, objects, actions);
        }
        for object in &objects {
            self.register(*object, client, id);
        }
        self.open(client, id, Open::Get { ids: objects, missing });
    }

    /// A waiter of that object, by now in no table, has given up.
    pub(crate) fn leave(&mut self, id: ObjectId) {
        let left = self.objects.get_mut(&id).and_then(Object::leave);
        let Some(mut waiters) = left else { return };
        waiters.retain(|waiter| match *waiter {
            Waiter::Task(task) => self.tasks.contains_key(&task),
            Waiter::Request(client, request) => self.is_open(client, request),
        });
        self.objects.get_mut(&id).expect("looked up just now").stay(waiters);
    }

    /// All are sealed: they are the answer, once those that were spilled are in memory.
    fn give_values(
        &mut self,
        client: ClientId,
        id: RequestId,
        ids: Box<[ObjectId]>,
        actions: &mut Vec<Action>,
    ) {
        // What is lost while others are pending is found here.
        let is_lost = |id: &ObjectId| self.value_of(*id).is_some_and(Value::is_error);
        if let Some(place) = ids.iter().position(is_lost) {
            let reply = self.error_reply(client, &ids, place);
            return self.answer(client, id, reply, actions);
        }
        let is_spilled =
            |id: &&ObjectId| self.value_of(**id).is_some_and(|value| value.extent().is_some());
        let spilled: Vec<ObjectId> = ids.iter().filter(is_spilled).copied().collect();
        if spilled.is_empty() {
            let reply = self.values_reply(client, &ids);
            return self.answer(client, id, reply, actions);
        }
        for object in &ids {
            self.keep(Held::Pin(*object));
        }
        let mut missing = 0;
        for object in spilled {
            if self.fetch(object, actions) {
                let row = self.disk.rows.get_mut(&object).expect("a spilled object has an extent");
                row.waiters.push((client, id));
                missing += 1;
            }
        }
        self.open(client, id, Open::Fetch { ids, missing });
        if missing == 0 {
            self.end_fetch(client, id, None, actions);
        }
    }

    /// One of the objects that a `Fetch` waits for is in memory, or will not be.
    pub(crate) fn fetched(&mut self, client: ClientId, id: RequestId, actions: &mut Vec<Action>) {
        let Some(Open::Fetch { missing, .. }) = self.open_mut(client, id) else { return };
        *missing -= 1;
        if *missing == 0 {
            self.end_fetch(client, id, None, actions);
        }
    }

    /// One of the objects that a `Fetch` waits for is lost.
    pub(crate) fn lost(
        &mut self,
        client: ClientId,
        id: RequestId,
        object: ObjectId,
        actions: &mut Vec<Action>,
    ) {
        if let Some(Open::Fetch { .. }) = self.open_mut(client, id) {
            self.end_fetch(client, id, Some(object), actions);
        }
    }

    fn end_fetch(
        &mut self,
        client: ClientId,
        id: RequestId,
        lost: Option<ObjectId>,
        actions: &mut Vec<Action>,
    ) {
        let Some(Open::Fetch { ids, .. }) = self.close(client, id) else {
            unreachable!("the caller has seen it")
        };
        // Another request may have found that out meanwhile.
        let is_lost = |id: &ObjectId| self.value_of(*id).is_some_and(Value::is_error);
        let place = ids.iter().position(|id| Some(*id) == lost || is_lost(id));
        let reply = match place {
            Some(place) => self.error_reply(client, &ids, place),
            None => self.values_reply(client, &ids),
        };
        self.let_go_fetched(&ids);
        self.answer(client, id, reply, actions);
    }

    fn let_go_fetched(&mut self, ids: &[ObjectId]) {
        for object in ids {
            self.unpin(*object);
            self.let_go_object(*object);
        }
    }

    fn values_reply(&mut self, client: ClientId, ids: &[ObjectId]) -> Reply {
        let mut pins = Vec::new();
        let values: Vec<Value> = ids
            .iter()
            .map(|id| {
                let value = self.value_of(*id).cloned().expect("all are sealed");
                if value.is_stored() {
                    pins.push(*id);
                }
                value
            })
            .collect();
        for id in &pins {
            self.hand_out(client, Held::Pin(*id));
        }
        Reply::Values { values, pins }
    }

    fn error_reply(&mut self, client: ClientId, ids: &[ObjectId], place: usize) -> Reply {
        // All that it asked for counts as fetched, though one error is all that it gets.
        for id in ids {
            self.mark_seen(*id);
        }
        let id = ids[place];
        let value = self.value_of(id).cloned().expect("an error is sealed");
        let pin = value.is_stored().then_some(id);
        if pin.is_some() {
            self.hand_out(client, Held::Pin(id));
        }
        Reply::Error { place: place as u32, value, pin }
    }

    /// An object that an open request waits for has been sealed.
    pub(crate) fn object_is_ready(
        &mut self,
        client: ClientId,
        id: RequestId,
        object: ObjectId,
        actions: &mut Vec<Action>,
    ) {
        let is_error = self.value_of(object).is_some_and(Value::is_error);
        let Some(Open::Get { ids, missing }) = self.open_mut(client, id) else {
            self.place_is_ready(client, id, actions);
            return;
        };
        *missing -= 1;
        if *missing > 0 && !is_error {
            return;
        }
        let ids = std::mem::take(ids);
        self.close(client, id);
        if is_error {
            let place = ids.iter().position(|id| *id == object);
            let place = place.expect("it waits for this object");
            let reply = self.error_reply(client, &ids, place);
            self.answer(client, id, reply, actions);
        } else {
            self.give_values(client, id, ids.clone(), actions);
        }
        for object in ids {
            self.unregister(object);
        }
    }

    /// Takes an open request out of all tables; false if it is not open.
    fn forget(&mut self, client: ClientId, id: RequestId) -> bool {
        let open = self.close(client, id);
        let is_open = open.is_some();
        if let Some(open) = open {
            self.withdraw(client, id, open);
        }
        is_open
    }

    /// A request, by now in no table, waits for nothing any more.
    pub(crate) fn withdraw(&mut self, client: ClientId, id: RequestId, open: Open) {
        let is_it = |next: &Next| (next.client, next.request) == (client, id);
        match open {
            Open::Get { ids, .. } => {
                for object in ids {
                    self.unregister(object);
                }
            }
            Open::Fetch { ids, .. } => self.let_go_fetched(&ids),
            Open::Wait { on, .. } => self.leave_wait(&on, client, id),
            Open::Next(task) => {
                let Some(stream) = self.streams.get_mut(&task) else { return };
                if let Some(place) = stream.nexts.iter().rposition(is_it) {
                    stream.nexts.remove(place);
                } else if let Some(place) = stream.own_nexts.iter().rposition(is_it) {
                    stream.own_nexts.swap_remove(place);
                }
            }
            Open::Length(task) => {
                let Some(stream) = self.streams.get_mut(&task) else { return };
                if let Some(place) = stream.lengths.iter().rposition(is_it) {
                    stream.lengths.swap_remove(place);
                }
            }
            Open::Allocate => self.room.forget(client, id),
        }
    }
}
