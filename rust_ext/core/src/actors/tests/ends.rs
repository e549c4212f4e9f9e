//! Ends of pools: with their query, with the last task that uses them, with the session; and their return.

use super::*;

#[test]
fn the_actors_of_a_query_end_with_it() {
    let mut stage = Stage::with_workers(2);
    stage.begin_query("query");
    stage.started(1, request(2));
    stage.bind("query", 1);
    stage.end_query("another");
    assert_eq!(stage.stops, []);
    stage.end_query("query");
    assert_eq!((stage.stops.len(), &*stage.ended), (2, &[p(1)][..]));
    assert!(stage.route(1, 0, &[]).unwrap_err().contains("the query of this actor has ended"));
    assert_eq!((stage.holds(0), stage.holds(1)), (0, 0));
}

#[test]
fn a_pool_that_still_starts_ends_with_the_last_query_that_may_want_it() {
    let mut stage = Stage::with_workers(2);
    ["a", "b"].iter().for_each(|query| stage.begin_query(query));
    stage.start(1, request(1));
    stage.end_query("a");
    assert!(stage.failed.is_empty());
    stage.end_query("b");
    assert_eq!(stage.failure(1), "the query of UDF f has ended");
    assert_eq!(stage.stops.len(), 1);
    assert_eq!(stage.session.next_deadline(), None);
}

#[test]
fn a_pool_that_daft_is_done_with_makes_room_and_comes_back_if_a_task_runs_again() {
    let mut stage = Stage::with_workers(2);
    stage.begin_query("query");
    stage.started(1, request(4));
    stage.retire(1);
    assert_eq!(stage.stops.len(), 4);
    stage.bind("query", 1);
    let asked = stage.call(1, 0, &[]);
    assert_eq!(stage.constructs.len(), 8);
    stage.all_ready();
    assert_eq!(stage.routes[&asked].as_ref().unwrap().1, 2);
    let copies = stage.stops.len() - 4;
    assert_eq!(copies, 4, "the news of the old generation was that of copies");
    stage.release(1);
    assert_eq!(stage.stops.len(), 12);
}

#[test]
fn an_actor_that_came_back_with_its_pool_is_moved_as_often_as_a_new_one() {
    let mut stage = Stage::with_workers(2);
    stage.begin_query("query");
    stage.started(1, request(1));
    stage.retire(1);
    for _ in 0..6 {
        stage.bind("query", 1);
        let asked = stage.call(1, 0, &[]);
        let again = stage.last();
        stage.ready(&again);
        assert!(stage.routes[&asked].is_ok());
        stage.release(1);
    }
    assert_eq!(stage.stops.len(), 7);
    stage.bind("query", 1);
    stage.call(1, 0, &[]);
    stage.all_ready();
    let worker = stage.last().worker;
    stage.lose(worker.0);
    stage.all_ready();
    assert_ne!(stage.last().worker, worker);
    assert!(stage.route(1, 0, &[]).is_ok());
}

#[test]
fn a_pool_that_daft_is_done_with_ends_with_the_last_task_that_uses_it() {
    let mut stage = Stage::with_workers(2);
    stage.begin_query("query");
    stage.started(1, request(2));
    (0..2).for_each(|_| stage.bind("query", 1));
    stage.retire(1);
    stage.release(1);
    assert_eq!((stage.stops.len(), stage.route(1, 0, &[])), (0, Ok((0, 1))));
    stage.release(1);
    assert_eq!(stage.stops.len(), 2);
}

#[test]
fn a_pool_lives_on_between_two_of_its_tasks_until_daft_is_done_with_it() {
    let mut stage = Stage::with_workers(2);
    stage.begin_query("query");
    stage.started(1, request(2));
    stage.bind("query", 1);
    stage.release(1);
    assert_eq!((stage.stops.len(), stage.route(1, 0, &[])), (0, Ok((0, 1))));
}

#[test]
fn a_pool_that_still_starts_is_stopped_with_the_last_task_that_waits_for_it() {
    let mut stage = Stage::with_workers(2);
    stage.begin_query("query");
    stage.start(1, request(2));
    stage.bind("query", 1);
    stage.retire(1);
    assert_eq!(stage.stops.len(), 0);
    stage.release(1);
    assert_eq!((stage.failure(1).as_str(), stage.stops.len()), ("the query of UDF f has ended", 2));
}

#[test]
fn a_pool_that_is_dropped_while_it_starts_is_stopped() {
    let mut stage = Stage::with_workers(2);
    stage.start(1, request(2));
    stage.retire(1);
    assert_eq!((stage.failure(1).as_str(), stage.stops.len()), ("the query of UDF f has ended", 2));
    assert_eq!(stage.session.actor_counts(), [0; 4]);
}

#[test]
fn a_pool_with_a_state_of_its_own_does_not_come_back() {
    let mut stage = Stage::with_workers(2);
    stage.begin_query("query");
    stage.started(1, with_state(1));
    stage.retire(1);
    assert_eq!(stage.ended, [p(1)]);
}

#[test]
fn a_call_of_a_task_that_has_ended_brings_no_actor_back() {
    let mut stage = Stage::with_workers(2);
    stage.begin_query("query");
    stage.started(1, request(2));
    stage.bind("query", 1);
    stage.retire(1);
    stage.release(1);
    let before = stage.constructs.len();
    assert_eq!(stage.route(1, 0, &[(0, 1)]).unwrap_err(), "the tasks that use UDF f have ended");
    assert_eq!(stage.constructs.len(), before);
}

#[test]
fn a_call_that_waits_is_told_when_its_pool_retires() {
    let mut stage = Stage::with_workers(2);
    stage.started(1, request(1));
    let asked = stage.call(1, 0, &[(0, 1)]);
    stage.retire(1);
    assert_eq!(stage.routes[&asked].clone().unwrap_err(), "the tasks that use UDF f have ended");
    assert_eq!(stage.session.next_deadline(), None);
}

#[test]
fn a_pool_that_went_on_with_fewer_actors_comes_back_with_the_same_ones() {
    let mut stage = Stage::with_workers(2);
    stage.begin_query("query");
    stage.start(1, request(3));
    for construct in &stage.constructs.clone()[1..] {
        stage.ready(construct);
    }
    stage.pass(secs(10));
    assert_eq!(stage.started[&p(1)], [1, 2]);
    stage.retire(1);
    stage.bind("query", 1);
    let asked = stage.call(1, 2, &[]);
    let again: Vec<u32> = stage.constructs[3..].iter().map(|construct| construct.actor.number).collect();
    assert_eq!(again, [1, 2]);
    let last = stage.last();
    stage.ready(&last);
    assert_eq!(stage.routes[&asked], Ok((2, 2)));
}

#[test]
fn a_task_that_is_submitted_after_its_query_has_ended_keeps_no_actors() {
    let mut stage = Stage::with_workers(2);
    ["cancelled", "other"].iter().for_each(|query| stage.begin_query(query));
    stage.started(1, request(2));
    stage.end_query("cancelled");
    stage.bind("cancelled", 1);
    assert_eq!((stage.stops.len(), &*stage.ended), (2, &[p(1)][..]));
}

#[test]
fn room_that_an_ended_pool_leaves_goes_to_the_pool_that_waits_longest() {
    let mut stage = Stage::with_gpus(2, 1.0);
    stage.started(1, with_need(2, 1.0, 1.0));
    stage.start(2, with_need(1, 1.0, 1.0));
    stage.start(3, with_need(1, 1.0, 1.0));
    stage.actor(ActorEvent::End(p(1)));
    let pools: Vec<ActorPoolId> = stage.constructs[2..].iter().map(|construct| construct.actor.pool).collect();
    assert_eq!(pools, [p(2), p(3)]);
}

#[test]
fn every_start_and_every_call_is_answered_at_the_end_of_the_session_and_after_it() {
    let mut stage = Stage::with_gpus(2, 1.0);
    stage.started(1, with_need(2, 1.0, 1.0));
    stage.start(2, with_need(1, 1.0, 1.0));
    let asked = stage.call(1, 0, &[(0, 1), (1, 1)]);
    stage.tell(Event::Shutdown);
    assert_eq!((stage.failure(2).as_str(), stage.stops.len()), ("closed", 0));
    assert_eq!(stage.routes[&asked].clone().unwrap_err(), SHUT_DOWN);
    assert_eq!((&*stage.ended, stage.session.actor_counts()), (&[p(1), p(2)][..], [0; 4]));
    stage.start(3, request(1));
    assert_eq!(stage.failure(3), "closed");
    assert!(stage.route(1, 0, &[]).is_err());
    assert_eq!(stage.constructs.len(), 2);
}
