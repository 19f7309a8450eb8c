//! A worker that says anything at all, in any order, about anything: it ends as a dead worker, and the
//! node, its tables and everybody else's tasks are as they must be.
//!
//! Two kinds of nonsense, by turns: requests made of numbers that mean something to somebody, and the bytes
//! of sound requests with a few of them changed, decoded as the binding decodes them. Everything
//! follows from a seed: `SKATE_FUZZ_SEEDS=n` plays the seeds 1 to n, `SKATE_FUZZ_SEED=s` that one.

#![allow(clippy::unwrap_used, reason = "a story goes as the test says, or the test fails")]

mod common;
#[path = "simulation/random.rs"]
mod random;

use std::panic::{AssertUnwindSafe, catch_unwind};

use common::{DRIVER, ONE, Stage, bytes, killed, value};
use random::Random;
use skate_core::action::{Action, Reply};
use skate_core::event::{
    ActorName, AfterKill, Args, Cancel, Creation, End, Event, Held, Leave, OnDrop, Order, Outcome,
    Patience, Request, Returns, Submit, Template, Waitable, Within,
};
use skate_core::group::GroupSpec;
use skate_core::id::{
    ActorId, ClientId, FunctionId, ObjectId, RequestId, TaskId, TemplateId, Ticket,
};
use skate_core::value::{Extent, Failure, Inherited, Payload, Span, Value};

/// Played by a plain `cargo test`.
const USUAL_SEEDS: u64 = 1_500;
/// What the hostile worker says, unless it is killed before.
const SAYINGS: u32 = 40;
/// More returns than that cost the node memory, which a task could as well take itself.
const MOST_RETURNS: u64 = 100;

/// Numbers that mean something, and some that do not.
struct Liar<'a> {
    random: &'a mut Random,
    me: ClientId,
    tasks: &'a [TaskId],
    tickets: &'a [Ticket],
    /// Things said before.
    said: u64,
}

impl Liar<'_> {
    fn number(&mut self) -> u64 {
        let near = self.random.below(8);
        self.random.pick(&[
            0,
            1,
            near,
            1 << 16,
            (1 << 40) - 1,
            u64::from(u32::MAX),
            u64::MAX >> 1,
            u64::MAX,
        ])
    }

    fn task(&mut self) -> TaskId {
        match self.random.below(10) {
            0 => TaskId(self.random.next()),
            1..=3 => TaskId::new(self.me, 1 + self.random.below(6)),
            4 => TaskId::new_call(self.me, 1 + self.random.below(6)),
            _ => self.random.pick(self.tasks),
        }
    }

    fn object(&mut self) -> ObjectId {
        let index = self.random.pick(&[0, 1, 2, 3, u32::MAX]);
        ObjectId { task: self.task(), index }
    }

    fn ticket(&mut self) -> Ticket {
        if self.random.chance(80) { self.random.pick(self.tickets) } else { Ticket(self.number()) }
    }

    fn request_id(&mut self) -> RequestId {
        RequestId(self.random.below(12))
    }

    fn held(&mut self) -> Held {
        match self.random.below(8) {
            0 | 1 => Held::Object(self.object()),
            2 => Held::Pin(self.object()),
            3 => Held::Stream(self.task()),
            4 => Held::Cursor(self.task(), self.number()),
            5 => Held::Actor(ActorId(self.task())),
            6 => Held::WeakActor(ActorId(self.task())),
            _ => self.random.pick(&[Held::Lease(0), Held::DiskLease(0), Held::Lease(64)]),
        }
    }

    fn several<T>(&mut self, one: fn(&mut Self) -> T) -> Box<[T]> {
        (0..self.random.below(4)).map(|_| one(self)).collect()
    }

    fn span(&mut self) -> Span {
        Span { offset: self.number(), len: self.number() }
    }

    fn value(&mut self) -> Value {
        match self.random.below(8) {
            0 => Value::Data(Payload::Block(self.span())),
            1 => {
                let Span { offset, len } = self.span();
                Value::Data(Payload::Spilled(Extent { offset, len, checksum: 0 }))
            }
            2 => Value::Stream(self.task()),
            3 => Value::Raised(Payload::Inline(bytes())),
            4 => Failure::Unknown.into(),
            5 => {
                let error = self.value();
                Value::Inherited(
                    Inherited { error, tasks: Box::default(), skipped: 1, actor: None }.into(),
                )
            }
            _ => value(),
        }
    }

    fn submit(&mut self, actor: Option<ActorId>) -> Submit {
        Submit {
            task: actor.map_or_else(|| self.task(), |actor| actor.0),
            template: self.template_id(),
            actor: actor.or_else(|| self.random.chance(20).then(|| ActorId(self.task()))),
            parent: self.random.chance(50).then(|| self.task()),
            name: None,
            args: if self.random.chance(80) {
                Args::Inline(bytes())
            } else {
                Args::Stored(self.object())
            },
            waits: self.several(Self::object),
            holds: self.several(Self::held),
        }
    }

    /// One that it may define.
    fn own_template(&self, number: u64) -> TemplateId {
        TemplateId(TaskId::new(self.me, 1_000 + number).0)
    }

    fn template_id(&mut self) -> TemplateId {
        let number = self.random.below(6);
        if self.random.chance(50) { self.own_template(number) } else { TemplateId(number) }
    }

    fn template(&mut self) -> Template {
        let count = self.random.below(MOST_RETURNS) as u32;
        let amount = self.number();
        let name = self.random.pick(&["CPU", "x", "GPU", "CPU_group_k", ""]);
        Template {
            name: "lie".into(),
            function: FunctionId(1),
            lane: self.random.pick(&[0, 0, 1, u32::MAX]),
            resources: [(name.into(), amount)].into(),
            returns: self.random.pick(&[
                Returns::Static(count),
                Returns::Dynamic,
                Returns::Streaming,
            ]),
            max_retries: self.random.pick(&[-1, 0, i32::MIN, i32::MAX]),
            window: self.random.pick(&[None, Some(0), Some(1)]),
            window_bytes: self.random.pick(&[None, Some(0), Some(u64::MAX)]),
            on_drop: self.random.pick(&[OnDrop::RunOn, OnDrop::Close]),
            body: bytes(),
        }
    }

    fn creation(&mut self) -> Creation {
        let actor = ActorId(self.task());
        let name = ActorName { namespace: "".into(), name: "n".into() };
        Creation {
            submit: self.submit(Some(actor)),
            name: self.random.chance(30).then(|| (name, self.request_id())),
            placing: [("CPU".into(), self.number())].into(),
            max_restarts: self.random.pick(&[-1, 0, i32::MIN]),
            is_detached: self.random.chance(20),
            order: self.random.pick(&[Order::Submission, Order::Readiness]),
            lanes: self.several(|me| me.random.pick(&[0, 1, 5, u32::MAX])),
            body: bytes(),
        }
    }

    fn group(&mut self) -> GroupSpec {
        let bundle = |me: &mut Self| -> Box<[_]> { [("CPU".into(), me.number())].into() };
        GroupSpec {
            ready: self.object(),
            key: self.random.pick(&["k", "", "0_k"]).into(),
            name: "g".into(),
            strategy: "".into(),
            bundles: self.several(bundle),
        }
    }

    fn end(&mut self) -> End {
        match self.random.below(6) {
            0 | 1 => End::Returned(
                (0..self.random.below(3))
                    .map(|_| (self.value(), self.several(Self::held)))
                    .collect(),
            ),
            2 => End::Exhausted(self.number(), self.value(), self.several(Self::held)),
            3 => End::Raised {
                error: self.value(),
                holds: self.several(Self::held),
                retry: self.random.chance(50),
                yielded: self.number(),
            },
            4 => End::Cancelled(self.number() as u32),
            _ => End::Left(Leave::ExitActor),
        }
    }

    /// What an honest worker could say, so that a lie comes after some truth.
    fn truth(&mut self) -> Request {
        let fresh = TaskId::new(self.me, 100 + self.said);
        let (plain, stream, dynamic) = (self.tasks[0], self.tasks[1], self.tasks[2]);
        let request = RequestId(100 + self.said);
        match self.random.below(16) {
            0 => Request::Define(self.own_template(self.said), self.template().into(), None),
            1 => {
                let template = TemplateId(1 + self.random.below(3));
                let (waits, holds) = (Box::default(), Box::default());
                Request::Submit(Submit {
                    task: fresh,
                    template,
                    actor: None,
                    waits,
                    holds,
                    ..self.submit(None)
                })
            }
            2 => {
                let (waits, holds, args) = (Box::default(), Box::default(), Args::Inline(bytes()));
                let actor = Some(ActorId(fresh));
                let submit = Submit {
                    task: fresh,
                    template: TemplateId(4),
                    actor,
                    waits,
                    holds,
                    args,
                    ..self.submit(None)
                };
                let name = None;
                Request::Create(Box::new(Creation {
                    submit,
                    name,
                    lanes: [1].into(),
                    ..self.creation()
                }))
            }
            3 => Request::Hold(Held::Object(plain.item(0))),
            4 | 5 => Request::Hold(Held::Stream(stream)),
            6 | 7 => Request::Hold(Held::Cursor(dynamic, 0)),
            8 => Request::Get(request, [plain.item(0)].into()),
            9 => {
                Request::Wait(request, [Waitable::Object(plain.item(0))].into(), 1, Patience::Until)
            }
            10 => Request::Put(fresh.item(0), value(), Box::default()),
            11 => Request::Allocate(request, 64, Within::MemoryOrDisk),
            12 => Request::Blocked(self.tickets[0]),
            13 => Request::Resumed(self.tickets[0]),
            14 => Request::Reserve(Box::new(GroupSpec { ready: fresh.item(0), ..self.group() })),
            _ => Request::Hold(Held::Object(stream.whole())),
        }
    }

    fn request(&mut self) -> Request {
        let at = self.random.chance(50).then(|| self.number());
        match self.random.below(37) {
            0 => Request::Define(self.template_id(), self.template().into(), None),
            36 => Request::Undefine(self.template_id()),
            1 | 2 => Request::Submit(self.submit(None)),
            3 | 4 => Request::Create(Box::new(self.creation())),
            5 => Request::Find(
                self.request_id(),
                ActorName { namespace: "".into(), name: "n".into() },
            ),
            6 => Request::Describe(self.request_id(), ActorId(self.task())),
            7 => Request::Names(self.request_id()),
            8 => Request::CallsUnderWay(self.request_id(), ActorId(self.task())),
            9 => Request::Kill(
                ActorId(self.task()),
                self.random.pick(&[AfterKill::Dead, AfterKill::MayRestart]),
            ),
            10 => Request::Reserve(Box::new(self.group())),
            11 => Request::RemoveGroup(self.random.pick(&["k", "x"]).into()),
            12 => Request::Groups(self.request_id()),
            13 => Request::Put(self.object(), self.value(), self.several(Self::held)),
            14 | 15 => Request::Get(self.request_id(), self.several(Self::object)),
            16 | 17 => {
                let on = |me: &mut Self| match me.random.below(3) {
                    0 => Waitable::Object(me.object()),
                    1 => Waitable::Stream(me.task()),
                    _ => Waitable::Cursor(me.task(), me.number()),
                };
                let patience = self.random.pick(&[Patience::Now, Patience::Until]);
                Request::Wait(self.request_id(), self.several(on), self.number() as u32, patience)
            }
            18 | 19 => Request::Next(self.request_id(), self.task(), at),
            20 => Request::NextBatch(self.request_id(), self.task(), at, self.number() as u32),
            21 => Request::Untake(self.request_id(), self.task(), at, self.several(Self::object)),
            22 => {
                let count = self.random.below(3) as u32;
                Request::Taken(
                    self.request_id(),
                    count,
                    self.random.chance(50).then(|| self.ticket()),
                )
            }
            23 => Request::Close(self.task()),
            24 => Request::Progress(self.request_id(), self.task(), at),
            25 => Request::Length(self.request_id(), self.task(), at),
            26 => Request::Forget(self.request_id()),
            27 => Request::Hold(self.held()),
            28 => Request::Keep(self.held()),
            29 => Request::Release(self.held()),
            30 => Request::Cancel(
                self.task(),
                Cancel { force: self.random.chance(50), recursive: self.random.chance(50) },
            ),
            31 => {
                let within = self.random.pick(&[Within::Memory, Within::MemoryOrDisk]);
                Request::Allocate(self.request_id(), self.number(), within)
            }
            32 => Request::Yielded(
                self.ticket(),
                self.number(),
                self.value(),
                self.several(Self::held),
                self.number(),
            ),
            33 => {
                let (end, ran_ns) = (self.end(), self.number());
                let outcome = Outcome {
                    end,
                    began_ns: self.number(),
                    ran_ns,
                    unhandled: at.map(|_| bytes()),
                };
                Request::Finished(self.ticket(), outcome)
            }
            34 => self.random.pick(&[Request::Blocked as fn(Ticket) -> _, Request::Resumed])(
                self.ticket(),
            ),
            _ => Request::Waits(self.request_id()),
        }
    }
}

/// A request as it would be read from a ring into which somebody has scribbled.
fn scribbled(request: &Request, random: &mut Random) -> Option<Request> {
    let mut bytes = postcard::to_stdvec(request).unwrap();
    for _ in 0..=random.below(3) {
        let place = random.place(bytes.len());
        match random.below(4) {
            0 => bytes[place] ^= 1 << random.below(8),
            1 => bytes[place] = random.next() as u8,
            2 => bytes.truncate(place.max(1)),
            _ => bytes.insert(place, random.next() as u8),
        }
    }
    postcard::from_bytes(&bytes).ok()
}

/// Of a request that makes as many objects as it says.
fn is_modest(request: &Request) -> bool {
    let Request::Define(_, template, _) = request else { return true };
    !matches!(template.returns, Returns::Static(count) if u64::from(count) > MOST_RETURNS)
}

/// How many things it said.
fn play(seed: u64, tells_story: bool) -> u64 {
    let random = &mut Random::new(seed);
    let mut stage = Stage::new(3, 8);
    stage.define(1, Returns::Static(1), &[("CPU", ONE)]);
    stage.define(2, Returns::Streaming, &[("CPU", ONE)]);
    stage.define(3, Returns::Dynamic, &[]);
    stage.define(4, Returns::Static(0), &[]);
    let mut tasks = vec![stage.submit(1, &[]), stage.submit(2, &[]), stage.submit(3, &[])];
    tasks.push(stage.submit(1, &[tasks[0].item(0)]));
    let (me, ticket) = stage.claim(random.pick(&tasks[..3]));
    for task in &tasks[..3] {
        stage.claim(*task);
    }
    stage.step(Event::WorkerStarted(me));
    let tickets = [ticket, Ticket(0), Ticket(1 << 16)];
    let mut said = 0;
    for _ in 0..SAYINGS {
        let mut liar = Liar { random: &mut *random, me, tasks: &tasks, tickets: &tickets, said };
        let request = if liar.random.chance(65) { liar.truth() } else { liar.request() };
        let request = if random.chance(80) { Some(request) } else { scribbled(&request, random) };
        match request {
            Some(request) if is_modest(&request) => {
                if tells_story {
                    eprintln!("  {request:?}");
                }
                stage.say(me, request);
            }
            // For what is no request the binding kills.
            _ => continue,
        }
        said += 1;
        if random.chance(20) {
            stage.step(Event::Tick(random.below(10) * 1_000_000_000));
        }
        if stage.actions.iter().any(|action| matches!(action, Action::Kill(who, _) if *who == me)) {
            break;
        }
    }
    stage.step(Event::WorkerDied(me, killed(), tickets.to_vec()));
    settle(&mut stage);
    said
}

/// Everybody else goes on: new tasks run, and nothing of the dead worker is left.
fn settle(stage: &mut Stage) {
    stage.define(9, Returns::Static(1), &[]);
    let task = stage.submit(9, &[]);
    let (worker, _) = stage.claim(task);
    stage.step(Event::WorkerStarted(worker));
    stage.finish_one(task);
    let answer = stage.get(DRIVER, &[task.item(0)]);
    let is_it = |(client, id, reply): &(ClientId, RequestId, Reply)| {
        (*client, *id) == (DRIVER, answer) && matches!(reply, Reply::Values { .. })
    };
    assert!(stage.replies.iter().any(is_it), "others go on");
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap())
}

#[test]
fn worker_that_says_anything_harms_nobody_else() {
    let (first, last) = match variable("SKATE_FUZZ_SEED") {
        Some(seed) => (seed, seed),
        None => (1, variable("SKATE_FUZZ_SEEDS").unwrap_or(USUAL_SEEDS)),
    };
    let mut said = 0;
    for seed in first..=last {
        said += catch_unwind(AssertUnwindSafe(|| play(seed, false))).unwrap_or_else(|panic| {
            eprintln!(
                "repeat it by\n  SKATE_FUZZ_SEED={seed} cargo test -p skate-core --test hostile"
            );
            eprintln!("which says:");
            let _ = catch_unwind(AssertUnwindSafe(|| play(seed, true)));
            std::panic::resume_unwind(panic)
        });
    }
    eprintln!("{} workers said {said} things", last + 1 - first);
}

/// Each level of such a value is one byte of a message, and was one frame of the decoder's stack: the
/// driver died of it.
#[test]
fn error_within_an_error_within_an_error_is_no_message() {
    let honest = Value::Inherited(
        Inherited {
            error: Failure::Unknown.into(),
            tasks: Box::default(),
            skipped: 0,
            actor: None,
        }
        .into(),
    );
    let bytes = postcard::to_stdvec(&honest).unwrap();
    assert_eq!(postcard::from_bytes::<Value>(&bytes), Ok(honest));
    let nested = vec![bytes[0]; 1 << 20];
    assert!(postcard::from_bytes::<Value>(&nested).is_err());
}

/// Its handle came from a value that somebody had written over. The question was never answered, nor was
/// its `Forget`, so a `next` with a time limit waited for ever, too.
#[test]
fn driver_that_reads_a_stream_that_is_not_there_is_told_so() {
    let mut stage = Stage::new(1, 1);
    for at in [None, Some(0)] {
        let id = RequestId(stage.count());
        stage.say(DRIVER, Request::Next(id, TaskId::new(DRIVER, 77), at));
        assert_eq!(stage.reply_to(id), Some(&Reply::Failed(Failure::Unknown)));
    }
}
