"""The result of a check: a mark, the facts, and what to change."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

Mark = Literal["ok", "warning", "failed", "skipped"]


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    check: str
    mark: Mark
    text: str
    fix: str = ""
    """The change that helps; "": none is needed."""

    @property
    def passed(self) -> bool:
        """True if the checks that depend on this one can run."""
        return self.mark != "failed"

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


def ok(check: str, text: str) -> Finding:
    return Finding(check, "ok", text)


def warning(check: str, text: str, fix: str) -> Finding:
    return Finding(check, "warning", text, fix)


def failed(check: str, text: str, fix: str) -> Finding:
    return Finding(check, "failed", text, fix)


def skipped(check: str, text: str) -> Finding:
    return Finding(check, "skipped", text)
