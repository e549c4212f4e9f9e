"""The session's own duties: starting, waiting, routing calls, ending. The pool and allocator are fakes."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from daft_k8s.config import Configuration, load
from daft_k8s.driver import session as session_module
from daft_k8s.driver.session import Session
from daft_k8s.driver.setup import DriverSetup
from daft_k8s.errors import ClusterError, ConfigurationError, SessionClosedError, WorkerStartError

ROOT = Path(__file__).parents[3]


@dataclass
class Pool:
    ready: int = 1
    fail_start: BaseException | None = None
    fail_wait: Exception | None = None
    fail_shutdown: Exception | None = None
    setup: Any = None
    events: list[str] = field(default_factory=list)

    def __call__(self, setup: DriverSetup) -> Any:
        self.setup = setup
        return self

    def set_desired_workers(self, count: int) -> None:
        self.events.append(f"{count} workers")
        if self.fail_start is not None:
            raise self.fail_start

    def ready_count(self) -> int:
        return 0

    def wait_ready(self, count: int, timeout_seconds: float) -> int:
        if self.fail_wait is not None:
            raise self.fail_wait
        return self.ready

    def status(self) -> Any:
        worker = SimpleNamespace(worker_id="worker-0", phase="Starting", launch=1, last_loss=None, waits_for=None)
        return SimpleNamespace(workers=[worker])

    def shutdown(self, timeout_seconds: float) -> None:
        self.events.append("pool closed")
        if self.fail_shutdown is not None:
            raise self.fail_shutdown


class Allocator:
    patience_seconds = 20.0
    cluster_problem = ""

    def __init__(self, events: list[str]) -> None:
        self.events = events

    def worker_ready(self, worker_id: str) -> None:
        self.events.append(f"{worker_id} is ready")

    def shutdown(self, timeout_seconds: float) -> None:
        self.events.append("allocator closed")


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Pool:
    pool = Pool()
    monkeypatch.setattr(session_module, "make_launcher", lambda *_, **__: Allocator(pool.events))
    monkeypatch.setattr(session_module, "exit_on_signals", lambda: None)
    return pool


def configuration(**options: object) -> Configuration:
    return load({"num_workers": 3, "worker_cpu": 2, "worker_memory": "1Gi", **options}, environ={})


def session_with(pool: Pool, **options: object) -> Session:
    loop: Any = SimpleNamespace(call_soon_threadsafe=lambda callback: None)
    return Session(configuration(**options), loop=loop, daft_version="0.7.26", manager_factory=pool)


def test_starting_asks_for_all_workers_once_and_does_not_wait(pool: Pool) -> None:
    session = session_with(pool)
    assert session.start() is session.start()
    assert pool.events == ["3 workers"]
    assert pool.setup.configuration.slots_per_worker == 2
    assert len(pool.setup.token) >= 32
    session.shutdown()


def test_the_allocator_hears_which_workers_the_pool_uses(pool: Pool) -> None:
    with session_with(pool).start():
        pool.setup.on_worker_ready("worker-0")
        assert pool.events == ["3 workers", "worker-0 is ready"]


def test_sessions_have_different_names_and_tokens(pool: Pool) -> None:
    tokens = set()
    for _ in range(2):
        with session_with(pool).start() as session:
            tokens |= {session.session_id, pool.setup.token}
    assert len(tokens) == 4


def test_leaving_the_block_ends_pool_then_allocator_once(pool: Pool) -> None:
    closed: list[str] = []
    with session_with(pool).start() as session:
        session.add_closer(lambda: closed.append("closer"))
    session.shutdown()
    assert pool.events == ["3 workers", "pool closed", "allocator closed"]
    assert closed == ["closer"]
    with pytest.raises(SessionClosedError):
        session.start()


def test_a_pool_that_does_not_close_does_not_keep_the_allocator_from_ending_its_workers(pool: Pool) -> None:
    pool.fail_shutdown = RuntimeError("stuck")
    session_with(pool).start().shutdown()
    assert pool.events[-1] == "allocator closed"


def test_what_is_raised_in_the_block_ends_the_session_and_is_raised(pool: Pool) -> None:
    with pytest.raises(ZeroDivisionError), session_with(pool).start():
        raise ZeroDivisionError
    assert pool.events == ["3 workers", "pool closed", "allocator closed"]


def test_a_session_that_another_thread_ends_while_it_starts_leaves_nothing_behind(pool: Pool) -> None:
    starting, may_go_on = threading.Event(), threading.Event()

    class SlowPool(Pool):
        def set_desired_workers(self, count: int) -> None:
            starting.set()
            assert may_go_on.wait(20)
            super().set_desired_workers(count)

    slow = SlowPool(events=pool.events)
    session = session_with(slow)
    threads = [threading.Thread(target=session.start), threading.Thread(target=session.shutdown)]
    threads[0].start()
    assert starting.wait(20)
    threads[1].start()
    may_go_on.set()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert pool.events == ["3 workers", "pool closed", "allocator closed"]
    assert session.closed
    session.shutdown()
    assert pool.events[3:] == []


@pytest.mark.parametrize("error", [OSError("no more processes"), KeyboardInterrupt()])
def test_a_start_that_fails_leaves_nothing_behind(pool: Pool, error: BaseException) -> None:
    pool.fail_start = error
    session = session_with(pool)
    with pytest.raises(type(error)):
        session.start()
    assert pool.events == ["3 workers", "pool closed", "allocator closed"]
    assert session.closed


def test_workers_that_cannot_start_are_an_error_with_their_reasons(pool: Pool) -> None:
    pool.fail_wait = RuntimeError("worker-0: exit status 1: no module named daft")
    with session_with(pool).start() as session, pytest.raises(WorkerStartError, match="no module named daft"):
        session.wait_for_worker()


def test_a_cluster_that_cannot_be_reached_is_an_error_of_its_own(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Allocator, "cluster_problem", "the cluster cannot be reached at https://c")
    pool.fail_wait = RuntimeError("none of the 3 workers can come up any more")
    with session_with(pool).start() as session, pytest.raises(ClusterError) as caught:
        session.wait_for_worker()
    assert str(caught.value) == "the cluster cannot be reached at https://c"


def test_workers_that_are_slow_to_start_are_an_error_with_the_pools_state(pool: Pool) -> None:
    pool.ready = 0
    words = r"(?s)after 7 s.*start_timeout_seconds.*worker-0: starting"
    with session_with(pool, start_timeout_seconds=7).start() as session, pytest.raises(WorkerStartError, match=words):
        session.wait_for_worker()


def test_pods_of_a_driver_outside_are_refused_without_an_image() -> None:
    loop: Any = asyncio.new_event_loop()
    loop.close()
    with pytest.raises(ConfigurationError, match="image is not set"):
        Session(configuration(allocation="pod"), loop=loop, daft_version="0.7.26").start()


def run(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, cwd=ROOT, check=False
    )


TERMINATION = """
import atexit, os, signal, sys
atexit.register(lambda: print("cleaned up", flush=True))
from daft_k8s.driver.termination import exit_on_signals
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_ends_the_driver_through_its_clean_up(name: str) -> None:
    process = run(TERMINATION + f"exit_on_signals()\nos.kill(os.getpid(), signal.{name})\nsignal.pause()")
    assert (process.stdout, process.returncode) == ("cleaned up\n", 128 + signal.Signals[name]), process.stderr


def test_a_signal_that_the_driver_ignores_stays_ignored_as_under_nohup() -> None:
    process = run(
        TERMINATION
        + "signal.signal(signal.SIGHUP, signal.SIG_IGN)\nexit_on_signals()\nos.kill(os.getpid(), signal.SIGHUP)\n"
        + "print('goes on')"
    )
    assert (process.stdout, process.returncode) == ("goes on\ncleaned up\n", 0), process.stderr


POSTPONED = """
from daft_k8s.driver.termination import signals_postponed
exit_on_signals()
def clean(exits):
    with signals_postponed(exits=exits):
        os.kill(os.getpid(), signal.SIGTERM)
        print("clean-up ends", flush=True)
"""


def test_a_second_signal_does_not_break_off_the_clean_up_that_the_first_one_began() -> None:
    process = run(
        TERMINATION + POSTPONED + "atexit.register(clean, True)\nos.kill(os.getpid(), signal.SIGHUP)\nsignal.pause()"
    )
    assert (process.stdout, process.returncode) == ("clean-up ends\ncleaned up\n", 128 + signal.SIGHUP)
    assert process.stderr == ""


def test_ctrl_c_during_a_clean_up_is_raised_after_it() -> None:
    interrupts = POSTPONED.replace("signal.SIGTERM", "signal.SIGINT")
    script = "try:\n    clean(False)\nexcept KeyboardInterrupt:\n    print('interrupted')\n"
    process = run(TERMINATION + "signal.signal(signal.SIGINT, signal.default_int_handler)\n" + interrupts + script)
    assert (process.stdout, process.returncode) == ("clean-up ends\ninterrupted\ncleaned up\n", 0), process.stderr


def test_a_signal_during_a_clean_up_in_mid_script_ends_the_script_after_it() -> None:
    process = run(TERMINATION + POSTPONED + "clean(False)\nprint('goes on')")
    assert (process.stdout, process.returncode) == ("clean-up ends\ncleaned up\n", 128 + signal.SIGTERM)


def test_the_users_own_handler_of_sigterm_is_kept() -> None:
    process = run(
        TERMINATION
        + "signal.signal(signal.SIGTERM, lambda *_: print('mine'))\nexit_on_signals()\n"
        + "os.kill(os.getpid(), signal.SIGTERM)"
    )
    assert process.stdout == "mine\ncleaned up\n", process.stderr


FORKED_CHILD = """
exit_on_signals()
readable, writable = os.pipe()
child = os.fork()
if child == 0:
    os.write(writable, b"!")
    while True:
        signal.pause()
os.read(readable, 1)
os.kill(child, signal.SIGTERM)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_forked_child_ends_by_sigterm_as_it_would_have_without_us() -> None:
    process = run(TERMINATION + FORKED_CHILD)
    assert process.stdout == f"{-signal.SIGTERM}\ncleaned up\n", process.stderr
