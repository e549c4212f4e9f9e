"""The turns in which Pods are asked for while a ResourceQuota is used up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from daft_k8s.kube.client import retries

FIRST_PAUSE_SECONDS = 10.0
LONGEST_PAUSE_SECONDS = 60.0


class QuotaGate:
    """Lets all callers try at once while there is room; then one at a time, with pauses that double.

    So a full quota is asked a few times a minute, however many workers are wanted. Used on one event loop.

    Args:
        first_pause_seconds: Between the first refusal and the next try.
        longest_pause_seconds: The longest pause.
    """

    def __init__(
        self,
        first_pause_seconds: float = FIRST_PAUSE_SECONDS,
        longest_pause_seconds: float = LONGEST_PAUSE_SECONDS,
    ) -> None:
        self._pauses = retries.quota_pauses(first_pause_seconds, longest_pause_seconds)
        self._in_a_row = 0
        """Refusals since there was room."""
        self._pause_seconds = self._pauses(1)
        self._room: int | None = None
        self._waiting = 0
        self._turns = asyncio.Lock()
        self._poked = asyncio.Event()
        self.used_up = False
        """True if no room is left: the quota has refused, or earlier callers took all the room that was foreseen."""
        self.refusals = 0
        """The number of refusals by the quota."""

    @property
    def is_full(self) -> bool:
        """True if the next caller has to wait."""
        return self.used_up or self._room == 0

    def foresee(self, room: int) -> None:
        """Lets this many callers try; those after them wait as if the quota had refused."""
        self._room = room

    @asynccontextmanager
    async def turn(self, wanted: Callable[[], bool]) -> AsyncGenerator[bool, None]:
        """Waits until a Pod may be asked for. Yields True if this caller is the single one that probes the quota.

        Args:
            wanted: Returns True while the caller still wants its Pod; if not, it does not keep others waiting.
        """
        if not self.used_up and self._room is not None:
            self.used_up = self._room == 0
            self._room -= 1
        if not self.used_up:
            yield False
            return
        self._waiting += 1
        try:
            async with self._turns:
                if self.used_up and wanted():
                    await self._pause(wanted)
                yield True
        finally:
            self._waiting -= 1
            if self._pause_seconds == 0 and not self._waiting:
                self._reset()

    def refused(self) -> bool:
        """The quota refused a Pod; returns True if that is news."""
        news = not self.used_up
        self.refusals += 1
        self.used_up, self._room = True, None
        self._in_a_row = 1 if news or not self._pause_seconds else self._in_a_row + 1
        self._pause_seconds = self._pauses(self._in_a_row)
        return news

    def admitted(self) -> None:
        """A Pod was made: the next may try without a pause."""
        if self.used_up:
            self._pause_seconds = 0.0

    def poke(self) -> None:
        """Something may have made room, or a caller does not want to wait any more."""
        self._poked.set()

    async def _pause(self, wanted: Callable[[], bool]) -> None:
        try:
            await asyncio.wait_for(self._poked.wait(), self._pause_seconds)
        except asyncio.TimeoutError:
            return
        if wanted():  # else the next caller is poked: this one will not ask
            self._poked.clear()

    def _reset(self) -> None:
        self.used_up, self._room = False, None
        self._in_a_row, self._pause_seconds = 0, self._pauses(1)
