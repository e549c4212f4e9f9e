"""`daft-k8s status`."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import click

from daft_k8s.cli import exit_codes
from daft_k8s.cli.output import fail, output_option, print_json, print_table, reports_errors
from daft_k8s.code.selection import shown_bytes
from daft_k8s.kube.client.console import Console
from daft_k8s.kube.inventory.sessions import SessionView, WorkerView, find_sessions

_UNKNOWN = "-"


@click.command(name="status")
@click.argument("session", required=False, metavar="[SESSION|RUN]")
@click.option("-n", "--namespace", envvar="DAFT_K8S_NAMESPACE", help="The namespace.")
@click.option("--context", help="The context of the kubeconfig.")
@output_option
@reports_errors
def command(session: str | None, namespace: str | None, context: str | None, output: str) -> None:
    """Show the sessions of a namespace: their queries, tasks, memory and workers.

    What a driver tells of its session is at most some seconds old; SEEN is when it was last heard of. It needs the
    right to list leases, and shows "-" without. CPU and memory that Pods use (USED) are known where the cluster has a
    metrics server.

    \b
    Examples:
      daft-k8s status -n jobs
      daft-k8s status --output json 4f1c09aa23b7
    """
    sessions = asyncio.run(look(session, namespace, context))
    if session is not None and not sessions:
        fail(f"there is no session or run {session}; `daft-k8s status` lists sessions", exit_codes.NOT_FOUND)
    show(sessions, output)


async def look(name: str | None, namespace: str | None, context: str | None) -> list[SessionView]:
    """The sessions of a namespace, or one of them."""
    async with Console(context=context, namespace=namespace) as console:
        found = await find_sessions(console)
        if not found:
            await console.check_namespace()
    return [view for view in found if name is None or view.is_called(name)]


def show(sessions: list[SessionView], output: str) -> None:
    """Prints sessions and their workers."""
    if output == "json":
        print_json([_session_json(view) for view in sessions])
        return
    if not sessions:
        click.echo("no sessions")
        return
    _print([_session_row(view) for view in sessions])
    for view in sessions:
        click.echo(f"\n{view.session}:")
        if view.live is not None and view.live.queries:
            _print(_query_rows(view))
            click.echo()
        _print([_worker_row(item) for item in view.workers])


def _print(rows: Sequence[dict[str, object]]) -> None:
    """Prints a table; the column of what the metrics server says is left out where there is none."""
    columns = [name for name in (rows[0] if rows else ()) if name != "used" or any(row[name] for row in rows)]
    if columns:
        print_table([name.upper() for name in columns], [[row[name] for name in columns] for row in rows])
    else:
        click.echo("no workers")


def _session_row(view: SessionView) -> dict[str, object]:
    live = view.live
    return {
        "session": view.session,
        "driver": view.driver,
        "owner": view.owner,
        "workers": f"{view.ready}/{len(view.workers) if live is None else max(live.wanted, len(view.workers))}",
        "queries": _UNKNOWN if live is None else live.running_queries,
        "running": _UNKNOWN if live is None else live.running,
        "waiting": _UNKNOWN if live is None else live.waiting,
        "done": _UNKNOWN if live is None else live.done,
        "failed": _UNKNOWN if live is None else live.failed,
        "held": _size(None if live is None else live.held_bytes),
        "spilled": _size(None if live is None else live.spilled_bytes),
        "age": view.age,
        "seen": view.seen or _UNKNOWN,
    }


def _query_rows(view: SessionView) -> list[dict[str, object]]:
    live = view.live
    queries = () if live is None else live.queries
    more = 0 if live is None else live.running_queries - len(queries)
    rows: Iterable[dict[str, object]] = (
        {"query": item.query, "for": f"{item.seconds}s", "done": item.done, "tasks so far": item.tasks}
        for item in queries
    )
    rest: dict[str, object] = {"query": f"({more} more)", "for": "", "done": "", "tasks so far": ""}
    return [*rows, *([rest] if more > 0 else [])]


def _worker_row(view: WorkerView) -> dict[str, object]:
    live = view.live
    return {
        "worker": view.worker,
        "pod": view.pod,
        "state": view.state,
        "node": view.node,
        "cpu": view.cpu,
        "memory": view.memory,
        "used": view.used,
        "tasks": _UNKNOWN if live is None else live.tasks,
        "resident": _size(None if live is None else live.resident_bytes),
        "held": _size(None if live is None else live.held_bytes),
        "spilled": _size(None if live is None else live.spilled_bytes),
        "age": view.age,
    }


def _size(size_bytes: int | None) -> str:
    if size_bytes is None:
        return _UNKNOWN
    return shown_bytes(size_bytes) if size_bytes else "0"


def _session_json(view: SessionView) -> dict[str, Any]:
    values = dataclasses.asdict(view)
    live = values.pop("live")
    if live is not None:
        live.pop("workers")  # they stand with the workers
    workers = values.pop("workers")
    return {**values, "ready": view.ready, "live": live, "workers": workers}
