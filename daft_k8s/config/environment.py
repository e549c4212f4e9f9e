"""A configuration as environment variables, for another process."""

from __future__ import annotations

import json

from daft_k8s.config.configuration import Configuration
from daft_k8s.config.fields import FIELDS
from daft_k8s.config.frozen import thaw


def as_environment(configuration: Configuration) -> dict[str, str]:
    """The environment variables with which another process loads what somebody chose in this configuration."""
    variables = {}
    for name, origin in configuration.origins.items():
        if origin.chosen or name in ("preset", "allocation"):
            field = FIELDS[name]
            variables[field.variable] = _as_text(thaw(getattr(configuration, field.attribute)))
    return variables


def _as_text(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)
