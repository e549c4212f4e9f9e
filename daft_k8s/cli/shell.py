"""`daft-k8s shell`."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from daft_k8s.cli import exit_codes
from daft_k8s.cli.driver_options import DriverOptions, driver_options
from daft_k8s.cli.options import configuration_options, given_options
from daft_k8s.cli.output import fail, note, reports_errors, write_line
from daft_k8s.cli.signals import cancelled_by_signals
from daft_k8s.errors import ConfigurationError

if TYPE_CHECKING:
    from daft_k8s.jobs.run import Run
    from daft_k8s.kube.client.console import Console

_BEGIN = """
import daft, daft_k8s
from daft import col
session = daft_k8s.set_runner_k8s()
print("Daft", daft.__version__, "on Kubernetes: daft, col and session are there; exit() ends the session.")
"""


@click.command(name="shell")
@configuration_options
@driver_options
@reports_errors
def command(**options: Any) -> None:
    """Start Python as a driver in the cluster, and attach this terminal to it.

    The session ends with Python: by exit(), by Ctrl-D, or when this terminal goes. It needs kubectl, and the right to
    create pods/attach.

    \b
    Examples:
      daft-k8s shell -n jobs -w 4 --image registry.example.com/daft-k8s:1.0
    """
    from daft_k8s.jobs.driver_job import DriverJob
    from daft_k8s.jobs.run import Run
    from daft_k8s.kube.client.console import Console

    kubectl = shutil.which("kubectl")
    if kubectl is None:
        raise ConfigurationError("kubectl is not installed, with which this terminal would be attached to the driver")
    driver = DriverOptions.take(options)
    configuration = driver.load(given_options(**options))
    job = DriverJob(
        name="shell",
        script="",
        arguments=("-i", "-c", _BEGIN),
        service_account=driver.service_account,
        cpu=driver.driver_cpu,
        memory=driver.driver_memory,
        template=driver.template(),
        interactive=True,
    )
    run = Run(job, configuration, keep=False, report=note, write=write_line)

    console = Console(context=configuration.kube_context, namespace=configuration.namespace)
    try:
        code = asyncio.run(
            _run(run, console, lambda pod: _attach(kubectl, console, configuration.kube_context, pod)),
        )
    except asyncio.CancelledError:
        fail("ended by a signal; the driver and its workers are removed", exit_codes.INTERRUPTED)
    sys.exit(code)


async def _run(run: Run, console: Console, attach: Callable[[str], int]) -> int:
    """Creates the Job, which is gone when this has ended, also by a signal."""
    async with console:
        with cancelled_by_signals():
            await run.create(console)
            return await run.attach(console, attach)


def _attach(kubectl: str, console: Console, context: str | None, pod: str) -> int:
    """Attaches this terminal until Python has ended; Ctrl-C is Python's in the meantime."""
    where = ["-n", console.namespace, *(["--context", context] if context else [])]
    return subprocess.run([kubectl, "attach", *where, "-q", "-i", "-t", pod, "-c", "driver"]).returncode
