"""The runner under test, whose workers meet faults while a pipeline runs."""

from __future__ import annotations

import random
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from tests.chaos.faults import FaultInjector, draw_faults, workers_of
from tests.differential.engines import Engine, Outcome
from tests.differential.pipelines import Pipeline

OPTIONS: dict[str, Any] = {
    "num_workers": 3,
    "worker_cpu": 1,
    "worker_memory": "512Mi",
    # A worker that is cut off is lost soon; one that is only paused is not.
    "unreachable_timeout_seconds": 3.0,
    # Faults come more often than any cluster has them.
    "max_worker_restarts": 1000,
}
MEAN_DELAY_SECONDS = 0.05
"""About as long as a random pipeline runs."""
SETTLE_SECONDS = 30.0
GONE_SECONDS = 30.0


class ChaosEngine(Engine):
    """An engine with local workers that gets a new set of faults for each pipeline that it is asked.

    Args:
        seed: Decides which faults the pipelines meet, each by its place in the order.
    """

    def __init__(self, seed: int) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="chaos-")
        super().__init__("k8s", options={**OPTIONS, "spill_dir": self._folder.name})
        self._seed = seed
        self.asked = 0
        self.last_outcome: Outcome | None = None
        self.last_faults: list[str] = []
        self.last_seconds = 0.0

    def ask(self, pipeline: Pipeline, *, whole: bool = False) -> Outcome:
        self.start()
        assert self.pid is not None
        faults = draw_faults(random.Random(f"{self._seed}/{self.asked}"), MEAN_DELAY_SECONDS)
        self.asked += 1
        begin = time.monotonic()
        with FaultInjector(self.pid, faults) as injector:
            self.last_outcome = super().ask(pipeline, whole=whole)
            self.last_seconds = time.monotonic() - begin
        self.last_faults = injector.done
        return self.last_outcome

    def leftovers(self) -> str:
        """Leftovers of a query in the session, for people; "": nothing. Waits for drops that are on their way."""
        if self.pid is None:
            return ""
        end = time.monotonic() + SETTLE_SECONDS
        while True:
            unfinished, held = self.leftovers_now()
            if not held and not unfinished:
                return ""
            if time.monotonic() >= end:
                return f"{unfinished} unfinished tasks, partitions held: {held}"
            time.sleep(0.05)

    def finish_clean(self) -> str:
        """Ends the driver as a script ends, and tells what is left of its session; "": nothing."""
        workers = [] if self.pid is None else workers_of(self.pid)
        code = self.finish()
        left = psutil.wait_procs(workers, timeout=GONE_SECONDS)[1]
        files = [str(path) for path in Path(self._folder.name).rglob("*")]
        problems = [f"the driver ended with {code}"] if code else []
        problems += [f"worker process {process.pid} is left" for process in left]
        problems += [f"{len(files)} files and folders are left, e.g. {files[0]}"] if files else []
        return "; ".join(problems)

    def close(self) -> None:
        super().close()
        self._folder.cleanup()
