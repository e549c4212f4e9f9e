"""The summary of a session in few numbers: written by the driver, read by `daft-k8s status`. Pure.

Every account that may list the session's objects can read it. So it holds neither data nor plans nor SQL, and its size
has a bound, whatever the session does.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MAX_WORKERS = 100
"""Workers that are told of one by one; the totals count all."""
MAX_QUERIES = 8
"""Queries that are told of, those that run longest; the count tells how many there are."""
MAX_BYTES = 10_000
"""Never exceeded by what `encode` returns."""

_VERSION = 1
_MAX_NAME = 64
_MAX_NUMBER = 2**63


@dataclass(frozen=True)
class QuerySummary:
    """A query that runs."""

    query: str
    """The name that Daft gave it."""
    seconds: int
    """Since it began."""
    tasks: int
    """Handed out so far. Daft makes the tasks of a stage when the one before tells their number, so more may follow."""
    done: int


@dataclass(frozen=True)
class WorkerSummary:
    """A worker with a process."""

    tasks: int
    """At it: running, or next."""
    resident_bytes: int = 0
    """Of its process. Like what follows as of its last report, some seconds ago."""
    held_bytes: int = 0
    """Partitions in memory."""
    spilled_bytes: int = 0
    """Partitions on disk."""


@dataclass(frozen=True)
class SessionSummary:
    """A session as its driver sees it."""

    ready: int = 0
    """Workers that take tasks."""
    wanted: int = 0
    """Workers that the session wants now; of an elastic pool, not those that it could have."""
    running: int = 0
    """Tasks that have a slot, or fetch their inputs for one."""
    waiting: int = 0
    """Tasks that Daft has handed out and that no slot is free for."""
    done: int = 0
    """Tasks that have succeeded since the session began."""
    failed: int = 0
    """Tasks that have failed or were lost for good."""
    held_bytes: int = 0
    spilled_bytes: int = 0
    running_queries: int = 0
    queries: tuple[QuerySummary, ...] = ()
    workers: Mapping[str, WorkerSummary] = field(default_factory=dict)


def encode(summary: SessionSummary) -> str:
    """The summary as one line of JSON of at most `MAX_BYTES`."""
    values = {item.name: getattr(summary, item.name) for item in dataclasses.fields(summary)}
    queries = sorted(summary.queries, key=lambda item: -item.seconds)[:MAX_QUERIES]
    values["queries"] = [[item.query[:_MAX_NAME], item.seconds, item.tasks, item.done] for item in queries]
    values["workers"] = {
        name[:_MAX_NAME]: list(dataclasses.astuple(worker))
        for name, worker in list(summary.workers.items())[:MAX_WORKERS]
    }
    text = json.dumps({"version": _VERSION, **values}, separators=(",", ":"))
    if len(text) > MAX_BYTES:  # names of any length would do that; the totals are what matters most
        text = json.dumps({"version": _VERSION, **values, "workers": {}, "queries": []}, separators=(",", ":"))
    return text


def decode(text: object) -> SessionSummary | None:
    """A summary that was encoded; None: it is none, or of a version that says things in another way.

    Any text is taken: who may write Leases can put one there.
    """
    try:
        if len(str(text)) > MAX_BYTES:
            return None
        values = json.loads(str(text))
        if values.pop("version") != _VERSION:
            return None
        queries = tuple(_query(item) for item in values.pop("queries"))
        workers = {str(name)[:_MAX_NAME]: _worker(numbers) for name, numbers in values.pop("workers").items()}
        counts = {str(name): count(value) for name, value in values.items()}
        return SessionSummary(**counts, queries=queries, workers=workers)
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        return None


def count(value: object) -> int:
    """A count or a size that another process tells.

    Raises:
        ValueError: The value is none, or none that there can be.
    """
    if not isinstance(value, int) or not 0 <= value < _MAX_NUMBER:
        raise ValueError(f"{str(value)[:_MAX_NAME]} is no count")
    return int(value)


def _worker(values: list[Any]) -> WorkerSummary:
    return WorkerSummary(*(count(number) for number in values))


def _query(values: list[Any]) -> QuerySummary:
    query, *numbers = values
    return QuerySummary(str(query)[:_MAX_NAME], *(count(number) for number in numbers))
