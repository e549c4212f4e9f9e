"""What a query that failed has written, for its error. Its files stay: no engine of Daft removes them."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

from daft_k8s.seam.plan_paths import find_paths
from daft_k8s.seam.task_handle import tell

if TYPE_CHECKING:
    from daft_k8s._native import PartitionRef, TaskOutcome
    from daft_k8s.seam.repetition import QueryRun

_WRITES = re.compile(r"\b(?!Gather|Repartition|Commit)\w*Write\b|\bDataSink\b")
"""The operators in which tasks write for the user. Daft's shuffle writes, too, and a commit follows the tasks."""
_FILES = "Root dir"
"""Stands in the plans of writes of plain files: those of tables are in no table before the commit."""
_STAGE = re.compile(r"/\.daft-write-[0-9a-f]+/?$")
"""The folder of a staged write, below its destination."""
_FILES_SHOWN = 3


class Written:
    """What the tasks of one run of a query have written."""

    def __init__(self) -> None:
        self._tasks = 0
        self._lists: list[PartitionRef] = []
        self._places: list[str] = []
        self._plain_files = False

    def expect(self, plan_text: str) -> None:
        """Takes the places from a distributed plan, as Daft prints it."""
        self._places = [path.forms[0] for path in find_paths(plan_text) if path.writing and not path.unknown]
        self._plain_files = _FILES in plan_text

    def task_ended(self, name: str, outcome: TaskOutcome) -> None:
        """A task of this name has ended. Its output is the list of its files, and is small."""
        if outcome.kind == "success" and _WRITES.search(name):
            self._tasks += 1
            if len(self._lists) < _FILES_SHOWN:
                self._lists += outcome.partitions

    def tell(self, error: BaseException, run: QueryRun) -> None:
        """Adds to the error that ended a query what the query leaves behind."""
        text = self.describe(run)
        if text:
            tell(error, text)

    def describe(self, run: QueryRun) -> str:
        """What the query leaves behind, in words; "": it does not write."""
        if run.stages_files and self._places:
            return f"nothing was written to {' and '.join(_STAGE.sub('', place) for place in self._places)}"
        if not run.has_written or not (self._tasks or self._places):
            return ""
        place = f" to {' and '.join(self._places)}" if self._places else ""
        if not self._tasks:
            return f"tasks of it that write{place} had begun, and may have left unfinished files there"
        tasks = "1 task of it" if self._tasks == 1 else f"{self._tasks:,} tasks of it"
        text = f"{tasks} had written{place} before, and others may have begun to"
        files = self._files(run)
        if files:
            text += f": {', '.join(files)}" + (", …" if len(files) < self._tasks else "")
        if self._plain_files:
            return f"{text}. These files stay: remove them before you write again"
        return f"{text}. Nothing was committed" if self._places else text

    def _files(self, run: QueryRun) -> list[str]:
        here = [reference for reference in self._lists if reference.is_at_hand]
        with contextlib.suppress(Exception):  # they are shown if that costs nothing
            from daft_k8s.seam.partitions import fetch_micropartitions

            parts = fetch_micropartitions(run.session, here[:_FILES_SHOWN])
            return [str(path) for part in parts for path in part.to_pydict()["path"]][:_FILES_SHOWN]
        return []
