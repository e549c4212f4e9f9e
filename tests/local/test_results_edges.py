"""Results that are many, empty or larger than the driver, on two workers; what subscribers and a repeated LIMIT see.

Not covered: single values beyond 2 GiB and plans of 100,000 partitions, which take gigabytes and minutes.
"""

from __future__ import annotations

from pathlib import Path

from tests.local.remote_driver import RemoteDriver

EMPTY = "daft.range(10_000, partitions=1000).where(col('id') < 0).with_column('key', col('id') % 7)"


def test_a_thousand_empty_partitions_give_empty_results(tmp_path: Path) -> None:
    with RemoteDriver(tmp_path) as driver:
        driver.run(f"empty = {EMPTY}")
        assert driver.run("answer = empty.to_pydict()") == {"id": [], "key": []}
        assert driver.run("answer = empty.groupby('key').agg(col('id').sum()).to_pydict()") == {"key": [], "id": []}
        assert driver.run("answer = empty.sort('id').to_pydict()") == {"id": [], "key": []}
        assert driver.run("answer = empty.limit(5).count_rows()") == 0
        assert driver.run("answer = df.join(empty, on='key').to_pydict()['id']") == []
        assert driver.run("answer = df.concat(empty).count_rows()") == 10_000


STREAM = """
import resource

def peak_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

@daft.func.batch(return_dtype=daft.DataType.binary())
def widen(values):
    return [bytes(100_000) for _ in values.to_pylist()]

wide = daft.range(4000, partitions=80).with_column("wide", widen(col("id")))
before = peak_bytes()
"""
STREAMED_BYTES = 4000 * 100_000
ALLOWED_BYTES = STREAMED_BYTES // 2


def test_results_larger_than_what_the_driver_may_take_are_streamed(tmp_path: Path) -> None:
    with RemoteDriver(tmp_path) as driver:
        driver.run(STREAM)
        rows = "sum(batch.num_rows for batch in wide.to_arrow_iter())"
        assert driver.run(f"answer = {rows}") == 4000
        assert driver.run("answer = peak_bytes() - before") < ALLOWED_BYTES
        assert driver.run("answer = sum(len(part) for part in wide.iter_partitions())") == 4000
        assert driver.run("answer = peak_bytes() - before") < ALLOWED_BYTES


def test_the_event_log_of_the_driver_tells_of_a_query_and_its_operators(tmp_path: Path) -> None:
    with RemoteDriver(tmp_path) as driver:
        driver.run(
            f"""
from daft.subscribers.event_log import enable_event_log
enable_event_log({str(tmp_path / "events")!r})
answer = df.where(col("key") == 1).count_rows()
"""
        )
        driver.run("session.shutdown()")
    text = "".join(path.read_text() for path in (tmp_path / "events").rglob("*.jsonl"))
    for event in ("query_start", "query_end"):
        assert event in text, text[:2000]


def test_a_dashboard_that_cannot_be_reached_does_not_harm_a_query(tmp_path: Path) -> None:
    with RemoteDriver(tmp_path, before="import os; os.environ['DAFT_DASHBOARD_URL'] = 'http://127.0.0.1:9'") as driver:
        assert driver.run("answer = df.count_rows()") == 10_000
