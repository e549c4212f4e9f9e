"""`daft-k8s doctor`."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import click

from daft_k8s.cli import exit_codes
from daft_k8s.cli.options import configuration_options, given_options, load_configuration
from daft_k8s.cli.output import output_option, print_json, reports_errors
from daft_k8s.doctor.findings import Finding
from daft_k8s.doctor.local_checks import local_findings
from daft_k8s.kube.objects.rights import ACCOUNT
from daft_k8s.printable import printable

_STYLES = {"ok": "green", "warning": "yellow", "failed": "red", "skipped": "blue"}


@click.command(name="doctor")
@configuration_options
@click.option("--local", is_flag=True, help="Only what local workers need.")
@click.option("--context", help="The context of the kubeconfig; else the option kube_context.")
@click.option("--service-account", default=ACCOUNT, show_default=True, help="Of drivers.")
@output_option
@reports_errors
def command(*, local: bool, context: str | None, service_account: str, output: str, **options: Any) -> None:
    """Check everything that a query needs, and say what to change.

    On the cluster two small Pods are started for some seconds. They try the image, the rights of the driver's service
    account, DNS, and the route from a driver to a worker.

    \b
    Examples:
      daft-k8s doctor --local
      daft-k8s doctor -n jobs --image registry.example.com/daft-k8s:1.0 -w 4
    """
    given = given_options(kube_context=context, **options)
    configuration = load_configuration({**given, "allocation": "local"} if local else given, None if local else "pod")
    findings = local_findings(configuration)
    if output == "text":
        for finding in findings:
            _show(finding)
    if not local and not any(item.check == "client" and item.mark == "failed" for item in findings):
        from daft_k8s.doctor.cluster_checks import cluster_findings

        more = asyncio.run(cluster_findings(configuration, configuration.kube_context, service_account))
        findings += more
        if output == "text":
            for finding in more:
                _show(finding)
    problems = sum(finding.mark == "failed" for finding in findings)
    if output == "json":
        print_json({"healthy": not problems, "findings": [finding.as_dict() for finding in findings]})
    else:
        click.echo(f"\n{problems} problem{'s' * (problems > 1)}" if problems else "\nall is well")
    sys.exit(exit_codes.FAILED if problems else 0)


def _show(finding: Finding) -> None:
    text = printable(finding.text, lines=True)
    click.echo(f"{click.style(f'{finding.mark:>8}', fg=_STYLES[finding.mark])}  {finding.check}: {text}")
    for number, line in enumerate(finding.fix.splitlines()):
        click.echo(f"{'':8}  {'  ' if number else '->'} {printable(line)}")
