//! Who keeps what alive.
//!
//! ```text
//!   keepers of an object: a client's ledger (refs, pins) ┊ tasks (arguments) ┊ values that contain it
//!                         ┊ streams (unread items) ┊ open requests
//!   count 0 ─▶ on the list of the dead ─▶ sweep: value, block and what it contained go, which may
//!              put others on the list
//! ```
//!
//! Invariant: an object's count is the number of its keepers, each of which is written down somewhere
//! (`Node::check` adds them up). Nothing is freed in the middle of a transition: the list is swept at
//! the end of each step, without recursion, so a chain of a million containers needs no stack.

use crate::action::Action;
use crate::event::{End, Held};
use crate::id::{ActorId, ObjectId, TaskId};
use crate::node::Node;
use crate::object::Object;
use crate::shrink::Shrink as _;
use crate::value::Value;

impl Node {
    /// Whether a handle on it can be made: what it names is in a table.
    pub(crate) fn is_known(&self, held: Held) -> bool {
        match held {
            Held::Object(id) => self.objects.contains_key(&id),
            Held::Pin(id) => self.value_of(id).is_some_and(Value::is_stored),
            Held::Stream(task) => self.streams.get(&task).is_some_and(|stream| !stream.is_dynamic),
            // Positions behind what is kept would bring back items that are gone.
            Held::Cursor(task, at) => self.streams.get(&task).is_some_and(|stream| {
                stream.is_dynamic && stream.least_position().is_some_and(|least| least <= at)
            }),
            Held::Actor(id) | Held::WeakActor(id) => self.actors.contains_key(&id),
            // Leases come from the store alone.
            Held::Lease(_) | Held::DiskLease(_) => false,
        }
    }

    /// What a value contains that is not there is not kept: who finds it there hears that it is unknown.
    pub(crate) fn prune(&self, contains: &mut Box<[Held]>) {
        if !contains.iter().all(|held| self.is_known(*held)) {
            let known = contains.iter().copied().filter(|held| self.is_known(*held));
            *contains = known.collect();
        }
    }

    /// The same for all that a task ends with.
    pub(crate) fn prune_end(&self, end: &mut End) {
        match end {
            End::Returned(values) => {
                for (_, contains) in values {
                    self.prune(contains);
                }
            }
            End::Exhausted(_, _, contains) | End::Raised { holds: contains, .. } => {
                self.prune(contains);
            }
            End::Cancelled(_) | End::Left(_) => {}
        }
    }

    /// One more keeper of something known.
    pub(crate) fn keep(&mut self, held: Held) {
        match held {
            Held::Object(id) => self.keep_object(id),
            Held::Pin(id) => {
                self.pin(id);
                self.keep_object(id);
            }
            Held::Stream(task) => self.stream(task).handles += 1,
            Held::Cursor(task, at) => *self.stream(task).cursors.entry(at).or_default() += 1,
            Held::Actor(id) => self.actor(id).handles += 1,
            Held::WeakActor(id) => self.actor(id).weak_handles += 1,
            Held::Lease(_) | Held::DiskLease(_) => {}
        }
    }

    /// One keeper less.
    pub(crate) fn let_go(&mut self, held: Held, actions: &mut Vec<Action>) {
        match held {
            Held::Object(id) => self.let_go_object(id),
            Held::Pin(id) => {
                self.unpin(id);
                self.let_go_object(id);
            }
            Held::Stream(task) => {
                let stream = self.stream(task);
                stream.handles -= 1;
                if stream.handles == 0 {
                    self.let_go_object(task.whole());
                    self.trim(task, actions);
                }
            }
            Held::Cursor(task, at) => {
                let cursors = &mut self.stream(task).cursors;
                let count = cursors.get_mut(&at).expect("a held cursor is counted");
                *count -= 1;
                if *count == 0 {
                    cursors.remove(&at);
                    self.trim(task, actions);
                }
            }
            Held::Actor(id) => {
                self.actor(id).handles -= 1;
                self.ending.push(id);
            }
            Held::WeakActor(id) => {
                self.actor(id).weak_handles -= 1;
                self.ending.push(id);
            }
            Held::Lease(start) => self.store.end_lease(start),
            Held::DiskLease(start) => self.end_disk_lease(start, actions),
        }
    }

    pub(crate) fn keep_object(&mut self, id: ObjectId) {
        self.objects.get_mut(&id).expect("only what is known is kept").count += 1;
    }

    pub(crate) fn let_go_object(&mut self, id: ObjectId) {
        let object = self.objects.get_mut(&id).expect("what is kept is in the table");
        object.count -= 1;
        if object.count == 0 {
            self.dead.push(id);
        }
    }

    /// A new pending object, with one keeper.
    pub(crate) fn create(&mut self, id: ObjectId) {
        let old = self.objects.insert(id, Object::pending(1));
        debug_assert!(old.is_none(), "{id:?} was created before");
    }

    /// Frees what nobody keeps any more.
    pub(crate) fn sweep(&mut self, actions: &mut Vec<Action>) {
        while let Some(id) = self.dead.pop() {
            // It may have found a new keeper since, or be on the list twice.
            if self.objects.get(&id).is_none_or(|object| object.count > 0) {
                continue;
            }
            let object = self.objects.remove(&id).expect("looked up just now");
            if let Some((value, kin)) = object.into_value() {
                self.free_bytes(id, &value, actions);
                Self::drop_fate(kin.fate, value, actions);
                for held in kin.contains {
                    self.let_go(held, actions);
                }
            }
            if id == id.task.whole()
                && let Some(stream) = self.streams.get_mut(&id.task)
                && stream.is_dynamic
            {
                stream.has_root = false;
                self.trim(id.task, actions);
            }
        }
        self.dead.shrink();
    }

    fn actor(&mut self, id: ActorId) -> &mut crate::actor::Actor {
        self.actors.get_mut(&id).expect("an actor with a handle is in the table")
    }

    fn stream(&mut self, task: TaskId) -> &mut crate::stream::Stream {
        self.streams.get_mut(&task).expect("a stream with a reader is in the table")
    }
}
