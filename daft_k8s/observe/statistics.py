"""Statistics of a session, from its facts. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from daft_k8s._native import Fact, FactKind
from daft_k8s.observe.fact_listener import FactListener

_ENDS = (FactKind.TASK_SUCCEEDED, FactKind.TASK_FAILED, FactKind.TASK_LOST, FactKind.TASK_CANCELLED)


@dataclass
class QueryStatistics:
    """A query that runs."""

    began_seconds: float
    """The time of the session at which it began."""
    tasks: int = 0
    """Submitted so far."""
    done: int = 0


class SessionStatistics(FactListener):
    """Counts queries and tasks. A task that was cancelled counts as neither done nor failed."""

    def __init__(self) -> None:
        self.done = 0
        """Tasks that have succeeded."""
        self.failed = 0
        """Tasks that have failed or were lost for good."""
        self.queries: dict[str, QueryStatistics] = {}
        """Running queries."""
        self._query_of: dict[int, str] = {}
        """The query of each task that is not over."""

    def take(self, fact: Fact) -> None:
        """Takes in the next fact."""
        kind, query_id, task = fact.kind, fact.query_id, fact.task
        if query_id is not None and kind == FactKind.QUERY_BEGAN:
            self.queries[query_id] = QueryStatistics(fact.at_seconds)
        elif query_id is not None and kind == FactKind.QUERY_ENDED:
            self.queries.pop(query_id, None)
        elif query_id is not None and task is not None and kind == FactKind.TASK_SUBMITTED:
            self._query_of[task] = query_id
            if (submitted := self.queries.get(query_id)) is not None:
                submitted.tasks += 1
        elif task is not None and kind in _ENDS:
            query = self.queries.get(self._query_of.pop(task, ""))
            if kind == FactKind.TASK_SUCCEEDED:
                self.done += 1
                if query is not None:
                    query.done += 1
            elif kind != FactKind.TASK_CANCELLED:
                self.failed += 1

    def facts_missed(self, entries: int) -> None:
        """Forgets what runs: its end may be among the facts that are missing."""
        self.queries.clear()
        self._query_of.clear()
