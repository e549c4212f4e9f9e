"""Workers that are killed while their partitions are needed: the answer is right, and the query is not run again.

Of queries whose rows are others in each run only this: they are not mixed. The rest is in test_failures_workers.py.
"""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.local.remote_driver import KEEP_LOG_LINES, RemoteDriver, send_signal

SETUP = """
daft.range(60_000, partitions=6).with_column("key", col("id") % 7).write_parquet({folder!r})
files = daft.read_parquet({folder!r} + "/*.parquet")

@daft.func
def double(number: int) -> int:
    return 2 * number

@daft.func
def by_chance(number: int) -> int:
    import random
    return random.getrandbits(40)

collected = ({frame}).repartition(6, "id").collect()
answer = collected.count_rows()
"""
COUNT = """
answer = (
    sum(collected.where(col("id") % 2 == 0).to_pydict()["id"]),
    sum("run again as a whole" in line for line in LINES),
)
"""


FRAMES = {
    "files": "files",
    "the user's code": "files.with_column('id', double(col('id')) // 2)",
    "no files": "daft.range(60_000, partitions=6)",
    "distinct": "files.distinct()",
}


@pytest.mark.parametrize("frame", FRAMES)
def test_a_collected_dataframe_survives_the_loss_of_every_worker_in_turn(tmp_path: Path, frame: str) -> None:
    with RemoteDriver(tmp_path, num_workers=3) as driver:
        assert driver.run(KEEP_LOG_LINES + SETUP.format(folder=str(tmp_path / "files"), frame=FRAMES[frame])) == 60_000
        for worker in driver.workers():
            send_signal(worker.pid, signal.SIGKILL)
            assert driver.run(COUNT) == [899_970_000, 0]
        assert driver.run("answer = sum('are run again (' in line for line in LINES)") > 0
        told = driver.run("answer = [line for line in LINES if ' was lost, and ' in line]")
        assert len(told) == 3, told
        assert all("partitions with it: worker-" in line and "SIGKILL" in line for line in told), told


def test_rows_of_two_runs_of_code_that_depends_on_chance_are_not_mixed(tmp_path: Path) -> None:
    with RemoteDriver(tmp_path, num_workers=3) as driver:
        frame = "files.with_column('id', by_chance(col('id')))"
        assert driver.run(KEEP_LOG_LINES + SETUP.format(folder=str(tmp_path / "files"), frame=frame)) == 60_000
        send_signal(driver.workers()[0].pid, signal.SIGKILL)
        driver.send(COUNT)
        reply = driver.reply()
        assert reply.error == "WorkerLostError", reply
        assert "rows in output" in reply.text and "not deterministic" in reply.text, reply.text


def test_nothing_is_recomputed_where_recovery_is_switched_off(tmp_path: Path) -> None:
    with RemoteDriver(tmp_path, num_workers=3, recovery_memory=0) as driver:
        driver.run(KEEP_LOG_LINES + SETUP.format(folder=str(tmp_path / "files"), frame="files"))
        assert driver.run("answer = session.snapshot().kept['records']") == 0
        send_signal(driver.workers()[0].pid, signal.SIGKILL)
        driver.send(COUNT)
        reply = driver.reply()
        assert reply.error == "WorkerLostError", reply
        assert "the option recovery_memory is 0" in reply.text, reply.text
