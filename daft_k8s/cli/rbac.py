"""`daft-k8s rbac`."""

from __future__ import annotations

import click

from daft_k8s.cli.options import load_configuration
from daft_k8s.cli.output import output_option, print_json, reports_errors
from daft_k8s.cli.yaml import to_yaml
from daft_k8s.kube.objects.rights import ACCOUNT, driver_account


@click.command(name="rbac")
@click.option("-n", "--namespace", help="The namespace; none: that of kubectl's context when it is applied.")
@click.option("--name", default=ACCOUNT, show_default=True, help="Of the account, the Role and the binding.")
@click.option("--allocation", type=click.Choice(["pod", "statefulset"]), default="pod", show_default=True)
@click.option("--outside", is_flag=True, help="Also what a driver outside the cluster needs: port-forwards.")
@click.option("--role-only", is_flag=True, help="Only the Role.")
@output_option
@reports_errors
def command(namespace: str | None, name: str, allocation: str, outside: bool, role_only: bool, output: str) -> None:
    """Print the rights that a driver needs: a ServiceAccount, a Role of the namespace, and their binding.

    \b
    Examples:
      daft-k8s rbac -n jobs | kubectl apply -f -
      daft-k8s rbac --role-only
    """
    configuration = load_configuration({"allocation": allocation})
    objects = driver_account(configuration, name=name, namespace=namespace, outside=outside)
    if role_only:
        objects = objects[1:2]
    if output == "json":
        print_json({"apiVersion": "v1", "kind": "List", "items": objects})
    else:
        click.echo("\n---\n".join(to_yaml(item) for item in objects))
