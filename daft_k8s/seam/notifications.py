"""Reports about a query to Daft's subscribers (dashboard, event log). A failed report never fails a query."""

from __future__ import annotations

import logging
import platform
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from daft.daft import PyQueryMetadata, PyQueryResult, QueryEndState
from daft.runners.heartbeat import Heartbeat

from daft_k8s.wire.raised import headline

if TYPE_CHECKING:
    from daft.context import DaftContext
    from daft.logical.builder import LogicalPlanBuilder

logger = logging.getLogger("daft_k8s")

HEARTBEAT_SECONDS = 10.0
RUNNER_LABEL = "Kubernetes (Flotilla)"


class QueryNotifications:
    """The life of one query, as subscribers see it."""

    def __init__(self, context: DaftContext, query_id: str, daft_version: str) -> None:
        self._context = context
        self._query_id = query_id
        self._daft_version = daft_version
        self._heartbeat = Heartbeat(HEARTBEAT_SECONDS, context, query_id)
        self._started = False

    def started(self, schema: Any, unoptimized_plan: str, optimized: LogicalPlanBuilder, physical_plan: str) -> None:
        """The plan is made and about to run."""
        self._started = True
        context, query_id = self._context, self._query_id

        def send() -> None:
            metadata = PyQueryMetadata(
                schema,
                unoptimized_plan,
                RUNNER_LABEL,
                ray_dashboard_url=None,
                entrypoint="python " + " ".join(sys.argv),
                python_version=platform.python_version(),
                daft_version=self._daft_version,
                ray_version=None,
            )
            context._notify_query_start(query_id, metadata)
            context._notify_optimization_start(query_id)
            context._notify_optimization_end(query_id, optimized.repr_json())
            context._notify_exec_start(query_id, physical_plan)

        self._quietly(send)
        self._quietly(self._heartbeat.start)

    def finished(self, *, executed: bool = True) -> None:
        """The query came to its end; `executed=False` if its consumer wanted no more of it."""
        if executed:
            self._quietly(lambda: self._context._notify_exec_end(self._query_id))
        self._end(QueryEndState.Finished, "Query finished")

    def cancelled(self) -> None:
        """The user stopped the query."""
        self._end(QueryEndState.Canceled, "Query canceled by the user.")

    def failed(self, message: str) -> None:
        """The query failed."""
        self._end(QueryEndState.Failed, message)

    def stop(self) -> None:
        """Ends the heartbeat."""
        self._quietly(self._heartbeat.stop)

    def _end(self, state: QueryEndState, message: str) -> None:
        if self._started:
            self._quietly(lambda: self._context._notify_query_end(self._query_id, PyQueryResult(state, message)))

    def _quietly(self, send: Callable[[], object]) -> None:
        try:
            send()
        except Exception as error:
            # A subscriber is the user's code, and so is what it raises.
            logger.warning("subscribers of query %s could not be notified: %s", self._query_id, headline(error))
