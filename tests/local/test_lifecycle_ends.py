"""However a driver ends, its workers and all their files are gone soon after.

Workers have spilled before each end. Not covered: a worker and its driver that are killed at the same moment; the next
session of the user sweeps what they leave (tests of the allocator).
"""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.local.checkpoint import Heartbeat
from tests.local.remote_driver import RemoteDriver, files_below, is_alive, poll, send_signal, wait_until_gone

GONE_SECONDS = 30.0
"""Enough on a busy machine, and less than what runs then would last by itself: 60 s."""
ORPHAN_SECONDS = 5.0

SPILL = "kept = daft.range(4_000_000, partitions=4).repartition(4, 'id').collect()"
SPILLING = {"worker_memory": "256Mi", "store_memory_share": 0.05, "orphan_timeout_seconds": ORPHAN_SECONDS}

# One call of this UDF lasts longer than any test waits for an end.
ENDLESS = """
@daft.func.batch(return_dtype=daft.DataType.int64())
def endless(values):
    Heartbeat({path!r}).beat_for(60)
    return values

df.with_column('c', endless(col('id'))).collect()
"""

WITHOUT_LIFELINE = """
from daft_k8s.allocation import local
with_lifeline = local.worker_environment
without = {"DAFT_K8S_INTERNAL_LIFELINE_FD": "-1"}
local.worker_environment = lambda *args, **kwargs: {**with_lifeline(*args, **kwargs), **without}
"""


def spill(driver: RemoteDriver) -> list[int]:
    """Lets workers spill; returns the process ids of all processes below the driver."""
    driver.run(SPILL)
    poll(
        lambda: any(
            "worker-" in name and "/" in name.partition("worker-")[2] for name in files_below(driver.spill_dir)
        ),
        GONE_SECONDS,
        "no worker has spilled",
    )
    pids = [process.pid for process in driver.processes()]
    assert len(pids) >= 2
    return pids


def run_endlessly(driver: RemoteDriver, path: Path) -> None:
    """Begins a query that does not end by itself as the driver's last step, and returns once its UDF runs."""
    driver.send(ENDLESS.format(path=str(path)), last=True)
    Heartbeat(path).wait_for_beat()


def assert_nothing_is_left(driver: RemoteDriver, pids: list[int], since: float, seconds: float) -> None:
    wait_until_gone(pids, since + seconds - time.monotonic())
    poll(
        lambda: files_below(driver.spill_dir) == [],
        max(0.1, since + seconds - time.monotonic()),
        lambda: f"there still is {files_below(driver.spill_dir)}",
    )


@pytest.mark.parametrize(
    ("ending", "status"),
    [
        ("", 0),
        ("sys.exit(3)", 3),
        ("raise ValueError('on purpose')", 1),
        ("session.shutdown()", 0),
    ],
    ids=["end", "sys.exit", "exception", "shutdown"],
)
def test_however_the_driver_ends_its_workers_end_before_it(tmp_path: Path, ending: str, status: int) -> None:
    with RemoteDriver(tmp_path, **SPILLING) as driver:
        pids = spill(driver)
        driver.send(ending, last=True)
        assert driver.wait(GONE_SECONDS) == status, driver.log()
        # The driver waits for its workers before it ends, so there is nothing left to wait for here.
        assert [pid for pid in pids if is_alive(pid)] == []
        assert files_below(driver.spill_dir) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_in_mid_query_ends_the_driver_and_its_workers(tmp_path: Path, number: signal.Signals) -> None:
    with RemoteDriver(tmp_path, **SPILLING) as driver:
        pids = spill(driver)
        run_endlessly(driver, tmp_path / "beat")
        driver.process.send_signal(number)
        assert driver.wait(GONE_SECONDS) == (-number if number == signal.SIGINT else 128 + number), driver.log()
        assert [pid for pid in pids if is_alive(pid)] == []
        assert files_below(driver.spill_dir) == []


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "in mid-query"])
def test_workers_of_a_driver_that_is_killed_end_because_they_hold_a_pipe_of_it(tmp_path: Path, busy: bool) -> None:
    # The orphan time-out alone would take longer than the test waits.
    with RemoteDriver(tmp_path, **{**SPILLING, "orphan_timeout_seconds": 60}) as driver:
        pids = spill(driver)
        if busy:
            run_endlessly(driver, tmp_path / "beat")
        killed = send_signal(driver.process.pid, signal.SIGKILL)
        assert_nothing_is_left(driver, pids, killed, GONE_SECONDS)


def test_workers_that_hear_nothing_of_their_driver_end_after_the_orphan_time_out(tmp_path: Path) -> None:
    with RemoteDriver(tmp_path, before=WITHOUT_LIFELINE, **SPILLING) as driver:
        pids = spill(driver)
        run_endlessly(driver, tmp_path / "beat")
        killed = send_signal(driver.process.pid, signal.SIGKILL)
        assert_nothing_is_left(driver, pids, killed, ORPHAN_SECONDS + GONE_SECONDS)
        assert time.monotonic() - killed > ORPHAN_SECONDS / 2  # else it was not the time-out that ended them
