"""`daft-k8s runs`."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from daft_k8s.cli.output import output_option, print_json, reports_errors, text_console
from daft_k8s.cli.place import open_place, place_options
from daft_k8s.cli.session_tables import run_table
from daft_k8s.cli.status import run_json
from daft_k8s.kube.inventory.runs import RunView, find_runs


@click.command(name="runs")
@place_options
@output_option
@reports_errors
def command(output: str, **place: Any) -> None:
    """Show the runs of a namespace: those at work, and the outcome of those that have ended.

    A run that was started with --detach is known for an hour after its end, one with --keep until it is removed.
    `run` removes any other as soon as it has told its outcome.

    \b
    Examples:
      daft-k8s runs -n jobs
    """

    async def main() -> tuple[str, list[RunView]]:
        async with open_place(**place) as console:
            found = await find_runs(console)
            if not found:
                await console.check_namespace()
            return console.place, found

    where, views = asyncio.run(main())
    if output == "json":
        print_json([run_json(view) for view in views])
    elif views:
        text_console().print(run_table(views))
    else:
        click.echo(f"no runs in {where}")
