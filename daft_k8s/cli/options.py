"""Options of the configuration on the command line, and what becomes of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from daft_k8s.cli.place import namespaces
from daft_k8s.config import FIELDS, Configuration, load

Decorated = Callable[..., Any]


if TYPE_CHECKING:
    PairType = click.ParamType[tuple[str, str]]
else:
    PairType = click.ParamType  # generic in newer versions only


class OptionAssignment(PairType):
    """`name=value`, with the names of the options completed by the shell."""

    name = "name=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        name, equals, text = str(value).partition("=")
        if not equals or not name.strip():
            self.fail(f"{value!r} is not of the form name=value", param, ctx)
        return name.strip().replace("-", "_"), text

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [
            CompletionItem(f"{name}=", help=field.accepts)
            for name, field in FIELDS.items()
            if name.startswith(incomplete)
        ]


def configuration_options(command: Decorated) -> Decorated:
    """`-o name=value`, `--config`, and short forms of what is set most often."""
    for option in reversed(
        [
            click.option(
                "-o",
                "--option",
                "assignments",
                type=OptionAssignment(),
                multiple=True,
                help="Any option of docs/configuration.md, as name=value. May be repeated.",
            ),
            click.option("--config", "config_file", type=click.Path(dir_okay=False), help="A TOML file with options."),
            click.option("-n", "--namespace", shell_complete=namespaces, help="The namespace."),
            click.option("--image", help="The image of driver and workers."),
            click.option("-w", "--workers", "num_workers", type=int, help="How many workers."),
            click.option("--worker-cpu", help="CPU cores of one worker."),
            click.option("--worker-memory", help="Memory of one worker, e.g. 8Gi."),
        ]
    ):
        command = option(command)
    return command


def given_options(assignments: tuple[tuple[str, str], ...] = (), **named: object) -> dict[str, object]:
    """The options that the command line gives, by name.

    Raises:
        click.UsageError: One is given twice with different values.
    """
    given: dict[str, object] = {name: value for name, value in named.items() if value is not None}
    for name, text in assignments:
        if name in given and str(given[name]) != text:
            raise click.UsageError(f"{name} is given twice: {given[name]!r} and {text!r}")
        given[name] = text
    return given


def load_configuration(given: Mapping[str, object], allocation: str | None = None) -> Configuration:
    """The configuration, with `allocation` where neither the command line nor a file or a variable sets it.

    Raises:
        daft_k8s.errors.ConfigurationError: Something is wrong; all mistakes are listed.
    """
    configuration = load(given)
    origin = configuration.origins.get("allocation")
    if allocation is None or configuration.allocation == allocation or (origin is not None and origin.chosen):
        return configuration
    return load({**given, "allocation": allocation})
