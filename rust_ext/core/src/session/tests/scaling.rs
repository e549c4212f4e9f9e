//! Elastic pools: growing with the work, releasing idle workers, never one that is needed.

use super::world::World;
use super::*;

const IDLE: &str = "it was idle for 120s";

/// A stage with an elastic pool; those that it starts with are ready.
fn elastic(min: u32, start: u32, max: u32) -> Stage {
    let mut stage = Stage::new(small());
    stage.tell(Event::SetRange { min, start, max });
    for index in 0..start {
        stage.come_up(w(index));
    }
    stage
}

#[test]
fn with_no_lower_bound_nothing_runs_until_there_is_work() {
    let mut stage = elastic(0, 0, 5);
    assert_eq!((stage.pool.workers().count(), stage.pool.next_deadline()), (0, None));
    let actions = stage.submit(1, 3);
    assert_eq!(launched(&actions), [0], "at once, whomever it prefers");
    assert_eq!(stage.come_up(w(0))[1..], [send(1, 1, 0, 1)]);
}

#[test]
fn a_query_that_begins_finds_a_worker_coming_up() {
    let mut stage = elastic(0, 0, 5);
    assert_eq!(launched(&stage.tell(Event::Wake)), [0]);
    assert_eq!(stage.tell(Event::Wake), [], "one is enough until there are tasks");
    stage.come_up(w(0));
    assert_eq!(stage.tell(Event::Wake), []);
    assert_eq!(stage.tick(), [stop(0, 1, IDLE), disconnect(0, 1), released(0, 1, "worker-0/1", IDLE)]);
    assert_eq!(stage.now, secs(120));
}

#[test]
fn a_pool_of_a_fixed_size_neither_grows_nor_shrinks() {
    let mut stage = Stage::ready(2);
    for task in 0..100 {
        stage.submit(task, 0);
    }
    assert_eq!(stage.tell(Event::Wake), []);
    assert_eq!(stage.pool.next_deadline(), None);
}

#[test]
fn actors_that_wait_for_a_worker_make_a_pool_grow_though_there_is_no_task() {
    let mut stage = elastic(0, 0, 5);
    assert_eq!(launched(&stage.start_actors(1, 2)), [0, 1], "at once, as there is none");
    stage.come_up(w(0));
    stage.come_up(w(1));
    assert_eq!(launched(&stage.start_actors(2, 2)), [0; 0], "the first of them shares a CPU");
    assert_eq!(launched(&stage.tick()), [2]);
    stage.come_up(w(2));
    stage.start_actors(3, 5);
    stage.start_actors(4, 5);
    assert_eq!(launched(&stage.tick()), [3, 4], "never more than there may be");
    stage.come_up(w(3));
    stage.come_up(w(4));
    for pool in 1..=4 {
        stage.end_actors(pool);
    }
    while stage.pool.next_deadline().is_some() {
        stage.tick();
    }
    assert_eq!(stage.pool.ready_count(), 0, "workers that are not needed any more go");
}

#[test]
fn a_worker_with_an_actor_is_not_let_go_for_being_idle() {
    let mut stage = elastic(0, 2, 5);
    stage.host_actors(1, 1);
    assert_eq!(stage.tick(), [stop(1, 1, IDLE), disconnect(1, 1), released(1, 1, "worker-1/1", IDLE)]);
    assert_eq!(stage.pool.next_deadline(), None);
}

#[test]
fn a_burst_that_is_over_within_a_round_starts_nobody() {
    let mut stage = elastic(1, 1, 5);
    for task in 0..2 {
        stage.submit(task, 0);
    }
    assert_eq!(stage.pool.next_deadline(), Some(secs(1)));
    stage.succeed(0);
    stage.succeed(1);
    assert_eq!(stage.pool.next_deadline(), None, "and at its lower bound nothing is due");
}

#[test]
fn work_that_lasts_for_a_round_starts_as_many_workers_as_there_are_tasks() {
    let mut stage = elastic(1, 1, 5);
    for task in 0..4 {
        stage.submit(task, 0);
    }
    assert_eq!(launched(&stage.tick()), [1, 2, 3]);
    assert_eq!(stage.now, secs(1));
    stage.submit(4, 0);
    assert_eq!(
        stage.pool.next_deadline(),
        Some(secs(61)),
        "five tasks for four slots are not much more; a start times out"
    );
    stage.submit(5, 0);
    assert_eq!(launched(&stage.tick()), [4], "as many as there may be");
    assert_eq!(stage.pool.next_deadline(), Some(secs(61)));
}

#[test]
fn a_pool_grows_by_ten_a_round_and_has_fifty_starts_under_way_at_most() {
    let mut stage = elastic(0, 0, 1000);
    for task in 0..5000 {
        stage.submit(task, 0);
    }
    let mut rounds = Vec::new();
    while stage.now < secs(10) {
        rounds.push(launched(&stage.tick()).len());
    }
    assert_eq!(rounds, [10, 10, 10, 10, 9, 0, 0, 0, 0, 0], "and the one that was launched for the first task");
    stage.come_up(w(7));
    assert_eq!(launched(&stage.tick()), [50]);
}

#[test]
fn idle_workers_are_let_go_down_to_the_lower_bound_the_last_ones_first() {
    let mut stage = elastic(2, 4, 6);
    stage.submit(1, 3);
    stage.now = secs(100);
    stage.succeed(1);
    let actions = stage.tick();
    assert_eq!(stage.now, secs(120));
    assert_eq!(
        actions,
        [
            stop(2, 1, IDLE),
            disconnect(2, 1),
            released(2, 1, "worker-2/1", IDLE),
            stop(1, 1, IDLE),
            disconnect(1, 1),
            released(1, 1, "worker-1/1", IDLE)
        ]
    );
    assert_eq!(stage.pool.next_deadline(), None, "worker-3 was busy, and two are left");
    assert_eq!(stage.pool.ready_count(), 2);
}

#[test]
fn a_worker_that_runs_a_task_is_not_let_go_however_long_that_takes() {
    let mut stage = elastic(0, 1, 2);
    stage.submit(1, 0);
    assert_eq!(stage.pool.next_deadline(), None);
    stage.now = secs(10_000);
    stage.succeed(1);
    assert_eq!(stage.pool.next_deadline(), Some(secs(10_120)));
}

#[test]
fn a_worker_that_holds_what_somebody_refers_to_is_not_released() {
    let mut stage = elastic(0, 2, 2);
    stage.submit(1, 1);
    let (worker, launch, attempt) = stage.place(1);
    stage.tell(Event::Succeeded { task: t(1), worker, launch, attempt, outputs: outputs(3) });
    assert_eq!(stage.tick().len(), 3, "worker-0 goes");
    assert_eq!(stage.pool.next_deadline(), None);
    stage.now = secs(5000);
    assert_eq!(stage.tell(Event::Drop(vec![s(1, 0), s(1, 2)])), []);
    assert_eq!(stage.pool.next_deadline(), None, "one is left");
    assert_eq!(stage.tell(Event::Drop(vec![s(1, 1)])), []);
    assert_eq!(stage.pool.next_deadline(), Some(secs(5120)), "idle from now on");
    stage.host_actors(1, 1);
    assert_eq!(stage.pool.next_deadline(), None, "an actor keeps it, too");
    stage.end_actors(1);
    assert_eq!(stage.pool.next_deadline(), Some(secs(5120)));
}

#[test]
fn what_an_old_process_held_holds_nobody_and_releases_nothing() {
    let mut stage = elastic(0, 1, 2);
    stage.host_actors(1, 1);
    stage.submit(1, 0);
    let (worker, launch, attempt) = stage.place(1);
    stage.tell(Event::Succeeded { task: t(1), worker, launch, attempt, outputs: outputs(1) });
    assert_eq!(stage.pool.worker(w(0)).unwrap().holds, 2);
    stage.exit(w(0), "gone");
    assert_eq!(stage.pool.worker(w(0)).unwrap().holds, 0);
    stage.come_up_again(w(0));
    assert_eq!(stage.pool.worker(w(0)).unwrap().holds, 1, "the actor is constructed again");
    stage.tell(Event::Drop(vec![s(1, 0)]));
    assert_eq!(stage.pool.worker(w(0)).unwrap().holds, 1);
}

#[test]
fn a_process_that_was_restarted_in_place_holds_nothing_of_what_the_old_one_held() {
    let mut stage = elastic(0, 1, 2);
    stage.submit(0, 0);
    let (worker, launch, attempt) = stage.place(0);
    stage.tell(Event::Succeeded { task: t(0), worker, launch, attempt, outputs: outputs(2) });
    stage.tell(Event::Read(vec![s(0, 0), s(0, 1)]));
    stage.submit(1, 0);
    stage.connect(w(0), "new");
    let (worker, launch, attempt) = stage.place(1);
    stage.tell(Event::Succeeded { task: t(1), worker, launch, attempt, outputs: outputs(1) });
    assert_eq!(stage.pool.worker(w(0)).unwrap().holds, 1, "the new one's own");
}

#[test]
fn outputs_of_a_stale_report_are_not_held_as_nothing_refers_to_them() {
    let mut stage = elastic(0, 1, 2);
    stage.submit(1, 0);
    let (worker, launch, attempt) = stage.place(1);
    for _ in 0..2 {
        stage.tell(Event::Succeeded { task: t(1), worker, launch, attempt, outputs: outputs(1) });
        assert_eq!(stage.pool.worker(w(0)).unwrap().holds, 1);
    }
    stage.tell(Event::Drop(vec![s(1, 0)]));
    assert_eq!(stage.pool.worker(w(0)).unwrap().holds, 0);
}

#[test]
fn no_worker_is_released_while_the_driver_keeps_all() {
    let mut stage = elastic(0, 1, 2);
    stage.tell(Event::KeepAll(true));
    assert_eq!(stage.pool.next_deadline(), None);
    stage.now = secs(500);
    assert_eq!(stage.tell(Event::KeepAll(false)).len(), 3, "it has been idle long since");
}

#[test]
fn a_worker_without_work_is_not_replaced_above_the_lower_bound_and_is_below_it() {
    let mut stage = elastic(1, 3, 3);
    stage.exit(w(1), "gone");
    assert_eq!(stage.phase(w(1)), WorkerPhase::Absent);
    stage.exit(w(0), "gone");
    assert_eq!(stage.phase(w(0)), WorkerPhase::Absent);
    stage.exit(w(2), "gone");
    assert_eq!(stage.phase(w(2)), WorkerPhase::Restarting);
    assert_eq!(launched(&stage.tick()), [2]);
}

#[test]
fn a_worker_that_is_lost_under_work_is_replaced() {
    let mut stage = elastic(0, 1, 3);
    stage.submit(1, 0);
    stage.exit(w(0), "gone");
    assert_eq!(stage.phase(w(0)), WorkerPhase::Restarting);
    assert_eq!(launched(&stage.tick()), [0]);
}

#[test]
fn a_worker_that_others_tell_to_stop_gets_no_task_and_is_replaced_when_it_is_gone() {
    let mut stage = Stage::ready(2);
    stage.submit(1, 0);
    stage.tell(Event::Leaving { worker: w(0), launch: LaunchId(1) });
    assert_eq!(stage.phase(w(0)), WorkerPhase::Leaving);
    assert_eq!(stage.submit(2, 0), [send(2, 1, 1, 1)]);
    stage.succeed(1);
    assert_eq!(stage.phase(w(0)), WorkerPhase::Leaving, "it goes by itself");
    stage.exit_by(w(0), "preempted", ExitCause::Infrastructure);
    assert_eq!(launched(&stage.tick()), [0]);
}

#[test]
fn an_elastic_pool_replaces_a_leaving_worker_by_another_at_once() {
    let mut stage = elastic(1, 1, 3);
    stage.submit(1, 0);
    let actions = stage.tell(Event::Leaving { worker: w(0), launch: LaunchId(1) });
    assert_eq!(launched(&actions), [1]);
}

#[test]
fn a_task_that_a_leaving_worker_bounces_goes_elsewhere_at_once_and_is_not_charged() {
    let mut stage = Stage::ready(2);
    stage.submit(1, 0);
    stage.tell(Event::Leaving { worker: w(0), launch: LaunchId(1) });
    assert_eq!(stage.bounce(1), [send(1, 2, 1, 1)]);
    assert!(!stage.pool.worker(w(0)).unwrap().cooling);
}

#[test]
fn a_worker_that_cannot_start_does_not_keep_others_from_starting() {
    let mut world = World::elastic(0, 12);
    world.fails = |worker| (1..4).contains(&worker.0);
    world.task_time = secs(100);
    world.submit(8);
    world.run_for(secs(60));
    assert!(world.up() >= 7, "enough for eight tasks: {:?}", world.launches);
    world.run_for(secs(200));
    assert_eq!((world.delivered, world.failed.len()), (8, 0));
}

#[test]
fn at_a_quota_starts_are_spaced_further_and_further() {
    let mut world = World::elastic(1, 1000);
    world.fails = |worker| worker.0 >= 2;
    world.task_time = secs(3600);
    world.submit(4000);
    world.run_for(secs(60));
    let first_minute = world.launches.len();
    world.run_for(secs(60));
    let second_minute = world.launches.len() - first_minute;
    assert_eq!(world.up(), 2);
    assert!(first_minute <= 80, "{first_minute} launches");
    assert!(second_minute <= 15, "{second_minute} launches");
}

#[test]
fn if_nothing_ever_starts_the_tasks_fail_and_a_later_query_tries_again() {
    let mut world = World::elastic(0, 1000);
    world.fails = |_| true;
    world.submit(100);
    world.run_for(secs(300));
    assert_eq!(world.failed.len(), 100);
    assert!(world.failed[0].contains("exceeded quota"), "{}", world.failed[0]);
    assert!(world.launches.len() <= 80, "{} launches", world.launches.len());
    world.run_for(secs(3600));
    assert_eq!(world.pool.next_deadline(), None, "it rests");
    world.fails = |_| false;
    world.tell(Event::Wake);
    world.submit(1);
    world.run_for(secs(30));
    assert_eq!(world.delivered, 1);
}

#[test]
fn workers_that_were_given_up_are_tried_again_after_the_window() {
    let mut world = World::elastic(1, 4);
    world.fails = |worker| worker.0 >= 1;
    world.task_time = secs(2000);
    world.submit(8);
    world.run_for(secs(500));
    assert_eq!(world.up(), 1);
    world.fails = |_| false;
    world.run_for(secs(700));
    assert_eq!(world.up(), 4);
}

#[test]
fn the_lower_bound_is_kept_although_one_of_its_workers_is_given_up() {
    let mut stage = elastic(2, 2, 4);
    stage.tell(Event::Refused { worker: w(0), launch: LaunchId(1), reason: "an old image".to_owned() });
    assert_eq!(launched(&stage.tick()), [2]);
    stage.come_up(w(2));
    assert_eq!((stage.pool.ready_count(), stage.pool.next_deadline()), (2, None));
}

#[test]
fn a_demand_that_swings_for_a_minute_moves_the_pool_up_once_and_not_to_and_fro() {
    let mut world = World::elastic(1, 20);
    world.task_time = ms(500);
    world.run_for(secs(10));
    // Every second between 3 and 9 tasks, in turn.
    for second in 0..60 {
        world.submit(if second % 2 == 0 { 9 } else { 3 });
        world.run_for(secs(1));
    }
    assert_eq!(world.stops, []);
    let started = world.launches.len();
    assert!((2..=15).contains(&started), "what piled up while the first ones started: {:?}", world.launches);
    assert!(world.launches.iter().all(|(at, _)| *at < secs(20)), "then it stays: {:?}", world.launches);
    world.run_for(secs(121));
    assert_eq!((world.up(), world.stops.len()), (1, started - 1), "and then it shrinks");
    assert_eq!(world.delivered, 30 * 12);
}

#[test]
fn a_pool_goes_from_none_to_a_thousand_workers_and_back_in_bounded_steps() {
    let mut world = World::elastic(0, 1000);
    world.task_time = secs(300);
    let begin = std::time::Instant::now();
    world.submit(2000);
    let mut steps = 0;
    while world.up() < 1000 {
        steps += world.run_for(secs(1));
        assert!(world.now < secs(600), "{} are up", world.up());
    }
    println!(
        "1,000 workers up after {:?} of virtual time, {steps} events, {:?} of real time",
        world.now,
        begin.elapsed()
    );
    assert!(world.now < secs(150), "ten a second, and five seconds for a start: {:?}", world.now);
    world.run_for(secs(2000));
    assert_eq!((world.up(), world.delivered, world.pool.next_deadline()), (0, 2000, None));
}
