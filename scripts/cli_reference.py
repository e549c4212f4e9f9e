"""Writes the reference of the command `daft-k8s`: `python scripts/cli_reference.py > docs/commands.md`."""

from __future__ import annotations

import inspect
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # runs from a checkout whose environment is not linked yet, too

from daft_k8s.cli import exit_codes  # noqa: E402
from daft_k8s.cli.main import cli  # noqa: E402

INTRODUCTION = """\
# Commands

<!-- Generated from daft_k8s/cli by `python scripts/cli_reference.py`; do not edit. -->

Every command of `daft-k8s` with its options. [The command](cli.md) tells how to use them; `daft-k8s COMMAND --help`
says what stands here.
"""


def page() -> str:
    """The whole page."""
    context = click.Context(cli, info_name="daft-k8s")
    parts = [INTRODUCTION]
    for path, command in commands("daft-k8s", cli, context):
        if not isinstance(command, click.Group):
            parts.append(entry(path, command))
    parts.append("## Exit codes\n\n| code | meaning |\n|---|---|")
    rows = [f"| {code} | {words} |" for code, words in exit_codes.WORDS.items()]
    return "\n".join(parts) + "\n" + "\n".join(rows) + "\n"


def commands(path: str, command: click.Command, context: click.Context) -> Iterator[tuple[str, click.Command]]:
    """A command and all below it, with the words that call them."""
    yield path, command
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            if found is not None:
                yield from commands(f"{path} {name}", found, context)


def entry(path: str, command: click.Command) -> str:
    """One command: what it does, its usage, examples and options."""
    text, examples = split_help(command)
    arguments = [parameter for parameter in command.params if isinstance(parameter, click.Argument)]
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    usage = " ".join([path, "[OPTIONS]" if options else "", *map(argument_usage, arguments)]).replace("  ", " ")
    parts = [f"## `{path}`\n", text, f"```text\n{usage.strip()}\n```\n"]
    if examples:
        parts.append(f"```sh\n{examples}\n```\n")
    if options:
        parts.append("| option | what |\n|---|---|\n" + "\n".join(map(option_row, options)) + "\n")
    return "\n".join(parts)


def split_help(command: click.Command) -> tuple[str, str]:
    """The text of a command's help, and its examples."""
    text, _, examples = inspect.cleandoc(command.help or "").partition("\b\nExamples:\n")
    return text.replace("\b\n", "").strip() + "\n", textwrap.dedent(examples).strip()


def argument_usage(argument: click.Argument) -> str:
    if argument.metavar:
        return argument.metavar
    name = argument.human_readable_name.upper() + ("..." if argument.nargs == -1 else "")
    return name if argument.required else f"[{name}]"


def option_row(option: click.Option) -> str:
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    text = (option.help or "").replace("|", "\\|")
    notes = []
    if isinstance(option.type, click.Choice):
        notes.append("One of " + ", ".join(f"`{choice}`" for choice in option.type.choices) + ".")
    if option.show_default and isinstance(option.default, (str, int, float)) and not isinstance(option.default, bool):
        notes.append(f"Default: `{option.default}`.")
    if option.envvar:
        notes.append(f"Variable: `{option.envvar}`.")
    return f"| {names} | {' '.join([text, *notes]).strip()} |"


if __name__ == "__main__":
    sys.stdout.write(page())
