//! Why something is waiting: the chain from it to what everything waits for in the end.
//!
//! ```text
//!   object ─made by─▶ task ─┬─ an argument is missing ─▶ object ─▶ …
//!                           ├─ its actor starts ─▶ constructor       ├─ behind other calls ─▶ call
//!                           ├─ resources are taken ─▶ who holds them, if that sleeps
//!                           └─ runs, and sleeps in get, wait, next, put or at a yield ─▶ …
//! ```
//!
//! Invariant: a chain has no object, task, stream or actor twice: a ring ends with the reason `CYCLE`. Where
//! several things are waited for, the first that is not there goes on, and the row says how many there are.

use std::borrow::Cow;
use std::sync::Arc;

use rustc_hash::FxHashSet;

use super::tasks::task_state;
use super::{Cell, Query, Rows, Subject, View, actors, select};
use crate::actor::Stage;
use crate::event::{Held, Waitable};
use crate::id::{ActorId, ClientId, ObjectId, TaskId, Ticket};
use crate::request::Open;
use crate::stream::Stream;
use crate::task::{Phase, Task};

/// Longer chains are cut.
const MOST_STEPS: usize = 100;

type Details = Vec<(Cow<'static, str>, Cell)>;

/// One link of the chain.
struct Step {
    kind: &'static str,
    id: Cell,
    name: Option<Arc<str>>,
    state: &'static str,
    reason: &'static str,
    pid: Cell,
    details: Details,
}

/// A link, and what it waits for.
type Link = (Step, Option<Subject>);

const COLUMNS: &[(&str, fn(&View<'_>, &(usize, Step)) -> Cell)] = &[
    ("kind", |_, (_, step)| Cell::word(step.kind)),
    ("id", |_, (_, step)| step.id.clone()),
    ("name", |_, (_, step)| Cell::option(step.name.clone(), Cell::Text)),
    ("state", |_, (_, step)| Cell::word(step.state)),
    ("reason", |_, (_, step)| Cell::word(step.reason)),
    ("pid", |_, (_, step)| step.pid.clone()),
    ("details", |_, (_, step)| Cell::Map(step.details.clone())),
];

pub(super) fn rows(view: &View<'_>, query: &Query, subject: Subject) -> Result<Rows, String> {
    let mut steps = Vec::new();
    let mut seen = FxHashSet::default();
    let mut next = Some(subject);
    while let Some(subject) = next
        && steps.len() < MOST_STEPS
    {
        let (mut step, follow) = link(view, subject);
        if !seen.insert(subject) {
            step.reason = "CYCLE";
            steps.push(step);
            break;
        }
        steps.push(step);
        next = follow;
    }
    select(view, COLUMNS, query, steps.into_iter().enumerate(), |row| row.0)
}

fn link(view: &View<'_>, subject: Subject) -> Link {
    match subject {
        Subject::Object(id) => object(view, id),
        Subject::Stream(id) => stream(view, id, None),
        Subject::Cursor(id, at) => stream(view, id, Some(at)),
        Subject::Task(id) => task(view, id),
        Subject::Actor(id) => actor(view, id),
        Subject::Client(client) => process(view, client),
    }
}

fn step(kind: &'static str, id: Cell, state: &'static str, reason: &'static str) -> Step {
    Step { kind, id, name: None, state, reason, pid: Cell::None, details: Vec::new() }
}

impl Step {
    fn with(mut self, name: &'static str, cell: Cell) -> Self {
        self.details.push((name.into(), cell));
        self
    }

    fn because(mut self, reason: &'static str) -> Self {
        self.reason = reason;
        self
    }
}

fn object(view: &View<'_>, id: ObjectId) -> Link {
    let node = view.node;
    let Some(row) = node.objects.get(&id) else {
        return (step("object", Cell::Object(id), "UNKNOWN", "FREED"), None);
    };
    if let Some(value) = row.value() {
        let state = if value.is_error() { "ERROR" } else { "READY" };
        let reason = if value.extent().is_some() { "ON_DISK" } else { "NOTHING" };
        return (step("object", Cell::Object(id), state, reason), None);
    }
    let name = node.tasks.get(&id.task).map(Task::name);
    let step = Step { name, ..step("object", Cell::Object(id), "PENDING", "NOT_MADE") };
    if node.tasks.contains_key(&id.task) {
        return (step, Some(Subject::Task(id.task)));
    }
    if let Some(group) = node.groups.values().find(|group| group.spec.ready == id) {
        let is_named = !group.spec.name.is_empty();
        let name = if is_named { &group.spec.name } else { &group.spec.key };
        let step = Step { kind: "placement group", name: Some(Arc::clone(name)), ..step };
        return (lacking(view, step.because("GROUP"), &group.demand), None);
    }
    (step, None)
}

fn stream(view: &View<'_>, id: TaskId, at: Option<u64>) -> Link {
    let Some(row) = view.node.streams.get(&id) else {
        return (step("stream", Cell::Task(id), "ENDED", "NOTHING"), None);
    };
    let name = view.node.tasks.get(&id).map(Task::name);
    let state = if row.is_over() { "ENDED" } else { "RUNNING" };
    let at = at.or_else(|| row.least_position().filter(|_| row.is_dynamic));
    let is_ready = row.is_ready(at);
    let reason = if is_ready { "NOTHING" } else { "NO_ITEM" };
    let step = Step { name, ..step("stream", Cell::Task(id), state, reason) };
    let step = step.with("num_yielded", Cell::int(row.published));
    let step = step.with("num_unread", Cell::int(row.left(at)));
    (step, (!is_ready && view.node.tasks.contains_key(&id)).then_some(Subject::Task(id)))
}

fn task(view: &View<'_>, id: TaskId) -> Link {
    let Some(row) = view.node.tasks.get(&id) else {
        return (step("task", Cell::Task(id), "ENDED", "NOTHING"), None);
    };
    let state = task_state(view, row);
    let step = Step { name: Some(row.name()), ..step("task", Cell::Task(id), state, "") };
    match row.phase {
        Phase::Waiting(missing) => {
            let is_missing = |id: &&ObjectId| view.node.value_of(**id).is_none();
            let first = row.submit.waits.iter().find(is_missing).copied();
            let step = step.because("ARGUMENT").with("num_missing", Cell::int(missing));
            (step, first.map(Subject::Object))
        }
        Phase::Ready => ready(view, id, row, step),
        Phase::Dispatched(worker, ticket) => dispatched(view, id, row, (worker, ticket), step),
    }
}

/// Its arguments are there, and it is in no worker.
fn ready(view: &View<'_>, id: TaskId, row: &Task, step: Step) -> Link {
    let node = view.node;
    match row.submit.actor {
        Some(actor) if actor.0 != id => call(view, actor, id, row, step),
        _ => {
            let demand = &node.classes[row.class as usize].demand;
            if !node.resources.missing(demand).is_empty() {
                let missing = node.resources.missing(demand);
                let missing: Vec<_> = missing
                    .into_iter()
                    .map(|(name, _, there)| (name, there.cast_signed()))
                    .collect();
                let needs = Cell::amounts(&row.template.resources);
                let step = step.because("INFEASIBLE").with("needs", needs);
                return (step.with("machine_has", Cell::Amounts(missing)), None);
            }
            if node.resources.fits(demand) {
                let step = step.because("WORKER");
                return (step.with("num_workers", Cell::int(node.pool_size())), None);
            }
            let step = step.because("RESOURCES");
            let step = step.with("needs", Cell::amounts(&row.template.resources));
            let holder = holder_asleep(view, id);
            (lacking(view, step, demand), holder.map(Subject::Task))
        }
    }
}

/// What is not free of what it asks for, and who runs with some.
fn lacking(view: &View<'_>, step: Step, demand: &crate::resources::Demand) -> Step {
    let lacking = view.node.resources.lacking(demand);
    let free = lacking.iter().map(|(name, _, free)| (Arc::clone(name), (*free).max(0))).collect();
    let mut names: Vec<Arc<str>> = Vec::new();
    let mut count = 0_u64;
    for row in view.node.workers.values().filter(|row| row.grant.is_some()) {
        let Some(front) = row.queue.front() else { continue };
        count += 1;
        if let Some(task) = view.node.tasks.get(&front.task)
            && names.len() < 5
            && !names.contains(&task.name())
        {
            names.push(task.name());
        }
    }
    names.sort_unstable();
    step.with("free", Cell::Amounts(free))
        .with("num_running", Cell::int(count))
        .with("running", Cell::List(names.into_iter().map(Cell::Text).collect()))
}

/// A task that sleeps with resources other than its CPU, which it has lent.
fn holder_asleep(view: &View<'_>, other_than: TaskId) -> Option<TaskId> {
    let rows = view.node.workers.values().filter(|row| row.grant.is_some());
    let asleep = rows.filter(|row| row.blocked.is_some());
    asleep.filter_map(|row| row.queue.front()).map(|one| one.task).find(|id| *id != other_than)
}

/// A call that is not in its actor's process.
fn call(view: &View<'_>, actor: ActorId, id: TaskId, row: &Task, step: Step) -> Link {
    let Some(owner) = view.node.actors.get(&actor) else { return (step, None) };
    let step = step.with("actor_id", Cell::Actor(actor));
    if owner.stage != Stage::Alive {
        return (step.because("ACTOR_STARTS"), Some(Subject::Actor(actor)));
    }
    if let Some(line) = owner.callers.get(&row.caller())
        && let Some(head) = line.front()
        && *head != id
        && line.contains(&id)
    {
        return (step.because("CALL_ORDER"), Some(Subject::Task(*head)));
    }
    let lane = &owner.lanes[row.template.lane as usize];
    let place = lane.queue.iter().position(|other| *other == id);
    let ahead = place.map_or(0, |place| place as u64) + u64::from(lane.under_way);
    let step = step.because("ACTOR_QUEUE").with("num_ahead", Cell::int(ahead));
    let front = owner.worker.and_then(|worker| view.node.workers.get(&worker)?.queue.front());
    (step, front.map(|front| Subject::Task(front.task)))
}

/// In the ring of a worker, or running there.
fn dispatched(
    view: &View<'_>,
    id: TaskId,
    row: &Task,
    (worker, ticket): (ClientId, Ticket),
    step: Step,
) -> Link {
    let node = view.node;
    let Some(process) = node.workers.get(&worker) else { return (step, None) };
    let step = Step { pid: view.pid(worker), ..step };
    if process.life == crate::worker::Life::Starting {
        return (step.because("WORKER_STARTS"), None);
    }
    if !view.is_running(worker, ticket) {
        let ahead = process.queue.iter().take_while(|one| one.ticket != ticket).count();
        let reason = if process.actor.is_some() { "ACTOR_QUEUE" } else { "BEHIND" };
        let front = process.queue.front().filter(|front| front.task != id);
        let step = step.because(reason).with("num_ahead", Cell::int(ahead));
        return (step, front.map(|front| Subject::Task(front.task)));
    }
    let began_ns = process.sent_ns(ticket).max(process.free_since_ns);
    let step = step.with("running_for", Cell::Span(node.now_ns.saturating_sub(began_ns)));
    if let Some(stream) = node.streams.get(&id)
        && is_full(row, stream)
    {
        return window(view, id, row, stream, step);
    }
    let beside = process.queue.iter().filter(|one| view.is_running(worker, one.ticket)).count() - 1;
    if beside > 0 {
        // Its process asks for all of its calls, and does not say for which.
        let step = step.because("RUNS_BESIDE").with("num_others", Cell::int(beside));
        return (step.with("num_requests", Cell::int(process.ledger.requests.len())), None);
    }
    match waits_in(view, worker) {
        Some((reason, details, follow)) => {
            let mut step = step.because(reason);
            step.details.extend(details);
            (step, follow)
        }
        None if process.blocked.is_some() => (step.because("YIELD"), None),
        None => (step.because("RUNS"), None),
    }
}

/// Whether its producer has to wait for a reader.
fn is_full(row: &Task, stream: &Stream) -> bool {
    if stream.least_position().is_none() || stream.is_dynamic {
        return false;
    }
    if let Some(reach) = &stream.reach {
        return stream.published >= reach.items;
    }
    let by_count = row.template.window.is_some_and(|most| stream.in_window() >= u64::from(most));
    let bytes = stream.published_bytes.saturating_sub(stream.consumed_bytes());
    let by_bytes = row.template.window_bytes.is_some_and(|most| bytes >= most);
    by_count || by_bytes
}

fn window(view: &View<'_>, id: TaskId, row: &Task, stream: &Stream, step: Step) -> Link {
    let step = step.because("WINDOW").with("num_unread", Cell::int(stream.in_window()));
    let step = step.with("window", Cell::option(row.template.window, Cell::int));
    let holders =
        view.node.clients().filter(|(_, ledger)| ledger.handles.contains(Held::Stream(id)));
    let mut holders: Vec<ClientId> = holders.map(|(client, _)| client).collect();
    // A worker's task that reads it says more than the driver that has passed it on.
    holders.sort_by_key(|client| (*client == ClientId::DRIVER, *client));
    let step = step.with("num_readers", Cell::int(holders.len()));
    let waiting = view.node.tasks.iter().find(|(_, task)| {
        task.submit.holds.contains(&Held::Stream(id))
            && !matches!(task.phase, Phase::Dispatched(..))
    });
    let reader = holders.first().copied();
    let follow = match (reader, waiting) {
        (Some(ClientId::DRIVER) | None, Some((task, _))) => Some(Subject::Task(task)),
        (Some(client), _) => Some(Subject::Client(client)),
        (None, None) => None,
    };
    (step, follow)
}

/// The call in which a process sleeps: why, how it is, and what for.
fn waits_in(view: &View<'_>, client: ClientId) -> Option<(&'static str, Details, Option<Subject>)> {
    let ledger = view.node.ledger_of(client)?;
    // The oldest question is the likeliest to be the one that matters.
    let (_, open) = ledger.requests.iter().min_by_key(|(request, _)| **request)?;
    let is_pending = |id: &&ObjectId| view.node.value_of(**id).is_none();
    let count = |name: &'static str, count: usize| vec![(name.into(), Cell::int(count))];
    Some(match open {
        Open::Get { ids, missing } => {
            let first = ids.iter().find(is_pending).copied();
            ("GET", count("num_missing", *missing), first.map(Subject::Object))
        }
        Open::Fetch { missing, .. } => ("READS_DISK", count("num_missing", *missing), None),
        Open::Wait { on, count: wanted, ready } => {
            let first = on.iter().find(|one| !view.node.is_ready(one)).map(|one| match *one {
                Waitable::Object(id) => Subject::Object(id),
                Waitable::Stream(task) => Subject::Stream(task),
                Waitable::Cursor(task, at) => Subject::Cursor(task, at),
            });
            ("WAIT", count("num_missing", wanted.saturating_sub(*ready)), first)
        }
        Open::Next(task) => {
            let stream = view.node.streams.get(task);
            let own =
                stream.and_then(|row| row.own_nexts.iter().find(|next| next.client == client));
            let subject = own.and_then(|next| next.at).map(|at| Subject::Cursor(*task, at));
            ("NEXT", Vec::new(), Some(subject.unwrap_or(Subject::Stream(*task))))
        }
        Open::Length(task) => ("LENGTH", Vec::new(), Some(Subject::Task(*task))),
        Open::Allocate => {
            let store = &view.node.store;
            let details = vec![
                ("free_bytes".into(), Cell::int(store.free())),
                ("capacity_bytes".into(), Cell::int(store.capacity())),
            ];
            ("STORE_ROOM", details, None)
        }
    })
}

fn actor(view: &View<'_>, id: ActorId) -> Link {
    let Some(row) = view.node.actors.get(&id) else {
        return (step("actor", Cell::Actor(id), "DEAD", "DEAD"), None);
    };
    let state = actors::state(view, id, row);
    let name = Some(Arc::clone(&row.template.name));
    let pid = row.worker.map_or(Cell::None, |worker| view.pid(worker));
    let step = Step { name, pid, ..step("actor", Cell::Actor(id), state, "") };
    match row.stage {
        Stage::Dead => {
            let cause = actors::death_cause(row);
            (step.because("DEAD").with("death_cause", cause), None)
        }
        Stage::Pending | Stage::Starting => {
            let task = view.node.tasks.contains_key(&id.0).then_some(Subject::Task(id.0));
            (step.because("CONSTRUCTOR"), task)
        }
        Stage::Alive => {
            let (waiting, under_way) = actors::calls(row);
            let reason = if under_way > 0 { "CALLS" } else { "NOTHING" };
            let step = step.because(reason).with("num_pending_calls", Cell::int(waiting));
            let step = step.with("num_calls_under_way", Cell::int(under_way));
            let worker = row.worker.and_then(|worker| view.node.workers.get(&worker));
            let front = worker.and_then(|worker| worker.queue.front());
            (step, front.map(|front| Subject::Task(front.task)))
        }
    }
}

fn process(view: &View<'_>, client: ClientId) -> Link {
    let front = view.node.workers.get(&client).and_then(|row| row.queue.front());
    if let Some(front) = front {
        return task(view, front.task);
    }
    let kind = if client == ClientId::DRIVER { "driver" } else { "worker" };
    let step =
        Step { pid: view.pid(client), ..step(kind, Cell::Client(client), "RUNNING", "RUNS") };
    match waits_in(view, client) {
        Some((reason, details, follow)) => {
            let mut step = Step { state: "BLOCKED", ..step.because(reason) };
            step.details.extend(details);
            (step, follow)
        }
        None => (step, None),
    }
}
