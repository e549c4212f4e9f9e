"""The group of all commands. A command's module is imported when it is called: the help is there at once."""

from __future__ import annotations

import importlib

import click

from daft_k8s.boot.version import version
from daft_k8s.cli import exit_codes

COMMANDS = {
    "run": "Run a script, as a Job on the cluster or on this machine.",
    "shell": "Start Python as a driver in the cluster, and attach this terminal.",
    "sql": "Run one SQL query over files.",
    "status": "Show sessions and their workers.",
    "runs": "Show runs, and the outcome of those that have ended.",
    "top": "Show the same again and again.",
    "logs": "Show the logs of a driver and its workers.",
    "doctor": "Find out what is wrong, and say what to change.",
    "clean": "Remove what dead sessions have left.",
    "config": "Show, make and check configurations.",
    "rbac": "Print the rights that a driver needs.",
    "completion": "Print the shell's completion script.",
}
"""Every command, with its line of help: the module of its name has it as `command`."""

_MODULES = {"config": "configuration"}

EPILOG = """\b
Examples:
  daft-k8s run --local job.py --date 2026-11-01
  daft-k8s run -w 4 --image registry.example.com/daft-k8s:1.0 job.py
  daft-k8s sql "SELECT count(*) FROM 's3://bucket/events/*.parquet'"
  daft-k8s doctor

\b
Exit codes:
""" + "\n".join(f"  {code:<4} {words}" for code, words in exit_codes.WORDS.items())


class LazyGroup(click.Group):
    """Imports a command's module when that command is wanted."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"daft_k8s.cli.{_MODULES.get(cmd_name, cmd_name)}")
        command = module.command
        if not isinstance(command, click.Command):
            raise TypeError(f"{module.__name__}.command is no command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=LazyGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(version(), prog_name="daft-k8s")
def cli() -> None:
    """Daft's distributed queries on Kubernetes or on this machine, without Ray."""


def main() -> None:
    """The console script."""
    cli(prog_name="daft-k8s")
