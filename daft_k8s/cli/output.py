"""The output of commands: text for people, or JSON for programs; notes and errors go to stderr."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, TypeVar

import click

from daft_k8s.cli import exit_codes
from daft_k8s.cli.tables import table_lines
from daft_k8s.errors import DaftK8sError
from daft_k8s.printable import for_terminal, is_terminal, printable

Command = TypeVar("Command", bound=Callable[..., Any])

output_option = click.option(
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Text for people, or JSON for programs.",
)


def print_json(value: object) -> None:
    click.echo(json.dumps(value, indent=2, default=str))


def print_table(head: Sequence[str], lines: Sequence[Sequence[object]]) -> None:
    """Columns as wide as they must be."""
    for line in table_lines(head, lines):
        click.echo(line)


def print_rows(output: str, rows: Sequence[Mapping[str, object]], columns: Sequence[str], nothing: str) -> None:
    """Rows as a table or as JSON; `nothing` is what people read if there are none."""
    if output == "json":
        print_json(rows)
    elif rows:
        print_table(
            [column.upper() for column in columns], [[row.get(column, "") for column in columns] for row in rows]
        )
    else:
        click.echo(nothing)


def note(text: str) -> None:
    """A line for people that is no part of the result."""
    click.echo(printable(text, lines=True), err=True)


def write_line(line: str, source: str = "") -> None:
    """Shows a line of a log at once; a terminal does not obey it, and it cannot pass for one of another source."""
    shown = for_terminal(line) if is_terminal(sys.stdout) else line
    sys.stdout.write(f"({source}) {shown}\n" if source else f"{shown}\n")
    sys.stdout.flush()


def fail(text: str, code: int) -> NoReturn:
    """Ends the command with an error."""
    click.echo(f"{click.style('error:', fg='red', bold=True)} {printable(text, lines=True)}", err=True)
    sys.exit(code)


def reports_errors(command: Command) -> Command:
    """Turns errors of daft_k8s into a message and an exit code."""

    @functools.wraps(command)
    def run(*arguments: Any, **options: Any) -> Any:
        try:
            return command(*arguments, **options)
        except DaftK8sError as error:
            fail(str(error), exit_codes.code_of(error))
        except KeyboardInterrupt:
            fail("interrupted", exit_codes.INTERRUPTED)

    return run  # type: ignore[return-value]
