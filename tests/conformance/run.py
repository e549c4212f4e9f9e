"""Runs Daft's own tests on this runner and compares them, by test id, with another runner's results.

    python -m tests.conformance.run ../daft --tier t0 --baseline ray.tsv.xz

The exit code is 1 where a test that passes in the baseline does not pass here (without a baseline: where
any test fails). A run goes on where the last one ended; `--again` repeats what did not pass, `--fresh` all.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from . import summary
from .baseline import DELIBERATE, Comparison, Outcome, add_outcome, compare, covers, read_baseline, write_baseline
from .checkout import TIERS, Tier, staged
from .process import BrokenRun, Place, collect, run_all
from .results import Result, ResultsFile
from .shares import divide

ROOT = Path(__file__).resolve().parents[2]
FILES = ROOT / ".cache" / "conformance"
SELECTION = "not (integration or benchmark or hypothesis)"  # Daft's own
WORKERS = {
    "DAFT_K8S_ALLOCATION": "local",
    "DAFT_K8S_NUM_WORKERS": "2",
    "DAFT_K8S_WORKER_CPU": str(os.cpu_count() or 1),  # some tests ask for all CPUs of the machine
    "DAFT_K8S_WORKER_MEMORY": "2Gi",
}
ONE_WORKER = {"DAFT_K8S_NUM_WORKERS": "1", "DAFT_K8S_QUEUE_AHEAD": "0"}
NEED_ONE_WORKER = (
    # Counts on the order in which tasks run that each take all CPUs of the only worker, as Ray has it on one machine.
    "tests/dataframe/test_distributed_limit.py::test_distributed_limit_retries_after_worker_death",
)
SHOWN_IDS = 20


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="conformance", description=__doc__.split("\n\n")[0])
    parser.add_argument("checkout", type=Path, help="a checkout of Daft at a tag near the installed version")
    parser.add_argument("paths", nargs="*", help="files or folders below it, e.g. tests/dataframe/test_sort.py")
    parser.add_argument("--tier", choices=sorted(TIERS), help="a named set of paths (t0 where nothing is named)")
    parser.add_argument("-k", dest="keyword", help="only tests that match, as pytest's -k")
    parser.add_argument(
        "--baseline", type=Path, action="append", default=[], metavar="FILE", help="may be given more than once"
    )
    parser.add_argument("--limit", type=float, default=60.0, metavar="SECONDS", help="of one test, then it is killed")
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="each has workers of its own")
    parser.add_argument("--fresh", action="store_true", help="run all again")
    parser.add_argument("--again", action="store_true", help="run again what did not pass")
    parser.add_argument("--runner", choices=("k8s", "native", "ray"), default="k8s")
    parser.add_argument("--save", type=Path, metavar="FILE", help="write the results as a baseline")
    parser.add_argument(
        "--make-baseline", type=Path, metavar="FILE", help="run on Ray, which must be installed, and write the results"
    )
    parser.add_argument("--python", default=sys.executable, help="the Python that runs the tests, if not this one")
    parser.add_argument(
        "--summary", action="store_true", help="keep the counts that docs/compatibility.md is made from"
    )
    # Intermixed: `make` puts the checkout before all options, and then paths behind these would be unknown.
    options = parser.parse_intermixed_args(arguments)
    if not (options.checkout / "tests" / "conftest.py").is_file():
        parser.error(f"{options.checkout} is no checkout of Daft: it has no tests/conftest.py")
    if options.tier and options.paths:
        parser.error("give paths or a tier, not both")
    if options.make_baseline:
        options.runner, options.save = "ray", options.make_baseline
        if subprocess.run([options.python, "-c", "import ray"], capture_output=True).returncode:
            parser.error(f"{options.python} has no Ray: install daft[ray] there, or name another Python with --python")
    if options.processes < 1 or options.limit <= 0:
        parser.error("--processes and --limit must be positive")
    for path in options.paths:
        if not path.startswith("tests/") or not (options.checkout / path.partition("::")[0]).exists():
            parser.error(f"{path} is not below {options.checkout}/tests")
    for path in options.baseline:
        if not path.is_file():
            parser.error(f"there is no baseline {path}")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    tier = Tier(tuple(options.paths)) if options.paths else TIERS[options.tier or "t0"]
    tier = Tier(
        tuple(path for path in tier.paths if (options.checkout / path.partition("::")[0]).exists()), tier.ignored
    )
    baseline: dict[str, Outcome] = {}
    for path in options.baseline:
        for name, outcome in read_baseline(path).items():
            if covers(tier.paths, tier.ignored, name):
                add_outcome(baseline, name, outcome)
    name = f"{options.runner}-daft-{importlib.metadata.version('daft')}"
    file = ResultsFile(FILES / f"{name}.jsonl")
    try:
        with staged(options.checkout, without_ray=options.runner == "k8s") as stage:
            results, bad_ends = _run(options, tier, stage, file, baseline)
    except BrokenRun as error:
        print(error, file=sys.stderr)
        return 2
    if options.save:
        write_baseline(options.save, results)
    # A test that is asked for by name or keyword says nothing of those that are not.
    partial = options.keyword or any("::" in path for path in tier.paths)
    comparison = compare(results, baseline)
    if options.summary:
        summary.write(summary.summarise(results, baseline, comparison, _notes(comparison)))
    print(report(comparison, with_baseline=bool(options.baseline), partial=bool(partial), bad_ends=bad_ends))
    print(f"Results: {file.path}")
    return 1 if bad_ends or (comparison.regressions if options.baseline else _failures(comparison)) else 0


def _notes(comparison: Comparison) -> dict[str, str]:
    daft = importlib.metadata.version("daft")
    return {
        "Versions": f"daft {daft}, Python {platform.python_version()}, {platform.system()}",
        "Time of the tests that pass on both sides": f"{comparison.seconds_here:.0f} s here, "
        f"{comparison.seconds_there:.0f} s on Ray",
    }


def _run(
    options: argparse.Namespace, tier: Tier, stage: Path, file: ResultsFile, baseline: Mapping[str, Outcome]
) -> tuple[list[Result], list[str]]:
    def place(name: str, **variables: str) -> Place:
        environment = {**_environment(stage, options.runner), **variables}
        return Place(stage, f"{options.runner}-{name}", FILES, environment, pytest_arguments, options.python)

    pytest_arguments = ["-m", SELECTION, "--conformance-runner", options.runner]
    pytest_arguments += [f"--ignore={path}" for path in tier.ignored]
    if options.keyword:
        pytest_arguments += ["-k", options.keyword]

    modules: list[Result] = []  # that cannot be collected, or are skipped as a whole
    nodeids = collect(place("collection"), tier.paths, on_result=modules.append)
    known = {nodeid: result for nodeid in nodeids if (result := file.get(nodeid)) is not None}
    todo_again = [n for n, result in known.items() if options.fresh or (options.again and result.status != "passed")]
    file.forget(todo_again)
    todo = [nodeid for nodeid in nodeids if file.get(nodeid) is None]
    print(f"{len(nodeids)} tests, {len(nodeids) - len(todo)} of them with results already", flush=True)

    bad_ends: list[str] = []
    broken: list[BaseException] = []
    progress = Progress(len(todo), baseline if options.baseline else None)

    def on_result(result: Result) -> None:
        file.add(result)
        progress.add(result)

    def run_share(place: Place, share: list[str]) -> None:
        try:
            run_all(place, share, limit_seconds=options.limit, on_result=on_result, on_bad_end=bad_ends.append)
        except BaseException as error:
            broken.append(error)

    alone = [nodeid for nodeid in todo if nodeid in NEED_ONE_WORKER]
    shares = divide([nodeid for nodeid in todo if nodeid not in NEED_ONE_WORKER], options.processes, baseline)
    threads = [
        threading.Thread(target=run_share, args=(place(str(number)), share), daemon=True)
        for number, share in enumerate(shares)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    run_share(place("one-worker", **ONE_WORKER), alone)
    if broken:
        raise broken[0]
    print(f"{len(todo)} tests run in {progress.seconds:.0f} s", flush=True)
    return [*modules, *(result for nodeid in nodeids if (result := file.get(nodeid)))], bad_ends


def _environment(stage: Path, runner: str) -> dict[str, str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    if runner == "k8s":
        environment = {**WORKERS, **environment}
    environment |= {
        # Daft's tests know two runners; a distributed one is called ray.
        "DAFT_RUNNER": "native" if runner == "native" else "ray",
        "DAFT_ANALYTICS_ENABLED": "0",
        "DO_NOT_TRACK": "true",
        "DAFT_PROGRESS_BAR": "0",
        # `conformance.plugin` is below tests/.
        "PYTHONPATH": os.pathsep.join([str(stage), str(ROOT / "tests"), *_python_path()]),
        "PYTHONUNBUFFERED": "1",
    }
    return environment


def _python_path() -> list[str]:
    return [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]


class Progress:
    """Says what does not pass at once, and now and then how far the run is."""

    def __init__(self, total: int, baseline: Mapping[str, Outcome] | None) -> None:
        self._total = total
        self._baseline = baseline
        self._done = 0
        self._bad = 0
        self._start = time.monotonic()
        self._lock = threading.Lock()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._start

    def add(self, result: Result) -> None:
        with self._lock:
            self._done += 1
            if result.is_bad:
                self._bad += 1
                print(f"{result.status.upper()} {_where(result, self._baseline)}{_line(result)}", flush=True)
            if self._done % 100 == 0 or self._done == self._total:
                print(f"{self._done} of {self._total}, {self._bad} failed, {self.seconds:.0f} s", flush=True)


def _where(result: Result, baseline: Mapping[str, Outcome] | None) -> str:
    if baseline is None:
        return ""
    there = baseline.get(result.test_id)
    return f"({there.status} in the baseline) " if there else ""


def _line(result: Result) -> str:
    return f"{result.nodeid}: {result.error[:300]}"


def _failures(comparison: Comparison) -> int:
    return comparison.counts["failed"] + comparison.counts["error"]


def report(comparison: Comparison, *, with_baseline: bool, partial: bool, bad_ends: Sequence[str]) -> str:
    """What the run has shown, for people; the regressions come last."""
    lines = ["", "Here: " + ", ".join(f"{count} {status}" for status, count in sorted(comparison.counts.items()))]
    if with_baseline:
        if comparison.seconds_there:
            lines.append(
                f"Tests that pass on both sides took {comparison.seconds_here:.1f} s here, "
                f"{comparison.seconds_there:.1f} s in the baseline"
            )
        lines += _some("Tests that the baseline does not know", [r.nodeid for r in comparison.only_here])
        if not partial:
            lines += _some("Tests that only the baseline knows", comparison.only_there)
        lines += _some("Tests that fail here and do not pass in the baseline", [*map(_line, comparison.both_fail)])
        lines += _some(
            "Tests that expect what is otherwise here on purpose",
            [f"{result.nodeid}: {DELIBERATE[result.nodeid]}" for result in comparison.deliberate],
        )
        lines += _some("Tests that pass in the baseline and are skipped here", [*map(_line, comparison.skipped_here)])
    lines += [f"A process ended badly: {end}" for end in bad_ends]
    if with_baseline:
        lines += ["", f"Pass in the baseline, fail here: {len(comparison.regressions)}"]
        lines += [f"  {_line(result)}" for result in comparison.regressions]
    return "\n".join(lines)


def _some(title: str, items: Sequence[str]) -> list[str]:
    if not items:
        return []
    more = [f"  and {len(items) - SHOWN_IDS} more"] if len(items) > SHOWN_IDS else []
    return ["", f"{title}: {len(items)}", *(f"  {item}" for item in items[:SHOWN_IDS]), *more]


if __name__ == "__main__":
    sys.exit(main())
