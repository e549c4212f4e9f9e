"""Daft's native extensions on a worker: shared libraries whose functions plans may call."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable

import daft

logger = logging.getLogger(__name__)

_VARIABLE = "DAFT_EXTENSION_PATHS"

_loaded: set[str] = set()
_complaints: dict[str, str] = {}
"""The last logged reason for each extension that could not be loaded. Each task tries again, without logging again."""


def load_extensions(paths: Iterable[str]) -> None:
    """Loads those that are not loaded yet. One that cannot be loaded is logged: the plan may do without it."""
    for path in paths:
        if path in _loaded:
            continue
        try:
            daft.load_extension(path)
        except Exception as error:
            if _complaints.get(path) == str(error):
                continue
            _complaints[path] = str(error)
            logger.warning(
                "the Daft extension %s, which the driver has loaded, cannot be loaded here: %s. "
                "Put it at the same path on workers (image)",
                path,
                error,
            )
        else:
            _loaded.add(path)


def listed_in_environment() -> list[str]:
    """The extensions that Daft's variable names, as a JSON list."""
    listed = os.environ.get(_VARIABLE)
    if not listed:
        return []
    try:
        return [str(path) for path in json.loads(listed)]
    except (ValueError, TypeError):
        logger.warning("%s is not a JSON list: %r", _VARIABLE, listed)
        return []
