"""Reads the configuration from wherever it was written: arguments, environment, TOML file, preset."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from daft_k8s.config.configuration import Configuration
from daft_k8s.config.fields import (
    CONFIG_FILE,
    CONFIG_FILE_VARIABLE,
    ENVIRONMENT_PREFIX,
    FIELDS,
    did_you_mean,
    did_you_mean_variable,
)
from daft_k8s.config.frozen import FrozenMap
from daft_k8s.config.origin import DEFAULT, Origin
from daft_k8s.config.presets import DEFAULT_PRESET, POD_SIZES, PRESETS
from daft_k8s.config.trust import why_untrusted
from daft_k8s.config.validation import Mistake, broken_rules, raise_if_any, unacceptable

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

logger = logging.getLogger("daft_k8s")

FILE_HERE = "daft-k8s.toml"
FILE_AT_HOME = ".config/daft-k8s/config.toml"

_HOW_TO_TRUST = (
    "Options set the workers' variables, which can run code. Make it your own (chown), take the right to write away "
    f"from others (chmod go-w), or name a file that you trust: {CONFIG_FILE}, or the variable {CONFIG_FILE_VARIABLE}"
)
_reported: set[str] = set()
"""Files that were found, not named, and told of."""

INTERNAL_PREFIX = ENVIRONMENT_PREFIX + "INTERNAL_"
"""Variables that start so are for the runner's own use and are no options."""

_SERVICE_VARIABLE = re.compile(r"(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_\w+)?)?)")
"""Kubernetes describes a Service named `daft-k8s...` to every Pod by variables of this form."""


@dataclass(frozen=True)
class _Given:
    """A value as it was written."""

    value: object
    origin: Origin
    base: Path


@dataclass
class _Layers:
    """The values of all sources, the most important source first, and the problems found in them."""

    given: list[dict[str, _Given]] = field(default_factory=list)
    mistakes: list[Mistake] = field(default_factory=list)

    def first(self, name: str) -> _Given | None:
        return next((layer[name] for layer in self.given if name in layer), None)


def load(
    arguments: Mapping[str, object], environ: Mapping[str, str] = os.environ, cwd: Path | str | None = None
) -> Configuration:
    """Reads the configuration.

    For each option the first of these counts: argument, environment variable `DAFT_K8S_<OPTION>`, TOML file,
    preset, default. The file is the first of: argument `config_file`, `DAFT_K8S_CONFIG`, `daft-k8s.toml` in
    the current folder, `~/.config/daft-k8s/config.toml`; files are not merged. One that was found, and not named, is
    refused if another user owns or may write the file or its folder. Arguments that are None and variables that are
    empty count as not given.

    Args:
        arguments: Options by name.
        environ: Environment variables.
        cwd: The current folder, None: the process's.

    Raises:
        daft_k8s.errors.ConfigurationError: Something is wrong; the message lists every mistake of every source.
    """
    base = _current_folder() if cwd is None else Path(cwd)
    layers = _Layers()
    layers.given.append(_from_arguments(arguments, base, layers.mistakes))
    layers.given.append(_from_environment(environ, base, layers.mistakes))
    layers.given.append(_from_file(_file(arguments, environ, base), environ, layers.mistakes))

    values: dict[str, Any] = {}
    origins: dict[str, Origin] = {}
    wrong: set[str] = set()

    def read(name: str) -> None:
        option = FIELDS[name].option
        given = layers.first(name)
        origins[name] = DEFAULT if given is None else given.origin
        if given is None:
            return
        try:
            values[FIELDS[name].attribute] = option.kind.read(given.value, given.base)
        except ValueError as error:
            wrong.add(name)
            layers.mistakes.append(unacceptable(name, option, given.value, given.origin, str(error)))

    read("preset")
    preset = _from_preset(values.get("preset", DEFAULT_PRESET), base)
    layers.given.append(preset)
    read("allocation")
    if values.get("allocation", "local") == "local":
        for name in POD_SIZES:
            preset.pop(name, None)
    for name in FIELDS:
        if name not in origins:
            read(name)
    configuration = Configuration(**values, origins=FrozenMap(origins))
    raise_if_any([*layers.mistakes, *broken_rules(configuration, wrong)])
    return configuration


def _current_folder() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError:  # it was removed; then no relative path leads anywhere, and no other option needs it
        return Path("/the current folder was removed")


def _from_arguments(arguments: Mapping[str, object], base: Path, mistakes: list[Mistake]) -> dict[str, _Given]:
    given = {}
    for name, value in arguments.items():
        if name == CONFIG_FILE or (value is None and name in FIELDS):
            continue
        if name in FIELDS:
            given[name] = _Given(value, Origin("argument", name), base)
        else:
            hint = did_you_mean(name, further=(CONFIG_FILE,))
            mistakes.append(Mistake((name,), f"{name} (argument): unknown option; {hint}"))
    return given


def _from_environment(environ: Mapping[str, str], base: Path, mistakes: list[Mistake]) -> dict[str, _Given]:
    given = {}
    by_variable = {option.variable: name for name, option in FIELDS.items()}
    for variable, text in environ.items():
        if not variable.startswith(ENVIRONMENT_PREFIX) or not text.strip():
            continue
        if variable in by_variable:
            given[by_variable[variable]] = _Given(text, Origin("environment", variable), base)
        elif variable != CONFIG_FILE_VARIABLE and not _is_foreign(variable):
            hint = did_you_mean_variable(variable)
            mistakes.append(Mistake((variable,), f"{variable} (environment variable): unknown option; {hint}"))
    return given


def _is_foreign(variable: str) -> bool:
    rest = variable.removeprefix(ENVIRONMENT_PREFIX)
    return variable.startswith(INTERNAL_PREFIX) or _SERVICE_VARIABLE.fullmatch(rest) is not None


def _from_preset(name: str, base: Path) -> dict[str, _Given]:
    return {option: _Given(value, Origin("preset", name), base) for option, value in PRESETS[name].options.items()}


def _file(arguments: Mapping[str, object], environ: Mapping[str, str], base: Path) -> _Given | None:
    """The file to read; its value is a Path, or what was wrongly given for one."""
    named = arguments.get(CONFIG_FILE)
    if named is not None:
        return _Given(named, Origin("argument", CONFIG_FILE), base)
    variable = environ.get(CONFIG_FILE_VARIABLE, "").strip()
    if variable:
        return _Given(variable, Origin("environment", CONFIG_FILE_VARIABLE), base)
    for path in _usual_files(environ, base):
        if os.path.exists(path):  # Unlike Path.exists it never raises, e.g. for a home that may not be entered.
            return _Given(path, Origin("file", str(path)), base)
    return None


def _usual_files(environ: Mapping[str, str], base: Path) -> Iterator[Path]:
    yield base / FILE_HERE
    home = environ.get("HOME", "").strip() or environ.get("USERPROFILE", "").strip()
    if home:
        yield Path(home) / FILE_AT_HOME


def _from_file(file: _Given | None, environ: Mapping[str, str], mistakes: list[Mistake]) -> dict[str, _Given]:
    if file is None:
        return {}

    def wrong(problem: str) -> dict[str, _Given]:
        text = f"{CONFIG_FILE}={str(file.value)!r} ({file.origin}): {problem}."
        mistakes.append(Mistake((CONFIG_FILE,), f"{text} Accepted: the path of a TOML file with options as keys."))
        return {}

    if not isinstance(file.value, (str, Path)) or not str(file.value).strip():
        return wrong("not a path")
    try:
        path = file.base / Path(file.value).expanduser()
        with open(path, "rb") as opened:
            if file.origin.kind == "file" and (why := why_untrusted(path, opened, environ)):
                mistakes.append(Mistake((CONFIG_FILE,), f"{path} is refused: {why}. {_HOW_TO_TRUST}."))
                return {}
            document = tomllib.loads(opened.read().decode("utf-8"))
    except tomllib.TOMLDecodeError as error:
        return wrong(f"malformed TOML: {error}")
    except UnicodeDecodeError:
        return wrong("not UTF-8 text")
    except OSError as error:
        return wrong(f"cannot be read: {error.strerror}")
    except (RuntimeError, ValueError) as error:
        return wrong(f"cannot be read: {error}")
    if file.origin.kind == "file" and str(path) not in _reported:
        _reported.add(str(path))
        logger.info("reads the configuration from %s", path)
    given = {}
    for name, value in document.items():
        if name in FIELDS:
            given[name] = _Given(value, Origin("file", str(path)), path.parent)
        else:
            mistakes.append(Mistake((name,), f"{name} (file {path}): unknown option; {did_you_mean(name)}"))
    return given
