"""Kills a worker at a random moment of every shape of query, and prints what came of them.

    python -m tests.chaos.recovery --runs 50 --seed 1

Each answer is compared with that of native Daft. The exit code is 1 if one was wrong, or a query hung. The same seed
draws the same moments and victims; what a worker does then depends on the machine.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.chaos.faults import KILL, Fault, FaultInjector
from tests.chaos.shapes import SHAPES, write_inputs
from tests.local.remote_driver import KEEP_LOG_LINES, RemoteDriver, Reply

WORKERS = 3
LONGEST_SECONDS = 120.0

RIGHT, RECOMPUTED, AGAIN, ERROR, WRONG = "right", "recomputed", "whole query again", "error", "WRONG"
KINDS = (RIGHT, RECOMPUTED, AGAIN, ERROR, WRONG)

STEP = """
from pathlib import Path
from tests.chaos.shapes import SHAPES
answer = SHAPES[{shape!r}](Path({folder!r}))
"""


class RecoveryMatrix:
    """Runs shapes, with and without a loss.

    Args:
        folder: Where data is written.
        seed: Decides when which worker is killed.
        options: Of the session, beside those of the matrix.
    """

    def __init__(self, folder: Path, seed: int, **options: Any) -> None:
        self._folder = folder
        self._seed = seed
        self._driver = RemoteDriver(
            folder, num_workers=WORKERS, max_worker_restarts=1000, worker_memory="768Mi", **options
        )
        self._native = RemoteDriver(folder, session=False, before="import daft; daft.set_runner_native()")
        write_inputs(folder / "in")
        self._driver.run(KEEP_LOG_LINES)
        self.problems: list[str] = []

    def __enter__(self) -> RecoveryMatrix:
        return self

    def __exit__(self, *_: object) -> None:
        self._driver.__exit__(*_)
        self._native.__exit__(*_)

    def run(self, shape: str, runs: int) -> Counter[str]:
        """Runs a shape so often, each time with a loss. Returns what came of the runs."""
        expected = self._native.run(self._step(shape), LONGEST_SECONDS)
        undisturbed = [self._ask(shape) for _ in range(3)]
        for reply in undisturbed:
            if reply.answer != expected:
                self._note(shape, "undisturbed", reply, expected)
        usual_seconds = statistics.median(reply.seconds for reply in undisturbed)
        counts: Counter[str] = Counter()
        for number in range(runs):
            dice = random.Random(f"{self._seed}/{shape}/{number}")
            fault = Fault(KILL, dice.uniform(0, usual_seconds), dice.randrange(WORKERS))
            self._driver.wait_for_workers(WORKERS)
            self._driver.run("LINES.clear()")
            with FaultInjector(self._driver.process.pid, [fault]) as injector:
                reply = self._ask(shape)
            lines = self._driver.run("answer = LINES")
            kind = ERROR if reply.error else _kind(lines) if reply.answer == expected else WRONG
            if kind in (ERROR, WRONG):
                self._note(shape, f"run {number}, {', '.join(injector.done)}", reply, expected)
            counts[kind] += 1
        return counts

    def _step(self, shape: str) -> str:
        return STEP.format(shape=shape, folder=str(self._folder))

    def _ask(self, shape: str) -> Reply:
        self._driver.send(self._step(shape))
        return self._driver.reply(LONGEST_SECONDS)

    def _note(self, shape: str, when: str, reply: Reply, expected: Any) -> None:
        found = f"{reply.error}: {reply.text}" if reply.error else f"{_short(reply.answer)}, not {_short(expected)}"
        self.problems.append(f"{shape}, {when}: {found}")
        print(self.problems[-1], flush=True)


def _kind(lines: list[str]) -> str:
    if any("is run again as a whole" in line for line in lines):
        return AGAIN
    return RECOMPUTED if any("are run again (" in line for line in lines) else RIGHT


def _short(answer: Any) -> str:
    return json.dumps(answer)[:200]


def main() -> int:
    parser = argparse.ArgumentParser(prog="recovery", description=__doc__.split("\n\n")[0])
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--runs", type=int, default=50, help="of each shape")
    parser.add_argument("--shape", action="append", choices=list(SHAPES), help="only this one; may be repeated")
    options = parser.parse_args()
    total: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="recovery-") as name:
        with RecoveryMatrix(Path(name), options.seed) as matrix:
            print(f"seed {options.seed}\n{'':20}" + "".join(f"{kind:>19}" for kind in KINDS), flush=True)
            for shape in options.shape or SHAPES:
                counts = matrix.run(shape, options.runs)
                print(f"{shape:20}" + "".join(f"{counts[kind]:19}" for kind in KINDS), flush=True)
                total += counts
        print(f"{'all':20}" + "".join(f"{total[kind]:19}" for kind in KINDS))
    return 1 if total[WRONG] or any("undisturbed" in problem for problem in matrix.problems) else 0


if __name__ == "__main__":
    sys.exit(main())
