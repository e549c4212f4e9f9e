"""The schema of the event log: a fact of a session as one line of JSON. Pure.

docs/event-log.md describes the schema for readers; a test compares the two.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from functools import lru_cache

from daft_k8s._native import Fact, FactKind

VERSION = 1
"""Counted up when a reader of older lines would misread new ones. New kinds and new fields are no such change."""

BEGAN, ENDED = "log_began", "log_ended"
MISSED, DROPPED = "facts_missed", "facts_dropped"

_ATTEMPT = ("task", "attempt", "worker_id", "launch")
_PROCESS = ("worker_id", "launch")

FIELDS: Mapping[FactKind, tuple[str, ...]] = {
    FactKind.QUERY_BEGAN: ("query_id",),
    FactKind.QUERY_ENDED: ("query_id",),
    FactKind.TASK_SUBMITTED: ("task", "query_id"),
    FactKind.TASK_SENT: _ATTEMPT,
    FactKind.ATTEMPT_REFUSED: (*_ATTEMPT, "reason"),
    FactKind.INPUTS_MISSING: _ATTEMPT,
    FactKind.ATTEMPT_LOST: (*_ATTEMPT, "exit_cause", "count"),
    FactKind.TASK_SUCCEEDED: (*_ATTEMPT, "count"),
    FactKind.TASK_FAILED: _ATTEMPT,
    FactKind.TASK_LOST: ("task", "loss", "reason"),
    FactKind.TASK_CANCELLED: ("task",),
    FactKind.WORKER_LAUNCHED: _PROCESS,
    FactKind.WORKER_POSTPONED: (*_PROCESS, "reason"),
    FactKind.WORKER_READY: _PROCESS,
    FactKind.WORKER_RELEASED: (*_PROCESS, "reason"),
    FactKind.WORKER_LOST: (*_PROCESS, "reason"),
    FactKind.WORKER_REPLACED: (*_PROCESS, "reason", "count"),
    FactKind.PROCESS_ENDED: (*_PROCESS, "exit_cause", "reason"),
    FactKind.SLOTS_LOST: (*_PROCESS, "count"),
    FactKind.POOL_GROWN: ("count",),
    FactKind.POOL_UNAVAILABLE: ("reason",),
    FactKind.DEFECT: ("reason",),
}
"""The fields of each kind of fact, beside those of every line."""

OF_EVERY_LINE = ("kind", "time", "session")
OF_EVERY_FACT = ("sequence", "cause", "cause_name")
OF_THE_LOG: Mapping[str, tuple[str, ...]] = {
    BEGAN: ("schema", "versions", "configuration"),
    ENDED: (),
    MISSED: ("count",),
    DROPPED: ("count",),
}
"""The fields of the lines that are no facts, beside those of every line."""

NAMES: Mapping[FactKind, str] = {kind: str(kind).rpartition(".")[2].lower() for kind in FIELDS}
"""The name of each kind in the log."""

_TEXT = json.encoder.encode_basestring
_HEADS: Mapping[FactKind, tuple[str, tuple[str, ...]]] = {
    kind: (f'{{"kind":"{NAMES[kind]}","time":"', (*OF_EVERY_FACT, *FIELDS[kind])) for kind in FIELDS
}


def of_fact(fact: Fact, *, session_id: str, seconds: float) -> str:
    """The line of a fact, without its end.

    Args:
        fact: The fact.
        session_id: The session.
        seconds: The time of the fact, in seconds since 1970.
    """
    # Thousands a second: json.dumps takes three times as long.
    head, names = _HEADS[fact.kind]
    parts = [head, timestamp(seconds), '","session":', _TEXT(session_id)]
    for name in names:
        value = getattr(fact, name)
        text = "null" if value is None else _TEXT(value) if isinstance(value, str) else str(value)
        parts.append(f',"{name}":{text}')
    parts.append("}")
    return "".join(parts)


def of_log(kind: str, *, session_id: str, seconds: float, values: Iterable[tuple[str, object]] = ()) -> str:
    """A line about the log itself, without its end; `values` are the fields of its kind."""
    line = {"kind": kind, "time": timestamp(seconds), "session": session_id, **dict(values)}
    return json.dumps(line, ensure_ascii=False, separators=(",", ":"))


def timestamp(seconds: float) -> str:
    """A moment as ISO 8601 in UTC, with microseconds."""
    whole, micro = divmod(round(seconds * 1_000_000), 1_000_000)
    return f"{_second(whole)}.{micro:06}Z"


@lru_cache(maxsize=16)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
