//! What a seed decides before anything runs: the machine, the functions, and how each call goes.
//!
//! Invariant: how an attempt of a task goes (its yields, its end) depends on the task alone, so what
//! its refs must hold is known whatever the interleaving.

use std::sync::Arc;

use skate_core::event::{OnDrop, Returns, Template};
use skate_core::id::{FunctionId, TemplateId};
use skate_core::node::Config;

use super::random::Random;

/// One remote function with its options.
#[derive(Clone)]
pub(crate) struct Function {
    pub(crate) id: TemplateId,
    pub(crate) template: Arc<Template>,
    pub(crate) is_generator: bool,
}

/// How one attempt of a task goes.
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
}

/// One simulated session.
pub(crate) struct Setup {
    pub(crate) config: Config,
    pub(crate) functions: Vec<Function>,
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
    /// Of 100 driver's steps, so many cancel.
    pub(crate) cancels: u64,
    /// Many tasks without CPU, which the driver submits before the workers have got anywhere.
    pub(crate) is_crowd: bool,
    /// Of 100 turns, so many let time pass.
    pub(crate) ticks: u64,
}

const ONE: u64 = 10_000;

impl Setup {
    pub(crate) fn new(random: &mut Random) -> Self {
        let cpus = random.pick(&[ONE / 2, ONE, ONE, 2 * ONE, 2 * ONE, 4 * ONE]);
        let custom = random.pick(&[ONE, 2 * ONE]);
        let is_crowd = random.chance(5);
        let is_pressed = random.chance(30);
        let config = Config {
            resources: vec![("CPU".into(), cpus), ("x".into(), custom)],
            capacity: if is_pressed {
                random.pick(&[128, 192, 256, 512])
            } else {
                random.pick(&[256, 1 << 10, 4 << 10, 16 << 10])
            },
            oom_retries: -1,
            spill: match random.below(4) {
                0 => Err("it is off".into()),
                1 => Ok(random.pick(&[64, 256, 1 << 10])),
                _ => Ok(1 << 30),
            },
            prestart: random.below(3) as u32,
            max_workers: if is_crowd { 64 } else { random.pick(&[1, 2, 3, 8, 16]) },
        };
        let mut functions: Vec<Function> =
            (1..=2 + random.below(5)).map(|number| function(random, number)).collect();
        if is_crowd {
            for function in &mut functions {
                let resources: Box<[_]> = if random.chance(70) {
                    [("y".into(), 0)].into()
                } else {
                    [("x".into(), 1)].into()
                };
                let template = Template { resources, ..(*function.template).clone() };
                function.template = Arc::new(template);
            }
        }
        Self {
            config,
            functions,
            calls: if is_crowd { 60 } else { random.pick(&[3, 10, 20, 40]) },
            driver_steps: random.pick(&[10, 30, 60, 120]) * if is_crowd { 2 } else { 1 },
            deaths: random.pick(&[0, 0, 2, 10, 40]),
            failed_starts: random.pick(&[0, 0, 10, 60]),
            stored: if is_pressed { 95 } else { random.pick(&[0, 10, 50]) },
            is_pressed,
            bad_writes: random.pick(&[0, 0, 10, 50]),
            bad_reads: random.pick(&[0, 0, 0, 10]),
            cancels: random.pick(&[0, 10, 60]),
            is_crowd,
            ticks: random.pick(&[1, 5, 20]),
        }
    }
}

fn function(random: &mut Random, number: u64) -> Function {
    let is_generator = random.chance(60);
    let returns = match random.below(3) {
        0 if is_generator => Returns::Dynamic,
        1 if is_generator => Returns::Streaming,
        _ => Returns::Static(random.pick(&[0, 1, 1, 2, 3])),
    };
    let is_windowed = returns == Returns::Streaming && random.chance(50);
    let resources: Box<[(Arc<str>, u64)]> = match random.below(20) {
        0..=9 => [("CPU".into(), ONE)].into(),
        10 | 11 => [("CPU".into(), ONE / 2)].into(),
        12 => [("CPU".into(), 2 * ONE)].into(),
        13 | 14 => [("CPU".into(), ONE / 2), ("x".into(), ONE)].into(),
        15 => [("x".into(), ONE / 2)].into(),
        16 => [("CPU".into(), ONE), ("gone".into(), ONE)].into(),
        _ => Box::default(),
    };
    let template = Template {
        name: format!("f{number}").into(),
        function: FunctionId(u128::from(number)),
        resources,
        returns,
        max_retries: random.pick(&[-1, 0, 1, 3]),
        window: is_windowed.then(|| 1 + random.below(3) as u32),
        window_bytes: None,
        on_drop: OnDrop::RunOn,
        lane: 0,
        body: (&[][..]).into(),
    };
    Function { id: TemplateId(number), template: Arc::new(template), is_generator }
}

/// How the attempts of one call go; the last plan is also that of all later attempts.
pub(crate) fn plans(random: &mut Random, function: &Function) -> Vec<Plan> {
    let usual = match function.template.returns {
        Returns::Static(count) if random.chance(70) => u64::from(count),
        _ => random.below(6),
    };
    let yields = |random: &mut Random| match random.below(10) {
        0 => random.below(7),
        _ => usual,
    };
    let mut plans = Vec::new();
    while random.chance(25) && plans.len() < 4 {
        let end =
            if random.chance(50) { PlannedEnd::Die } else { PlannedEnd::Raise { retry: true } };
        plans.push(Plan { yields: yields(random), end });
    }
    let end =
        if random.chance(80) { PlannedEnd::Return } else { PlannedEnd::Raise { retry: false } };
    plans.push(Plan { yields: yields(random), end });
    plans
}
