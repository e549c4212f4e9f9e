"""`daft-k8s top`."""

from __future__ import annotations

import asyncio
import time

import click

from daft_k8s.cli.output import reports_errors
from daft_k8s.cli.status import look, show
from daft_k8s.errors import ClusterError
from daft_k8s.printable import printable


@click.command(name="top")
@click.option("-n", "--namespace", envvar="DAFT_K8S_NAMESPACE", help="The namespace.")
@click.option("--context", help="The context of the kubeconfig.")
@click.option("--interval", type=click.FloatRange(min=0.5), default=2.0, show_default=True, help="In seconds.")
@click.option("--count", type=int, default=0, help="Stop after so many times; 0: never.")
@reports_errors
def command(namespace: str | None, context: str | None, interval: float, count: int) -> None:
    """Show sessions, queries, tasks and workers again and again, until Ctrl-C.

    Drivers tell what they do every five seconds.

    \b
    Examples:
      daft-k8s top -n jobs
    """
    shown = 0
    while True:
        try:
            sessions = asyncio.run(look(None, namespace, context))
        except ClusterError as error:
            if not shown:
                raise
            click.echo(
                f"{time.strftime('%H:%M:%S')} {printable(str(error), lines=True)}", err=True
            )  # below what was last seen
        else:
            click.clear()
            click.echo(time.strftime("%H:%M:%S"))
            show(sessions, "text")
        shown += 1
        if shown == count:
            return
        time.sleep(interval)
