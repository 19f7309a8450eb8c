//! The node's counters by the names of their fields, and what the system says of the segment.

use skate_core::node::Statistics;
use skate_shm::segment::{Pages, Segment};

/// Name and value of each; a field without a name here does not compile.
pub(crate) const fn table(statistics: &Statistics) -> [(&'static str, u64); 27] {
    let Statistics {
        tasks,
        tasks_waiting,
        tasks_queued,
        tasks_dispatched,
        objects,
        objects_pending,
        streams,
        actors,
        actors_living,
        templates,
        requests,
        requests_for_room,
        driver_handles,
        worker_handles,
        pins,
        leases,
        used_bytes,
        capacity_bytes,
        warm_bytes,
        spilled_objects,
        spilled_bytes,
        disk_bytes,
        disk_written_bytes,
        disk_read_bytes,
        workers,
        workers_idle,
        workers_blocked,
    } = *statistics;
    [
        ("tasks", tasks),
        ("tasks_waiting", tasks_waiting),
        ("tasks_queued", tasks_queued),
        ("tasks_dispatched", tasks_dispatched),
        ("objects", objects),
        ("objects_pending", objects_pending),
        ("streams", streams),
        ("actors", actors),
        ("actors_living", actors_living),
        ("templates", templates),
        ("requests", requests),
        ("requests_for_room", requests_for_room),
        ("driver_handles", driver_handles),
        ("worker_handles", worker_handles),
        ("pins", pins),
        ("leases", leases),
        ("used_bytes", used_bytes),
        ("capacity_bytes", capacity_bytes),
        ("warm_bytes", warm_bytes),
        ("spilled_objects", spilled_objects),
        ("spilled_bytes", spilled_bytes),
        ("disk_bytes", disk_bytes),
        ("disk_written_bytes", disk_written_bytes),
        ("disk_read_bytes", disk_read_bytes),
        ("workers", workers),
        ("workers_idle", workers_idle),
        ("workers_blocked", workers_blocked),
    ]
}

/// Memory that the segment really takes, and whether its pages are huge where they can be.
pub(crate) fn of_segment(segment: &Segment) -> [(&'static str, u64); 2] {
    let is_huge = segment.pages() == Pages::Huge;
    [("resident_bytes", segment.resident().unwrap_or(0)), ("huge_pages", u64::from(is_huge))]
}
