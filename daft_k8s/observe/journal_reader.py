"""The reading of a session's journal, from where the last reading ended."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from daft_k8s.observe.fact_listener import FactListener

if TYPE_CHECKING:
    from daft_k8s._native import JournalSnapshot

logger = logging.getLogger(__name__)

FactSource = Callable[[int], "JournalSnapshot"]
"""Returns the facts after the entry of this number, as `K8sWorkerManager.facts_since` does."""


class JournalReader:
    """Passes on each fact once, in order. Thread-safe.

    Args:
        listeners: Take the facts.
    """

    def __init__(self, *listeners: FactListener) -> None:
        self._listeners = listeners
        self._lock = threading.Lock()
        self._read_to = 0
        self.missed = 0
        """Entries that were dropped before they could be read."""

    def read(self, source: FactSource) -> float:
        """Reads to the end of the journal.

        Returns:
            The session's time at the end, in seconds since its start.
        """
        with self._lock:
            while True:
                snapshot = source(self._read_to)
                self._read_to = snapshot.read_to
                if snapshot.missed:
                    self._miss(snapshot.missed)
                for fact in snapshot.facts:
                    for listener in self._listeners:
                        listener.take(fact)
                if snapshot.is_complete:
                    for listener in self._listeners:
                        listener.caught_up(snapshot.now_seconds)
                    return snapshot.now_seconds

    def _miss(self, entries: int) -> None:
        if not self.missed:
            logger.warning(
                "the session's statistics are incomplete: %d entries of its journal were dropped before they were "
                "read, as too much happened at once; what they count is too low from now on",
                entries,
            )
        self.missed += entries
        for listener in self._listeners:
            listener.facts_missed(entries)
