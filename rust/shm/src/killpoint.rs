//! Named places at which a test ends a process: where something is published, claimed, leased, parked
//! or freed, just before or just after it.
//!
//! ```text
//!   SKATE_KILL_POINT=worker:Claimed:3:/path    the first worker that comes to `Claimed` for the third time
//!                                              or later, and finds the file, removes it and is killed
//!          worker:Read+Parking:3:/path         the same with several points, all of whose arrivals count
//!          one,other                           several such targets
//!          panics:Offered:1:/path              the driver panics there instead, as by a bug
//! ```
//!
//! Invariant: only a build with the feature `kill-points` has them. Elsewhere [`reached`] and [`enter`]
//! are empty constant functions, as the constant at the end has the compiler say. [`Point::ALL`] is every
//! point there is, so a test that goes through it misses none.
//!
//! Removing the file is what chooses one of several processes, and tells the test that it has happened.
//! The signal cannot be caught, and no instruction of the calling thread follows it.

/// What a process is in its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It has the node.
    Driver,
    /// It forks workers.
    Zygote,
    /// It runs tasks.
    Worker,
}

macro_rules! points {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A place. A name that ends in `ing` is before the step that others can see, any other after it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Point {
            $($(#[$doc])* $name,)*
        }

        impl Point {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// As it is written here.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }
        }
    };
}

points! {
    // A ring: W2 to W3 and R3 to R4 of ring.rs.
    /// A record is copied into the ring, and its reader does not know it yet.
    Publishing,
    /// The reader may see the record; nobody has been called.
    Published,
    /// The reader may see a part of a message, and the rest has not been copied.
    PublishedInPart,
    /// A record is copied out of the ring, and its room is not free yet.
    Reading,
    /// The record's room is free, and nothing has come of the message.
    Read,

    // A flag and a bell: flags.rs and doorbell.rs.
    /// The node will look at this process's ring; it has not been called.
    Flagged,
    /// The one leader has said that it sleeps, and does not sleep yet.
    Parking,
    /// It was woken, and has not said that it is awake.
    Woken,
    /// The background thread is about to sleep.
    BackgroundParking,
    /// This process alone has the duty to wake another one, which nobody else will do.
    Waking,
    /// The background thread of another process has been called, and not woken.
    BackgroundCalled,

    // A claim slot: claim.rs.
    /// A task may be claimed, of which the worker has not been told.
    Offered,
    /// The task is this worker's, which has done nothing of it.
    Claimed,
    /// The task was taken back, and is nowhere.
    Revoked,
    /// A producer may go on, and has not been called.
    Granted,
    /// A task is to stop, or its stream was dropped or closed; its worker has not been called.
    Asked,

    // A lease, and what is written in it: segment.rs, spill_file.rs, and the binding.
    /// Room in the store was given to this process, and holds nothing.
    Leased,
    /// Bytes are about to be written there.
    Writing,
    /// All bytes are there, and nobody knows of the value.
    Sealed,
    /// The room is given back, by a message that is not out yet.
    Returning,
    /// Room in memory or on disk that nobody needs is about to go back to the kernel.
    Punching,
    /// It has gone.
    Punched,
    /// Bytes are about to be written to the spill file.
    Spilling,
    /// They are there, and nobody knows of it.
    Spilled,
    /// Bytes were read back from the spill file, and nobody knows of it.
    Restored,

    // Processes: fd.rs and _zygote.py.
    /// A packet with descriptors is about to be sent.
    Sending,
    /// It was sent.
    Sent,
    /// One was received, and nothing has come of it.
    Received,
    /// A worker was forked, and its parent has not noted it.
    Forked,
    /// The worker is noted, and the driver has not been told.
    Reporting,
    /// The driver was told of it.
    Reported,
    /// The child of a fork has done nothing yet.
    Born,
    /// It has all that a worker needs, and the node may send it tasks.
    Joined,
    /// A dead worker was reaped, and the driver has not been told.
    Reaped,
    /// A worker that was asked to leave is about to.
    Leaving,
    /// The driver is about to end its session.
    Closing,
}

#[cfg(feature = "kill-points")]
mod armed {
    use std::path::PathBuf;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

    use rustix::process::{Signal, getpid, kill_process};

    use super::{Point, Role};

    /// Who is to die where.
    struct Target {
        role: u8,
        points: Vec<Point>,
        arrival: u64,
        permit: PathBuf,
        /// Of this process, so far.
        arrivals: AtomicU64,
        /// Its thread panics, and the process lives.
        panics: bool,
    }

    static TARGETS: OnceLock<Vec<Target>> = OnceLock::new();
    static ROLE: AtomicU8 = AtomicU8::new(u8::MAX);

    fn parse(text: &str) -> Option<Target> {
        let mut parts = text.splitn(4, ':');
        let role = parts.next()?;
        let panics = role == "panics";
        let role = match role {
            "driver" | "panics" => Role::Driver,
            "zygote" => Role::Zygote,
            "worker" => Role::Worker,
            _ => return None,
        };
        let named = |name| Point::ALL.iter().copied().find(|point| point.name() == name);
        let points = parts.next()?.split('+').map(named).collect::<Option<_>>()?;
        let arrival = parts.next()?.parse().ok()?;
        let (permit, arrivals) = (parts.next()?.into(), AtomicU64::new(0));
        Some(Target { role: role as u8, points, arrival, permit, arrivals, panics })
    }

    /// What the environment asks for.
    fn targets() -> &'static [Target] {
        TARGETS.get_or_init(|| {
            let text = std::env::var("SKATE_KILL_POINT").unwrap_or_default();
            let texts = text.split(',').filter(|text| !text.is_empty());
            let parsed = texts.map(|one| {
                parse(one).unwrap_or_else(|| panic!("SKATE_KILL_POINT: {one:?} is no target"))
            });
            parsed.collect()
        })
    }

    /// From here on this process is that; its arrivals are counted anew.
    pub fn enter(role: Role) {
        ROLE.store(role as u8, Ordering::Relaxed);
        for target in targets() {
            target.arrivals.store(0, Ordering::Relaxed);
        }
    }

    /// Ends this process if it is the one, and this the time.
    ///
    /// # Panics
    /// If the environment asks for it, or for what is not there: a test that kills nobody would prove
    /// nothing.
    pub fn reached(point: Point) {
        for target in targets() {
            if !target.points.contains(&point) || target.role != ROLE.load(Ordering::Relaxed) {
                continue;
            }
            let arrival = target.arrivals.fetch_add(1, Ordering::Relaxed) + 1;
            if arrival >= target.arrival && std::fs::remove_file(&target.permit).is_ok() {
                assert!(!target.panics, "on purpose, at {}", point.name());
                let _ = kill_process(getpid(), Signal::KILL);
            }
        }
    }
}

#[cfg(feature = "kill-points")]
pub use armed::{enter, reached};

/// Nothing.
#[cfg(not(feature = "kill-points"))]
#[inline(always)]
pub const fn enter(_role: Role) {}

/// Nothing.
#[cfg(not(feature = "kill-points"))]
#[inline(always)]
pub const fn reached(_point: Point) {}

// What can be evaluated when it is compiled has no effect when it runs.
#[cfg(not(feature = "kill-points"))]
const _: () = {
    enter(Role::Driver);
    reached(Point::Claimed);
};
