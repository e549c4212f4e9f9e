"""A plan without the limit() at its top, for the one case in which Daft cannot run it with the limit.

Daft moves a limit() below an into_partitions(), which then waits for ever (see `plan_check`). A caller that only
iterates, as show() does, can have the rows of the plan without the limit, and stop when they are enough.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from daft.logical.builder import LogicalPlanBuilder
    from daft.recordbatch import MicroPartition

_ATTRIBUTE = "_daft_k8s_unlimited"


class Unlimited(NamedTuple):
    """The source of a plan with a limit() at its top."""

    builder: LogicalPlanBuilder
    num_rows: int


def install() -> None:
    """Has Daft's builder remember what it was before a limit: what is inside of its plan cannot be had later."""
    from daft.logical.builder import LogicalPlanBuilder

    limit = LogicalPlanBuilder.limit

    @functools.wraps(limit)
    def limit_and_remember(self: LogicalPlanBuilder, num_rows: int, eager: bool) -> LogicalPlanBuilder:
        limited = limit(self, num_rows, eager)
        vars(limited)[_ATTRIBUTE] = Unlimited(self, num_rows)
        return limited

    LogicalPlanBuilder.limit = limit_and_remember  # type: ignore[method-assign]


def without_limit(builder: LogicalPlanBuilder) -> Unlimited | None:
    """The plan below the limit(), if that is the last thing that was done to it."""
    unlimited: Unlimited | None = vars(builder).get(_ATTRIBUTE)
    return unlimited


class Cut:
    """Hands out the rows of a query, of a plan that was run without its limit() as many as that allows.

    Of any other plan it hands out all that come: that these are no more than asked for is the LIMIT's own work.
    """

    def __init__(self, builder: LogicalPlanBuilder) -> None:
        self._unlimited = without_limit(builder)
        self._rows_left: int | None = None

    def drop_limit(self) -> LogicalPlanBuilder | None:
        """The plan below the limit(), to be run in the place of the whole; None if it ends with none."""
        if self._unlimited is None:
            return None
        self._rows_left = self._unlimited.num_rows
        return self._unlimited.builder

    def take(self, data: MicroPartition) -> MicroPartition:
        """As much of it as is wanted."""
        if self._rows_left is None:
            return data
        if len(data) > self._rows_left:
            data = data.slice(0, self._rows_left)
        self._rows_left -= len(data)
        return data

    @property
    def has_enough(self) -> bool:
        """True if the limit is reached, though more rows may come."""
        return self._rows_left == 0
