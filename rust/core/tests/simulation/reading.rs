//! What readers must find, in the model: values and errors, items in order, ends.
//!
//! Invariant: through one cursor each item is given once and in order; only one that its taker never
//! saw is given again.

use std::ops::RangeInclusive;
use std::sync::Arc;

use skate_core::event::{Returns, Waitable};
use skate_core::id::{ActorId, ObjectId, TaskId};
use skate_core::value::{ActorEnd, Cause, Failure};

use super::content::{Content, WHOLE};
use super::ends::STOPPED;
use super::model::{ActorFate, Model};
use super::task::{Fate, Task};

impl Model {
    /// Panics unless that is what the object must hold.
    pub(crate) fn verify(&self, id: ObjectId, found: &Content) {
        assert!(self.is_ready(id), "{id:?} is read before its time: {found:?}");
        let task = self.tasks.get(&id.task);
        let actor = task.and_then(|task| self.actors.get(&task.actor?));
        assert!(self.may_hold(id, found), "{id:?} holds {found:?}; {task:?}; {actor:?}");
    }

    fn may_hold(&self, id: ObjectId, found: &Content) -> bool {
        let is_data = |wanted: u32| {
            let Content::Data { task, place, origin, .. } = found else { return false };
            let made_in = self.origins.get(&id).copied().unwrap_or_default();
            (*task, *place, *origin) == (id.task, wanted, made_in)
        };
        if self.is_lost(id) {
            return matches!(found, Content::Failed(Failure::Lost { object, .. }) if *object == id);
        }
        let Some(task) = self.tasks.get(&id.task) else { return is_data(0) };
        let is_whole = id.index == 0;
        if is_whole && task.template.returns == Returns::Dynamic {
            return *found == Content::Stream(id.task);
        }
        if !is_whole && u64::from(id.index) <= task.published {
            return is_data(id.index - 1);
        }
        let fates = task.fate.as_ref().unwrap();
        if fates.is_empty() {
            return is_whole && (is_data(WHOLE) || *found == Content::None);
        }
        if is_whole && !self.is_failure(id) {
            return *found == Content::None;
        }
        fates.iter().any(|fate| self.is_told(id.task, fate, found))
    }

    /// Whether that is what a task shows that has ended so.
    fn is_told(&self, id: TaskId, fate: &Fate, found: &Content) -> bool {
        match (fate, found) {
            (Fate::Raised { task, attempt }, Content::Raised { task: of, attempt: which, .. }) => {
                (task, attempt) == (of, which)
            }
            (Fate::Failed(Failure::OutOfMemory { task_name, .. }), Content::Failed(found)) => {
                matches!(found, Failure::OutOfMemory { task_name: name, .. } if name == task_name)
            }
            (Fate::Failed(failure), Content::Failed(found)) => *failure == in_short(found),
            (Fate::Argument(id), _) => self.may_hold(*id, found),
            (Fate::Actor(actor), _) => match self.actors[actor].end.as_ref().unwrap() {
                ActorFate::Failed(fates) => {
                    fates.iter().any(|fate| self.is_told(actor.0, fate, found))
                }
                ActorFate::Ended(cause) => {
                    let task_name = Arc::clone(&self.tasks[&id].name);
                    let actor = self.ended_because(*actor, cause.clone());
                    let Content::Failed(found) = found else { return false };
                    in_short(found) == Failure::ActorDied { task_name, actor }
                }
            },
            _ => false,
        }
    }

    /// The task whose error the object holds, if that is certain.
    pub(crate) fn who_failed(&self, id: ObjectId) -> Option<TaskId> {
        let task = self.tasks.get(&id.task).filter(|_| !self.is_lost(id))?;
        let [fate] = &task.fate.as_ref()?[..] else { return None };
        match fate {
            Fate::Raised { .. } | Fate::Failed(_) => Some(id.task),
            Fate::Argument(id) => self.who_failed(*id),
            Fate::Actor(actor) => match self.actors[actor].end.as_ref()? {
                ActorFate::Ended(_) => Some(id.task),
                ActorFate::Failed(_) => None,
            },
        }
    }

    pub(crate) fn ended_because(&self, actor: ActorId, cause: Cause) -> Arc<ActorEnd> {
        let row = &self.actors[&actor];
        let name = row.creation.name.as_ref().map(|(name, _)| name.clone());
        Arc::new(ActorEnd { actor, class_name: Arc::clone(&row.class_name), name, cause })
    }

    /// Whether the system failed, not the program, when that error came about.
    pub(crate) fn is_failure(&self, id: ObjectId) -> bool {
        self.is_lost(id)
            || self.tasks.get(&id.task).is_some_and(|task| {
                let first = task.fate.as_ref().and_then(|fates| fates.first());
                first.is_some_and(|fate| self.is_fate_failure(fate))
            })
    }

    fn is_fate_failure(&self, fate: &Fate) -> bool {
        match fate {
            Fate::Raised { .. } => false,
            Fate::Failed(_) => true,
            Fate::Argument(id) => self.is_failure(*id),
            Fate::Actor(actor) => match self.actors[actor].end.as_ref().unwrap() {
                ActorFate::Ended(_) => true,
                ActorFate::Failed(fates) => {
                    fates.first().is_some_and(|fate| self.is_fate_failure(fate))
                }
            },
        }
    }

    /// Whether `next` from there can be answered.
    pub(crate) fn is_stream_ready(&self, id: TaskId, at: Option<u64>) -> bool {
        let task = &self.tasks[&id];
        task.position(at) < task.total() || task.is_at_end(at)
    }

    pub(crate) fn is_waitable_ready(&self, waitable: Waitable) -> bool {
        match waitable {
            Waitable::Object(id) => self.is_ready(id),
            Waitable::Stream(task) => self.is_stream_ready(task, None),
            Waitable::Cursor(task, at) => self.is_stream_ready(task, Some(at)),
        }
    }

    /// Items were given to a reader: the next ones, and such as are there.
    pub(crate) fn took(&mut self, id: TaskId, at: Option<u64>, items: &[ObjectId], most: u64) {
        let (given, there) = (items.len() as u64, self.tasks[&id].left(at).min(most));
        let is_before_the_end = self.given_back.contains(&id) && (1..there).contains(&given);
        assert!(given == there || is_before_the_end, "{given} of {there} that there are of {id:?}");
        for (place, item) in (0..).zip(items) {
            let task = self.tasks.get_mut(&id).unwrap();
            let position = task.position(at.map(|at| at + place));
            assert_eq!(*item, id.item(position), "the item after those taken before");
            if at.is_none() {
                task.lent.insert(position);
                if task.returned.pop_first().is_none() {
                    task.taken += 1;
                }
            }
        }
    }

    /// An item has reached its taker.
    pub(crate) fn reached(&mut self, item: ObjectId) {
        let task = self.tasks.get_mut(&item.task).unwrap();
        assert!(task.lent.remove(&(u64::from(item.index) - 1)), "{item:?} is not lent");
    }

    /// Who took an item never saw it: it is read again.
    pub(crate) fn untook(&mut self, item: ObjectId) {
        self.reached(item);
        let task = self.tasks.get_mut(&item.task).unwrap();
        let index = u64::from(item.index) - 1;
        if !task.is_closed && index < task.taken {
            task.returned.insert(index);
        }
    }

    pub(crate) fn consumed(&mut self, by: TaskId, stream: TaskId, count: u64) {
        let consumed = &mut self.tasks.get_mut(&by).unwrap().consumed;
        match consumed.iter_mut().find(|(of, _)| *of == stream) {
            Some((_, known)) => *known += count,
            None => consumed.push((stream, count)),
        }
    }

    /// Somebody closed the stream, or nobody holds it.
    pub(crate) fn closed(&mut self, id: TaskId) {
        let task = self.tasks.get_mut(&id).unwrap();
        task.is_closed = true;
        task.returned.clear();
        if !task.has_ended() && task.place.is_none() {
            self.end(id, Vec::new());
        }
    }

    /// A reader was told that there is nothing more.
    pub(crate) fn verify_end(&self, id: TaskId, at: Option<u64>) {
        let task = &self.tasks[&id];
        assert!(task.is_at_end(at), "{id:?} may have items and its stream has ended");
        assert_eq!(task.left(at), 0, "items of {id:?} were lost: {task:?}, {at:?}");
    }

    /// Items left from there, and whether there will be no more.
    pub(crate) fn progress(&self, id: TaskId, at: Option<u64>) -> (u64, bool) {
        let task = &self.tasks[&id];
        (task.left(at), task.is_at_end(at))
    }

    /// Items of the shared cursor that have reached their takers: what its producer has credit for.
    pub(crate) fn reached_by_all(&self, id: TaskId) -> u64 {
        let task = &self.tasks[&id];
        task.taken - (task.returned.len() + task.lent.len()) as u64
    }

    /// Items that no taker has seen yet.
    pub(crate) fn unread(&self, id: TaskId) -> u64 {
        self.unread_items(id).count() as u64
    }

    /// Their bytes.
    pub(crate) fn unread_bytes(&self, id: TaskId) -> u64 {
        self.unread_items(id).filter_map(|index| self.sizes.get(&id.item(index))).sum()
    }

    fn unread_items(&self, id: TaskId) -> impl Iterator<Item = u64> {
        let task = &self.tasks[&id];
        // An error is the last item, and in no window.
        let seen_twice = task.returned.iter().chain(&task.lent).copied();
        (task.taken..task.published).chain(seen_twice.filter(|index| *index < task.published))
    }

    /// How many there are; fewer, if some have ended because nobody held their stream.
    pub(crate) fn calls_under_way(
        &self,
        client: skate_core::id::ClientId,
        actor: ActorId,
    ) -> RangeInclusive<u64> {
        let of = |(id, task): &(&TaskId, &Task)| {
            task.actor == Some(actor) && id.client() == client && **id != actor.0
        };
        let open = self.tasks.iter().filter(of).filter(|(_, task)| !task.has_ended());
        let most = open.clone().count() as u64;
        most - open.filter(|(_, task)| task.may_be_gone()).count() as u64..=most
    }
}

/// The same, without the figures of why an actor was stopped for want of memory.
fn in_short(found: &Failure) -> Failure {
    let mut found = found.clone();
    if let Failure::ActorDied { actor, .. } | Failure::ActorUnavailable { actor, .. } = &mut found
        && let Cause::Crashed(death) | Cause::NotStarted(death) = &mut Arc::make_mut(actor).cause
        && death.note.starts_with("Memory of the machine was ")
    {
        death.note = STOPPED.into();
    }
    found
}
