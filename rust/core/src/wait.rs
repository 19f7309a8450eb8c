//! `wait`: which of many are ready.
//!
//! Invariant: an open `Wait` knows at every moment how many of its places are ready. Objects and own
//! cursors become so once; a shared cursor may be so and not so in turn, and each of its watchers
//! knows what it was told last. So a `wait` on n costs n when it is asked, n when it is answered,
//! and nothing that grows with n in between.

use crate::action::{Action, Reply};
use crate::event::{Held, Patience, Waitable};
use crate::id::{ClientId, ObjectId, RequestId, TaskId};
use crate::node::Node;
use crate::object::Waiter;
use crate::request::Open;
use crate::stream::Watcher;
use crate::value::Failure;

impl Node {
    pub(crate) fn wait(
        &mut self,
        client: ClientId,
        id: RequestId,
        (on, count): (Box<[Waitable]>, usize),
        patience: Patience,
        actions: &mut Vec<Action>,
    ) {
        let places = self.ready_places(&on, count);
        if places.len() >= count || patience == Patience::Now {
            return self.answer(client, id, Reply::Ready(places), actions);
        }
        let is_stray = |waitable: &Waitable| match *waitable {
            Waitable::Object(_) => false,
            Waitable::Stream(task) => self.is_stray(client, task, Held::Stream(task)),
            Waitable::Cursor(task, at) => self.is_stray(client, task, Held::Cursor(task, at)),
        };
        let is_unknown = |waitable: &Waitable| matches!(waitable, Waitable::Object(id) if !self.objects.contains_key(id));
        if on.iter().any(|waitable| is_stray(waitable) || is_unknown(waitable)) {
            let reply = Reply::Failed(Failure::Unknown);
            return self.answer(client, id, reply, actions);
        }
        for waitable in &on {
            let is_ready = self.is_ready(waitable);
            match *waitable {
                Waitable::Object(object) => self.register(object, client, id),
                Waitable::Stream(task) => self.watch(task, client, id, (None, is_ready)),
                Waitable::Cursor(task, at) => self.watch(task, client, id, (Some(at), is_ready)),
            }
        }
        let open = Open::Wait { on, count, ready: places.len() };
        self.open(client, id, open);
    }

    /// Whether a worker speaks of a stream that is there and that it does not hold.
    fn is_stray(&self, client: ClientId, task: TaskId, held: Held) -> bool {
        let is_held = |client| self.ledger_of(client).is_some_and(|row| row.handles.contains(held));
        client != ClientId::DRIVER && self.streams.contains_key(&task) && !is_held(client)
    }

    fn watch(
        &mut self,
        task: TaskId,
        client: ClientId,
        request: RequestId,
        (at, is_ready): (Option<u64>, bool),
    ) {
        if let Some(stream) = self.streams.get_mut(&task) {
            stream.watchers.push(Watcher { client, request, at, is_ready });
            self.note_share(task);
        }
    }

    /// Places of the first `count` that are ready.
    ///
    /// Also the driver's fast path.
    pub fn ready_places(&self, on: &[Waitable], count: usize) -> Vec<u32> {
        let places = on.iter().enumerate().filter(|(_, waitable)| self.is_ready(waitable));
        places.map(|(place, _)| place as u32).take(count).collect()
    }

    pub(crate) fn is_ready(&self, waitable: &Waitable) -> bool {
        match *waitable {
            Waitable::Object(id) => self.value_of(id).is_some(),
            Waitable::Stream(task) => self.is_stream_ready(task, None),
            Waitable::Cursor(task, at) => self.is_stream_ready(task, Some(at)),
        }
    }

    fn is_stream_ready(&self, task: TaskId, at: Option<u64>) -> bool {
        // One that is no longer in the table has ended.
        self.streams.get(&task).is_none_or(|stream| stream.is_ready(at))
    }

    /// One more place of an open `Wait` is ready; true if that answers it.
    pub(crate) fn place_is_ready(
        &mut self,
        client: ClientId,
        id: RequestId,
        actions: &mut Vec<Action>,
    ) -> bool {
        let Some(Open::Wait { on, count, ready }) = self.open_mut(client, id) else { return false };
        *ready += 1;
        if ready < count {
            return false;
        }
        let (on, count) = (std::mem::take(on), *count);
        let places = self.ready_places(&on, count);
        self.close(client, id);
        self.leave_wait(&on, client, id);
        self.answer(client, id, Reply::Ready(places), actions);
        true
    }

    /// A `Wait`, by now in no table, lets go of what it waited for.
    pub(crate) fn leave_wait(&mut self, on: &[Waitable], client: ClientId, id: RequestId) {
        for waitable in on {
            match *waitable {
                Waitable::Object(object) => self.unregister(object),
                Waitable::Stream(task) | Waitable::Cursor(task, _) => {
                    let Some(stream) = self.streams.get_mut(&task) else { continue };
                    let is_it =
                        |watcher: &Watcher| (watcher.client, watcher.request) == (client, id);
                    // The latest is the likeliest to give up.
                    if let Some(place) = stream.watchers.iter().rposition(is_it) {
                        stream.watchers.remove(place);
                    }
                }
            }
        }
    }

    /// A stream has, or no longer has, what its readers can take: tells whoever waits for that.
    pub(crate) fn tell_watchers(&mut self, task: TaskId, actions: &mut Vec<Action>) {
        let Some(stream) = self.streams.get_mut(&task) else { return };
        if stream.watchers.is_empty() {
            return;
        }
        // Taken out meanwhile, so that those that are answered need not be looked for.
        let mut watchers = std::mem::take(&mut stream.watchers);
        watchers.retain_mut(|watcher| {
            let Watcher { client, request, at, .. } = *watcher;
            let is_ready = self.is_stream_ready(task, at);
            if std::mem::replace(&mut watcher.is_ready, is_ready) == is_ready {
                return self.is_open(client, request);
            }
            if is_ready {
                return !self.place_is_ready(client, request, actions)
                    && self.is_open(client, request);
            }
            match self.open_mut(client, request) {
                Some(Open::Wait { ready, .. }) => *ready -= 1,
                _ => return false,
            }
            true
        });
        if let Some(stream) = self.streams.get_mut(&task) {
            stream.watchers = watchers;
        }
    }

    /// Keeps an object for an open request, and has that told if it is pending.
    pub(crate) fn register(&mut self, id: ObjectId, client: ClientId, request: RequestId) {
        let object = self.objects.get_mut(&id).expect("looked up by the caller");
        object.count += 1;
        object.wait(Waiter::Request(client, request));
    }

    /// A request, by now in no table, lets go of an object.
    pub(crate) fn unregister(&mut self, id: ObjectId) {
        self.leave(id);
        self.let_go_object(id);
    }
}
