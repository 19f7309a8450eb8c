//! Placement groups: resources set aside under names of their own.
//!
//! ```text
//!   Waiting ──all bundles fit──▶ Placed ──removed──▶ Removed
//!      └──────────────removed──────────────────────────▲
//! ```
//!
//! A placed group is a few rows of resources: for the i-th bundle of a group with the key k, `CPU_group_i_k`
//! has what the bundle has of CPU, and `CPU_group_k` the sum over all bundles. Who runs in the group asks
//! for these names instead of `CPU`; so the scheduler need not know of groups at all. And for
//! `bundle_group_k`: those who ask for nothing else wait for the group, too.
//!
//! Invariants: what a placed group holds of the machine is reserved: it is neither available nor granted
//! to anybody. Nothing runs, or is queued, for the rows of a removed group.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::action::{Action, Reply};
use crate::event::Held;
use crate::id::{ActorId, ClientId, ObjectId, RequestId};
use crate::node::Node;
use crate::resources::Demand;
use crate::scheduler::ClassId;
use crate::value::{Cause, Failure, NONE, Payload, Value};
use crate::worker::Life;

/// Whether a resource is CPU, of the machine or of a group.
pub fn is_cpu(name: &str) -> bool {
    name == "CPU" || name.starts_with("CPU_group_")
}

/// Begins the names of what everybody asks for who runs in a group.
pub const PASS: &str = "bundle_group_";

/// Of these, more than anybody can ask for.
const PASSES: u64 = 1 << 40;

/// Removed groups that are still listed.
const MOST_REMOVED: usize = 1_000;

/// Name and amount, in units of 1/10000.
pub type Bundle = Box<[(Arc<str>, u64)]>;

/// What a group asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupSpec {
    /// The object that is sealed when it is placed.
    pub ready: ObjectId,
    /// Unique; the end of the names of its resources.
    pub key: Arc<str>,
    /// For people.
    pub name: Arc<str>,
    /// For people: on one machine all strategies are one.
    pub strategy: Arc<str>,
    /// What is set aside together.
    pub bundles: Box<[Bundle]>,
}

/// Where a group stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GroupState {
    /// For resources.
    Waiting,
    /// Its resources are set aside.
    Placed,
    /// For good.
    Removed,
}

/// One group.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) spec: GroupSpec,
    pub(crate) state: GroupState,
    /// All bundles together.
    pub(crate) demand: Demand,
    /// This machine has not got so much.
    pub(crate) is_warned: bool,
}

impl Group {
    /// Names and amounts of the rows that it is.
    fn rows(&self) -> Vec<(Arc<str>, u64)> {
        let key = &self.spec.key;
        let mut rows = vec![(format!("{PASS}{key}").into(), PASSES)];
        for (index, bundle) in self.spec.bundles.iter().enumerate() {
            rows.push((format!("{PASS}{index}_{key}").into(), PASSES));
            for (name, amount) in bundle {
                rows.push((format!("{name}_group_{index}_{key}").into(), *amount));
                rows.push((format!("{name}_group_{key}").into(), *amount));
            }
        }
        rows
    }
}

impl Node {
    /// Sets resources aside, as soon as they are free.
    pub(crate) fn reserve(&mut self, client: ClientId, spec: GroupSpec, actions: &mut Vec<Action>) {
        let is_fresh = spec.ready.task.client() == client
            && !self.objects.contains_key(&spec.ready)
            && !self.groups.contains_key(&spec.key);
        if !is_fresh {
            return self.violates(client, "it makes a placement group a second time", actions);
        }
        self.sweep_names();
        let all: Vec<(Arc<str>, u64)> = spec.bundles.iter().flatten().cloned().collect();
        let demand = self.resources.demand(&all);
        self.create(spec.ready);
        self.enter(client, Held::Object(spec.ready));
        self.keep_object(spec.ready);
        let key = Arc::clone(&spec.key);
        let state = GroupState::Waiting;
        self.groups.insert(Arc::clone(&key), Group { spec, state, demand, is_warned: false });
        self.waiting_groups.push(key);
        self.place_groups(actions);
    }

    /// Places what fits, the oldest first.
    pub(crate) fn place_groups(&mut self, actions: &mut Vec<Action>) {
        let mut place = 0;
        while let Some(key) = self.waiting_groups.get(place).cloned() {
            let group = self.groups.get_mut(&key).expect("a waiting group is in the table");
            if self.resources.fits_bundles(&group.demand, &group.spec.bundles) {
                self.waiting_groups.remove(place);
                self.waiting_to_placed(&key, actions);
                continue;
            }
            let missing = self.resources.missing(&group.demand);
            if !missing.is_empty() && !std::mem::replace(&mut group.is_warned, true) {
                let task_name = format!("placement group {}", group.spec.name).into();
                actions.push(Action::Infeasible { task_name, missing });
            }
            place += 1;
        }
    }

    fn waiting_to_placed(&mut self, key: &Arc<str>, actions: &mut Vec<Action>) {
        let group = self.groups.get_mut(key).expect("the caller has it");
        group.state = GroupState::Placed;
        self.resources.reserve(&group.demand);
        for (name, amount) in group.rows() {
            self.resources.add(&name, amount);
        }
        self.resources.reserve_devices(&group.spec.bundles, key);
        let ready = group.spec.ready;
        let none = Value::Data(Payload::Inline(NONE.into()));
        self.pending_to_sealed(ready, none, &[], actions);
        // What waits for its rows is feasible now.
        let unplaceable = std::mem::take(&mut self.unplaceable);
        self.unplaced.extend(unplaceable);
        self.schedule(actions);
    }

    /// Gives the resources back, and ends what runs in the group.
    pub(crate) fn remove_group(&mut self, key: &Arc<str>, actions: &mut Vec<Action>) {
        let Some(group) = self.groups.get_mut(key) else { return };
        let before = std::mem::replace(&mut group.state, GroupState::Removed);
        let (ready, rows) = (group.spec.ready, group.rows());
        match before {
            GroupState::Removed => return,
            GroupState::Waiting => {
                self.waiting_groups.retain(|other| other != key);
                let failure = Failure::GroupRemoved { task_name: Arc::clone(&group.spec.name) };
                self.pending_to_sealed(ready, failure.into(), &[], actions);
            }
            GroupState::Placed => {
                let demand = group.demand.clone();
                self.resources.unreserve(&demand);
                self.resources.unreserve_devices(key);
                for (name, amount) in &rows {
                    self.resources.withdraw(name, *amount);
                }
            }
        }
        self.let_go_object(ready);
        self.removed_groups.push_back(Arc::clone(key));
        if self.removed_groups.len() > MOST_REMOVED
            && let Some(oldest) = self.removed_groups.pop_front()
        {
            self.groups.remove(&oldest);
        }
        // In their order; not all that there ever were, of which groups leave many.
        let classes: BTreeSet<ClassId> = self.resources.classes_asking(&rows).collect();
        for class in &classes {
            self.classes[*class as usize].is_removed = true;
        }
        for class in classes {
            self.end_class(class, actions);
        }
        self.schedule(actions);
    }

    /// Nothing runs with this demand any more.
    fn end_class(&mut self, class: ClassId, actions: &mut Vec<Action>) {
        for task in std::mem::take(&mut self.classes[class as usize].queue).iter() {
            self.fail_group_removed(task, actions);
        }
        let of_class = |row: &&crate::actor::Actor| row.class == class;
        let actors: Vec<ActorId> = self
            .actors
            .values()
            .filter(of_class)
            .map(|row| ActorId(row.creation.submit.task))
            .collect();
        for actor in actors {
            self.end_actor(actor, Cause::GroupRemoved, actions);
        }
        let is_of_class =
            |row: &crate::worker::Worker| row.actor.is_none() && row.grant == Some(class);
        let workers: Vec<ClientId> = self
            .workers
            .iter()
            .filter(|(_, row)| is_of_class(row))
            .map(|(worker, _)| *worker)
            .collect();
        for worker in workers {
            self.kill(worker, Life::Killed, "its placement group was removed", actions);
        }
    }

    pub(crate) fn fail_group_removed(&mut self, id: crate::id::TaskId, actions: &mut Vec<Action>) {
        let task_name = self.tasks[&id].name();
        self.fail(id, Value::from(Failure::GroupRemoved { task_name }), &[], actions);
    }

    /// Whether a resource will be there once a group has been placed.
    pub(crate) fn is_of_waiting_group(&self, name: &str) -> bool {
        self.waiting_groups.iter().any(|key| name.ends_with(&**key))
    }

    /// Whether it is the pass of a group that was removed, perhaps long ago: who asks for a pass has a
    /// handle, so the group was there.
    pub(crate) fn is_of_removed_group(&self, name: &str) -> bool {
        let is_pass = name.starts_with(PASS);
        is_pass && self.resources.is_none_of(name) && !self.is_of_waiting_group(name)
    }

    /// Answers with all groups, in the order of their keys.
    pub(crate) fn list_groups(
        &self,
        client: ClientId,
        request: RequestId,
        actions: &mut Vec<Action>,
    ) {
        let mut rows: Vec<_> =
            self.groups.values().map(|group| (group.spec.clone(), group.state)).collect();
        rows.sort_by(|one, other| one.0.key.cmp(&other.0.key));
        actions.push(Action::Reply(client, request, Reply::Groups(rows)));
    }
}
