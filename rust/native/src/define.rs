//! What `.options(...)` decided, told to the node once: the definitions behind templates.
//!
//! ```text
//!   function, options ─▶ known? ──yes──▶ another holder of the same id
//!                          └─no──▶ Define, with the code unless a known one has it ─▶ known
//!   many are known, or much code ─▶ those that nobody holds ─▶ Undefine, a few with each new one
//! ```
//!
//! A function that is unpickled for each call is known by its content, and so are its options. So what
//! nobody holds is kept for a while.
//!
//! Invariant: the node has the code of every function of a known definition. The lock is held until what
//! follows from it is sent: no thread reaches the node with an id that another one takes back.

use std::sync::Arc;

use pyo3::prelude::*;
use rustc_hash::FxHashMap;
use siphasher::sip128::{Hasher128, SipHasher13};
use skate_core::event::{OnDrop, Request, Returns, Template as Definition};
use skate_core::id::{FunctionId, TemplateId};
use skate_core::value::Bytes;

use crate::session::Session;
use crate::template::Template;
use crate::wire::RetryOn;

/// `returns` of a template that stands for `"dynamic"`.
pub(crate) const DYNAMIC: i64 = -1;
/// `returns` of a template that stands for `"streaming"`.
pub(crate) const STREAMING: i64 = -2;

/// So many may be known before the first look for those that nobody holds.
const LEAST_SWEPT: usize = 256;
/// Or so many bytes of code.
const LEAST_SWEPT_CODE: usize = 16 << 20;
/// At most so many are taken back at once: the node's other work waits meanwhile.
const MOST_AT_ONCE: usize = 64;

/// Those that the node knows from this client.
#[derive(Default)]
pub(crate) struct Definitions {
    /// An id that has no other owner is held by nobody.
    ids: FxHashMap<Arc<Definition>, Arc<TemplateId>>,
    functions: FxHashMap<FunctionId, Function>,
    /// Bytes of code of all functions.
    code: usize,
    /// So many ids were held at the last look.
    held: usize,
    /// With so much code.
    held_code: usize,
    /// Those that nobody can hold any more; the node is to be told.
    unheld: Vec<TemplateId>,
}

struct Function {
    /// How many definitions have it.
    uses: usize,
    /// Bytes of its code.
    code: usize,
}

impl Definitions {
    /// Forgets those that nobody holds, once they may be as many as the others.
    fn sweep(&mut self) {
        let are_few = self.ids.len() < LEAST_SWEPT.max(2 * self.held);
        let are_small = self.code < LEAST_SWEPT_CODE.max(2 * self.held_code);
        if are_few && are_small {
            return;
        }
        for (definition, id) in self.ids.extract_if(|_, id| Arc::strong_count(id) == 1) {
            self.unheld.push(*id);
            let function = self.functions.get_mut(&definition.function);
            let function = function.expect("it was counted");
            function.uses -= 1;
            if function.uses == 0 {
                self.code -= function.code;
                self.functions.remove(&definition.function);
            }
        }
        (self.held, self.held_code) = (self.ids.len(), self.code);
    }

    /// Whether it is the first with that function.
    fn count(&mut self, function: FunctionId, code: Option<&[u8]>) -> bool {
        let code = code.map_or(0, <[u8]>::len);
        let function = self.functions.entry(function).or_insert(Function { uses: 0, code });
        function.uses += 1;
        let is_first = function.uses == 1;
        if is_first {
            self.code += code;
        }
        is_first
    }
}

/// Names a function or class by its content.
pub(crate) fn function_id(code: &[u8]) -> FunctionId {
    let mut hasher = SipHasher13::new();
    std::hash::Hasher::write(&mut hasher, code);
    FunctionId(hasher.finish128().as_u128())
}

/// Registers it with the node, unless the same is known. `code` is that of its function, if it has one.
pub(crate) fn define(
    session: &Arc<Session>,
    definition: Definition,
    code: Option<&[u8]>,
) -> Template {
    let definition = Arc::new(definition);
    let mut known = session.definitions.lock();
    let id = known.ids.get(&definition).cloned().unwrap_or_else(|| {
        known.sweep();
        let rest = known.unheld.len().saturating_sub(MOST_AT_ONCE);
        for unheld in known.unheld.drain(rest..) {
            session.send(Request::Undefine(unheld));
        }
        let id = session.next_template();
        let is_first = known.count(definition.function, code);
        let code = code.filter(|_| is_first).map(Bytes::from);
        session.send(Request::Define(id, Arc::clone(&definition), code));
        let id = Arc::new(id);
        known.ids.insert(Arc::clone(&definition), Arc::clone(&id));
        id
    });
    drop(known);
    let (name, returns) = (Arc::clone(&definition.name), definition.returns);
    Template { session: Arc::clone(session), id, name, returns }
}

pub(crate) fn retry_on(retry_exceptions: &Bound<'_, PyAny>) -> PyResult<RetryOn> {
    Ok(if let Ok(classes) = retry_exceptions.extract::<Vec<u8>>() {
        RetryOn::Classes(Bytes::from(&classes[..]))
    } else if retry_exceptions.is_truthy()? {
        RetryOn::Everything
    } else {
        RetryOn::Nothing
    })
}

pub(crate) const fn on_drop(closes: bool) -> OnDrop {
    if closes { OnDrop::Close } else { OnDrop::RunOn }
}

pub(crate) fn returns_of(returns: i64) -> PyResult<Returns> {
    Ok(match returns {
        DYNAMIC => Returns::Dynamic,
        STREAMING => Returns::Streaming,
        count => Returns::Static(u32::try_from(count)?),
    })
}

pub(crate) fn amounts(resources: Vec<(String, u64)>) -> Box<[(Arc<str>, u64)]> {
    resources.into_iter().map(|(name, amount)| (name.into(), amount)).collect()
}
