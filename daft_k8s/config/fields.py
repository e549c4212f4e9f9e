"""The options as data: for reading them from anywhere, for the command line, and for the documentation."""

from __future__ import annotations

import ast
import dataclasses
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from types import MappingProxyType

from daft_k8s.config import configuration as _module
from daft_k8s.config.configuration import Configuration
from daft_k8s.config.options import Option

ENVIRONMENT_PREFIX = "DAFT_K8S_"

_OTHER_NAMES = {
    "backend": "allocation",
    "conda_env": "env",
    "container_image": "image",
    "cores": "worker_cpu",
    "cpu": "worker_cpu",
    "cpus": "worker_cpu",
    "environment": "env",
    "gpu": "worker_gpu",
    "gpus": "worker_gpu",
    "mem": "worker_memory",
    "memory": "worker_memory",
    "mode": "allocation",
    "parallelism": "num_workers",
    "profile": "preset",
    "replicas": "num_workers",
    "workers": "num_workers",
}
"""Names of options in other products, with ours."""


@dataclass(frozen=True)
class Field:
    """One option."""

    name: str
    """Its name as argument and in TOML."""
    attribute: str
    """Its name on `Configuration`."""
    option: Option
    default: object
    """As `Configuration` holds it. None, and `option.chosen`: chosen from the machine and the other options."""

    @property
    def variable(self) -> str:
        """The environment variable."""
        return ENVIRONMENT_PREFIX + self.name.upper()

    @property
    def topic(self) -> str:
        return self.option.topic

    @property
    def accepts(self) -> str:
        """The accepted values, in words."""
        return self.option.kind.accepts

    @property
    def description(self) -> str:
        """Meaning, unit, meaning of None and reason: the attribute's docstring, on one line."""
        return _descriptions().get(self.attribute, "")


def _fields() -> Mapping[str, Field]:
    found = {}
    for field in dataclasses.fields(Configuration):
        option = field.metadata.get("option")
        if isinstance(option, Option):
            name = option.name or field.name
            found[name] = Field(name, field.name, option, field.default)
    return MappingProxyType(found)


@lru_cache(maxsize=1)
def _descriptions() -> Mapping[str, str]:
    """The attribute docstrings, which Python does not keep, from the source."""
    tree = ast.parse(inspect.getsource(_module))
    found = {}
    for cls in tree.body:
        if not isinstance(cls, ast.ClassDef) or cls.name != Configuration.__name__:
            continue
        for statement, following in zip(cls.body, cls.body[1:], strict=False):
            if (
                isinstance(statement, ast.AnnAssign)
                and isinstance(statement.target, ast.Name)
                and isinstance(following, ast.Expr)
                and isinstance(following.value, ast.Constant)
                and isinstance(following.value.value, str)
            ):
                found[statement.target.id] = " ".join(following.value.value.split())
    return found


FIELDS: Mapping[str, Field] = _fields()
"""Every option by name, in the order of `Configuration`."""

CONFIG_FILE = "config_file"
"""The one argument that is no option: the TOML file to read."""
CONFIG_FILE_VARIABLE = ENVIRONMENT_PREFIX + "CONFIG"


def did_you_mean_variable(variable: str) -> str:
    """`did_you_mean` for environment variables."""
    close = _closest(variable.removeprefix(ENVIRONMENT_PREFIX), ("config",))
    if close is not None:
        return f"did you mean {ENVIRONMENT_PREFIX}{close.upper()}?"
    return f"known variables are {', '.join([*(field.variable for field in FIELDS.values()), CONFIG_FILE_VARIABLE])}"


def did_you_mean(name: str, *, further: tuple[str, ...] = ()) -> str:
    """A sentence that helps after an unknown option: the nearest name, or all names."""
    close = _closest(name, further)
    if close is not None:
        return f"did you mean {close}?"
    return f"known options are {', '.join([*FIELDS, *further])}"


def _closest(name: str, further: tuple[str, ...]) -> str | None:
    wanted = name.lower().replace("-", "_")
    by_attribute = {field.attribute: field.name for field in FIELDS.values()}
    known = wanted if wanted in FIELDS or wanted in further else _OTHER_NAMES.get(wanted) or by_attribute.get(wanted)
    close = [known] if known else get_close_matches(wanted, [*FIELDS, *further], n=1, cutoff=0.7)
    return close[0] if close else None
