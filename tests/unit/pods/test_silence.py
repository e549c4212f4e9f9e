"""Who is silent, and who cannot be heard, in virtual time."""

from __future__ import annotations

from daft_k8s.pods.silence import DOUBT_SECONDS, Silences


def test_who_has_never_been_heard_is_not_missed() -> None:
    silences = Silences(20)
    assert not silences.raises_doubt(1000)
    assert silences.api_answers(1000) == []


def test_who_is_silent_while_the_api_server_answers_is_lost_once() -> None:
    silences = Silences(20)
    silences.heard("a", 0)
    silences.heard("b", 15)
    assert not silences.raises_doubt(DOUBT_SECONDS - 1)
    assert silences.raises_doubt(DOUBT_SECONDS)
    assert silences.api_answers(19) == []
    assert silences.api_answers(20) == [("a", 20)]
    assert silences.api_answers(21) == []
    assert silences.api_answers(36) == [("b", 21)]


def test_the_time_without_the_api_server_counts_for_nobody() -> None:
    silences = Silences(20)
    silences.heard("a", 0)
    silences.heard("b", 55)
    silences.api_is_away(6)
    assert silences.raises_doubt(7)  # whether it is back
    silences.api_is_away(59)
    assert silences.api_answers(60) == []
    assert not silences.raises_doubt(61)
    assert silences.api_answers(79) == []
    assert silences.api_answers(80) == [("a", 20), ("b", 20)]


def test_who_speaks_again_begins_anew() -> None:
    silences = Silences(20)
    silences.heard("a", 0)
    silences.heard("a", 19)
    assert silences.api_answers(38) == []
    assert silences.api_answers(39) == [("a", 20)]


def test_nobody_asks_about_who_is_forgotten() -> None:
    silences = Silences(20)
    silences.heard("a", 0)
    silences.forget("a")
    silences.forget("a")
    assert not silences.raises_doubt(100)
    assert silences.api_answers(100) == []


def test_a_short_limit_is_looked_at_in_time() -> None:
    silences = Silences(2)
    silences.heard("a", 0)
    assert silences.raises_doubt(1)
