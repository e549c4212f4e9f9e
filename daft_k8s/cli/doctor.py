"""`daft-k8s doctor`."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import click

from daft_k8s.cli import exit_codes
from daft_k8s.cli.findings import Finding, failed
from daft_k8s.cli.local_checks import local_findings
from daft_k8s.cli.options import configuration_options, given_options, load_configuration
from daft_k8s.cli.output import output_option, print_json, reports_errors
from daft_k8s.cli.rbac import ACCOUNT
from daft_k8s.config import Configuration
from daft_k8s.errors import DaftK8sError


@click.command(name="doctor")
@configuration_options
@click.option("--local", is_flag=True, help="Only what local workers need.")
@click.option("--context", help="The context of the kubeconfig.")
@click.option("--service-account", default=ACCOUNT, show_default=True, help="Of drivers.")
@output_option
@reports_errors
def command(*, local: bool, context: str | None, service_account: str, output: str, **options: Any) -> None:
    """Check everything that a query needs, and say what to change.

    On the cluster two small Pods are started for some seconds: they try the image, the rights of the driver's service
    account, DNS, and the way from a driver to a worker.

    \b
    Examples:
      daft-k8s doctor --local
      daft-k8s doctor -n jobs --image registry.example.com/daft-k8s:1.0 -w 4
    """
    given = given_options(**options)
    configuration = load_configuration({**given, "allocation": "local"} if local else given, None if local else "pod")
    findings = local_findings(configuration)
    if output == "text":
        for finding in findings:
            finding.show()
    if not local and not any(item.check == "client" and item.mark == "failed" for item in findings):
        more = asyncio.run(_on_cluster(configuration, context, service_account))
        findings += more
        if output == "text":
            for finding in more:
                finding.show()
    problems = sum(finding.mark == "failed" for finding in findings)
    if output == "json":
        print_json({"healthy": not problems, "findings": [finding.as_dict() for finding in findings]})
    else:
        click.echo(f"\n{problems} problem{'s' * (problems > 1)}" if problems else "\nall is well")
    sys.exit(exit_codes.FAILED if problems else 0)


async def _on_cluster(configuration: Configuration, context: str | None, service_account: str) -> list[Finding]:
    from daft_k8s.cli.cluster_checks import Doctor
    from daft_k8s.kube.client.console import Console

    try:
        async with Console(context=context, namespace=configuration.namespace) as console:
            return await Doctor(console, configuration, service_account).findings()
    except DaftK8sError as error:
        return [failed("cluster", str(error), "set KUBECONFIG, or use --local")]
