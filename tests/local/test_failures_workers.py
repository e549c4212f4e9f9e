"""Workers that die, hang or are killed by their task while a query runs: a right answer or one clear error, soon.

The stages are made certain by a UDF that waits at a `Checkpoint` until the test has done its deed. Writes of files are
in test_writes_killed.py. Not covered: a broken network between machines.
"""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.local.checkpoint import Checkpoint
from tests.local.remote_driver import RemoteDriver, Reply, is_alive, poll, send_signal, wait_until_gone

ANSWER_SECONDS = 40.0
"""How soon after a worker's death a query must have ended, on a busy machine."""
UNREACHABLE_SECONDS = 3.0

HOLD = """
@daft.func.batch(return_dtype=daft.DataType.int64())
def hold(values):
    Checkpoint({folder!r}, holds={holds}).pass_by()
    return values

"""
VARYING = """
@daft.func.batch(return_dtype=daft.DataType.int64())
def by_chance(values):
    import random
    return [random.getrandbits(40) for _ in range(len(values))]

df = df.with_column('chance', by_chance(col('id')))
"""
"""Gives the rows other values in each run of a task, so that no lost partition can be recomputed."""
SCAN = "answer = sum(df.with_column('held', hold(col('id'))).to_pydict()['held'])"
MAPS = "answer = sum(df.with_column('held', hold(col('id'))).repartition(6, 'key').to_pydict()['held'])"
REDUCES = "answer = sum(df.repartition(6, 'key').with_column('held', hold(col('id'))).to_pydict()['held'])"
SORT = "answer = sum(df.sort('key').with_column('held', hold(col('id'))).to_pydict()['held'])"
GROUPS = """
groups = df.repartition(6, 'key').groupby('key').agg(col('id').sum()).with_column('held', hold(col('id')))
answer = sum(groups.to_pydict()['held'])
"""
JOIN = """
other = daft.range(10_000, partitions=8).with_column('twice', col('id') * 2)
joined = df.join(other, on='id', strategy='hash').with_column('held', hold(col('id')))
answer = sum(joined.select('held').to_pydict()['held'])
"""
LIMIT = "answer = len(df.repartition(6, 'key').with_column('held', hold(col('id'))).limit(9_000).to_pydict()['held'])"
TOTAL = sum(range(10_000))

Start = Callable[..., RemoteDriver]


def after(since: float, driver: RemoteDriver, seconds: float = ANSWER_SECONDS) -> Reply:
    """The driver's reply, in time; its seconds count from `since`."""
    reply = driver.reply(since + seconds - time.monotonic())
    return reply._replace(seconds=time.monotonic() - since)


def assert_names_the_loss(reply: Reply, worker_id: str, reason: str) -> None:
    assert reply.error == "WorkerLostError", reply
    assert worker_id in reply.text, reply.text
    assert re.search(reason, reply.text), reply.text


def assert_recovers(driver: RemoteDriver, workers: int = 2) -> None:
    """The next query is right, and the pool has its size again."""
    assert driver.run("answer = df.where(col('key') == 1).repartition(3, 'id').count_rows()") == 1429
    driver.wait_for_workers(workers)


def worker_of(driver: RemoteDriver, pid: int) -> str:
    """The worker whose process this is."""
    (worker_id,) = [worker.worker_id for worker in driver.workers() if worker.pid == pid]
    return worker_id


def hold(driver: RemoteDriver, folder: Path, step: str, *, holds: int = 1) -> tuple[Checkpoint, list[int]]:
    """Begins a query, and returns once `holds` of its tasks wait in a UDF; each worker has one slot."""
    checkpoint = Checkpoint(folder, holds=holds)
    driver.send(HOLD.format(folder=str(folder), holds=holds) + step)
    return checkpoint, checkpoint.wait_for_arrivals()


@pytest.mark.parametrize("step", [SCAN, MAPS], ids=["scan", "map"])
def test_tasks_of_a_worker_that_is_killed_run_again_elsewhere(tmp_path: Path, step: str) -> None:
    with RemoteDriver(tmp_path) as driver:
        checkpoint, (pid,) = hold(driver, tmp_path / "hold", step)
        died = send_signal(pid, signal.SIGKILL)
        checkpoint.open()
        reply = after(died, driver)
        assert (reply.answer, reply.error) == (TOTAL, None), reply
        assert_recovers(driver)


def test_a_query_that_loses_what_a_shuffle_has_written_is_run_again_as_a_whole(tmp_path: Path) -> None:
    with RemoteDriver(tmp_path) as driver:
        driver.run(VARYING)
        for number, step in enumerate([REDUCES, SORT, GROUPS, JOIN, LIMIT]):
            checkpoint, (pid,) = hold(driver, tmp_path / f"hold-{number}", step)
            worker_id = worker_of(driver, pid)
            died = send_signal(pid, signal.SIGKILL)
            checkpoint.open()
            reply = after(died, driver)
            assert (reply.answer, reply.error) == (9_000 if step == LIMIT else TOTAL, None), (step, reply)
            told = driver.log()
            assert "is run again as a whole" in told, told
            assert worker_id in told and "SIGKILL" in told
            driver.wait_for_workers(2)
        assert_recovers(driver)


ITERATES = """
@daft.func.batch(return_dtype=daft.DataType.int64())
def hold_one(values):
    if 9_999 in values.to_pylist():
        Checkpoint(folder, holds=1).pass_by()
    return values

# By a key that each task of the first stage has rows of: whichever worker is lost, some of the held task's inputs are.
parts = df.sort(['key', 'id']).with_column('held', hold_one(col('id'))).iter_partitions()
answer = len(next(parts))
"""
SINKS = """
from daft import DataType, Schema
from daft.io import DataSink
from daft.io.sink import WriteResult
from daft.recordbatch import MicroPartition

class Counts(DataSink[int]):
    def schema(self):
        return Schema.from_pydict({"rows": DataType.int64()})
    def write(self, micropartitions):
        for part in micropartitions:
            yield WriteResult(result=len(part), rows_written=len(part), bytes_written=0)
    def finalize(self, write_results):
        return MicroPartition.from_pydict({"rows": [result.rows_written for result in write_results]})

df.repartition(6, 'key').with_column('held', hold(col('id'))).write_sink(Counts())
"""
# The held task reads outputs of both workers, and each worker holds some of what was collected.
REUSES = """
collected = df.repartition(6, 'key').collect()
answer = sum(collected.repartition(6, 'id').with_column('held', hold(col('id'))).to_pydict()['held'])
"""


@pytest.mark.parametrize(
    ("step", "reason"),
    [(SINKS, "a task of it that writes has begun"), (REUSES, "a collected DataFrame that it reads has lost data")],
    ids=["written", "collected"],
)
def test_a_query_that_another_run_would_not_mend_fails_and_names_worker_signal_and_reason(
    tmp_path: Path, step: str, reason: str
) -> None:
    with RemoteDriver(tmp_path) as driver:
        driver.run(VARYING)
        checkpoint, (pid,) = hold(driver, tmp_path / "hold", step)
        worker_id = worker_of(driver, pid)
        died = send_signal(pid, signal.SIGKILL)
        checkpoint.open()
        reply = after(died, driver)
        assert_names_the_loss(reply, worker_id, "SIGKILL")
        assert reason in reply.text
        assert_recovers(driver)


def test_a_query_of_which_results_were_handed_out_is_not_run_again(tmp_path: Path) -> None:
    with RemoteDriver(tmp_path) as driver:
        driver.run(VARYING)
        checkpoint = Checkpoint(tmp_path / "hold")
        driver.run(f"folder = {str(tmp_path / 'hold')!r}")
        assert driver.run(ITERATES) > 0
        (pid,) = checkpoint.wait_for_arrivals()
        worker_id = worker_of(driver, pid)
        driver.send("answer = sum(len(part) for part in parts)")
        died = send_signal(pid, signal.SIGKILL)
        checkpoint.open()
        reply = after(died, driver)
        assert_names_the_loss(reply, worker_id, "SIGKILL")
        driver.run("del parts")
        assert_recovers(driver)


@pytest.mark.parametrize("step", [SCAN, REDUCES], ids=["scan", "shuffle"])
def test_all_workers_killed_at_once_are_started_again(tmp_path: Path, step: str) -> None:
    with RemoteDriver(tmp_path) as driver:
        checkpoint, pids = hold(driver, tmp_path / "hold", step, holds=2)
        for pid in pids:
            died = send_signal(pid, signal.SIGKILL)
        checkpoint.open()
        reply = after(died, driver)
        assert (reply.answer, reply.error) == (TOTAL, None), reply
        assert_recovers(driver)


def test_a_worker_that_dies_while_its_results_are_fetched_is_an_error_that_names_it(tmp_path: Path) -> None:
    with RemoteDriver(tmp_path) as driver:
        driver.run(VARYING)
        driver.run("done = df.with_column('text', col('key') + 1).collect()")
        workers = driver.workers()
        for worker in workers:
            send_signal(worker.pid, signal.SIGSTOP)
        driver.send("answer = sum(done.to_pydict()['id'])")
        with pytest.raises(AssertionError, match="has not answered"):
            driver.reply(0.3)  # it waits for data of a worker that does not send any
        for worker in workers:
            died = send_signal(worker.pid, signal.SIGKILL)
        assert_names_the_loss(after(died, driver), "worker-", "SIGKILL")
        assert_recovers(driver)


def test_results_that_are_gone_before_they_are_fetched_are_an_error_that_names_their_worker(tmp_path: Path) -> None:
    with RemoteDriver(tmp_path) as driver:
        driver.run(VARYING)
        driver.run("done = df.select('id', 'chance').collect()")
        driver.run("part = df.select('id', 'chance').iter_partitions(); first = len(next(part))")
        victim = driver.workers()[0]
        died = send_signal(victim.pid, signal.SIGKILL)
        wait_until_gone([victim.pid], 5)
        driver.send("answer = sum(done.to_pydict()['id'])")
        assert_names_the_loss(after(died, driver), victim.worker_id, "SIGKILL")
        died = time.monotonic()
        driver.send("answer = first + sum(len(rest) for rest in part)")
        reply = after(died, driver)
        if reply.error is None:
            assert reply.answer == 10_000
        else:
            assert_names_the_loss(reply, victim.worker_id, "SIGKILL")
        driver.run("del done, part")
        assert_recovers(driver)


@pytest.mark.parametrize("step", [SCAN, REDUCES], ids=["scan", "shuffle"])
def test_a_worker_that_hangs_is_replaced_after_the_time_out(tmp_path: Path, step: str) -> None:
    options = {"unreachable_timeout_seconds": UNREACHABLE_SECONDS, "drain_timeout_seconds": 1}
    with RemoteDriver(tmp_path, **options) as driver:
        checkpoint, (pid,) = hold(driver, tmp_path / "hold", step)
        hung = send_signal(pid, signal.SIGSTOP)
        checkpoint.open()
        reply = after(hung, driver, UNREACHABLE_SECONDS + ANSWER_SECONDS)
        assert (reply.answer, reply.error) == (TOTAL, None), reply
        assert_recovers(driver)
        # The pool does not wait for a process that ignores its request to stop; the launcher kills it.
        wait_until_gone([pid], ANSWER_SECONDS)


BUSY = """
@daft.func.batch(return_dtype=daft.DataType.int64())
def holds_the_gil(values):
    import ctypes
    if 0 in values.to_pylist():
        ctypes.PyDLL(None).sleep({seconds})  # unlike CDLL, it keeps the GIL
    return values

answer = sum(df.with_column('held', holds_the_gil(col('id'))).to_pydict()['held'])
"""


def test_a_worker_whose_python_does_not_answer_for_longer_than_the_time_out_is_left_alone(tmp_path: Path) -> None:
    with RemoteDriver(tmp_path, unreachable_timeout_seconds=UNREACHABLE_SECONDS) as driver:
        before = {worker.pid for worker in driver.workers()}
        began = time.monotonic()
        assert driver.run(BUSY.format(seconds=int(3 * UNREACHABLE_SECONDS))) == TOTAL
        assert time.monotonic() - began > 2 * UNREACHABLE_SECONDS
        assert {worker.pid for worker in driver.workers()} == before


def test_a_worker_that_hangs_while_its_results_are_fetched_is_an_error_that_names_it(tmp_path: Path) -> None:
    options = {"unreachable_timeout_seconds": UNREACHABLE_SECONDS, "drain_timeout_seconds": 1}
    with RemoteDriver(tmp_path, **options) as driver:
        driver.run(VARYING)
        driver.run("done = df.with_column('text', col('key') + 1).collect()")
        for worker in driver.workers():
            hung = send_signal(worker.pid, signal.SIGSTOP)
        driver.send("answer = sum(done.to_pydict()['id'])")
        reply = after(hung, driver, UNREACHABLE_SECONDS + ANSWER_SECONDS)
        assert_names_the_loss(reply, "worker-", "has not answered for")
        assert_recovers(driver)


@pytest.mark.parametrize(
    ("deed", "reason"),
    [
        ("os._exit(7)", r"exited with code 7"),
        ("import ctypes; ctypes.string_at(0)", r"killed by signal 11 \(SIGSEGV, a crash in native code\)"),
    ],
    ids=["os._exit", "SIGSEGV"],
)
def test_a_udf_that_kills_its_process_is_an_error_after_a_few_tries(tmp_path: Path, deed: str, reason: str) -> None:
    with RemoteDriver(tmp_path, max_task_attempts=3) as driver:
        driver.send(f"""
@daft.func.batch(return_dtype=daft.DataType.int64())
def deadly(values):
    with open({str(tmp_path / "tries")!r}, "a") as tries:
        tries.write("x")
    {deed}

answer = daft.range(10, partitions=1).with_column("c", deadly(col("id"))).to_pydict()
""")
        reply = driver.reply()
        assert_names_the_loss(reply, "worker-", reason)
        assert re.search(r"task \d+ \(.*UDF.*\)", reply.text), reply.text
        assert (tmp_path / "tries").read_text() == "xxx"
        assert_recovers(driver)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_query_that_kills_its_workers_leaves_the_session_usable(tmp_path: Path, workers: int) -> None:
    """With the default options, under which the tries of one task are more than the restarts of one worker."""
    with RemoteDriver(tmp_path, num_workers=workers) as driver:
        driver.send(f"""
@daft.func.batch(return_dtype=daft.DataType.int64())
def deadly(values):
    import signal
    os.kill(os.getpid(), signal.SIGKILL)

answer = daft.range(10, partitions={workers}).with_column("c", deadly(col("id"))).to_pydict()
""")
        assert_names_the_loss(driver.reply(), "worker-", "SIGKILL")
        assert_recovers(driver, workers)


def test_a_worker_that_is_told_to_stop_by_others_costs_its_task_no_attempt(tmp_path: Path) -> None:
    with RemoteDriver(tmp_path, num_workers=1, max_task_attempts=1, drain_timeout_seconds=0.5) as driver:
        checkpoint, (pid,) = hold(driver, tmp_path / "hold", SCAN)
        send_signal(pid, signal.SIGTERM)
        wait_until_gone([pid], ANSWER_SECONDS)
        checkpoint.open()
        reply = driver.reply()
        assert (reply.answer, reply.error) == (TOTAL, None), reply


def test_a_worker_that_dies_between_queries_is_replaced_and_nobody_notices(tmp_path: Path) -> None:
    with RemoteDriver(tmp_path) as driver:
        before = driver.wait_for_workers()
        send_signal(before[0].pid, signal.SIGKILL)
        assert driver.run("answer = df.repartition(5, 'key').sum('id').to_pydict()['id']") == [TOTAL]
        poll(lambda: len(driver.workers()) == 2, ANSWER_SECONDS, "the dead worker is not replaced")
        after_it = driver.wait_for_workers()
        assert [worker.worker_id for worker in after_it] == ["worker-0", "worker-1"]
        assert not is_alive(before[0].pid)
