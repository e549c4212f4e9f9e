"""News of the driver's search path since its session began, for tasks of workers on the same machine."""

from __future__ import annotations

from collections.abc import Sequence

from daft_k8s.code.search_path import search_path


class SearchPathNews:
    """Compares `sys.path` with the one that all workers of the session were started with.

    Args:
        at_start: The search path at the start; None: workers have other disks, without the driver's folders.
    """

    def __init__(self, at_start: Sequence[str] | None) -> None:
        self._at_start = None if at_start is None else tuple(at_start)

    def current(self) -> tuple[str, ...]:
        """The whole path, if it is another one now; else empty. Takes microseconds, as each task asks."""
        if self._at_start is None:
            return ()
        now = search_path()
        return () if now == self._at_start else now
