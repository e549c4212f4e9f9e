"""`daft-k8s status`."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from daft_k8s.cli import exit_codes
from daft_k8s.cli.output import fail, output_option, print_json, print_table, reports_errors
from daft_k8s.cli.sessions import SessionView, WorkerView, find_sessions
from daft_k8s.pods.console import Console

WORKER_COLUMNS = ("worker", "pod", "state", "node", "cpu", "memory", "used", "age")
SESSION_COLUMNS = ("session", "driver", "owner", "ready", "workers", "age")


@click.command(name="status")
@click.argument("session", required=False)
@click.option("-n", "--namespace", envvar="DAFT_K8S_NAMESPACE", help="The namespace.")
@click.option("--context", help="The context of the kubeconfig.")
@output_option
@reports_errors
def command(session: str | None, namespace: str | None, context: str | None, output: str) -> None:
    """Show the sessions of a namespace and their workers.

    What a worker uses is known where the cluster has a metrics server.

    \b
    Examples:
      daft-k8s status -n jobs
      daft-k8s status --output json 4f1c09aa23b7
    """
    sessions = asyncio.run(look(session, namespace, context))
    if session is not None and not sessions:
        fail(f"there is no session {session}; `daft-k8s status` lists sessions", exit_codes.NOT_FOUND)
    show(sessions, output)


async def look(session: str | None, namespace: str | None, context: str | None) -> list[SessionView]:
    """The sessions of a namespace, or one of them."""
    async with Console(context=context, namespace=namespace) as console:
        found = await find_sessions(console)
    return [view for view in found if session is None or view.session == session]


def show(sessions: list[SessionView], output: str) -> None:
    """Prints sessions and their workers."""
    if output == "json":
        print_json(
            [{**_session_row(view), "workers": [_worker_row(item) for item in view.workers]} for view in sessions]
        )
        return
    if not sessions:
        click.echo("no sessions")
        return
    print_table([name.upper() for name in SESSION_COLUMNS], _cells(SESSION_COLUMNS, map(_session_row, sessions)))
    for view in sessions:
        click.echo(f"\n{view.session}:")
        print_table([name.upper() for name in WORKER_COLUMNS], _cells(WORKER_COLUMNS, map(_worker_row, view.workers)))


def _cells(columns: tuple[str, ...], rows: Any) -> list[list[object]]:
    return [[row[column] for column in columns] for row in rows]


def _session_row(view: SessionView) -> dict[str, object]:
    return {
        "session": view.session,
        "driver": view.driver,
        "owner": view.owner,
        "ready": sum(worker.ready for worker in view.workers),
        "workers": len(view.workers),
        "age": view.age,
    }


def _worker_row(view: WorkerView) -> dict[str, object]:
    return {
        "worker": view.worker,
        "pod": view.pod,
        "state": view.state,
        "node": view.node,
        "cpu": view.cpu,
        "memory": view.memory,
        "used": view.used,
        "age": view.age,
    }
