"""`daft-k8s status`."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any, NamedTuple

import click
from rich.text import Text

from daft_k8s.cli import exit_codes
from daft_k8s.cli.output import fail, output_option, print_json, reports_errors, text_console
from daft_k8s.cli.place import open_place, place_options, sessions_and_runs
from daft_k8s.cli.session_tables import run_table, session_parts
from daft_k8s.kube.client.console import Console, ForbiddenError
from daft_k8s.kube.inventory.runs import RunView, find_runs
from daft_k8s.kube.inventory.sessions import SessionView, find_sessions


class Seen(NamedTuple):
    """The sessions and orphans of a namespace."""

    place: str
    """The namespace and its cluster, for people."""
    sessions: list[SessionView]
    runs: list[RunView]
    """The runs that are asked for by name; without a name, none."""


@click.command(name="status")
@click.argument("session", required=False, metavar="[SESSION|RUN]", shell_complete=sessions_and_runs)
@place_options
@output_option
@reports_errors
def command(session: str | None, output: str, **place: Any) -> None:
    """Show the sessions of a namespace: their queries, tasks, memory and workers; of a run also its outcome.

    What a driver tells of its session is at most some seconds old; SEEN is when it was last heard of. It needs the
    right to list leases, and shows "-" without. A session is dead if its Lease has not been renewed for minutes; its
    workers are orphans. CPU and memory that Pods use are known where the cluster has a metrics server.

    \b
    Examples:
      daft-k8s status -n jobs
      daft-k8s status daft-job-3fa9c1
      daft-k8s status --output json 4f1c09aa23b7
    """
    seen = asyncio.run(look(open_place(**place), session))
    if session is not None and not seen.sessions and not seen.runs:
        text = f"there is no session or run {session} in {seen.place}"
        fail(f"{text}; `daft-k8s status` lists sessions, `daft-k8s runs` runs", exit_codes.NOT_FOUND)
    show(seen, output)


async def look(console: Console, name: str | None = None) -> Seen:
    """The sessions of a namespace, or one of them and its run."""
    async with console:
        sessions = await find_sessions(console)
        if not sessions:
            await console.check_namespace()
        if name is None:
            return Seen(console.place, sessions, [])
        sessions = [view for view in sessions if view.is_called(name)]
        wanted = {name, *(view.driver for view in sessions)}
        try:
            runs = [view for view in await find_runs(console) if not wanted.isdisjoint({view.run, view.pod} - {""})]
        except ForbiddenError:
            runs = []  # some may list Pods and no Jobs
        return Seen(console.place, sessions, runs)


def show(seen: Seen, output: str) -> None:
    """Prints sessions with their workers, and runs."""
    if output == "json":
        print_json(as_json(seen))
        return
    console = text_console()
    if seen.runs:
        console.print(run_table(seen.runs))
        console.print(Text())
    for part in session_parts(seen.sessions, console):
        console.print(part)
    if not seen.sessions:
        ended = seen.runs and all(view.state.over for view in seen.runs)
        console.print(Text("its session has ended" if ended else f"no sessions in {seen.place}"))


def as_json(seen: Seen) -> list[dict[str, Any]]:
    """The sessions as plain JSON; a run without one stands alone. Times and sizes are numbers."""
    found = [
        _session_json(view, next((run for run in seen.runs if run.pod == view.driver), None)) for view in seen.sessions
    ]
    alone = [run for run in seen.runs if run.pod not in [view.driver for view in seen.sessions]]
    return [*found, *({"session": None, "run": run_json(run)} for run in alone)]


def run_json(view: RunView) -> dict[str, Any]:
    """A run as plain JSON."""
    return {**dataclasses.asdict(view), "state": view.state.value}


def _session_json(view: SessionView, run: RunView | None) -> dict[str, Any]:
    values = dataclasses.asdict(view)
    live = values.pop("live")
    if live is not None:
        live.pop("workers")  # they stand with the workers
    workers = values.pop("workers")
    more = {"ready": view.ready, "run": None if run is None else run_json(run), "live": live, "workers": workers}
    return {**values, "life": view.life.value, **more}
