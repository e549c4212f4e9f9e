"""Writes of files whose workers die: each row once in what readers of the folder see, and nothing beside it.

Not covered: object stores and Pods, where writes are not staged; table formats, whose logs name the files that count.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet
import pytest

from tests.local.remote_driver import RemoteDriver, send_signal
from tests.local.test_failures_workers import VARYING, after, assert_recovers, hold

DIES_ONCE = """
daft.set_execution_config(
    parquet_target_filesize=20_000, parquet_target_row_group_size=10_000, csv_target_filesize=20_000,
    json_target_filesize=20_000,
)
@daft.func.batch(return_dtype=daft.DataType.int64(), batch_size=1000)
def dies_once(ids):
    values = ids.to_pylist()
    if max(values) >= 18_000 and not os.path.exists(flag):
        open(flag, "w").close()
        os.kill(os.getpid(), 9)
    return values
written = daft.range(20_000, partitions=1).with_column("v", dies_once(col("id")))
"""
FORMATS = ["parquet", "csv", "json"]


READERS: dict[str, Callable[[Path], pyarrow.Table]] = {
    "parquet": pyarrow.parquet.read_table,
    "csv": pyarrow.csv.read_csv,
    "json": pyarrow.json.read_json,
}


def end(driver: RemoteDriver) -> None:
    driver.send("", last=True)
    assert driver.wait() == 0


def files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def ids_in(folder: Path, kind: str) -> list[int]:
    return sorted(value for path in files_in(folder) for value in READERS[kind](path)["id"].to_pylist())


@pytest.mark.parametrize("mode", ["append", "overwrite", "overwrite-partitions"])
@pytest.mark.parametrize("kind", FORMATS)
def test_a_worker_that_dies_in_a_write_leaves_each_row_once(tmp_path: Path, kind: str, mode: str) -> None:
    folder = tmp_path / "out"
    columns = ", partition_cols=[col('id') % 2]" if mode == "overwrite-partitions" else ""
    with RemoteDriver(tmp_path, num_workers=1) as driver:
        driver.run(f"folder, flag = {str(folder)!r}, {str(tmp_path / 'died')!r}\n" + DIES_ONCE)
        listed = driver.run(f"answer = written.write_{kind}(folder, write_mode={mode!r}{columns}).to_pydict()['path']")
        assert (tmp_path / "died").exists()
        assert ids_in(folder, kind) == list(range(20_000))
        assert sorted(map(Path, listed)) == files_in(folder)
        assert len(listed) > 1


@pytest.mark.parametrize("kind", FORMATS)
def test_a_write_that_has_begun_is_run_again_when_data_for_it_is_lost(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "out"
    step = f"df.repartition(6, 'key').with_column('held', hold(col('id'))).write_{kind}(folder)"
    with RemoteDriver(tmp_path) as driver:
        driver.run(f"folder = {str(folder)!r}\n" + VARYING)
        checkpoint, (pid,) = hold(driver, tmp_path / "hold", step)
        died = send_signal(pid, signal.SIGKILL)
        checkpoint.open()
        reply = after(died, driver)
        assert reply.error is None, reply
        assert "is run again as a whole" in driver.log()
        assert driver.run(f"answer = daft.read_{kind}(folder).count_rows()") == 10_000
        assert_recovers(driver)
        end(driver)  # tasks of the first run may write beside the second one, until they are over
    assert ids_in(folder, kind) == list(range(10_000))


FAILS = """
@daft.func.batch(return_dtype=daft.DataType.int64())
def fails_late(values):
    if 9_999 in values.to_pylist():
        raise ValueError("a late row")
    return values
"""


@pytest.mark.parametrize("mode", ["append", "overwrite"])
def test_a_write_that_fails_leaves_its_folder_as_it_was(tmp_path: Path, mode: str) -> None:
    folder = tmp_path / "out"
    with RemoteDriver(tmp_path) as driver:
        driver.run(f"folder = {str(folder)!r}\ndf.limit(5).write_parquet(folder)" + FAILS)
        before = files_in(folder)
        assert before
        driver.send(f"df.with_column('v', fails_late(col('id'))).write_parquet(folder, write_mode={mode!r})")
        assert driver.reply().error is not None
        end(driver)
    assert files_in(folder) == before


def test_an_overwrite_may_read_what_it_replaces(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    with RemoteDriver(tmp_path) as driver:
        driver.run(f"folder = {str(folder)!r}\ndf.write_parquet(folder)")
        for _ in range(2):
            driver.run("daft.read_parquet(folder).where(col('id') > 4).write_parquet(folder, write_mode='overwrite')")
        assert driver.run("answer = daft.read_parquet(folder).count_rows()") == 9_995


def test_a_write_that_is_interrupted_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    step = "df.repartition(6, 'key').with_column('held', hold(col('id'))).write_parquet(folder)"
    with RemoteDriver(tmp_path) as driver:
        driver.run(f"folder = {str(folder)!r}")
        checkpoint, _ = hold(driver, tmp_path / "hold", step)
        interrupted = time.monotonic()
        driver.process.send_signal(signal.SIGINT)
        reply = after(interrupted, driver)
        checkpoint.open()
        assert reply.error == "KeyboardInterrupt"
        end(driver)
    assert files_in(folder) == []


def test_a_partition_column_of_the_name_that_results_use_is_written(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    with RemoteDriver(tmp_path) as driver:
        driver.run(f"folder = {str(folder)!r}")
        driver.run("df.with_column('path', col('id') % 2).write_parquet(folder, partition_cols=['path'])")
        assert driver.run("answer = daft.read_parquet(folder + '/**').count_rows()") == 10_000
