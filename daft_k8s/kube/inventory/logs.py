"""The logs of a session: its driver's and its workers'."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any, NamedTuple, Protocol

from daft_k8s.errors import ClusterError
from daft_k8s.kube.client.console import Console, ForbiddenError, NotFoundError
from daft_k8s.kube.inventory.drivers import OUTSIDE, driver_of, is_driven_by
from daft_k8s.kube.objects import names
from daft_k8s.kube.pods.state import Stage, read_state

_LOOK_SECONDS = 1.0


class Source(NamedTuple):
    """A container whose log is wanted."""

    name: str
    """For people: "driver", "worker-0"."""
    pod: str
    container: str


class Printer(Protocol):
    """Shows lines of logs."""

    def line(self, source: Source, line: str) -> None:
        """A line."""

    def failed(self, source: Source, error: ClusterError) -> None:
        """A log that cannot be read."""


async def find_sources(console: Console, name: str) -> list[Source]:
    """The containers of the driver and the workers of a run, a session or a driver's Pod."""
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


async def has_no_pods(console: Console, session: str) -> bool:
    """True for a session that has a Lease and no Pods: no worker, and its driver is no Pod here."""
    return not await find_sources(console, session) and bool(await _leases(console, session))


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


async def follow(
    console: Console, run: str, find: Callable[[], Awaitable[list[Source]]], query: dict[str, str], printer: Printer
) -> int:
    """Prints all logs until the containers have ended, also those of Pods that come later; returns their number."""
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
    """True if there is a Job of that name whose Pod may still come."""
    try:
        job = await console.get(f"/apis/batch/v1/{{ns}}/jobs/{run}")
    except ClusterError:
        return False
    status = job.get("status") or {}
    return not (status.get("succeeded") or status.get("failed"))


async def _copy_when_started(console: Console, source: Source, query: dict[str, str], printer: Printer) -> None:
    while True:
        try:
            pod = await console.get(f"/api/v1/{{ns}}/pods/{source.pod}")
        except NotFoundError:
            return
        state = read_state(pod, source.container)
        if state.stage in (Stage.STARTING, Stage.READY, Stage.TERMINATING) or state.stage.over:
            return await copy_log(console, source, query, printer)
        await asyncio.sleep(_LOOK_SECONDS)


async def copy_log(console: Console, source: Source, query: dict[str, str], printer: Printer) -> None:
    """Prints a log to its end."""
    lines = console.lines(f"/api/v1/{{ns}}/pods/{source.pod}/log", container=source.container, **query)
    try:
        async with aclosing(lines):
            async for line in lines:
                printer.line(source, line)
    except ClusterError as error:
        printer.failed(source, error)
