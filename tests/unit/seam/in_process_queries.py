"""Runs queries through the whole seam on `fake_pool`, and prints one JSON object of findings.

`test_seam_queries.py` runs this as a process of its own and asserts on the findings.
"""

from __future__ import annotations

import gc
import inspect
import json
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import daft
from daft import col
from daft.context import get_context
from daft.io import DataSink
from daft.io.sink import WriteResult
from daft.logical.builder import LogicalPlanBuilder
from daft.recordbatch import MicroPartition
from daft.subscribers import Subscriber
from daft.subscribers.events import Event, QueryFinished, QueryStarted
from fake_pool import FakeLauncher, FakeManager, FakeOutcome

import daft_k8s
import daft_k8s.driver.session
from daft_k8s.config import load
from daft_k8s.seam.install import activate
from daft_k8s.seam.parts import parts_of

FLIGHT_FOLDER = tempfile.mkdtemp()
OPTIONS = {"num_workers": 2, "worker_cpu": 1, "worker_memory": "1Gi"}


def frame() -> daft.DataFrame:
    return daft.from_pydict({"a": list(range(1000)), "b": [i % 7 for i in range(1000)]}).into_partitions(4).collect()


def outcome_of(action: Callable[[], Any]) -> str:
    try:
        return f"returned {action()!r}"
    except Exception as error:
        notes = " | ".join(getattr(error, "__notes__", ()))
        return f"{type(error).__name__}: {error} [{notes}]"


@daft.func.batch(return_dtype=daft.DataType.int64())
def boom(values: daft.Series) -> Any:
    raise ValueError("the user's own words")


@daft.func.batch(return_dtype=daft.DataType.int64())
def same(values: daft.Series) -> Any:
    return values


def losses(manager: FakeManager, df: daft.DataFrame) -> dict[str, Any]:
    """Queries whose tasks lose their inputs in so many runs; with the number of runs that each took."""
    gone = FakeOutcome("lost", message="its inputs are gone", loss="inputs")

    def lose(times: int, words: str, query: Callable[[], Any]) -> Any:
        runs: list[str] = []

        def outcome_of_task(task: dict[str, Any]) -> FakeOutcome | None:
            if task["query_id"] not in runs:
                runs.append(task["query_id"])
            loses = runs.index(task["query_id"]) < times and words in task["name"]
            return gone if loses else None

        manager.outcome_of = outcome_of_task
        answer = outcome_of(query)
        return answer, len(runs)

    grouped = df.groupby("b").agg(col("a").sum()).sort("b")
    folder = tempfile.mkdtemp()
    watcher = Watcher()
    get_context().attach_subscriber("watcher", watcher)
    found: dict[str, Any] = {
        "collect": lose(1, "HashAggregate", lambda: grouped.to_pydict()["a"][0]),
        "iterate": lose(1, "Filter", lambda: sum(row["a"] for row in df.where(col("a") >= 0).iter_rows())),
        "limit": lose(1, "Limit", lambda: df.where(col("a") >= 0).limit(10).count_rows()),
        "often": lose(9, "Filter", lambda: df.where(col("a") >= 0).count_rows()),
        "write": lose(1, "PhysicalWrite", lambda: len(df.repartition(2, "b").write_parquet(folder))),
        "sink": lose(1, "DataSink", lambda: df.repartition(2, "b").write_sink(Counts())),
    }
    found["written"] = [daft.read_parquet(folder).count_rows(), len(os.listdir(folder))]
    shutil.rmtree(folder)
    get_context().detach_subscriber("watcher")
    found["seen"] = watcher.ends[:4]
    found["seen_once"] = len(watcher.begun) == len(set(watcher.begun)) == len(watcher.ends)
    found["ended"] = set(watcher.begun) <= set(manager.ended_queries)
    return found


class Counts(DataSink[int]):
    """A sink of the user's own, that counts rows."""

    def schema(self) -> daft.Schema:
        return daft.Schema.from_pydict({"rows": daft.DataType.int64()})

    def write(self, micropartitions: Iterator[MicroPartition]) -> Iterator[WriteResult[int]]:
        for part in micropartitions:
            yield WriteResult(result=len(part), rows_written=len(part), bytes_written=0)

    def finalize(self, write_results: list[WriteResult[int]]) -> MicroPartition:
        return MicroPartition.from_pydict({"rows": [result.rows_written for result in write_results]})


class Watcher(Subscriber):
    """Notes how queries begin and end."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.ends: list[str] = []

    def on_event(self, event: Event) -> None:
        if isinstance(event, QueryStarted):
            self.begun.append(event.query_id)
        elif isinstance(event, QueryFinished):
            self.ends.append(str(event.result.end_state))

    def close(self) -> None: ...


def run(manager: FakeManager, session: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    df = frame()
    found["filter_sort"] = df.where(col("a") > 996).sort("a", desc=True).to_pydict()
    found["group"] = df.groupby("b").agg(col("a").sum()).sort("b").to_pydict()
    keys = daft.from_pydict({"b": [1, 2], "d": [1, 2]})
    found["sort_merge_join"] = keys.join(df, on="b", strategy="sort_merge").count_rows()
    with mock.patch.object(LogicalPlanBuilder, "join", inspect.unwrap(LogicalPlanBuilder.join)):
        before_install = keys.join(df, on="b", strategy="sort_merge")
    found["sort_merge_join_of_before"] = outcome_of(before_install.count_rows)
    found["join"] = df.join(df.select((col("a") * 2).alias("a"), col("b").alias("c")), on="a").count_rows()
    found["limits"] = [
        df.where(col("a") >= 0).limit(10).count_rows(),
        df.where(col("a") >= 0).offset(5).limit(7).count_rows(),
        df.where(col("a") >= 0).limit(5000).count_rows(),
        df.where(col("a") >= 0).limit(0).count_rows(),
    ]
    found["sorted_limit"] = df.sort("a").limit(3).to_pydict()
    found["rows"] = sum(row["a"] for row in df.where(col("a") >= 0).iter_rows())
    found["partitions"] = [len(part) for part in df.where(col("a") >= 0).iter_partitions()]
    found["empty"] = df.where(col("a") > 5000).to_pydict()
    found["counters_left"] = len(parts_of(session).limit_counters)
    found["queries_ended"] = len(manager.ended_queries) == len(set(manager.ended_queries)) > 0

    collected = df.where(col("a") >= 0).collect(num_preview_rows=3)
    manager.fetched.clear()
    again = collected.to_pydict()
    found["one_fetch_for_all"] = list(manager.fetched)
    found["collected_rows"] = len(again["a"])
    manager.fetched.clear()
    found["preview_rows"] = sum(len(part) for part in collected._result._get_preview_micropartitions(3))
    found["preview_fetch"] = list(manager.fetched)

    rows = df.where(col("a") >= 0).iter_rows()
    next(rows)
    rows.close()
    del rows
    gc.collect()
    found["after_early_end"] = df.where(col("a") < 5).count_rows()

    found["udf"] = df.with_column("c", same(col("a"))).select(col("c").sum()).to_pydict()
    found["udf_error"] = outcome_of(lambda: df.with_column("c", boom(col("a"))).collect())
    scattered = daft.from_pydict({"a": [1, 2, 3]}).into_partitions(2).limit(2)
    found["limited_into_partitions"] = outcome_of(scattered.collect)
    found["iterated_into_partitions"] = [
        len(list(scattered.iter_rows())),
        len(list(frame().into_partitions(3).with_column("c", same(col("a"))).limit(600).iter_rows())),
        len(list(frame().into_partitions(3).limit(2000).iter_rows())),
        len(list(frame().into_partitions(3).limit(0).iter_rows())),
        outcome_of(lambda: list(frame().limit(5).into_partitions(3).limit(2).iter_rows())),
    ]
    found["ray_bridge"] = outcome_of(df.to_ray_dataset)
    found["dask_bridge"] = outcome_of(df.to_dask_dataframe)
    with daft.execution_config_ctx(shuffle_algorithm="flight_shuffle", flight_shuffle_dirs=[FLIGHT_FOLDER]):
        found["flight"] = df.groupby("b").agg(col("a").sum()).sort("b").to_pydict()
    found["flight_folders"] = os.listdir(FLIGHT_FOLDER)
    found["flight_left_after_query"] = [name for _, _, files in os.walk(FLIGHT_FOLDER) for name in files]

    manager.outcome_of = lambda task: FakeOutcome("lost", message="gone four times", worker_id="worker-1")
    found["lost"] = outcome_of(lambda: df.where(col("a") > 1).collect())
    manager.outcome_of = lambda task: FakeOutcome("cancelled")
    found["cancelled"] = outcome_of(lambda: df.where(col("a") > 1).collect())
    found["lost_again"] = losses(manager, df)
    manager.outcome_of = None
    found["after_failures"] = df.where(col("a") < 5).count_rows()

    sums: list[int] = []

    def query() -> None:
        sums.append(df.where(col("b") == len(threading.enumerate()) * 0).select(col("a").sum()).to_pydict()["a"][0])

    threads = [threading.Thread(target=query) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    found["threads"] = sums

    found["same_settings"] = activate(load(OPTIONS)) is session
    found["other_settings"] = outcome_of(lambda: activate(load({**OPTIONS, "num_workers": 3})))
    child = os.fork()
    if child == 0:
        session.shutdown()
        os._exit(0 if "forked" in outcome_of(lambda: session.manager) else 1)
    found["forked_child"] = os.waitpid(child, 0)[1]
    found["open_after_fork"] = not session.closed and not manager.closed

    collected = df.where(col("a") >= 0).collect()
    session.shutdown()
    session.shutdown()
    found["shut_down"] = manager.closed
    found["flight_left_after_shutdown"] = os.listdir(FLIGHT_FOLDER)
    os.rmdir(FLIGHT_FOLDER)
    found["after_shutdown"] = outcome_of(collected.to_pydict)
    found["query_after_shutdown"] = outcome_of(lambda: df.where(col("a") < 5).collect())
    renewed = activate(load(OPTIONS), manager_factory=FakeManager)
    found["new_session"] = renewed is not session and frame().where(col("a") < 5).count_rows() == 5
    daft_k8s.shutdown()
    found["module_shutdown"] = renewed.closed
    return found


def main() -> None:
    daft_k8s.driver.session.make_launcher = lambda *args, **kwargs: FakeLauncher()
    session = activate(load(OPTIONS), manager_factory=FakeManager)
    print(json.dumps(run(session.manager, session)))


main()
