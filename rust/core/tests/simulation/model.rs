//! What must be true: each task as a sequence of what happened to it, without queues, counts or
//! readers.
//!
//! Invariant: the model hears the same events as the node, in the same order, and knows after each
//! of them which refs are ready and what they hold. It shares no code with the node.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use skate_core::action::Run;
use skate_core::event::{End, Outcome, Returns, Submit, Template, Waitable};
use skate_core::id::{ClientId, ObjectId, TaskId, Ticket};
use skate_core::value::{Death, Failure, Value};

use super::content::{Content, WHOLE};
use super::io::Memory;

/// How a task ended.
#[derive(Clone, Debug)]
enum Fate {
    Returned,
    Raised {
        attempt: u32,
    },
    Failed(Failure),
    /// With the error of one of these arguments.
    Inherited {
        from: Vec<ObjectId>,
        is_failure: bool,
    },
}

/// One task.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) name: Arc<str>,
    pub(crate) template: Arc<Template>,
    waits: Box<[ObjectId]>,
    parent: Option<TaskId>,
    published: u64,
    /// Items that went through the shared cursor.
    pub(crate) taken: u64,
    /// Of these, the ones whose takers died before they could tell.
    returned: BTreeSet<u64>,
    attempt: u32,
    retries: i32,
    claims: u32,
    /// Workers that could not be started for it.
    start_failures: u32,
    cancelled: bool,
    /// Where it is dispatched.
    pub(crate) place: Option<(ClientId, Ticket)>,
    fate: Option<Fate>,
}

impl Task {
    pub(crate) fn has_ended(&self) -> bool {
        self.fate.is_some()
    }

    fn has_failed(&self) -> bool {
        !matches!(self.fate, None | Some(Fate::Returned))
    }

    /// Items that can be read, the error included.
    fn total(&self) -> u64 {
        self.published + u64::from(self.has_failed())
    }

    fn position(&self, at: Option<u64>) -> u64 {
        at.or_else(|| self.returned.first().copied()).unwrap_or(self.taken)
    }

    fn left(&self, at: Option<u64>) -> u64 {
        let again = if at.is_none() { self.returned.len() as u64 } else { 0 };
        self.total().saturating_sub(at.unwrap_or(self.taken)) + again
    }

    fn take_retry(&mut self) -> bool {
        let may_retry = !self.cancelled && self.retries != 0;
        if may_retry {
            self.retries -= i32::from(self.retries > 0);
            self.attempt += 1;
        }
        may_retry
    }
}

/// All of them.
#[derive(Default)]
pub(crate) struct Model {
    pub(crate) tasks: BTreeMap<TaskId, Task>,
    puts: BTreeSet<TaskId>,
    /// Objects that were spilled and could not be read back.
    lost: BTreeSet<ObjectId>,
    dependents: BTreeMap<ObjectId, Vec<TaskId>>,
}

impl Model {
    pub(crate) fn put(&mut self, id: ObjectId) {
        assert!(self.puts.insert(id.task), "{id:?} is put twice");
    }

    pub(crate) fn lost(&mut self, id: ObjectId) {
        self.lost.insert(id);
    }

    pub(crate) fn is_lost(&self, id: ObjectId) -> bool {
        self.lost.contains(&id)
    }

    pub(crate) fn submitted(&mut self, submit: &Submit, template: &Arc<Template>) {
        let task = Task {
            name: submit.name.clone().unwrap(),
            template: Arc::clone(template),
            waits: submit.waits.clone(),
            parent: submit.parent,
            published: 0,
            taken: 0,
            returned: BTreeSet::new(),
            attempt: 0,
            retries: template.max_retries,
            claims: 0,
            start_failures: 0,
            cancelled: false,
            place: None,
            fate: None,
        };
        self.tasks.insert(submit.task, task);
        for id in &submit.waits {
            self.dependents.entry(*id).or_default().push(submit.task);
        }
        if let Some(first) = submit.waits.iter().find(|id| self.is_error(**id)) {
            let is_failure = self.is_failure(*first);
            self.end(submit.task, Fate::Inherited { from: vec![*first], is_failure });
        }
    }

    /// A dispatch leaves the node; it must say what the task's history says.
    pub(crate) fn dispatched(&mut self, worker: ClientId, run: &Run, memory: &Memory) {
        for ((id, value), expected) in run.resolved.iter().zip(&self.tasks[&run.task].waits) {
            assert_eq!(id, expected, "arguments of {:?}", run.task);
            let is_sound = !self.is_error(*id) || self.is_lost(*id);
            assert!(is_sound, "{:?} starts with a failed argument {id:?}", run.task);
            self.verify(*id, &Content::of(value, memory));
        }
        let task = self.tasks.get_mut(&run.task).unwrap();
        assert!(task.fate.is_none(), "{:?} starts after its end", run.task);
        assert_eq!(task.place, None, "{:?} is dispatched twice", run.task);
        assert!(!task.cancelled, "{:?} starts although it was cancelled", run.task);
        assert_eq!(run.attempt, task.attempt, "attempt of {:?}", run.task);
        assert_eq!(run.skip, task.published, "items that {:?} skips", run.task);
        assert_eq!(run.resolved.len(), task.waits.len(), "arguments of {:?}", run.task);
        task.place = Some((worker, run.ticket));
    }

    /// A worker starts on a dispatch.
    pub(crate) fn claimed(&mut self, id: TaskId) {
        let task = self.tasks.get_mut(&id).unwrap();
        task.claims += 1;
        let most = task.template.max_retries;
        assert!(most < 0 || task.claims <= most.cast_unsigned() + 1, "{id:?} starts too often");
    }

    /// Who works on what a worker speaks of.
    pub(crate) fn task_of(&self, worker: ClientId, ticket: Ticket) -> TaskId {
        let mut tasks = self.tasks.iter();
        *tasks.find(|(_, task)| task.place == Some((worker, ticket))).unwrap().0
    }

    pub(crate) fn yielded(&mut self, id: TaskId, index: u64) {
        let task = self.tasks.get_mut(&id).unwrap();
        assert_eq!(index, task.published, "{id:?} yields in order");
        task.published = index + 1;
    }

    pub(crate) fn finished(&mut self, id: TaskId, outcome: &Outcome) {
        let task = self.tasks.get_mut(&id).unwrap();
        task.place = None;
        let fate = match &outcome.end {
            End::Returned(values) => {
                task.published = values.len() as u64;
                Fate::Returned
            }
            End::Exhausted(yielded, ..) if *yielded < task.published => {
                Fate::Failed(Failure::ReplayInconsistent {
                    task_name: Arc::clone(&task.name),
                    yielded: *yielded,
                    published: task.published,
                })
            }
            End::Exhausted(..) => Fate::Returned,
            End::Raised { retry: true, .. } if task.take_retry() => return,
            End::Raised { error: Value::Failed(failure), .. } => {
                Fate::Failed(Failure::clone(failure))
            }
            End::Raised { .. } => Fate::Raised { attempt: task.attempt },
            End::Cancelled => self.cancellation(id),
            End::Left(_) => unreachable!("{id:?} is no actor"),
        };
        self.end(id, fate);
    }

    /// A dispatch was taken back.
    pub(crate) fn revoked(&mut self, worker: ClientId, ticket: Ticket) {
        let id = self.task_of(worker, ticket);
        let task = self.tasks.get_mut(&id).unwrap();
        task.place = None;
        if task.cancelled {
            self.end(id, self.cancellation(id));
        }
    }

    /// A worker died with this dispatch.
    pub(crate) fn crashed(&mut self, id: TaskId, death: &Death, how: Crash) {
        let task = self.tasks.get_mut(&id).unwrap();
        task.place = None;
        let task_name = Arc::clone(&task.name);
        let death = death.clone();
        if task.cancelled {
            self.end(id, self.cancellation(id));
        } else if how == Crash::Started && !task.take_retry() {
            self.end(id, Fate::Failed(Failure::WorkerCrashed { task_name, death }));
        } else if how == Crash::CannotStart {
            self.end(id, Fate::Failed(Failure::WorkerStart { task_name, death }));
        }
    }

    /// Says which dispatches must be taken back, or interrupted.
    pub(crate) fn cancel(&mut self, root: TaskId, recursive: bool) -> Vec<(ClientId, Ticket)> {
        let mut dispatched = Vec::new();
        let mut ids = vec![root];
        while let Some(id) = ids.pop() {
            let Some(task) = self.tasks.get_mut(&id) else { continue };
            if task.has_ended() {
                continue;
            }
            task.cancelled = true;
            if recursive {
                let of = |task: &Task| task.parent == Some(id) && !task.has_ended();
                ids.extend(self.tasks.iter().filter(|(_, task)| of(task)).map(|(id, _)| *id));
            }
            if let Some(place) = self.tasks[&id].place {
                dispatched.push(place);
            } else {
                // What depends on it inherits the error only if it is not cancelled itself.
                self.tasks.get_mut(&id).unwrap().fate = Some(self.cancellation(id));
            }
        }
        let cancelled = self.tasks.iter().filter(|(_, task)| task.cancelled && task.has_ended());
        self.propagate(cancelled.map(|(id, _)| *id).collect());
        dispatched
    }

    fn cancellation(&self, id: TaskId) -> Fate {
        Fate::Failed(Failure::Cancelled { task_name: Arc::clone(&self.tasks[&id].name) })
    }

    fn end(&mut self, id: TaskId, fate: Fate) {
        let task = self.tasks.get_mut(&id).unwrap();
        assert!(task.fate.is_none(), "{id:?} ends twice");
        task.fate = Some(fate);
        self.propagate(vec![id]);
    }

    /// Whoever waits for an error of tasks that have ended ends with it.
    fn propagate(&mut self, mut ended: Vec<TaskId>) {
        let mut heirs = Vec::new();
        while let Some(id) = ended.pop() {
            let refs = ObjectId { task: id, index: 0 }..=ObjectId { task: id, index: u32::MAX };
            let of = self.dependents.range(refs).filter(|(object, _)| self.is_error(**object));
            let found: Vec<(ObjectId, TaskId)> =
                of.flat_map(|(id, tasks)| tasks.iter().map(|task| (*id, *task))).collect();
            for (object, id) in found {
                let is_failure = self.is_failure(object);
                let task = self.tasks.get_mut(&id).unwrap();
                if task.fate.is_none() {
                    assert_eq!(task.place, None, "{id:?} was dispatched without its arguments");
                    task.fate = Some(Fate::Inherited { from: Vec::new(), is_failure });
                    ended.push(id);
                    heirs.push(id);
                }
            }
        }
        // One cancel can end several of a task's arguments: any of these errors will do.
        for id in heirs {
            let errors = self.tasks[&id].waits.iter().copied().filter(|id| self.is_error(*id));
            let errors: Vec<ObjectId> = errors.collect();
            if let Some(Fate::Inherited { from, .. }) = &mut self.tasks.get_mut(&id).unwrap().fate {
                *from = errors;
            }
        }
    }

    /// Whether the system failed, not the program, when that error came about.
    fn is_failure(&self, id: ObjectId) -> bool {
        if self.is_lost(id) {
            return true;
        }
        match self.tasks[&id.task].fate {
            Some(Fate::Failed(_)) => true,
            Some(Fate::Inherited { is_failure, .. }) => is_failure,
            Some(Fate::Raised { .. } | Fate::Returned) | None => false,
        }
    }

    pub(crate) fn is_ready(&self, id: ObjectId) -> bool {
        let Some(task) = self.tasks.get(&id.task) else { return self.puts.contains(&id.task) };
        let has_begun = task.published > 0 && task.template.returns == Returns::Dynamic;
        task.has_ended()
            || if id.index == 0 { has_begun } else { u64::from(id.index) <= task.published }
    }

    pub(crate) fn is_error(&self, id: ObjectId) -> bool {
        if self.is_lost(id) {
            return true;
        }
        let Some(task) = self.tasks.get(&id.task) else { return false };
        if id.index > 0 {
            return task.has_failed() && u64::from(id.index) > task.published;
        }
        task.template.returns == Returns::Streaming && self.is_failure(id)
    }

    /// Panics unless that is what the object must hold.
    pub(crate) fn verify(&self, id: ObjectId, found: &Content) {
        assert!(self.is_ready(id), "{id:?} is read before its time: {found:?}");
        assert!(self.may_hold(id, found), "{id:?} holds {found:?}; {:?}", self.tasks.get(&id.task));
    }

    fn may_hold(&self, id: ObjectId, found: &Content) -> bool {
        let is_data = |wanted: u32| matches!(found, Content::Data { task, place, .. } if (*task, *place) == (id.task, wanted));
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
        match task.fate.as_ref().unwrap() {
            Fate::Returned => is_whole && (is_data(WHOLE) || *found == Content::None),
            Fate::Raised { .. } | Fate::Inherited { is_failure: false, .. } if is_whole => {
                *found == Content::None
            }
            Fate::Raised { attempt: of } => {
                matches!(found, Content::Raised { task, attempt, .. } if (*task, attempt) == (id.task, of))
            }
            Fate::Failed(failure) => *found == Content::Failed(failure.clone()),
            Fate::Inherited { from, .. } => from.iter().any(|id| self.may_hold(*id, found)),
        }
    }

    /// Whether `next` from there can be answered.
    pub(crate) fn is_stream_ready(&self, id: TaskId, at: Option<u64>) -> bool {
        let task = &self.tasks[&id];
        task.has_ended() || task.position(at) < task.published
    }

    pub(crate) fn is_waitable_ready(&self, waitable: Waitable) -> bool {
        match waitable {
            Waitable::Object(id) => self.is_ready(id),
            Waitable::Stream(task) => self.is_stream_ready(task, None),
            Waitable::Cursor(task, at) => self.is_stream_ready(task, Some(at)),
        }
    }

    /// An item was given to a reader: the next one, and one that is there.
    pub(crate) fn took(&mut self, id: TaskId, at: Option<u64>, item: ObjectId) {
        let task = self.tasks.get_mut(&id).unwrap();
        let position = task.position(at);
        assert_eq!(item, id.item(position), "the item after those taken before");
        assert!(position < task.total(), "{item:?} is given before it was made");
        if at.is_none() && task.returned.pop_first().is_none() {
            task.taken += 1;
        }
    }

    /// Who took an item died before it could tell: the item is read again.
    pub(crate) fn untook(&mut self, item: ObjectId) {
        let task = self.tasks.get_mut(&item.task).unwrap();
        task.returned.insert(u64::from(item.index) - 1);
    }

    /// A reader was told that there is nothing more.
    pub(crate) fn verify_end(&self, id: TaskId, at: Option<u64>) {
        let task = &self.tasks[&id];
        assert!(task.has_ended(), "{id:?} still runs and its stream has ended");
        assert!(task.position(at) >= task.total(), "items of {id:?} were lost: {task:?}, {at:?}");
    }

    /// Items left from there, and whether there will be no more.
    pub(crate) fn progress(&self, id: TaskId, at: Option<u64>) -> (u64, bool) {
        let task = &self.tasks[&id];
        (task.left(at), task.has_ended())
    }

    /// Tasks that could run and are nowhere.
    pub(crate) fn ready_tasks(&self) -> impl Iterator<Item = (&TaskId, &Task)> {
        self.tasks.iter().filter(|(_, task)| {
            let is_complete = task.waits.iter().all(|id| self.is_ready(*id));
            !task.has_ended() && task.place.is_none() && is_complete
        })
    }

    pub(crate) fn is_cancelled(&self, id: TaskId) -> bool {
        self.tasks[&id].cancelled
    }

    /// One more worker could not be started for it; how many that makes.
    pub(crate) fn start_failed(&mut self, id: TaskId) -> u32 {
        let task = self.tasks.get_mut(&id).unwrap();
        task.start_failures += u32::from(!task.cancelled);
        task.start_failures
    }

    /// Items of the shared cursor that are gone for good: what its producer has credit for.
    pub(crate) fn consumed(&self, id: TaskId) -> u64 {
        let task = &self.tasks[&id];
        task.taken - task.returned.len() as u64
    }

    /// Items that nobody has taken yet. Those that come back from a reader that died are besides the
    /// window: the producer had its credit for them when they were taken.
    pub(crate) fn unread(&self, id: TaskId) -> u64 {
        let task = &self.tasks[&id];
        task.published.saturating_sub(task.taken)
    }
}

/// What a worker's death means to a task that it had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crash {
    /// It had been claimed.
    Started,
    /// It had not.
    NotStarted,
    /// It had not, and too many workers in a row could not even be made.
    CannotStart,
}
