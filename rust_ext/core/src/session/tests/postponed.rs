//! Launches that wait for room: what they cost, what they hold up, and the end of each wait for them.

use super::world::World;
use super::*;

const FULL: &str = "the namespace 'jobs' has no room left for it";

fn postpone(stage: &mut Stage, worker: WorkerId) -> Vec<Action> {
    let launch = stage.launch(worker);
    stage.tell(Event::Postponed { worker, launch, reason: FULL.to_owned() })
}

fn admit(stage: &mut Stage, worker: WorkerId) -> Vec<Action> {
    let launch = stage.launch(worker);
    stage.tell(Event::Admitted { worker, launch })
}

/// Two are ready, and there is no room for the third.
fn two_of_three() -> Stage {
    let mut stage = Stage::ready(2);
    stage.tell(Event::SetDesired(3));
    postpone(&mut stage, w(2));
    stage
}

#[test]
fn a_launch_that_is_postponed_waits_as_long_as_it_takes_and_costs_no_restart() {
    let mut stage = two_of_three();
    for _ in 0..100 {
        stage.now += secs(3600);
        assert_eq!(stage.tell(Event::Tick), []);
        assert_eq!(postpone(&mut stage, w(2)), [], "the allocator has asked again");
    }
    let view = stage.pool.worker(w(2)).unwrap();
    assert_eq!((view.phase, view.launch, view.restarts), (WorkerPhase::Postponed, LaunchId(1), 0));
    assert_eq!(view.waits_for, Some(FULL));
    assert_eq!(stage.pool.unavailable(), None, "the others work");
}

#[test]
fn the_start_of_a_launch_that_was_postponed_begins_when_there_is_room() {
    let mut stage = two_of_three();
    stage.now = secs(500);
    stage.tell(Event::Tick);
    assert_eq!(admit(&mut stage, w(2)), []);
    assert_eq!(stage.phase(w(2)), WorkerPhase::Starting);
    assert_eq!(stage.pool.next_deadline(), Some(secs(560)));
    assert_eq!(stage.come_up(w(2)), [ready(2, 1, "worker-2/1")]);
    assert_eq!(stage.pool.next_deadline(), None);
}

#[test]
fn a_worker_that_dies_at_a_full_quota_pays_for_its_death_alone() {
    let mut stage = Stage::ready(2);
    stage.exit(w(0), "deleted");
    stage.tick();
    postpone(&mut stage, w(0));
    stage.now += secs(3600);
    stage.tell(Event::Tick);
    assert_eq!(stage.pool.worker(w(0)).unwrap().restarts, 1);
    admit(&mut stage, w(0));
    assert_eq!(stage.come_up(w(0)), [ready(0, 2, "worker-0/2")]);
}

#[test]
fn a_process_that_starts_although_nobody_said_that_there_was_room_is_welcome() {
    let mut stage = two_of_three();
    assert_eq!(stage.come_up(w(2)), [ready(2, 1, "worker-2/1")]);
    assert_eq!(admit(&mut stage, w(2)), [], "that comes too late");
    assert_eq!(postpone(&mut stage, w(2)), [], "and so does that");
    assert_eq!((stage.phase(w(2)), stage.pool.next_deadline()), (WorkerPhase::Ready, None));
}

#[test]
fn a_launch_that_is_postponed_and_then_fails_is_a_loss_like_any_other() {
    let mut stage = two_of_three();
    stage.exit(w(2), "not admitted");
    assert_eq!((stage.phase(w(2)), stage.pool.worker(w(2)).unwrap().restarts), (WorkerPhase::Restarting, 1));
    assert_eq!(stage.tick(), [launch(2, 2)]);
}

#[test]
fn a_surplus_worker_that_is_postponed_is_stopped() {
    let mut stage = two_of_three();
    assert_eq!(stage.tell(Event::SetDesired(2)), [stop(2, 1, "the worker is no longer wanted")]);
    assert_eq!(stage.pool.next_deadline(), None);
}

#[test]
fn tasks_fail_with_what_is_waited_for_if_no_worker_had_room_for_as_long_as_a_start_may_take() {
    let mut stage = Stage::new(small());
    stage.tell(Event::SetDesired(2));
    stage.submit(1, 0);
    postpone(&mut stage, w(0));
    postpone(&mut stage, w(1));
    let actions = stage.tick();
    assert_eq!(stage.now, secs(60));
    let (task, kind, message) = failure(&actions);
    assert_eq!((task, kind), (t(1), FailKind::NoWorkers));
    assert!(message.contains("worker-0 and 1 more: the namespace 'jobs' has no room left"), "{message}");
    assert_eq!(stage.phase(w(0)), WorkerPhase::Postponed, "room is still asked for");
}

#[test]
fn a_pool_without_room_is_mended_by_room_and_has_patience_again_when_a_query_begins() {
    let mut stage = Stage::new(small());
    stage.tell(Event::SetDesired(1));
    postpone(&mut stage, w(0));
    stage.tick();
    assert!(stage.pool.unavailable().is_some());
    stage.tell(Event::Wake);
    assert_eq!(stage.pool.unavailable(), None);
    assert_eq!(stage.submit(1, 0), [], "it waits");
    stage.tick();
    assert!(stage.pool.unavailable().is_some());
    admit(&mut stage, w(0));
    assert_eq!(stage.pool.unavailable(), None);
    assert_eq!(stage.submit(2, 0), []);
    assert_eq!(stage.come_up(w(0)), [ready(0, 1, "worker-0/1"), send(2, 1, 0, 1)]);
}

#[test]
fn a_pool_without_room_is_mended_when_a_launch_fails_in_another_way_and_is_tried_again() {
    let mut stage = Stage::new(small());
    stage.tell(Event::SetDesired(1));
    postpone(&mut stage, w(0));
    stage.tick();
    stage.exit(w(0), "not admitted");
    assert_eq!(stage.pool.unavailable(), None);
    assert_eq!(stage.tick(), [launch(0, 2)]);
}

#[test]
fn an_elastic_pool_starts_no_others_while_one_waits_for_room_and_goes_on_when_there_is() {
    let mut world = World::elastic(1, 1000);
    world.room = 2;
    world.task_time = secs(3600);
    world.submit(4000);
    world.run_for(secs(600));
    assert_eq!(world.up(), 2);
    let asked = world.launches.len();
    assert!(asked <= 12, "one round: {asked} launches");
    world.room = 1000;
    world.run_for(secs(200));
    assert_eq!((world.up(), world.failed.len()), (1000, 0));
}

#[test]
fn an_elastic_pool_takes_back_what_it_has_no_work_for_any_more() {
    let mut world = World::elastic(1, 10);
    world.room = 2;
    world.submit(40);
    world.run_for(secs(30));
    assert_eq!((world.delivered, world.up()), (40, 2));
    let waiting = world.pool.workers().filter(|view| view.phase == WorkerPhase::Postponed).count();
    assert_eq!(waiting, 0);
    world.run_for(secs(200));
    assert_eq!((world.up(), world.pool.next_deadline()), (1, None));
}

#[test]
fn an_elastic_pool_without_any_room_fails_a_query_in_time_and_runs_the_next_once_there_is() {
    let mut world = World::elastic(0, 10);
    world.room = 0;
    world.tell(Event::Wake);
    world.submit(5);
    world.run_for(secs(301));
    assert_eq!(world.failed.len(), 5);
    assert!(world.failed[0].contains("no room"), "{}", world.failed[0]);
    world.tell(Event::Wake);
    world.submit(5);
    world.run_for(secs(60));
    world.room = 10;
    world.run_for(secs(60));
    assert_eq!((world.delivered, world.failed.len()), (5, 5));
}
