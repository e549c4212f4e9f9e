"""Daft's native extensions on a worker: shared libraries whose functions plans may call."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable

import daft

logger = logging.getLogger(__name__)

_VARIABLE = "DAFT_EXTENSION_PATHS"

_tried: set[str] = set()


def load_extensions(paths: Iterable[str]) -> None:
    """Loads those that have not been tried yet. One that cannot be loaded is logged: the plan may do without it."""
    for path in paths:
        if path in _tried:
            continue
        _tried.add(path)
        try:
            daft.load_extension(path)
        except Exception as error:
            logger.warning(
                "the Daft extension %s, which the driver has loaded, cannot be loaded here: %s. "
                "Put it at the same path on workers (image)",
                path,
                error,
            )


def listed_in_environment() -> list[str]:
    """What Daft's variable names, as a JSON list."""
    listed = os.environ.get(_VARIABLE)
    if not listed:
        return []
    try:
        return [str(path) for path in json.loads(listed)]
    except (ValueError, TypeError):
        logger.warning("%s is not a JSON list: %r", _VARIABLE, listed)
        return []
