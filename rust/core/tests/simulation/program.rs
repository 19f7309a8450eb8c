//! What a seed decides before anything runs: the machine, what can be called, and how each call goes.
//!
//! Invariant: how an attempt of a call goes (its yields, its end) depends on the call alone, so what
//! its refs must hold is known whatever the interleaving.

use std::sync::Arc;

use skate_core::event::{Leave, OnDrop, Order, Returns, Template};
use skate_core::id::{FunctionId, TemplateId};
use skate_core::node::Config;

use super::random::Random;

/// A function, a constructor, or a method.
#[derive(Clone, Debug)]
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
    /// Keys of the placement groups that the driver may make, and their bundles of CPU.
    pub(crate) groups: Vec<(Arc<str>, Vec<u64>)>,
    pub(crate) actors: u32,
    /// Calls in all, from everywhere.
    pub(crate) calls: u32,
    /// What the driver does before it only reads.
    pub(crate) driver_steps: u32,
    /// Of 1000 turns, so many kill a worker.
    pub(crate) deaths: u64,
    /// Of 100 starts, so many fail.
    pub(crate) failed_starts: u64,
    /// Of 100 values, so many go through the store.
    pub(crate) stored: u64,
    /// The store is small, and most values go through it.
    pub(crate) is_pressed: bool,
    /// Of 100 writes to disk, and of 100 reads, so many fail.
    pub(crate) bad_writes: u64,
    pub(crate) bad_reads: u64,
    /// Of 100 acts that could, so many cancel a call; likewise, kill an actor, close a stream.
    pub(crate) cancels: u64,
    pub(crate) kills: u64,
    pub(crate) closes: u64,
    /// Of 1000 turns, so many are a look at memory.
    pub(crate) shortages: u64,
    /// Many tasks without CPU, which the driver submits before the workers have got anywhere.
    pub(crate) is_crowd: bool,
    /// Of 100 turns, so many let time pass.
    pub(crate) ticks: u64,
}

/// Of the machine.
pub(crate) const GPUS: u32 = 2;
/// One of a resource.
pub(crate) const ONE: u64 = 10_000;
const METHODS_PER_CLASS: u64 = 100;
const FIRST_CLASS: u64 = 1_000;

impl Setup {
    pub(crate) fn new(random: &mut Random) -> Self {
        let cpus = random.pick(&[ONE / 2, ONE, ONE, 2 * ONE, 2 * ONE, 4 * ONE]);
        let custom = random.pick(&[ONE, 2 * ONE]);
        let is_crowd = random.chance(5);
        let is_pressed = random.chance(30);
        let has_actors = !is_crowd && random.chance(60);
        let has_groups = !is_crowd && cpus >= ONE && random.chance(25);
        let config = Config {
            resources: vec![
                ("CPU".into(), cpus),
                ("GPU".into(), u64::from(GPUS) * ONE),
                ("x".into(), custom),
            ],
            capacity: if is_pressed {
                random.pick(&[128, 192, 256, 512])
            } else {
                random.pick(&[256, 1 << 10, 4 << 10, 16 << 10])
            },
            oom_retries: random.pick(&[-1, -1, 0, 2]),
            spill: match random.below(4) {
                0 => Err("it is off".into()),
                1 => Ok(random.pick(&[64, 256, 1 << 10])),
                _ => Ok(1 << 30),
            },
            prestart: random.below(3) as u32,
            max_workers: if is_crowd { 64 } else { random.pick(&[1, 2, 3, 8, 16]) },
        };
        let bundles = |random: &mut Random| match random.below(3) {
            0 => vec![ONE / 2],
            1 => vec![ONE / 2, ONE / 2],
            _ => vec![ONE],
        };
        let groups: Vec<(Arc<str>, Vec<u64>)> = (0..if has_groups { 2 } else { 0 })
            .map(|number| (format!("k{number}").into(), bundles(random)))
            .collect();
        let mut functions: Vec<Callable> =
            (1..=2 + random.below(5)).map(|number| function(random, number)).collect();
        let count = if has_actors { 1 + random.below(3) } else { 0 };
        let mut classes: Vec<Class> =
            (0..count).map(|number| class(random, FIRST_CLASS * (number + 1), cpus)).collect();
        for (key, _) in &groups {
            let name = |part: &str| format!("{part}_group_{key}").into();
            let resources: Box<[_]> = [(name("CPU"), ONE / 2), (name("bundle"), 1)].into();
            let place = random.place(functions.len());
            give(&mut functions[place], resources.clone());
            if !classes.is_empty() && random.chance(40) {
                let place = random.place(classes.len());
                give(&mut classes[place].constructor, resources);
                classes[place].placing = Box::default();
            }
        }
        if is_crowd {
            for function in &mut functions {
                let name = if random.chance(70) { ("y".into(), 0) } else { ("x".into(), 1) };
                give(function, [name].into());
            }
        }
        Self {
            config,
            functions,
            classes,
            groups,
            actors: random.pick(&[1, 2, 4, 8]) * u32::from(has_actors),
            calls: if is_crowd { 60 } else { random.pick(&[3, 10, 20, 40]) },
            driver_steps: random.pick(&[10, 30, 60, 120]) * if is_crowd { 2 } else { 1 },
            deaths: random.pick(&[0, 0, 2, 10, 40]),
            failed_starts: random.pick(&[0, 0, 10, 60]),
            stored: if is_pressed { 95 } else { random.pick(&[0, 10, 50]) },
            is_pressed,
            bad_writes: random.pick(&[0, 0, 10, 50]),
            bad_reads: random.pick(&[0, 0, 0, 10]),
            cancels: random.pick(&[0, 10, 60]),
            kills: random.pick(&[0, 0, 10, 50]),
            closes: random.pick(&[0, 10, 50]),
            shortages: random.pick(&[0, 0, 0, 3, 20]),
            is_crowd,
            ticks: random.pick(&[1, 5, 20]),
        }
    }
}

impl Callable {
    /// Key of the placement group that it is to run in.
    pub(crate) fn group(&self) -> Option<&str> {
        let mut names = self.template.resources.iter();
        names.find_map(|(name, _)| name.strip_prefix("CPU_group_"))
    }
}

fn give(callable: &mut Callable, resources: Box<[(Arc<str>, u64)]>) {
    let template = Template { resources, ..(*callable.template).clone() };
    callable.template = Arc::new(template);
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

/// What the caller gets, and how far a producer may go.
fn modes(random: &mut Random, is_generator: bool, template: Template) -> Template {
    let returns = match random.below(3) {
        0 if is_generator => Returns::Dynamic,
        1 if is_generator => Returns::Streaming,
        _ => Returns::Static(random.pick(&[0, 1, 1, 2, 3])),
    };
    let is_streaming = returns == Returns::Streaming;
    let window = (is_streaming && random.chance(40)).then(|| 1 + random.below(3) as u32);
    let bytes = (is_streaming && random.chance(25)).then(|| random.pick(&[1, 60, 120]));
    let closes = is_generator && random.chance(20);
    let on_drop = if closes { OnDrop::Close } else { OnDrop::RunOn };
    Template { returns, window, window_bytes: bytes, on_drop, ..template }
}

fn function(random: &mut Random, number: u64) -> Callable {
    let is_generator = random.chance(60);
    let resources: Box<[(Arc<str>, u64)]> = match random.below(24) {
        0..=9 => [("CPU".into(), ONE)].into(),
        10 | 11 => [("CPU".into(), ONE / 2)].into(),
        12 => [("CPU".into(), 2 * ONE)].into(),
        13 | 14 => [("CPU".into(), ONE / 2), ("x".into(), ONE)].into(),
        15 => [("x".into(), ONE / 2)].into(),
        16 => [("CPU".into(), ONE), ("gone".into(), ONE)].into(),
        17 => [("CPU".into(), ONE / 2), ("GPU".into(), ONE / 2)].into(),
        18 => [("GPU".into(), ONE)].into(),
        _ => Box::default(),
    };
    let plain = template(format!("f{number}"), number, Returns::Static(1));
    let template = Template {
        resources,
        max_retries: random.pick(&[-1, 0, 1, 3]),
        ..modes(random, is_generator, plain)
    };
    Callable { id: TemplateId(number), template: Arc::new(template), is_generator }
}

fn class(random: &mut Random, first: u64, cpus: u64) -> Class {
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
    // For all streams of an actor together.
    let window = random.chance(40).then(|| 1 + random.below(4) as u32);
    let name = format!("C{first}");
    let constructor = Template { resources, window, ..template(name, first, Returns::Static(0)) };
    let methods = (1..=1 + random.below(METHODS_PER_CLASS.min(3)))
        .map(|place| {
            let is_generator = random.chance(50);
            let number = first + place;
            let plain = template(format!("m{number}"), 0, Returns::Static(1));
            let template = Template {
                lane: random.below(lanes.len() as u64) as u32,
                max_retries: random.pick(&[-1, 0, 0, 1, 2]),
                ..modes(random, is_generator, plain)
            };
            Callable { id: TemplateId(number), template: Arc::new(template), is_generator }
        })
        .collect();
    let template = Arc::new(constructor);
    Class {
        constructor: Callable { id: TemplateId(first), template, is_generator: false },
        methods,
        max_restarts: random.pick(&[-1, 0, 0, 1, 3]),
        order,
        lanes,
        placing,
    }
}

/// Whose call it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    Function,
    Constructor,
    Method,
}

/// How the attempts of one call go; the last plan is also that of all later attempts.
pub(crate) fn plans(random: &mut Random, callable: &Callable, of: Of) -> Vec<Plan> {
    let usual = match callable.template.returns {
        Returns::Static(count) if random.chance(70) => u64::from(count),
        _ => random.below(6),
    };
    let yields = |random: &mut Random| if random.chance(10) { random.below(7) } else { usual };
    let mut plans = Vec::new();
    while random.chance(25) && plans.len() < 4 {
        let end =
            if random.chance(50) { PlannedEnd::Die } else { PlannedEnd::Raise { retry: true } };
        plans.push(Plan { yields: yields(random), end });
    }
    let end = match random.below(100) {
        0..=2 if of != Of::Function => PlannedEnd::Leave(random.pick(&[
            Leave::ExitActor,
            Leave::Terminate,
            Leave::ExitCodeZero,
        ])),
        3..=17 => PlannedEnd::Raise { retry: false },
        _ => PlannedEnd::Return,
    };
    plans.push(Plan { yields: yields(random), end });
    plans
}
