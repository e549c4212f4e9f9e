"""The driver's current folder at the beginning of each query: where its relative paths start on local workers."""

from __future__ import annotations

import os
import threading


class QueryFolders:
    """The folders of the queries that run. Thread-safe.

    A query keeps its folder: tasks that are sent after an `os.chdir` of the driver belong together with those before.

    Args:
        enabled: True if workers see the driver's disk. Otherwise there are no folders.
    """

    def __init__(self, *, enabled: bool) -> None:
        self._enabled = enabled
        self._folders: dict[str, str] = {}
        self._lock = threading.Lock()

    def begin(self, query_id: str) -> None:
        """Notes the folder of a query that begins now."""
        if self._enabled:
            with self._lock:
                self._folders[query_id] = current_folder()

    def end(self, query_id: str) -> None:
        """Forgets a query."""
        with self._lock:
            self._folders.pop(query_id, None)

    def of(self, query_id: str) -> str | None:
        """The folder of a query; None if workers have disks of their own."""
        if not self._enabled:
            return None
        with self._lock:
            folder = self._folders.get(query_id)
        return current_folder() if folder is None else folder

    def latest(self) -> str | None:
        """The folder of the query that began last, for actors: Daft does not say for which query it starts them."""
        if not self._enabled:
            return None
        with self._lock:
            folder = next(reversed(self._folders.values()), None)
        return current_folder() if folder is None else folder


def current_folder() -> str:
    """The current folder of this process; "" if that was removed."""
    try:
        return os.getcwd()
    except OSError:
        return ""
