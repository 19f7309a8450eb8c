//! What a program does between two yields, or the driver at any time: one act by chance.

use skate_core::event::{Args, Cancel, Held, Patience, Request, Returns, Submit, Waitable, Within};
use skate_core::id::{ObjectId, TaskId};

use super::client::{Asked, Client, Shared};
use super::content::Content;
use super::program::plans;
use super::random::Random;

impl Client {
    /// Makes a value under a fresh id.
    fn put(&mut self, shared: &mut Shared) -> ObjectId {
        let task = TaskId::new(self.id, self.count());
        let holds = self.some_handles(&mut shared.random, 2);
        let value = self.value(&Content::Data { task, place: 0, holds: holds.clone() }, shared);
        self.send(Request::Put(task.item(0), value, holds.into()));
        self.handles.push(Held::Object(task.item(0)));
        task.item(0)
    }

    /// Calls a remote function.
    fn submit(&mut self, parent: Option<TaskId>, shared: &mut Shared) {
        let function = shared.functions[shared.random.place(shared.functions.len())].clone();
        let task = TaskId::new(self.id, self.count());
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
        let (template, actor) = (function.id, None);
        let submit = Submit { task, template, parent, name, args, waits, holds, actor };
        shared.plans.insert(task, plans(&mut shared.random, &function));
        shared.calls_left -= 1;
        self.send(Request::Submit(submit));
        match function.template.returns {
            Returns::Static(count) => {
                let items = (0..u64::from(count)).map(|index| Held::Object(task.item(index)));
                self.handles.extend(items);
            }
            Returns::Dynamic => self.handles.push(Held::Object(task.whole())),
            Returns::Streaming => self.handles.push(Held::Stream(task)),
        }
    }

    /// One thing that a program may do. `task` is what a worker runs.
    pub(crate) fn act(&mut self, task: Option<TaskId>, shared: &mut Shared) {
        match shared.random.below(20) {
            0..=5 if shared.calls_left > 0 => self.submit(task, shared),
            6 => _ = self.put(shared),
            7 if shared.random.chance(50) => _ = self.release_one(shared),
            8 if shared.random.chance(shared.cancels) => self.cancel(shared),
            9 if shared.stored > 0 => self.lease(task.is_some(), shared),
            12..=14 if shared.is_pressed => self.lease(task.is_some(), shared),
            15 if shared.is_pressed => _ = self.put(shared),
            10 => {
                for held in self.some_handles(&mut shared.random, 1) {
                    self.hold(match held {
                        // The ref of `completed()`.
                        Held::Stream(task) if shared.random.chance(30) => {
                            Held::Object(task.whole())
                        }
                        other => other,
                    });
                }
            }
            11 => _ = self.forget_one(false),
            _ => self.read(task.is_some(), shared),
        }
    }

    fn cancel(&mut self, shared: &mut Shared) {
        let how = Cancel { force: shared.random.chance(30), recursive: shared.random.chance(50) };
        // Of its latest calls, which may still run.
        let latest = &self.handles[self.handles.len().saturating_sub(4)..];
        if latest.is_empty() {
            return;
        }
        match shared.random.pick(latest) {
            Held::Object(ObjectId { task, .. }) | Held::Stream(task) | Held::Cursor(task, _) => {
                self.send(Request::Cancel(task, how));
            }
            Held::Pin(_)
            | Held::Lease(_)
            | Held::DiskLease(_)
            | Held::Actor(_)
            | Held::WeakActor(_) => {}
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
        match random.below(10) {
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
                let what = random.below(10);
                self.ask(blocks, vec![held], |id| match what {
                    0 => Request::Progress(id, task, at),
                    1 => Request::Length(id, task, at),
                    _ => Request::Next(id, task, at),
                });
            }
            _ => self.ask(blocks, Vec::new(), Request::Resources),
        }
    }

    fn wait(&mut self, blocks: bool, random: &mut Random) {
        let mut keeps: Vec<Held> = Vec::new();
        for _ in 0..=random.below(4) {
            let known = keeps.clone();
            keeps.extend(self.take_handle(random, |held| !known.contains(held)));
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
