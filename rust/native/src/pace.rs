//! When items were yielded, for people who look, without a look at the clock for each.
//!
//! Invariant: of items that come quickly at least one in [`Pace::STRIDE`] has a time of its own; the others have
//! that at which the node heard of them.

/// How fast items come, which decides how often the clock is read for them.
#[derive(Default)]
pub(crate) struct Pace {
    /// At the last look.
    last_ns: u64,
    /// Since then.
    items: u32,
    is_fast: bool,
}

impl Pace {
    /// Of items that come faster than this the clock would be a noticeable part.
    const FAST_NS: u64 = 20_000;
    /// So many of them share one look.
    const STRIDE: u32 = 16;

    /// When an item was yielded; 0: the node may note when it hears of it.
    pub(crate) fn note_yield(&mut self) -> u64 {
        self.items += 1;
        if self.is_fast && self.items < Self::STRIDE {
            return 0;
        }
        let now_ns = crate::monotonic_ns();
        let took_ns = now_ns.saturating_sub(self.last_ns);
        self.is_fast = took_ns < Self::FAST_NS * u64::from(self.items);
        (self.last_ns, self.items) = (now_ns, 0);
        now_ns
    }
}
