"""The driver's surroundings at the start of its session, which all of its local workers share."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from daft_k8s.code.search_path import search_path


@dataclass(frozen=True)
class DriverSnapshot:
    """One for a session: a worker that replaces another, or comes later, must not differ from its peers."""

    variables: Mapping[str, str]
    """The environment variables."""
    search_path: tuple[str, ...]
    """The folders from which the driver imports."""

    @classmethod
    def take(cls) -> DriverSnapshot:
        """The surroundings of this process as they are now."""
        return cls(dict(os.environ), search_path())
