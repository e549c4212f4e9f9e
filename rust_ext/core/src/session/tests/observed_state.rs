//! The observer's look at the whole session after each event: its view agrees with the books, and the queue is served.

use super::observer::Observer;
use super::*;

impl Observer {
    /// Checks the invariants of every event: the session's view agrees with the books, and the queue is served.
    pub(super) fn check_rest(&self) {
        let capacity = self.pool.config().worker_capacity();
        for (task, known) in &self.tasks {
            let view = self.pool.task(*task);
            assert_eq!(view.is_none(), known.ends > 0, "task {task} is forgotten, or kept after its end");
            let at = view.and_then(|view| match view.phase {
                TaskPhase::Sent { worker, launch, attempt, .. } => Some((worker, launch, attempt)),
                _ => None,
            });
            assert_eq!(at, known.at, "task {task}");
        }
        self.check_slots();
        let waits = self.pool.waiting().next().is_some();
        for view in self.pool.workers() {
            let load = self.load(view.worker);
            assert_eq!(load, view.tasks);
            let kept = self.pool.tasks.load(view.worker).unwrap().reserved_for.is_some();
            let stuck = self.pool.fleet.stuck_since(view.worker).is_some();
            let open = view.phase == WorkerPhase::Ready && !view.cooling && !kept && !stuck && load < capacity;
            assert!(!(waits && open), "{} has room while tasks wait", view.worker);
            let held = self.holds.get(&(view.worker, view.launch)).copied().unwrap_or(0);
            assert_eq!(held, view.holds);
            assert!(view.phase != WorkerPhase::Draining || load > 0 || held > 0, "an idle worker drains");
            let alive = self.workers.get(&view.worker).is_some_and(|seen| seen.process);
            assert_eq!(alive, !matches!(view.phase, WorkerPhase::Restarting | WorkerPhase::GivenUp));
        }
        let kept_for =
            self.pool.fleet.workers().iter().filter_map(|worker| self.pool.tasks.load(worker.id)?.reserved_for);
        let gone: Vec<TaskId> = kept_for.filter(|task| self.pool.task(*task).is_none()).collect();
        assert_eq!(gone, [], "workers are kept for tasks that are over");
        if let Some(first) = self.pool.waiting_exclusive().next() {
            let kept = |view: &WorkerView<'_>| self.pool.tasks.load(view.worker).unwrap().reserved_for.is_some();
            let stuck = |view: &WorkerView<'_>| self.pool.fleet.stuck_since(view.worker).is_some();
            let is_free = |view: &WorkerView<'_>| view.phase == WorkerPhase::Ready && !kept(view) && !stuck(view);
            let unkept = self.pool.workers().any(|view| is_free(&view));
            assert!(
                !unkept || self.pool.tasks.get(first).unwrap().reserved.is_some(),
                "{first} could have a worker to itself"
            );
        }
        let waits = waits || self.pool.waiting_exclusive().next().is_some();
        assert!(!waits || self.pool.unavailable().is_none(), "tasks wait for an unavailable pool");
        assert!(self.pool.next_deadline().is_none_or(|due| due > self.now), "overdue");
        let is_in_doubt =
            |task: &&TaskId| self.pool.task(**task).is_some_and(|view| matches!(view.phase, TaskPhase::InDoubt { .. }));
        let in_doubt = self.tasks.keys().filter(is_in_doubt).count();
        let queued = self.pool.waiting().count() + self.pool.waiting_exclusive().count();
        let backing_off = self.pool.queued_count() - queued - in_doubt;
        let timed = |view: &WorkerView<'_>| {
            use WorkerPhase::{Connecting, GivenUp, Postponed, Restarting, Starting};
            let is_patient = || self.record(view).state.due().is_some();
            usize::from(match view.phase {
                Starting | Connecting | Restarting => true,
                Postponed | GivenUp => is_patient(),
                _ => false,
            }) + usize::from(view.cooling)
                + usize::from(self.record(view).stuck.as_ref().is_some_and(|it| it.due.is_some()))
        };
        let of_cancel = |timer: &Timer| match timer {
            Timer::Cancel(task) => usize::from(self.pool.tasks.get(*task).unwrap().is_cancelling()),
            _ => 0,
        };
        let cancelled = self.pool.turn.timers.iter().map(|(_, timer)| of_cancel(timer)).sum::<usize>();
        let audit = self.pool.fleet.audit();
        let stuck = self.pool.fleet.workers().iter().filter(|worker| worker.stuck.is_some()).count();
        assert_eq!(audit.stuck, stuck);
        let of_workers = self.pool.workers().map(|view| timed(&view)).sum::<usize>();
        let of_scaling = usize::from(audit.growth_due.is_some()) + usize::from(audit.idleness_due.is_some());
        let of_verdicts = usize::from(self.pool.verdicts.timer.is_some());
        let unanswered = self.pool.fleet.workers().iter().filter(|worker| worker.unanswered.is_some()).count();
        let of_actors = self.pool.actors().starting();
        let timers = backing_off + of_actors + of_workers + of_scaling + cancelled + of_verdicts + unanswered;
        let postponed = self.pool.workers().filter(|view| view.phase == WorkerPhase::Postponed).count();
        assert_eq!(audit.postponed, postponed);
        let growing = audit.growth_due.is_some();
        assert!(postponed == 0 || !growing, "others would only wait behind those that are postponed");
        let lost_sight = |view: &WorkerView<'_>| self.record(view).state.is_out_of_sight();
        let mut wanted = self.pool.workers().filter(|view| view.wanted).peekable();
        let is_hopeless = wanted.peek().is_some() && wanted.all(|view| lost_sight(&view));
        let is_unavailable = self.pool.unavailable().is_some();
        assert!(self.closed || is_hopeless || !is_unavailable, "unavailable, though a worker may come up");
        assert!(
            self.closed || !is_hopeless || is_unavailable || postponed == 0,
            "all workers wait for room without end"
        );
        assert_eq!(
            self.pool.fleet.alive(),
            self.pool.fleet.workers().iter().filter(|worker| worker.state.counts()).count()
        );
        assert!(self.closed || self.pool.turn.timers.len() == timers, "each wait has one timer, no timer is left over");
    }
}
