"""For how long workers have sent nothing, and whether it is they who are silent. Pure: times are arguments, in seconds.

A driver outside the cluster reaches its workers by way of the API server. When that is away, none of them can be heard,
and none of them is to blame: silence counts for as long as the API server answers. When it answers and has itself no
way to the nodes (a tunnel to them is down), it is as good as away.
"""

from __future__ import annotations

from collections.abc import Mapping

DOUBT_SECONDS = 5.0
"""A worker that lives answers its driver's long poll every 2 s; before this much silence nothing needs to be asked."""


class Silences:
    """Who has been silent since when.

    Args:
        limit_seconds: How much silence makes a worker a lost one.
    """

    def __init__(self, limit_seconds: float) -> None:
        self._limit_seconds = limit_seconds
        self._since: dict[str, float] = {}
        self._away = False

    def heard(self, name: str, now: float) -> None:
        """It has sent something. Who has never been heard may still be starting, and is not waited for here."""
        self._since[name] = now

    def forget(self, name: str) -> None:
        """Nobody waits for it any more."""
        self._since.pop(name, None)

    def raises_doubt(self, now: float) -> bool:
        """Whether anybody is silent for so long that it matters whether the API server answers."""
        return self._away or any(self._is_doubtful(since, now) for since in self._since.values())

    def has_no_way(self, unreached: Mapping[str, str], now: float) -> bool:
        """Whether nobody can be heard for want of a way: all are silent, and the API server says that it reaches none.

        Args:
            unreached: The node, by the names of those of whom it has said so since they were last heard. They must be
                on two nodes at least: one may be lost, and with it all that was there.
            now: The time.
        """
        silent = self._away or all(self._is_doubtful(since, now) for since in self._since.values())
        nodes = {unreached.get(name) for name in self._since}
        return silent and None not in nodes and len(nodes - {""}) >= 2

    def api_is_away(self, now: float) -> None:
        """The API server does not answer, or reaches nobody, so up to now all silence is its own."""
        self._away = True
        self._begin_anew(now)

    def api_answers(self, now: float) -> list[tuple[str, float]]:
        """The API server answers: those who are lost, each once, with the seconds of their silence."""
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
