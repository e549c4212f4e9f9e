"""The state of one distributed LIMIT: who skips and who keeps how many rows. Pure.

Rows that were granted to an input stay reserved to it. When its task runs again, the new run first gets the rows of the
old one. So a restart neither loses rows nor takes more than the limit. Every run of a task has an epoch; requests of an
older run are refused.
"""

from __future__ import annotations

from dataclasses import dataclass


class StaleClaimError(Exception):
    """A run of a task that was started again elsewhere still claims rows."""


@dataclass
class _Reservation:
    """The rows granted to one input over all its runs, and the rows that its latest run has drawn."""

    epoch: int = 0
    worker_id: str = ""
    skip: int = 0
    take: int = 0
    drawn_skip: int = 0
    drawn_take: int = 0


class LimitCounter:
    """Grants `(skip, take)` of the rows of each input so that `limit` rows after `offset` are kept."""

    def __init__(self, limit: int, offset: int) -> None:
        self._remaining_take = limit
        self._remaining_skip = offset
        self._reservations: dict[str, _Reservation] = {}

    def start(self, input_id: str, worker_id: str = "") -> int:
        """Begins a run of an input's task; returns the epoch that its claims must carry."""
        reservation = self._reservations.setdefault(input_id, _Reservation())
        reservation.epoch += 1
        reservation.worker_id = worker_id
        reservation.drawn_skip = 0
        reservation.drawn_take = 0
        return reservation.epoch

    def restart(self, input_id: str, worker_id: str) -> None:
        """An input's task begins to run again. If it never comes to a claim, what it was granted counts as missing."""
        if input_id in self._reservations:
            self.start(input_id, worker_id)

    def claim(self, input_id: str, epoch: int, num_rows: int) -> tuple[int, int, bool]:
        """Grants rows of the next piece of an input.

        Args:
            input_id: The input, which is Daft's task id as text.
            epoch: The result of this run's `start`.
            num_rows: Rows in the piece.

        Returns:
            How many rows to skip, how many of the following to keep, and whether this run will be
            given nothing any more.

        Raises:
            StaleClaimError: If a later run of the same task has started, or none has.
        """
        reservation = self._reservations.get(input_id)
        if reservation is None or reservation.epoch != epoch:
            raise StaleClaimError(f"task {input_id} was started again elsewhere; this run of it is no longer wanted")

        skip = min(reservation.skip - reservation.drawn_skip, num_rows)
        take = min(reservation.take - reservation.drawn_take, num_rows - skip)
        rest = num_rows - skip - take
        if self._remaining_take > 0 and rest > 0:
            # Skipped rows always precede kept ones: nothing is granted before the whole offset is
            # skipped, and the offset never grows again. So one slice describes old and new grants.
            new_skip = min(self._remaining_skip, rest)
            new_take = min(self._remaining_take, rest - new_skip)
            self._remaining_skip -= new_skip
            self._remaining_take -= new_take
            reservation.skip += new_skip
            reservation.take += new_take
            skip += new_skip
            take += new_take
        reservation.drawn_skip += skip
        reservation.drawn_take += take
        done = self._remaining_take == 0 and reservation.drawn_take == reservation.take
        return skip, take, done

    def is_done(self) -> bool:
        """True if every row of the limit is granted to some input."""
        return self._remaining_take == 0

    def contributors(self) -> list[str]:
        """The inputs that keep at least one row."""
        return [input_id for input_id, reservation in self._reservations.items() if reservation.take > 0]

    def missing_rows(self, input_id: str, worker_id: str) -> int:
        """Rows that are reserved to an input, but that the run which ended on `worker_id` did not keep.

        Not zero only when a task ran again and found fewer rows than before: its result would be short.
        """
        reservation = self._reservations.get(input_id)
        if reservation is None:
            return 0
        if reservation.worker_id != worker_id:
            return reservation.take
        return reservation.take - reservation.drawn_take
