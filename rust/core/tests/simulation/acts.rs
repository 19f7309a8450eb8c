//! What code does between two yields, or the driver at any time: one act by chance.

use skate_core::event::{
    ActorName, AfterKill, Args, Cancel, Creation, Held, OnDrop, Patience, Request, Returns, Submit,
    Waitable, Within,
};
use skate_core::id::{ActorId, ObjectId, RequestId, TaskId, TemplateId};

use super::body::call_id;
use super::client::{Asked, Client};
use super::content::Content;
use super::program::{Callable, Of, plans};
use super::random::Random;
use super::shared::Shared;

/// Of actors.
const NAMES: u64 = 3;

impl Client {
    /// Makes a value under a fresh id.
    fn put(&mut self, shared: &mut Shared) -> ObjectId {
        let task = TaskId::new(self.id, self.count());
        let holds = self.some_handles(&mut shared.random, 2);
        let content = Content::Data { task, place: 0, origin: (0, 0), holds: holds.clone() };
        let value = self.value(&content, shared);
        self.send(Request::Put(task.item(0), value, holds.into()));
        self.handles.push(Held::Object(task.item(0)));
        task.item(0)
    }

    fn submission(
        &mut self,
        task: TaskId,
        parent: Option<TaskId>,
        actor: Option<ActorId>,
        shared: &mut Shared,
    ) -> Submit {
        let random = &mut shared.random;
        let waits = self.some_handles(random, 3).into_iter().filter_map(|held| match held {
            Held::Object(id) => Some(id),
            _ => None,
        });
        let waits: Box<[ObjectId]> = if random.chance(60) { waits.collect() } else { [].into() };
        let args = if random.chance(20) {
            Args::Stored(self.put(shared))
        } else {
            Args::Inline((&[][..]).into())
        };
        let holds: Box<[Held]> = self.some_handles(&mut shared.random, 3).into();
        shared.holds_of.insert(task, holds.clone());
        let name = Some(format!("{task:?}").into());
        let template = TemplateId(0); // of which there is none: the caller knows
        Submit { task, template, parent, name, args, waits, holds, actor }
    }

    /// Calls a remote function, or a method.
    fn submit(&mut self, parent: Option<TaskId>, actor: Option<ActorId>, shared: &mut Shared) {
        let callables = match actor {
            None => &shared.functions,
            Some(actor) => &shared.classes[shared.class_of[&actor]].methods,
        };
        let callable = callables[shared.random.place(callables.len())].clone();
        self.submit_to(&callable, None, (parent, actor), shared);
    }

    /// The template of this client for that callable, of which the node is told at its first use.
    fn template(&mut self, callable: &Callable, shared: &mut Shared) -> TemplateId {
        if let Some(id) = self.templates.get(&callable.id) {
            return *id;
        }
        let id = TemplateId(TaskId::new(self.id, self.count()).0);
        self.templates.insert(callable.id, id);
        shared.callables.insert(id, callable.clone());
        self.send(Request::Define(id, callable.template.clone(), None));
        id
    }

    /// Nothing holds the template of that callable any more, perhaps.
    fn drop_template(&mut self, callable: &Callable, shared: &mut Shared) {
        if shared.random.chance(30)
            && let Some(id) = self.templates.remove(&callable.id)
        {
            self.send(Request::Undefine(id));
        }
    }

    fn submit_to(
        &mut self,
        callable: &Callable,
        holds: Option<Box<[Held]>>,
        (parent, actor): (Option<TaskId>, Option<ActorId>),
        shared: &mut Shared,
    ) {
        if callable.group().is_some_and(|key| !shared.reserved.contains(key)) {
            return;
        }
        let task = call_id(self, actor.is_some());
        let mut submit = self.submission(task, parent, actor, shared);
        if let Some(holds) = holds {
            shared.holds_of.insert(task, holds.clone());
            submit.holds = holds;
        }
        let of = if actor.is_some() { Of::Method } else { Of::Function };
        shared.plans.insert(task, plans(&mut shared.random, callable, of));
        shared.calls_left -= 1;
        if callable.template.on_drop == OnDrop::Close {
            shared.closing.insert(task);
        }
        let template = self.template(callable, shared);
        self.send(Request::Submit(Submit { template, ..submit }));
        self.drop_template(callable, shared);
        match callable.template.returns {
            Returns::Static(count) => {
                let items = (0..u64::from(count)).map(|index| Held::Object(task.item(index)));
                self.handles.extend(items);
            }
            Returns::Dynamic => self.handles.push(Held::Object(task.whole())),
            Returns::Streaming => self.handles.push(Held::Stream(task)),
        }
    }

    fn create(&mut self, parent: Option<TaskId>, shared: &mut Shared) {
        let place = shared.random.place(shared.classes.len());
        let constructor = shared.classes[place].constructor.clone();
        if constructor.group().is_some_and(|key| !shared.reserved.contains(key)) {
            return;
        }
        let task = call_id(self, false);
        let actor = ActorId(task);
        let submit = self.submission(task, parent, Some(actor), shared);
        let name = shared.random.chance(20).then(|| {
            let name = format!("n{}", shared.random.below(NAMES)).into();
            (ActorName { namespace: "".into(), name }, RequestId(self.count()))
        });
        let is_detached = name.is_some() && shared.random.chance(30);
        let template = self.template(&constructor, shared);
        let class = &shared.classes[place];
        let creation = Creation {
            submit: Submit { template, ..submit },
            name: name.clone(),
            placing: class.placing.clone(),
            max_restarts: class.max_restarts,
            is_detached,
            order: class.order,
            lanes: class.lanes.clone(),
            body: (&[][..]).into(),
        };
        let plans = plans(&mut shared.random, &constructor, Of::Constructor);
        shared.plans.insert(task, plans);
        shared.class_of.insert(actor, place);
        shared.actors_left -= 1;
        let create = Request::Create(Box::new(creation));
        if let Some((_, id)) = name {
            // The answer says whose handle it is.
            self.ask_as(id, false, Vec::new(), create);
        } else {
            self.send(create);
            self.handles.push(Held::Actor(actor));
        }
        self.drop_template(&constructor, shared);
    }

    fn actors(&self, with_weak: bool) -> Vec<ActorId> {
        let actors = self.handles.iter().filter_map(|held| match held {
            Held::Actor(id) => Some(*id),
            Held::WeakActor(id) => Some(*id).filter(|_| with_weak),
            _ => None,
        });
        actors.collect()
    }

    /// Calls an actor a few times. With a strong handle: one that has only a weak one may find that
    /// the actor has ended.
    fn call(&mut self, parent: Option<TaskId>, shared: &mut Shared) {
        let actors = self.actors(false);
        if !actors.is_empty() {
            let actor = shared.random.pick(&actors);
            for _ in 0..=shared.random.below(3).min(u64::from(shared.calls_left) - 1) {
                self.submit(parent, Some(actor), shared);
            }
        }
    }

    /// One thing that a program may do. `task` is what a worker runs.
    pub(crate) fn act(&mut self, task: Option<TaskId>, shared: &mut Shared) {
        match shared.random.below(24) {
            0..=5 if shared.calls_left > 0 => self.submit(task, None, shared),
            6 if shared.random.chance(50) => _ = self.put(shared),
            7 if shared.random.chance(50) => _ = self.release_one(shared),
            8 if shared.random.chance(shared.cancels) => self.cancel(shared),
            9 if shared.stored > 0 => self.lease(task.is_some(), shared),
            10 => {
                for held in self.some_handles(&mut shared.random, 1) {
                    self.hold(match held {
                        // The ref of `completed()`.
                        Held::Stream(task)
                            if !shared.closing.contains(&task) && shared.random.chance(30) =>
                        {
                            Held::Object(task.whole())
                        }
                        other => other,
                    });
                }
            }
            11 => _ = self.forget_one(false),
            12..=14 if shared.is_pressed => self.lease(task.is_some(), shared),
            15 if shared.is_pressed => _ = self.put(shared),
            16 if shared.random.chance(shared.closes) => self.close(shared),
            17 | 18 if shared.actors_left > 0 => self.create(task, shared),
            19..=21 if shared.calls_left > 0 => self.call(task, shared),
            22 if shared.random.chance(shared.kills) => self.kill(shared),
            6 | 23 if shared.calls_left > 0 && shared.random.chance(60) => {
                self.pass_on(task, shared);
            }
            _ => self.read(task.is_some(), shared),
        }
    }

    /// Leaves a stream to a task, which is its only reader if nobody else has it.
    fn pass_on(&mut self, parent: Option<TaskId>, shared: &mut Shared) {
        let random = &mut shared.random;
        let streams = |held: &Held| matches!(held, Held::Stream(_));
        let Some(stream) = self.take_handle(random, streams) else { return };
        let functions = shared.functions.len();
        let callable = shared.functions[random.place(functions)].clone();
        self.submit_to(&callable, Some([stream].into()), (parent, None), shared);
        self.send(Request::Release(stream));
    }

    fn cancel(&mut self, shared: &mut Shared) {
        // Of its latest calls, which may still run. Those of actors cannot be killed.
        let latest = &self.handles[self.handles.len().saturating_sub(4)..];
        let tasks = latest.iter().filter_map(|held| match held {
            Held::Object(ObjectId { task, .. }) | Held::Stream(task) | Held::Cursor(task, _) => {
                Some(*task)
            }
            _ => None,
        });
        let tasks: Vec<TaskId> = tasks.collect();
        if !tasks.is_empty() {
            let task = shared.random.pick(&tasks);
            let force = !task.is_call() && shared.random.chance(30);
            let how = Cancel { force, recursive: shared.random.chance(50) };
            self.send(Request::Cancel(task, how));
        }
    }

    fn kill(&mut self, shared: &mut Shared) {
        let actors = self.actors(true);
        if !actors.is_empty() {
            let after = shared.random.pick(&[AfterKill::Dead, AfterKill::MayRestart]);
            self.send(Request::Kill(shared.random.pick(&actors), after));
        }
    }

    fn close(&mut self, shared: &mut Shared) {
        let streams = self.handles.iter().filter_map(|held| match held {
            Held::Stream(task) => Some(*task),
            _ => None,
        });
        let streams: Vec<TaskId> = streams.collect();
        if !streams.is_empty() {
            self.send(Request::Close(shared.random.pick(&streams)));
        }
    }

    fn lease(&mut self, blocks: bool, shared: &mut Shared) {
        if let Some((lease, _)) = self.disk_lease.take() {
            return self.send(Request::Release(Held::DiskLease(lease.offset)));
        }
        if let Some(lease) = self.lease.take() {
            return self.send(Request::Release(Held::Lease(lease.start)));
        }
        let is_asked = |asked: &Asked| matches!(asked.question, Request::Allocate(..));
        if !self.asked.values().any(is_asked) {
            let size = 64 << shared.random.below(5);
            let random = &mut shared.random;
            let within = if random.chance(70) { Within::MemoryOrDisk } else { Within::Memory };
            self.ask(blocks, Vec::new(), |id| Request::Allocate(id, size, within));
        }
    }

    /// One question about what it holds.
    pub(crate) fn read(&mut self, may_block: bool, shared: &mut Shared) {
        let random = &mut shared.random;
        let blocks = may_block && random.chance(90);
        match random.below(12) {
            0..=2 => {
                let wanted = 1 + random.below(3);
                let objects = |held: &Held| matches!(held, Held::Object(_));
                let keeps: Vec<Held> =
                    (0..wanted).filter_map(|_| self.take_handle(random, objects)).collect();
                let ids = keeps.iter().filter_map(|held| match held {
                    Held::Object(id) => Some(*id),
                    _ => None,
                });
                let ids: Box<[ObjectId]> = ids.collect();
                if !ids.is_empty() {
                    self.ask(blocks, keeps, |id| Request::Get(id, ids));
                }
            }
            3 | 4 => self.wait(blocks, random),
            5..=8 => {
                let streams = |held: &Held| matches!(held, Held::Stream(_) | Held::Cursor(..));
                let Some(held) = self.take_handle(random, streams) else { return };
                let (task, at) = reader(held);
                let what = random.below(12);
                let most = 1 + random.below(4) as u32;
                self.ask(blocks, vec![held], |id| match what {
                    0 => Request::Progress(id, task, at),
                    1 => Request::Length(id, task, at),
                    2 | 3 => Request::NextBatch(id, task, at, most),
                    _ => Request::Next(id, task, at),
                });
            }
            9 => {
                let actors = |held: &Held| matches!(held, Held::Actor(_) | Held::WeakActor(_));
                let Some(held) = self.take_handle(random, actors) else { return };
                let (Held::Actor(actor) | Held::WeakActor(actor)) = held else { unreachable!() };
                let is_count = random.chance(50);
                self.ask(false, vec![held], |id| {
                    if is_count {
                        Request::CallsUnderWay(id, actor)
                    } else {
                        Request::Describe(id, actor)
                    }
                });
            }
            10 if !shared.classes.is_empty() => {
                let name = format!("n{}", random.below(NAMES)).into();
                let name = ActorName { namespace: "".into(), name };
                self.ask(false, Vec::new(), |id| Request::Find(id, name));
            }
            _ => self.ask(blocks, Vec::new(), Request::Resources),
        }
    }

    fn wait(&mut self, blocks: bool, random: &mut Random) {
        let mut keeps: Vec<Held> = Vec::new();
        for _ in 0..=random.below(4) {
            let known = keeps.clone();
            let is_actor = |held: &Held| matches!(held, Held::Actor(_) | Held::WeakActor(_));
            let is_new = |held: &Held| !known.contains(held) && !is_actor(held);
            keeps.extend(self.take_handle(random, is_new));
        }
        if keeps.is_empty() {
            return;
        }
        let on = keeps.iter().map(|held| match *held {
            Held::Object(id) => Waitable::Object(id),
            other => match reader(other) {
                (task, None) => Waitable::Stream(task),
                (task, Some(at)) => Waitable::Cursor(task, at),
            },
        });
        let on: Box<[Waitable]> = on.collect();
        let count = 1 + random.below(on.len() as u64) as u32;
        let patience = if random.chance(40) { Patience::Now } else { Patience::Until };
        self.ask(blocks, keeps, |id| Request::Wait(id, on, count, patience));
    }
}

/// Which stream a handle reads, and from where.
fn reader(held: Held) -> (TaskId, Option<u64>) {
    match held {
        Held::Stream(task) => (task, None),
        Held::Cursor(task, at) => (task, Some(at)),
        other => unreachable!("{other:?} reads no stream"),
    }
}
