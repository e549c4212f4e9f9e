"""A session as it shows itself: in a console as text, in a notebook as HTML. Pure."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from daft_k8s.observe.session_summary import SessionSummary, WorkerSummary
from daft_k8s.printable import printable
from daft_k8s.units import format_size

if TYPE_CHECKING:
    from daft_k8s._native import PoolSnapshot

_HEAD = ("worker", "state", "tasks", "memory", "held", "spilled", "")


@dataclass(frozen=True)
class Worker:
    """A worker of a session at one moment."""

    name: str
    state: str
    """`ready`, `starting`, `connecting`, `postponed`, `restarting`, `draining`, `stuck`, ..."""
    tasks: int
    """At it: running, or next."""
    resident_bytes: int
    """The memory of its process, as of its last report some seconds ago; 0: it has not reported yet."""
    held_bytes: int
    """Partitions in memory."""
    spilled_bytes: int
    """Partitions on disk."""
    restarts: int
    """Restarts that count against its budget."""
    remark: str
    """The thing that it waits for, or how its last process was lost; "": nothing."""


def workers_of(pool: PoolSnapshot, summary: SessionSummary) -> tuple[Worker, ...]:
    """The workers of a pool, with what they report of their memory."""
    found = []
    for worker in pool.workers:
        told = summary.workers.get(worker.worker_id, WorkerSummary(worker.tasks))
        found.append(
            Worker(
                name=worker.worker_id,
                state=worker.phase.lower(),
                tasks=worker.tasks,
                resident_bytes=told.resident_bytes,
                held_bytes=told.held_bytes,
                spilled_bytes=told.spilled_bytes,
                restarts=worker.restarts,
                remark=worker.waits_for or worker.last_loss or "",
            )
        )
    return tuple(found)


def as_text(head: str, workers: Sequence[Worker]) -> str:
    """A line for the session, and a table of its workers."""
    rows = [_HEAD, *map(_row, workers)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([head, *(lines if workers else [])])


def as_html(head: str, workers: Sequence[Worker]) -> str:
    """The same for a notebook."""
    rows = "".join(_html_row("td", _row(worker)) for worker in workers)
    table = f"<table><thead>{_html_row('th', _HEAD)}</thead><tbody>{rows}</tbody></table>" if workers else ""
    return f"<div><p><b>{html.escape(head.strip('<>'))}</b></p>{table}</div>"


def _row(worker: Worker) -> tuple[str, ...]:
    sizes = (worker.resident_bytes, worker.held_bytes, worker.spilled_bytes)
    return (worker.name, worker.state, str(worker.tasks), *map(format_size, sizes), printable(worker.remark))


def _html_row(kind: str, cells: Sequence[str]) -> str:
    return f"<tr>{''.join(f'<{kind}>{html.escape(cell)}</{kind}>' for cell in cells)}</tr>"
