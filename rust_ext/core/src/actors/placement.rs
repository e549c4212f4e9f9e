//! Placement of actors: by the CPUs, the memory and the GPUs that no other actor has, spread over workers.
//!
//! Tasks do not count, as on Ray: tasks and actors share the CPUs of a worker.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use super::resources::{Resources, Share};
use crate::ids::{ActorId, WorkerId};

/// A worker that takes actors.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    pub worker: WorkerId,
    pub capacity: Resources,
    /// True if it is taken only where no other has room.
    pub is_last: bool,
}

/// The parts of a worker that its actors have.
#[derive(Debug, Default)]
struct Room {
    cpus: Share,
    memory_bytes: u64,
    /// By the worker's devices; devices of which no actor ever had a part may be missing.
    devices: Vec<Share>,
    actors: BTreeMap<ActorId, (Resources, Vec<u32>)>,
}

impl Room {
    fn used(&self, device: usize) -> Share {
        self.devices.get(device).copied().unwrap_or_default()
    }

    /// The devices for an actor with this need; `None` if it has no room.
    fn fits(&self, capacity: &Resources, need: &Resources, shares_cpus: bool) -> Option<Vec<u32>> {
        let cpus = if shares_cpus { Share::ZERO } else { self.cpus };
        let has_cpus = need.cpus.plus(cpus) <= capacity.cpus;
        let has_memory = need.memory_bytes.saturating_add(self.memory_bytes) <= capacity.memory_bytes;
        if has_cpus && has_memory { self.choose_devices(capacity, need.gpus) } else { None }
    }

    fn choose_devices(&self, capacity: &Resources, gpus: Share) -> Option<Vec<u32>> {
        if gpus == Share::ZERO {
            return Some(Vec::new());
        }
        let left = (0u32..).zip(capacity.devices()).map(|(index, all)| (all.minus(self.used(index as usize)), index));
        if gpus < Share::ONE {
            // The one that is just large enough, so that whole ones stay whole.
            return left.filter(|(left, _)| *left >= gpus).min().map(|(_, index)| vec![index]);
        }
        let count = usize::try_from(gpus.whole()).ok()?;
        let whole: Vec<u32> =
            left.filter(|(left, _)| *left >= Share::ONE).map(|(_, index)| index).take(count).collect();
        (whole.len() == count).then_some(whole)
    }

    fn take(&mut self, actor: ActorId, need: Resources, devices: Vec<u32>) {
        self.cpus = self.cpus.plus(need.cpus);
        self.memory_bytes = self.memory_bytes.saturating_add(need.memory_bytes);
        for device in devices.iter().map(|device| *device as usize) {
            if device >= self.devices.len() {
                self.devices.resize(device + 1, Share::ZERO);
            }
            self.devices[device] = self.devices[device].plus(need.gpus.min(Share::ONE));
        }
        self.actors.insert(actor, (need, devices));
    }

    fn give_back(&mut self, actor: ActorId) -> bool {
        let Some((need, devices)) = self.actors.remove(&actor) else {
            return false;
        };
        self.cpus = self.cpus.minus(need.cpus);
        self.memory_bytes = self.memory_bytes.saturating_sub(need.memory_bytes);
        for device in devices {
            let used = &mut self.devices[device as usize];
            *used = used.minus(need.gpus.min(Share::ONE));
        }
        true
    }
}

/// The actors on each worker, and the parts of it that they have.
#[derive(Debug, Default)]
pub(super) struct Placement {
    /// Of workers that have actors.
    rooms: HashMap<WorkerId, Room>,
}

impl Placement {
    /// Finds room for an actor and takes it: on the worker with the fewest actors, then with the most CPUs left.
    ///
    /// `shares_cpus`: the CPUs of other actors may be shared; a worker must still have as many in all.
    pub fn place(
        &mut self,
        candidates: &[Candidate],
        actor: ActorId,
        need: &Resources,
        shares_cpus: bool,
    ) -> Option<(WorkerId, Vec<u32>)> {
        let empty = Room::default();
        let fitting = candidates.iter().filter_map(|candidate| {
            let room = self.rooms.get(&candidate.worker).unwrap_or(&empty);
            let devices = room.fits(&candidate.capacity, need, shares_cpus)?;
            let cpus_left = candidate.capacity.cpus.minus(room.cpus);
            Some(((candidate.is_last, room.actors.len(), Reverse(cpus_left), candidate.worker), devices))
        });
        let ((.., worker), devices) = fitting.min()?;
        self.rooms.entry(worker).or_default().take(actor, *need, devices.clone());
        Some((worker, devices))
    }

    /// Gives the room of an actor at a worker back. Returns false if the actor has none there.
    pub fn release(&mut self, worker: WorkerId, actor: ActorId) -> bool {
        let Some(room) = self.rooms.get_mut(&worker) else {
            return false;
        };
        let was_here = room.give_back(actor);
        if room.actors.is_empty() {
            self.rooms.remove(&worker);
        }
        was_here
    }

    /// Empties a worker whose process is gone; returns the actors that went with it.
    pub fn remove_worker(&mut self, worker: WorkerId) -> Vec<ActorId> {
        self.rooms.remove(&worker).map(|room| room.actors.into_keys().collect()).unwrap_or_default()
    }

    /// The number of actors at a worker.
    pub fn count_at(&self, worker: WorkerId) -> usize {
        self.rooms.get(&worker).map_or(0, |room| room.actors.len())
    }

    /// The number of actors at all workers.
    pub fn len(&self) -> usize {
        self.rooms.values().map(|room| room.actors.len()).sum()
    }
}

/// The number of such actors that an empty worker could hold, at most `wanted`.
pub(super) fn most_per_worker(capacity: &Resources, need: &Resources, wanted: u32) -> u32 {
    let most = |all: u64, each: u64| all.checked_div(each).unwrap_or(u64::MAX);
    let of_gpus = match need.gpus {
        Share::ZERO => u64::MAX,
        gpus if gpus < Share::ONE => {
            capacity.devices().iter().map(|device| most(device.millionths(), gpus.millionths())).sum()
        }
        gpus => most(capacity.gpus.whole(), gpus.whole()),
    };
    let of_cpus = most(capacity.cpus.millionths(), need.cpus.millionths());
    let of_memory = most(capacity.memory_bytes, need.memory_bytes);
    u32::try_from(of_cpus.min(of_memory).min(of_gpus)).unwrap_or(u32::MAX).min(wanted)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::ActorPoolId;

    const GIB: u64 = 1 << 30;

    fn actor(number: u32) -> ActorId {
        ActorId { pool: ActorPoolId(1), number }
    }

    fn need(cpus: f64, gpus: f64) -> Resources {
        Resources::of_actor(cpus, gpus, 0.0).unwrap()
    }

    fn workers(count: u32, cpus: f64, gpus: f64) -> Vec<Candidate> {
        let capacity = Resources::of_worker(cpus, gpus, 8 * GIB).unwrap();
        (0..count).map(|index| Candidate { worker: WorkerId(index), capacity, is_last: false }).collect()
    }

    /// The places of actors 0, 1, ... with these needs, without sharing.
    fn place_all(candidates: &[Candidate], needs: &[Resources]) -> Vec<Option<(u32, Vec<u32>)>> {
        let mut placement = Placement::default();
        let place = |(number, need)| placement.place(candidates, actor(number), need, false);
        (0..).zip(needs).map(place).map(|place| place.map(|(worker, devices)| (worker.0, devices))).collect()
    }

    fn devices(places: Vec<Option<(u32, Vec<u32>)>>) -> Vec<Option<Vec<u32>>> {
        places.into_iter().map(|place| place.map(|(_, devices)| devices)).collect()
    }

    #[test]
    fn actors_are_spread_over_workers() {
        let places = place_all(&workers(3, 4.0, 0.0), &[need(1.0, 0.0); 6]);
        let at: Vec<u32> = places.into_iter().flatten().map(|(worker, _)| worker).collect();
        assert_eq!(at, [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn among_workers_with_as_many_actors_the_one_with_more_cpus_left_gets_the_next() {
        let places = place_all(&workers(2, 4.0, 0.0), &[need(2.0, 0.0), need(1.0, 0.0), need(1.0, 0.0)]);
        assert_eq!(places.into_iter().flatten().map(|(worker, _)| worker).collect::<Vec<_>>(), [0, 1, 1]);
    }

    #[test]
    fn cpus_and_memory_are_not_given_twice() {
        assert_eq!(place_all(&workers(1, 2.0, 0.0), &[need(1.0, 0.0); 3])[2], None);
        let large = Resources { memory_bytes: 3 * GIB, ..need(1.0, 0.0) };
        assert_eq!(place_all(&workers(1, 4.0, 0.0), &[large; 3])[2], None);
    }

    #[test]
    fn room_that_is_given_back_can_be_had_again() {
        let (candidates, mut placement) = (workers(1, 1.0, 1.0), Placement::default());
        let first = placement.place(&candidates, actor(0), &need(1.0, 1.0), false);
        assert!(first.is_some() && placement.place(&candidates, actor(1), &need(1.0, 1.0), false).is_none());
        assert!(placement.release(WorkerId(0), actor(0)));
        assert!(!placement.release(WorkerId(0), actor(9)) && !placement.release(WorkerId(0), actor(0)));
        assert_eq!(placement.place(&candidates, actor(1), &need(1.0, 1.0), false), first);
    }

    #[test]
    fn cpus_may_be_shared_but_not_gpus_and_never_more_than_a_worker_has() {
        let (candidates, mut placement) = (workers(1, 2.0, 1.0), Placement::default());
        let mut place = |number, need, shares| placement.place(&candidates, actor(number), &need, shares).is_some();
        assert!(place(0, need(2.0, 1.0), false));
        assert!(!place(1, need(2.0, 0.0), false));
        assert!(place(1, need(2.0, 0.0), true));
        assert!(!place(2, need(3.0, 0.0), true));
        assert!(!place(2, need(1.0, 0.5), true));
    }

    #[test]
    fn two_halves_share_a_device_and_a_whole_one_gets_another() {
        let places = place_all(&workers(1, 4.0, 2.0), &[need(1.0, 0.5), need(1.0, 0.5), need(1.0, 1.0)]);
        assert_eq!(devices(places), [Some(vec![0]), Some(vec![0]), Some(vec![1])]);
    }

    #[test]
    fn a_share_goes_to_the_device_that_is_just_large_enough() {
        let places = place_all(&workers(1, 4.0, 2.0), &[need(1.0, 0.6), need(1.0, 0.3), need(1.0, 1.0)]);
        assert_eq!(devices(places)[2], Some(vec![1]));
    }

    #[test]
    fn shares_that_fit_in_sum_but_on_no_single_device_do_not_fit() {
        assert_eq!(place_all(&workers(1, 4.0, 2.0), &[need(1.0, 0.6); 3])[2], None);
    }

    #[test]
    fn several_devices_are_whole_ones() {
        let places = place_all(&workers(1, 4.0, 3.0), &[need(1.0, 0.1), need(1.0, 2.0)]);
        assert_eq!(devices(places)[1], Some(vec![1, 2]));
    }

    #[test]
    fn a_worker_with_a_share_of_a_device_gives_no_more_than_that() {
        let places = place_all(&workers(1, 4.0, 0.5), &[need(1.0, 1.0), need(1.0, 0.5)]);
        assert_eq!(devices(places), [None, Some(vec![0])]);
    }

    #[test]
    fn a_worker_that_is_gone_takes_its_actors_and_comes_back_empty() {
        let (candidates, mut placement) = (workers(1, 1.0, 0.0), Placement::default());
        assert!(placement.place(&candidates, actor(0), &need(1.0, 0.0), false).is_some());
        assert_eq!(placement.remove_worker(WorkerId(0)), [actor(0)]);
        assert_eq!(placement.len(), 0);
        assert!(placement.place(&candidates, actor(1), &need(1.0, 0.0), false).is_some());
    }

    #[test]
    fn a_worker_that_is_to_be_last_is_taken_if_there_is_no_other() {
        let mut candidates = workers(2, 1.0, 0.0);
        candidates[0].is_last = true;
        let places = place_all(&candidates, &[need(1.0, 0.0); 2]);
        assert_eq!(places, [Some((1, vec![])), Some((0, vec![]))]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_device_is_ever_promised_more_than_once(
            steps in prop::collection::vec((0usize..4, 0usize..6, any::<bool>()), 0..30),
        ) {
            let (cpus, gpus) = ([0.0, 0.5, 1.0, 2.0], [0.0, 0.25, 0.4, 0.5, 1.0, 2.0]);
            let (candidates, mut placement) = (workers(2, 4.0, 2.0), Placement::default());
            let mut held: BTreeMap<u32, (WorkerId, Vec<u32>, Resources)> = BTreeMap::new();
            for (number, (cpu, gpu, then_release)) in (0..).zip(steps) {
                let need = need(cpus[cpu], gpus[gpu]);
                if let Some((worker, devices)) = placement.place(&candidates, actor(number), &need, false) {
                    held.insert(number, (worker, devices, need));
                }
                if then_release && let Some((number, (worker, ..))) = held.pop_first() {
                    placement.release(worker, actor(number));
                }
                for worker in [WorkerId(0), WorkerId(1)] {
                    let here: Vec<_> = held.values().filter(|(at, ..)| *at == worker).collect();
                    let sum = |shares: Vec<Share>| shares.into_iter().fold(Share::ZERO, Share::plus);
                    prop_assert!(sum(here.iter().map(|(.., need)| need.cpus).collect()) <= Share::ONE.times(4));
                    for device in 0..2 {
                        let of_device = here.iter().filter(|(_, devices, _)| devices.contains(&device));
                        let promised = sum(of_device.map(|(.., need)| need.gpus.min(Share::ONE)).collect());
                        prop_assert!(promised <= Share::ONE);
                    }
                }
            }
        }

        #[test]
        fn as_many_fit_on_an_empty_worker_as_is_said(cpus in 0usize..4, gpus in 0usize..6, own in 0usize..5) {
            let (cpus, gpus) = ([0.0, 0.5, 1.0, 3.0][cpus], [0.0, 0.25, 0.4, 0.5, 1.0, 2.0][gpus]);
            let candidates = workers(1, 4.0, [0.0, 0.5, 1.0, 2.5, 4.0][own]);
            let places = place_all(&candidates, &[need(cpus, gpus); 20]);
            let most = most_per_worker(&candidates[0].capacity, &need(cpus, gpus), 20);
            prop_assert_eq!(places.iter().flatten().count(), most as usize);
        }
    }
}
