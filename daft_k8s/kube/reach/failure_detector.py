"""The detection of workers that have failed, from their silence. Pure: times are arguments, in seconds.

A driver outside the cluster reaches its workers by way of the API server. While that is away, no worker can be heard
and none is to blame: silence counts only while the API server answers. An API server that answers, but itself has no
way to the nodes (a tunnel to them is down), counts as away.
"""

from __future__ import annotations

from collections.abc import Mapping

DOUBT_SECONDS = 5.0
"""A worker that lives answers its driver's long poll every 2 s; before this much silence nothing needs to be asked."""


class FailureDetector:
    """Finds workers that have been silent for too long.

    Args:
        limit_seconds: The silence after which a worker counts as lost.
    """

    def __init__(self, limit_seconds: float) -> None:
        self._limit_seconds = limit_seconds
        self._since: dict[str, float] = {}
        self._away = False

    def heard(self, name: str, now: float) -> None:
        """A worker has sent something. One that was never heard may still be starting, and cannot be lost here."""
        self._since[name] = now

    def forget(self, name: str) -> None:
        """A worker is not waited for any more."""
        self._since.pop(name, None)

    def raises_doubt(self, now: float) -> bool:
        """True if a worker has been silent for so long that the API server has to be asked."""
        return self._away or any(self._is_doubtful(since, now) for since in self._since.values())

    def has_no_way(self, unreached: Mapping[str, str], now: float) -> bool:
        """True if no worker can be heard for want of a way: all are silent, and the API server reaches none.

        Args:
            unreached: The node of each worker that the API server could not reach since the worker was last heard.
                There must be two nodes at least: a single one may be lost, and with it all that was there.
            now: The time.
        """
        silent = self._away or all(self._is_doubtful(since, now) for since in self._since.values())
        nodes = {unreached.get(name) for name in self._since}
        return silent and None not in nodes and len(nodes - {""}) >= 2

    def api_is_away(self, now: float) -> None:
        """The API server does not answer, or reaches no worker, so no silence counts up to now."""
        self._away = True
        self._begin_anew(now)

    def api_answers(self, now: float) -> list[tuple[str, float]]:
        """The API server answers; returns the workers that are lost, each once, with the seconds of their silence."""
        if self._away:
            self._away = False
            self._begin_anew(now)
        lost = [(name, now - since) for name, since in self._since.items() if now - since >= self._limit_seconds]
        for name, _ in lost:
            self.forget(name)
        return lost

    def _is_doubtful(self, since: float, now: float) -> bool:
        return now - since >= min(DOUBT_SECONDS, self._limit_seconds / 2)

    def _begin_anew(self, now: float) -> None:
        for name, since in self._since.items():
            self._since[name] = max(since, now)
