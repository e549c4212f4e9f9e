"""What `make demo` runs: TPC-H on two local workers, every answer checked against DuckDB.

The last line reads `22 of 22 right`, or fewer, and then the exit status is 1.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.engine import ENGINES
from benchmarks.options import add_worker_options, engines_of, memory_limit, numbers_of, positive_float, positive_int
from benchmarks.process import REPOSITORY, is_available
from benchmarks.progress import Steps
from benchmarks.report import Report, table_cells
from benchmarks.suite import SuiteOptions, SuiteRun, run_suite
from benchmarks.tpch.answers import NUMBERS, Reference
from benchmarks.tpch.data import TABLES, GenerationError, generate, table_parts
from benchmarks.verdict import DAFT_WRONG, RIGHT, Verdict, judge_all

PLAIN_WIDTH = 110
"""Width of the table where there is no terminal to ask."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(prog="python -m benchmarks.demo", description=__doc__)
    result.add_argument("--scale-factor", type=positive_float, default=1.0, help="size of the data; 1 is about 1 GB")
    result.add_argument(
        "--engine",
        type=engines_of,
        default=["native", "daft_k8s"],
        help=f"comma-separated, from {', '.join(ENGINES)}; the last one is judged, the first is what ratios refer to",
    )
    result.add_argument("--queries", type=numbers_of, default=list(NUMBERS), help="such as 1,5,7-9 (default: all 22)")
    result.add_argument("--repeat", type=positive_int, default=1, help="runs of every query; the median counts")
    result.add_argument("--timeout", type=positive_float, default=600.0, help="seconds for one run of a query")
    result.add_argument("--output", type=Path, default=REPOSITORY / ".cache" / "demo", help="directory for results")
    result.add_argument("--data", type=Path, default=None, help="directory for generated data of all scale factors")
    add_worker_options(result)
    return result


def main(arguments: list[str] | None = None) -> int:
    """Runs the demo; the result is the exit status."""
    options = parser().parse_args(arguments)
    for engine in options.engine:
        if not is_available(engine):
            print(f"{engine} is not installed", file=sys.stderr)
            return 2
    options.output.mkdir(parents=True, exist_ok=True)
    try:
        data = _data(options)
    except GenerationError as error:
        print(f"no data: {error}", file=sys.stderr)
        return 2
    reference = Reference(data, scale_factor=options.scale_factor)
    missing = [number for number in options.queries if not reference.is_cached(number)]
    with Steps("DuckDB's answers", len(missing)) as steps:
        for number in missing:
            reference.answer(number)
            steps.done(f"q{number}")

    suite_options = SuiteOptions(
        data=data,
        scale_factor=options.scale_factor,
        output=options.output,
        workers=options.workers,
        worker_cpu=options.worker_cpu,
        worker_memory=options.worker_memory,
        repeat=options.repeat,
        timeout_seconds=options.timeout,
    )
    suites = []
    for engine in options.engine:
        with Steps(engine, len(options.queries)) as steps:
            suites.append(
                run_suite(
                    engine,
                    options.queries,
                    suite_options,
                    progress=lambda run, steps=steps: steps.done(  # type: ignore[misc]  # a default binds the loop's value
                        f"q{run.number} {'failed' if run.seconds is None else f'{run.seconds:.2f} s'}"
                    ),
                )
            )
    native = next((suite for suite in suites if suite.engine == "native"), None)
    verdicts = judge_all(suites[-1], reference, native=native)
    _show(suites, verdicts, options)
    return 0 if all(verdict.word == RIGHT for verdict in verdicts.values()) else 1


def _data(options: argparse.Namespace) -> Path:
    files = sum(table_parts(table, options.scale_factor) for table in TABLES)
    with Steps(f"TPC-H SF{options.scale_factor:g} data", files) as steps:
        return generate(
            options.scale_factor, cache_root=options.data, progress=lambda table, done, total: steps.done(table)
        )


def _show(suites: list[SuiteRun], verdicts: dict[int, Verdict], options: argparse.Namespace) -> None:
    judged = suites[-1]
    right = sum(verdict.word == RIGHT for verdict in verdicts.values())
    summary = f"{right} of {len(verdicts)} right"
    notes = _notes(suites, verdicts, memory_limit(options.worker_memory))
    workers = f"{options.workers} local workers of {options.worker_cpu:g} CPU"
    title = f"TPC-H SF{options.scale_factor:g} on {judged.engine}"
    report = Report(
        title=title,
        subtitle=f"{workers}; answers checked against DuckDB; {platform.machine()}, Python {platform.python_version()}",
        verdict=summary,
        suites=suites,
        judged=judged.engine,
        verdicts=verdicts,
        notes=notes,
    )
    page = options.output / "demo.html"
    page.write_text(report.html(), encoding="utf-8")
    (options.output / "demo.json").write_text(json.dumps(_as_json(suites, verdicts, options), indent=1) + "\n")

    console = Console() if sys.stdout.isatty() else Console(width=PLAIN_WIDTH)
    console.print(_table(title, suites, verdicts))
    for note in notes:
        console.print(note, markup=False, highlight=False, soft_wrap=True)
    console.print(f"picture: {page}", markup=False, highlight=False, soft_wrap=True)
    print(summary, flush=True)


def _table(title: str, suites: list[SuiteRun], verdicts: dict[int, Verdict]) -> Table:
    table = Table(title=title)
    table.add_column("query")
    table.add_column("rows", justify="right")
    for suite in suites:
        table.add_column(f"{suite.engine}, s", justify="right")
    for suite in suites[1:]:
        table.add_column("ratio" if len(suites) == 2 else f"{suite.engine} ratio", justify="right")
    table.add_column("answer")
    for cells, verdict in zip(table_cells(suites, verdicts), verdicts.values(), strict=True):
        colour = "green" if verdict.word == RIGHT else "red"
        table.add_row(*cells[:-1], f"[{colour}]{escape(cells[-1])}[/{colour}]")
    totals = [suite.total_seconds() for suite in suites]
    table.add_section()
    seconds = ["-" if total is None else f"{total:.2f}" for total in totals]
    ratios = [f"{total / totals[0]:.2f}" if total and totals[0] else "-" for total in totals[1:]]
    table.add_row("total", "", *seconds, *ratios, "")
    return table


def _notes(suites: list[SuiteRun], verdicts: dict[int, Verdict], limit: int | None) -> list[str]:
    notes = [f"q{number} {v.word}: {v.detail}" for number, v in verdicts.items() if v.word != RIGHT]
    daft_wrong = [f"q{number}" for number, v in verdicts.items() if v.word == DAFT_WRONG]
    if daft_wrong:
        notes.append(f"the same answer as native Daft, which is wrong itself: {', '.join(daft_wrong)}")
    for suite in suites:
        if suite.start_seconds is not None:
            notes.append(f"{suite.engine}: {suite.start_seconds:.2f} s from set_runner to the first row")
        for peak in suite.peaks:
            over = limit is not None and peak.role == "worker" and peak.anonymous_bytes > limit
            if peak.role != "helper":
                notes.append(f"{suite.engine} {peak.line()}{' OVER ITS LIMIT' if over else ''}")
        if suite.engine == "daft_k8s":
            notes.append(f"{suite.engine}: {len(suite.spill_lines)} lines of the log speak of spilling ({suite.log})")
    return notes


def _as_json(suites: list[SuiteRun], verdicts: dict[int, Verdict], options: argparse.Namespace) -> dict[str, object]:
    return {
        "scale_factor": options.scale_factor,
        "workers": options.workers,
        "worker_cpu": options.worker_cpu,
        "worker_memory": options.worker_memory,
        "engines": {
            suite.engine: {
                "start_seconds": suite.start_seconds,
                "total_seconds": suite.total_seconds(),
                "queries": {f"q{number}": run.times for number, run in suite.queries.items()},
                "peaks": [vars(peak) for peak in suite.peaks],
                "spill_lines": len(suite.spill_lines),
            }
            for suite in suites
        },
        "judged": suites[-1].engine,
        "verdicts": {f"q{number}": vars(verdict) for number, verdict in verdicts.items()},
    }


if __name__ == "__main__":
    raise SystemExit(main())
