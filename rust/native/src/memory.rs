//! How much memory is left: what the kernel says of this machine, and of the cgroups of this process.
//!
//! ```text
//!   /proc/meminfo      total − available                           ┐
//!   cgroup v2, v1      usage − page cache − reclaimable slab,      ├─▶ the one that is nearest to its limit
//!                      against the limit, for each level up        ┘
//!   /proc/pressure/memory   how long all stood still for want of it, in the last 10 s
//! ```
//!
//! Invariant: only what cannot be reclaimed counts: files in the page cache do not, shared memory (the
//! store) and what processes have written do. Whatever cannot be read is as if it were not there.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pyo3::prelude::*;
use skate_core::memory::Shortage;

use crate::host::Host;

/// Where a cgroup's files are, by version: usage, limit, and what of its statistics can be reclaimed.
const V2: Files = Files {
    root: "sys/fs/cgroup",
    usage: "memory.current",
    limit: "memory.max",
    reclaimable: &["active_file", "inactive_file", "slab_reclaimable"],
};
const V1: Files = Files {
    root: "sys/fs/cgroup/memory",
    usage: "memory.usage_in_bytes",
    limit: "memory.limit_in_bytes",
    reclaimable: &["total_active_file", "total_inactive_file"],
};

struct Files {
    root: &'static str,
    usage: &'static str,
    limit: &'static str,
    reclaimable: &'static [&'static str],
}

/// When memory counts as short, and how often to look.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct Watching {
    /// Of 1000 parts, so many may be used.
    threshold: u64,
    /// Between two looks, in ms; 0: never.
    refresh_ms: u64,
    /// How often a task is run again that was stopped for it; -1: for ever.
    pub(crate) oom_retries: i32,
    /// `/`, but in tests.
    root: PathBuf,
}

/// Time between two looks while no task runs.
const IDLE: Duration = Duration::from_secs(1);
/// ... while memory is nearly short: a process can take a gigabyte in a second.
const NEAR: Duration = Duration::from_millis(20);
/// Of 1000 parts, that is so many before the threshold.
const NEAR_BY: u64 = 100;
/// From here on memory is short although less than the threshold is used: of the last 10 s, so many of
/// 100 parts nobody could go on. Unless much less is used: then it is not this that they wait for.
const STANDSTILL: u64 = 40;
const STANDSTILL_USED: u64 = 800;

/// Looks at memory, in the thread that watches, and lets the node know when it is short.
pub(crate) struct Monitor {
    meter: Meter,
    watching: Watching,
    next: Instant,
    was_short: bool,
}

impl Monitor {
    /// None if it is switched off.
    pub(crate) fn new(watching: Watching) -> Option<Self> {
        let meter = Meter::new(watching.root.clone());
        let is_on = watching.refresh_ms > 0;
        is_on.then(|| Self { meter, watching, next: Instant::now(), was_short: false })
    }

    /// Looks, if it is time to; how long until the next time.
    pub(crate) fn look(&mut self, host: &Host) -> Duration {
        let now = Instant::now();
        if self.next > now {
            return self.next - now;
        }
        let usage = self.meter.read();
        let is_near = usage
            .as_ref()
            .is_some_and(|usage| usage.per_mille() + NEAR_BY >= self.watching.threshold);
        let shortage = usage.and_then(|usage| self.shortage(&usage));
        let is_short = shortage.is_some();
        if is_short || self.was_short {
            host.memory_event(shortage.map(|shortage| {
                let bytes = |(client, pid)| (client, pid, private_bytes(pid));
                let workers = host.pids().into_iter().map(bytes).collect();
                Box::new(Shortage { workers, ..shortage })
            }));
        }
        self.was_short = is_short;
        let refresh = Duration::from_millis(self.watching.refresh_ms);
        let is_busy = is_short || host.running() > 0;
        let pause = match (is_busy, is_near) {
            (true, true) => refresh.min(NEAR),
            (true, false) => refresh,
            (false, _) => refresh.max(IDLE),
        };
        self.next = now + pause;
        pause
    }

    /// What is short, if memory is; without the workers.
    fn shortage(&self, usage: &Usage) -> Option<Shortage> {
        let standstill = self.meter.standstill();
        let threshold = self.watching.threshold;
        let stands =
            standstill >= STANDSTILL && usage.per_mille() * 1000 >= threshold * STANDSTILL_USED;
        (usage.per_mille() >= threshold || stands).then(|| Shortage {
            used: usage.used,
            limit: usage.limit,
            threshold,
            of: usage.of.as_str().into(),
            standstill,
            workers: Box::default(),
        })
    }
}

/// Memory of the machine, or of one cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Bytes that cannot be reclaimed.
    pub(crate) used: u64,
    /// Bytes that there may be.
    pub(crate) limit: u64,
    /// Whose.
    pub(crate) of: String,
}

impl Usage {
    /// Of 1000 parts, so many are used.
    pub(crate) fn per_mille(&self) -> u64 {
        u64::try_from(u128::from(self.used) * 1000 / u128::from(self.limit.max(1)))
            .unwrap_or(u64::MAX)
    }
}

/// Reads it. `root` is `/`, but in tests.
pub(crate) struct Meter {
    root: PathBuf,
}

impl Meter {
    pub(crate) const fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// That which is nearest to its limit.
    pub(crate) fn read(&self) -> Option<Usage> {
        let groups = self.read_text("proc/self/cgroup").unwrap_or_default();
        let mut all: Vec<Usage> = self.machine().into_iter().collect();
        for line in groups.lines() {
            let mut parts = line.splitn(3, ':');
            let (_, controllers, path) = (parts.next(), parts.next(), parts.next());
            let files = match controllers {
                Some("") => &V2,
                Some(names) if names.split(',').any(|name| name == "memory") => &V1,
                _ => continue,
            };
            let path = path.unwrap_or_default().trim_start_matches('/');
            // In a container the path may be that outside of it: its own files are at the root then.
            all.extend(Path::new(path).ancestors().filter_map(|path| self.group(files, path)));
        }
        all.into_iter().max_by_key(Usage::per_mille)
    }

    /// Of 100 parts of the last 10 s, in so many no process could go on for want of memory.
    pub(crate) fn standstill(&self) -> u64 {
        let text = self.read_text("proc/pressure/memory").unwrap_or_default();
        let full = text.lines().find_map(|line| line.strip_prefix("full "));
        let share =
            full.and_then(|line| line.split(' ').find_map(|part| part.strip_prefix("avg10=")));
        share.and_then(|share| share.split('.').next()?.parse().ok()).unwrap_or(0)
    }

    fn machine(&self) -> Option<Usage> {
        let text = self.read_text("proc/meminfo")?;
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            Some(line.trim_start_matches(':').split_whitespace().next()?.parse::<u64>().ok()? << 10)
        };
        let limit = field("MemTotal")?;
        let used = limit.saturating_sub(field("MemAvailable")?);
        Some(Usage { used, limit, of: "this machine".into() })
    }

    fn group(&self, files: &Files, path: &Path) -> Option<Usage> {
        let directory = self.root.join(files.root).join(path);
        let number = |name: &str| {
            std::fs::read_to_string(directory.join(name)).ok()?.trim().parse::<u64>().ok()
        };
        // "max", or more than any machine has: no limit.
        let limit = number(files.limit).filter(|limit| *limit < 1 << 60)?;
        let usage = number(files.usage)?;
        let statistics = std::fs::read_to_string(directory.join("memory.stat")).ok()?;
        let reclaimable = statistics.lines().filter_map(|line| {
            let (name, bytes) = line.split_once(' ')?;
            files.reclaimable.contains(&name).then(|| bytes.trim().parse::<u64>().ok())?
        });
        let used = usage.saturating_sub(reclaimable.sum());
        let of = format!("the cgroup /{}", path.display());
        Some(Usage { used, limit, of })
    }

    fn read_text(&self, path: &str) -> Option<String> {
        std::fs::read_to_string(self.root.join(path)).ok()
    }
}

/// Bytes that go with a process: what it alone has written. 0 if it is gone.
pub(crate) fn private_bytes(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}
