"""One engine in one process: reads a JSON command from each line of stdin, answers with one JSON line on stdout.

Run by `benchmarks.process` as `python -m benchmarks.engine <engine>`, never in the caller's process: Daft takes
only one runner per process. Whatever else prints goes to stderr. The end of stdin ends the process.

Commands, with what the answer holds besides `ok` and `seconds`:
    {"command": "start", ...}                       sets the runner and fetches the first row
    {"command": "tpch", "query": n, "answer": file} rows; writes the answer to the file
    {"command": "tasks", "count": n}                rows; n tasks that do next to nothing
    {"command": "shuffle", "maps": m, "reduces": r} rows; every map sends a few rows to every reduce
    {"command": "big_shuffle", "gigabytes": g}      rows, bytes, problems; more data than memory
    {"command": "stop"}                             shuts the runner down
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

ENGINES = ("native", "daft_k8s", "ray")

Answer = dict[str, Any]


class Engine:
    """The workloads, on the runner named by `options.engine`."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._tables: Any = None

    def start(self, *, data: str | None, scale_factor: float) -> Answer:
        import daft

        started = time.perf_counter()
        self._set_runner()
        rows = daft.from_pydict({"x": [1, 2, 3]}).where("x > 1").to_pydict()["x"]
        seconds = time.perf_counter() - started
        if rows != [2, 3]:
            raise AssertionError(f"the first query gave {rows}, expected [2, 3]")
        if data is not None:
            from benchmarks.tpch.data import TABLES
            from benchmarks.tpch.dataframe_queries import Tables

            self._tables = Tables(Path(data), scale_factor=scale_factor)
            for table in TABLES:  # the schemas are read here, once, and not inside the first query that needs them
                getattr(self._tables, table)
        return {"seconds": seconds, "rows": len(rows), "daft": daft.__version__}

    def _set_runner(self) -> None:
        import daft

        options = self._options
        if options.engine == "native":
            daft.set_runner_native()
        elif options.engine == "ray":
            import ray

            ray.init(num_cpus=max(1, round(options.workers * options.worker_cpu)), include_dashboard=False)
            daft.set_runner_ray()
        else:
            import daft_k8s

            settings: dict[str, Any] = {"num_workers": options.workers, "worker_cpu": options.worker_cpu}
            if options.worker_memory is not None:
                settings["worker_memory"] = options.worker_memory
            daft_k8s.set_runner_k8s(allocation="local", **settings)

    def tpch(self, *, query: int, answer: str | None) -> Answer:
        from benchmarks.tpch.dataframe_queries import QUERIES

        if self._tables is None:
            raise RuntimeError("the engine was started without TPC-H data")
        started = time.perf_counter()
        table = QUERIES[query](self._tables).to_arrow()
        seconds = time.perf_counter() - started
        if answer is not None:
            import pyarrow.parquet as pq

            pq.write_table(table, answer)
        return {"seconds": seconds, "rows": table.num_rows}

    def tasks(self, *, count: int) -> Answer:
        import daft

        frame = daft.range(0, count, 1, count).with_column("y", daft.col("id") + 1)
        started = time.perf_counter()
        table = frame.to_arrow()
        seconds = time.perf_counter() - started
        _check("rows", table.num_rows, count)
        _check("sum", sum(table.column("y").to_pylist()), count * (count + 1) // 2)
        return {"seconds": seconds, "rows": table.num_rows}

    def shuffle(self, *, maps: int, reduces: int) -> Answer:
        import daft

        count = maps * reduces
        frame = daft.range(0, count, 1, maps).repartition(reduces, "id")
        started = time.perf_counter()
        table = frame.to_arrow()
        seconds = time.perf_counter() - started
        _check("rows", table.num_rows, count)
        _check("sum", sum(table.column("id").to_pylist()), count * (count - 1) // 2)
        return {"seconds": seconds, "rows": table.num_rows}

    def big_shuffle(self, *, gigabytes: float, maps: int, reduces: int) -> Answer:
        from benchmarks.big_shuffle import run

        return run(gigabytes=gigabytes, maps=maps, reduces=reduces)

    def stop(self) -> Answer:
        started = time.perf_counter()
        if self._options.engine == "daft_k8s":
            import daft_k8s

            daft_k8s.shutdown()
        elif self._options.engine == "ray":
            import ray

            ray.shutdown()
        return {"seconds": time.perf_counter() - started}


def _check(what: str, actual: int, expected: int) -> None:
    if actual != expected:
        raise AssertionError(f"wrong {what}: {actual}, expected {expected}")


def serve(engine: Engine, commands: TextIO, answers: TextIO) -> None:
    """Answers commands until `stop` or the end of input."""
    handlers: dict[str, Callable[..., Answer]] = {
        "start": engine.start,
        "tpch": engine.tpch,
        "tasks": engine.tasks,
        "shuffle": engine.shuffle,
        "big_shuffle": engine.big_shuffle,
        "stop": engine.stop,
    }
    for line in commands:
        request = json.loads(line)
        name = request.pop("command")
        try:
            answer = {"ok": True, **handlers[name](**request)}
        except Exception as error:
            traceback.print_exc()
            answer = {"ok": False, "error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
        if name == "stop":
            return


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engine")
    parser.add_argument("engine", choices=ENGINES)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--worker-cpu", type=float, default=1)
    parser.add_argument("--worker-memory", default=None)
    options = parser.parse_args(arguments)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # a stray print must not be taken for an answer
    serve(Engine(options), sys.stdin, answers)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
