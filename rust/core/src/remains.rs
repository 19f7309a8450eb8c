//! The end of the session, when all workers are gone: what of the data segment must stay.
//!
//! A process that the driver forked keeps the segment's memory for as long as it lives, so what nobody sees any more is
//! given back by hand.
//!
//! Invariant: what the driver sees or writes stands in its ledger, as a pin or a lease. Nothing else stays.

use crate::event::Held;
use crate::id::ClientId;
use crate::node::Node;
use crate::value::{Span, Value};

impl Node {
    /// The spans of the data segment that the driver neither sees nor writes, from the first on.
    pub fn given_up(&self) -> Vec<Span> {
        let driver = self.ledger_of(ClientId::DRIVER).expect("it is always there");
        let seen = driver.handles.iter().filter_map(|(held, _)| match held {
            Held::Pin(id) => self.value_of(id).and_then(Value::block),
            Held::Lease(start) => self.store.region(start),
            _ => None,
        });
        let mut seen: Vec<Span> = seen.collect();
        seen.sort_unstable_by_key(|span| span.offset);
        seen.push(Span { offset: self.store.capacity(), len: 0 });
        let mut start = 0;
        let mut given_up = Vec::new();
        for span in seen {
            if span.offset > start {
                given_up.push(Span { offset: start, len: span.offset - start });
            }
            start = start.max(span.end());
        }
        given_up
    }
}
