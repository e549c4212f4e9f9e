"""What `make bench` runs: engines side by side in one run, alternating, medians of several rounds.

In every round each engine gets a fresh process and runs the same workloads; the order of the engines turns from
round to round, so that none is always first. Ratios refer to native Daft in the same run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.engine import ENGINES
from benchmarks.options import add_worker_options, engines_of, numbers_of, positive_float, positive_int
from benchmarks.process import REPOSITORY, EngineError, EngineProcess, is_available
from benchmarks.progress import Steps
from benchmarks.suite import QueryRun
from benchmarks.tpch.answers import NUMBERS, Reference
from benchmarks.tpch.data import generate
from benchmarks.verdict import RIGHT, judge

WORKLOADS = ("start", "tpch", "tasks", "shuffle")
TASKS = 2_000
SHUFFLE_MAPS = 200
SHUFFLE_REDUCES = 100


@dataclass(kw_only=True)
class Measurements:
    """Seconds of every measure of one engine, one entry for each round, and what went wrong."""

    engine: str
    seconds: dict[str, list[float]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def add(self, measure: str, seconds: float) -> None:
        """One more round of a measure."""
        self.seconds.setdefault(measure, []).append(seconds)

    def median(self, measure: str) -> float | None:
        """Median over the rounds; None if there is none."""
        values = self.seconds.get(measure)
        return statistics.median(values) if values else None


def workloads_of(text: str) -> list[str]:
    """`tpch,tasks` as a list."""
    names = [part.strip() for part in text.split(",") if part.strip()]
    if not names or any(name not in WORKLOADS for name in names):
        raise argparse.ArgumentTypeError(f"choose workloads from {', '.join(WORKLOADS)}, not {text!r}")
    return list(dict.fromkeys(names))


def main(arguments: list[str] | None = None) -> int:
    """Measures and writes `bench.json` and `bench.md`; 1 if anything failed or was wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench", description=__doc__)
    parser.add_argument("--scale-factor", type=positive_float, default=1.0)
    parser.add_argument("--rounds", type=positive_int, default=3)
    parser.add_argument(
        "--engine",
        type=engines_of,
        default=None,
        help=f"comma-separated, from {', '.join(ENGINES)} (default: installed)",
    )
    parser.add_argument("--workload", type=workloads_of, default=list(WORKLOADS), help=f"from {', '.join(WORKLOADS)}")
    parser.add_argument("--queries", type=numbers_of, default=list(NUMBERS), help="such as 1,5,7-9 (default: all 22)")
    parser.add_argument("--timeout", type=positive_float, default=600.0, help="seconds for one step")
    parser.add_argument("--output", type=Path, default=REPOSITORY / ".cache" / "bench")
    parser.add_argument("--data", type=Path, default=None, help="directory for generated data of all scale factors")
    add_worker_options(parser)
    options = parser.parse_args(arguments)
    engines = options.engine or [engine for engine in ENGINES if is_available(engine)]
    missing = [engine for engine in engines if not is_available(engine)]
    if missing:
        print(f"not installed: {', '.join(missing)}", file=sys.stderr)
        return 2
    options.output.mkdir(parents=True, exist_ok=True)
    data = generate(options.scale_factor, cache_root=options.data) if "tpch" in options.workload else None

    measured = {engine: Measurements(engine=engine) for engine in engines}
    with Steps("bench", options.rounds * len(engines)) as steps:
        for number in range(options.rounds):
            shift = number % len(engines)
            for engine in engines[shift:] + engines[:shift]:
                _round(measured[engine], options, data)
                steps.done(f"round {number + 1} {engine}")

    wrong = _check_answers(measured, options, data)
    result = _result(measured, options, wrong)
    (options.output / "bench.json").write_text(json.dumps(result, indent=1) + "\n")
    text = markdown(measured, options.queries if data is not None else [])
    for engine, problems in wrong.items():
        text += "".join(f"\n- {engine}: {problem}" for problem in problems)
    (options.output / "bench.md").write_text(text + "\n")
    print(text)
    print(f"\n{options.output / 'bench.md'}\n{options.output / 'bench.json'}")
    return 1 if any(wrong.values()) else 0


def _round(measured: Measurements, options: argparse.Namespace, data: Path | None) -> None:
    """All workloads once, in a fresh process; a lost engine ends the round."""
    process = EngineProcess(
        measured.engine,
        log=options.output / f"{measured.engine}.log",
        workers=options.workers,
        worker_cpu=options.worker_cpu,
        worker_memory=options.worker_memory,
    )
    steps: list[tuple[str, str, dict[str, object]]] = []
    if "tasks" in options.workload:
        steps.append((f"{TASKS:,} trivial tasks", "tasks", {"count": TASKS}))
    if "shuffle" in options.workload:
        name = f"{SHUFFLE_MAPS} x {SHUFFLE_REDUCES} shuffle"
        steps.append((name, "shuffle", {"maps": SHUFFLE_MAPS, "reduces": SHUFFLE_REDUCES}))
    if data is not None:
        steps += [(f"q{n}", "tpch", {"query": n, "answer": str(_answer(options, process, n))}) for n in options.queries]
    with process:
        try:
            started = process.start(data=data, scale_factor=options.scale_factor)
            measured.add("start", float(started["seconds"]))
        except EngineError as error:
            measured.problems.append(f"start: {error}")
            return
        for name, command, parameters in steps:
            try:
                measured.add(name, float(process.call(options.timeout, command, **parameters)["seconds"]))
            except EngineError as error:
                measured.problems.append(f"{name}: {error}")
                if error.engine_lost:
                    return


def _answer(options: argparse.Namespace, process: EngineProcess, number: int) -> Path:
    directory: Path = options.output / "answers"
    directory.mkdir(exist_ok=True)
    return directory / f"{process.engine}-q{number:02d}.parquet"


def _check_answers(
    measured: dict[str, Measurements], options: argparse.Namespace, data: Path | None
) -> dict[str, list[str]]:
    """What failed or was wrong, by engine; answers are those of the last round."""
    wrong = {engine: list(measurements.problems) for engine, measurements in measured.items()}
    if data is None:
        return wrong
    reference = Reference(data, scale_factor=options.scale_factor)
    for engine in measured:
        for number in options.queries:
            answer = options.output / "answers" / f"{engine}-q{number:02d}.parquet"
            if measured[engine].median(f"q{number}") is not None:
                verdict = judge(QueryRun(number=number, answer=answer), reference, native=None)
                if verdict.word != RIGHT:
                    wrong[engine].append(f"q{number} {verdict.word}: {verdict.detail}")
    return wrong


def tpch_total(measured: Measurements, queries: list[int]) -> float | None:
    """Sum of the queries' medians; None unless all have one."""
    medians = [measured.median(f"q{number}") for number in queries]
    known = [median for median in medians if median is not None]
    return sum(known) if known and len(known) == len(medians) else None


def markdown(measured: dict[str, Measurements], queries: list[int]) -> str:
    """The table: a line for each measure, seconds of every engine and ratios to the first one."""
    engines = list(measured)
    base = engines[0]
    heads = ["measure", *[f"{engine}, s" for engine in engines], *[f"{engine} / {base}" for engine in engines[1:]]]
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" + " ---: |" * (len(heads) - 1)]

    def line(name: str, values: list[float | None]) -> str:
        first = values[0]
        seconds = ["-" if value is None else f"{value:.3f}" for value in values]
        ratios = ["-" if value is None or not first else f"{value / first:.2f}" for value in values[1:]]
        return "| " + " | ".join([name, *seconds, *ratios]) + " |"

    names = dict.fromkeys(name for measurements in measured.values() for name in measurements.seconds)
    query_names = [f"q{number}" for number in queries]
    for name in [name for name in names if name not in query_names] + query_names:
        lines.append(line(name, [measurements.median(name) for measurements in measured.values()]))
    if queries:
        totals = [tpch_total(measurements, queries) for measurements in measured.values()]
        lines.append(line(f"TPC-H, {len(queries)} queries", totals))
    return "\n".join(lines)


def _result(
    measured: dict[str, Measurements], options: argparse.Namespace, wrong: dict[str, list[str]]
) -> dict[str, Any]:
    def median_of_all(measurements: Measurements) -> dict[str, float | None]:
        return {name: measurements.median(name) for name in measurements.seconds}

    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": {"architecture": platform.machine(), "system": platform.system(), "cpus": os.cpu_count()},
        "versions": {"python": platform.python_version(), "daft": _version("daft"), "ray": _version("ray")},
        "scale_factor": options.scale_factor,
        "rounds": options.rounds,
        "workers": options.workers,
        "worker_cpu": options.worker_cpu,
        "worker_memory": options.worker_memory,
        "engines": {
            engine: {
                "medians": median_of_all(measurements),
                "tpch_total": tpch_total(measurements, options.queries),
                "rounds": measurements.seconds,
                "problems": wrong[engine],
            }
            for engine, measurements in measured.items()
        },
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


if __name__ == "__main__":
    raise SystemExit(main())
