"""Runs random pipelines for as long as it is told, and prints each difference, shrunk.

    python -m tests.differential.run --seconds 600

The exit code is 1 where there was a difference. `--seed` repeats a run; `--pipelines` ends it sooner.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis.errors import Flaky

from tests.differential.comparison import DAFTS_OWN, compare
from tests.differential.engines import Engines
from tests.differential.pipelines import Pipeline, pipelines

BATCH = 100
"""Pipelines for each of hypothesis' seeds."""


SHOWN = 40


class Difference(AssertionError):
    """Two engines disagree."""


class Run:
    """Counts what came of pipelines."""

    def __init__(self, engines: Engines, *, shrink_dafts_own: bool = False) -> None:
        self.engines = engines
        self._shrink_dafts_own = shrink_dafts_own
        self.outcomes: Counter[str] = Counter()
        self.differences: list[str] = []
        self.dafts_own: list[str] = []
        self.last_difference = ""

    def check(self, pipeline: Pipeline) -> None:
        """Runs one pipeline.

        Raises:
            Difference: If the engines disagree.
        """
        verdict = compare(pipeline, self.engines)
        self.outcomes[verdict.outcome] += 1
        if verdict.outcome == DAFTS_OWN and not self._shrink_dafts_own:
            self.dafts_own.append(f"{pipeline!r}\n{verdict.difference}")
        elif verdict.difference is not None:
            self.last_difference = f"{pipeline!r}\n{verdict.difference}"
            raise Difference(self.last_difference)

    def batch(self, number: int, examples: int) -> None:
        """Runs a number of pipelines, which depend on `number` alone; keeps the smallest that differs."""
        quiet = settings(
            max_examples=examples,
            deadline=None,
            database=None,
            verbosity=Verbosity.quiet,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
        )
        try:
            seed(number)(quiet(given(pipelines())(self.check)))()
        except (Difference, Flaky) as difference:
            # Flaky: the same pipeline differed once and not the next time.
            text = str(difference) if isinstance(difference, Difference) else f"not each time: {self.last_difference}"
            self.differences.append(text)
            print(f"DIFFERENCE with seed {number}:\n{text}\n", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="differential", description=__doc__.split("\n\n")[0])
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--pipelines", type=int, default=sys.maxsize)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--ray", metavar="PYTHON", help="a Python with daft[ray]: what differs there too is Daft's own")
    parser.add_argument("--shrink-dafts-own", action="store_true", help="treat what is Daft's own as a difference")
    options = parser.parse_args()
    start = time.monotonic()
    with Engines(options.ray) as engines:
        run = Run(engines, shrink_dafts_own=options.shrink_dafts_own)
        number = options.seed
        while time.monotonic() - start < options.seconds and sum(run.outcomes.values()) < options.pipelines:
            run.batch(number, min(BATCH, options.pipelines))
            number += 1
            counts = ", ".join(f"{count} {outcome}" for outcome, count in run.outcomes.most_common())
            print(f"{time.monotonic() - start:.0f} s, seeds {options.seed} to {number - 1}: {counts}", flush=True)
    for smallest in sorted(run.dafts_own, key=len)[:SHOWN]:
        print(f"DAFT'S OWN:\n{smallest}\n")
    print(f"{len(run.differences)} differences, {len(run.dafts_own)} more that are Daft's own")
    return 1 if run.differences else 0


if __name__ == "__main__":
    sys.exit(main())
