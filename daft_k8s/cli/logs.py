"""`daft-k8s logs`."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any, NamedTuple

import click

from daft_k8s.cli import exit_codes
from daft_k8s.cli.drivers import OUTSIDE, driver_of, is_driven_by
from daft_k8s.cli.output import fail, note, output_option, reports_errors
from daft_k8s.errors import ClusterError
from daft_k8s.kube.client.console import Console, ForbiddenError, NotFoundError
from daft_k8s.kube.objects import names
from daft_k8s.kube.pods.state import Stage, read_state

_LOOK_SECONDS = 1.0
_BEGINS_RECORD = re.compile(r"\d{4}-\d\d-\d\d|[{\[(]")
"""How a line of a log begins; those of a traceback begin in other ways."""


class Source(NamedTuple):
    """A container whose log is wanted."""

    name: str
    """For people: "driver", "worker-0"."""
    pod: str
    container: str


@click.command(name="logs")
@click.argument("name")
@click.option("-n", "--namespace", envvar="DAFT_K8S_NAMESPACE", help="The namespace.")
@click.option("--context", help="The context of the kubeconfig.")
@click.option("-f", "--follow", is_flag=True, help="Go on until the Pods have ended.")
@click.option("--worker", help="Only this worker, e.g. worker-0; or driver.")
@click.option("--query", help="Only lines that name this query.")
@click.option("--tail", type=int, help="Only the last lines of each Pod.")
@output_option
@reports_errors
def command(
    *,
    name: str,
    namespace: str | None,
    context: str | None,
    follow: bool,
    worker: str | None,
    query: str | None,
    tail: int | None,
    output: str,
) -> None:
    """Show the logs of a driver and its workers.

    NAME is a run (as `daft-k8s run` prints it), a session, or the name of a driver's Pod.

    \b
    Examples:
      daft-k8s logs -n jobs -f daft-job-3fa9c1
      daft-k8s logs 4f1c09aa23b7 --worker worker-0 --tail 50
    """
    wanted = {"follow": "true"} if follow else {}
    if tail is not None:
        wanted["tailLines"] = str(tail)

    async def main() -> int:
        async with Console(context=context, namespace=namespace) as console:

            async def find() -> list[Source]:
                return [item for item in await find_sources(console, name) if worker in (None, item.name)]

            printer = _Printer(output, query, prefixed=worker is None)
            if follow:
                found = await _follow(console, name, find, wanted, printer)
            else:
                sources = await find()
                found = len(sources)
                await asyncio.gather(*(_copy(console, source, wanted, printer) for source in sources))
            if found and query is not None and not printer.count:
                note(f"no line names the query {query}: workers name it where its tasks fail")
            return found or await _says_that_there_are_no_pods(console, name)

    if not asyncio.run(main()):
        which = f" with the worker {worker}" if worker else ""
        fail(
            f"there is no run, session or driver {name!r}{which}; `daft-k8s status` lists sessions",
            exit_codes.NOT_FOUND,
        )


async def find_sources(console: Console, name: str) -> list[Source]:
    """The driver and the workers of a run, a session or a driver's Pod."""
    workers = await console.items("/api/v1/{ns}/pods", f"{names.ROLE_LABEL}={names.WORKER_ROLE}")
    drivers = await console.items("/api/v1/{ns}/pods", f"{names.RUN_LABEL}={name}")
    if not drivers:
        of_session = [pod for pod in workers if pod["metadata"].get("labels", {}).get(names.SESSION_LABEL) == name]
        known = of_session or await _leases(console, name)  # an elastic pool may have no worker now
        drivers = await _driver_pods(console, next((driver_of(item["metadata"]) for item in known), name))
        if not drivers:
            return _workers(of_session)
    owned = [pod for pod in workers if any(is_driven_by(pod["metadata"], driver) for driver in drivers)]
    return [*(_driver(pod) for pod in drivers), *_workers(owned)]


async def _says_that_there_are_no_pods(console: Console, name: str) -> bool:
    """Whether that is why there was no log: a session without workers whose driver is no Pod here."""
    if await find_sources(console, name) or not await _leases(console, name):
        return False
    note(
        f"the session {name} has no Pods now: no worker, and its driver runs elsewhere or is gone; "
        f"`daft-k8s status {name}` shows what it does"
    )
    return True


async def _leases(console: Console, session: str) -> list[dict[str, Any]]:
    try:
        return await console.items(
            "/apis/coordination.k8s.io/v1/{ns}/leases", f"{names.SESSION_LABEL}={names.label_value(session)}"
        )
    except ForbiddenError:
        return []  # who may read logs need not have the right to these


async def _driver_pods(console: Console, name: str) -> list[dict[str, Any]]:
    """A driver's Pod by its name, or by that of its Job."""
    if name == OUTSIDE:
        return []
    try:
        return [await console.get(f"/api/v1/{{ns}}/pods/{name}")]
    except NotFoundError:
        return await console.items("/api/v1/{ns}/pods", f"batch.kubernetes.io/job-name={names.label_value(name)}")


def _driver(pod: dict[str, Any]) -> Source:
    containers = [str(item["name"]) for item in pod["spec"]["containers"]]
    named = [container for container in containers if container in ("driver", "main")]
    return Source("driver", pod["metadata"]["name"], (named or containers)[0])


def _workers(pods: Sequence[dict[str, Any]]) -> list[Source]:
    return [
        Source(names.worker_of(pod["metadata"]), pod["metadata"]["name"], names.CONTAINER)
        for pod in sorted(pods, key=lambda pod: str(pod["metadata"]["name"]))
    ]


async def _follow(
    console: Console, run: str, find: Callable[[], Awaitable[list[Source]]], query: dict[str, str], printer: _Printer
) -> int:
    """Copies all logs until nobody writes any more, also those of Pods that come later; returns how many there were."""
    copies: dict[Source, asyncio.Task[None]] = {}
    try:
        while True:
            for source in await find():
                if source not in copies:
                    copies[source] = asyncio.ensure_future(_copy_when_started(console, source, query, printer))
            if all(copy.done() for copy in copies.values()) and (copies or not await _is_starting(console, run)):
                return len(copies)
            await asyncio.sleep(_LOOK_SECONDS)
    finally:
        for copy in copies.values():
            copy.cancel()


async def _is_starting(console: Console, run: str) -> bool:
    """Whether there is a Job of that name whose Pod may still come."""
    try:
        job = await console.get(f"/apis/batch/v1/{{ns}}/jobs/{run}")
    except ClusterError:
        return False
    status = job.get("status") or {}
    return not (status.get("succeeded") or status.get("failed"))


async def _copy_when_started(console: Console, source: Source, query: dict[str, str], printer: _Printer) -> None:
    while True:
        try:
            pod = await console.get(f"/api/v1/{{ns}}/pods/{source.pod}")
        except NotFoundError:
            return
        state = read_state(pod, source.container)
        if state.stage in (Stage.STARTING, Stage.READY, Stage.TERMINATING) or state.stage.over:
            return await _copy(console, source, query, printer)
        await asyncio.sleep(_LOOK_SECONDS)


async def _copy(console: Console, source: Source, query: dict[str, str], printer: _Printer) -> None:
    lines = console.lines(f"/api/v1/{{ns}}/pods/{source.pod}/log", container=source.container, **query)
    try:
        async with aclosing(lines):
            async for line in lines:
                printer.line(source, line)
    except ClusterError as error:
        click.echo(f"({source.name}) no log: {error}", err=True)


class _Printer:
    def __init__(self, output: str, query: str | None, *, prefixed: bool) -> None:
        self._json = output == "json"
        self._query = query
        self._prefixed = prefixed
        self._shown: dict[Source, bool] = {}
        """Whether the last record of each source was printed: what follows it without a time belongs to it."""
        self.count = 0

    def line(self, source: Source, line: str) -> None:
        if self._query is not None:
            if _BEGINS_RECORD.match(line) or self._query in line:
                self._shown[source] = self._query in line
            if not self._shown.get(source, False):
                return
        self.count += 1
        if self._json:
            line = json.dumps({"source": source.name, "pod": source.pod, "line": line})
        elif self._prefixed:
            line = f"({source.name}) {line}"
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
