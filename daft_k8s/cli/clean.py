"""`daft-k8s clean`."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from daft_k8s.cli import exit_codes
from daft_k8s.cli.output import fail, output_option, print_json, reports_errors
from daft_k8s.cli.place import open_place, place_options, sessions_and_runs
from daft_k8s.kube.inventory.cleaning import clean


@click.command(name="clean")
@click.argument("sessions", nargs=-1, metavar="[SESSION|RUN]...", shell_complete=sessions_and_runs)
@place_options
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@output_option
@reports_errors
def command(sessions: tuple[str, ...], dry_run: bool, output: str, **place: Any) -> None:
    """Remove what dead sessions have left in a namespace, or the sessions and runs that are named, dead or not.

    A run goes with its driver and its workers; it is how a run that was started with --detach is cancelled. So does a
    session whose driver is a run.

    A session is dead if its Lease has not been renewed for minutes and no worker of it still serves. So is a session
    without a Lease that belongs to no Pod, if all its workers have ended. Without evidence from a worker this takes a
    minute: a Lease that is renewed meanwhile is no dead session's.

    \b
    Examples:
      daft-k8s clean -n jobs --dry-run
      daft-k8s clean -n jobs
      daft-k8s clean -n jobs 4f1c09aa23b7
      daft-k8s clean -n jobs daft-job-3fa9c1
    """

    async def main() -> tuple[str, list[str]]:
        async with open_place(**place) as console:
            return console.place, await clean(console, sessions, dry_run=dry_run)

    where, removed = asyncio.run(main())
    missing = sorted(set(sessions) - set(removed))
    if output == "json":
        print_json({"removed": [] if dry_run else removed, "dead": removed})
    else:
        for session in removed:
            click.echo(f"{'would remove' if dry_run else 'removed'} {session}")
        if not removed and not sessions:
            click.echo(f"nothing is left of dead sessions in {where}")
    if missing:
        text = f"there is no session or run {', '.join(missing)} in {where}"
        fail(f"{text}; `daft-k8s status` lists sessions, `daft-k8s runs` runs", exit_codes.NOT_FOUND)
