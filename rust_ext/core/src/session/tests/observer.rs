//! An observer of a session that keeps its own books, from events and actions alone, and compares.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

use super::observed_slots::{Doubt, Partition};
use crate::FetchId;
use crate::fleet::WorkerRecord;
use crate::tasks::Place;

const SLOTS: usize = 2;

/// A task as the observer knows it.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub query: u64,
    pub inputs: Vec<SlotId>,
    pub ends: u32,
    pub at: Option<Place>,
    pub last: u32,
    /// The number of its latest send among all.
    pub sent: u64,
    /// Losses that used up an attempt, and how many of these were for memory.
    pub lost: u32,
    pub lost_to_memory: u32,
    pub cancelling: bool,
}

/// A worker as the observer knows it.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub launch: u64,
    pub process: bool,
    pub connected: bool,
    pub incarnation: Option<Incarnation>,
    pub heard: Duration,
}

pub(super) struct Observer {
    pub pool: Session,
    pub now: Duration,
    pub desired: u32,
    pub elastic: bool,
    pub holds: BTreeMap<(WorkerId, LaunchId), u64>,
    pub slots: BTreeMap<SlotId, Partition>,
    /// Of the report at hand.
    published: Vec<Output>,
    /// Queries of which unread slots are lost by the event at hand.
    pub missed: BTreeSet<u64>,
    /// The task that the event at hand says to fail.
    pub to_fail: Option<TaskId>,
    pub doubts: Vec<Doubt>,
    /// Fetches that wait for their verdict.
    pub fetches: BTreeSet<FetchId>,
    pub fetched: u64,
    pub workers: BTreeMap<WorkerId, Seen>,
    /// The generation of each actor, and the process that hosts it.
    pub actors: BTreeMap<ActorId, (u32, Option<(WorkerId, LaunchId)>)>,
    pub pools: u64,
    pub tasks: BTreeMap<TaskId, Known>,
    pub removed: BTreeSet<Incarnation>,
    pub incarnations: u64,
    pub sends: u64,
    /// The cause of losses by the event at hand.
    pub cause: ExitCause,
    pub unavailable: bool,
    pub closed: bool,
    /// All actions so far.
    pub actions: Vec<Action>,
}

fn config() -> PoolConfig {
    PoolConfig {
        slots_per_worker: SLOTS as u32,
        queue_ahead: 1,
        bounce_limit: secs(5),
        cancel_patience: ms(600),
        cancel_patience_with_holds: secs(3),
        ..small()
    }
}

impl Observer {
    pub fn new(elastic: bool) -> Self {
        Self {
            pool: Session::new(config()),
            now: Duration::ZERO,
            desired: 0,
            elastic,
            holds: BTreeMap::new(),
            slots: BTreeMap::new(),
            published: Vec::new(),
            missed: BTreeSet::new(),
            to_fail: None,
            doubts: Vec::new(),
            fetches: BTreeSet::new(),
            fetched: 0,
            workers: BTreeMap::new(),
            actors: BTreeMap::new(),
            pools: 0,
            tasks: BTreeMap::new(),
            removed: BTreeSet::new(),
            incarnations: 0,
            sends: 0,
            cause: ExitCause::Crash,
            unavailable: false,
            closed: false,
            actions: Vec::new(),
        }
    }

    /// Actors are constructed at ready processes, one at a time, and hold them until they are stopped.
    fn check_actor(&mut self, action: &ActorAction) {
        match action {
            ActorAction::Construct { actor, generation, worker, launch, .. } => {
                let seen = self.present(*worker, *launch);
                assert!(seen.process && seen.connected && seen.incarnation.is_some());
                let (known, at) = self.actors.entry(*actor).or_default();
                assert_eq!((*generation, *at), (*known + 1, None), "{actor} is at two places");
                (*known, *at) = (*generation, Some((*worker, *launch)));
                *self.holds.entry((*worker, *launch)).or_default() += 1;
            }
            ActorAction::Stop { actor, generation, .. } => {
                let placed = self.actors.get_mut(actor).filter(|(known, _)| known == generation);
                if let Some(at) = placed.and_then(|(_, at)| at.take()) {
                    *self.holds.get_mut(&at).expect("something is held") -= 1;
                }
            }
            _ => {}
        }
    }

    pub(super) fn load(&self, worker: WorkerId) -> usize {
        self.tasks.values().filter(|task| task.at.is_some_and(|(at, ..)| at == worker)).count()
    }

    /// Books what an event means by itself, hands it to the pool and checks what the pool makes of it.
    pub fn tell(&mut self, event: Event) {
        self.published.clear();
        self.missed.clear();
        self.to_fail = None;
        let was_closed = self.closed;
        if !was_closed {
            self.book(&event);
        } else if let Event::Drop(slots) = &event {
            self.slots.retain(|slot, _| !slots.contains(slot));
        }
        if let Event::Succeeded { outputs, .. } = &event {
            self.published.clone_from(outputs);
        }
        if let Event::FetchFailed { fetch, .. } = &event {
            self.fetches.insert(*fetch);
        }
        let postponed = self.postponed_now(&event);
        let actions = self.pool.handle(event, self.now);
        if let Some(before) = postponed {
            let view = self.pool.worker(before.0).expect("a known worker");
            assert_eq!((view.worker, view.launch, view.restarts), before, "to be postponed costs nothing");
        }
        self.actions.extend(actions.iter().cloned());
        for action in &actions {
            if was_closed {
                let is_end = matches!(
                    action,
                    Action::FailTask { kind: FailKind::Shutdown, .. }
                        | Action::FetchVerdict { lost: Some(_), .. }
                        | Action::Actor(_)
                );
                assert!(is_end, "{action:?}");
            }
            self.check(action);
        }
        self.unavailable &= self.pool.unavailable().is_some();
        self.resolve_doubts();
        self.check_rest();
    }

    fn book(&mut self, event: &Event) {
        self.cause = match event {
            Event::Exited { cause, .. } => *cause,
            Event::Unreachable { .. } | Event::Unanswered { .. } => ExitCause::Infrastructure,
            Event::Refused { .. } => ExitCause::NeverStarted,
            _ => ExitCause::Crash,
        };
        match event {
            Event::SetDesired(count) => self.desired = *count,
            Event::SetRange { min, max, .. } => self.desired = *min.max(max),
            Event::Submit { inputs, .. }
                if inputs.iter().any(|id| self.slots.get(id).is_some_and(|slot| slot.lost)) => {}
            Event::Submit { inputs, .. } => self.read(inputs),
            Event::Read(slots) => self.read(slots),
            Event::Drop(slots) => {
                for slot in slots.iter().filter_map(|id| self.slots.remove(id)).filter(|slot| !slot.lost) {
                    *self.holds.get_mut(&slot.at).expect("something is held") -= 1;
                }
            }
            Event::Heard(heard) => {
                for (worker, launch) in heard {
                    if let Some(seen) = self.workers.get_mut(worker).filter(|seen| seen.launch == launch.0) {
                        seen.heard = self.now;
                    }
                }
            }
            Event::InputsLost { task, .. } => self.to_fail = Some(*task),
            Event::Exited { worker, launch, .. } => {
                if let Some(seen) = self.workers.get_mut(worker).filter(|seen| seen.launch == launch.0) {
                    seen.process = false;
                }
            }
            Event::Bounced { task, worker, launch, attempt, .. } => {
                self.leave(*task, (*worker, *launch, *attempt));
            }
            Event::InputsMissing { task, worker, launch, attempt, slots, gone, .. } => {
                let place = (*worker, *launch, *attempt);
                let known = slots.iter().filter_map(|id| self.slots.get(id));
                let any_lost = known.clone().any(|slot| slot.lost);
                let holders: BTreeSet<WorkerId> = known.map(|slot| slot.at.0).collect();
                let is_wanted = self.tasks.get(task).is_some_and(|known| !known.cancelling);
                if self.leave(*task, place) && is_wanted && (*gone || !holders.is_empty()) {
                    let wait = if any_lost || holders.is_empty() {
                        Duration::ZERO
                    } else {
                        self.pool.config().loss_news_grace
                    };
                    let due = self.now + wait;
                    self.doubts.push(Doubt { task: *task, place, holders, gone: *gone || any_lost, due });
                }
            }
            Event::TaskCancelled { task, worker, launch, attempt } => {
                let left = self.leave(*task, (*worker, *launch, *attempt));
                if let Some(known) = self.tasks.get_mut(task) {
                    known.lost += u32::from(left);
                }
            }
            Event::CancelTask(task) => {
                if let Some(known) = self.tasks.get_mut(task) {
                    known.cancelling = true;
                }
            }
            Event::Shutdown => self.closed = true,
            _ => {}
        }
    }

    /// A worker with its launch and its restarts, if the event can do no more than postpone it.
    fn postponed_now(&self, event: &Event) -> Option<(WorkerId, LaunchId, usize)> {
        let Event::Postponed { worker, .. } = event else {
            return None;
        };
        let anything_due = self.pool.next_deadline().is_some_and(|due| due <= self.now);
        let view = self.pool.worker(*worker).filter(|_| !anything_due)?;
        Some((view.worker, view.launch, view.restarts))
    }

    fn read(&mut self, slots: &[SlotId]) {
        for id in slots {
            if let Some(slot) = self.slots.get_mut(id) {
                slot.unread = false;
            }
        }
    }

    fn leave(&mut self, task: TaskId, place: Place) -> bool {
        match self.tasks.get_mut(&task).filter(|known| known.at == Some(place)) {
            Some(known) => known.at.take().is_some(),
            None => false,
        }
    }

    fn end(&mut self, task: TaskId) {
        let known = self.tasks.get_mut(&task).expect("only submitted tasks end");
        known.ends += 1;
        known.at = None;
        assert_eq!(known.ends, 1, "task {task} ended twice");
    }

    fn check(&mut self, action: &Action) {
        let (capacity, now) = (self.pool.config().worker_capacity(), self.now);
        match action {
            Action::Launch { worker, launch } => {
                let seen = self.workers.entry(*worker).or_default();
                assert!(!seen.process && launch.0 == seen.launch + 1 && worker.0 < self.desired);
                *seen = Seen { launch: launch.0, process: true, ..Seen::default() };
            }
            Action::Stop { worker, launch, .. } => {
                let seen = self.present(*worker, *launch);
                assert!(seen.process);
                seen.process = false;
            }
            Action::Connect { worker, launch, .. } => {
                let seen = self.present(*worker, *launch);
                assert!(seen.process && !seen.connected);
                seen.connected = true;
            }
            Action::Disconnect { worker, launch } => {
                let seen = self.present(*worker, *launch);
                assert!(seen.connected);
                seen.connected = false;
            }
            Action::WorkerReady { worker, launch, incarnation } => {
                let seen = self.present(*worker, *launch);
                assert!(seen.process && seen.connected);
                if seen.incarnation.as_ref() != Some(incarnation) {
                    seen.heard = now;
                }
                seen.incarnation = Some(incarnation.clone());
                assert!(!self.removed.contains(incarnation));
            }
            Action::WorkerLost { worker, launch, incarnation, orderly, reason, .. } => {
                if *orderly {
                    let live = |known: &&Known| known.at.is_some_and(|(at, ..)| at == *worker) && !known.cancelling;
                    assert_eq!(self.tasks.values().filter(live).count(), 0, "{worker} was released with tasks");
                    let held = self.holds.get(&(*worker, *launch)).copied().unwrap_or(0);
                    assert_eq!(held, 0, "{worker} was released with slots that are referred to");
                }
                self.holds.remove(&(*worker, *launch));
                for (_, at) in self.actors.values_mut().filter(|(_, at)| *at == Some((*worker, *launch))) {
                    *at = None;
                }
                for slot in self.slots.values_mut().filter(|slot| slot.at == (*worker, *launch) && !slot.lost) {
                    slot.lost = true;
                    self.missed.extend(std::mem::take(&mut slot.unread).then_some(slot.query));
                }
                self.doubts.retain(|doubt| (doubt.place.0, doubt.place.1) != (*worker, *launch));
                let silent = reason.contains("has not answered for");
                let cause = if silent { ExitCause::Infrastructure } else { self.cause };
                let gone = self.present(*worker, *launch).incarnation.take();
                assert_eq!(gone.as_ref(), Some(incarnation));
                assert!(self.removed.insert(incarnation.clone()), "lost twice");
                let here = self.tasks.values_mut().filter(|known| known.at.is_some_and(|(at, ..)| at == *worker));
                let mut here: Vec<&mut Known> = here.collect();
                here.sort_by_key(|known| known.sent);
                for (place, known) in here.into_iter().enumerate() {
                    known.at = None;
                    let charged = u32::from(place < SLOTS && cause.charges());
                    known.lost += charged;
                    known.lost_to_memory += if cause == ExitCause::OutOfMemory { charged } else { 0 };
                }
            }
            Action::Send { task, attempt, worker, launch } => {
                assert!(!self.closed && self.load(*worker) < capacity && worker.0 < self.desired);
                let seen = self.present(*worker, *launch);
                assert!(seen.process && seen.connected && seen.incarnation.is_some());
                let is_lost = |input| self.slots.get(input).is_some_and(|slot: &Partition| slot.lost);
                assert!(!self.tasks[task].inputs.iter().any(is_lost), "{task} is sent though an input is lost");
                let known = self.tasks.get_mut(task).expect("only submitted tasks are sent");
                assert!(known.ends == 0 && known.at.is_none() && attempt.0 == known.last + 1);
                assert!(!known.cancelling, "a cancelled task is not sent");
                assert!(known.lost < 3 && known.lost_to_memory < 2, "sent although a cap is reached");
                known.last = attempt.0;
                known.sent = self.sends;
                self.sends += 1;
                let exclusive = known.lost_to_memory > 0;
                let others = self.tasks.values().filter(|other| other.at.is_some_and(|(at, ..)| at == *worker));
                let mut others = others.peekable();
                assert!(
                    !exclusive || others.peek().is_none(),
                    "{task} has no worker of its own after it ran out of memory"
                );
                assert!(others.all(|other| other.lost_to_memory == 0), "{task} disturbs a task with a reservation");
                let known = self.tasks.get_mut(task).expect("as above");
                known.at = Some((*worker, *launch, *attempt));
            }
            Action::CancelOnWorker { task, attempt, worker, launch } => {
                assert_eq!(self.tasks[task].at, Some((*worker, *launch, *attempt)));
                let known = self.tasks.get_mut(task).expect("as above");
                if !known.cancelling {
                    known.at = None; // its input is lost, or it is taken back from a stuck worker
                }
            }
            Action::Deliver { task, attempt, worker, launch, published } => {
                assert_eq!(published.unwrap_or(0) as usize, self.published.len());
                assert_eq!(self.tasks[task].at, Some((*worker, *launch, *attempt)));
                assert!(!self.tasks[task].cancelling);
                let query = self.tasks[task].query;
                for output in &self.published {
                    let (at, unread) = ((*worker, *launch), output.num_rows > 0);
                    let id = SlotId { task: *task, slot: output.slot };
                    assert!(self.slots.insert(id, Partition { at, query, lost: false, unread }).is_none());
                    *self.holds.entry(at).or_default() += 1;
                }
                self.end(*task);
            }
            Action::FailTask { task, kind, .. } => {
                let reason_holds = match kind {
                    FailKind::InputsLost => self.may_miss_inputs(*task),
                    FailKind::AttemptsLost(_) | FailKind::Refused => true,
                    FailKind::NoWorkers => self.unavailable,
                    FailKind::Shutdown => self.closed,
                };
                assert!(reason_holds, "{action:?}");
                self.end(*task);
            }
            Action::Cancelled { task } => {
                assert!(self.tasks[task].cancelling, "no cancel was asked for");
                self.end(*task);
            }
            Action::FetchVerdict { fetch, .. } => assert!(self.fetches.remove(fetch), "told twice"),
            Action::Grown { .. } => {}
            Action::PartitionsLost { partitions, tasks, .. } => {
                assert!(*partitions > 0 && tasks.is_empty(), "unrepeatable tasks are run again: {action:?}");
            }
            Action::Actor(action) => self.check_actor(action),
            Action::Defect { message } => panic!("{message}"),
            Action::Replaced { worker, launch, tasks, held_for, holds, .. } => {
                assert!(*held_for >= self.pool.config().cancel_patience && self.present(*worker, *launch).process);
                assert!(tasks.iter().all(|task| self.tasks[task].cancelling), "only cancelled tasks are cut off");
                let patient = *held_for >= self.pool.config().cancel_patience_with_holds;
                assert!(patient || *holds == 0, "what it holds is lost too soon");
                self.cause = ExitCause::Stopped;
            }
            Action::FetchAgain { .. }
            | Action::Recovering { .. }
            | Action::RunAgain { .. }
            | Action::RunOver { .. }
            | Action::RunEnded { .. }
            | Action::DropInput { .. }
            | Action::Forget { .. } => panic!("unrepeatable tasks are run again: {action:?}"),
            Action::Unavailable { .. } => {
                assert!(!std::mem::replace(&mut self.unavailable, true), "unavailable twice");
            }
        }
    }

    fn present(&mut self, worker: WorkerId, launch: LaunchId) -> &mut Seen {
        let seen = self.workers.get_mut(&worker).expect("a worker that was launched");
        assert_eq!(seen.launch, launch.0, "an action for a stale launch");
        seen
    }

    pub(super) fn record(&self, view: &WorkerView<'_>) -> &WorkerRecord {
        self.pool.fleet.get(view.worker).expect("a known worker")
    }
}
