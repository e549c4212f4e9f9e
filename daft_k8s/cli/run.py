"""`daft-k8s run`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from daft_k8s.cli.driver_options import DriverOptions, driver_options
from daft_k8s.cli.options import configuration_options, given_options
from daft_k8s.cli.output import reports_errors
from daft_k8s.code.notebook import SUFFIX, read_cells
from daft_k8s.config import Configuration
from daft_k8s.config.environment import as_environment
from daft_k8s.errors import CodeError


@click.command(name="run", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@configuration_options
@click.option("--local", is_flag=True, help="On this machine, with local workers.")
@driver_options
@click.option("-m", "--module", is_flag=True, help="SCRIPT is a module of the current folder, as for `python -m`.")
@click.option("--detach", is_flag=True, help="Start it and return; `daft-k8s logs NAME -f` follows it.")
@click.option("--keep", is_flag=True, help="Leave the Job in the cluster when it has ended.")
@click.argument("script")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@reports_errors
def command(
    *,
    local: bool,
    module: bool,
    detach: bool,
    keep: bool,
    script: str,
    arguments: tuple[str, ...],
    **options: Any,
) -> None:
    """Run a script and return its exit code; its modules come along.

    On the cluster it becomes a Job, whose logs are shown here; Ctrl-C cancels it and removes what it has made. What
    comes after the script goes to the script. The script need not mention daft_k8s: it runs with DAFT_RUNNER=k8s.
    A notebook (.ipynb) runs cell by cell; what its cells print is the log.
    The driver gets what workers get: env, pass_env, pip, and of pod_template the worker's variables and volumes.

    \b
    Examples:
      daft-k8s run --local job.py --date 2026-11-01
      daft-k8s run -n jobs -w 4 --image registry.example.com/daft-k8s:1.0 job.py
      daft-k8s run --env-from secret/s3 --env LEVEL=3 --image my-image job.py
      daft-k8s run --image my-image -m reports.nightly --date 2026-11-01
      daft-k8s run --image my-image report.ipynb
      daft-k8s run --detach -o worker_gpu=1 --image my-image train.py
    """
    if not module and not os.path.isfile(script):
        raise CodeError(f"there is no script {script!r}; for a module: -m {script}")
    driver = DriverOptions.take(options)
    given = given_options(**options)
    if local:
        what = ["-m", script] if module else [script]
        if not module and script.endswith(SUFFIX):
            read_cells(Path(script))
            what = ["-m", "daft_k8s.code.notebook", script]
        run_here([sys.executable, *what, *arguments], driver.load(given, local=True))
    from daft_k8s.cli.cluster_run import run_on_cluster
    from daft_k8s.jobs.driver_job import DriverJob

    configuration = driver.load(given)
    job = DriverJob(
        name=script if module else os.path.splitext(os.path.basename(script))[0],
        script="" if module else script,
        module=script if module else "",
        arguments=arguments,
        service_account=driver.service_account,
        cpu=driver.driver_cpu,
        memory=driver.driver_memory,
        template=driver.template(),
    )
    sys.exit(run_on_cluster(job, configuration, detach=detach, keep=keep))


def run_here(program: list[str], configuration: Configuration) -> None:
    """Becomes a driver on this machine: signals and the exit code are the program's own. Does not return."""
    variables = {**configuration.env, **as_environment(configuration)}
    sys.stdout.flush()
    os.execve(program[0], program, {**os.environ, **variables, "DAFT_RUNNER": "k8s"})
