"""TPC-H queries on one engine: a query that fails or hangs is a result like any other, and the next one runs."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.memory import MemoryWatcher, Peak
from benchmarks.process import EngineError, EngineProcess

MAXIMUM_LOST_ENGINES = 3


@dataclass(kw_only=True)
class QueryRun:
    """What became of one query on one engine."""

    number: int
    times: list[float] = field(default_factory=list)
    rows: int | None = None
    answer: Path | None = None
    error: str | None = None

    @property
    def seconds(self) -> float | None:
        """Median of the repeats; None if it failed."""
        return statistics.median(self.times) if self.times and self.error is None else None


@dataclass(kw_only=True)
class SuiteRun:
    """What became of all queries on one engine."""

    engine: str
    start_seconds: float | None = None
    queries: dict[int, QueryRun] = field(default_factory=dict)
    peaks: list[Peak] = field(default_factory=list)
    spill_lines: list[str] = field(default_factory=list)
    log: Path | None = None

    def total_seconds(self) -> float | None:
        """Sum over the queries; None unless all succeeded."""
        times = [run.seconds for run in self.queries.values()]
        known = [seconds for seconds in times if seconds is not None]
        return sum(known) if known and len(known) == len(times) else None


@dataclass(frozen=True, kw_only=True)
class SuiteOptions:
    """How a suite is run."""

    data: Path
    scale_factor: float
    output: Path
    workers: int = 2
    worker_cpu: float = 1
    worker_memory: str | None = None
    repeat: int = 1
    timeout_seconds: float = 600.0

    def process(self, engine: str) -> EngineProcess:
        """A fresh process of an engine with these settings."""
        return EngineProcess(
            engine,
            log=self.output / f"{engine}.log",
            workers=self.workers,
            worker_cpu=self.worker_cpu,
            worker_memory=self.worker_memory,
        )


def run_suite(
    engine: str,
    numbers: Iterable[int],
    options: SuiteOptions,
    *,
    progress: Callable[[QueryRun], None] | None = None,
) -> SuiteRun:
    """Runs the queries one after the other in one engine process; starts another if that one is lost."""
    suite = SuiteRun(engine=engine, log=options.output / f"{engine}.log")
    todo = list(numbers)
    suite.queries = {number: QueryRun(number=number) for number in todo}
    lost = 0
    while todo and lost < MAXIMUM_LOST_ENGINES:
        if not _run_in_one_process(suite, todo, options, progress):
            lost += 1
    for number in todo:
        run = suite.queries[number]
        run.error = run.error or f"not run: {engine} was lost {lost} times; see {suite.log}"
        if progress is not None:
            progress(run)
    return suite


def _run_in_one_process(
    suite: SuiteRun, todo: list[int], options: SuiteOptions, progress: Callable[[QueryRun], None] | None
) -> bool:
    """Takes queries off `todo` until it is empty (True) or the engine is lost (False)."""
    process = options.process(suite.engine)
    with process, MemoryWatcher(process.pid) as watcher:
        try:
            started = process.start(data=options.data, scale_factor=options.scale_factor)
        except EngineError as error:
            suite.queries[todo[0]].error = f"{suite.engine} did not start: {error}"
            return False
        suite.start_seconds = suite.start_seconds or float(started["seconds"])
        alive = True
        while todo and alive:
            run = suite.queries[todo.pop(0)]
            alive = _run_query(process, run, options)
            if progress is not None:
                progress(run)
        suite.peaks += watcher.peaks()
        suite.spill_lines += process.spill_lines()
    return alive


def _run_query(process: EngineProcess, run: QueryRun, options: SuiteOptions) -> bool:
    """Runs one query as often as asked for; False if the engine was lost over it."""
    directory = options.output / "answers"
    directory.mkdir(parents=True, exist_ok=True)
    answer = directory / f"{process.engine}-q{run.number:02d}.parquet"
    answer.unlink(missing_ok=True)
    try:
        for repeat in range(options.repeat):
            target = str(answer) if repeat == 0 else None
            reply = process.call(options.timeout_seconds, "tpch", query=run.number, answer=target)
            run.times.append(float(reply["seconds"]))
            run.rows = int(reply["rows"])
        run.answer = answer
    except EngineError as error:
        run.error = str(error)
        return not error.engine_lost
    return True
