"""Runs random pipelines under random faults, and prints what came of them.

    python -m tests.chaos.run --seed 1 --runs 1000

The exit code is 1 if an answer was wrong, a query hung, or something was left behind. The same seed draws the same
pipelines and faults; when a fault meets a query depends on the machine.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections import Counter

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings

from tests.chaos.engine import ChaosEngine
from tests.differential.comparison import compare
from tests.differential.engines import Engines
from tests.differential.pipelines import Pipeline, pipelines

BATCH = 50
"""Pipelines for each of hypothesis' seeds, which are also a session's length."""

LOSSES = frozenset({"WorkerLostError", "WorkerStartError"})
"""Errors with which a query may end because of a fault."""

RIGHT, LOST, WRONG, HUNG, LEAKED = "right", "ended in an error of loss", "WRONG", "HUNG", "LEAKED"
BAD = (WRONG, HUNG, LEAKED)

_NAMES = re.compile(r"\b(worker-\d+|launch \d+|attempt \d+|[\w-]{6,}/\d+|\d[\d.]*)")


class ChaosRun:
    """Counts what came of pipelines.

    Args:
        number: Of the batch: decides pipelines and faults.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._engine = ChaosEngine(number)
        self.counts: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.faults = 0
        self.slowest_seconds = 0.0
        self.problems: list[str] = []

    def run(self, count: int) -> None:
        """Runs a number of pipelines in one session, and ends it."""
        with Engines() as engines:
            engines.ours.close()
            engines.ours = self._engine

            def check(pipeline: Pipeline) -> None:
                self._check(pipeline, engines)

            quiet = settings(
                max_examples=count,
                deadline=None,
                database=None,
                verbosity=Verbosity.quiet,
                phases=(Phase.generate,),
                suppress_health_check=list(HealthCheck),
            )
            seed(self._number)(quiet(given(pipelines())(check)))()
            left = self._engine.finish_clean()
            if left:
                self._note(LEAKED, left, None)

    def _check(self, pipeline: Pipeline, engines: Engines) -> None:
        verdict = compare(pipeline, engines)
        outcome = self._engine.last_outcome
        self.faults += len(self._engine.last_faults)
        self.slowest_seconds = max(self.slowest_seconds, self._engine.last_seconds)
        if isinstance(outcome, tuple) and outcome[0] == "hangs":
            self._note(HUNG, outcome[1], pipeline)
        elif isinstance(outcome, tuple) and outcome[0] in LOSSES:
            self.counts[LOST] += 1
            self.reasons[_NAMES.sub("_", outcome[1].splitlines()[0])[:160]] += 1
        elif verdict.difference is not None:
            self._note(WRONG, verdict.difference, pipeline)
        else:
            self.counts[RIGHT] += 1
        left = self._engine.leftovers()
        if left:
            self._note(LEAKED, left, pipeline)

    def _note(self, kind: str, what: str, pipeline: Pipeline | None) -> None:
        self.counts[kind] += 1
        faults = ", ".join(self._engine.last_faults) or "none"
        problem = f"{kind}, batch {self._number}, run {self._engine.asked}, faults: {faults}\n{what}\n{pipeline!r}"
        self.problems.append(problem)
        print(problem, "\n", self._engine.last_words(), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__.split("\n\n")[0])
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--runs", type=int, default=200)
    options = parser.parse_args()
    begin = time.monotonic()
    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    faults, slowest, number = 0, 0.0, options.seed
    while counts.total() < options.runs:
        run = ChaosRun(number)
        run.run(min(BATCH, options.runs - counts.total()))
        counts += run.counts
        reasons += run.reasons
        faults, slowest, number = faults + run.faults, max(slowest, run.slowest_seconds), number + 1
        told = ", ".join(f"{count} {kind}" for kind, count in counts.most_common())
        print(f"{time.monotonic() - begin:.0f} s, {faults} faults, slowest {slowest:.1f} s: {told}", flush=True)
    for reason, count in reasons.most_common():
        print(f"  {count} x {reason}")
    return 1 if any(counts[kind] for kind in BAD) else 0


if __name__ == "__main__":
    sys.exit(main())
