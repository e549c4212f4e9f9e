"""The extension logs through Python's logging, with fields, off the thread that logs, and never in its way.

Not covered: what is logged.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterator

import pytest

from daft_k8s._native import flush_log, log_to
from daft_k8s.worker.abandoned_calls import LOG_THREAD, calls_from_outside
from tests.unit.test_native_callbacks import SECONDS, Launcher, Loop, manager_of

ROOM = 4096


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    # What the tests before have logged goes to their loggers.
    assert flush_log(SECONDS)
    logger = logging.Logger("test")
    log_to(logger)
    yield logger
    assert flush_log(SECONDS)
    log_to(logging.getLogger("daft_k8s"))


def keep(logger: logging.Logger, on_record: Callable[[logging.LogRecord], None]) -> None:
    handler = logging.Handler()
    handler.emit = on_record  # type: ignore[method-assign]
    logger.addHandler(handler)


def test_a_record_has_its_text_and_its_fields_and_comes_on_a_thread_of_its_own(logger: logging.Logger) -> None:
    records: list[logging.LogRecord] = []
    threads: set[int] = set()
    keep(logger, records.append)
    keep(logger, lambda record: threads.add(threading.get_ident()))
    with manager_of(Loop(), Launcher()) as manager:
        manager.set_desired_workers(1)
        manager.worker_exited("worker-0", 1, "no such image", False, "never_started")
        assert flush_log(SECONDS)
        # The end of the manager logs as well.
        launch, gone = list(records)
    assert (launch.levelno, launch.getMessage()) == (logging.DEBUG, "worker-0: launch 1")
    assert (vars(launch)["worker"], vars(launch)["launch"]) == ("worker-0", 1)
    assert gone.levelno == logging.INFO
    assert "no such image" in gone.getMessage()
    assert launch.threadName == LOG_THREAD
    assert threads.isdisjoint({threading.get_ident()})


def test_a_handler_that_hangs_is_no_call_of_a_task(logger: logging.Logger) -> None:
    writers: list[int] = []
    gate, entered = threading.Event(), threading.Event()

    def emit(record: logging.LogRecord) -> None:
        writers.append(threading.get_ident())
        entered.set()
        assert gate.wait(SECONDS)

    keep(logger, emit)
    with manager_of(Loop(), Launcher()) as manager:
        manager.set_desired_workers(1)
        assert entered.wait(SECONDS)
        calls = calls_from_outside()
        gate.set()
    assert writers[0] not in calls


def test_records_below_the_level_are_not_made_and_a_change_of_it_counts_from_the_next_query_on(
    logger: logging.Logger,
) -> None:
    records: list[logging.LogRecord] = []
    keep(logger, records.append)
    logger.setLevel(logging.INFO)
    log_to(logger)
    with manager_of(Loop(), Launcher()) as manager:
        manager.set_desired_workers(1)
        assert flush_log(SECONDS)
        assert records == []
        logger.setLevel(logging.DEBUG)
        manager.begin_query("q")
        manager.set_desired_workers(2)
        assert flush_log(SECONDS)
        assert [record.getMessage() for record in records] == ["worker-1: launch 1"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_logger_that_raises_is_called_again_with_the_next_record(logger: logging.Logger) -> None:
    messages: list[str] = []

    def emit(record: logging.LogRecord) -> None:
        messages.append(record.getMessage())
        raise MemoryError("not now")

    keep(logger, emit)
    with manager_of(Loop(), Launcher()) as manager:
        manager.set_desired_workers(2)
        assert flush_log(SECONDS)
        assert messages == ["worker-0: launch 1", "worker-1: launch 1"]


def test_a_handler_that_hangs_holds_up_no_decision_and_what_is_dropped_is_counted(logger: logging.Logger) -> None:
    messages: list[str] = []
    gate, entered = threading.Event(), threading.Event()

    def emit(record: logging.LogRecord) -> None:
        entered.set()
        assert gate.wait(SECONDS)
        messages.append(record.getMessage())

    keep(logger, emit)
    with manager_of(Loop(), Launcher()) as manager:
        manager.set_desired_workers(1)
        assert entered.wait(SECONDS)
        for _ in range(ROOM):
            manager.set_desired_workers(0)
            manager.set_desired_workers(1)
        assert not flush_log(0.01)
        gate.set()
        assert flush_log(SECONDS)
        manager.set_desired_workers(0)
        assert flush_log(SECONDS)
    [told] = [message for message in messages if "were dropped" in message]
    [dropped] = re.findall(r"^(\d+) log records", told)
    assert int(dropped) + len(messages) - 1 == 2 * ROOM + 2
