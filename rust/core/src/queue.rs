//! Ready tasks of one class, oldest first; any of them can be taken out.
//!
//! Invariant: a task that was taken out stays in the line, and in `gone`, until it comes to the front
//! or half of the line is such. So a million queued tasks can be cancelled one by one.

use std::collections::VecDeque;

use rustc_hash::FxHashSet;

use crate::id::TaskId;
use crate::shrink::Shrink as _;

/// A line of tasks.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    line: VecDeque<TaskId>,
    /// In the line, and taken out. Never at its front.
    gone: FxHashSet<TaskId>,
}

impl Queue {
    pub(crate) fn is_empty(&self) -> bool {
        self.line.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.line.len() - self.gone.len()
    }

    pub(crate) fn front(&self) -> Option<TaskId> {
        self.line.front().copied()
    }

    pub(crate) fn push_back(&mut self, task: TaskId) {
        self.line.push_back(task);
    }

    pub(crate) fn push_front(&mut self, task: TaskId) {
        self.line.push_front(task);
    }

    pub(crate) fn pop_front(&mut self) -> Option<TaskId> {
        let task = self.line.pop_front();
        self.line.shrink();
        self.trim();
        task
    }

    /// Takes out a task that is in the line, and that will never come back.
    pub(crate) fn remove(&mut self, task: TaskId) {
        self.gone.insert(task);
        self.trim();
        if self.gone.len() * 2 > self.line.len() {
            let gone = std::mem::take(&mut self.gone);
            self.line.retain(|task| !gone.contains(task));
        }
    }

    fn trim(&mut self) {
        while !self.gone.is_empty()
            && self.line.front().is_some_and(|front| self.gone.remove(front))
        {
            self.line.pop_front();
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = TaskId> {
        self.line.iter().filter(|task| !self.gone.contains(task)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_out_never_comes_to_the_front() {
        let mut queue = Queue::default();
        (1..=6).for_each(|task| queue.push_back(TaskId(task)));
        for task in [1, 3, 4] {
            queue.remove(TaskId(task));
        }
        assert_eq!((queue.front(), queue.len()), (Some(TaskId(2)), 3));
        queue.push_front(TaskId(7));
        queue.remove(TaskId(6));
        assert!(queue.iter().eq([7, 2, 5].map(TaskId)));
        assert!(std::iter::from_fn(|| queue.pop_front()).eq([7, 2, 5].map(TaskId)));
        assert!(queue.is_empty());
    }

    #[test]
    fn line_is_no_longer_than_twice_what_is_in_it() {
        let mut queue = Queue::default();
        (0..1000).for_each(|task| queue.push_back(TaskId(task)));
        (1..1000).for_each(|task| queue.remove(TaskId(task)));
        assert!(queue.line.len() <= 2 && queue.front() == Some(TaskId(0)));
    }
}
