"""`daft-k8s sql`."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from daft_k8s.cli.driver_options import DriverOptions, driver_options
from daft_k8s.cli.options import PairType, configuration_options, given_options
from daft_k8s.cli.output import reports_errors
from daft_k8s.cli.run import run_here

MODULE = "daft_k8s.cli.query"
"""The module that runs the query, here or in the Job."""


class TableAssignment(PairType):
    """`name=path`."""

    name = "name=path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        name, equals, path = str(value).partition("=")
        if not equals or not name.isidentifier() or not path:
            self.fail(f"{value!r} is not of the form name=path", param, ctx)
        return name, path


@click.command(name="sql")
@configuration_options
@click.option("--local", is_flag=True, help="On this machine, with local workers.")
@driver_options
@click.option(
    "-t",
    "--table",
    "tables",
    type=TableAssignment(),
    multiple=True,
    help="A name for files, as name=path; parquet, csv or json by the ending.",
)
@click.option("--limit", type=int, default=100, show_default=True, help="Rows to print at most; 0: all.")
@click.option("--write", help="Write the result there as Parquet instead of printing it.")
@click.option(
    "--output",
    type=click.Choice(["text", "json", "csv"]),
    default="text",
    show_default=True,
    help="How rows are printed.",
)
@click.argument("query")
@reports_errors
def command(
    *,
    local: bool,
    tables: tuple[tuple[str, str], ...],
    limit: int,
    write: str | None,
    output: str,
    query: str,
    **options: Any,
) -> None:
    """Run one SQL query over files and print the rows.

    Files stand in the query as paths in single quotes, or get names with --table. On the cluster, they lie in an object
    store, or in a folder that all Pods share: a path on a disk is refused otherwise.

    \b
    Examples:
      daft-k8s sql --local "SELECT a, count(*) FROM 'events.parquet' GROUP BY a"
      daft-k8s sql --local -t e=logs/*.csv --output json "SELECT * FROM e WHERE status = 500"
      daft-k8s sql -n jobs --image IMAGE "SELECT count(*) FROM 's3://bucket/events/*.parquet'"
    """
    spec = json.dumps({"query": query, "tables": dict(tables), "limit": limit, "write": write, "output": output})
    driver = DriverOptions.take(options)
    given = given_options(**options)
    if local:
        quiet = {"log_level": "WARNING", **given}
        run_here([sys.executable, "-m", MODULE, spec], driver.load(quiet, local=True))
    from daft_k8s.cli.cluster_run import run_on_cluster
    from daft_k8s.jobs.driver_job import DriverJob

    job = DriverJob(
        name="sql",
        script="",
        arguments=("-m", MODULE, spec),
        service_account=driver.service_account,
        cpu=driver.driver_cpu,
        memory=driver.driver_memory,
        template=driver.template(),
    )
    sys.exit(run_on_cluster(job, driver.load(given), detach=False, keep=False))
