"""`daft-k8s clean`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import click

from daft_k8s.cli import exit_codes
from daft_k8s.cli.output import fail, output_option, print_json, reports_errors
from daft_k8s.errors import ClusterError
from daft_k8s.pods import names
from daft_k8s.pods.console import Console
from daft_k8s.pods.problems import ApiError
from daft_k8s.pods.state import read_state
from daft_k8s.pods.sweep import find_dead_sessions, remove_session


@click.command(name="clean")
@click.argument("sessions", nargs=-1)
@click.option("-n", "--namespace", envvar="DAFT_K8S_NAMESPACE", help="The namespace.")
@click.option("--context", help="The context of the kubeconfig.")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@output_option
@reports_errors
def command(sessions: tuple[str, ...], namespace: str | None, context: str | None, dry_run: bool, output: str) -> None:
    """Remove what dead sessions have left in a namespace, or the sessions that are named, dead or not.

    A session is dead if its Lease has not been renewed for minutes and no worker of it still serves, or if it has no
    Lease, belongs to no Pod, and all its workers have ended. Where no worker tells, this takes a minute: a Lease that
    is renewed meanwhile is no dead session's.

    \b
    Examples:
      daft-k8s clean -n jobs --dry-run
      daft-k8s clean -n jobs
      daft-k8s clean -n jobs 4f1c09aa23b7
    """
    removed = asyncio.run(_clean(sessions, namespace, context, dry_run))
    missing = sorted(set(sessions) - set(removed))
    if output == "json":
        print_json({"removed": [] if dry_run else removed, "dead": removed})
    else:
        for session in removed:
            click.echo(f"{'would remove' if dry_run else 'removed'} {session}")
        if not removed and not sessions:
            click.echo("nothing is left of dead sessions")
    if missing:
        fail(f"there is no session {', '.join(missing)}; `daft-k8s status` lists sessions", exit_codes.NOT_FOUND)


async def _clean(sessions: tuple[str, ...], namespace: str | None, context: str | None, dry_run: bool) -> list[str]:
    async with Console(context=context, namespace=namespace) as console:
        pods = await console.items("/api/v1/{ns}/pods", f"{names.ROLE_LABEL}={names.WORKER_ROLE}")
        try:
            leases = await console.api.list_leases(console.namespace, f"{names.MANAGED_BY_LABEL}={names.MANAGED_BY}")
            if sessions:
                known = {_session(item) for item in [*pods, *leases]}
                found = [session for session in sessions if session in known]
            else:
                dead = find_dead_sessions(console.api, console.namespace)
                gone = {_session(item) async for item in dead}
                found = sorted(gone | left_over(pods, (_session(item) for item in leases)))
            if not dry_run:
                for session in found:
                    await remove_session(console.api, console.namespace, session)
        except ApiError as error:
            raise ClusterError(f"the namespace {console.namespace!r} cannot be cleaned: {error}") from error
    return found


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
