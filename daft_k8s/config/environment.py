"""A configuration as environment variables, for another process."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from daft_k8s.config.configuration import Configuration
from daft_k8s.config.fields import ENVIRONMENT_PREFIX, FIELDS
from daft_k8s.config.frozen import thaw

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""Others, such as BASH_FUNC_f%%, would have the whole Pod or Secret refused."""


def as_environment(configuration: Configuration) -> dict[str, str]:
    """The environment variables with which another process loads the chosen options of this configuration."""
    variables = {}
    for name, origin in configuration.origins.items():
        if origin.chosen or name in ("preset", "allocation"):
            field = FIELDS[name]
            variables[field.variable] = _as_text(thaw(getattr(configuration, field.attribute)))
    return variables


def passed_on(configuration: Configuration, environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that `pass_env` names, without those that the runner sets itself or that are no names.

    Args:
        configuration: The configuration with `pass_env`.
        environ: The variables of the driver's process.
    """
    names = tuple(name for name in configuration.pass_env if not name.endswith("*"))
    beginnings = tuple(name[:-1] for name in configuration.pass_env if name.endswith("*"))
    return {
        name: value
        for name, value in environ.items()
        if (name in names or name.startswith(beginnings))
        and not name.startswith(ENVIRONMENT_PREFIX)
        and _NAME.fullmatch(name)
    }


def _as_text(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)
