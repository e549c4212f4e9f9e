"""Who may ask for a Pod while a ResourceQuota is used up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from daft_k8s.kube.client import retries

FIRST_PAUSE_SECONDS = 10.0
LONGEST_PAUSE_SECONDS = 60.0


class QuotaGate:
    """While there is room, everybody may try at once. Then one may, with pauses that double, until there is again.

    However many workers are wanted, a full quota is so asked a few times a minute. Used on one event loop.

    Args:
        first_pause_seconds: Between the first refusal and the next try.
        longest_pause_seconds: What the pauses grow to.
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
        """Whether there is no room left: the quota has refused, or those who came took all that was foreseen."""
        self.refusals = 0
        """How often the quota has refused."""

    @property
    def is_full(self) -> bool:
        """Whether whoever comes now has to wait."""
        return self.used_up or self._room == 0

    def foresee(self, room: int) -> None:
        """So many may try; what comes after them waits as if it had been refused."""
        self._room = room

    @asynccontextmanager
    async def turn(self, wanted: Callable[[], bool]) -> AsyncGenerator[bool, None]:
        """Waits until a Pod may be asked for. Gives whether that is a turn of one's own: one at a time has such a one.

        Args:
            wanted: Whether the one who waits still wants it; if not, it does not keep others waiting.
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
        """The quota refused a Pod; returns whether that is news."""
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
        """Something has changed that may have made room, or nobody wants to wait any more."""
        self._poked.set()

    async def _pause(self, wanted: Callable[[], bool]) -> None:
        try:
            await asyncio.wait_for(self._poked.wait(), self._pause_seconds)
        except asyncio.TimeoutError:
            return
        if wanted():  # else whoever comes next is poked: this one will not ask
            self._poked.clear()

    def _reset(self) -> None:
        self.used_up, self._room = False, None
        self._in_a_row, self._pause_seconds = 0, self._pauses(1)
