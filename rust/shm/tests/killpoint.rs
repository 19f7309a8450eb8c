//! Who is killed at a named point: one process, of the right role, at the right time.
#![cfg(feature = "kill-points")]
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod common;

use std::collections::BTreeSet;

use common::{Ended, fork};
use skate_shm::killpoint::{Point, Role, enter, reached};

/// The only test of this program: a process reads its environment once.
#[test]
fn first_process_of_the_role_that_comes_there_often_enough_is_killed() {
    let names: BTreeSet<&str> = Point::ALL.iter().map(|point| point.name()).collect();
    assert_eq!(names.len(), Point::ALL.len());
    let permit = std::env::temp_dir().join(format!("skate-permit-{}", std::process::id()));
    std::fs::write(&permit, b"").unwrap();
    let target = format!("worker:Claimed+Read:3:{}", permit.display());
    // SAFETY: no other thread of this program reads or writes the environment.
    unsafe { std::env::set_var("SKATE_KILL_POINT", target) };
    let arrive = |role, times| {
        let mut child = fork(move || {
            enter(role);
            for _ in 0..times {
                reached(Point::Claimed);
                reached(Point::Parking);
                reached(Point::Read);
            }
        });
        child.wait()
    };
    assert_ne!(arrive(Role::Driver, 9), Ended::Signal(libc::SIGKILL));
    assert_ne!(arrive(Role::Worker, 1), Ended::Signal(libc::SIGKILL));
    assert!(permit.exists());
    assert_eq!(arrive(Role::Worker, 2), Ended::Signal(libc::SIGKILL));
    assert!(!permit.exists());
    assert_ne!(arrive(Role::Worker, 9), Ended::Signal(libc::SIGKILL));
}
