"""Actors in a worker, with real processes of a small class: order, replacement, ends. No driver and no other worker."""

from __future__ import annotations

import os
import queue
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import psutil
import pytest
from daft.pickle import dumps

from daft_k8s.actor_messages import ActorSpec, Answer, decode_message, encode_call, result_of
from daft_k8s.worker import actor_channel
from daft_k8s.worker.actor_host import ActorGoneError, HostedActor

SECONDS = 20.0
Made = tuple[HostedActor, "queue.Queue[tuple[str, str]]"]


class Counter:
    """What the actors are."""

    def __init__(self, start: int | None) -> None:
        if start is None:
            print("no start", flush=True)
            os._exit(3)
        self.count = start

    def add(self, number: int) -> int:
        self.count += number
        return self.count

    def pid(self) -> int:
        return os.getpid()

    def end(self) -> None:
        os._exit(5)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def fork_and_end(self) -> None:
        if os.fork() == 0:
            time.sleep(600)
            os._exit(0)
        os._exit(5)

    def fill(self, size: int) -> bytes:
        return bytes(size)


def spec(start: int | None = 0, **changes: Any) -> ActorSpec:
    whole = ActorSpec("actor 0 of UDF f", f"{__name__}:Counter", dumps((start,)), 1, 1.0, (), SECONDS, 2)
    return whole._replace(**changes)


@pytest.fixture
def make() -> Iterator[Any]:
    made: list[HostedActor] = []

    def begin(wanted: ActorSpec) -> Made:
        news: queue.Queue[tuple[str, str]] = queue.Queue()
        path = os.pathsep.join([os.getcwd(), os.environ.get("PYTHONPATH", "")])
        actor = HostedActor(
            wanted, {**os.environ, "PYTHONPATH": path}, lambda event, _spec, message, _error: news.put((event, message))
        )
        made.append(actor)
        return actor, news

    yield begin
    for actor in made:
        actor.kill()
        actor.join(SECONDS)


def call(actor: HostedActor, method: str, *arguments: Any) -> Any:
    return result(actor.call(encode_call(method, arguments)))


def result(answer: Future[Any]) -> Any:
    return result_of(Answer(*decode_message(answer.result(SECONDS))), "the actor")


def wait_until_running(answer: Future[Any]) -> None:
    end = time.monotonic() + SECONDS
    while not answer.running():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_calls_are_made_one_after_the_other_on_one_object(make: Any) -> None:
    actor, news = make(spec(start=10))
    answers = [actor.call(encode_call("add", (number,))) for number in (1, 2, 3)]
    assert [result(answer) for answer in answers] == [11, 13, 16]
    assert news.get(timeout=SECONDS) == ("ready", "")


def test_an_actor_that_is_killed_between_two_calls_is_replaced_for_the_next(make: Any) -> None:
    actor, _ = make(spec())
    first = call(actor, "pid")
    os.kill(first, signal.SIGKILL)
    assert call(actor, "pid") != first


def test_an_actor_is_replaced_no_more_often_than_it_may_be(make: Any) -> None:
    actor, news = make(spec(max_restarts=2))
    with pytest.raises(Exception, match=r"exited with code 5[\s\S]*was replaced 2 times, and is not again"):
        call(actor, "end")
    with pytest.raises(ActorGoneError):
        call(actor, "pid")
    assert [news.get(timeout=SECONDS)[0] for _ in range(4)] == ["ready", "restarting", "restarting", "failed"]


def test_an_actor_whose_state_matters_is_never_replaced(make: Any) -> None:
    actor, _ = make(spec(max_restarts=0))
    with pytest.raises(Exception, match="held what is lost now: run the query again"):
        call(actor, "end")


def test_a_constructor_that_exits_is_told_with_its_last_lines(make: Any) -> None:
    actor, news = make(spec(start=None))
    event, message = news.get(timeout=SECONDS)
    assert event == "failed"
    assert "exited with code 3" in message
    assert "no start" in message
    with pytest.raises(ActorGoneError):
        call(actor, "pid")


def test_a_constructor_that_takes_too_long_is_killed(make: Any) -> None:
    _, news = make(spec(factory="time:sleep", arguments=dumps((600,)), start_timeout_seconds=0.5))
    event, message = news.get(timeout=SECONDS)
    assert event == "failed"
    assert "was not done after 0.5 s" in message


def test_a_stop_lets_the_current_call_end_and_refuses_the_next(make: Any) -> None:
    actor, _ = make(spec())
    pid = call(actor, "pid")
    current, next_one = actor.call(encode_call("sleep", (0.5,))), actor.call(encode_call("add", (1,)))
    wait_until_running(current)
    actor.stop()
    with pytest.raises(ActorGoneError):
        next_one.result(SECONDS)
    assert result(current) is None
    actor.join(SECONDS)
    assert not psutil.pid_exists(pid)


def test_a_stop_does_not_wait_for_a_call_without_end(make: Any) -> None:
    actor, _ = make(spec())
    pid = call(actor, "pid")
    current = actor.call(encode_call("sleep", (600,)))
    wait_until_running(current)
    actor.stop()
    with pytest.raises(Exception, match="SIGKILL"):
        result(current)
    actor.join(SECONDS)
    assert not psutil.pid_exists(pid)


def test_an_actor_that_dies_is_noticed_though_a_process_that_it_forked_lives_on(make: Any) -> None:
    actor, _ = make(spec(max_restarts=0))
    with pytest.raises(Exception, match="exited with code 5"):
        call(actor, "fork_and_end")


def test_a_stop_ends_an_actor_for_which_a_call_waits_that_nobody_wants_any_more(make: Any) -> None:
    actor, news = make(spec())
    pid = call(actor, "pid")
    current, unwanted = actor.call(encode_call("sleep", (0.5,))), actor.call(encode_call("pid", ()))
    wait_until_running(current)
    assert unwanted.cancel()
    actor.stop()
    assert result(current) is None
    actor.join(SECONDS)
    assert not psutil.pid_exists(pid)
    assert [news.get(timeout=SECONDS)[0], news.empty()] == ["ready", True]


def test_an_answer_that_cannot_be_taken_costs_the_actor_its_process_but_spoils_no_later_answer(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    actor, _ = make(spec(start=10))
    first = call(actor, "pid")

    def receive_half(sock: socket.socket) -> bytearray | None:
        sock.recv(8)
        monkeypatch.undo()
        raise MemoryError("no room for the answer")

    monkeypatch.setattr(actor_channel, "receive", receive_half)
    with pytest.raises(MemoryError, match="no room"):
        call(actor, "fill", 100)
    assert call(actor, "add", 1) == 11
    assert call(actor, "pid") != first
