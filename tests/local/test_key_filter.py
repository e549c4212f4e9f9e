"""`skip_existing` on real workers: which rows are kept, and that a lost share of the keys is never a wrong answer.

Daft's own tests (make conformance) cover the forms of keys and files.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.local.remote_driver import RemoteDriver, poll
from tests.local.test_actors import actor_processes, assert_none_left

EXISTING = """
daft.range(3_000, partitions=3).write_parquet({existing!r})
rows = daft.range(10_000, partitions=8)
"""
HOLD = """
@daft.func.batch(return_dtype=daft.DataType.int64())
def hold(values):
    Checkpoint({folder!r}, holds=1).pass_by()
    return values

rows = rows.with_column("held", hold(col("id")))
"""
SKIP = """
answer = sorted(
    rows.skip_existing(existing_path={existing!r}, key_column="id", file_format="parquet", num_workers=2)
    .to_pydict()["id"]
)
"""


def test_rows_whose_keys_exist_are_skipped_and_no_actor_is_left(tmp_path: Path) -> None:
    existing = str(tmp_path / "existing")
    with RemoteDriver(tmp_path) as driver:
        answer = driver.run(EXISTING.format(existing=existing) + SKIP.format(existing=existing))
        assert answer == list(range(3_000, 10_000))
        assert_none_left(driver)


def test_a_share_of_the_keys_that_is_lost_fails_the_query(tmp_path: Path) -> None:
    existing, folder = str(tmp_path / "existing"), tmp_path / "hold"
    with RemoteDriver(tmp_path) as driver:
        driver.run(EXISTING.format(existing=existing) + HOLD.format(folder=str(folder)))
        driver.send(SKIP.format(existing=existing))
        # Rows are filtered only once all keys are in the actors.
        poll(lambda: (folder / "waiting-0").exists(), 30, "no row came to be filtered")
        os.kill(actor_processes(driver)[0], signal.SIGKILL)
        (folder / "open").touch()
        reply = driver.reply()
        assert reply.answer is None
        assert "run the query again" in reply.text, reply
        assert_none_left(driver)


def test_a_key_filter_that_does_not_answer_is_an_error_that_says_what_to_change(tmp_path: Path) -> None:
    existing, folder = str(tmp_path / "existing"), tmp_path / "hold"
    patience = {"DAFT_KEY_FILTERING_ASYNC_AWAIT_TIMEOUT_SECONDS": "4"}
    with RemoteDriver(tmp_path, env=patience) as driver:
        driver.run(EXISTING.format(existing=existing) + HOLD.format(folder=str(folder)))
        driver.send(SKIP.format(existing=existing))
        poll(lambda: (folder / "waiting-0").exists(), 30, "no row came to be filtered")
        actors = actor_processes(driver)
        for pid in actors:
            os.kill(pid, signal.SIGSTOP)
        try:
            (folder / "open").touch()
            reply = driver.reply()
        finally:
            for pid in actors:
                os.kill(pid, signal.SIGCONT)
        assert reply.error == "ActorError", reply
        assert "has not looked up" in reply.text and "within 4 s" in reply.text, reply.text
        assert "num_workers" in reply.text
        assert_none_left(driver)
