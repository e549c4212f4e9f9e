"""Sort-merge joins are planned as hash joins: Daft's kernel drops rows of keys that occur more than once.

`plan_check.refuse_sort_merge_join` refuses a plan that has one all the same.
"""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from daft.logical.builder import LogicalPlanBuilder


def install() -> None:
    """Makes Daft's builder join by hash where a sort-merge join is asked for, as the native runner does."""
    from daft.daft import JoinStrategy
    from daft.logical.builder import LogicalPlanBuilder

    join = LogicalPlanBuilder.join
    signature = inspect.signature(join)

    @functools.wraps(join)
    def join_by_hash(*arguments: Any, **options: Any) -> LogicalPlanBuilder:
        bound = signature.bind(*arguments, **options)
        if bound.arguments.get("strategy") == JoinStrategy.SortMerge:
            bound.arguments["strategy"] = JoinStrategy.Hash
        return join(*bound.args, **bound.kwargs)

    LogicalPlanBuilder.join = join_by_hash  # type: ignore[method-assign]
