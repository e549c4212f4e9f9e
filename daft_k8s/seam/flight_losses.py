"""Tells a read of Daft's own shuffle that broke with a lost worker from an error of the query's own."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

from daft.exceptions import DaftCoreException

from daft_k8s.errors import Loss, WorkerLostError

T = TypeVar("T")

VERDICT_SECONDS = 2.0
"""A socket breaks this long before the driver hears of its worker's death, at most."""

_TRANSPORT = ("tonic::", "Failed to connect to endpoint", "transport error", "h2 protocol error")
"""Daft gives the errors of its shuffle's gRPC client no type of their own; these are the words of that client."""


class FlightLosses:
    """Counts a session's lost workers. Told on the event loop, asked on any thread.

    Daft's shuffle keeps its files in each worker's own server, so tasks fetch them by themselves. A worker's death
    reaches such a task as an error of Daft's transport, as if the task's own code had failed.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._count = 0
        self._last = ""

    def worker_ready(self, worker_id: str) -> None:
        """Needs no account."""

    def worker_lost(self, worker_id: str, reason: str) -> None:
        """Notes a loss."""
        with self._changed:
            self._count += 1
            self._last = f"{worker_id}: {reason}"
            self._changed.notify_all()

    @property
    def count(self) -> int:
        """Workers lost since the session began."""
        return self._count

    def checked(self, results: Iterable[T], *, since: int) -> Iterator[T]:
        """Yields a query's results, each only if no worker was lost before: a caller that stops early sees no others.

        Raises:
            WorkerLostError: As `ensure_none`.
        """
        for result in results:
            self.ensure_none(since=since)
            yield result
            # The caller may drop the result before the next one is there, and with it the data.
            del result
        self.ensure_none(since=since)

    def ensure_none(self, *, since: int) -> None:
        """Refuses the answer of a query during which a worker was lost.

        Daft's shuffle server leaves out files that it does not have, so the answer may lack rows.

        Raises:
            WorkerLostError: If a worker was lost after the query began.
        """
        with self._changed:
            if self._count > since:
                raise WorkerLostError(
                    f"a worker was lost while Daft's own shuffle (flight_shuffle) was in use ({self._last}), and the "
                    "answer may lack rows; run the query again, or leave shuffle_algorithm unset",
                    loss=Loss.INPUTS,
                )

    def explain(self, error: BaseException, *, since: int) -> WorkerLostError | None:
        """The loss behind an error of a query that uses Daft's shuffle; None if the error is the query's own.

        Waits for `VERDICT_SECONDS` at most, and only after an error of Daft's transport.

        Args:
            error: The error that ended the query.
            since: `count` when the query began.
        """
        if not isinstance(error, DaftCoreException) or not any(words in str(error) for words in _TRANSPORT):
            return None
        with self._changed:
            if not self._changed.wait_for(lambda: self._count > since, VERDICT_SECONDS):
                return None
            last = self._last
        return WorkerLostError(
            f"a worker was lost with files of Daft's own shuffle (flight_shuffle) that were still needed ({last}); "
            f"run the query again, or leave shuffle_algorithm unset. Daft's message: {error}",
            loss=Loss.INPUTS,
        )
