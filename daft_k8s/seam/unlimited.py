"""A plan without the limit() at its top, for the one case in which Daft cannot run it with the limit.

Daft moves a limit() below an into_partitions(), which then waits for ever (see `plan_check`). Whoever only iterates,
as show() does, can have the rows of the plan without the limit, and stop when they are enough.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from daft.logical.builder import LogicalPlanBuilder

_ATTRIBUTE = "_daft_k8s_unlimited"


class Unlimited(NamedTuple):
    """What a plan with a limit() at its top was made from."""

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
