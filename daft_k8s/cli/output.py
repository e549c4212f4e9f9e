"""The output of commands: text for people, or JSON for programs; notes and errors go to stderr."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from daft_k8s.cli import exit_codes
from daft_k8s.errors import DaftK8sError
from daft_k8s.printable import for_terminal, is_terminal, printable

Command = TypeVar("Command", bound=Callable[..., Any])

_UNLIMITED = 10_000
"""The width of output that no terminal shows: a file or a pipe must lose no column."""

output_option = click.option(
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Text for people, or JSON for programs.",
)


def print_json(value: object) -> None:
    click.echo(json.dumps(value, indent=2, default=str))


def text_console(*, limited: bool = True) -> Console:
    """Standard output, as wide as the terminal.

    Args:
        limited: False for tables of any width, which a terminal wraps and of which no column may be lost.
    """
    width = None if limited and is_terminal(sys.stdout) else _UNLIMITED
    return Console(width=width, highlight=False, markup=False, emoji=False)


def new_table(*columns: str) -> Table:
    """A table without lines, with the names of its columns in capitals."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column.upper(), no_wrap=True)
    return table


def cell(value: object, style: str = "") -> Text:
    """A cell of a table; a terminal obeys nothing that it holds."""
    return Text("" if value is None else printable(str(value)), style=style)


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
