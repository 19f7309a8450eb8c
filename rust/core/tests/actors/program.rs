//! What a seed decides before anything runs: the machine, the classes, and how each call goes.
//!
//! Invariant: how an attempt of a call goes (its yields, its end) depends on the call alone.

use std::sync::Arc;

use skate_core::event::{Leave, OnDrop, Order, Returns, Template};
use skate_core::id::{FunctionId, TemplateId};
use skate_core::node::Config;

use crate::random::Random;

/// A function, a constructor, or a method.
#[derive(Clone)]
pub(crate) struct Callable {
    pub(crate) id: TemplateId,
    pub(crate) template: Arc<Template>,
    pub(crate) is_generator: bool,
}

/// A class with its options.
#[derive(Clone)]
pub(crate) struct Class {
    pub(crate) constructor: Callable,
    pub(crate) methods: Vec<Callable>,
    pub(crate) max_restarts: i32,
    pub(crate) order: Order,
    pub(crate) lanes: Box<[u32]>,
    pub(crate) placing: Box<[(Arc<str>, u64)]>,
}

/// How one attempt of a call goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) yields: u64,
    pub(crate) end: PlannedEnd,
}

/// How an attempt ends, if nothing happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PlannedEnd {
    Return,
    Raise { retry: bool },
    Die,
    Leave(Leave),
}

/// One simulated session.
pub(crate) struct Setup {
    pub(crate) config: Config,
    pub(crate) functions: Vec<Callable>,
    pub(crate) classes: Vec<Class>,
    pub(crate) actors: u32,
    /// Calls in all, of actors and of functions.
    pub(crate) calls: u32,
    pub(crate) driver_steps: u32,
    /// Of 1000 turns, so many kill a worker.
    pub(crate) deaths: u64,
    /// Of 100 starts, so many fail.
    pub(crate) failed_starts: u64,
    /// Of 100 acts that could, so many kill an actor.
    pub(crate) kills: u64,
    /// Likewise, cancel a call.
    pub(crate) cancels: u64,
    /// Of 100 turns, so many let time pass.
    pub(crate) ticks: u64,
}

pub(crate) const ONE: u64 = 10_000;
const METHODS_PER_CLASS: u64 = 100;

impl Setup {
    pub(crate) fn new(random: &mut Random) -> Self {
        let cpus = random.pick(&[ONE, 2 * ONE, 2 * ONE, 4 * ONE]);
        let config = Config {
            resources: vec![("CPU".into(), cpus), ("GPU".into(), 2 * ONE), ("x".into(), ONE)],
            capacity: 1 << 10,
            spill: Err("it is off".into()),
            oom_retries: -1,
            prestart: random.below(2) as u32,
            max_workers: random.pick(&[1, 2, 4, 8]),
        };
        let functions = (1..=1 + random.below(3)).map(|number| function(random, number)).collect();
        let classes = (1..=1 + random.below(4)).map(|number| class(random, number, cpus)).collect();
        Self {
            config,
            functions,
            classes,
            actors: random.pick(&[1, 2, 4, 8]),
            calls: random.pick(&[5, 15, 30, 60]),
            driver_steps: random.pick(&[20, 40, 80]),
            deaths: random.pick(&[0, 0, 3, 15, 60]),
            failed_starts: random.pick(&[0, 0, 10, 60]),
            kills: random.pick(&[0, 0, 10, 50]),
            cancels: random.pick(&[0, 10, 60]),
            ticks: random.pick(&[1, 5, 20]),
        }
    }

    /// All that is defined.
    pub(crate) fn callables(&self) -> impl Iterator<Item = &Callable> {
        let of_classes =
            self.classes.iter().flat_map(|class| class.methods.iter().chain([&class.constructor]));
        self.functions.iter().chain(of_classes)
    }
}

fn template(name: String, number: u64, returns: Returns) -> Template {
    Template {
        name: name.into(),
        function: FunctionId(u128::from(number)),
        resources: Box::default(),
        returns,
        max_retries: 0,
        window: None,
        window_bytes: None,
        on_drop: OnDrop::RunOn,
        lane: 0,
        body: (&[][..]).into(),
    }
}

fn function(random: &mut Random, number: u64) -> Callable {
    let resources: Box<[(Arc<str>, u64)]> = match random.below(6) {
        0 | 1 => [("CPU".into(), ONE)].into(),
        2 => [("CPU".into(), ONE / 2), ("GPU".into(), ONE / 2)].into(),
        3 => [("GPU".into(), ONE)].into(),
        _ => Box::default(),
    };
    let template = Template {
        resources,
        max_retries: random.pick(&[-1, 0, 1]),
        ..template(format!("f{number}"), number, Returns::Static(1))
    };
    Callable { id: TemplateId(number), template: Arc::new(template), is_generator: false }
}

fn class(random: &mut Random, number: u64, cpus: u64) -> Class {
    let resources: Box<[(Arc<str>, u64)]> = match random.below(10) {
        0 => [("CPU".into(), ONE)].into(),
        1 => [("CPU".into(), ONE / 2)].into(),
        2 => [("GPU".into(), ONE)].into(),
        3 => [("GPU".into(), ONE / 2)].into(),
        4 => [("x".into(), ONE)].into(),
        _ => Box::default(),
    };
    let placing: Box<[(Arc<str>, u64)]> =
        if random.chance(50) { [("CPU".into(), cpus.min(ONE))].into() } else { Box::default() };
    let lanes: Box<[u32]> = match random.below(5) {
        0 | 1 => [1].into(),
        2 => [3].into(),
        3 => [1, 2].into(),
        _ => [1000].into(),
    };
    let order =
        if *lanes == [1] && random.chance(80) { Order::Submission } else { Order::Readiness };
    let first = number * METHODS_PER_CLASS;
    // For all streams of an actor together.
    let window = random.chance(40).then(|| 1 + random.below(4) as u32);
    let constructor =
        Template { resources, window, ..template(format!("C{number}"), first, Returns::Static(0)) };
    let methods = (1..=1 + random.below(3))
        .map(|place| {
            let is_generator = random.chance(40);
            let returns = match random.below(3) {
                0 | 1 if is_generator => Returns::Streaming,
                _ => Returns::Static(random.pick(&[1, 1, 2])),
            };
            let is_windowed = returns == Returns::Streaming && random.chance(50);
            let number = first + place;
            let template = Template {
                lane: random.below(lanes.len() as u64) as u32,
                max_retries: random.pick(&[-1, 0, 0, 1, 2]),
                window: is_windowed.then(|| 1 + random.below(3) as u32),
                ..template(format!("m{number}"), 0, returns)
            };
            Callable { id: TemplateId(number), template: Arc::new(template), is_generator }
        })
        .collect();
    Class {
        constructor: Callable {
            id: TemplateId(first),
            template: Arc::new(constructor),
            is_generator: false,
        },
        methods,
        max_restarts: random.pick(&[-1, 0, 0, 1, 3]),
        order,
        lanes,
        placing,
    }
}

/// How the attempts of one call go; the last plan is also that of all later attempts.
pub(crate) fn plans(random: &mut Random, callable: &Callable, is_of_actor: bool) -> Vec<Plan> {
    let usual = match callable.template.returns {
        Returns::Static(count) => u64::from(count),
        _ => random.below(5),
    };
    let yields = |random: &mut Random| if random.chance(10) { random.below(5) } else { usual };
    let mut plans = Vec::new();
    while random.chance(20) && plans.len() < 3 {
        let end =
            if random.chance(50) { PlannedEnd::Die } else { PlannedEnd::Raise { retry: true } };
        plans.push(Plan { yields: yields(random), end });
    }
    let end = match random.below(100) {
        0..=2 if is_of_actor => PlannedEnd::Leave(random.pick(&[
            Leave::ExitActor,
            Leave::Terminate,
            Leave::ExitCodeZero,
        ])),
        3..=12 => PlannedEnd::Raise { retry: false },
        _ => PlannedEnd::Return,
    };
    plans.push(Plan { yields: yields(random), end });
    plans
}
