"""The removal of sessions and runs: those that are named, or what dead sessions have left."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from typing import Any

from daft_k8s.errors import ClusterError
from daft_k8s.kube.client.console import Console
from daft_k8s.kube.client.errors import ApiError
from daft_k8s.kube.inventory.drivers import is_driven_by
from daft_k8s.kube.objects import names
from daft_k8s.kube.pods.state import read_state
from daft_k8s.kube.session.sweep import Remains, find_dead_sessions, remains_of, remove_each


async def clean(console: Console, sessions: Sequence[str] = (), *, dry_run: bool = False) -> list[str]:
    """Removes sessions and runs and returns their names.

    Args:
        console: The cluster.
        sessions: Names of sessions and runs, dead or not; empty: all dead sessions.
        dry_run: Remove nothing.

    Raises:
        ClusterError: Something could not be removed; the error names all that was, and that was not.
    """
    pods = await console.items("/api/v1/{ns}/pods", f"{names.ROLE_LABEL}={names.WORKER_ROLE}")
    if not pods:
        await console.check_namespace()
    try:
        leases = await console.api.list_leases(console.namespace, f"{names.MANAGED_BY_LABEL}={names.MANAGED_BY}")
        if sessions:
            known = {_session(item) for item in [*pods, *leases]}
            remains = [Remains(session) for session in sessions if session in known]
            runs = await runs_of(console, sessions, [*pods, *leases])
        else:
            runs = {}
            gone = {
                _session(item): remains_of(item) async for item in find_dead_sessions(console.api, console.namespace)
            }
            over = left_over(pods, (_session(item) for item in leases))
            remains = [gone.get(session) or Remains(session) for session in sorted(over | set(gone))]
        if not dry_run:
            for run in sorted(set(runs.values())):
                await console.delete(f"/apis/batch/v1/{{ns}}/jobs/{run}")
            removed, problems = await remove_each(console.api, console.namespace, _each(remains))
            if problems:
                raise ClusterError(_explain(problems, [*sorted(set(runs.values())), *removed]))
    except ApiError as error:
        raise ClusterError(f"the namespace {console.namespace!r} cannot be cleaned: {error}") from error
    found = [item.session for item in remains]
    return [name for name in dict.fromkeys([*sessions, *found]) if name in found or name in runs]


async def _each(remains: Iterable[Remains]) -> AsyncGenerator[Remains, None]:
    for item in remains:
        yield item


def _explain(problems: Mapping[str, ApiError], removed: Sequence[str]) -> str:
    text = "not everything could be removed: " + "; ".join(f"{name}: {error}" for name, error in problems.items())
    return f"{text}. Removed: {', '.join(removed)}" if removed else text


async def runs_of(console: Console, wanted: Iterable[str], objects: Iterable[dict[str, Any]]) -> dict[str, str]:
    """The runs that are named, or drive a session that is named: else these would make their workers anew.

    Args:
        console: The cluster.
        wanted: Names of runs and sessions.
        objects: All workers' Pods, and Leases of sessions.

    Returns:
        The name of the run's Job by what was wanted.
    """
    drivers = await console.items("/api/v1/{ns}/pods", names.RUN_LABEL)
    run_of = {str(pod["metadata"]["name"]): str(pod["metadata"]["labels"][names.RUN_LABEL]) for pod in drivers}
    runs = {run: run for run in run_of.values()}
    for item in objects:
        for driver in drivers:
            if is_driven_by(item["metadata"], driver):
                runs[_session(item)] = run_of[str(driver["metadata"]["name"])]
    return {name: runs[name] for name in wanted if name in runs}


def left_over(pods: Iterable[dict[str, Any]], with_lease: Iterable[str]) -> set[str]:
    """Sessions of which only ended Pods are left that belong to nothing.

    Args:
        pods: All workers' Pods.
        with_lease: Sessions that have a Lease, which says by itself whether they live.
    """
    alive = set(with_lease)
    found = set()
    for pod in pods:
        found.add(_session(pod))
        if pod["metadata"].get("ownerReferences") or not read_state(pod).stage.over:
            alive.add(_session(pod))
    return found - alive


def _session(item: dict[str, Any]) -> str:
    return str((item["metadata"].get("labels") or {}).get(names.SESSION_LABEL, ""))
