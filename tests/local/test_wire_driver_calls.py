"""The stream on which a worker calls its driver; the driver is made of grpcio.

Not covered: what is called (the limit's tests), and our own driver's memory of its answers (the session's tests).
"""

from __future__ import annotations

import queue
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.local.wire_peers import RIGHT, SECONDS, InProcess, metadata, pb, worker_in_process


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[InProcess]:
    with worker_in_process(tmp_path) as worker:
        yield worker


class CallStream:
    """The driver's end of DriverCalls."""

    def __init__(self, stub: Any) -> None:
        self._answers: queue.Queue[pb.DriverReply | None] = queue.Queue()
        self._calls = stub.DriverCalls(iter(self._answers.get, None), metadata=metadata(RIGHT), timeout=SECONDS)

    def next(self) -> pb.WorkerCall:
        return next(self._calls)

    def answer(self, call_id: int, **outcome: Any) -> None:
        self._answers.put(pb.DriverReply(call_id=call_id, **outcome))

    def break_off(self) -> None:
        self._calls.cancel()
        self._answers.put(None)


class Caller:
    """The worker's end: makes calls and keeps what comes back."""

    def __init__(self, worker: InProcess) -> None:
        self._worker = worker
        self.replies: queue.Queue[tuple[str, bytes | None, str | None]] = queue.Queue()

    def call(self, target: str, payload: bytes = b"") -> None:
        callback = lambda reply, error: self.replies.put((target, reply, error))  # noqa: E731
        self._worker.server.call_driver(target, payload, callback)

    def reply(self) -> tuple[str, bytes | None, str | None]:
        return self.replies.get(timeout=SECONDS)


def test_a_call_is_answered_with_a_payload_or_an_error(worker: InProcess) -> None:
    caller = Caller(worker)
    with worker.control() as stub:
        stream = CallStream(stub)
        for target in ("limit/1", "limit/2", "limit/3"):
            caller.call(target, b"claim")
        calls = [stream.next() for _ in range(3)]
        assert [(call.target, call.payload) for call in calls] == [(f"limit/{n}", b"claim") for n in (1, 2, 3)]
        stream.answer(calls[2].call_id, payload=b"30 rows")
        stream.answer(calls[0].call_id, error="no such counter")
        stream.answer(calls[1].call_id)
        assert caller.reply() == ("limit/3", b"30 rows", None)
        assert caller.reply() == ("limit/1", None, "no such counter")
        target, payload, error = caller.reply()
        assert (target, payload, "empty" in str(error)) == ("limit/2", None, True)
        stream.break_off()


def test_unanswered_calls_are_made_again_on_the_next_stream_and_answered_ones_are_not(worker: InProcess) -> None:
    caller = Caller(worker)
    caller.call("before any stream")
    with worker.control() as stub:
        first = CallStream(stub)
        caller.call("answered")
        caller.call("unanswered")
        early, answered, unanswered = (first.next() for _ in range(3))
        assert [call.target for call in (early, answered, unanswered)] == [
            "before any stream", "answered", "unanswered"
        ]  # fmt: skip
        first.answer(answered.call_id, payload=b"")
        assert caller.reply() == ("answered", b"", None)
        first.break_off()
    caller.call("between streams")
    with worker.control() as stub:
        second = CallStream(stub)
        again = [second.next() for _ in range(3)]
        assert again[:2] == [early, unanswered], "the same ids, so that the driver knows them again"
        assert again[2].target == "between streams"
        for call in again:
            second.answer(call.call_id, payload=call.target.encode())
            second.answer(call.call_id, error="answered twice")
        second.answer(2**40, payload=b"of a call that was never made")
        for call in again:
            assert caller.reply() == (call.target, call.target.encode(), None)
        caller.call("last")
        second.answer(second.next().call_id, payload=b"")
        assert caller.reply() == ("last", b"", None)
        second.break_off()
    assert caller.replies.empty()


def test_a_stream_that_is_opened_while_the_old_one_still_hangs_takes_over_and_ends_it(worker: InProcess) -> None:
    caller = Caller(worker)
    with worker.control() as old_stub, worker.control() as new_stub:
        old = CallStream(old_stub)
        caller.call("a")
        call = old.next()
        new = CallStream(new_stub)
        assert new.next() == call
        caller.call("b")
        assert new.next().target == "b"
        with pytest.raises(StopIteration):
            old.next()
        new.answer(call.call_id, payload=b"rows")
        assert caller.reply() == ("a", b"rows", None)
        new.break_off()
