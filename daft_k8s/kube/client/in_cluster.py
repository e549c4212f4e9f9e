"""The cluster that this process runs in, if it is a Pod."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

SERVICE_ACCOUNT_DIR = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def is_in_cluster(environment: Mapping[str, str] = os.environ) -> bool:
    """True if this process runs in a Pod."""
    return bool(environment.get("KUBERNETES_SERVICE_HOST"))


def own_namespace(folder: Path = SERVICE_ACCOUNT_DIR) -> str | None:
    """The namespace of this Pod; None: it is not known."""
    try:
        return (folder / "namespace").read_text(encoding="utf-8").strip() or None
    except OSError:
        return None
