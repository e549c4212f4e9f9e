"""`daft-k8s config`."""

from __future__ import annotations

import textwrap
from typing import Any

import click

from daft_k8s.cli.options import configuration_options, given_options, load_configuration
from daft_k8s.cli.output import cell, new_table, note, output_option, print_json, reports_errors, text_console
from daft_k8s.config import FIELDS, PRESETS
from daft_k8s.config.describe import ignored_message, rows
from daft_k8s.config.frozen import thaw


@click.group(name="config")
def command() -> None:
    """Show, make and check configurations."""


@command.command()
@configuration_options
@output_option
@reports_errors
def show(output: str, **options: Any) -> None:
    """Show every option, its value, and where the value came from.

    \b
    Examples:
      daft-k8s config show
      daft-k8s config show -o preset=production --output json
    """
    configuration = load_configuration(given_options(**options))
    if output == "json":
        print_json({row.name: {"value": row.value, "source": row.origin} for row in rows(configuration)})
    else:
        table = new_table("option", "value", "source")
        table.columns[1].no_wrap = False
        for row in rows(configuration):
            table.add_row(*map(cell, (row.name, row.text, row.origin)))
        text_console().print(table)


@command.command()
@configuration_options
@output_option
@reports_errors
def validate(output: str, **options: Any) -> None:
    """Check the configuration; list every mistake.

    \b
    Examples:
      daft-k8s config validate --config daft-k8s.toml
    """
    configuration = load_configuration(given_options(**options))
    ignored = ignored_message(configuration)
    if output == "json":
        print_json({"valid": True, "ignored": list(configuration.ignored())})
        return
    if ignored:
        note(ignored)
    click.echo("the configuration is valid")


@command.command()
@click.option("--preset", type=click.Choice(list(PRESETS)), default="development", show_default=True)
def generate(preset: str) -> None:
    """Print a TOML file with every option explained, for daft-k8s.toml.

    \b
    Examples:
      daft-k8s config generate --preset production > daft-k8s.toml
    """
    click.echo(f'preset = "{preset}"')
    changed = PRESETS[preset].options
    for name, field in FIELDS.items():
        if name == "preset":
            continue
        click.echo()
        for line in textwrap.wrap(field.description, 100):
            click.echo(f"# {line}")
        default = changed.get(name, field.default)
        shown = "" if default is None or default in ((), {}) else _toml(thaw(default))
        click.echo(f"# {name} = {shown}".rstrip())


@command.command()
@click.option("--set", "only_set", is_flag=True, help="Only variables that are set.")
@output_option
def env(only_set: bool, output: str) -> None:
    """List the environment variables of all options.

    \b
    Examples:
      daft-k8s config env --set
    """
    import os

    found = {
        field.variable: os.environ.get(field.variable)
        for field in FIELDS.values()
        if not only_set or os.environ.get(field.variable)
    }
    secret = {field.variable for field in FIELDS.values() if field.option.secret}
    shown = {name: "(hidden)" if value and name in secret else value for name, value in found.items()}
    if output == "json":
        print_json(shown)
        return
    for name, value in shown.items():
        click.echo(f"{name}={value}" if value is not None else f"# {name}")


def _toml(value: object) -> str:
    import json

    return json.dumps(value)
