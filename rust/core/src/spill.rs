//! Values leave the data segment for the spill file, and come back.
//!
//! ```text
//!   room is short ─▶ coldest idle regions ─┬ all copied ─────────▶ their blocks go at once
//!                                          └ else: write ─written─▶ they go, if they are still idle
//!   asked for ─▶ space? ─yes─▶ read ─▶ a block again, and a copy
//!                  ├─ could come free: queue (room.rs)
//!                  └─ no: the reader gets the extent, and reads it into its own memory
//! ```
//!
//! Invariants: a pinned block is never spilled, and a pinned extent never discarded. What is read for
//! a request is pinned for it from the moment it asks, so that one question cannot drive out its own
//! answers. A value that cannot be read back becomes the error that says so; it is never garbage.

use smallvec::SmallVec;

use crate::action::{Action, Piece};
use crate::disk::{Place, Row, Writing};
use crate::id::ObjectId;
use crate::node::Node;
use crate::value::{Extent, Failure, GRAIN, Payload, Span, Trouble, Value};

/// At most so much is written at once, unless one region is larger: reads wait for it.
const BATCH: u64 = 64 << 20;
/// More than is needed is made free: this part of the store, and at most so much.
const SLACK_PART: u64 = 16;
const MOST_SLACK: u64 = 32 << 20;

impl Node {
    /// Its bytes stay where they are, in memory or in the file.
    pub(crate) fn pin(&mut self, id: ObjectId) {
        match self.value_of(id).and_then(Value::payload) {
            Some(Payload::Block(span)) => self.store.pin(*span, 1),
            Some(Payload::Spilled(_)) => self.row(id).pins += 1,
            _ => {}
        }
    }

    /// One less needs them.
    pub(crate) fn unpin(&mut self, id: ObjectId) {
        match self.value_of(id).and_then(Value::payload) {
            Some(Payload::Block(span)) => self.store.unpin(*span),
            Some(Payload::Spilled(_)) => self.row(id).pins -= 1,
            // It was lost.
            _ => {}
        }
    }

    fn row(&mut self, id: ObjectId) -> &mut Row {
        self.disk.rows.get_mut(&id).expect("a spilled object has an extent")
    }

    /// The object is gone: its bytes go, wherever they are.
    pub(crate) fn free_bytes(&mut self, id: ObjectId, value: &Value, actions: &mut Vec<Action>) {
        if !value.is_stored() {
            return;
        }
        if let Some(block) = value.block() {
            self.store.release(block, movable(id, value));
        }
        match self.disk.rows.get_mut(&id) {
            None => {}
            Some(Row { place: place @ Place::Reading(_), .. }) => {
                let Place::Reading(span) = *place else { unreachable!("matched just now") };
                *place = Place::Orphan(span);
            }
            Some(_) => self.discard(id, actions),
        }
    }

    /// Its extent is needed no more.
    fn discard(&mut self, id: ObjectId, actions: &mut Vec<Action>) {
        let row = self.disk.rows.remove(&id).expect("the caller has seen it");
        let free = self.disk.end_row(row.extent);
        self.note_free(free, actions);
    }

    pub(crate) fn give_back(&mut self, offset: u64, len: u64, actions: &mut Vec<Action>) {
        let free = self.disk.give(offset, len);
        self.note_free(free, actions);
    }

    /// A client writes to its part of the file no more.
    pub(crate) fn end_disk_lease(&mut self, start: u64, actions: &mut Vec<Action>) {
        let free = self.disk.end_lease(start);
        self.note_free(free, actions);
    }

    /// The bytes of a value that is being sealed become the object's.
    pub(crate) fn take_in(
        &mut self,
        id: ObjectId,
        value: Value,
        actions: &mut Vec<Action>,
    ) -> Value {
        if let Some(block) = value.block() {
            self.store.adopt(block, movable(id, &value));
        }
        match value.extent() {
            Some(extent) if self.disk.may_seal(extent) => {
                let free = self.disk.seal(id, extent);
                self.note_free(free, actions);
            }
            Some(_) => {
                // Two values of one message: `is_sound` has seen each of them alone.
                let trouble = Trouble::System("two values were written to one place".into());
                return Value::from(Failure::Lost { object: id, trouble });
            }
            None => {}
        }
        value
    }

    fn note_free(&mut self, free: Option<Span>, actions: &mut Vec<Action>) {
        actions.extend(free.map(Action::Discard));
        if matches!(self.disk.trouble(), Some(Trouble::Full(_))) {
            self.disk.set_trouble(None, self.now_ns);
        }
    }

    /// Bytes of the store that are free, or could be soon.
    pub(crate) fn within_reach(&self) -> u64 {
        let idle = if self.disk.is_well(self.now_ns) { self.store.idle() } else { 0 };
        self.store.free() + self.being_written() + idle
    }

    fn being_written(&self) -> u64 {
        let regions = self.disk.writing.iter().flat_map(|(_, regions)| regions);
        regions.flat_map(|region| &region.pieces).map(|(_, span, _)| span.len).sum()
    }

    /// Makes room for `need` bytes: true if some has come free at once. What must be written first comes
    /// free later, if it may be written.
    pub(crate) fn relieve(
        &mut self,
        need: u64,
        may_write: bool,
        actions: &mut Vec<Action>,
    ) -> bool {
        let soon = self.store.free() + self.being_written();
        if soon + self.store.idle() < need {
            return false;
        }
        let slack = (self.store.capacity() / SLACK_PART).min(MOST_SLACK);
        let wanted = need.saturating_sub(soon) + slack;
        let can_write = self.disk.is_well(self.now_ns);
        let coldest = self.store.coldest(if can_write { wanted.min(BATCH) } else { u64::MAX });
        let (mut freed, mut to_write) = (0, Vec::new());
        for start in coldest {
            if self.evict(start, &mut freed) {
                if freed >= wanted {
                    break;
                }
            } else {
                to_write.push(start);
            }
        }
        if may_write && can_write && !to_write.is_empty() && self.disk.writing.is_none() {
            self.begin_write(&to_write, actions);
        }
        freed > 0
    }

    /// Makes the store smaller, by about so much: false if there is nothing that could go.
    pub(crate) fn shed(&mut self, bytes: u64, actions: &mut Vec<Action>) -> bool {
        if self.disk.writing.is_some() {
            return true;
        }
        let before = self.store.idle();
        before > 0
            && self.disk.is_well(self.now_ns)
            && (self.relieve(self.store.free() + bytes.min(before), true, actions)
                || self.disk.writing.is_some())
    }

    /// Takes the blocks of an idle region away, if all have copies.
    fn evict(&mut self, start: u64, freed: &mut u64) -> bool {
        let objects: SmallVec<[ObjectId; 1]> = self.store.movable(start).into();
        if !objects.iter().all(|id| self.disk.rows.contains_key(id)) {
            return false;
        }
        for id in objects {
            let row = self.row(id);
            debug_assert_eq!(row.place, Place::Copy, "{id:?} has a block");
            row.place = Place::Only;
            let spilled = Value::Data(Payload::Spilled(row.extent));
            let object = self.objects.get_mut(&id).expect("what has a block is in the table");
            let block = object.move_to(spilled).block();
            let block = block.expect("what lies in a region has a block");
            *freed += block.len;
            self.store.release(block, Some(id));
        }
        true
    }

    /// Has regions copied into the file, one behind the other.
    fn begin_write(&mut self, regions: &[u64], actions: &mut Vec<Action>) {
        let mut batch: Vec<Writing> = Vec::new();
        for region in regions {
            let objects = self.store.movable(*region).iter().copied();
            let objects = objects.filter(|id| !self.disk.rows.contains_key(id));
            let block = |id: ObjectId| {
                let block = self.value_of(id).and_then(Value::block);
                (id, block.expect("what lies in a region has a block"), 0)
            };
            batch.push(Writing { region: *region, pieces: objects.map(block).collect() });
        }
        if let Err(trouble) = self.place_in_file(&mut batch, actions) {
            self.disk.set_trouble(Some(trouble), self.now_ns);
        }
        if batch.is_empty() {
            return;
        }
        let pieces = batch.iter().flat_map(|writing| &writing.pieces);
        let pieces = pieces.map(|(_, from, to)| Piece { from: *from, to: *to }).collect();
        for writing in &batch {
            self.store.begin_write(writing.region);
        }
        self.disk.writes += 1;
        actions.push(Action::Write(self.disk.writes, pieces));
        self.disk.writing = Some((self.disk.writes, batch));
    }

    /// Gives each piece its place: side by side if there is such a place. Leaves out what finds none.
    fn place_in_file(
        &mut self,
        batch: &mut Vec<Writing>,
        actions: &mut Vec<Action>,
    ) -> Result<(), Trouble> {
        let grains = |span: &Span| span.len.next_multiple_of(GRAIN);
        let all = batch.iter().flat_map(|writing| &writing.pieces).map(|(_, span, _)| grains(span));
        let all = all.sum();
        let mut together = self.disk.take(all);
        if together.is_err() && self.discard_copies(actions) {
            together = self.disk.take(all);
        }
        if let Ok(mut at) = together {
            for (_, span, to) in batch.iter_mut().flat_map(|writing| &mut writing.pieces) {
                *to = at;
                at += grains(span);
            }
            return Ok(());
        }
        for place in 0..batch.len() {
            for piece in 0..batch[place].pieces.len() {
                match self.disk.take(batch[place].pieces[piece].1.len) {
                    Ok(to) => batch[place].pieces[piece].2 = to,
                    Err(trouble) => {
                        let placed = batch[place].pieces[..piece].iter();
                        for (to, len) in
                            placed.map(|(_, span, to)| (*to, span.len)).collect::<Vec<_>>()
                        {
                            self.give_back(to, len, actions);
                        }
                        batch.truncate(place);
                        sort_by_place(batch);
                        return Err(trouble);
                    }
                }
            }
        }
        sort_by_place(batch);
        Ok(())
    }

    /// Gives up copies whose blocks are there, for want of room in the file; false if there are none.
    pub(crate) fn discard_copies(&mut self, actions: &mut Vec<Action>) -> bool {
        let is_free = |id: &ObjectId, row: &Row| {
            let block = self.value_of(*id).and_then(Value::block);
            row.place == Place::Copy && block.is_some_and(|block| !self.store.is_pinned(block))
        };
        let rows = self.disk.rows.iter().filter(|(id, row)| is_free(id, row));
        let copies: Vec<ObjectId> = rows.map(|(id, _)| *id).collect();
        for id in &copies {
            self.discard(*id, actions);
        }
        !copies.is_empty()
    }

    /// A write has ended.
    pub(crate) fn written(
        &mut self,
        number: u64,
        checksums: &[u32],
        trouble: Option<Trouble>,
        actions: &mut Vec<Action>,
    ) {
        let Some((_, batch)) = self.disk.writing.take_if(|(under_way, _)| *under_way == number)
        else {
            return;
        };
        if matches!(trouble, Some(Trouble::Full(_))) {
            self.discard_copies(actions);
        }
        let mut checksums = checksums.iter();
        for Writing { region, pieces } in batch {
            for (id, span, to) in pieces {
                let checksum = checksums.next();
                self.disk.written_bytes += checksum.map_or(0, |_| span.len);
                match checksum.filter(|_| self.objects.contains_key(&id)) {
                    Some(checksum) => {
                        let extent = Extent { offset: to, len: span.len, checksum: *checksum };
                        let waiters = Vec::new();
                        let row = Row { extent, place: Place::Copy, pins: 0, waiters };
                        self.disk.rows.insert(id, row);
                    }
                    None => self.give_back(to, span.len, actions),
                }
            }
            if self.store.end_write(region) {
                self.evict(region, &mut 0);
            }
        }
        if let Some(trouble) = trouble {
            self.disk.set_trouble(Some(trouble), self.now_ns);
        }
    }

    /// A spilled object is wanted in memory: true if it is, or may be, on its way.
    pub(crate) fn fetch(&mut self, id: ObjectId, actions: &mut Vec<Action>) -> bool {
        let row = &self.disk.rows[&id];
        let len = row.extent.len;
        match row.place {
            Place::Queued | Place::Reading(_) => true,
            Place::Only => {
                if self.begin_read(id, actions) {
                    return true;
                }
                let may_come = len <= self.store.capacity() && len <= self.within_reach();
                if may_come {
                    self.row(id).place = Place::Queued;
                    self.room.want(id);
                }
                may_come
            }
            Place::Copy | Place::Orphan(_) => unreachable!("{id:?} is spilled"),
        }
    }

    /// Reads it into memory, if there is space.
    pub(crate) fn begin_read(&mut self, id: ObjectId, actions: &mut Vec<Action>) -> bool {
        let Row { extent, place, .. } = &self.disk.rows[&id];
        debug_assert!(matches!(place, Place::Only | Place::Queued), "{id:?} is at {place:?}");
        let extent = *extent;
        let Some(region) = self.store.begin_read(extent.len) else { return false };
        self.row(id).place = Place::Reading(region);
        self.disk.reading += 1;
        let block = Span { offset: region.offset, len: extent.len };
        actions.push(Action::Read(id, extent, block));
        true
    }

    /// Those that wait for space to be read into: false if the first of them has to wait on.
    pub(crate) fn serve_reads(&mut self, actions: &mut Vec<Action>) -> bool {
        while let Some(id) = self.room.first_wanted() {
            let row = self.disk.rows.get(&id).filter(|row| row.place == Place::Queued);
            let is_wanted = row.is_some_and(|row| {
                row.waiters.iter().any(|(client, request)| self.is_open(*client, *request))
            });
            if is_wanted && !self.begin_read(id, actions) {
                let len = self.disk.rows[&id].extent.len;
                if self.relieve(len, true, actions) {
                    continue;
                }
                if self.disk.writing.is_some() && len <= self.within_reach() {
                    return false;
                }
                // It will not come: its readers have memory of their own.
                self.row(id).place = Place::Only;
                self.tell_waiters(id, actions);
            } else if let Some(row) = self.disk.rows.get_mut(&id)
                && row.place == Place::Queued
            {
                row.place = Place::Only;
            }
            self.room.unwant();
        }
        true
    }

    fn tell_waiters(&mut self, id: ObjectId, actions: &mut Vec<Action>) {
        for (client, request) in std::mem::take(&mut self.row(id).waiters) {
            self.fetched(client, request, actions);
        }
    }

    /// A read has ended.
    pub(crate) fn read(
        &mut self,
        id: ObjectId,
        result: Result<(), Trouble>,
        actions: &mut Vec<Action>,
    ) {
        let Some(row) = self.disk.rows.get_mut(&id) else { return };
        let (region, is_orphan) = match row.place {
            Place::Reading(region) => (region, false),
            Place::Orphan(region) => (region, true),
            Place::Copy | Place::Only | Place::Queued => return,
        };
        self.disk.reading -= 1;
        if is_orphan {
            self.store.end_read(region.offset);
            return self.discard(id, actions);
        }
        let value = match result {
            Ok(()) => {
                let block = Span { offset: region.offset, len: row.extent.len };
                row.place = Place::Copy;
                self.disk.read_bytes += block.len;
                self.store.adopt(block, Some(id));
                self.store.pin(block, std::mem::take(&mut row.pins));
                Value::Data(Payload::Block(block))
            }
            Err(trouble) => Value::from(Failure::Lost { object: id, trouble }),
        };
        self.store.end_read(region.offset);
        let is_lost = value.is_error();
        let object = self.objects.get_mut(&id).expect("an object that is gone has an orphan");
        object.move_to(value);
        if is_lost {
            let row = self.disk.rows.remove(&id).expect("looked up above");
            let free = self.disk.end_row(row.extent);
            self.note_free(free, actions);
            self.skip_lost_item(id, row.extent.len, actions);
            for (client, request) in row.waiters {
                self.lost(client, request, id, actions);
            }
        } else {
            self.tell_waiters(id, actions);
        }
    }
}

/// The object, if a block of that value may be spilled: errors may lie in several objects at once.
pub(crate) fn movable(id: ObjectId, value: &Value) -> Option<ObjectId> {
    matches!(value, Value::Data(_)).then_some(id)
}

/// So that the file is written from front to back.
fn sort_by_place(batch: &mut [Writing]) {
    for writing in &mut *batch {
        writing.pieces.sort_unstable_by_key(|(_, _, to)| *to);
    }
    batch.sort_unstable_by_key(|writing| writing.pieces.first().map(|(_, _, to)| *to));
}
