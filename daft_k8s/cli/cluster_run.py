"""A driver's Job, run from the command line: logs go to stdout, Ctrl-C, SIGTERM and SIGHUP cancel."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import TYPE_CHECKING

from daft_k8s.cli import exit_codes
from daft_k8s.cli.live_run import live_line
from daft_k8s.cli.output import note, write_line
from daft_k8s.cli.signals import cancelled_by_signals
from daft_k8s.jobs.run import Run
from daft_k8s.jobs.watch import Progress
from daft_k8s.kube.client.console import Console

if TYPE_CHECKING:
    from daft_k8s.config import Configuration
    from daft_k8s.jobs.driver_job import DriverJob


def run_on_cluster(job: DriverJob, configuration: Configuration, *, detach: bool, keep: bool) -> int:
    """Runs a Job to its end and returns its exit code.

    Raises:
        ConfigurationError: The image is not set.
        CodeError: The code cannot be brought along.
        ClusterError: The cluster refuses the Job, or loses it.
    """
    with contextlib.ExitStack() as stack:
        show = stack.enter_context(live_line()) if not detach else _show_nothing
        run = Run(job, configuration, keep=keep, report=note, write=write_line, show=show)
        try:
            return asyncio.run(_run(run, job, configuration, detach=detach))
        except asyncio.CancelledError:
            return exit_codes.INTERRUPTED


async def _run(run: Run, job: DriverJob, configuration: Configuration, *, detach: bool) -> int:
    async with Console(context=configuration.kube_context, namespace=configuration.namespace) as console:
        with cancelled_by_signals(signal.SIGINT):
            await run.create(console)
            if not detach:
                return await run.finish(console)
        note(f"started; follow it with: daft-k8s logs -n {console.namespace} -f {job.run_name}")
        return 0


def _show_nothing(_progress: Progress) -> None:
    """For a run that goes on by itself."""
