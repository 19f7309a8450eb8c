//! What the node counts: sizes of its tables, and what its clients hold.

use crate::actor::Stage;
use crate::event::Held;
use crate::id::{ClientId, RequestId};
use crate::ledger::Ledger;
use crate::node::Node;
use crate::request::Open;
use crate::task::Phase;

/// Sizes of the node's tables at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Tasks that have not ended.
    pub tasks: u64,
    /// ... that wait for arguments.
    pub tasks_waiting: u64,
    /// ... that wait for a worker.
    pub tasks_queued: u64,
    /// ... that are in a worker's ring, or running.
    pub tasks_dispatched: u64,
    /// Objects, pending ones included.
    pub objects: u64,
    /// ... without a value yet.
    pub objects_pending: u64,
    /// Streams that run or have a reader.
    pub streams: u64,
    /// Actors that live, or that somebody holds although they are dead.
    pub actors: u64,
    /// ... that are not dead.
    pub actors_living: u64,
    /// Functions and methods with their options that are known: to be submitted with, or used.
    pub templates: u64,
    /// Requests that wait for an answer.
    pub requests: u64,
    /// ... that wait for room in the store.
    pub requests_for_room: u64,
    /// Refs, generators, positions and actors held by the driver.
    pub driver_handles: u64,
    /// ... by workers.
    pub worker_handles: u64,
    /// Zero-copy views held by anybody.
    pub pins: u64,
    /// Leases that are not given back.
    pub leases: u64,
    /// Bytes of the store in leases and values.
    pub used_bytes: u64,
    /// Bytes of the store in all.
    pub capacity_bytes: u64,
    /// Bytes of the store that are free and still have their memory.
    pub warm_bytes: u64,
    /// Objects whose bytes are in the spill file only.
    pub spilled_objects: u64,
    /// Their bytes.
    pub spilled_bytes: u64,
    /// Bytes of the spill file in use; copies of what is in the store as well, and writes under way.
    pub disk_bytes: u64,
    /// Bytes written to the spill file since the session began.
    pub disk_written_bytes: u64,
    /// Bytes read back into the store since the session began.
    pub disk_read_bytes: u64,
    /// Worker processes, those on their way included.
    pub workers: u64,
    /// ... without a task.
    pub workers_idle: u64,
    /// ... whose task sleeps in a call.
    pub workers_blocked: u64,
}

impl Node {
    /// Counts everything.
    pub fn statistics(&self) -> Statistics {
        let phase = |wanted: fn(Phase) -> bool| {
            self.tasks.values().filter(|task| wanted(task.phase)).count() as u64
        };
        let (spilled_objects, spilled_bytes) = self.disk.spilled();
        let mut statistics = Statistics {
            tasks: self.tasks.len() as u64,
            tasks_waiting: phase(|phase| matches!(phase, Phase::Waiting(_))),
            tasks_queued: phase(|phase| phase == Phase::Ready),
            tasks_dispatched: phase(|phase| matches!(phase, Phase::Dispatched(..))),
            objects: self.objects.len() as u64,
            objects_pending: self.objects.values().filter(|row| row.is_pending()).count() as u64,
            streams: self.streams.len() as u64,
            actors: self.actors.len() as u64,
            actors_living: self.actors.values().filter(|row| row.stage != Stage::Dead).count()
                as u64,
            templates: self.templates.len() as u64,
            requests: self.open_requests().count() as u64,
            requests_for_room: self.room.len() as u64,
            used_bytes: self.store.used(),
            capacity_bytes: self.store.capacity(),
            warm_bytes: self.store.warm(),
            spilled_objects,
            spilled_bytes,
            disk_bytes: self.disk.used(),
            disk_written_bytes: self.disk.written_bytes,
            disk_read_bytes: self.disk.read_bytes,
            workers: self.workers.len() as u64,
            workers_idle: self.idle.len() as u64,
            workers_blocked: self.workers.values().filter(|row| row.blocked.is_some()).count()
                as u64,
            ..Statistics::default()
        };
        for (client, held, count) in self.ledgers() {
            let row = match held {
                Held::Pin(_) => &mut statistics.pins,
                Held::Lease(_) | Held::DiskLease(_) => &mut statistics.leases,
                _ if client == ClientId::DRIVER => &mut statistics.driver_handles,
                _ => &mut statistics.worker_handles,
            };
            *row += u64::from(count);
        }
        statistics
    }

    /// Whether nothing runs, waits or is on its way.
    pub fn is_idle(&self) -> bool {
        self.tasks.is_empty() && self.open_requests().next().is_none()
    }

    pub(crate) fn ledgers(&self) -> impl Iterator<Item = (ClientId, Held, u32)> {
        self.clients().flat_map(|(client, ledger)| {
            ledger.handles.iter().map(move |(held, count)| (client, held, count))
        })
    }

    pub(crate) fn clients(&self) -> impl Iterator<Item = (ClientId, &Ledger)> {
        let workers = self.workers.iter().map(|(client, row)| (*client, &row.ledger));
        std::iter::once((ClientId::DRIVER, &self.driver)).chain(workers)
    }

    pub(crate) fn open_requests(&self) -> impl Iterator<Item = (ClientId, RequestId, &Open)> {
        self.clients().flat_map(|(client, ledger)| {
            ledger.requests.iter().map(move |(request, open)| (client, *request, open))
        })
    }
}
