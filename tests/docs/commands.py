"""The commands of shell blocks, and whether they could be run as they stand.

Nothing is run: that a command of ours exists with these options, that a file or a `make` target is there.
"""

from __future__ import annotations

import importlib.util
import itertools
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import yaml

from daft_k8s.cli.main import cli
from daft_k8s.config import FIELDS, load
from tests.docs.blocks import ROOT, Block

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HEREDOC = re.compile(r"<<'?(\w+)'?")
ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
SHELL = {".", "break", "cd", "cat", "done", "echo", "export", "fi", "for", "git", "grep", "seq", "sleep", "source"}
"""What needs no check."""

KEYWORDS = {"do", "else", "if", "then", "!"}
ENDLESS = {"until", "while"}
SEPARATORS = {"|", "&&", "||", ";", "&", "(", ")"}
REDIRECTIONS = {">", ">>", "<", "<<"}
KUBECTL_VERBS = {"apply", "create", "delete", "describe", "get", "logs", "port-forward", "wait"}


def command_lines(block: Block) -> Iterator[str]:
    """The block's commands, continued lines joined, without comments and the texts that they read."""
    text = block.text.replace("\\\n", " ")
    lines = iter(text.splitlines())
    for line in lines:
        if block.language == "console":
            if not line.startswith("$ "):
                continue
            line = line.removeprefix("$ ")
        if heredoc := HEREDOC.search(line):
            for body in lines:
                if body == heredoc[1]:
                    break
        if line.strip() and not line.lstrip().startswith("#"):
            yield line


def commands(line: str) -> Iterator[list[str]]:
    """The commands that a line consists of, each as a list of words."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    into_file = False
    for word in [*lexer, ";"]:
        if into_file or word in REDIRECTIONS:
            into_file = not into_file
        elif word in SEPARATORS:
            if words:
                yield words
            words = []
        else:
            words.append(word)


def check(words: list[str], made_here: set[str]) -> None:
    """Raises where a command could not work.

    Args:
        words: The command.
        made_here: Files that the page tells to make.
    """
    assert not words or words[0] not in ENDLESS, f"{words[0]!r} may go on for ever: count the tries"
    while words and words[0] in KEYWORDS:
        words = words[1:]
    while words and (assignment := ASSIGNMENT.fullmatch(words[0])):
        check_variable(assignment[1], assignment[2])
        words = words[1:]
    if not words or words[0] in SHELL:
        return
    checker = CHECKERS.get(Path(words[0]).name)
    if checker is None:
        raise AssertionError(f"nobody checks {words[0]!r}: mark the block as not run, with the reason")
    checker(words[1:], made_here)


def check_variable(name: str, value: str) -> None:
    if name.startswith("DAFT_K8S_"):
        load({}, {name: value})


def check_ours(words: list[str], made_here: set[str]) -> None:
    group: click.Group = cli
    context = click.Context(cli, info_name="daft-k8s")
    while True:
        if words[0].startswith("-"):
            group.make_context("daft-k8s", list(words), resilient_parsing=True)
            return
        command = group.get_command(context, words[0])
        assert command is not None, f"daft-k8s has no command {words[0]!r}"
        if not isinstance(command, click.Group):
            break
        group, words = command, words[1:]
    try:
        parameters = command.make_context(words[0], words[1:]).params
    except click.exceptions.Exit:
        return  # --help
    except click.MissingParameter as error:
        if len(words) > 1:
            raise AssertionError(f"daft-k8s {' '.join(words)}: {error.format_message()}") from error
        return  # it only names the command
    except click.UsageError as error:
        raise AssertionError(f"daft-k8s {' '.join(words)}: {error.format_message()}") from error
    for name, _ in parameters.get("assignments") or ():
        assert name in FIELDS, f"there is no option {name!r}"
    if "script" in parameters and command.name == "run" and not parameters["module"]:
        script = parameters["script"]
        assert not script.startswith("-"), f"daft-k8s run has no option {script}"
        file_is_there(script, made_here)


def check_make(words: list[str], made_here: set[str]) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for word in words:
        if assignment := ASSIGNMENT.fullmatch(word):
            assert re.search(rf"\b{assignment[1]}\b", makefile), f"the Makefile knows no {assignment[1]}"
        else:
            assert re.search(rf"^{re.escape(word)}:", makefile, re.MULTILINE), f"there is no target {word!r}"


def check_helm(words: list[str], made_here: set[str]) -> None:
    assert words[0] in {"install", "upgrade", "uninstall", "rollback", "template", "test"}, words[0]
    values = yaml.safe_load((ROOT / "charts" / "daft" / "values.yaml").read_text())
    for option, text in itertools.pairwise(words):
        if option in ("--set", "--set-file", "--set-string", "--set-json"):
            at: Any = values
            for key in re.split(r"(?<!\\)\.", text.partition("=")[0]):
                if isinstance(at, dict) and at:
                    assert key in at, f"the chart has no value {text!r}"
                    at = at[key]
        if option == "--set-file":
            file_is_there(text.partition("=")[2], made_here)
    for word in words:
        if word.startswith("charts/"):
            assert (ROOT / word / "Chart.yaml").is_file()


def check_kubectl(words: list[str], made_here: set[str]) -> None:
    verb = next(word for word in words if not word.startswith("-"))
    assert verb in KUBECTL_VERBS, f"kubectl {verb}?"
    for option, text in itertools.pairwise(words):
        if option == "-f" and verb != "logs" and text != "-":
            file_is_there(text, made_here)


def check_docker(words: list[str], made_here: set[str]) -> None:
    for option, text in itertools.pairwise(words):
        if option == "-f":
            file_is_there(text, made_here)
            if "--build-arg" in words:
                argument = words[words.index("--build-arg") + 1].partition("=")[0]
                assert re.search(rf"^ARG {argument}\b", (ROOT / text).read_text(), re.MULTILINE), argument


def check_pip(words: list[str], made_here: set[str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for word in words:
        if own := re.match(r"daft_k8s\[(.*)\]", word):
            assert own[1] in project["optional-dependencies"], f"there is no extra {own[1]!r}"


def check_python(words: list[str], made_here: set[str]) -> None:
    if words[0] == "-m":
        if words[1] == "pip":
            check_pip(words[2:], made_here)
        else:
            assert importlib.util.find_spec(words[1]) is not None, f"there is no module {words[1]}"
    elif not words[0].startswith("-"):
        file_is_there(words[0], made_here)


def file_is_there(name: str, made_here: set[str]) -> None:
    assert (ROOT / name).exists() or name in made_here, f"{name!r} is neither in the repository nor made on the page"


def check_daft(words: list[str], made_here: set[str]) -> None:
    command = [word for word in words if not word.startswith("-")][:2]
    daft = Path(sys.executable).with_name("daft")
    done = subprocess.run([daft, *command, "--help"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"daft {' '.join(command)}: {done.stderr}"
    for word in words:
        if word.startswith("--"):
            assert word.partition("=")[0] in done.stdout, f"daft {' '.join(command)} has no {word}"


CHECKERS: dict[str, Callable[[list[str], set[str]], None]] = {
    "daft": check_daft,
    "daft-k8s": check_ours,
    "docker": check_docker,
    "helm": check_helm,
    "kubectl": check_kubectl,
    "make": check_make,
    "pip": check_pip,
    "python": check_python,
}
