//! GPUs by number: which of them a grant has.
//!
//! ```text
//!   machine's pool ──set aside for a bundle──▶ pool of the bundle ──take──▶ allotment of a worker
//!        │ ▲                                        │  ▲ give ──────────────────┘ │
//!        │ └───────────── group removed ────────────┘  (its pool is gone: give ───┼─▶ machine's pool)
//!        └─take──▶ allotment of a worker ──give──▶ machine's pool ◀───────────────┘
//! ```
//!
//! Amounts of at most one are parts of one device, the one that has least left of those that have
//! enough; larger amounts are whole devices. So two halves share a device, and `fits` may be false
//! although the sum of what is free would do.
//!
//! Invariant: of every device, what is free in the pools and what is allotted is exactly one whole.
//! An allotment ends with its worker's grant, never before: no two processes have the same whole
//! device, whatever died or was removed meanwhile.

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use crate::resources::{ONE, ResourceId};

/// Number of a device.
pub(crate) type DeviceId = u32;

/// What one grant has: from which pool, which device, how much of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Allotment(SmallVec<[(ResourceId, DeviceId, i64); 1]>);

impl Allotment {
    /// Numbers of the devices, ascending.
    pub(crate) fn devices(&self) -> Box<[DeviceId]> {
        let mut devices: SmallVec<[DeviceId; 4]> = self.0.iter().map(|(_, id, _)| *id).collect();
        devices.sort_unstable();
        devices.dedup();
        devices.into_vec().into()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Which devices are free, and for whom.
#[derive(Debug, Default)]
pub(crate) struct Devices {
    /// What is free of each device, by the row of resources that it is asked for by.
    pools: FxHashMap<ResourceId, Vec<(DeviceId, i64)>>,
    /// Rows of a whole group: the pools of its bundles.
    unions: FxHashMap<ResourceId, Vec<ResourceId>>,
    /// The row of the machine's pool, and its number of devices.
    machine: Option<(ResourceId, DeviceId)>,
}

impl Devices {
    /// The machine has so many.
    pub(crate) fn found(&mut self, row: ResourceId, units: i64) {
        let count = DeviceId::try_from(units / ONE).unwrap_or(0);
        self.machine = Some((row, count));
        self.pools.insert(row, (0..count).map(|id| (id, ONE)).collect());
    }

    /// The pools that a demand may draw on: those of a bundle count more than those of its group.
    fn sources<'a>(&'a self, demand: &'a [(ResourceId, i64)]) -> Option<(&'a [ResourceId], i64)> {
        let of_pool = demand.iter().find(|(row, _)| self.pools.contains_key(row));
        if let Some((row, amount)) = of_pool {
            return Some((std::slice::from_ref(row), *amount));
        }
        demand.iter().find_map(|(row, amount)| Some((&**self.unions.get(row)?, *amount)))
    }

    /// Which devices would be taken; None if there are not enough.
    fn choose(&self, pools: &[ResourceId], amount: i64) -> Option<Allotment> {
        let free = pools.iter().flat_map(|pool| {
            self.pools[pool].iter().map(move |(device, free)| (*pool, *device, *free))
        });
        if amount <= ONE {
            let enough = free.filter(|(_, _, free)| *free >= amount);
            let (pool, device, _) = enough.min_by_key(|(_, device, free)| (*free, *device))?;
            return Some(Allotment(SmallVec::from_elem((pool, device, amount), 1)));
        }
        let count = usize::try_from(amount.div_euclid(ONE)).ok()?;
        let whole = free.filter(|(_, _, free)| *free == ONE).take(count);
        let chosen: SmallVec<_> = whole.map(|(pool, device, _)| (pool, device, ONE)).collect();
        (chosen.len() == count).then_some(Allotment(chosen))
    }

    /// Whether a demand, which may be for none, could be met.
    pub(crate) fn fit(&self, demand: &[(ResourceId, i64)]) -> bool {
        self.pools.is_empty()
            || self.sources(demand).is_none_or(|(pools, n)| self.choose(pools, n).is_some())
    }

    /// Meets a demand.
    pub(crate) fn take(&mut self, demand: &[(ResourceId, i64)]) -> Allotment {
        if self.pools.is_empty() {
            return Allotment::default();
        }
        let Some((pools, amount)) = self.sources(demand) else { return Allotment::default() };
        let allotment = self.choose(pools, amount).expect("the caller has seen that it fits");
        self.add(&allotment, -1);
        allotment
    }

    /// Undoes `take`.
    pub(crate) fn give(&mut self, allotment: &Allotment) {
        self.add(allotment, 1);
    }

    fn give_all(&mut self, allotments: &[Allotment]) {
        for allotment in allotments {
            self.add(allotment, 1);
        }
    }

    fn add(&mut self, allotment: &Allotment, sign: i64) {
        for (pool, device, amount) in &allotment.0 {
            let pool = match (self.pools.contains_key(pool), self.machine) {
                (false, Some((machine, _))) => machine,
                _ => *pool,
            };
            let rows = self.pools.get_mut(&pool).expect("the machine's pool is never removed");
            let row = rows.iter_mut().find(|(id, _)| id == device);
            row.expect("a pool keeps the devices that it was made of").1 += sign * amount;
        }
    }

    /// Which devices bundles with these amounts would get; None if there are not enough.
    fn divide(&mut self, amounts: &[i64]) -> Option<Vec<Allotment>> {
        let Some((machine, _)) = self.machine else {
            return amounts
                .iter()
                .all(|amount| *amount == 0)
                .then(|| vec![Allotment::default(); amounts.len()]);
        };
        // Large ones first: they cannot do with what small ones leave.
        let mut order: Vec<usize> =
            (0..amounts.len()).filter(|place| amounts[*place] > 0).collect();
        order.sort_by_key(|place| std::cmp::Reverse(amounts[*place]));
        let mut shares = vec![Allotment::default(); amounts.len()];
        let mut fits = true;
        for place in order {
            match self.choose(&[machine], amounts[place]) {
                Some(share) => {
                    self.add(&share, -1);
                    shares[place] = share;
                }
                None => fits = false,
            }
        }
        if fits {
            return Some(shares);
        }
        self.give_all(&shares);
        None
    }

    /// Whether bundles with these amounts could be set aside.
    pub(crate) fn fit_bundles(&mut self, amounts: &[i64]) -> bool {
        match self.divide(amounts) {
            None => false,
            Some(shares) => {
                self.give_all(&shares);
                true
            }
        }
    }

    /// Sets devices aside for a group: the row of each bundle, and the row of all together.
    pub(crate) fn set_aside(&mut self, amounts: &[i64], bundles: &[ResourceId], whole: ResourceId) {
        let shares = self.divide(amounts).expect("the caller has seen that they fit");
        let mut pools = Vec::new();
        for (row, share) in bundles.iter().zip(shares).filter(|(_, share)| !share.is_empty()) {
            self.pools.insert(*row, share.0.iter().map(|(_, id, part)| (*id, *part)).collect());
            pools.push(*row);
        }
        if !pools.is_empty() {
            self.unions.insert(whole, pools);
        }
    }

    /// The group is gone: what is free goes back now, what is allotted when it is given back.
    pub(crate) fn release(&mut self, whole: ResourceId) {
        let Some((machine, _)) = self.machine else { return };
        for pool in self.unions.remove(&whole).unwrap_or_default() {
            let rows = self.pools.remove(&pool).unwrap_or_default();
            let free = rows.into_iter().map(|(device, free)| (machine, device, free)).collect();
            self.add(&Allotment(free), 1);
        }
    }

    /// The rows that pools, or allotments from them, are known by.
    pub(crate) fn rows<'a>(
        &self,
        allotted: impl Iterator<Item = &'a Allotment>,
    ) -> impl Iterator<Item = ResourceId> {
        let machine = self.machine.map(|(row, _)| row);
        let known = self.pools.keys().chain(self.unions.keys()).copied().chain(machine);
        known.chain(allotted.flat_map(|allotment| allotment.0.iter().map(|(row, ..)| *row)))
    }

    /// Panics unless all of every device is free or allotted.
    pub(crate) fn check<'a>(&self, allotted: impl Iterator<Item = &'a Allotment>) {
        let count = self.machine.map_or(0, |(_, count)| count) as usize;
        let mut sums = vec![0; count];
        let free = self.pools.values().flatten().map(|(device, free)| (*device, *free));
        let taken: Vec<_> = allotted.flat_map(|it| it.0.iter().map(|row| (row.1, row.2))).collect();
        for (device, amount) in free.chain(taken) {
            assert!((0..=ONE).contains(&amount), "{amount} of device {device}");
            sums[device as usize] += amount;
        }
        assert!(sums.iter().all(|sum| *sum == ONE), "devices do not add up: {sums:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GPU: ResourceId = 7;

    fn two() -> Devices {
        let mut devices = Devices::default();
        devices.found(GPU, 2 * ONE);
        devices
    }

    #[test]
    fn parts_share_a_device_before_another_is_begun() {
        let mut devices = two();
        let taken: Vec<_> = (0..4).map(|_| devices.take(&[(GPU, 4_000)]).devices()[0]).collect();
        assert_eq!(taken, [0, 0, 1, 1]);
    }

    #[test]
    fn what_is_left_of_two_devices_is_not_one() {
        let mut devices = two();
        let one = devices.take(&[(GPU, 6_000)]);
        let other = devices.take(&[(GPU, 6_000)]);
        assert!(!devices.fit(&[(GPU, 8_000)]));
        assert!(devices.fit(&[(GPU, 4_000)]));
        devices.give(&one);
        let whole = devices.take(&[(GPU, ONE)]);
        assert_eq!(whole.devices(), one.devices());
        assert!(!devices.fit(&[(GPU, 2 * ONE)]));
        devices.check([&whole, &other].into_iter());
    }

    #[test]
    fn device_in_use_returns_to_the_machine_after_its_group() {
        let mut devices = two();
        devices.set_aside(&[ONE, 5_000], &[10, 11], 12);
        let held = devices.take(&[(10, ONE), (12, ONE)]);
        devices.release(12);
        assert_eq!(devices.take(&[(GPU, ONE)]).devices()[..], [1]);
        assert!(!devices.fit(&[(GPU, 1)]));
        devices.give(&held);
        assert_eq!(devices.take(&[(GPU, ONE)]).devices()[..], [0]);
    }

    #[test]
    fn bundles_that_do_not_fit_take_nothing() {
        let mut devices = two();
        assert!(!devices.fit_bundles(&[6_000, 6_000, 6_000]));
        assert!(devices.fit_bundles(&[4_000, ONE, 6_000]));
        devices.check(std::iter::empty());
    }
}
