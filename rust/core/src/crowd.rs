//! When a crowd of tasks or objects has gone, the process gives back the memory that they took.
//!
//! ```text
//!   calm ──LARGE rows──▶ crowded ──1/8 of the most are left──▶ thinning ──PATIENCE──▶ trim, calm
//!                           ▲───────── more than that again ───────┘
//! ```
//!
//! Tables shrink by themselves (`shrink.rs`), but the small allocations of the rows lie between those
//! that stay, and an allocator gives such memory back only when it is told to look for it. That takes
//! milliseconds, so it is done once for each crowd, when it has been gone for a while.

/// Fewer rows are not worth the look.
const LARGE: usize = 20_000;
/// How much of a crowd must have gone: all but one in so many.
const GONE: usize = 8;
/// For so long it must not come back.
const PATIENCE_NS: u64 = 500_000_000;

/// How many there were, and since when they are gone.
#[derive(Debug, Default)]
pub(crate) struct Crowd {
    most: usize,
    due_ns: Option<u64>,
}

impl Crowd {
    /// There are so many rows now.
    pub(crate) fn count(&mut self, rows: usize, now_ns: u64) {
        if rows > self.most / GONE {
            self.most = self.most.max(rows);
            self.due_ns = None;
        } else if self.most >= LARGE && self.due_ns.is_none() {
            self.due_ns = Some(now_ns + PATIENCE_NS);
        }
    }

    /// When `is_gone` is next useful.
    pub(crate) const fn deadline(&self) -> Option<u64> {
        self.due_ns
    }

    /// True once for each crowd, when it has been gone for long enough.
    pub(crate) fn is_gone(&mut self, now_ns: u64) -> bool {
        let is_due = self.due_ns.is_some_and(|due| due <= now_ns);
        if is_due {
            *self = Self::default();
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_crowd_that_stays_away_is_told_once() {
        let mut crowd = Crowd::default();
        crowd.count(LARGE, 0);
        assert_eq!(crowd.deadline(), None, "it is there");
        crowd.count(LARGE / GONE, 7);
        assert!(!crowd.is_gone(PATIENCE_NS), "it has gone for less than that");
        crowd.count(LARGE / 2, 8);
        assert!(!crowd.is_gone(u64::MAX), "it has come back");
        crowd.count(10, 9);
        assert!(crowd.is_gone(PATIENCE_NS + 9));
        crowd.count(10, PATIENCE_NS + 10);
        assert!(!crowd.is_gone(u64::MAX), "it was told");
    }

    #[test]
    fn a_few_are_no_crowd() {
        let mut crowd = Crowd::default();
        crowd.count(LARGE - 1, 0);
        crowd.count(0, 1);
        assert_eq!(crowd.deadline(), None);
    }
}
