//! Pools whose workers are lost: new places, and the routes of calls.

use super::*;

#[test]
fn an_actor_of_a_lost_worker_is_started_again_and_calls_go_to_the_others_meanwhile() {
    let mut stage = Stage::with_workers(2);
    stage.started(1, request(2));
    let lost = stage.constructs[0].clone();
    stage.lose(0);
    assert_eq!(stage.route(1, 0, &[]), Ok((1, 1)));
    let again = stage.last();
    assert_eq!((again.worker, again.actor, again.generation), (w(1), lost.actor, 2));
    stage.ready(&lost);
    assert_eq!(stage.route(1, 0, &[]), Ok((1, 1)), "news of a lost place was believed");
    stage.ready(&again);
    assert_eq!(stage.route(1, 0, &[]), Ok((0, 2)));
}

#[test]
fn an_actor_is_not_moved_for_ever() {
    let mut stage = Stage::with_workers(1);
    stage.started(1, request(1));
    for _ in 0..5 {
        stage.all_ready();
        stage.lose(0);
        stage.come_up(0);
    }
    assert_eq!(stage.constructs.len(), 5);
    let message = stage.route(1, 0, &[]).unwrap_err();
    let expected =
        "no actor of UDF f is left: actor 0 of UDF f is gone for good on worker-0: worker-0 was lost: it was";
    assert!(message.starts_with(expected), "{message}");
}

#[test]
fn an_actor_that_was_moved_and_is_killed_in_its_constructor_is_started_again_while_the_query_runs() {
    let mut stage = Stage::with_workers(2);
    stage.started(1, request(1));
    stage.lose(0);
    let moved = stage.last();
    stage.kill(&moved);
    let asked = stage.call(1, 0, &[]);
    let again = stage.last();
    stage.ready(&again);
    assert_eq!(stage.routes[&asked], Ok((0, 3)));
}

#[test]
fn an_actor_that_was_moved_and_is_late_is_gone() {
    let mut stage = Stage::with_workers(2);
    stage.started(1, request(1));
    stage.lose(0);
    let moved = stage.last();
    stage.news(&moved, ActorNews::Late { reason: "it was not done".into() });
    assert!(stage.route(1, 0, &[]).unwrap_err().contains("it was not done"));
    assert_eq!((stage.stops.len(), stage.holds(1)), (1, 0));
}

#[test]
fn calls_for_actors_that_are_gone_take_turns_among_the_others() {
    let mut stage = Stage::with_workers(2);
    stage.started(1, request(4));
    let gone = stage.constructs[0].clone();
    stage.fail(&gone, "it was replaced 4 times");
    let mut routes: Vec<u32> = (0..6).map(|_| stage.route(1, 0, &[]).unwrap().0).collect();
    routes.sort_unstable();
    assert_eq!(routes, [1, 1, 2, 2, 3, 3]);
}

#[test]
fn a_place_that_failed_is_not_named_again() {
    let mut stage = Stage::with_workers(2);
    stage.started(1, request(2));
    assert_eq!(stage.route(1, 0, &[]), Ok((0, 1)));
    assert_eq!(stage.route(1, 0, &[(0, 1)]), Ok((1, 1)));
}

#[test]
fn a_place_that_could_not_be_reached_is_named_again_after_a_pause_if_there_is_no_other() {
    for request in [request(1), with_state(1)] {
        let mut stage = Stage::with_workers(2);
        stage.started(1, request);
        let asked = stage.call(1, 0, &[(0, 1), (0, 1)]);
        stage.pass(Duration::from_millis(3999));
        assert!(!stage.routes.contains_key(&asked));
        stage.pass(Duration::from_millis(1));
        assert_eq!(stage.routes[&asked], Ok((0, 1)));
    }
}

#[test]
fn a_place_that_could_not_be_reached_is_not_named_while_a_new_one_comes() {
    let mut stage = Stage::with_workers(2);
    stage.started(1, request(1));
    let asked = stage.call(1, 0, &[(0, 1)]);
    stage.lose(0);
    let again = stage.last();
    stage.ready(&again);
    assert_eq!(stage.routes[&asked], Ok((0, 2)));
}

#[test]
fn a_route_that_never_comes_ends_with_an_error() {
    let mut stage = Stage::with_workers(2);
    stage.started(1, ActorRequest { start_timeout: Duration::from_millis(500), ..request(1) });
    let asked = stage.call(1, 0, &[(0, 1)]);
    stage.pass(secs(1));
    let message = stage.routes[&asked].clone().unwrap_err();
    let expected = "no actor of UDF f could be reached for 0.5 s: they are ready, but their workers do not answer";
    assert!(message.starts_with(expected), "{message}");
    assert_eq!(stage.session.next_deadline(), None);
}

#[test]
fn an_actor_with_a_state_that_is_lost_is_not_replaced() {
    let mut stage = Stage::with_workers(2);
    stage.started(1, with_state(2));
    stage.lose(0);
    let message = stage.route(1, 0, &[]).unwrap_err();
    let expected = "UDF f is incomplete: worker-0 was lost: it was killed; run the query again";
    assert_eq!(message, expected);
    assert_eq!(stage.constructs.len(), 2);
    assert!(stage.route(1, 9, &[]).is_err(), "an actor that never was");
}

#[test]
fn the_place_of_an_actor_is_told_without_waiting() {
    let mut stage = Stage::with_workers(2);
    stage.started(1, request(1));
    let actor = stage.last().actor;
    assert!(stage.session.is_actor_at(actor, 1));
    assert!(!stage.session.is_actor_at(ActorId { pool: p(9), ..actor }, 1));
    stage.lose(0);
    assert!(!stage.session.is_actor_at(actor, 1));
    stage.all_ready();
    assert!(!stage.session.is_actor_at(actor, 1) && stage.session.is_actor_at(actor, 2));
    stage.retire(1);
    assert!(!stage.session.is_actor_at(actor, 2));
    assert_eq!(stage.session.ready_actors(p(1)), Some(vec![]));
}

#[test]
fn news_that_is_repeated_does_not_bring_an_actor_back_that_has_failed() {
    let mut stage = Stage::with_workers(2);
    stage.started(1, request(1));
    let construct = stage.last();
    stage.fail(&construct, "it was replaced 4 times");
    stage.ready(&construct);
    assert!(stage.route(1, 0, &[]).unwrap_err().contains("was replaced 4 times"));
}

#[test]
fn a_copy_of_an_actor_that_came_up_where_it_is_not_wanted_any_more_is_stopped() {
    let mut stage = Stage::with_workers(2);
    stage.started(1, request(1));
    let first = stage.last();
    // Its start reached the next process of the worker that was lost.
    stage.lose(0);
    let second = stage.last();
    assert_ne!(second.worker, first.worker);
    stage.come_up(0);
    assert_eq!(stage.stops, []);
    stage.ready(&first);
    assert_eq!(stage.stops, [(0, 1, w(0))]);
    stage.ready(&second);
    stage.ready(&second);
    assert_eq!((stage.route(1, 0, &[]), stage.stops.len()), (Ok((0, 2)), 1));
    stage.actor(ActorEvent::End(p(1)));
    stage.ready(&first);
    assert_eq!(stage.stops[1..], [(0, 2, w(1)), (0, 1, w(0))]);
}

#[test]
fn the_stop_of_an_old_copy_does_not_let_go_of_the_worker_of_the_present_one() {
    let mut stage = Stage::with_workers(2);
    stage.started(1, request(1));
    let first = stage.last();
    stage.lose(0);
    stage.all_ready();
    stage.come_up(0);
    stage.lose(1);
    let third = stage.last();
    assert_eq!((third.worker, third.generation), (first.worker, 3));
    stage.ready(&third);
    assert_eq!(stage.holds(0), 1);
    stage.ready(&first);
    assert_eq!((stage.stops.last(), stage.holds(0)), (Some(&(0, 1, w(0))), 1));
    stage.actor(ActorEvent::End(p(1)));
    assert_eq!(stage.holds(0), 0);
}

#[test]
fn a_process_that_was_restarted_in_place_gets_its_actors_anew() {
    let mut stage = Stage::with_workers(1);
    stage.started(1, request(1));
    let launch = stage.session.worker(w(0)).unwrap().launch;
    stage.tell(Event::Connected { worker: w(0), launch, incarnation: "new".into() });
    assert_eq!((stage.last().worker, stage.last().generation, stage.holds(0)), (w(0), 2, 1));
}
