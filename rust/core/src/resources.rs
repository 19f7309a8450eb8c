//! What tasks need and what the machine has: integers in units of 1/10000, names interned.
//!
//! ```text
//!   free ──take(class)──▶ granted to a worker ──give(class)──▶ free
//!                             │ blocked: its CPU only ──▶ free
//!                             └ resumed: taken back, even below zero
//! ```
//!
//! Invariant: for every resource, available = total − what granted classes ask for + the CPU of
//! blocked workers that gave it back. `Node::check` adds it up.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;

use crate::devices::{Allotment, Devices};
use crate::group::{Bundle, PASS, is_cpu};
use crate::scheduler::ClassId;

/// One whole CPU, GPU or whatever.
pub(crate) const ONE: i64 = 10_000;

/// Index of a resource; 0 is the CPU.
pub(crate) type ResourceId = u32;

/// What one task needs; sorted, without zeros. Then how many of its rows are CPU, which come first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Demand(SmallVec<[(ResourceId, i64); 2]>, usize);

impl Demand {
    /// Its CPU: the machine's, or that of a placement group.
    fn cpus(&self) -> &[(ResourceId, i64)] {
        &self.0[..self.1]
    }

    /// Whether it asks for CPU.
    pub(crate) fn has_cpu(&self) -> bool {
        self.1 > 0
    }
}

struct Resource {
    name: Arc<str>,
    total: i64,
    available: i64,
    /// Set aside for placement groups, which have rows of their own.
    reserved: i64,
    /// Classes that ask for some of it.
    asked_by: Vec<ClassId>,
}

/// All resources of the machine.
pub(crate) struct Resources {
    rows: Vec<Resource>,
    ids: FxHashMap<Arc<str>, ResourceId>,
    devices: Devices,
    /// Rows without a name.
    free: Vec<ResourceId>,
    /// So many rows had one after the last sweep.
    swept: usize,
}

impl Resources {
    /// So many rows may have names before the first look for those that nothing refers to.
    const LEAST_SWEPT: usize = 256;
    const CPU: ResourceId = 0;
    const DEVICES: &str = "GPU";

    pub(crate) fn new(totals: &[(Arc<str>, u64)]) -> Self {
        let mut resources = Self {
            rows: Vec::new(),
            ids: FxHashMap::default(),
            devices: Devices::default(),
            free: Vec::new(),
            swept: 0,
        };
        resources.intern(&Arc::from("CPU"));
        for (name, total) in totals {
            let id = resources.intern(name) as usize;
            resources.rows[id].total = Self::amount(*total);
            resources.rows[id].available = Self::amount(*total);
            if &**name == Self::DEVICES {
                resources.devices.found(id as ResourceId, Self::amount(*total));
            }
        }
        resources
    }

    /// The largest amount there is: two of them still add up.
    const MOST: u64 = 1 << 61;

    fn amount(units: u64) -> i64 {
        units.min(Self::MOST).cast_signed()
    }

    fn intern(&mut self, name: &Arc<str>) -> ResourceId {
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        let row = Resource {
            name: Arc::clone(name),
            total: 0,
            available: 0,
            reserved: 0,
            asked_by: Vec::new(),
        };
        let id = self.free.pop().unwrap_or(self.rows.len() as ResourceId);
        match self.rows.get_mut(id as usize) {
            Some(free) => *free = row,
            None => self.rows.push(row),
        }
        self.ids.insert(Arc::clone(name), id);
        id
    }

    /// Whether names may be most of those that nothing refers to: removed groups leave theirs.
    pub(crate) fn is_to_be_swept(&self) -> bool {
        self.ids.len() >= Self::LEAST_SWEPT.max(2 * self.swept)
    }

    #[cfg(test)]
    pub(crate) fn names(&self) -> usize {
        self.ids.len()
    }

    /// Drops the names of which there is nothing, and to which nothing refers: no class, nothing of `kept`
    /// and no device.
    pub(crate) fn sweep<'a>(
        &mut self,
        kept: impl Iterator<Item = &'a Demand>,
        allotted: impl Iterator<Item = &'a Allotment>,
    ) {
        let mut kept: FxHashSet<ResourceId> =
            kept.flat_map(|demand| &demand.0).map(|(id, _)| *id).collect();
        kept.insert(Self::CPU);
        kept.extend(self.devices.rows(allotted));
        let (rows, free) = (&mut self.rows, &mut self.free);
        self.ids.retain(|_, id| {
            let row = &mut rows[*id as usize];
            let is_there = row.total != 0 || row.available != 0 || row.reserved != 0;
            let is_kept = is_there || !row.asked_by.is_empty() || kept.contains(id);
            if !is_kept {
                row.name = Arc::default();
                row.asked_by = Vec::new();
                free.push(*id);
            }
            is_kept
        });
        self.swept = self.ids.len();
    }

    /// What a template asks for.
    pub(crate) fn demand(&mut self, asked: &[(Arc<str>, u64)]) -> Demand {
        let mut amounts: SmallVec<[(ResourceId, i64); 2]> = asked
            .iter()
            .filter(|(_, units)| *units > 0)
            .map(|(name, units)| (self.intern(name), Self::amount(*units)))
            .collect();
        let is_cpu = |id: ResourceId| is_cpu(&self.rows[id as usize].name);
        amounts.sort_unstable_by_key(|(id, amount)| (!is_cpu(*id), *id, *amount));
        amounts.dedup_by(|next, kept| {
            let is_same = next.0 == kept.0;
            if is_same {
                kept.1 = kept.1.saturating_add(next.1).min(Self::MOST.cast_signed());
            }
            is_same
        });
        let cpus = amounts.iter().filter(|(id, _)| is_cpu(*id)).count();
        Demand(amounts, cpus)
    }

    /// Whether the machine has nothing of that name.
    pub(crate) fn is_none_of(&self, name: &str) -> bool {
        self.ids.get(name).is_none_or(|id| self.rows[*id as usize].total == 0)
    }

    /// Whole CPUs, at least 1.
    pub(crate) fn cpus(&self) -> usize {
        (self.rows[Self::CPU as usize].total / ONE).max(1).cast_unsigned() as usize
    }

    /// Whether it could be granted now.
    pub(crate) fn fits(&self, demand: &Demand) -> bool {
        self.are_free(demand) && self.devices.fit(&demand.0)
    }

    /// Whether there is enough of everything, whichever devices that may be.
    fn are_free(&self, demand: &Demand) -> bool {
        demand.0.iter().all(|(id, amount)| self.rows[*id as usize].available >= *amount)
    }

    /// Whether there would be enough of everything if that were given back.
    pub(crate) fn would_fit(&self, demand: &Demand, given_back: &Demand) -> bool {
        let given = |id| {
            let rows = given_back.0.iter().filter(|(given, _)| *given == id);
            rows.map(|(_, amount)| *amount).sum::<i64>() // one row, as a demand has each once
        };
        let is_enough =
            |id: ResourceId, amount| self.rows[id as usize].available + given(id) >= amount;
        demand.0.iter().all(|(id, amount)| is_enough(*id, *amount))
    }

    /// What the machine lacks for it: name, amount asked for and amount there.
    pub(crate) fn missing(&self, demand: &Demand) -> Vec<(Arc<str>, u64, u64)> {
        let rows = demand.0.iter().map(|(id, amount)| (&self.rows[*id as usize], *amount));
        rows.filter(|(row, amount)| row.total < *amount)
            .map(|(row, amount)| {
                (Arc::clone(&row.name), amount.cast_unsigned(), row.total.cast_unsigned())
            })
            .collect()
    }

    /// What is not free for it now: name, amount asked for and amount free (below 0: it is owed).
    pub(crate) fn lacking(&self, demand: &Demand) -> Vec<(Arc<str>, i64, i64)> {
        let rows = demand.0.iter().map(|(id, amount)| (&self.rows[*id as usize], *amount));
        rows.filter(|(row, amount)| row.available < *amount)
            .map(|(row, amount)| (Arc::clone(&row.name), amount, row.available))
            .collect()
    }

    /// Whether who holds `held` has something that `demand` lacks, not counting CPU that is lent.
    pub(crate) fn shares_lacking(&self, demand: &Demand, held: &Demand, has_lent: bool) -> bool {
        let lacking =
            demand.0.iter().filter(|(id, amount)| self.rows[*id as usize].available < *amount);
        let held = if has_lent { &held.0[held.1..] } else { &held.0[..] };
        lacking.into_iter().any(|(id, _)| held.iter().any(|(of, _)| of == id))
    }

    /// Grants it: with these devices.
    pub(crate) fn take(&mut self, demand: &Demand) -> Allotment {
        for (id, amount) in &demand.0 {
            self.rows[*id as usize].available -= amount;
        }
        self.devices.take(&demand.0)
    }

    /// Undoes `take`.
    pub(crate) fn give(&mut self, demand: &Demand, devices: &Allotment) {
        for (id, amount) in &demand.0 {
            self.rows[*id as usize].available += amount;
        }
        self.devices.give(devices);
    }

    /// Whether bundles which ask for `demand` together could be set aside.
    pub(crate) fn fits_bundles(&mut self, demand: &Demand, bundles: &[Bundle]) -> bool {
        self.are_free(demand) && self.devices.fit_bundles(&Self::devices_of(bundles))
    }

    fn devices_of(bundles: &[Bundle]) -> Vec<i64> {
        let amount = |bundle: &Bundle| {
            let rows = bundle.iter().filter(|(name, _)| &**name == Self::DEVICES);
            rows.map(|(_, amount)| Self::amount(*amount)).sum()
        };
        bundles.iter().map(amount).collect()
    }

    /// Sets it aside.
    pub(crate) fn reserve(&mut self, demand: &Demand) {
        for (id, amount) in &demand.0 {
            let row = &mut self.rows[*id as usize];
            row.available -= amount;
            row.reserved += amount;
        }
    }

    /// Sets aside the devices of a group with that key, whose rows are there.
    pub(crate) fn reserve_devices(&mut self, bundles: &[Bundle], key: &str) {
        let amounts = Self::devices_of(bundles);
        if amounts.iter().any(|amount| *amount > 0) {
            let row = |part: &str| Arc::from(format!("{}_group_{part}{key}", Self::DEVICES));
            let rows: Vec<ResourceId> =
                (0..bundles.len()).map(|index| self.intern(&row(&format!("{index}_")))).collect();
            let whole = self.intern(&row(""));
            self.devices.set_aside(&amounts, &rows, whole);
        }
    }

    /// Undoes `reserve_devices`.
    pub(crate) fn unreserve_devices(&mut self, key: &str) {
        if let Some(whole) = self.ids.get(&*format!("{}_group_{key}", Self::DEVICES)) {
            self.devices.release(*whole);
        }
    }

    /// Undoes `reserve`.
    pub(crate) fn unreserve(&mut self, demand: &Demand) {
        for (id, amount) in &demand.0 {
            let row = &mut self.rows[*id as usize];
            row.available += amount;
            row.reserved -= amount;
        }
    }

    /// There is so much more of it.
    pub(crate) fn add(&mut self, name: &Arc<str>, amount: u64) {
        let id = self.intern(name) as usize;
        self.rows[id].total += Self::amount(amount);
        self.rows[id].available += Self::amount(amount);
    }

    /// There is so much less of it; less than nothing is available while it is granted.
    pub(crate) fn withdraw(&mut self, name: &Arc<str>, amount: u64) {
        let id = self.intern(name) as usize;
        self.rows[id].total -= Self::amount(amount);
        self.rows[id].available -= Self::amount(amount);
    }

    /// A class asks for that.
    pub(crate) fn note_class(&mut self, demand: &Demand, class: ClassId) {
        for (id, _) in &demand.0 {
            self.rows[*id as usize].asked_by.push(class);
        }
    }

    /// Nobody asks for that as this class any more.
    pub(crate) fn forget_class(&mut self, demand: &Demand, class: ClassId) {
        for (id, _) in &demand.0 {
            self.rows[*id as usize].asked_by.retain(|other| *other != class);
        }
    }

    /// Classes that ask for any of these; a class may be there twice.
    pub(crate) fn classes_asking<'a>(
        &'a self,
        names: &'a [(Arc<str>, u64)],
    ) -> impl Iterator<Item = ClassId> + 'a {
        let ids = names.iter().filter_map(|(name, _)| self.ids.get(name));
        ids.flat_map(|id| self.rows[*id as usize].asked_by.iter().copied())
    }

    /// Takes CPU even if there is none left: the one who goes on comes before those who wait.
    pub(crate) fn take_cpu(&mut self, of: &Demand) {
        for (id, amount) in of.cpus() {
            self.rows[*id as usize].available -= amount;
        }
    }

    pub(crate) fn give_cpu(&mut self, of: &Demand) {
        for (id, amount) in of.cpus() {
            self.rows[*id as usize].available += amount;
        }
    }

    /// Whether more of the CPU that it asks for is in use than there is.
    pub(crate) fn is_cpu_owed(&self, by: &Demand) -> bool {
        by.cpus().iter().any(|(id, _)| self.rows[*id as usize].available < 0)
    }

    /// Name, total and available of what this machine has.
    pub(crate) fn table(&self) -> Vec<(Arc<str>, i64, i64)> {
        // Passes of groups are no resources of anybody.
        let is_there =
            |row: &&Resource| (row.total > 0 || row.available != 0) && !row.name.starts_with(PASS);
        let rows = self.rows.iter().filter(is_there);
        rows.map(|row| (Arc::clone(&row.name), row.total, row.available)).collect()
    }

    /// Panics unless all but `granted` (and `lent`, CPU given back) is there.
    pub(crate) fn check<'a>(
        &self,
        granted: impl Iterator<Item = &'a Demand>,
        lent: &[&Demand],
        allotted: impl Iterator<Item = &'a Allotment>,
    ) {
        self.devices.check(allotted);
        assert_eq!(self.ids.len() + self.free.len(), self.rows.len(), "rows of resources");
        for (name, id) in &self.ids {
            assert_eq!(&self.rows[*id as usize].name, name, "row {id}");
        }
        let mut expected: Vec<i64> = self.rows.iter().map(|row| row.total - row.reserved).collect();
        for (id, amount) in granted.flat_map(|demand| &demand.0) {
            expected[*id as usize] -= amount;
        }
        for (id, amount) in lent.iter().flat_map(|demand| demand.cpus()) {
            expected[*id as usize] += amount;
        }
        for (row, expected) in self.rows.iter().zip(expected) {
            assert_eq!(row.available, expected, "available {} does not add up", row.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_cpus() -> Resources {
        Resources::new(&[("CPU".into(), 20_000), ("x".into(), 5_000)])
    }

    #[test]
    fn same_demand_in_any_order_is_one_class() {
        let mut resources = two_cpus();
        let one = resources.demand(&[("x".into(), 1), ("CPU".into(), 10_000), ("y".into(), 0)]);
        let two =
            resources.demand(&[("CPU".into(), 4_000), ("x".into(), 1), ("CPU".into(), 6_000)]);
        assert_eq!(one, two);
        assert_eq!(one.cpus(), [(Resources::CPU, ONE)]);
    }

    /// Amounts above 112 GB counted as that much, so 500 GB of memory fitted one task of 100 GB.
    #[test]
    fn amounts_of_bytes_are_not_cut() {
        let bytes = |bytes: u64| ("memory".into(), bytes * 10_000);
        let mut resources = Resources::new(&[bytes(500_000_000_000)]);
        let demand = resources.demand(&[bytes(100_000_000_000)]);
        for _ in 0..5 {
            assert!(resources.fits(&demand));
            resources.take(&demand);
        }
        assert!(!resources.fits(&demand));
        let most = resources.demand(&[("x".into(), u64::MAX), ("x".into(), u64::MAX)]);
        assert_eq!(resources.missing(&most), vec![("x".into(), 1 << 61, 0)]);
    }

    #[test]
    fn cpu_taken_back_may_go_below_zero() {
        let mut resources = two_cpus();
        let both = resources.demand(&[("CPU".into(), 20_000)]);
        resources.take(&both);
        resources.give_cpu(&both);
        resources.take(&both);
        resources.take_cpu(&both);
        assert_eq!(resources.table()[0], ("CPU".into(), 20_000, -20_000));
        assert!(!resources.fits(&both));
    }

    #[test]
    fn unknown_resource_is_missing_entirely() {
        let mut resources = two_cpus();
        let demand = resources.demand(&[("CPU".into(), 10_000), ("TPU".into(), 10_000)]);
        assert_eq!(resources.missing(&demand), vec![("TPU".into(), 10_000, 0)]);
    }

    /// The names of removed groups stayed for the rest of the session.
    #[test]
    fn names_go_when_nothing_refers_to_them() {
        let mut resources = two_cpus();
        let kept = resources.demand(&[("of a group".into(), ONE as u64)]);
        let of_class = resources.demand(&[("of a class".into(), ONE as u64)]);
        resources.note_class(&of_class, 3);
        resources.add(&"there".into(), 1);
        let mut most = 0;
        for number in 0..10_000 {
            if resources.is_to_be_swept() {
                resources.sweep([&kept].into_iter(), [].into_iter());
            }
            let name: Arc<str> = format!("CPU_group_{number}").into();
            resources.add(&name, 1);
            resources.withdraw(&name, 1);
            most = most.max(resources.rows.len());
        }
        assert_eq!(most, Resources::LEAST_SWEPT);
        for name in ["CPU", "x", "of a group", "of a class", "there"] {
            let id = resources.ids[name];
            assert_eq!(&*resources.rows[id as usize].name, name);
        }
        assert_eq!(resources.demand(&[("of a group".into(), ONE as u64)]), kept);
        resources.forget_class(&of_class, 3);
        resources.sweep([].into_iter(), [].into_iter());
        assert_eq!(resources.ids.len(), 3, "CPU, x and what is there");
    }

    /// A pool of devices that was removed is named by who has some of it still.
    #[test]
    fn the_name_of_a_pool_stays_while_a_device_of_it_is_out() {
        let mut resources = Resources::new(&[("GPU".into(), ONE as u64)]);
        let bundles: [Bundle; 1] = [[("GPU".into(), ONE as u64)].into()];
        resources.add(&"GPU_group_0_k".into(), ONE as u64);
        resources.reserve_devices(&bundles, "k");
        let demand = resources.demand(&[("GPU_group_0_k".into(), ONE as u64)]);
        let device = resources.take(&demand);
        resources.unreserve_devices("k");
        resources.withdraw(&"GPU_group_0_k".into(), ONE as u64);
        resources.give(&demand, &Allotment::default());
        resources.sweep([].into_iter(), [&device].into_iter());
        assert!(resources.ids.contains_key("GPU_group_0_k"));
        resources.sweep([].into_iter(), [].into_iter());
        assert!(!resources.ids.contains_key("GPU_group_0_k"));
    }
}
