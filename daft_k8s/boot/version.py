"""The version of this package: that of the installed wheel, or of the checkout that is imported."""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path


def version() -> str:
    """The version, e.g. `0.1.0`; looked up when asked for, because that reads files."""
    checkout = Path(__file__).parents[2] / "Cargo.toml"
    if checkout.is_file():
        found = re.search(r'^version = "([^"]+)"', checkout.read_text(), re.MULTILINE)
        if found:
            return found[1]
    return importlib.metadata.version("daft_k8s")
