"""The origin of an option's value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Origin:
    """The source of one value, for messages and for `daft-k8s config show`."""

    kind: Literal["argument", "environment", "file", "preset", "default"]
    name: str = ""
    """The argument, the environment variable, the file, or the preset; empty for a default."""

    @property
    def chosen(self) -> bool:
        """True if the user asked for this very value, rather than for a preset or for nothing."""
        return self.kind in ("argument", "environment", "file")

    def __str__(self) -> str:
        if self.kind == "environment":
            return f"environment variable {self.name}"
        return f"{self.kind} {self.name}".rstrip()


DEFAULT = Origin("default")
