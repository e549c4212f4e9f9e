//! Starts of pools: room, workers, constructors that fail, are late or are killed.

use super::*;

#[test]
fn a_pool_has_started_when_all_its_actors_are_ready() {
    let mut stage = Stage::with_workers(2);
    stage.start(1, request(3));
    assert_eq!(stage.workers_of(&stage.constructs), [0, 1, 0]);
    for construct in &stage.constructs.clone()[..2] {
        stage.ready(construct);
    }
    assert!(stage.started.is_empty());
    let last = stage.last();
    stage.ready(&last);
    assert_eq!(stage.started[&p(1)], [0, 1, 2]);
    stage.pass(secs(100));
    assert_eq!((stage.stops.len(), stage.warnings.len()), (0, 0), "its time-out is over with its start");
}

#[test]
fn the_first_actor_of_a_pool_shares_cpus_unless_the_pool_can_do_without() {
    let mut stage = Stage::with_workers(1);
    stage.started(1, with_need(1, 2.0, 0.0));
    stage.start(2, ActorRequest { shares_cpus: false, ..with_need(1, 2.0, 0.0) });
    assert_eq!(stage.constructs.len(), 1);
    stage.start(3, with_need(1, 2.0, 0.0));
    assert_eq!(stage.constructs.len(), 2);
}

#[test]
fn a_second_udf_gets_its_first_actor_though_all_cpus_are_taken() {
    let mut stage = Stage::with_workers(2);
    stage.started(1, request(4));
    stage.start(2, request(2));
    stage.all_ready();
    stage.pass(secs(10));
    assert_eq!(stage.started[&p(2)].len(), 1);
}

#[test]
fn a_pool_waits_for_its_first_worker() {
    let mut stage = Stage::with_workers(0);
    stage.start(1, request(1));
    assert_eq!(stage.constructs, []);
    stage.come_up(0);
    stage.all_ready();
    assert_eq!(stage.started[&p(1)], [0]);
}

#[test]
fn a_worker_that_drains_or_leaves_gets_no_actor() {
    let mut stage = Stage::with_workers(1);
    let launch = stage.session.worker(w(0)).unwrap().launch;
    stage.started(1, request(1));
    stage.tell(Event::Leaving { worker: w(0), launch });
    stage.start(2, request(1));
    assert_eq!(stage.constructs.len(), 1);
    stage.come_up(1);
    assert_eq!(stage.last().worker, w(1));
}

#[test]
fn a_worker_that_drains_keeps_its_actors_and_has_them_still_when_it_is_wanted_again() {
    let mut stage = Stage::with_workers(2);
    stage.started(1, request(2));
    stage.tell(Event::SetDesired(1));
    assert_eq!(stage.session.worker(w(1)).unwrap().phase, WorkerPhase::Draining);
    stage.tell(Event::SetDesired(2));
    assert_eq!(stage.session.worker(w(1)).unwrap().phase, WorkerPhase::Ready);
    assert_eq!((stage.constructs.len(), stage.stops.len()), (2, 0));
    assert_eq!(stage.route(1, 1, &[]), Ok((1, 1)));
}

#[test]
fn actors_that_wait_for_room_make_an_elastic_pool_grow_and_no_longer_when_they_have_it() {
    let mut stage = Stage::new(0.0);
    stage.tell(Event::SetRange { min: 0, start: 0, max: 5 });
    stage.start(1, request(6));
    assert_eq!(stage.launches, [0, 1, 2]);
    (0..2).for_each(|index| stage.come_up(index));
    stage.pass(secs(3));
    assert_eq!(stage.launches, [0, 1, 2]);
    stage.come_up(2);
    stage.all_ready();
    assert_eq!(stage.started[&p(1)].len(), 6);
    stage.pass(secs(300));
    assert_eq!(stage.session.ready_count(), 3, "actors keep their workers");
    stage.actor(ActorEvent::End(p(1)));
    stage.pass(secs(300));
    assert_eq!((stage.session.ready_count(), stage.launches.len()), (0, 3));
}

#[test]
fn a_pool_that_gives_up_waiting_needs_no_more_workers() {
    let mut stage = Stage::new(0.0);
    stage.tell(Event::SetRange { min: 0, start: 1, max: 2 });
    stage.come_up(0);
    stage.start(1, request(3));
    stage.all_ready();
    stage.pass(secs(2));
    assert_eq!(stage.launches, [0, 1]);
    stage.pass(secs(8));
    assert_eq!(stage.started[&p(1)], [0, 1]);
    stage.lose(1);
    stage.pass(secs(100));
    assert_eq!(stage.launches, [0, 1]);
}

#[test]
fn after_the_time_out_a_pool_goes_on_with_those_that_are_ready_and_stops_the_others() {
    let mut stage = Stage::with_workers(2);
    stage.start(1, request(2));
    let (first, second) = (stage.constructs[0].clone(), stage.constructs[1].clone());
    stage.ready(&first);
    let late = ActorNews::Late { reason: "its constructor was not done after 10 s".into() };
    stage.news(&second, late);
    assert!(stage.started.is_empty(), "the pool's own time-out decides");
    stage.pass(secs(10));
    assert_eq!((&*stage.started[&p(1)], &*stage.stops), (&[0][..], &[(1, 1, w(1))][..]));
    assert_eq!((stage.holds(0), stage.holds(1)), (1, 0));
    let warning = "UDF f goes on with 1 of 2 actors; after 10 s actor 1 of UDF f is being constructed on worker-1: its \
                   constructor was not done after 10 s";
    assert_eq!(stage.warnings, [warning]);
}

#[test]
fn a_pool_of_which_no_actor_came_up_fails_and_leaves_nothing() {
    let mut stage = Stage::with_workers(2);
    stage.start(1, request(1));
    stage.pass(secs(10));
    let message = stage.failure(1);
    let expected = "failed to start within 10 seconds: actor 0 of UDF f is being constructed on worker-0; if";
    assert!(message.contains(expected), "{message}");
    assert_eq!((stage.stops.len(), stage.session.actor_counts()), (1, [0; 4]));
    assert_eq!(stage.ended, [p(1)]);
}

#[test]
fn a_constructor_that_fails_ends_the_start_at_once() {
    let mut stage = Stage::with_workers(2);
    stage.start(1, request(2));
    let second = stage.constructs[1].clone();
    stage.news(&second, ActorNews::Failed { reason: "it exited with code 9".into(), error: (*b"pickled").into() });
    assert_eq!(stage.failure(1), "actor 1 of UDF f on worker-1: it exited with code 9");
    let ActorFailure::Constructor { error, .. } = &stage.failed[&p(1)] else { panic!() };
    assert_eq!(&**error, b"pickled");
    assert_eq!(stage.stops, [(1, 1, w(1)), (0, 1, w(0))]);
    assert_eq!(stage.session.actor_counts(), [0; 4]);
}

#[test]
fn an_actor_that_is_killed_in_its_constructor_is_started_again_elsewhere() {
    let mut stage = Stage::with_workers(2);
    stage.start(1, request(1));
    let first = stage.last();
    stage.kill(&first);
    let second = stage.last();
    assert_eq!((first.worker, second.worker, second.generation), (w(0), w(1), 2));
    assert_eq!(stage.stops, [(0, 1, w(0))], "an elastic pool would keep the worker for it");
    assert_eq!(stage.warnings, ["actor 0 of UDF f is started again (1 of 2): it was killed by SIGKILL"]);
    stage.ready(&first);
    assert!(stage.started.is_empty(), "news of the lost place was believed");
    stage.ready(&second);
    assert_eq!(stage.started[&p(1)], [0]);
}

#[test]
fn an_actor_that_is_killed_in_its_constructor_three_times_fails_the_query_with_the_signal_and_the_advice() {
    let mut stage = Stage::with_workers(2);
    stage.start(1, request(2));
    for _ in 0..3 {
        let victim = stage.constructs.iter().rfind(|construct| construct.actor.number == 0).unwrap().clone();
        stage.kill(&victim);
    }
    let message = stage.failure(1);
    let expected = "actor 0 of UDF f on worker-0: it was killed by SIGKILL\nIt was killed in its constructor 3 times: ";
    assert!(message.starts_with(expected) && message.contains("raise worker_memory"), "{message}");
    assert_eq!(stage.constructs.iter().filter(|construct| construct.actor.number == 0).count(), 3);
    assert_eq!(stage.session.actor_counts(), [0; 4]);
}

#[test]
fn an_actor_whose_worker_dies_in_its_constructor_is_started_on_another() {
    let mut stage = Stage::with_workers(2);
    stage.start(1, with_state(1));
    stage.lose_by(0, ExitCause::OutOfMemory);
    assert_eq!(stage.last().worker, w(1));
    stage.all_ready();
    assert_eq!(stage.started[&p(1)], [0]);
}

#[test]
fn a_constructor_that_always_takes_its_worker_with_it_fails_the_query_after_three_workers() {
    let mut stage = Stage::with_workers(2);
    stage.start(1, request(1));
    for number in 0..3 {
        let worker = stage.constructs[number].worker.0;
        stage.lose(worker);
        stage.come_up(worker);
    }
    let message = stage.failure(1);
    let expected = "worker-0 was lost: it was killed\nIt was killed in its constructor 3 times: ";
    assert!(message.contains(expected), "{message}");
    assert_eq!(stage.workers_of(&stage.constructs), [0, 1, 0]);
}

#[test]
fn a_worker_that_is_taken_away_while_it_constructs_an_actor_is_no_fault_of_the_constructor() {
    for cause in [ExitCause::Infrastructure, ExitCause::Stopped, ExitCause::NeverStarted] {
        let mut stage = Stage::with_workers(1);
        stage.start(1, ActorRequest { start_timeout: secs(10_000), ..request(1) });
        for number in 1..=20 {
            let launch = stage.session.worker(w(0)).unwrap().launch;
            stage.tell(Event::Leaving { worker: w(0), launch });
            stage.lose_by(0, cause);
            stage.come_up(0);
            assert_eq!((stage.last().generation, stage.constructs.len()), (number + 1, number as usize + 1));
        }
        stage.all_ready();
        assert_eq!(stage.started[&p(1)], [0], "{cause}");
        assert_eq!(stage.warnings, [""; 0]);
    }
}

#[test]
fn a_request_for_what_no_worker_could_hold_fails_at_once() {
    let mut stage = Stage::with_workers(2);
    stage.start(1, with_need(1, 1.0, 3.0));
    let message = stage.failure(1);
    assert!(message.starts_with("No single actor can be scheduled: each actor of UDF f asks for"), "{message}");
    assert_eq!((&*stage.ended, stage.session.actor_counts()), (&[p(1)][..], [0; 4]));
    assert!(stage.session.admit_actors(&with_need(1, 1.0, 3.0)).is_err());
}

#[test]
fn more_actors_than_fit_become_as_many_as_fit_with_a_warning() {
    let mut stage = Stage::with_workers(2);
    assert_eq!(stage.started(1, request(100)), [0, 1, 2, 3]);
    assert!(stage.warnings[0].contains("UDF f asks for 100 actors"), "{:?}", stage.warnings);
}

#[test]
fn actors_get_devices_of_their_own() {
    let mut stage = Stage::with_gpus(1, 2.0);
    stage.tell(Event::SetDesired(1));
    stage.start(1, with_need(3, 0.5, 0.5));
    let devices: Vec<&[u32]> = stage.constructs.iter().map(|construct| &*construct.devices).collect();
    assert_eq!(devices, [&[0][..], &[0], &[1]]);
    stage.start(2, with_need(1, 0.5, 1.0));
    assert_eq!(stage.constructs.len(), 3, "no device is left whole");
    stage.actor(ActorEvent::End(p(1)));
    assert_eq!(stage.last().devices, [0]);
}

#[test]
fn actors_that_no_worker_will_ever_host_fail_with_the_reasons_of_the_workers() {
    let mut stage = Stage::with_workers(0);
    stage.start(1, request(1));
    for index in 0..2 {
        let (worker, launch) = (w(index), stage.session.worker(w(index)).unwrap().launch);
        let (reason, cause) = ("no such image".to_owned(), ExitCause::NeverStarted);
        stage.tell(Event::Exited { worker, launch, reason, restartable: false, cause });
    }
    assert_eq!(stage.now, Duration::ZERO, "at once");
    let message = stage.failure(1);
    assert!(message.contains("no actor of UDF f could be started") && message.contains("no such image"), "{message}");
}
