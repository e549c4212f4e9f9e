"""Queries whose users' code raises, in every place where users have code, on one session.

Run as a program: `exception_scenarios.py SECONDS OPTIONS < PAIRS` reads pairs of a place and an exception as JSON, and
writes one line of JSON for each: how the query ended and how long that took. A query that has not ended after SECONDS
ends the program, as nothing after it would mean anything. The last line tells of a query that must succeed.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import daft
from daft import DataFrame, DataType, Series, col
from daft.io._generator import read_generator
from daft.io.sink import DataSink, WriteResult
from daft.io.source import DataSource, DataSourceTask
from daft.recordbatch import MicroPartition, RecordBatch
from daft.schema import Schema

import daft_k8s
from tests.local.hostile_exceptions import EXCEPTIONS, ON_WORKERS, WORDS, raise_named

INT = DataType.int64()
ROWS = 8
UNLUCKY = 6
"""In the second of two partitions: the first one's rows must not pass for the result."""


def check(values: Any, name: str) -> Any:
    """Raises at the unlucky row."""
    if UNLUCKY in values:
        raise_named(name)
    return values


def table() -> DataFrame:
    return daft.range(ROWS, partitions=2)


def row(name: str) -> DataFrame:
    @daft.func(return_dtype=INT, use_process=False)
    def udf(value: int) -> int:
        check([value], name)
        return value

    return table().select(udf(col("id")))


def batch(name: str, **options: Any) -> DataFrame:
    @daft.func.batch(return_dtype=INT, **options)
    def udf(values: Series) -> Any:
        return check(values.to_pylist(), name)

    return table().select(udf(col("id")))


def process(name: str) -> DataFrame:
    return batch(name, use_process=True)


def process_legacy(name: str) -> DataFrame:
    @daft.udf(return_dtype=INT, use_process=True)
    def udf(values: Series) -> Any:
        return check(values.to_pylist(), name)

    return table().select(udf(col("id")))


def generator(name: str) -> DataFrame:
    @daft.func(return_dtype=INT)
    def udf(value: int) -> Iterator[int]:
        yield value
        check([value], name)

    return table().select(udf(col("id")))


def async_row(name: str) -> DataFrame:
    @daft.func(return_dtype=INT)
    async def udf(value: int) -> int:
        check([value], name)
        return value

    return table().select(udf(col("id")))


def async_batch(name: str) -> DataFrame:
    @daft.func.batch(return_dtype=INT)
    async def udf(values: Series) -> Any:
        return check(values.to_pylist(), name)

    return table().select(udf(col("id")))


def async_process(name: str) -> DataFrame:
    @daft.func.batch(return_dtype=INT, use_process=True)
    async def udf(values: Series) -> Any:
        return check(values.to_pylist(), name)

    return table().select(udf(col("id")))


def _instance(name: str, **options: Any) -> DataFrame:
    @daft.cls(**options)
    class Udf:
        @daft.method.batch(return_dtype=INT)
        def __call__(self, values: Series) -> Any:
            return check(values.to_pylist(), name)

    return table().select(Udf()(col("id")))


def cls(name: str) -> DataFrame:
    return _instance(name)


def actor(name: str) -> DataFrame:
    return _instance(name, max_concurrency=1)


def _constructor(name: str, **options: Any) -> DataFrame:
    @daft.cls(**options)
    class Udf:
        def __init__(self) -> None:
            raise_named(name)

        @daft.method.batch(return_dtype=INT)
        def __call__(self, values: Series) -> Any:
            return values

    return table().select(Udf()(col("id")))


def cls_constructor(name: str) -> DataFrame:
    return _constructor(name)


def actor_constructor(name: str) -> DataFrame:
    return _constructor(name, max_concurrency=1)


def async_method(name: str) -> DataFrame:
    @daft.cls(max_concurrency=1)
    class Udf:
        @daft.method.batch(return_dtype=INT)
        async def __call__(self, values: Series) -> Any:
            return check(values.to_pylist(), name)

    return table().select(Udf()(col("id")))


def legacy(name: str) -> DataFrame:
    @daft.udf(return_dtype=INT)
    def udf(values: Series) -> Any:
        return check(values.to_pylist(), name)

    return table().select(udf(col("id")))


def legacy_class(name: str) -> DataFrame:
    @daft.udf(return_dtype=INT)
    class Udf:
        def __init__(self) -> None:
            raise_named(name)

        def __call__(self, values: Series) -> Any:
            return values

    return table().select(Udf(col("id")))  # type: ignore[operator]


def legacy_actor(name: str) -> DataFrame:
    @daft.udf(return_dtype=INT, concurrency=1)
    class Udf:
        def __init__(self, unused: int = 0) -> None:
            pass

        def __call__(self, values: Series) -> Any:
            return check(values.to_pylist(), name)

    return table().select(Udf(col("id")))  # type: ignore[operator]


def aggregate(name: str) -> DataFrame:
    @daft.udaf(return_dtype=INT, state=INT)
    class Total:
        def aggregate(self, values: Series) -> int:
            return sum(check(values.to_pylist(), name))

        def combine(self, states: Series) -> int:
            return sum(states.to_pylist())

        def finalize(self, state: int) -> int:
            return state

    return table().agg(Total()(col("id")))  # type: ignore[operator]


def map_groups(name: str) -> DataFrame:
    @daft.func.batch(return_dtype=INT)
    def udf(values: Series) -> Any:
        return check(values.to_pylist(), name)

    return table().groupby(col("id") % 3).map_groups(udf(col("id")))


def apply(name: str) -> DataFrame:
    return table().select(col("id").apply(lambda value: check([value], name)[0], return_dtype=INT))


def shuffled(name: str) -> DataFrame:
    return batch(name).sort("id").groupby(col("id") % 3).agg(col("id").sum().alias("sum"))


def iterated(name: str) -> Any:
    return lambda: list(batch(name).iter_rows())


def written(name: str) -> Any:
    def write() -> Any:
        with tempfile.TemporaryDirectory() as folder:
            return batch(name).write_parquet(folder).to_pydict()

    return write


def generators(name: str) -> DataFrame:
    def numbers(first: int) -> Iterator[RecordBatch]:
        check([first], name)
        return iter([RecordBatch.from_pydict({"id": [first]})])

    return read_generator((functools.partial(numbers, first) for first in range(ROWS)), Schema.from_pydict({"id": INT}))


class Batches(DataSourceTask):
    def __init__(self, first: int, name: str) -> None:
        self._first, self._name = first, name

    @property
    def schema(self) -> Schema:
        return Schema.from_pydict({"id": INT})

    async def read(self) -> AsyncIterator[RecordBatch]:
        yield RecordBatch.from_pydict({"id": [self._first]})
        check([self._first], self._name)


class PlainBatches(Batches):
    def read(self) -> AsyncIterator[RecordBatch]:
        check([self._first], self._name)
        return super().read()


class Numbers(DataSource):
    def __init__(self, name: str, task: type[Batches], *, itself: bool = False) -> None:
        self._name, self._task, self._itself = name, task, itself

    @property
    def name(self) -> str:
        return "numbers"

    @property
    def schema(self) -> Schema:
        return Schema.from_pydict({"id": INT})

    async def get_tasks(self, pushdowns: Any) -> AsyncIterator[DataSourceTask]:
        for first in range(ROWS):
            if self._itself:
                check([first], self._name)
            yield self._task(first, "no") if self._itself else self._task(first, self._name)


def source(name: str) -> DataFrame:
    return Numbers(name, Batches).read()


def source_plain(name: str) -> DataFrame:
    return Numbers(name, PlainBatches).read()


def source_tasks(name: str) -> DataFrame:
    return Numbers(name, Batches, itself=True).read()


class Sink(DataSink[int]):
    def __init__(self, name: str, *, at_the_end: bool) -> None:
        self._name, self._at_the_end = name, at_the_end

    def schema(self) -> Schema:
        return Schema.from_pydict({"rows": INT})

    def write(self, micropartitions: Iterator[MicroPartition]) -> Iterator[WriteResult[int]]:
        for part in micropartitions:
            if not self._at_the_end:
                check(part.to_pydict()["id"], self._name)
            yield WriteResult(result=len(part), bytes_written=0, rows_written=len(part))

    def finalize(self, write_results: list[WriteResult[int]]) -> MicroPartition:
        if self._at_the_end:
            raise_named(self._name)
        return MicroPartition.from_pydict({"rows": [sum(result.result for result in write_results)]})


def sink(name: str) -> Any:
    return lambda: table().write_sink(Sink(name, at_the_end=False))


def sink_end(name: str) -> Any:
    return lambda: table().write_sink(Sink(name, at_the_end=True))


class Unpicklable:
    """An object whose pickling raises on the worker that has made it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __reduce__(self) -> Any:
        raise_named(self._name)


def revive(name: str) -> str:
    if not os.environ.get(ON_WORKERS):
        raise_named(name)
    return name


class DriverOnly:
    """An object whose unpickling raises in the driver."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __reduce__(self) -> Any:
        return revive, (self._name,)


def _objects(kind: type, name: str) -> DataFrame:
    @daft.func(return_dtype=DataType.python())
    def udf(value: int) -> Any:
        return kind(name)

    return table().select(udf(col("id")))


def pickling(name: str) -> DataFrame:
    return _objects(Unpicklable, name)


def unpickling(name: str) -> DataFrame:
    return _objects(DriverOnly, name)


def argument(name: str) -> DataFrame:
    """An object in the plan that cannot be pickled in the driver once the query runs."""
    kept = Reluctant(name)

    @daft.func.batch(return_dtype=INT)
    def udf(values: Series) -> Any:
        return kept and values

    expression = udf(col("id"))
    kept.armed = True
    return table().select(expression)


class Reluctant:
    def __init__(self, name: str) -> None:
        self._name, self.armed = name, False

    def __reduce__(self) -> Any:
        if self.armed:
            raise_named(self._name)
        return Reluctant, (self._name,)


PLACES: dict[str, Callable[[str], Any]] = {
    place.__name__: place
    for place in (
        row, batch, cls, cls_constructor, generator, legacy, legacy_class, async_row, async_batch, async_method,
        actor, actor_constructor, legacy_actor, process, process_legacy, async_process,
        aggregate, map_groups, apply, shuffled, iterated, written, generators,
        source, source_plain, source_tasks, sink, sink_end, pickling, unpickling, argument,
    )
}  # fmt: skip

CHEAP = (
    "row", "batch", "cls", "cls_constructor", "generator", "legacy", "legacy_class", "async_row", "async_batch",
    "async_method", "aggregate", "map_groups", "apply", "shuffled", "iterated", "written", "generators",
    "source", "source_plain", "source_tasks", "sink", "sink_end", "pickling", "unpickling", "argument",
)  # fmt: skip
"""Places that need no process of their own."""


def rendered(error: BaseException) -> str:
    """All that an error says, to a person who prints it."""
    lines = [type(error).__name__]
    link: Any = error
    for _ in range(5):
        with contextlib.suppress(BaseException):
            lines.append(str(link))
        with contextlib.suppress(BaseException):
            lines += map(str, getattr(link, "__notes__", ()))
        with contextlib.suppress(BaseException):
            lines += traceback.format_exception_only(type(link), link)
        with contextlib.suppress(BaseException):
            link = link.__cause__
    return "\n".join(lines)


def run(place: str, name: str) -> dict[str, Any]:
    """Runs one query that must fail."""
    kind = type(EXCEPTIONS[name]()).__name__
    try:
        wanted = PLACES[place](name)
        answer = wanted() if callable(wanted) else wanted.to_pydict()
    except BaseException as error:
        text = rendered(error)
        return {
            "error": type(error).__name__,
            "is_exception": issubclass(type(error), Exception),
            "names_the_type": kind in text,
            "has_the_words": WORDS in text,
            "characters": len(text),
            "text": text[:2_000],
        }
    return {"answer": repr(answer)}


def main() -> None:
    limit_seconds = float(sys.argv[1])
    options: Any = {"num_workers": 1, "worker_cpu": 2, "worker_memory": "1Gi", **json.loads(sys.argv[2])}
    session = daft_k8s.set_runner_k8s(**options)
    session.wait_for_worker()
    table().select(col("id") + 1).collect()
    for place, name in json.loads(sys.stdin.read()):
        end: dict[str, Any] = {"place": place, "exception": name}
        begun = time.monotonic()
        running = threading.Thread(target=lambda: end.update(run(place, name)), daemon=True)  # noqa: B023
        running.start()
        running.join(limit_seconds)
        end["seconds"] = time.monotonic() - begun
        end["hangs"] = running.is_alive()
        print(json.dumps(end), flush=True)
        if running.is_alive():
            break
    else:
        again = table().select(col("id") + 1).to_pydict()["id"]
        (worker,) = session.snapshot().workers
        print(json.dumps({"answer": sorted(again), "restarts": worker.restarts}), flush=True)
        session.shutdown()
    os._exit(0)


if __name__ == "__main__":
    main()
