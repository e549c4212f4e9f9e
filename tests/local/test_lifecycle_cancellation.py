"""Work of cancelled queries stops on the workers soon, and the session stays usable.

A UDF of Python cannot be stopped within one call, only between two. Not covered: cancelling what is not Python's,
such as a scan; the same pipelines run both.
"""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.local.checkpoint import Heartbeat
from tests.local.remote_driver import RemoteDriver, poll

STOP_SECONDS = 20.0
"""Enough on a busy machine; the work would go on for a minute."""

# The first partition is there at once; all others take a minute in many short calls.
BEATING = """
@daft.func.batch(return_dtype=daft.DataType.int64(), batch_size=10)
def beat(values):
    if values.to_pylist()[0] >= 1250:
        Heartbeat({path!r}).beat_for(0.25)
    return values

beating = df.with_column("c", beat(col("id")))
"""


def running_tasks(driver: RemoteDriver) -> int:
    return int(
        driver.run("pool = session.snapshot(); answer = pool.unfinished_tasks + sum(w.tasks for w in pool.workers)")
    )


def assert_stops(driver: RemoteDriver, heartbeat: Heartbeat) -> None:
    heartbeat.wait_for_silence(STOP_SECONDS)
    poll(lambda: running_tasks(driver) == 0, STOP_SECONDS, "tasks are still known to the pool")
    assert driver.run("answer = df.where(col('key') == 1).count_rows()") == 1429


def test_dropping_an_iterator_stops_what_still_runs_for_it(tmp_path: Path) -> None:
    heartbeat = Heartbeat(tmp_path / "beat")
    with RemoteDriver(tmp_path) as driver:
        driver.run(BEATING.format(path=heartbeat.path))
        driver.run("rows = beating.iter_rows(); answer = next(rows)")
        heartbeat.wait_for_beat()
        driver.run("del rows")
        assert_stops(driver, heartbeat)


@pytest.mark.parametrize("step", ["beating.collect()", "list(beating.iter_rows())", "beating.sort('c').to_pydict()"])
def test_ctrl_c_stops_the_query_and_leaves_the_session_usable(tmp_path: Path, step: str) -> None:
    heartbeat = Heartbeat(tmp_path / "beat")
    with RemoteDriver(tmp_path) as driver:
        driver.run(BEATING.format(path=heartbeat.path))
        driver.send(step)
        heartbeat.wait_for_beat()
        driver.process.send_signal(signal.SIGINT)
        assert driver.reply(STOP_SECONDS).error == "KeyboardInterrupt"
        assert_stops(driver, heartbeat)


def test_a_failing_task_stops_its_siblings(tmp_path: Path) -> None:
    heartbeat = Heartbeat(tmp_path / "beat")
    with RemoteDriver(tmp_path) as driver:
        driver.run(BEATING.format(path=heartbeat.path))
        driver.send(f"""
@daft.func.batch(return_dtype=daft.DataType.int64())
def fail(values):
    Heartbeat({heartbeat.path!r}).wait_for_beat()
    raise ValueError("on purpose")

one = daft.range(1).with_column("key", col("id")).with_column("c", fail(col("id")))
one.concat(beating.select("id", "key", "c")).collect()
""")
        assert driver.reply().error == "ValueError"
        assert_stops(driver, heartbeat)


HANG = """
@daft.func.batch(return_dtype=daft.DataType.int64(), use_process=False)
def hang(values):
    Heartbeat({path!r}).beat_for(0.1)
    time.sleep(600)
    return values

hanging = daft.range(2, partitions=1).with_column("c", hang(col("id")))
"""


def test_a_udf_that_does_not_return_after_ctrl_c_keeps_no_later_query_waiting(tmp_path: Path) -> None:
    heartbeat = Heartbeat(tmp_path / "beat")
    with RemoteDriver(tmp_path, num_workers=1) as driver:
        [before] = driver.wait_for_workers(1)
        driver.run(HANG.format(path=heartbeat.path))
        driver.send("hanging.collect()")
        heartbeat.wait_for_beat()
        driver.process.send_signal(signal.SIGINT)
        assert driver.reply(STOP_SECONDS).error == "KeyboardInterrupt"
        # Ten seconds after the cancel the process is replaced, which takes a few more.
        assert driver.run("answer = df.where(col('key') == 1).count_rows()") == 1429
        [after] = driver.wait_for_workers(1)
        assert after.pid != before.pid
        driver.wait_for_log(r"worker-0 is replaced.*has not returned for [1-9]\d s: task .* in hang \(")
        assert driver.log().count("is replaced") == 1, driver.log()
        restarts = driver.run("answer = [worker.restarts for worker in session.snapshot().workers]")
        assert restarts == [0], "the worker pays nothing"
