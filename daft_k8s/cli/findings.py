"""What a check found: a mark, what is so, and what to change."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

import click

Mark = Literal["ok", "warning", "failed", "skipped"]

_STYLES = {"ok": "green", "warning": "yellow", "failed": "red", "skipped": "blue"}


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    check: str
    mark: Mark
    text: str
    fix: str = ""
    """What to change; "": nothing."""

    @property
    def passed(self) -> bool:
        """Whether what rests on it can be looked at."""
        return self.mark != "failed"

    def as_dict(self) -> dict[str, str]:
        return asdict(self)

    def show(self) -> None:
        """Prints it."""
        click.echo(f"{click.style(f'{self.mark:>8}', fg=_STYLES[self.mark])}  {self.check}: {self.text}")
        if self.fix:
            for line in self.fix.splitlines():
                click.echo(f"{'':8}  {'->' if line == self.fix.splitlines()[0] else '  '} {line}")


def ok(check: str, text: str) -> Finding:
    return Finding(check, "ok", text)


def warning(check: str, text: str, fix: str) -> Finding:
    return Finding(check, "warning", text, fix)


def failed(check: str, text: str, fix: str) -> Finding:
    return Finding(check, "failed", text, fix)


def skipped(check: str, text: str) -> Finding:
    return Finding(check, "skipped", text)
