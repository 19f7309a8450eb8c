//! Which values leave the store for the disk, when they come back, and what if the disk does not do
//! what it should.

#![allow(clippy::unwrap_used, reason = "a story goes as the test says, or the test fails")]

use skate_core::action::{Action, Piece, Reply};
use skate_core::event::{Event, Held, Request, Within};
use skate_core::id::{ClientId, ObjectId, RequestId, TaskId};
use skate_core::node::{Config, Node, Statistics};
use skate_core::value::{Extent, Failure, Payload, Span, Trouble, Value};

const DRIVER: ClientId = ClientId::DRIVER;
/// Of one value; the store holds ten. When one must go, two go: some room is made ahead.
const SIZE: u64 = 6400;
const GRACE_NS: u64 = 2_000_000;

/// A node whose only client is the driver.
struct Stage {
    node: Node,
    now_ns: u64,
    counter: u64,
    replies: Vec<(RequestId, Reply)>,
    writes: Vec<(u64, Box<[Piece]>)>,
    reads: Vec<(ObjectId, Extent, Span)>,
    others: Vec<Action>,
}

impl Stage {
    fn new(spill: Result<u64, &str>) -> Self {
        let config = Config {
            resources: Vec::new(),
            capacity: 10 * SIZE,
            spill: spill.map_err(Into::into),
            oom_retries: -1,
            prestart: 0,
            max_workers: 1,
        };
        Self {
            node: Node::new(&config, &mut Vec::new()),
            now_ns: 0,
            counter: 0,
            replies: Vec::new(),
            writes: Vec::new(),
            reads: Vec::new(),
            others: Vec::new(),
        }
    }

    fn step(&mut self, event: Event) {
        let mut actions = Vec::new();
        self.node.step(event, &mut actions);
        self.node.check();
        for action in actions {
            match action {
                Action::Reply(_, request, reply) => self.replies.push((request, reply)),
                Action::Write(number, pieces) => self.writes.push((number, pieces)),
                Action::Read(object, extent, to) => self.reads.push((object, extent, to)),
                other => self.others.push(other),
            }
        }
    }

    fn say(&mut self, request: Request) {
        self.step(Event::Client(DRIVER, request));
    }

    fn ask(&mut self, question: impl FnOnce(RequestId) -> Request) -> RequestId {
        self.counter += 1;
        let id = RequestId(self.counter);
        self.say(question(id));
        id
    }

    fn answer(&self, id: RequestId) -> Option<&Reply> {
        self.replies.iter().find(|(request, _)| *request == id).map(|(_, reply)| reply)
    }

    fn tick(&mut self, later_ns: u64) {
        self.now_ns += later_ns;
        self.step(Event::Tick(self.now_ns));
    }

    /// Asks for room for one more value.
    fn allocate(&mut self) -> RequestId {
        self.ask(|id| Request::Allocate(id, SIZE, Within::Memory))
    }

    /// Puts one in the room that was given for it.
    fn put_in(&mut self, lease: RequestId) -> ObjectId {
        let Some(Reply::Lease(span)) = self.answer(lease).cloned() else {
            panic!("there is no room: {:?}", self.answer(lease))
        };
        self.counter += 1;
        let id = TaskId::new(DRIVER, self.counter).item(0);
        self.say(Request::Put(id, Value::Data(Payload::Block(span)), Box::default()));
        self.say(Request::Release(Held::Lease(span.offset)));
        id
    }

    fn put(&mut self) -> ObjectId {
        let lease = self.allocate();
        self.put_in(lease)
    }

    fn get(&mut self, ids: &[ObjectId]) -> RequestId {
        self.ask(|id| Request::Get(id, ids.into()))
    }

    fn values(&self, id: RequestId) -> Vec<Value> {
        match self.answer(id) {
            Some(Reply::Values { values, .. }) => values.clone(),
            other => panic!("no values: {other:?}"),
        }
    }

    fn unpin(&mut self, id: ObjectId) {
        self.say(Request::Release(Held::Pin(id)));
    }

    /// The disk has written all that it was asked to write last.
    fn write(&mut self) -> u64 {
        let (number, pieces) = self.writes.pop().expect("something is to be written");
        let checksums = pieces.iter().map(|piece| piece.to as u32).collect();
        self.step(Event::Written(number, checksums, None));
        pieces.len() as u64
    }

    fn read(&mut self, result: Result<(), Trouble>) {
        let (object, ..) = self.reads.pop().expect("something is to be read");
        self.step(Event::Read(object, result));
    }

    /// Twelve values: the first two are on disk, the others fill the store.
    fn overflow(&mut self) -> Vec<ObjectId> {
        let mut ids: Vec<ObjectId> = (0..10).map(|_| self.put()).collect();
        let lease = self.allocate();
        self.tick(GRACE_NS);
        self.write();
        ids.push(self.put_in(lease));
        ids.push(self.put());
        ids
    }

    fn statistics(&self) -> Statistics {
        self.node.statistics()
    }

    fn is_spilled(&self, id: ObjectId) -> bool {
        self.node.peek(id).unwrap().extent().is_some()
    }
}

#[test]
fn values_used_least_recently_make_room_after_the_grace() {
    let mut stage = Stage::new(Ok(1 << 30));
    let ids: Vec<ObjectId> = (0..10).map(|_| stage.put()).collect();
    let seen = stage.get(&ids[..1]);
    stage.values(seen);
    stage.unpin(ids[0]);
    let lease = stage.allocate();
    assert!(stage.writes.is_empty(), "drops may be on their way");
    stage.tick(GRACE_NS);
    assert_eq!(stage.answer(lease), None);
    stage.write();
    stage.put_in(lease);
    let spilled: Vec<bool> = ids.iter().map(|id| stage.is_spilled(*id)).collect();
    assert!(!spilled[0] && spilled[1] && !spilled[9], "{spilled:?}");
}

#[test]
fn drop_that_comes_in_time_saves_the_write() {
    let mut stage = Stage::new(Ok(1 << 30));
    let ids: Vec<ObjectId> = (0..10).map(|_| stage.put()).collect();
    let lease = stage.allocate();
    stage.say(Request::Release(Held::Object(ids[4])));
    stage.put_in(lease);
    stage.tick(GRACE_NS);
    assert_eq!((stage.writes.len(), stage.statistics().disk_bytes), (0, 0));
}

#[test]
fn pieces_of_one_write_lie_side_by_side() {
    let mut stage = Stage::new(Ok(1 << 30));
    let _ids: Vec<ObjectId> = (0..10).map(|_| stage.put()).collect();
    let _lease = stage.ask(|id| Request::Allocate(id, 4 * SIZE, Within::Memory));
    stage.tick(GRACE_NS);
    let (_, pieces) = stage.writes.last().unwrap();
    assert!(pieces.len() >= 4);
    assert!(pieces.windows(2).all(|pair| pair[0].to + pair[0].from.len == pair[1].to));
}

#[test]
fn value_that_is_pinned_while_it_is_written_stays_and_has_a_copy() {
    let mut stage = Stage::new(Ok(1 << 30));
    let ids: Vec<ObjectId> = (0..10).map(|_| stage.put()).collect();
    let lease = stage.allocate();
    stage.tick(GRACE_NS);
    let seen = stage.get(&ids[..1]);
    stage.values(seen);
    stage.write();
    assert!(!stage.is_spilled(ids[0]), "somebody looks at it");
    assert!(stage.is_spilled(ids[1]), "nobody looks at it");
    assert_eq!(stage.statistics().disk_bytes, 2 * SIZE);
    stage.put_in(lease);
    // When nobody looks any more it can go without being written again.
    stage.unpin(ids[0]);
    for id in &ids[2..] {
        let seen = stage.get(&[*id]);
        stage.values(seen);
    }
    let lease = stage.allocate();
    stage.put_in(lease);
    assert!(stage.is_spilled(ids[0]));
    assert_eq!(stage.statistics().disk_written_bytes, 2 * SIZE);
}

#[test]
fn value_that_is_dropped_while_it_is_written_leaves_nothing() {
    let mut stage = Stage::new(Ok(1 << 30));
    let ids: Vec<ObjectId> = (0..10).map(|_| stage.put()).collect();
    let lease = stage.allocate();
    stage.tick(GRACE_NS);
    stage.say(Request::Release(Held::Object(ids[0])));
    stage.say(Request::Release(Held::Object(ids[1])));
    assert_eq!(stage.answer(lease), None, "the disk still reads there");
    stage.write();
    stage.put_in(lease);
    assert_eq!((stage.statistics().disk_bytes, stage.statistics().spilled_objects), (0, 0));
}

#[test]
fn spilled_value_is_read_before_it_is_given() {
    let mut stage = Stage::new(Ok(1 << 30));
    let ids = stage.overflow();
    stage.say(Request::Release(Held::Object(ids[10])));
    let got = stage.get(&ids[..1]);
    assert_eq!(stage.answer(got), None);
    stage.read(Ok(()));
    assert!(stage.values(got)[0].block().is_some());
    assert_eq!(stage.statistics().disk_read_bytes, SIZE);
}

#[test]
fn reader_of_a_store_full_of_views_gets_the_extent() {
    let mut stage = Stage::new(Ok(1 << 30));
    let ids = stage.overflow();
    let views = stage.get(&ids[2..]);
    stage.values(views);
    let got = stage.get(&ids[..1]);
    assert!(stage.values(got)[0].extent().is_some());
    assert!(stage.reads.is_empty());
    stage.say(Request::Release(Held::Object(ids[1])));
    // It is pinned there, so its extent stays although the object is otherwise dropped.
    stage.say(Request::Release(Held::Object(ids[0])));
    assert_eq!(stage.statistics().disk_bytes, SIZE);
    stage.unpin(ids[0]);
    assert_eq!(stage.statistics().disk_bytes, 0);
}

#[test]
fn question_for_more_than_fits_is_answered_in_part_from_disk() {
    let mut stage = Stage::new(Ok(1 << 30));
    let mut ids = stage.overflow();
    for _ in 0..4 {
        let lease = stage.allocate();
        stage.tick(GRACE_NS);
        stage.write();
        ids.push(stage.put_in(lease));
        ids.push(stage.put());
    }
    let got = stage.get(&ids);
    while stage.answer(got).is_none() {
        while !stage.reads.is_empty() {
            stage.read(Ok(()));
        }
        while !stage.writes.is_empty() {
            stage.write();
        }
    }
    let values = stage.values(got);
    let here = values.iter().filter(|value| value.block().is_some()).count();
    assert_eq!((values.len(), here), (20, 10), "as many as fit are in memory");
}

#[test]
fn forgotten_question_gives_its_pins_back() {
    let mut stage = Stage::new(Ok(1 << 30));
    let ids = stage.overflow();
    stage.say(Request::Release(Held::Object(ids[10])));
    let got = stage.get(&ids[..2]);
    stage.say(Request::Forget(got));
    assert_eq!(stage.answer(got), Some(&Reply::Forgotten));
    for id in ids[..10].iter().chain(&ids[11..]) {
        stage.say(Request::Release(Held::Object(*id)));
    }
    stage.read(Ok(()));
    stage.write();
    let found = stage.statistics();
    assert_eq!((found.objects, found.used_bytes, found.disk_bytes), (0, 0, 0));
}

#[test]
fn value_that_cannot_be_read_back_is_an_error_for_all_who_ask() {
    let mut stage = Stage::new(Ok(1 << 30));
    let ids = stage.overflow();
    stage.say(Request::Release(Held::Object(ids[10])));
    let (one, two) = (stage.get(&ids[..1]), stage.get(&[ids[0], ids[11]]));
    let trouble = Trouble::Corrupted { found: 1, written: 2 };
    stage.read(Err(trouble.clone()));
    let lost = Value::from(Failure::Lost { object: ids[0], trouble });
    for id in [one, two] {
        let Some(Reply::Error { place: 0, value, pin: None }) = stage.answer(id) else {
            panic!("{:?}", stage.answer(id))
        };
        assert_eq!(*value, lost);
    }
    let again = stage.get(&ids[..1]);
    assert!(matches!(stage.answer(again), Some(Reply::Error { .. })));
    assert_eq!(stage.statistics().disk_bytes, SIZE, "of the other one");
}

#[test]
fn failed_write_loses_nothing_and_is_tried_again_later() {
    let mut stage = Stage::new(Ok(1 << 30));
    let ids: Vec<ObjectId> = (0..10).map(|_| stage.put()).collect();
    let lease = stage.allocate();
    stage.tick(GRACE_NS);
    let (number, _) = stage.writes.pop().unwrap();
    stage.step(Event::Written(number, Box::default(), Some(Trouble::System("no".into()))));
    assert!(ids.iter().all(|id| !stage.is_spilled(*id)));
    assert!(stage.writes.is_empty(), "the disk rests");
    // Nobody could make room, so who waits is told why.
    for _ in 0..4 {
        stage.tick(30_000_000);
    }
    let Some(Reply::Failed(Failure::OutOfDisk { trouble, .. })) = stage.answer(lease) else {
        panic!("{:?}", stage.answer(lease))
    };
    assert_eq!(*trouble, Trouble::System("no".into()));
    stage.tick(1_000_000_000);
    let lease = stage.allocate();
    stage.tick(GRACE_NS);
    stage.write();
    stage.put_in(lease);
}

#[test]
fn disk_that_becomes_full_in_the_middle_keeps_what_it_took() {
    let mut stage = Stage::new(Ok(1 << 30));
    let _ids: Vec<ObjectId> = (0..10).map(|_| stage.put()).collect();
    let lease = stage.ask(|id| Request::Allocate(id, 2 * SIZE, Within::Memory));
    stage.tick(GRACE_NS);
    let (number, pieces) = stage.writes.pop().unwrap();
    assert!(pieces.len() >= 2);
    let full = Some(Trouble::Full("no space".into()));
    stage.step(Event::Written(number, Box::new([7]), full));
    let found = stage.statistics();
    assert_eq!((found.spilled_objects, found.disk_bytes), (1, SIZE));
    assert_eq!(stage.answer(lease), None);
}

#[test]
fn limit_makes_copies_go_first() {
    let mut stage = Stage::new(Ok(2 * SIZE));
    let ids = stage.overflow();
    stage.say(Request::Release(Held::Object(ids[10])));
    let got = stage.get(&ids[..1]);
    stage.read(Ok(()));
    stage.values(got);
    stage.unpin(ids[0]);
    stage.say(Request::Release(Held::Object(ids[1])));
    assert_eq!(stage.statistics().disk_bytes, SIZE, "a copy");
    for id in &ids[2..10] {
        let seen = stage.get(&[*id]);
        stage.values(seen);
        stage.unpin(*id);
    }
    let seen = stage.get(&ids[..1]);
    stage.values(seen);
    stage.unpin(ids[0]);
    // The copy's own value is the last that would go: the copy gives way.
    let lease = stage.allocate();
    stage.tick(GRACE_NS);
    stage.write();
    stage.put_in(lease);
    assert!(stage.is_spilled(ids[11]) && stage.is_spilled(ids[2]) && !stage.is_spilled(ids[0]));
}

#[test]
fn without_a_disk_the_user_is_told_once() {
    let mut stage = Stage::new(Err("there is none"));
    let _ids: Vec<ObjectId> = (0..10).map(|_| stage.put()).collect();
    for _ in 0..2 {
        let lease = stage.allocate();
        for _ in 0..4 {
            stage.tick(30_000_000);
        }
        stage.say(Request::Forget(lease));
    }
    let told = stage.others.iter().filter(|action| matches!(action, Action::CannotSpill(_)));
    assert_eq!(told.count(), 1);
}
