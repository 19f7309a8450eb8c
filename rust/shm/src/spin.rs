//! A short look before going to sleep.
//!
//! Waking an idle core costs some 35 µs on a virtual machine, spinning on shared memory well under 1 µs:
//! when the answer is near, spinning wins by far; when it is not, or no core is free, it only burns
//! time that the peer needs. So it is done while it has mostly helped lately.
//!
//! ```text
//!   success: 1.0 at first; moves by 1/8 towards 1 (the spin helped) or 0 (it did not)
//!   spinning ──success below 1/2──▶ sleeping at once; every 16th wait tries ──it helped──▶ spinning
//! ```
//!
//! A spin has its full length or none. Two processes that answer each other in 10 µs while both spin
//! take 80 µs when both sleep; spins that got shorter with each failure would never find back.
//!
//! Invariant: one wait spins for no longer than `MAX` (plus one turn of `ready`), and not at all when
//! the caller says that no core is free.

use std::hint;
use std::time::{Duration, Instant};

/// Longest spin: about what a sleep and a wake-up would cost.
const MAX: Duration = Duration::from_micros(50);
/// From this share of spins that helped on, the next one is worth it.
const ENOUGH: f32 = 0.5;
/// How much of the estimate one wait replaces.
const WEIGHT: f32 = 1.0 / 8.0;
/// While spinning does not help, one wait in so many tries again.
const PROBE_EVERY: u32 = 16;
/// Turns between two looks at the clock, which cost about as much as one turn.
const TURNS_PER_CLOCK: u32 = 32;

/// The memory of one waiter about its own waits.
#[derive(Clone, Debug)]
pub struct Spin {
    max: Duration,
    success: f32,
    skipped: u32,
}

impl Default for Spin {
    fn default() -> Self {
        Self::with_max(MAX)
    }
}

impl Spin {
    /// A spin of at most `max`; zero never spins.
    pub fn with_max(max: Duration) -> Self {
        Self { max, success: 1.0, skipped: 0 }
    }

    /// How long the next wait would spin.
    pub fn budget(&self) -> Duration {
        let is_worth_it = self.success >= ENOUGH || self.skipped + 1 >= PROBE_EVERY;
        if is_worth_it { self.max } else { Duration::ZERO }
    }

    /// Spins until `ready`, for as long as it has paid off lately; true if `ready` came true.
    /// Looks once in any case; `allowed` says whether a core is free for more than that.
    pub fn wait(&mut self, allowed: bool, mut ready: impl FnMut() -> bool) -> bool {
        if ready() {
            return true;
        }
        if !allowed || self.max.is_zero() {
            return false;
        }
        let budget = self.budget();
        if budget.is_zero() {
            self.skipped += 1;
            return false;
        }
        self.skipped = 0;
        let helped = spin_for(budget, ready);
        let target = if helped { 1.0 } else { 0.0 };
        self.success += (target - self.success) * WEIGHT;
        if helped {
            self.success = self.success.max(ENOUGH);
        }
        helped
    }
}

fn spin_for(budget: Duration, mut ready: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    loop {
        for _ in 0..TURNS_PER_CLOCK {
            hint::spin_loop();
            if ready() {
                return true;
            }
        }
        if start.elapsed() >= budget {
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spins_that_fail_become_rare() {
        let mut spin = Spin::default();
        for _ in 0..40 {
            assert!(!spin.wait(true, || false));
        }
        let mut tried = 0;
        for _ in 0..PROBE_EVERY * 4 {
            tried += u32::from(!spin.budget().is_zero());
            assert!(!spin.wait(true, || false));
        }
        assert!(tried <= 5, "{tried} of {} waits spun", PROBE_EVERY * 4);
    }

    #[test]
    fn one_spin_that_helps_brings_it_back() {
        let mut spin = Spin { success: 0.0, ..Spin::default() };
        for waits in 1..=PROBE_EVERY {
            let mut turns = 0;
            let has_helped = spin.wait(true, || {
                turns += 1;
                turns > 2
            });
            assert_eq!(has_helped, waits == PROBE_EVERY, "wait {waits}");
        }
        assert_eq!(spin.budget(), MAX);
    }

    #[test]
    fn a_waiter_without_a_free_core_only_looks() {
        let mut turns = 0;
        let mut look = || {
            turns += 1;
            false
        };
        assert!(!Spin::default().wait(false, &mut look));
        assert!(!Spin::with_max(Duration::ZERO).wait(true, &mut look));
        assert_eq!(turns, 2);
    }
}
