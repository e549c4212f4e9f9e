"""A pool of local workers that grows with its work and lets idle workers go, and loses nothing by it."""

from __future__ import annotations

from pathlib import Path

from tests.local.checkpoint import Checkpoint
from tests.local.remote_driver import RemoteDriver, poll

PATIENCE_SECONDS = 60.0
ELASTIC = {"num_workers": None, "min_workers": 1, "max_workers": 4, "idle_timeout_seconds": 1.0}

LOGS = "import logging; logging.basicConfig(level=logging.INFO)"

HOLD = """
@daft.func.batch(return_dtype=daft.DataType.int64())
def hold(values):
    Checkpoint({folder!r}, holds={holds}).pass_by()
    return values

"""

# One worker has CPUs for one of them.
MODEL = """
@daft.cls(max_concurrency=4)
class Model:
    @daft.method.batch(return_dtype=daft.DataType.int64())
    def __call__(self, values):
        return values

"""


def wait_for_count(driver: RemoteDriver, count: int) -> None:
    poll(lambda: len(driver.workers()) == count, PATIENCE_SECONDS, lambda: f"there are {driver.workers()}")


def test_a_pool_grows_under_work_and_shrinks_without_it_and_no_partition_is_lost(tmp_path: Path) -> None:
    with RemoteDriver(tmp_path, before=LOGS, **ELASTIC) as driver:
        assert len(driver.workers()) == 1
        checkpoint = Checkpoint(tmp_path / "hold", holds=4)
        driver.send(
            HOLD.format(folder=str(tmp_path / "hold"), holds=4)
            + "kept = df.with_column('held', hold(col('id'))).collect(); answer = None"
        )
        # Each waits on a worker of its own: they have one slot.
        assert len(set(checkpoint.wait_for_arrivals())) == 4
        checkpoint.open()
        assert driver.reply().error is None
        # The idle ones may go, those that hold partitions of `kept` may not.
        held = set(driver.run("answer = [worker.worker_id for worker in session.snapshot().workers if worker.holds]"))
        assert len(held) >= 2
        driver.run("time.sleep(3)")  # three times the idle time-out
        assert held <= {worker.worker_id for worker in driver.workers()}
        assert driver.run("answer = sum(kept.to_pydict()['held'])") == sum(range(10_000))
        assert driver.run("answer = kept.where(col('key') == 1).repartition(3, 'id').count_rows()") == 1429
        driver.run("del kept")
        wait_for_count(driver, 1)
        assert driver.run("answer = df.where(col('key') == 1).repartition(3, 'id').count_rows()") == 1429
        assert "was lost" not in driver.log(), driver.log()
        driver.wait_for_log("is let go: it was idle")


def test_a_pool_without_a_lower_bound_vanishes_and_comes_back_for_a_query(tmp_path: Path) -> None:
    with RemoteDriver(tmp_path, **{**ELASTIC, "min_workers": 0}) as driver:
        assert driver.workers() == []
        for _ in range(2):
            assert driver.run("answer = df.where(col('key') == 1).count_rows()") == 1429
            wait_for_count(driver, 0)


def test_a_pool_grows_for_actors_that_wait_for_a_worker_with_room(tmp_path: Path) -> None:
    with RemoteDriver(tmp_path, before=LOGS, **{**ELASTIC, "min_workers": 0, "idle_timeout_seconds": 30.0}) as driver:
        sum_of = "answer = sum(df.with_column('held', Model()(col('id'))).to_pydict()['held'])"
        assert driver.run(MODEL + sum_of) == sum(range(10_000))
        assert len(driver.workers()) == 4
        assert "goes on with" not in driver.log(), driver.log()
