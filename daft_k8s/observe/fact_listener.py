"""The part of an observer that facts are passed to. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from daft_k8s._native import Fact


class FactListener:
    """Follows the facts of a session. Called by one thread at a time."""

    def take(self, fact: Fact) -> None:
        """Takes in the next fact."""

    def facts_missed(self, entries: int) -> None:
        """Takes in that facts were dropped, among that many entries of the journal, before they could be read."""

    def caught_up(self, now_seconds: float) -> None:
        """Takes in that all facts up to this time of the session were read."""
