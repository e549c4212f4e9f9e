"""The account of what a query has written, for the error that ends it. Files stay: no engine of Daft removes them."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

from daft_k8s.handles.file_moves import STAGING_PREFIX
from daft_k8s.seam.plan_paths import find_paths
from daft_k8s.seam.task_handle import add_note_or_log

if TYPE_CHECKING:
    from daft_k8s._native import PartitionRef, TaskOutcome
    from daft_k8s.seam.repetition import QueryRun

_WRITES = re.compile(r"\b(?!Gather|Repartition|Commit)\w*Write\b|\bDataSink\b")
"""The operators in which tasks write for the user. Daft's shuffle writes, too, and a commit follows the tasks."""
_FILES = "Root dir"
"""Stands in the plans of writes of plain files: those of tables are in no table before the commit."""
_STAGE = re.compile(rf"/{re.escape(STAGING_PREFIX)}[0-9a-f]+/?$")
"""The folder of a staged write, below its destination."""
_FILES_SHOWN = 3


class Written:
    """The account of one run of a query."""

    def __init__(self) -> None:
        self._tasks = 0
        self._lists: list[PartitionRef] = []
        self._plan_text = ""

    def expect(self, plan_text: str) -> None:
        """Keeps a distributed plan, as Daft prints it. Its places are looked for only if the query fails."""
        self._plan_text = plan_text

    def task_ended(self, name: str, outcome: TaskOutcome) -> None:
        """A task of this name has ended. Its output is the list of its files, and is small."""
        if outcome.kind == "success" and _WRITES.search(name):
            self._tasks += 1
            if len(self._lists) < _FILES_SHOWN:
                self._lists += outcome.partitions

    def annotate(self, error: BaseException, run: QueryRun) -> None:
        """Adds to the error that ended a query what the query leaves behind."""
        text = self.describe(run)
        if text:
            add_note_or_log(error, text)

    def describe(self, run: QueryRun) -> str:
        """Describes the files that the query leaves behind; "": it does not write."""
        places = [path.forms[0] for path in find_paths(self._plan_text) if path.writing and not path.unknown]
        if run.stages_files and places:
            return f"nothing was written to {' and '.join(_STAGE.sub('', place) for place in places)}"
        if not run.has_written or not (self._tasks or places):
            return ""
        place = f" to {' and '.join(places)}" if places else ""
        if not self._tasks:
            return f"tasks of it that write{place} had begun, and may have left unfinished files there"
        tasks = "1 task of it" if self._tasks == 1 else f"{self._tasks:,} tasks of it"
        text = f"{tasks} had written{place} before, and others may have begun to"
        files = self._files(run)
        if files:
            text += f": {', '.join(files)}" + (", …" if len(files) < self._tasks else "")
        if _FILES in self._plan_text:
            return f"{text}. These files stay: remove them before you write again"
        return f"{text}. Nothing was committed" if places else text

    def _files(self, run: QueryRun) -> list[str]:
        here = [reference for reference in self._lists if reference.is_at_hand]
        with contextlib.suppress(Exception):  # they are shown if that costs nothing
            from daft_k8s.seam.partitions import fetch_micropartitions

            parts = fetch_micropartitions(run.session, here[:_FILES_SHOWN])
            return [str(path) for part in parts for path in part.to_pydict()["path"]][:_FILES_SHOWN]
        return []
