//! What submissions name: templates, and the classes of what they ask for; and how long both are known.
//!
//! ```text
//!   Define ─▶ known ──Undefine, or its client has died──▶ undefined ──its last task and actor gone──▶ ∅
//! ```
//!
//! A program that makes functions for ever must not fill the session with them, so a client says when it
//! will not submit with a template again. A class goes with the last template that asks for the same.
//!
//! Invariants: `uses` counts the tasks and actors in the tables that were submitted with the template; a
//! class is in use exactly while a known template has its demand. So no task, actor or grant ever names
//! a class that is gone.

use std::sync::Arc;

use crate::action::Action;
use crate::event::Template;
use crate::id::{ClientId, TaskId, TemplateId};
use crate::node::Node;
use crate::scheduler::{Class, ClassId};

/// A template with what is known of its tasks.
#[derive(Debug)]
pub(crate) struct KnownTemplate {
    pub(crate) template: Arc<Template>,
    pub(crate) class: ClassId,
    /// How long its tasks run; 0 until one has.
    pub(crate) estimate_ns: u64,
    /// Tasks and actors in the tables that were submitted with it.
    pub(crate) uses: u64,
    /// Nothing will be submitted with it again.
    pub(crate) is_undefined: bool,
}

impl Node {
    pub(crate) fn define(
        &mut self,
        client: ClientId,
        id: TemplateId,
        template: Arc<Template>,
        actions: &mut Vec<Action>,
    ) {
        if id.client() != client || self.templates.contains_key(&id) {
            return self.violates(client, "it defines what it cannot", actions);
        }
        self.sweep_names();
        let class = self.class_of(&template);
        self.classes[class as usize].templates += 1;
        let known = KnownTemplate { template, class, estimate_ns: 0, uses: 0, is_undefined: false };
        self.templates.insert(id, known);
    }

    /// Its client will not submit with it again.
    pub(crate) fn undefine(&mut self, client: ClientId, id: TemplateId, actions: &mut Vec<Action>) {
        let known = self.templates.get_mut(&id).filter(|_| id.client() == client);
        let Some(row) = known.filter(|row| !row.is_undefined) else {
            return self.violates(client, "it takes back what it has not defined", actions);
        };
        row.is_undefined = true;
        if row.uses == 0 {
            self.unused.push(id);
        }
    }

    /// A client has died, and will not submit with any.
    pub(crate) fn undefine_all(&mut self, client: ClientId) {
        let of_client = |(id, row): &(&TemplateId, &mut KnownTemplate)| {
            id.client() == client && !row.is_undefined
        };
        for (id, row) in self.templates.iter_mut().filter(of_client) {
            row.is_undefined = true;
            if row.uses == 0 {
                self.unused.push(*id);
            }
        }
    }

    /// A task or actor that was submitted with it has come into the tables.
    pub(crate) fn begin_use(&mut self, id: TemplateId) {
        self.templates.get_mut(&id).expect("a submission names a known template").uses += 1;
    }

    /// It has left the tables.
    pub(crate) fn end_use(&mut self, id: TemplateId) {
        let row = self.templates.get_mut(&id).expect("a template is known while it is used");
        row.uses -= 1;
        if row.uses == 0 && row.is_undefined {
            self.unused.push(id);
        }
    }

    /// Removes what is undefined and is not used. At the end of a step: within it a task that has left the
    /// table still has a worker that holds the grant of its class.
    pub(crate) fn drop_unused(&mut self, actions: &mut Vec<Action>) {
        while let Some(id) = self.unused.pop() {
            let row = self.templates.remove(&id).expect("it is listed once");
            actions.push(Action::Undefine(id));
            let class = &mut self.classes[row.class as usize];
            class.templates -= 1;
            if class.templates == 0 {
                self.drop_class(row.class);
            }
        }
    }

    fn class_of(&mut self, template: &Template) -> ClassId {
        let demand = self.resources.demand(&template.resources);
        if let Some(class) = self.class_ids.get(&demand) {
            return *class;
        }
        let is_removed = template.resources.iter().any(|(name, _)| self.is_of_removed_group(name));
        let row = Class::new(demand.clone(), is_removed);
        let class = self.free_classes.pop().unwrap_or(self.classes.len() as ClassId);
        match self.classes.get_mut(class as usize) {
            Some(free) => *free = row,
            None => self.classes.push(row),
        }
        self.resources.note_class(&demand, class);
        self.class_ids.insert(demand, class);
        class
    }

    /// Drops names of resources that nothing has and nobody asks for, when they may be many.
    pub(crate) fn sweep_names(&mut self) {
        if self.resources.is_to_be_swept() {
            let of_groups = self.groups.values().map(|group| &group.demand);
            let of_actors = self.actors.values().map(|actor| &actor.placing);
            let allotted = self.workers.values().map(|worker| &worker.devices);
            self.resources.sweep(of_groups.chain(of_actors), allotted);
        }
    }

    fn drop_class(&mut self, class: ClassId) {
        let row = &mut self.classes[class as usize];
        let demand = std::mem::take(&mut row.demand);
        if std::mem::take(&mut row.is_listed) {
            self.queued_classes.retain(|other| *other != class);
        }
        self.resources.forget_class(&demand, class);
        self.class_ids.remove(&demand);
        self.free_classes.push(class);
    }
}

impl TemplateId {
    /// The client that made this id.
    pub(crate) const fn client(self) -> ClientId {
        TaskId(self.0).client()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Event, OnDrop, Request, Returns};
    use crate::id::FunctionId;
    use crate::node::Config;

    /// What each asks for is its own.
    #[test]
    fn classes_and_names_are_used_again() {
        let config = Config {
            resources: vec![("CPU".into(), 10_000)],
            capacity: 1 << 20,
            spill: Err("it is off".into()),
            oom_retries: 0,
            prestart: 0,
            max_workers: 1,
        };
        let mut actions = Vec::new();
        let mut node = Node::new(&config, &mut actions);
        let mut most = 0;
        for number in 1..=2_000 {
            let template = Template {
                name: "f".into(),
                function: FunctionId(1),
                lane: 0,
                resources: [(format!("x{number}").into(), 1)].into(),
                returns: Returns::Static(1),
                max_retries: 0,
                window: None,
                window_bytes: None,
                on_drop: OnDrop::RunOn,
                body: (&[][..]).into(),
            };
            let id = TemplateId(number);
            for request in [Request::Define(id, template.into(), None), Request::Undefine(id)] {
                node.step(Event::Client(ClientId::DRIVER, request), &mut actions);
                node.check();
            }
            most = most.max(node.resources.names());
        }
        assert_eq!(node.classes.len(), 1);
        assert!(most <= 256, "{most} names");
    }
}
