"""Runs tasks on Daft's own executor with a fake server, and writes what came out as JSON.

Run by `test_real_executor.py`. A process of its own: Daft's executor must not run in a
process that later runs Daft's scheduler.
"""

from __future__ import annotations

import asyncio
import collections
import json
import os
import pickle
import sys
import threading
import time
from types import SimpleNamespace
from typing import Any

os.environ.update(DAFT_RUNNER="native", DAFT_FLOTILLA_WORKER="1", DAFT_PROGRESS_BAR="0")

import daft
from daft.daft import LocalPhysicalPlan, PyDaftExecutionConfig, PyMicroPartition
from daft.recordbatch.micropartition import MicroPartition

from daft_k8s._native import ArrowStream
from daft_k8s.handles.driver_calls import set_current_worker
from daft_k8s.wire.arrow_partitions import from_arrow, to_arrow
from daft_k8s.wire.calls import Done
from daft_k8s.wire.codec import decode, encode
from daft_k8s.wire.pickled_errors import decode_error
from daft_k8s.wire.task_payload import encode_payload
from daft_k8s.worker.code import WorkerCode
from daft_k8s.worker.executor import DaftExecutor
from daft_k8s.worker.task_runner import TaskRunner

BASE = daft.from_pydict({"x": [0]})
CACHE_KEY = BASE._result_cache.key
INT = daft.DataType.int64()


@daft.func.batch(return_dtype=INT)
def unlucky_thirteen(x: daft.Series) -> list[int]:
    values = x.to_pylist()
    if 13 in values:
        raise ValueError("unlucky row")
    return values


@daft.func
def raise_odd(x: int) -> int:
    raise OddError("left", "right")


@daft.func.batch(return_dtype=INT)
def slow(x: daft.Series) -> list[int]:
    os.environ["SLOW_RUNS"] = "1"  # what a UDF shares with the test must not be pickled with it
    time.sleep(0.3)
    return x.to_pylist()


@daft.func.batch(return_dtype=INT)
def noisy(x: daft.Series) -> list[int]:
    print("from a UDF")
    os.write(1, b"\x00\xff straight to the descriptor\n")
    return x.to_pylist()


@daft.func(return_dtype=daft.DataType.python())
def make_lock(x: int) -> Any:
    return threading.Lock()


@daft.func(return_dtype=daft.DataType.python())
def make_set(x: int) -> Any:
    return {x}


@daft.cls
class Counted:
    def __init__(self) -> None:
        os.environ["INITS"] = os.environ.get("INITS", "") + "1"

    @daft.method.batch(return_dtype=INT)
    def run(self, x: daft.Series) -> list[int]:
        return x.to_pylist()


class OddError(Exception):
    """Pickles, but not back: its constructor wants two arguments."""

    def __init__(self, left: str, right: str) -> None:
        super().__init__(f"{left} and {right}")


def fetched(values: list[int]) -> ArrowStream:
    """A partition as a task is given it."""
    return to_arrow(MicroPartition.from_pydict({"x": daft.Series.from_pylist(values, dtype=INT)})._micropartition)


class Server:
    """Keeps what tasks report."""

    def __init__(self) -> None:
        self.outputs: dict[str, list[Any]] = collections.defaultdict(list)
        self.ends: dict[str, list[Any]] = {}
        self.futures: dict[str, asyncio.Future[None]] = {}
        self.calls: list[Any] = []
        set_current_worker(self)

    def call_driver(self, target: str, payload: bytes, callback: Any) -> None:
        self.calls.append(decode(payload))
        callback(encode(Done()), None)

    def put_output(self, key: str, pieces: Any, num_rows: int, size_bytes: int) -> None:
        parts = [from_arrow(piece) for piece in pieces]
        assert sum(len(part) for part in parts) == num_rows
        self.outputs[key].append(MicroPartition._from_pymicropartition(PyMicroPartition.concat(parts)))

    def finish_task(self, key: str, stats: bytes) -> None:
        rows = [part.to_pydict()["y"] for part in self.outputs.pop(key, [])]
        self._end(key, ["finished", [sorted(row, key=str) for row in rows], len(stats)])

    def fail_task(self, key: str, error: bytes, message: str) -> None:
        decoded = decode_error(error, message, trusted=True)
        self._end(key, ["failed", type(decoded).__name__, str(decoded), message])

    def cancelled_task(self, key: str) -> None:
        self._end(key, ["cancelled"])

    def _end(self, key: str, end: list[Any]) -> None:
        assert key not in self.ends, f"{key} ended twice"
        self.ends[key] = end
        self.futures[key].set_result(None)


class Recorder:
    """Daft's executor, and which pipelines it was asked for."""

    def __init__(self, executor: DaftExecutor) -> None:
        self._executor = executor
        self.pipelines: dict[int, int] = {}

    def start(self, request: Any, pipeline_id: int) -> Any:
        self.pipelines[request.task_id] = pipeline_id
        return self._executor.start(request, pipeline_id)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._executor, name)


class Worker:
    def __init__(self) -> None:
        self.executor = Recorder(DaftExecutor(threads=2, host="localhost"))
        self.server = Server()
        self.runner = TaskRunner(executor=self.executor, worker_id="worker-0", code=WorkerCode("unused"))
        self.runner.bind(self.server)
        self._task_id = 0

    def submit(self, column: Any, partitions: list[list[int]], *, name: str = "Project", attempt: int = 1) -> str:
        builder = BASE.select(column.alias("y"))._builder.optimize(PyDaftExecutionConfig.from_env())._builder
        partition = MicroPartition.from_pydict({"x": [0]})._micropartition
        plan, sources = LocalPhysicalPlan.from_logical_plan_builder(builder, {CACHE_KEY: [partition]})
        (source,) = sources
        self._task_id += 1
        context = {"query_id": "q", "task_id": str(self._task_id), "plan_fingerprint": "77", "node_id": "1"}
        encoded = pickle.dumps(plan)
        task: Any = SimpleNamespace(config=PyDaftExecutionConfig.from_env, context=lambda: context, inputs=dict)
        command = SimpleNamespace(
            key=f"q/{self._task_id}.{attempt}",
            query_id="q",
            task_id=self._task_id,
            attempt=attempt,
            name=name,
            plan_hash=str(column),
            plan=encoded,
            payload=encode_payload(task),
            inputs=[(source, [fetched(values) for values in partitions])],
        )
        self.server.futures[command.key] = asyncio.get_running_loop().create_future()
        self.runner.on_task(command)
        return command.key

    async def ends(self, *keys: str) -> list[Any]:
        await asyncio.wait_for(asyncio.gather(*(self.server.futures[key] for key in keys)), 30)
        return [self.server.ends[key] for key in keys]


async def truncation(worker: Worker) -> Any:
    """Rounds of four tasks of one pipeline, one of which raises: no success may be short."""
    kinds: collections.Counter[str] = collections.Counter()
    rounds, without_cause = set(), set()
    column = unlucky_thirteen(daft.col("x"))  # each call makes another plan
    for _ in range(40):
        parts = [[1, 2], [5, 13], [4] * 3000, [7]]
        keys = [worker.submit(column, [part], name="UDFProject") for part in parts]
        ends = await worker.ends(*keys)
        rounds.add(len({worker.executor.pipelines[int(key[2:-2])] for key in keys}))
        for part, end in zip(parts, ends, strict=True):
            complete = end[0] == "finished" and sum(map(len, end[1])) == len(part)
            kinds["complete" if complete else "short" if end[0] == "finished" else "failed"] += 1
            if end[0] == "failed" and "unlucky row" not in end[3]:
                without_cause.add(end[3])
    return {"kinds": kinds, "pipelines_a_round": sorted(rounds), "failures_without_the_cause": sorted(without_cause)}


async def sharing(worker: Worker) -> Any:
    column = unlucky_thirteen(daft.col("x"))
    keys = [worker.submit(column, [[1, 2, n]], name="UDFProject") for n in (20, 30)]
    keys.append(worker.submit(column, [[40]], name="UDFProject", attempt=2))
    keys.append(worker.submit(column, [[50]], name="Project"))
    ends = await worker.ends(*keys)
    task_ids = [int(key.partition("/")[2].partition(".")[0]) for key in keys]
    pipelines = [worker.executor.pipelines[task_id] for task_id in task_ids]
    return {
        "ends": [end[:2] for end in ends],
        "pipelines": [pipelines.index(number) for number in pipelines],
        "announced": [
            [type(call).__name__, call.query_id, task_ids.index(int(call.input_id))] for call in worker.server.calls
        ],
    }


async def isolation(worker: Worker) -> Any:
    column = unlucky_thirteen(daft.col("x"))
    return [end[0] for end in await worker.ends(*(worker.submit(column, [[n]]) for n in (12, 13, 14)))]


async def inits(worker: Worker) -> Any:
    column = Counted().run(daft.col("x"))
    for number in range(3):
        await worker.ends(worker.submit(column, [[number]], name="UDFProject"))
    return len(os.environ["INITS"])


async def merging(worker: Worker) -> Any:
    (end,) = await worker.ends(worker.submit(daft.col("x") + 1, [[n, n] for n in range(500)]))
    return {"kind": end[0], "partitions": len(end[1]), "sum": sum(end[1][0]), "has_stats": end[2] > 0}


async def large_and_small_inputs(worker: Worker) -> Any:
    sizes = [10, 200_000, 10, 10, 130_000, 10]
    (end,) = await worker.ends(worker.submit(daft.col("x") + 1, [[1] * size for size in sizes]))
    return [sum(map(len, end[1])), sum(sizes)]


async def no_rows(worker: Worker) -> Any:
    (end,) = await worker.ends(worker.submit(daft.col("x") + 1, [[]]))
    return [end[0], sum(map(len, end[1]))]


async def slow_runs() -> None:
    end = time.monotonic() + 10
    while os.environ.pop("SLOW_RUNS", None) is None:
        assert time.monotonic() < end, "the UDF was not called"
        await asyncio.sleep(0.01)


async def cancelling(worker: Worker) -> Any:
    column = slow(daft.col("x"))
    alone = worker.submit(column, [[1]])
    await slow_runs()
    worker.runner.on_cancel(alone)
    shared = [worker.submit(column, [[n]], name="UDFProject") for n in (2, 3)]
    await slow_runs()
    worker.runner.on_cancel(shared[0])
    unborn = worker.submit(column, [[4]])
    worker.runner.on_cancel(unborn)
    ends = await worker.ends(alone, *shared, unborn)
    await asyncio.sleep(0)
    return {"ends": [end[:2] for end in ends], "left": worker.runner.running}


async def errors(worker: Worker) -> Any:
    ends = await worker.ends(
        worker.submit(make_lock(daft.col("x")), [[1, 2]]),
        worker.submit(make_set(daft.col("x")), [[1, 2]]),
        worker.submit(raise_odd(daft.col("x")), [[1]]),
        worker.submit(noisy(daft.col("x")), [[1]]),
    )
    return ends


def shuffle_servers(executor: DaftExecutor) -> dict[str, str | None]:
    """The addresses of Daft's shuffle servers for tasks with and without its own shuffle, ports left out."""
    config = PyDaftExecutionConfig()
    found = {}
    for name, algorithm in (("map_reduce", "map_reduce"), ("flight_shuffle", "flight_shuffle")):
        address = executor._executor_for(config.with_config_values(shuffle_algorithm=algorithm)).shuffle_address()
        found[name] = address and address.rpartition(":")[0]
    return found


async def main() -> None:
    worker = Worker()
    scenarios = (
        truncation, sharing, isolation, inits, merging, large_and_small_inputs, no_rows, cancelling, errors
    )  # fmt: skip
    results = {scenario.__name__: await scenario(worker) for scenario in scenarios}
    results["shuffle_servers"] = shuffle_servers(worker.executor._executor)
    results["live_plans"] = worker.executor._executor._executor.active_plan_count()
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        json.dump(results, file, default=str)


if __name__ == "__main__":
    asyncio.run(main())
