"""Who is silent, and who cannot be heard, in virtual time."""

from __future__ import annotations

import pytest

from daft_k8s.kube.reach.failure_detector import DOUBT_SECONDS, FailureDetector


def test_who_has_never_been_heard_is_not_missed() -> None:
    detector = FailureDetector(20)
    assert not detector.raises_doubt(1000)
    assert detector.api_answers(1000) == []


def test_who_is_silent_while_the_api_server_answers_is_lost_once() -> None:
    detector = FailureDetector(20)
    detector.heard("a", 0)
    detector.heard("b", 15)
    assert not detector.raises_doubt(DOUBT_SECONDS - 1)
    assert detector.raises_doubt(DOUBT_SECONDS)
    assert detector.api_answers(19) == []
    assert detector.api_answers(20) == [("a", 20)]
    assert detector.api_answers(21) == []
    assert detector.api_answers(36) == [("b", 21)]


def test_the_time_without_the_api_server_counts_for_nobody() -> None:
    detector = FailureDetector(20)
    detector.heard("a", 0)
    detector.heard("b", 55)
    detector.api_is_away(6)
    assert detector.raises_doubt(7)  # whether it is back
    detector.api_is_away(59)
    assert detector.api_answers(60) == []
    assert not detector.raises_doubt(61)
    assert detector.api_answers(79) == []
    assert detector.api_answers(80) == [("a", 20), ("b", 20)]


def test_who_speaks_again_begins_anew() -> None:
    detector = FailureDetector(20)
    detector.heard("a", 0)
    detector.heard("a", 19)
    assert detector.api_answers(38) == []
    assert detector.api_answers(39) == [("a", 20)]


def test_nobody_asks_about_who_is_forgotten() -> None:
    detector = FailureDetector(20)
    detector.heard("a", 0)
    detector.forget("a")
    detector.forget("a")
    assert not detector.raises_doubt(100)
    assert detector.api_answers(100) == []


def test_a_short_limit_is_looked_at_in_time() -> None:
    detector = FailureDetector(2)
    detector.heard("a", 0)
    assert detector.raises_doubt(1)


ON_TWO_NODES = {"a": "node-1", "b": "node-2"}


def silences_of_two() -> FailureDetector:
    detector = FailureDetector(20)
    detector.heard("a", 0)
    detector.heard("b", 1)
    return detector


def test_an_api_server_that_answers_and_reaches_no_node_is_as_good_as_away() -> None:
    detector = silences_of_two()
    assert not detector.has_no_way(ON_TWO_NODES, DOUBT_SECONDS)  # b may yet be heard
    assert detector.has_no_way(ON_TWO_NODES, 1 + DOUBT_SECONDS)
    detector.api_is_away(7)
    assert detector.has_no_way(ON_TWO_NODES, 8)  # for as long as it stays so, however short their silence is now
    assert detector.api_answers(9) == []
    assert not detector.has_no_way(ON_TWO_NODES, 10)
    assert detector.has_no_way(ON_TWO_NODES, 9 + DOUBT_SECONDS)


def test_whom_the_api_server_cannot_reach_is_lost_if_it_reaches_another() -> None:
    detector = silences_of_two()
    assert not detector.has_no_way({"a": "node-1"}, 20)
    assert detector.api_answers(20) == [("a", 20)]


@pytest.mark.parametrize("nodes", [{"a": "node-1", "b": "node-1"}, {"a": "node-1", "b": ""}, {"a": "", "b": ""}])
def test_all_on_one_node_are_lost_with_it(nodes: dict[str, str]) -> None:
    detector = silences_of_two()
    assert not detector.has_no_way(nodes, 20)
    assert detector.api_answers(21) == [("a", 21), ("b", 20)]


def test_the_only_worker_that_is_known_is_lost_though_another_starts() -> None:
    detector = FailureDetector(20)
    detector.heard("a", 0)
    assert not detector.has_no_way(ON_TWO_NODES, 20)


def test_where_nobody_is_known_nobody_is_cut_off() -> None:
    assert not FailureDetector(20).has_no_way({}, 20)
