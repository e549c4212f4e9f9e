"""Workers that are killed while their partitions are needed: the answer is right, and the query is not run again.

Does not cover queries that depend on the order of rows: they are in test_failures_workers.py.
"""

from __future__ import annotations

import signal
from pathlib import Path

from tests.local.remote_driver import RemoteDriver, send_signal

SETUP = """
import logging

class Lines(logging.Handler):
    def emit(self, record):
        LINES.append(record.getMessage())

LINES = []
logging.getLogger("daft_k8s").addHandler(Lines())
logging.getLogger("daft_k8s").setLevel(logging.INFO)
daft.range(60_000, partitions=6).with_column("key", col("id") % 7).write_parquet({folder!r})
files = daft.read_parquet({folder!r} + "/*.parquet")
collected = files.repartition(6, "id").collect()
answer = collected.count_rows()
"""
COUNT = """
answer = (
    sum(collected.where(col("id") % 2 == 0).to_pydict()["id"]),
    sum("run again as a whole" in line for line in LINES),
)
"""


def test_a_collected_dataframe_survives_the_loss_of_every_worker_in_turn(tmp_path: Path) -> None:
    with RemoteDriver(tmp_path, num_workers=3) as driver:
        assert driver.run(SETUP.format(folder=str(tmp_path / "files"))) == 60_000
        for worker in driver.workers():
            send_signal(worker.pid, signal.SIGKILL)
            assert driver.run(COUNT) == [899_970_000, 0]
        assert driver.run("answer = sum('are run again (' in line for line in LINES)") > 0
