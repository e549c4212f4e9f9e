"""`daft-k8s run`."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from daft_k8s.cli.options import configuration_options, given_options, load_configuration
from daft_k8s.cli.output import reports_errors
from daft_k8s.config.environment import as_environment
from daft_k8s.errors import CodeError
from daft_k8s.kube.objects.rights import ACCOUNT


@click.command(name="run", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@configuration_options
@click.option("--local", is_flag=True, help="On this machine, with local workers.")
@click.option("--context", help="The context of the kubeconfig.")
@click.option("--service-account", default=ACCOUNT, show_default=True, help="Of the driver; `daft-k8s rbac` makes it.")
@click.option("--driver-cpu", default="1", show_default=True, help="CPU cores of the driver.")
@click.option("--driver-memory", default="2Gi", show_default=True, help="Memory of the driver.")
@click.option("--detach", is_flag=True, help="Start it and return; `daft-k8s logs NAME -f` follows it.")
@click.option("--keep", is_flag=True, help="Leave the Job in the cluster when it has ended.")
@click.argument("script")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@reports_errors
def command(
    *,
    local: bool,
    context: str | None,
    service_account: str,
    driver_cpu: str,
    driver_memory: str,
    detach: bool,
    keep: bool,
    script: str,
    arguments: tuple[str, ...],
    **options: Any,
) -> None:
    """Run a script and return its exit code; its modules come along.

    On the cluster it becomes a Job, whose logs are shown here; Ctrl-C cancels it and removes what it has made. What
    comes after the script goes to the script. The script need not mention daft_k8s: it runs with DAFT_RUNNER=k8s.

    \b
    Examples:
      daft-k8s run --local job.py --date 2026-11-01
      daft-k8s run -n jobs -w 4 --image registry.example.com/daft-k8s:1.0 job.py
      daft-k8s run --detach -o worker_gpu=1 --image my-image train.py
    """
    if not os.path.isfile(script):
        raise CodeError(f"there is no script {script!r}")
    given = given_options(**options)
    if local:
        run_here([sys.executable, script, *arguments], {**given, "allocation": "local"})
    from daft_k8s.cli.cluster_run import run_on_cluster
    from daft_k8s.jobs.driver_job import DriverJob

    configuration = load_configuration(given, "pod")
    job = DriverJob(
        name=os.path.splitext(os.path.basename(script))[0],
        script=script,
        arguments=arguments,
        service_account=service_account,
        cpu=driver_cpu,
        memory=driver_memory,
    )
    sys.exit(run_on_cluster(job, configuration, context=context, detach=detach, keep=keep))


def run_here(program: list[str], given: dict[str, object]) -> None:
    """Becomes a driver on this machine: signals and the exit code are the program's own. Does not return.

    Raises:
        daft_k8s.errors.ConfigurationError: The options are wrong; nothing was started.
    """
    variables = as_environment(load_configuration(given))
    sys.stdout.flush()
    os.execve(program[0], program, {**os.environ, **variables, "DAFT_RUNNER": "k8s"})
