"""The pools of actors that end with each query. Pure."""

from __future__ import annotations

from collections.abc import Iterable


class PoolOwners:
    """Daft does not say for which query it starts a pool: that shows when a task of a query uses it."""

    def __init__(self) -> None:
        self._queries: set[str] = set()
        self._of_query: dict[str, set[str]] = {}
        self._candidates: dict[str, set[str]] = {}

    def begin_query(self, query_id: str) -> None:
        """A query begins, to which pools that are made from now on may belong."""
        self._queries.add(query_id)

    def add(self, pool_id: str) -> None:
        """A pool is made. Until a task uses it, it may belong to any query that runs now."""
        self._candidates[pool_id] = set(self._queries)

    def bind(self, query_id: str, pool_ids: Iterable[str]) -> set[str]:
        """Tasks of a query use these pools.

        Returns:
            Those that end now: the query was cancelled while Daft submitted the task, and nobody else would end them.
        """
        if query_id not in self._queries:
            return set(pool_ids)
        for pool_id in pool_ids:
            self._of_query.setdefault(query_id, set()).add(pool_id)
            self._candidates.pop(pool_id, None)
        return set()

    def end_query(self, query_id: str) -> set[str]:
        """A query has ended; returns the pools that end with it, also those that no other query can want any more."""
        self._queries.discard(query_id)
        ended = self._of_query.pop(query_id, set())
        for pool_id, candidates in self._candidates.items():
            candidates.discard(query_id)
            if not candidates:
                ended.add(pool_id)
        return ended

    def forget(self, pool_id: str) -> None:
        """A pool has ended."""
        self._candidates.pop(pool_id, None)
