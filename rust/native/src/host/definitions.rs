//! Templates and the code of their functions, as workers are sent them.
//!
//! Invariant: it has the templates that the node knows, and the functions that these name.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use skate_core::event::Template;
use skate_core::id::{FunctionId, TemplateId};
use skate_core::value::Bytes;

/// What was defined and is known still.
#[derive(Default)]
pub(super) struct Definitions {
    templates: FxHashMap<TemplateId, Arc<Template>>,
    functions: FxHashMap<FunctionId, Function>,
}

#[derive(Default)]
struct Function {
    /// None if no client has sent it, though it should have.
    code: Option<Bytes>,
    /// Templates that name it.
    templates: usize,
}

impl Definitions {
    pub(super) fn get(&self, id: TemplateId) -> Option<&Arc<Template>> {
        self.templates.get(&id)
    }

    pub(super) fn code_of(&self, template: &Template) -> Option<&Bytes> {
        self.functions.get(&template.function)?.code.as_ref()
    }

    /// One that is known stays as it is.
    pub(super) fn insert(&mut self, id: TemplateId, template: Arc<Template>, code: Option<Bytes>) {
        if self.templates.contains_key(&id) {
            return;
        }
        let function = self.functions.entry(template.function).or_default();
        function.templates += 1;
        if function.code.is_none() {
            function.code = code;
        }
        self.templates.insert(id, template);
    }

    /// Gives the function that goes with it, if it was the last that names it.
    pub(super) fn remove(&mut self, id: TemplateId) -> Option<FunctionId> {
        let id = self.templates.remove(&id)?.function;
        let function = self.functions.get_mut(&id).expect("a template's function is counted");
        function.templates -= 1;
        if function.templates > 0 {
            return None;
        }
        self.functions.remove(&id);
        Some(id)
    }
}
