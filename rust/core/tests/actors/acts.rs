//! What code does: make actors, call them, read what they give, let go.

use std::collections::BTreeMap;

use skate_core::event::{
    ActorName, AfterKill, Args, Cancel, Creation, Held, Request, Returns, Submit,
};
use skate_core::id::{ActorId, ObjectId, RequestId, TaskId, TemplateId};

use super::process::Process;
use super::program::{Callable, Class, Plan, plans};
use crate::random::Random;

/// What all processes share: the seed's program.
pub(crate) struct Shared {
    pub(crate) random: Random,
    pub(crate) callables: BTreeMap<TemplateId, Callable>,
    pub(crate) classes: Vec<Class>,
    pub(crate) functions: Vec<Callable>,
    pub(crate) plans: BTreeMap<TaskId, Vec<Plan>>,
    /// What the arguments of each call contain.
    pub(crate) holds_of: BTreeMap<TaskId, Box<[Held]>>,
    /// Lanes of each actor, by its constructor.
    pub(crate) lanes_of: BTreeMap<TaskId, Box<[u32]>>,
    /// Methods of each actor.
    pub(crate) class_of: BTreeMap<ActorId, usize>,
    pub(crate) actors_left: u32,
    pub(crate) calls_left: u32,
    pub(crate) kills: u64,
    pub(crate) cancels: u64,
}

impl Shared {
    /// Of the actor whose streams share it, if the call has one.
    pub(crate) fn window_of(&self, actor: Option<ActorId>, returns: Returns) -> Option<u64> {
        let class = &self.classes[self.class_of[&actor?]];
        class.constructor.template.window.filter(|_| returns == Returns::Streaming).map(u64::from)
    }

    pub(crate) fn callable(&self, id: TemplateId) -> &Callable {
        &self.callables[&id]
    }
}

impl Process {
    /// One thing that a program may do. `task` is what a worker runs.
    pub(crate) fn act(&mut self, task: Option<TaskId>, shared: &mut Shared) {
        match shared.random.below(20) {
            0 | 1 if shared.actors_left > 0 => self.create(task, shared),
            2 | 3 if shared.calls_left > 0 => self.submit(task, None, shared),
            4..=10 if shared.calls_left > 0 => {
                // With a strong handle: who has a weak one only may find that it has ended.
                let callable: Vec<ActorId> = self.actors_held().collect();
                if !callable.is_empty() {
                    let actor = shared.random.pick(&callable);
                    for _ in 0..=shared.random.below(3) {
                        self.submit(task, Some(actor), shared);
                    }
                }
            }
            11 if shared.random.chance(shared.kills) => self.kill(shared),
            12 if shared.random.chance(shared.cancels) => self.cancel(shared),
            13 if shared.random.chance(40) => _ = self.release_one(shared),
            14 => {
                let places: Vec<Held> = self.handles.clone();
                if !places.is_empty() {
                    self.hold(shared.random.pick(&places));
                }
            }
            15 => self.find(shared),
            _ => self.read(shared),
        }
    }

    fn known_actors(&self) -> impl Iterator<Item = ActorId> {
        self.handles.iter().filter_map(|held| match held {
            Held::Actor(id) | Held::WeakActor(id) => Some(*id),
            _ => None,
        })
    }

    fn arguments(&self, shared: &mut Shared) -> (Box<[ObjectId]>, Box<[Held]>) {
        let random = &mut shared.random;
        let objects = self.handles.iter().filter_map(|held| match held {
            Held::Object(id) => Some(*id),
            _ => None,
        });
        let objects: Vec<ObjectId> = objects.collect();
        let waits = (!objects.is_empty() && random.chance(30)).then(|| random.pick(&objects));
        let actors: Vec<ActorId> = self.actors_held().collect();
        let holds = (!actors.is_empty() && random.chance(40)).then(|| random.pick(&actors));
        (waits.into_iter().collect(), holds.map(Held::Actor).into_iter().collect())
    }

    fn create(&mut self, parent: Option<TaskId>, shared: &mut Shared) {
        let task = TaskId::new(self.id, self.count());
        let (mut waits, holds) = self.arguments(shared);
        let place = shared.random.place(shared.classes.len());
        let class = &shared.classes[place];
        if class.max_restarts != 0 {
            // It keeps them for life: with a handle inside it could be part of a circle, which no
            // count can free.
            waits = Box::default();
        }
        let named = shared.random.chance(20).then(|| {
            let name = format!("n{}", shared.random.below(3));
            (ActorName { namespace: "".into(), name: name.into() }, RequestId(self.count()))
        });
        let submit = Submit {
            task,
            template: class.constructor.id,
            actor: Some(ActorId(task)),
            parent,
            name: Some(format!("{task:?}").into()),
            args: Args::Inline((&[][..]).into()),
            waits,
            holds: holds.clone(),
        };
        let creation = Creation {
            submit,
            name: named.clone(),
            placing: class.placing.clone(),
            max_restarts: class.max_restarts,
            is_detached: false,
            order: class.order,
            lanes: class.lanes.clone(),
            body: (&[][..]).into(),
        };
        shared.holds_of.insert(task, holds);
        shared.lanes_of.insert(task, class.lanes.clone());
        shared.class_of.insert(ActorId(task), place);
        shared
            .plans
            .insert(task, plans(&mut shared.random, &shared.classes[place].constructor, true));
        shared.actors_left -= 1;
        let create = Request::Create(Box::new(creation));
        if let Some((_, id)) = named {
            // The answer says whose handle it is.
            self.asks(id, create);
        } else {
            self.send(create);
            self.handles.push(Held::Actor(ActorId(task)));
        }
    }

    fn asks(&mut self, id: RequestId, question: Request) {
        self.send(question.clone());
        let asked = super::process::Asked { question, keeps: Vec::new(), is_answered: false };
        self.asked.insert(id, asked);
    }

    fn find(&mut self, shared: &mut Shared) {
        let name = format!("n{}", shared.random.below(3)).into();
        self.ask(Vec::new(), |id| Request::Find(id, ActorName { namespace: "".into(), name }));
    }

    fn submit(&mut self, parent: Option<TaskId>, actor: Option<ActorId>, shared: &mut Shared) {
        let random = &mut shared.random;
        let callables = match actor {
            None => &shared.functions,
            Some(actor) => &shared.classes[shared.class_of[&actor]].methods,
        };
        let callable = callables[random.place(callables.len())].clone();
        let number = self.count();
        let task = if actor.is_some() {
            TaskId::new_call(self.id, number)
        } else {
            TaskId::new(self.id, number)
        };
        let (waits, holds) = self.arguments(shared);
        shared.holds_of.insert(task, holds.clone());
        shared.plans.insert(task, plans(&mut shared.random, &callable, actor.is_some()));
        shared.calls_left = shared.calls_left.saturating_sub(1);
        self.send(Request::Submit(Submit {
            task,
            template: callable.id,
            actor,
            parent,
            name: Some(format!("{task:?}").into()),
            args: Args::Inline((&[][..]).into()),
            waits,
            holds,
        }));
        match callable.template.returns {
            Returns::Static(count) => {
                let items = (0..u64::from(count)).map(|index| Held::Object(task.item(index)));
                self.handles.extend(items);
            }
            _ => self.handles.push(Held::Stream(task)),
        }
    }

    fn kill(&mut self, shared: &mut Shared) {
        let actors: Vec<ActorId> = self.known_actors().collect();
        if !actors.is_empty() {
            let after = shared.random.pick(&[AfterKill::Dead, AfterKill::MayRestart]);
            self.send(Request::Kill(shared.random.pick(&actors), after));
        }
    }

    fn cancel(&mut self, shared: &mut Shared) {
        let latest = &self.handles[self.handles.len().saturating_sub(5)..];
        let tasks = latest.iter().filter_map(|held| match held {
            Held::Object(ObjectId { task, .. }) | Held::Stream(task) => Some(*task),
            _ => None,
        });
        let tasks: Vec<TaskId> = tasks.collect();
        if !tasks.is_empty() {
            let how = Cancel { force: false, recursive: shared.random.chance(50) };
            self.send(Request::Cancel(shared.random.pick(&tasks), how));
        }
    }

    /// One question about what it holds.
    pub(crate) fn read(&mut self, shared: &mut Shared) {
        if self.handles.is_empty() {
            return;
        }
        let place = shared.random.place(self.handles.len());
        let held = self.handles.swap_remove(place);
        match held {
            Held::Object(object) => self.ask(vec![held], |id| Request::Get(id, [object].into())),
            Held::Stream(task) => self.ask(vec![held], |id| Request::Next(id, task, None)),
            Held::Actor(actor) | Held::WeakActor(actor) => {
                self.ask(vec![held], |id| Request::CallsUnderWay(id, actor));
            }
            other => unreachable!("nobody holds {other:?}"),
        }
    }

    /// Takes one question back; false if there is none.
    pub(crate) fn forget_one(&mut self) -> bool {
        let open = self.asked.iter().find(|(_, asked)| !asked.is_answered);
        let Some(id) = open.map(|(id, _)| *id) else { return false };
        self.send(Request::Forget(id));
        true
    }
}
