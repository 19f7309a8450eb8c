//! Questions that are answered later, and what answers them.
//!
//! Invariants: every request is answered once, `Forget` included. An open `Get` or `Wait` keeps the
//! objects that it waits for. An answer with a block comes with a pin in the asker's ledger.

use crate::action::{Action, Reply};
use crate::event::{Held, Patience, Request, Waitable};
use crate::id::{ClientId, ObjectId, RequestId, TaskId};
use crate::node::Node;
use crate::object::Waiter;
use crate::stream::{Next, Watcher};
use crate::task::Phase;
use crate::value::{Failure, Value};

/// A request that waits.
#[derive(Debug)]
pub(crate) enum Open {
    /// So many of the objects are pending.
    Get { ids: Box<[ObjectId]>, missing: usize },
    /// So many of those that can only become ready are; streams are counted when looked at.
    Wait { on: Box<[Waitable]>, count: usize, ready: usize, has_streams: bool },
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
                self.wait(client, id, on, count as usize, patience, actions);
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
                Some(stream) if !stream.is_over() => {
                    stream.lengths.push(Next { client, request: id, at, most: None });
                    self.requests.insert((client, id), Open::Length(task));
                }
                _ => {
                    let reply = self.progress(task, at);
                    self.answer(client, id, reply, actions);
                }
            },
            Request::Forget(id) => {
                if self.close(client, id) {
                    self.answer(client, id, Reply::Forgotten, actions);
                }
            }
            Request::Allocate(id, size) => {
                self.allocate(client, id, size, actions);
            }
            Request::Find(id, name) => self.find_actor(client, id, name, actions),
            Request::Describe(id, actor) if self.actors.contains_key(&actor) => {
                self.introduce(client, actor, id, actions);
            }
            Request::Describe(id, _) => {
                actions.push(Action::Reply(client, id, Reply::Failed(Failure::Unknown)));
            }
            Request::Groups(id) => self.list_groups(client, id, actions),
            Request::Names(id) => {
                let mut names: Vec<_> = self.names.keys().cloned().collect();
                names.sort_unstable();
                actions.push(Action::Reply(client, id, Reply::Names(names)));
            }
            Request::CallsUnderWay(id, actor) => {
                let reply = Reply::Count(self.calls_under_way(client, actor));
                actions.push(Action::Reply(client, id, reply));
            }
            Request::Resources(id) => {
                let reply = Reply::Resources(self.resources.table());
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
            match self.objects.get(object).map(|object| &object.value) {
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
            let reply = self.values_reply(client, &objects);
            return self.answer(client, id, reply, actions);
        }
        for object in &objects {
            self.register(*object, client, id);
        }
        self.requests.insert((client, id), Open::Get { ids: objects, missing });
    }

    /// Keeps an object for an open request, and has that told if it is pending.
    fn register(&mut self, id: ObjectId, client: ClientId, request: RequestId) {
        let object = self.objects.get_mut(&id).expect("looked up by the caller");
        object.count += 1;
        if object.value.is_none() {
            object.waiters.push(Waiter::Request(client, request));
        }
    }

    fn unregister(&mut self, id: ObjectId, client: ClientId, request: RequestId) {
        if let Some(object) = self.objects.get_mut(&id) {
            object.waiters.retain(|waiter| *waiter != Waiter::Request(client, request));
        }
        self.let_go_object(id);
    }

    fn values_reply(&mut self, client: ClientId, ids: &[ObjectId]) -> Reply {
        let mut pins = Vec::new();
        let values: Vec<Value> = ids
            .iter()
            .map(|id| {
                let value = self.objects[id].value.clone().expect("all are sealed");
                if value.block().is_some() {
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
        let value = self.objects[&id].value.clone().expect("an error is sealed");
        let pin = value.block().map(|_| id);
        if pin.is_some() {
            self.hand_out(client, Held::Pin(id));
        }
        Reply::Error { place: place as u32, value, pin }
    }

    fn wait(
        &mut self,
        client: ClientId,
        id: RequestId,
        on: Box<[Waitable]>,
        count: usize,
        patience: Patience,
        actions: &mut Vec<Action>,
    ) {
        let ready = self.ready_places(&on, count);
        if ready.len() >= count || patience == Patience::Now {
            return self.answer(client, id, Reply::Ready(ready), actions);
        }
        let mut has_streams = false;
        let mut ready = 0;
        for waitable in &on {
            match *waitable {
                Waitable::Object(object) => match self.objects.get(&object) {
                    None => {
                        // Undo is what `close` does, so it needs the request in the table.
                        let seen =
                            on.iter().take_while(|other| *other != waitable).copied().collect();
                        let open = Open::Wait { on: seen, count, ready, has_streams };
                        self.requests.insert((client, id), open);
                        self.close(client, id);
                        let reply = Reply::Failed(Failure::Unknown);
                        return self.answer(client, id, reply, actions);
                    }
                    Some(row) => {
                        ready += usize::from(row.value.is_some());
                        self.register(object, client, id);
                    }
                },
                Waitable::Stream(task) | Waitable::Cursor(task, _) => {
                    has_streams = true;
                    let at = if let Waitable::Cursor(_, at) = waitable { Some(*at) } else { None };
                    if let Some(stream) = self.streams.get_mut(&task) {
                        stream.watchers.push(Watcher { client, request: id, at });
                    }
                }
            }
        }
        self.requests.insert((client, id), Open::Wait { on, count, ready, has_streams });
    }

    /// Places of the first `count` that are ready.
    ///
    /// Also the driver's fast path.
    pub fn ready_places(&self, on: &[Waitable], count: usize) -> Vec<u32> {
        let is_ready = |waitable: &Waitable| match waitable {
            Waitable::Object(id) => self.objects.get(id).is_some_and(|row| row.value.is_some()),
            Waitable::Stream(task) => self.is_stream_ready(*task, None),
            Waitable::Cursor(task, at) => self.is_stream_ready(*task, Some(*at)),
        };
        let places = on.iter().enumerate().filter(|(_, waitable)| is_ready(waitable));
        places.map(|(place, _)| place as u32).take(count).collect()
    }

    fn is_stream_ready(&self, task: TaskId, at: Option<u64>) -> bool {
        // One that is no longer in the table has ended.
        self.streams.get(&task).is_none_or(|stream| stream.is_ready(at))
    }

    /// An object that an open request waits for has been sealed.
    pub(crate) fn object_is_ready(
        &mut self,
        client: ClientId,
        id: RequestId,
        object: ObjectId,
        actions: &mut Vec<Action>,
    ) {
        let is_error =
            self.objects[&object].value.as_ref().is_some_and(crate::value::Value::is_error);
        match self.requests.get_mut(&(client, id)) {
            Some(Open::Get { ids, missing }) => {
                *missing -= 1;
                if *missing > 0 && !is_error {
                    return;
                }
                let ids = ids.clone();
                let reply = if is_error {
                    let place = ids.iter().position(|id| *id == object);
                    self.error_reply(client, &ids, place.expect("it waits for this object"))
                } else {
                    self.values_reply(client, &ids)
                };
                self.close(client, id);
                self.answer(client, id, reply, actions);
            }
            Some(Open::Wait { count, ready, has_streams, .. }) => {
                *ready += 1;
                if *ready >= *count || *has_streams {
                    self.look_again(client, id, actions);
                }
            }
            Some(Open::Next(_) | Open::Length(_) | Open::Allocate) | None => {}
        }
    }

    /// Answers an open `Wait` if enough is ready.
    pub(crate) fn look_again(
        &mut self,
        client: ClientId,
        id: RequestId,
        actions: &mut Vec<Action>,
    ) {
        let Some(Open::Wait { on, count, .. }) = self.requests.get(&(client, id)) else { return };
        let places = self.ready_places(on, *count);
        if places.len() >= *count {
            self.close(client, id);
            self.answer(client, id, Reply::Ready(places), actions);
        }
    }

    /// Takes an open request out of all tables; false if it is not open.
    pub(crate) fn close(&mut self, client: ClientId, id: RequestId) -> bool {
        let Some(open) = self.requests.remove(&(client, id)) else { return false };
        let is_other = |next: &Next| (next.client, next.request) != (client, id);
        match open {
            Open::Get { ids, .. } => {
                for object in ids {
                    self.unregister(object, client, id);
                }
            }
            Open::Wait { on, .. } => {
                for waitable in on {
                    match waitable {
                        Waitable::Object(object) => self.unregister(object, client, id),
                        Waitable::Stream(task) | Waitable::Cursor(task, _) => {
                            if let Some(stream) = self.streams.get_mut(&task) {
                                stream.watchers.retain(|watcher| {
                                    (watcher.client, watcher.request) != (client, id)
                                });
                            }
                        }
                    }
                }
            }
            Open::Next(task) => {
                if let Some(stream) = self.streams.get_mut(&task) {
                    stream.nexts.retain(is_other);
                }
            }
            Open::Length(task) => {
                if let Some(stream) = self.streams.get_mut(&task) {
                    stream.lengths.retain(is_other);
                }
            }
            Open::Allocate => self.room.forget(client, id),
        }
        true
    }

    /// A client is gone, and with it its questions.
    pub(crate) fn forget_all_of(&mut self, client: ClientId) {
        let of_client: Vec<_> =
            self.requests.keys().filter(|(asker, _)| *asker == client).copied().collect();
        for (client, id) in of_client {
            self.close(client, id);
        }
    }

    /// Whether something that this worker waits for comes from a task that does not run.
    pub(crate) fn waits_for_the_queue(&self, worker: ClientId) -> bool {
        let is_idle = |task: TaskId| {
            let phase = self.tasks.get(&task).map(|task| task.phase);
            match phase {
                None => false,
                Some(Phase::Waiting(_) | Phase::Ready) => true,
                Some(Phase::Dispatched(on, ticket)) => {
                    let front = self.workers[&on].queue.front();
                    front.is_none_or(|front| front.ticket != ticket)
                }
            }
        };
        self.requests.iter().filter(|((asker, _), _)| *asker == worker).any(
            |(_, open)| match open {
                Open::Get { ids, .. } => ids.iter().any(|id| is_idle(id.task)),
                Open::Wait { on, .. } => on.iter().any(|waitable| match waitable {
                    Waitable::Object(id) => is_idle(id.task),
                    Waitable::Stream(task) | Waitable::Cursor(task, _) => is_idle(*task),
                }),
                Open::Next(task) | Open::Length(task) => is_idle(*task),
                Open::Allocate => false,
            },
        )
    }
}
