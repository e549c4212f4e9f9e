"""What a worker writes: it stays in its own output, and a copy is sent to the driver.

Not covered: the streams of a real worker (tests/local/test_worker_output.py).
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from daft_k8s.wire.calls import Done, PrintLines
from daft_k8s.wire.codec import decode, encode
from daft_k8s.worker import output
from daft_k8s.worker.output import OutputCopy

Answer = Callable[[bytes | None, str | None], None]


class Driver:
    """Keeps what it is sent; answers when it is told to."""

    def __init__(self) -> None:
        self.batches: list[PrintLines] = []
        self.answer: Answer | None = None

    def call_driver(self, target: str, payload: bytes, callback: Answer) -> None:
        assert target == "PrintLines"
        assert self.answer is None, "one batch at a time"
        self.batches.append(decode(payload))
        self.answer = callback

    def take(self) -> None:
        answer, self.answer = self.answer, None
        assert answer is not None
        answer(encode(Done()), None)

    @property
    def lines(self) -> list[str]:
        return [line for batch in self.batches for line in batch.lines]


@pytest.fixture
def driver() -> Driver:
    return Driver()


def bound(driver: Driver) -> OutputCopy:
    copy = OutputCopy()
    copy.bind(driver, asyncio.get_running_loop())
    return copy


async def taken(driver: Driver, copy: OutputCopy) -> None:
    """Answers until nothing is left."""
    flushed = asyncio.ensure_future(copy.flush(20))
    while not flushed.done():
        if driver.answer is not None:
            driver.take()
        await asyncio.sleep(0.01)


def test_a_line_is_sent_at_once_and_those_that_come_before_the_answer_together(driver: Driver) -> None:
    async def run() -> None:
        copy = bound(driver)
        copy.feed(b"first\n")
        assert driver.lines == ["first"], "before its task has gone on, which may crash"
        copy.feed(b"second\nthi")
        copy.feed(b"rd\n")
        assert len(driver.batches) == 1
        await taken(driver, copy)

    asyncio.run(run())
    assert [batch.lines for batch in driver.batches] == [("first",), ("second", "third")]


def test_lines_from_before_the_driver_came_are_sent_when_it_does(driver: Driver) -> None:
    async def run() -> None:
        copy = OutputCopy()
        copy.feed(b"early\n")
        copy.bind(driver, asyncio.get_running_loop())

    asyncio.run(run())
    assert driver.lines == ["early"]


def test_a_flood_keeps_the_last_lines_and_counts_the_others(driver: Driver) -> None:
    async def run() -> None:
        copy = bound(driver)
        for number in range(100_000):
            copy.feed(b"line %d\n" % number)
        await taken(driver, copy)

    asyncio.run(run())
    lines = driver.lines
    assert lines[0] == "line 0"
    assert lines[-1] == "line 99999"
    assert sum(batch.dropped for batch in driver.batches) + len(lines) == 100_000
    assert driver.batches[1].dropped > 0, "told where they are missing"
    assert sum(len(line) + 1 for line in lines[1:]) <= output.WAITING_BYTES


def test_a_line_without_an_end_is_sent_when_the_worker_stops(driver: Driver) -> None:
    async def run() -> None:
        copy = bound(driver)
        copy.feed(b"no end")
        assert driver.lines == []
        await taken(driver, copy)

    asyncio.run(run())
    assert driver.lines == ["no end"]


def test_a_stop_does_not_wait_for_a_driver_that_is_gone(driver: Driver) -> None:
    async def run() -> None:
        copy = bound(driver)
        copy.feed(b"never taken\n")
        await copy.flush(0.05)

    begun = time.monotonic()
    asyncio.run(run())
    assert time.monotonic() - begun < 10


def test_of_a_progress_bar_the_last_state_is_sent_and_a_line_that_never_ends_is_cut(driver: Driver) -> None:
    async def run() -> None:
        copy = bound(driver)
        copy.feed(b"\r 10%\r 50%\r100%\r\n")
        copy.feed(b"x" * (2 * output.LINE_BYTES + 1))
        await taken(driver, copy)

    asyncio.run(run())
    assert driver.lines[0] == "100%"
    assert [len(line) for line in driver.lines[1:]] == [output.LINE_BYTES, output.LINE_BYTES, 1]


PROGRAM = """
import os, sys, threading
from daft_k8s.worker.output import copy_output
class Driver:
    def call_driver(self, target, payload, callback):
        os.write(9, payload)
copy = copy_output()
copy.bind(Driver(), None)
print("line", 1)
"""


def run(rest: str, *flags: str) -> tuple[bytes, bytes]:
    """Runs PROGRAM and more; returns what it wrote, and what it sent."""
    command = ["bash", "-c", 'exec "$@" 9>&2 2>&1', "bash", sys.executable, *flags, "-c", PROGRAM + rest]
    done = subprocess.run(command, capture_output=True, timeout=60)
    return done.stdout, done.stderr


@pytest.mark.parametrize("flags", [(), ("-u",)])
def test_a_crash_right_after_a_print_loses_it_neither_here_nor_at_the_driver(flags: tuple[str, ...]) -> None:
    assert run("os._exit(1)", *flags) == (b"line 1\n", encode(PrintLines(0, ("line 1",))))


def test_without_buffering_a_crash_does_not_lose_a_line_without_its_end() -> None:
    written, _ = run("sys.stderr.write('and then'); os._exit(1)", "-u")
    assert written == b"line 1\nand then"


def test_a_forked_child_writes_and_does_not_send() -> None:
    rest = """
with copy._lock:  # as another thread might hold it
    child = os.fork()
if child == 0:
    print("child")
    os._exit(0)
os.waitpid(child, 0)
"""
    assert run(rest) == (b"line 1\nchild\n", encode(PrintLines(0, ("line 1",))))


def test_bytes_and_the_descriptor_of_the_streams_are_there_as_usual() -> None:
    written, _ = run("sys.stdout.buffer.write(b'\\xff\\n'); sys.stdout.flush(); assert sys.stderr.fileno() == 2")
    assert written == b"line 1\n\xff\n"
