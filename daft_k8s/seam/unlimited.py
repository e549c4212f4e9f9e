"""A plan without the limit() and offset() at its top, for the one case in which Daft cannot run it with them.

Daft moves a limit() below an into_partitions(), which then waits for ever (see `plan_check`). A caller that only
iterates, as show() does, can have the rows of the plan without the limit, and stop when they are enough.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from daft.logical.builder import LogicalPlanBuilder
    from daft.recordbatch import MicroPartition

_LIMITED = "_daft_k8s_limited"
_OFFSET = "_daft_k8s_offset"


class Limited(NamedTuple):
    """A plan, and the rows of it that a limit() at its top lets through."""

    builder: LogicalPlanBuilder
    """Without the limit(), and without an offset() directly below it: Daft runs no offset() alone."""
    num_skipped: int
    num_rows: int


class Offset(NamedTuple):
    """A plan, and the rows of it that an offset() at its top leaves out."""

    builder: LogicalPlanBuilder
    num_skipped: int


def install() -> None:
    """Has Daft's builder remember what it was before a limit: what is inside of its plan cannot be had later."""
    from daft.logical.builder import LogicalPlanBuilder

    limit, offset = LogicalPlanBuilder.limit, LogicalPlanBuilder.offset

    @functools.wraps(limit)
    def limit_and_remember(self: LogicalPlanBuilder, num_rows: int, eager: bool) -> LogicalPlanBuilder:
        limited = limit(self, num_rows, eager)
        vars(limited)[_LIMITED] = Limited(*_without_offset(self), num_rows)
        return limited

    @functools.wraps(offset)
    def offset_and_remember(self: LogicalPlanBuilder, num_rows: int) -> LogicalPlanBuilder:
        cut = offset(self, num_rows)
        builder, num_skipped = _without_offset(self)
        vars(cut)[_OFFSET] = Offset(builder, num_skipped + num_rows)
        return cut

    LogicalPlanBuilder.limit = limit_and_remember  # type: ignore[method-assign]
    LogicalPlanBuilder.offset = offset_and_remember  # type: ignore[method-assign]


def _without_offset(builder: LogicalPlanBuilder) -> Offset:
    """The plan below the offset(), if that is the last thing that was done to it."""
    offset: Offset | None = vars(builder).get(_OFFSET)
    return offset or Offset(builder, 0)


def without_limit(builder: LogicalPlanBuilder) -> Limited | None:
    """The plan below the limit(), if that is the last thing that was done to it."""
    limited: Limited | None = vars(builder).get(_LIMITED)
    return limited


class Cut:
    """Hands out the rows of a query, of a plan that was run without its limit() as many as that allows.

    Of any other plan it hands out all that come: that these are no more than asked for is the LIMIT's own work.
    """

    def __init__(self, builder: LogicalPlanBuilder) -> None:
        self._limited = without_limit(builder)
        self._rows_to_skip = 0
        self._rows_left: int | None = None

    def drop_limit(self) -> LogicalPlanBuilder | None:
        """The plan below the limit(), to be run in the place of the whole; None if it ends with none."""
        if self._limited is None:
            return None
        builder, self._rows_to_skip, self._rows_left = self._limited
        return builder

    def take(self, data: MicroPartition) -> MicroPartition:
        """As much of it as is wanted."""
        if self._rows_left is None:
            return data
        skipped = min(self._rows_to_skip, len(data))
        self._rows_to_skip -= skipped
        if skipped or len(data) > self._rows_left:
            data = data.slice(skipped, min(len(data), skipped + self._rows_left))
        self._rows_left -= len(data)
        return data

    @property
    def has_enough(self) -> bool:
        """True if the limit is reached, though more rows may come."""
        return self._rows_left == 0
