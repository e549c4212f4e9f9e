"""Actors in a worker, with real processes of a small class: order, replacement, ends. No driver and no other worker."""

from __future__ import annotations

import dataclasses
import os
import queue
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import psutil
import pytest
from daft.pickle import dumps

from daft_k8s.wire.actor_messages import ActorSpec, decode_message, encode_call, result_of
from daft_k8s.wire.calls import ActorEvent
from daft_k8s.worker import actor_channel
from daft_k8s.worker.actor_host import ActorGoneError, HostedActor

SECONDS = 20.0
Made = tuple[HostedActor, "queue.Queue[tuple[ActorEvent, str]]"]


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


class KilledWhenMadeAgain:
    """Killed in its second construction, and in those up to the last."""

    def __init__(self, path: str, last: int) -> None:
        made = Path(path)
        count = int(made.read_text()) + 1 if made.exists() else 1
        made.write_text(str(count))
        if 2 <= count <= last:
            os.kill(os.getpid(), signal.SIGKILL)

    def pid(self) -> int:
        return os.getpid()


def spec(start: int | None = 0, **changes: Any) -> ActorSpec:
    whole = ActorSpec("UDF f", f"{__name__}:Counter", dumps((start,)), 1.0, SECONDS, 2)
    return dataclasses.replace(whole, **changes)


@pytest.fixture
def make() -> Iterator[Any]:
    made: list[HostedActor] = []

    def begin(wanted: ActorSpec) -> Made:
        news: queue.Queue[tuple[ActorEvent, str]] = queue.Queue()
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
    return result_of(decode_message(answer.result(SECONDS)), "the actor")


def wait_until_running(answer: Future[Any]) -> None:
    end = time.monotonic() + SECONDS
    while not answer.running():
        assert time.monotonic() < end
        time.sleep(0.01)


def spoil_next_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def receive_half(sock: socket.socket) -> bytearray | None:
        sock.recv(8)
        monkeypatch.undo()
        raise MemoryError("no room for the answer")

    monkeypatch.setattr(actor_channel, "receive", receive_half)


def test_calls_are_made_one_after_the_other_on_one_object(make: Any) -> None:
    actor, news = make(spec(start=10))
    answers = [actor.call(encode_call("add", (number,))) for number in (1, 2, 3)]
    assert [result(answer) for answer in answers] == [11, 13, 16]
    assert news.get(timeout=SECONDS) == (ActorEvent.READY, "")


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
    assert [news.get(timeout=SECONDS)[0] for _ in range(4)] == [
        ActorEvent.READY,
        ActorEvent.RESTARTING,
        ActorEvent.RESTARTING,
        ActorEvent.FAILED,
    ]


def test_an_actor_whose_state_matters_is_never_replaced(make: Any) -> None:
    actor, _ = make(spec(max_restarts=0))
    with pytest.raises(Exception, match="held what is lost now: run the query again"):
        call(actor, "end")


def test_a_constructor_that_exits_is_told_with_its_last_lines(make: Any) -> None:
    actor, news = make(spec(start=None))
    event, message = news.get(timeout=SECONDS)
    assert event is ActorEvent.FAILED, "it would exit again"
    assert "exited with code 3" in message
    assert "no start" in message
    with pytest.raises(ActorGoneError):
        call(actor, "pid")


def test_a_constructor_that_is_killed_is_told_as_such_with_the_signal_and_the_machine(make: Any) -> None:
    _, news = make(spec(factory="os:kill", arguments=dumps((0, signal.SIGKILL))))
    event, message = news.get(timeout=SECONDS)
    assert event is ActorEvent.KILLED, "another try may go better"
    assert f"the process of actor 0 of UDF f on {socket.gethostname()}, which ran its constructor, was" in message
    assert "was killed by SIGKILL; out of memory?" in message


def test_an_actor_that_is_killed_in_its_constructor_when_it_is_replaced_is_replaced_again(
    make: Any, tmp_path: Path
) -> None:
    made = tmp_path / "made"
    actor, _ = make(spec(factory=f"{__name__}:KilledWhenMadeAgain", arguments=dumps((str(made), 2)), max_restarts=2))
    first = call(actor, "pid")
    os.kill(first, signal.SIGKILL)
    assert call(actor, "pid") != first
    assert made.read_text() == "3"


def test_a_constructor_that_takes_too_long_is_killed(make: Any) -> None:
    _, news = make(spec(factory="time:sleep", arguments=dumps((600,)), start_timeout_seconds=0.5))
    event, message = news.get(timeout=SECONDS)
    assert event is ActorEvent.LATE
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
    assert [news.get(timeout=SECONDS)[0], news.empty()] == [ActorEvent.READY, True]


def test_an_answer_that_cannot_be_taken_costs_the_actor_its_process_but_spoils_no_later_answer(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    actor, _ = make(spec(start=10))
    first = call(actor, "pid")
    spoil_next_answer(monkeypatch)
    with pytest.raises(MemoryError, match="no room"):
        call(actor, "fill", 100)
    assert call(actor, "add", 1) == 11
    assert call(actor, "pid") != first


def test_a_call_that_was_not_begun_may_be_made_elsewhere_when_no_constructor_comes_through(
    make: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    arguments = dumps((str(tmp_path / "made"), 9))
    actor, _ = make(spec(factory=f"{__name__}:KilledWhenMadeAgain", arguments=arguments, max_restarts=2))
    call(actor, "pid")
    spoil_next_answer(monkeypatch)
    with pytest.raises(MemoryError, match="no room"):
        call(actor, "pid")
    with pytest.raises(ActorGoneError, match=r"SIGKILL[\s\S]*was replaced 2 times, and is not again"):
        call(actor, "pid")
